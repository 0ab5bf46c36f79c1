// A chart of curves over steps or time, drawn as SVG at the width that it has on the screen. A
// pointer over it, or the arrow keys on it, read the curves: the values stand in the legend.

import { announce, h, s, say } from "./dom.js";
import { duration, isShare, metric, number } from "./format.js";
import { nearest, scaleOf, smoothed, thinned } from "./scales.js";

const HEIGHT = 240;
const TITLES = { lr: "learning rate", "throughput/samples_per_s": "samples/s" };
const EDGE = { top: 10, right: 12, bottom: 40 };

/**
 * A chart with a title. `draw(curves, options)` draws anew: a curve is {label, look, x, y}, sorted
 * by x, and `run` where several are compared; options are `log`, `smoothing` (0 to 1), and `over` ("step" or "time").
 */
export class Chart {
  #curves = [];
  #options = { log: false, smoothing: 0, over: "step" };
  #drawn = null;
  #at = null;
  #values = [];

  constructor(name) {
    this.name = name;
    this.place = h("span", { class: "quiet small" });
    this.svg = s("svg", { role: "img", tabindex: "0" });
    this.legend = h("div", { class: "legend" });
    this.note = h("p", { class: "quiet small", hidden: true });
    this.element = h(
      "figure",
      { class: "chart", "data-chart": name },
      h("figcaption", {}, TITLES[name] ?? name, " ", this.place),
      this.svg,
      this.note,
      this.legend,
    );
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerdown", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#read(null));
    this.svg.addEventListener("blur", () => this.#read(null));
    this.svg.addEventListener("keydown", (event) => this.#key(event));
    this.watch = new ResizeObserver(() => this.#render());
    this.watch.observe(this.element);
  }

  draw(curves, options) {
    this.#curves = curves;
    this.#options = options;
    this.#render();
  }

  close() {
    this.watch.disconnect();
  }

  #render() {
    const width = Math.floor(this.element.clientWidth);
    if (width === 0) return;
    const { log, smoothing, over } = this.#options;
    const curves = this.#curves.map((curve) => visible(curve, log, smoothing));
    const ys = curves.flatMap((curve) => (curve.raw === curve.y ? curve.y : curve.raw.concat(curve.y)));
    const yScale = scaleOf(ys, HEIGHT - EDGE.bottom, EDGE.top, { log });
    const texts = yScale.ticks.map((tick) => this.#tick(tick));
    const left = 14 + 7.2 * Math.max(3, ...texts.map((text) => text.length));
    const xs = curves.flatMap((curve) => (curve.x.length > 0 ? [0, curve.x.at(-1)] : []));
    const xScale = scaleOf(xs, left, width - EDGE.right, { margin: 0, whole: over === "step" });
    this.#drawn = { curves, xScale, yScale, width, left };
    this.#parts(texts);
    this.#legend();
    this.#read(this.#at);
    const none = log && curves.some((curve) => curve.x.length < curve.given);
    this.note.hidden = !none;
    if (none) say(this.note, "Values that are not above zero have no place on a logarithmic scale.");
  }

  #parts(texts) {
    const { curves, xScale, yScale, width, left } = this.#drawn;
    const bottom = HEIGHT - EDGE.bottom;
    const parts = [s("title", {}, this.#words())];
    yScale.ticks.forEach((tick, i) => {
      const y = yScale.place(tick);
      parts.push(
        s("line", { class: "axis", x1: left, x2: width - EDGE.right, y1: y, y2: y }),
        s("text", { x: left - 7, y: y + 4, "text-anchor": "end" }, texts[i]),
      );
    });
    for (const tick of xScale.ticks) {
      const x = xScale.place(tick);
      const anchor = x > width - 30 ? "end" : "middle";
      parts.push(s("text", { x, y: bottom + 17, "text-anchor": anchor }, this.#xText(tick)));
    }
    const middle = (left + width - EDGE.right) / 2;
    const over = this.#options.over;
    parts.push(s("text", { x: middle, y: HEIGHT - 5, "text-anchor": "middle" }, over));
    for (const curve of curves) parts.push(...lines(curve, xScale, yScale, this.#options.smoothing));
    this.pointer = s("line", { class: "pointer", y1: EDGE.top, y2: bottom, x1: 0, x2: 0 });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.replaceChildren(...parts, this.pointer);
  }

  #legend() {
    const compared = this.#curves.some((curve) => curve.run);
    this.#values = this.#curves.map(() => h("strong"));
    if (compared) this.legend.replaceChildren(this.#legendOfRuns());
    else {
      this.legend.replaceChildren(h("ul", {}, this.#curves.map((curve, i) =>
        h("li", {}, sample(curve.look), curve.label, " ", this.#values[i]))));
    }
  }

  /** Of several runs a table: a line for each, a column for each part of the data. */
  #legendOfRuns() {
    const parts = [...new Set(this.#curves.map((curve) => curve.label))];
    const runs = [...new Set(this.#curves.map((curve) => curve.run))];
    const dashes = parts.map((part) => this.#curves.find((curve) => curve.label === part).look.replace(/run\d/, "muted"));
    const cell = (run, part) => {
      const i = this.#curves.findIndex((curve) => curve.run === run && curve.label === part);
      return h("td", {}, i < 0 ? "" : this.#values[i]);
    };
    return h("table", {},
      h("thead", {}, h("tr", {}, h("td"), parts.map((part, i) => (part === "" ? h("td") : h("th", { scope: "col" }, sample(dashes[i]), part))))),
      h("tbody", {}, runs.map((run) => {
        const colour = this.#curves.find((curve) => curve.run === run).look.split(" ")[0];
        return h("tr", {}, h("th", { scope: "row" }, h("span", {}, sample(colour), run)), parts.map((part) => cell(run, part)));
      })));
  }

  #tick(value) {
    return isShare(this.name) ? `${Number((value * 100).toPrecision(6))} %` : short(value);
  }

  #xText(value) {
    return this.#options.over === "time" ? duration(value) : short(value);
  }

  #words() {
    const told = this.#drawn.curves.filter((curve) => curve.x.length > 0).map((curve) => {
      const [first, last] = [curve.y[0], curve.y.at(-1)];
      return `${curve.run ?? ""} ${curve.label} from ${metric(this.name, first)} to ${metric(this.name, last)}`;
    });
    return `${this.name}: ${told.join("; ") || "no values"}. Arrow keys read the values.`;
  }

  #point(event) {
    const box = this.svg.getBoundingClientRect();
    if (this.#drawn && box.width > 0) this.#read(this.#drawn.xScale.back(event.clientX - box.left));
  }

  #key(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const all = [...new Set(this.#drawn?.curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
    if (move === undefined || all.length === 0) return;
    event.preventDefault();
    const start = move < 0 ? all.length : -1;
    const now = this.#at === null ? start : nearest(all, this.#at);
    this.#read(all[Math.min(Math.max(now + move, 0), all.length - 1)]);
    const told = this.#curves.map((curve, i) => `${curve.run ?? ""} ${curve.label} ${this.#values[i].textContent}`);
    announce(`${this.place.textContent}: ${told.join(", ")}`);
  }

  /** Show the values near `x`; null: the last ones. */
  #read(x) {
    this.#at = x;
    if (!this.#drawn) return;
    let read = null;
    this.#drawn.curves.forEach((curve, i) => {
      const at = x === null ? curve.x.length - 1 : nearest(curve.x, x);
      if (curve.x.length === 0) return say(this.#values[i], "–");
      const found = curve.x[at];
      if (x !== null && (read === null || Math.abs(found - x) < Math.abs(read - x))) read = found;
      return say(this.#values[i], metric(this.name, curve.y[at]));
    });
    this.pointer.classList.toggle("on", read !== null);
    say(this.place, read === null ? "" : this.#placeText(read));
    if (read === null) return;
    const place = this.#drawn.xScale.place(read);
    this.pointer.setAttribute("x1", place);
    this.pointer.setAttribute("x2", place);
  }

  #placeText(x) {
    return this.#options.over === "time" ? `after ${duration(x)}` : `step ${x.toLocaleString("en")}`;
  }
}

function sample(look) {
  const line = s("line", { class: `curve ${look}`, x1: 0, x2: 26, y1: 5, y2: 5 });
  return s("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, line);
}

/** A curve without what cannot be drawn; `raw` beside what is smoothed. */
function visible(curve, log, smoothing) {
  const kept = curve.y.map((y, i) => i).filter((i) => Number.isFinite(curve.y[i]) && (!log || curve.y[i] > 0));
  const raw = kept.map((i) => curve.y[i]);
  // A few points, as of validation, are shown as they are.
  const y = raw.length > 12 ? smoothed(raw, smoothing) : raw;
  return { ...curve, x: kept.map((i) => curve.x[i]), raw, y, given: curve.y.length };
}

function lines(curve, xScale, yScale, smoothing) {
  const xs = curve.x.map(xScale.place);
  const parts = [];
  const line = (values, look) => {
    const points = thinned(xs, values.map(yScale.place));
    const text = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    parts.push(s("polyline", { class: `curve ${curve.look} ${look}`, points: text }));
  };
  if (smoothing > 0 && curve.y !== curve.raw) line(curve.raw, "faint");
  line(curve.y, "");
  if (xs.length <= 40) {
    const marks = xs.map((x, i) =>
      s("circle", { class: `mark ${curve.look}`, cx: x, cy: yScale.place(curve.y[i]), r: 2.6 }));
    parts.push(...marks);
  }
  return parts;
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))} M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))} k`;
  return size >= 1000 ? String(Math.round(value)) : number(value);
}
