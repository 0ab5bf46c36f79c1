// Submitting a job: a config in the editor, checked by the service while it is typed, and how the
// job is to be run. What was written is kept in the tab until it is submitted.

import { get, jobPath, post, query } from "./api.js";
import { announce, debounce, h, say, shown } from "./dom.js";
import { Editor } from "./editor.js";
import { plural, seconds } from "./format.js";

const DRAFT = "minidl draft";
const BEGIN = "quickstart";

export class SubmitPage {
  title = "Submit a job";
  #control = null;
  #key = null;
  #later = debounce(() => this.#validate(), 350);
  #filled = null;
  #again = 0;
  #closed = false;

  constructor(place, { go, live }) {
    Object.assign(this, { go, live });
    this.heading = h("h1", { tabindex: "-1" }, "Submit a job");
    this.editor = new Editor((typed) => this.#edited(typed));
    this.begin = h("select");
    this.load = h("button", { type: "button", onclick: () => this.#beginWith(this.begin.value) }, "Load");
    this.failure = h("p", { class: "warning", role: "alert", hidden: true });
    this.button = h("button", { type: "submit", class: "primary" }, "Submit");
    this.options = options(() => this.#touched());
    this.form = h("form", { class: "submit", novalidate: true, onsubmit: (event) => this.#submit(event) },
      h("div", {},
        h("div", { class: "controls" },
          h("label", { for: "config" }, "Config"), 
          h("span", { class: "begin" }, h("label", { class: "inline" }, "begin with ", this.begin), this.load)),
        this.editor.element),
      h("fieldset", {}, h("legend", {}, "How it is run"), ...Object.values(this.options).map(({ row }) => row),
        this.failure, h("div", { class: "buttons" }, this.button)));
    this.element = h("div", {}, this.heading, this.form);
    this.resync = () => this.#later();
    live.addEventListener("resync", this.resync);
    this.#names();
    this.#fill(place);
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#later.cancel();
    this.#control?.abort();
    this.live.removeEventListener("resync", this.resync);
  }

  /** Begin with the draft, with another job's config, or with a config that comes along. */
  async #fill(place) {
    const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
    if (draft && (!place.from || draft.from === place.from)) {
      for (const [name, { field }] of Object.entries(this.options)) field.value = draft.options[name] ?? "";
      this.#filled = draft.from ?? null;
      this.editor.text = draft.text;
      return;
    }
    try {
      if (place.from) await this.#fillFrom(place.from);
      else this.#put(await shippedConfig(BEGIN));
    } catch (error) {
      this.editor.waiting(error.message);
      if (passing(error)) this.#retry(() => this.#fill(place));
    }
  }

  /** Do something again later, as long as the page is shown. */
  #retry(act) {
    clearTimeout(this.#again);
    if (!this.#closed) this.#again = setTimeout(act, 3000);
  }

  /** Put a text into the editor, unless something has been written there meanwhile. */
  #put(text) {
    if (!this.#closed && this.editor.text === "") this.editor.text = text;
  }

  async #fillFrom(id) {
    const [job, text] = await Promise.all([
      get(jobPath(id)), get(query(jobPath(id, "config"), { format: "source" }), { as: "text" })]);
    const { name, labels, priority, timeout, retries, ranks } = this.options;
    name.field.value = job.name ?? "";
    labels.field.value = Object.entries(job.labels ?? {}).map((pair) => pair.join("=")).join(", ");
    priority.field.value = String(job.priority);
    timeout.field.value = job.timeout ? String(job.timeout) : "";
    retries.field.value = String(job.max_retries);
    ranks.field.value = String(job.ranks);
    this.#filled = id;
    this.#put(text);
  }

  async #names() {
    const { configs } = await get("v1/configs").catch(() => ({ configs: [] }));
    if (configs.length === 0 && !this.#closed) setTimeout(() => this.#closed || this.#names(), 3000);
    shown(this.begin.closest(".begin"), configs.length > 0);
    this.begin.append(...configs.map(({ name, title }) =>
      h("option", { value: name, selected: name === BEGIN }, `${name}: ${title.length > 60 ? `${title.slice(0, 59)}…` : title}`)));
  }

  async #beginWith(name) {
    try {
      this.editor.replace(await shippedConfig(name));
    } catch (error) {
      this.editor.waiting(error.message);
    }
  }

  /** Anything of the form is another one: it would be another job, and is kept. */
  #touched() {
    this.#key = null;
    const values = Object.fromEntries(Object.entries(this.options).map(([name, { field }]) => [name, field.value]));
    sessionStorage.setItem(DRAFT, JSON.stringify({ text: this.editor.text, options: values, from: this.#filled }));
  }

  #edited(typed) {
    if (typed) this.#touched();
    this.#key = null;
    this.#control?.abort();
    this.#later();
  }

  async #validate() {
    this.#control?.abort();
    this.#control = new AbortController();
    try {
      const found = await post("v1/validate", { config: this.editor.text }, { signal: this.#control.signal });
      this.editor.accept(`The config is valid: a ${found.kind}.`);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 422) this.editor.refuse(error.problems, error.message);
      else this.editor.waiting(error.message);
      if (passing(error)) this.#retry(() => this.#validate());
    }
  }

  async #submit(event) {
    event.preventDefault();
    shown(this.failure, false);
    const body = this.#read();
    if (body === null) return;
    this.#key ??= randomKey();
    this.button.disabled = true;
    try {
      const job = await post("v1/jobs", body, { headers: { "Idempotency-Key": this.#key } });
      sessionStorage.removeItem(DRAFT);
      announce(`Submitted as ${job.name ?? job.id}`);
      this.go(`#/jobs/${encodeURIComponent(job.id)}`);
    } catch (error) {
      if (error.status === 422 && error.problems.length > 0) {
        this.editor.refuse(error.problems, error.message);
        this.editor.go(error.problems[0]);
        say(this.failure, `Not submitted: the config has ${plural(error.problems.length, "problem")}.`);
      } else say(this.failure, `Not submitted: ${error.message}`);
      shown(this.failure, true);
    } finally {
      this.button.disabled = false;
    }
  }

  /** The body of the request; null where an option is wrong, which then says so. */
  #read() {
    const body = { config: this.editor.text };
    let wrong = null;
    for (const option of Object.values(this.options)) {
      const { field, error, read } = option;
      let problem = "";
      try {
        Object.assign(body, read(field.value.trim()));
      } catch (refusal) {
        problem = refusal.message;
        wrong ??= field;
      }
      say(error, problem);
      field.setAttribute("aria-invalid", String(problem !== ""));
    }
    wrong?.focus();
    return wrong === null ? body : null;
  }
}

const shippedConfig = (name) => get(`v1/configs/${encodeURIComponent(name)}`, { as: "text" });

/** Whether what went wrong is no fault of the request's: the service, or its database, is away. */
const passing = (error) => !(error.status < 500);

/** Fields of how a job is run, each with what it becomes in the request, or an error in words. */
function options(changed) {
  const made = {};
  const add = (name, text, hint, attributes, read) => {
    const id = `option-${name}`;
    const field = h("input", { id, autocomplete: "off", "aria-describedby": `${id}-hint ${id}-error`, oninput: changed, ...attributes });
    const error = h("span", { id: `${id}-error`, class: "bad small", role: "alert" });
    made[name] = { field, error, read, row: h("div", { class: "option" },
      h("label", { for: id }, text), field, h("span", { id: `${id}-hint`, class: "quiet small" }, hint), error) };
  };
  add("name", "Name", "what the list calls it", { maxlength: "200" }, (text) => (text ? { name: text } : {}));
  add("labels", "Labels", "key=value, separated by commas", {}, readLabels);
  add("priority", "Priority", "-100 to 100; higher goes first", { value: "0", inputmode: "numeric" },
    (text) => ({ priority: whole(text || "0", -100, 100) }));
  add("timeout", "Time limit", "of all its attempts: 90 s, 20 min, 2 h; empty for none", {}, (text) => {
    if (text === "") return {};
    const value = seconds(text);
    if (!(value > 0)) throw new Error(`“${text}” is no time; write 90 s, 20 min or 2 h`);
    return { timeout: value };
  });
  add("retries", "Retries", "after it has failed; being interrupted costs none", { value: "0", inputmode: "numeric" },
    (text) => ({ max_retries: whole(text || "0", 0, 100) }));
  add("ranks", "Ranks", "processes that train it together; 1 is usual", { value: "1", inputmode: "numeric" },
    (text) => ({ ranks: whole(text || "1", 1, 1024) }));
  return made;
}

function whole(text, low, high) {
  const value = Number(text);
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new Error(`“${text}” is no whole number from ${low} to ${high}`);
}

function readLabels(text) {
  const labels = {};
  for (const piece of text.split(",").map((part) => part.trim()).filter(Boolean)) {
    const [name, ...value] = piece.split("=");
    if (name.trim() === "" || value.length === 0) throw new Error(`“${piece}” is no label; write key=value`);
    labels[name.trim()] = value.join("=").trim();
  }
  return Object.keys(labels).length > 0 ? { labels } : {};
}

/** A key of one submission; crypto.randomUUID is there on https and loopback only. */
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
