// A field to draw on, white on black, and from it the picture that a model of MNIST's digits wants:
// what was drawn is fitted into 20 of 28 pixels and its centre of mass put in the middle, as those
// digits were (LeCun et al. 1998).

import { h } from "./dom.js";

const FIELD = 280;
const BRUSH = 22;

/** A canvas to draw on; `changed()` is called as strokes grow. */
export class Drawing {
  #pointer = null;
  #last = null;

  constructor(changed) {
    this.changed = changed;
    this.empty = true;
    this.canvas = h("canvas", {
      width: FIELD, height: FIELD, class: "field", role: "img",
      "aria-label": "Field to draw on with a pointer",
      onpointerdown: (event) => this.#begin(event),
      onpointermove: (event) => this.#move(event),
      onpointerup: () => { this.#pointer = null; },
      onpointercancel: () => { this.#pointer = null; },
    });
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.#wipe();
  }

  clear() {
    this.#wipe();
    this.changed();
  }

  #wipe() {
    this.pen.fillStyle = "#000";
    this.pen.fillRect(0, 0, FIELD, FIELD);
    Object.assign(this.pen, { strokeStyle: "#fff", lineWidth: BRUSH, lineCap: "round", lineJoin: "round" });
    this.empty = true;
  }

  /** Draw strokes on a field of 100 by 100. */
  trace(strokes) {
    this.#wipe();
    for (const stroke of strokes) {
      this.pen.beginPath();
      stroke.forEach(([x, y], i) => this.pen[i === 0 ? "moveTo" : "lineTo"]((x / 100) * FIELD, (y / 100) * FIELD));
      this.pen.stroke();
    }
    this.empty = false;
    this.changed();
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * FIELD, ((event.clientY - box.top) / box.height) * FIELD];
  }

  #begin(event) {
    if (this.#pointer !== null || event.button > 0) return;
    event.preventDefault();
    this.#pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.#last = this.#place(event);
    this.#line(this.#last);
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const step of passed.length > 0 ? passed : [event]) this.#line(this.#place(step));
  }

  #line(to) {
    this.pen.beginPath();
    this.pen.moveTo(...this.#last);
    this.pen.lineTo(...to);
    this.pen.stroke();
    this.#last = to;
    this.empty = false;
    this.changed();
  }

  /** The picture as a model sees it: a canvas of `side` by `side` pixels. */
  picture(side) {
    const { data } = this.pen.getImageData(0, 0, FIELD, FIELD);
    return centred(this.canvas, data, side);
  }
}

/** Fit the light part of a square canvas into 20/28 of `side`, its centre of mass in the middle. */
function centred(canvas, data, side) {
  const size = canvas.width;
  let [left, top, right, bottom, mass, massX, massY] = [size, size, -1, -1, 0, 0, 0];
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const light = data[4 * (y * size + x)];
      if (light === 0) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = y;
      mass += light;
      massX += light * (x + 0.5);
      massY += light * (y + 0.5);
    }
  }
  const small = h("canvas", { width: side, height: side });
  const pen = small.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, side, side);
  if (mass === 0) return small;
  const scale = ((20 / 28) * side) / Math.max(right - left + 1, bottom - top + 1);
  pen.imageSmoothingQuality = "high";
  pen.setTransform(scale, 0, 0, scale, side / 2 - (massX / mass) * scale, side / 2 - (massY / mass) * scale);
  pen.drawImage(shrunk(canvas, scale), 0, 0, size, size);
  return small;
}

/** Halve a canvas while it is more than twice as large as it will be: else pixels would be skipped. */
function shrunk(canvas, scale) {
  let now = canvas;
  for (let share = 0.5; share > scale; share /= 2) {
    const half = h("canvas", { width: Math.ceil(now.width / 2), height: Math.ceil(now.height / 2) });
    half.getContext("2d").drawImage(now, 0, 0, half.width, half.height);
    now = half;
  }
  return now;
}

/** A picture as nested arrays of whole numbers from 0 to 255: (channels, height, width). */
export function pixels(canvas, channels) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const plane = Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => data[4 * (y * width + x)]));
  return Array.from({ length: channels }, () => plane);
}
