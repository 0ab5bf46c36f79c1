// A YAML editor: a textarea, so that the browser's undo, selection, spelling of touch keyboards and
// screen readers work as everywhere, over a copy of its text that is coloured, with numbered lines
// beside it. Lines with errors are marked; the errors are listed below, and lead to their lines.
//
// Tab indents; Escape and then Tab leaves, as keyboards must be able to (WCAG 2.1.2).

import { h, reconcile, say } from "./dom.js";
import { plural } from "./format.js";

const KEY = /([\w./~-]+|"[^"]*")(?=:(?:\s|$))/g;

export class Editor {
  #problems = [];
  #leaving = false;

  /** `changed(typed)` is called at each change of the text; typed: it was the user's. */
  constructor(changed) {
    this.changed = changed;
    this.gutter = h("div", { class: "gutter", "aria-hidden": "true" });
    this.copy = h("pre", { class: "copy", "aria-hidden": "true" });
    this.area = h("textarea", {
      id: "config", spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off",
      rows: "22", "aria-describedby": "config-keys config-said",
      oninput: () => this.#edited(true),
      onscroll: () => this.#scrolled(),
      onkeydown: (event) => this.#key(event),
      onblur: () => { this.#leaving = false; },
    });
    this.said = h("p", { id: "config-said", class: "verdict", role: "status" });
    this.list = h("ol", { class: "problems" });
    this.element = h("div", {},
      h("div", { class: "editor" }, this.gutter, h("div", { class: "page" }, this.copy, this.area)),
      h("p", { id: "config-keys", class: "quiet small" },
        "Tab indents, Shift+Tab takes it back; Esc and then Tab leaves the editor."),
      this.said, this.list);
    this.#render();
  }

  get text() {
    return this.area.value;
  }

  set text(text) {
    this.area.value = text;
    this.area.scrollTop = 0;
    this.#edited(false);
  }

  /** Put another text in its place, so that the browser can undo it. */
  replace(text) {
    this.area.focus();
    this.area.select();
    insert(this.area, text);
    this.area.setSelectionRange(0, 0);
    this.area.scrollTop = 0;
  }

  /** Say that the config is well: what it is. */
  accept(words) {
    this.#mark([]);
    say(this.said, words);
    this.said.className = "verdict good";
  }

  /** Mark problems: {line, column, message, suggestion}, counted from 1; line null: of all of it. */
  refuse(problems, detail) {
    this.#mark(problems);
    const count = problems.length;
    say(this.said, count === 0 ? detail : `${plural(count, "problem")}${count > 1 ? ", the first" : ","} ${where(problems[0])}`);
    this.said.className = "verdict bad";
  }

  /** Say that the service is asked, or why it cannot be. */
  waiting(words) {
    say(this.said, words);
    this.said.className = "verdict quiet";
  }

  /** Put the cursor where a problem is. */
  go(problem) {
    const lines = this.text.split("\n");
    const line = Math.min(problem.line ?? 1, lines.length);
    const before = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
    const column = Math.min((problem.column ?? 1) - 1, lines[line - 1].length);
    this.area.focus();
    this.area.setSelectionRange(before + column, before + lines[line - 1].length);
    const height = this.area.scrollHeight / lines.length;
    this.area.scrollTop = Math.max(0, (line - 6) * height);
    this.area.scrollIntoView({ block: "nearest" });
  }

  #edited(typed) {
    this.#render();
    this.changed(typed);
  }

  #mark(problems) {
    this.#problems = problems;
    this.area.setAttribute("aria-invalid", String(problems.length > 0));
    this.list.replaceChildren(...problems.map((problem) =>
      h("li", {},
        h("button", { type: "button", class: "link", onclick: () => this.go(problem) }, where(problem)),
        " ", problem.message,
        problem.suggestion && h("span", { class: "quiet" }, ` (${problem.suggestion})`))));
    this.#render();
  }

  #render() {
    const lines = this.text.split("\n");
    const marked = Map.groupBy(this.#problems, (problem) => problem.line);
    const rows = lines.map((text, i) => ({ text, number: i + 1, problems: marked.get(i + 1) ?? [] }));
    const key = (row) => String(row.number);
    const make = () => h("div");
    reconcile(this.gutter, rows, key, make, (element, { number, problems }) => {
      say(element, String(number));
      element.className = problems.length > 0 ? "wrong" : "";
      element.title = problems.map(({ message }) => message).join("\n");
    });
    reconcile(this.copy, rows, key, make, (element, row) => {
      const signature = `${row.problems.map(({ column }) => column)}:${row.text}`;
      if (element.signature === signature) return;
      element.signature = signature;
      element.className = row.problems.length > 0 ? "wrong" : "";
      element.replaceChildren(...coloured(row));
    });
    this.#scrolled();
  }

  #scrolled() {
    this.copy.style.transform = `translate(${-this.area.scrollLeft}px, ${-this.area.scrollTop}px)`;
    this.gutter.style.transform = `translateY(${-this.area.scrollTop}px)`;
  }

  #key(event) {
    if (event.key === "Escape") this.#leaving = true;
    else if (event.key === "Tab" && !this.#leaving && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      this.#indent(event.shiftKey);
    } else if (event.key === "Enter" && !event.isComposing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const begin = this.text.lastIndexOf("\n", this.area.selectionStart - 1) + 1;
      const [margin] = /^ */.exec(this.text.slice(begin, this.area.selectionStart));
      insert(this.area, `\n${margin}`);
    } else if (!["Tab", "Shift"].includes(event.key)) this.#leaving = false;
  }

  #indent(back) {
    const { selectionStart: start, selectionEnd: end, value } = this.area;
    if (start === end && !back) return insert(this.area, "  ");
    // Whole lines move.
    const from = value.lastIndexOf("\n", start - 1) + 1;
    const found = value.indexOf("\n", Math.max(end - 1, start));
    const to = found < 0 ? value.length : found;
    const lines = value.slice(from, to).split("\n");
    const moved = lines.map((line) => (back ? line.replace(/^ {1,2}/, "") : `  ${line}`)).join("\n");
    this.area.setSelectionRange(from, to);
    insert(this.area, moved);
    if (start === end) {
      const cursor = Math.max(from, start + moved.length - (to - from));
      return this.area.setSelectionRange(cursor, cursor);
    }
    return this.area.setSelectionRange(from, from + moved.length);
  }
}

/** Write over the selection so that the browser can undo it. */
function insert(area, text) {
  const command = text === "" ? ["delete"] : ["insertText", false, text];
  if (document.execCommand(...command)) return;
  area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
  area.dispatchEvent(new Event("input"));
}

const where = (problem) => {
  if (!problem.line) return "in the config";
  return `in line ${problem.line}${problem.column ? `, column ${problem.column}` : ""}`;
};

/** The nodes of a line: keys and comments in their colours, what is wrong underlined. */
function coloured({ text, problems }) {
  const looks = new Array(text.length).fill("");
  const paint = (from, to, look) => {
    for (let i = from; i < to; i++) looks[i] += ` ${look}`;
  };
  const hash = /(^|\s)#/.exec(text);
  const quoted = hash && (text.slice(0, hash.index).match(/["']/g) ?? []).length % 2 === 1;
  const end = hash && !quoted ? hash.index : text.length;
  paint(end, text.length, "comment");
  for (const { 0: key, index } of text.slice(0, end).matchAll(KEY)) paint(index, index + key.length, "key");
  for (const { column } of problems) {
    if (!column || text === "") continue;
    // From the column up to what separates it from the next.
    const from = Math.min(column, text.length) - 1;
    paint(from, from + (/^[^\s,}\]:]+/.exec(text.slice(from))?.[0].length ?? 1), "fault");
  }
  const nodes = [];
  for (let from = 0, to = 0; from < text.length; from = to) {
    while (to < text.length && looks[to] === looks[from]) to += 1;
    nodes.push(h("span", looks[from] ? { class: looks[from].trim() } : {}, text.slice(from, to)));
  }
  // An empty line has its height too.
  return nodes.length > 0 ? nodes : ["\u200b"];
}
