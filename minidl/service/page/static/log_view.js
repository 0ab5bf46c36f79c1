// The log of a job, as it grows. While it is followed the newest lines are in sight; scrolling up,
// or the button, holds it still, and what comes then waits. Only the last part of a long log is
// shown: all of it can be downloaded.

import { follow, get, jobPath, query } from "./api.js";
import { h, say, shown } from "./dom.js";
import { plural } from "./format.js";

/** Bytes of a long log that are shown at first. */
const TAIL = 256 * 1024;
/** Bytes that are asked for at once when all of it is saved. */
const PIECE = 4 * 1024 * 1024;
/** Lines that are kept on the page. */
const KEPT = 5000;

// Colours and movements of the cursor (ECMA-48 control sequences), titles (OSC), and other control
// characters, but for tab and line ends.
const ANSI = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]/g;
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;

/** Text without control sequences. (Carriage returns have become line ends on their way here.) */
const plain = (text) => text.replace(ANSI, "").replace(CONTROL, "");

export class LogView {
  #following = true;
  #waiting = "";
  #stream = null;

  constructor(id) {
    this.id = id;
    this.output = h("pre", {
      class: "log", tabindex: "0", role: "log", "aria-label": "Log", "aria-live": "off",
      onscroll: () => this.#scrolled(),
    });
    this.button = h("button", { type: "button", "aria-pressed": "true", onclick: () => this.#toggle() });
    this.state = h("span", { class: "quiet", role: "status" });
    this.element = h("div", {},
      h("div", { class: "controls" }, this.button,
        h("button", { type: "button", onclick: () => this.#download() }, "Download"), this.state),
      this.output);
    this.#show();
    this.#stream = follow(query(jobPath(id, "log/stream"), { offset: -TAIL }), {
      log: (text) => this.#take(text),
      end: () => this.#end(),
      gone: () => say(this.state, "This log is not kept any more."),
    });
  }

  close() {
    this.#stream.close();
  }

  #end() {
    if (this.#waiting !== "" && !this.#waiting.endsWith("\n")) this.#take("\n");
    const nothing = this.output.textContent === "" && this.#waiting === "";
    say(this.state, nothing ? "Nothing was written." : "The log is complete.");
    if (this.#following) shown(this.button, false);
  }

  /** Save all of the log, of which the service sends so much at once. */
  async #download() {
    const pieces = [];
    try {
      for (let offset = 0, more = true; more;) {
        const path = query(jobPath(this.id, "log"), { offset, limit: PIECE });
        const { blob, headers } = await get(path, { as: "blob" });
        pieces.push(blob);
        const next = Number(headers.get("X-Next-Offset"));
        more = next > offset;
        offset = next;
      }
    } catch (error) {
      say(this.state, error.message);
      return;
    }
    const address = URL.createObjectURL(new Blob(pieces, { type: "text/plain" }));
    h("a", { href: address, download: `${this.id}.log.txt` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  #take(text) {
    this.#waiting += text;
    if (this.#following) this.#write();
    else this.#show();
  }

  #write() {
    if (this.#waiting === "") return;
    // A sequence or a line that is not complete yet waits for its other half.
    const whole = this.#waiting.lastIndexOf("\n") + 1;
    const [now, rest] = [this.#waiting.slice(0, whole), this.#waiting.slice(whole)];
    this.#waiting = rest.length > 4096 ? "" : rest;
    const text = plain(now + (rest.length > 4096 ? rest : ""));
    const lines = text.split(/(?<=\n)/).slice(-KEPT);
    this.output.append(...lines.map((line) => h("span", {}, line)));
    while (this.output.childElementCount > KEPT) this.output.firstElementChild.remove();
    this.output.scrollTop = this.output.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.output;
    const atEnd = scrollHeight - clientHeight - scrollTop < 24;
    if (this.#following && !atEnd) {
      this.#following = false;
      this.#show();
    }
  }

  #toggle() {
    this.#following = !this.#following;
    if (this.#following) {
      this.#write();
      this.output.scrollTop = this.output.scrollHeight;
    }
    this.#show();
  }

  #show() {
    const lines = (this.#waiting.match(/\n/g) ?? []).length;
    this.button.setAttribute("aria-pressed", String(this.#following));
    say(this.button, this.#following ? "Pause" : lines > 0 ? `Follow (${plural(lines, "new line")})` : "Follow");
  }
}
