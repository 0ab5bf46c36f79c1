// The curves of one or more jobs: points as the service sends them, grouped into charts (train/loss
// and val/loss share one), with what they are drawn by: logarithm, smoothing, steps or time.

import { Chart } from "./chart.js";
import { h, reconcile, say } from "./dom.js";

const PARTS = ["train", "val", "test"];
const FIRST = ["loss", "accuracy"];
const LAST = ["lr", "throughput/samples_per_s"];

/** All that one job measured, by metric; `add` takes points in the order of the journal. */
export class Measured {
  curves = new Map();
  began = null;

  add(point) {
    const at = typeof point.time === "string" ? new Date(point.time).getTime() / 1000 : point.time;
    if (at && (this.began === null || at < this.began)) this.began = at;
    for (const [name, value] of Object.entries(point.metrics)) {
      if (!this.curves.has(name)) this.curves.set(name, { steps: [], times: [], values: [] });
      const curve = this.curves.get(name);
      // A next attempt goes on from a checkpoint, which may lie before the last point.
      while (curve.steps.length > 0 && curve.steps.at(-1) >= point.step) {
        for (const kept of [curve.steps, curve.times, curve.values]) kept.pop();
      }
      curve.steps.push(point.step);
      curve.times.push(at ?? 0);
      curve.values.push(value === null ? NaN : Number(value));
    }
  }
}

/** The chart that a metric is drawn in, and its part of the data. */
function split(name) {
  const [part, ...rest] = name.split("/");
  return PARTS.includes(part) && rest.length > 0 ? [rest.join("/"), part] : [name, "train"];
}

const rank = (name) => {
  if (FIRST.includes(name)) return FIRST.indexOf(name) - 10;
  return LAST.includes(name) ? 10 + LAST.indexOf(name) : 0;
};

/** Charts of the jobs in `runs`: a list of {label, measured}. One job has a colour for each part. */
export class Curves {
  #charts = new Map();
  #timer = 0;
  #cost = 0;

  constructor(runs) {
    this.runs = runs;
    this.log = h("input", { type: "checkbox", onchange: () => this.#draw() });
    this.smoothing = h("input", {
      type: "range", min: "0", max: "0.95", step: "0.05", value: "0", oninput: () => this.#draw(),
    });
    this.amount = h("output", { class: "quiet" }, "off");
    this.over = h("select", { onchange: () => this.#draw() },
      h("option", { value: "step" }, "steps"), h("option", { value: "time" }, "time"));
    this.controls = h("div", { class: "controls", role: "group", "aria-label": "How curves are drawn" },
      h("label", { class: "inline" }, this.log, " logarithmic"),
      h("label", { class: "inline" }, "smoothing ", this.smoothing, " ", this.amount),
      h("label", { class: "inline" }, "over ", this.over));
    this.empty = h("p", { class: "quiet empty" }, "No point has been measured yet.");
    this.grid = h("div", { class: "grid" });
    this.element = h("div", {}, this.controls, this.empty, this.grid);
    this.#draw();
  }

  /** Say that there are new points: they are drawn together, and seldom where drawing takes long. */
  changed() {
    this.#timer ||= setTimeout(() => this.#draw(), Math.max(80, 5 * this.#cost));
  }

  close() {
    clearTimeout(this.#timer);
    for (const chart of this.#charts.values()) chart.close();
  }

  #draw() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const began = performance.now();
    const groups = new Map();
    this.runs.forEach((run, number) => {
      for (const [name, found] of run.measured.curves) {
        const [group, part] = split(name);
        if (!groups.has(group)) groups.set(group, []);
        groups.get(group).push(this.#curve(run, number, name, part, found));
      }
    });
    this.controls.hidden = groups.size === 0;
    this.empty.hidden = groups.size > 0;
    const smoothing = Number(this.smoothing.value);
    say(this.amount, smoothing === 0 ? "off" : smoothing.toFixed(2));
    this.smoothing.setAttribute("aria-valuetext", this.amount.textContent);
    const names = [...groups.keys()].sort((a, b) => rank(a) - rank(b));
    const make = (name) => {
      this.#charts.set(name, new Chart(name));
      return this.#charts.get(name).element;
    };
    reconcile(this.grid, names, (name) => name, make, () => {});
    const options = { log: this.log.checked, smoothing, over: this.over.value };
    for (const name of names) this.#charts.get(name).draw(groups.get(name), options);
    this.#cost = performance.now() - began;
  }

  #curve(run, number, name, part, found) {
    const alone = this.runs.length === 1;
    const look = alone ? part : `run${number % 8} ${part === "train" ? "" : `dash${PARTS.indexOf(part)}`}`;
    const begin = run.measured.began ?? 0;
    const x = this.over.value === "time" ? found.times.map((time) => time - begin) : found.steps;
    // Beside other runs the chart's title names the metric.
    const told = name.startsWith(`${part}/`) ? part : "";
    return { label: alone ? name : told, run: alone ? undefined : run.label, look, x, y: found.values };
  }
}
