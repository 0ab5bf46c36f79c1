// Trying the model of a job: a digit drawn, chosen or uploaded, and the probabilities of the
// classes, which follow while it is drawn.

import { ask, get, jobPath, post } from "./api.js";
import { announce, debounce, h, reconcile, say, shown } from "./dom.js";
import { DIGITS } from "./digits.js";
import { Drawing, pixels } from "./drawing.js";

/** Classes of a model with many that have a bar. */
const BARS = 12;

export class TryIt {
  #asking = false;
  #again = null;
  #tell = debounce((text) => announce(text), 700);
  #shape = null;
  #closed = false;

  constructor(id) {
    this.id = id;
    this.element = h("div", {}, h("p", { class: "quiet" }, "Loading the model …"));
    this.#start();
  }

  close() {
    this.#closed = true;
    this.#tell.cancel();
  }

  async #start() {
    try {
      const signature = await get(jobPath(this.id, "signature"));
      if (this.#closed) return;
      this.#shape = signature.task === "Classification" ? sampleShape(signature) : null;
    } catch (error) {
      this.element.replaceChildren(h("p", { class: "empty quiet" }, error.message));
      return;
    }
    if (this.#shape === null) {
      this.element.replaceChildren(h("p", { class: "empty quiet" },
        "This model does not tell classes of square pictures, so there is nothing to draw. Programs ask it at ",
        h("code", {}, jobPath(this.id, "predict")), "."));
      return;
    }
    this.#build();
  }

  #build() {
    this.drawing = new Drawing(() => this.#drawn());
    this.seen = h("div", { class: "seen" });
    this.bars = h("ul", { class: "bars", "aria-label": "Probabilities" });
    this.said = h("p", { class: "verdict" }, "Draw a digit.");
    this.file = h("input", { type: "file", accept: "image/png", onchange: () => this.#upload() });
    const examples = DIGITS.map((strokes, digit) =>
      h("button", { type: "button", "aria-label": `Example of a ${digit}`, onclick: () => {
        this.file.value = "";
        this.drawing.trace(strokes);
      } }, String(digit)));
    this.element.replaceChildren(
      h("div", { class: "try" },
        h("div", {},
          this.drawing.canvas,
          h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => this.#clear() }, "Clear"))),
        h("div", {},
          this.said, this.bars,
          h("h3", {}, "What the model sees"), this.seen)),
      h("h3", { id: "examples" }, "Without drawing"),
      h("div", { class: "buttons", role: "group", "aria-labelledby": "examples" }, ...examples),
      h("p", {}, h("label", {}, "or a PNG file ", this.file)));
    this.#drawn();
  }

  #clear() {
    this.file.value = "";
    this.drawing.clear();
  }

  #drawn() {
    const [channels, height] = this.#shape;
    const picture = this.drawing.picture(height);
    this.#see(picture);
    if (this.drawing.empty) {
      this.#again = null;
      say(this.said, "Draw a digit.");
      this.bars.replaceChildren();
      return;
    }
    this.#predict(() => post(jobPath(this.id, "predict"), { inputs: [pixels(picture, channels)] }));
  }

  #upload() {
    const [file] = this.file.files;
    if (!file) return;
    this.drawing.clear();
    const address = URL.createObjectURL(file);
    const picture = h("img", { alt: "The picture that was chosen", src: address,
      onload: () => URL.revokeObjectURL(address), onerror: () => URL.revokeObjectURL(address) });
    this.#see(picture);
    this.#predict(() => ask("POST", jobPath(this.id, "predict"),
      { body: file, headers: { "Content-Type": "image/png" } }));
  }

  #see(picture) {
    this.seen.replaceChildren(picture);
  }

  /** Ask the model; of what comes while it is asked only the newest is asked next. */
  async #predict(question) {
    this.#again = question;
    if (this.#asking) return;
    this.#asking = true;
    while (this.#again && !this.#closed) {
      const now = this.#again;
      this.#again = null;
      try {
        const { predictions } = await now();
        if (!this.drawing.empty || this.file.files.length > 0) this.#show(predictions[0]);
      } catch (error) {
        say(this.said, error.message);
        this.said.className = "verdict bad";
      }
    }
    this.#asking = false;
  }

  #show(prediction) {
    const name = String(prediction.class);
    const shares = Object.entries(prediction.probabilities ?? {});
    const most = shares.length > BARS ? shares.sort((a, b) => b[1] - a[1]).slice(0, BARS) : shares;
    const sure = prediction.probabilities?.[name];
    const text = sure === undefined ? name : `${name}, ${percent(sure)} sure`;
    this.said.className = "verdict answer";
    say(this.said, text);
    this.#tell(text);
    shown(this.bars, most.length > 0);
    reconcile(this.bars, most, ([label]) => label, makeBar, (element, [label, share]) => {
      element.classList.toggle("likeliest", label === name);
      element.querySelector(".fill").style.transform = `scaleX(${share})`;
      say(element.querySelector(".share"), percent(share));
    });
  }
}

const makeBar = ([label]) =>
  h("li", {},
    h("span", { class: "answer-of" }, label),
    h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "fill" })),
    h("span", { class: "share" }));

const percent = (share) => `${(share * 100).toFixed(1)} %`;

/** (channels, height, width) of square pictures; null for models of anything else. */
function sampleShape(signature) {
  const given = signature.inputs.shape.filter((size) => size !== null && size > 0);
  const shape = given.length === 2 ? [1, ...given] : given;
  const fits = shape.length === 3 && [1, 3].includes(shape[0]) && shape[1] === shape[2];
  return fits ? shape : null;
}
