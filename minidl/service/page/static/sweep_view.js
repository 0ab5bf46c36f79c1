// The first part of a sweep's page: its best trial, all trials with what they tried and found, and
// the pictures that the sweep has drawn of them.

import { get, jobPath } from "./api.js";
import { h } from "./dom.js";
import { duration, ended, metric } from "./format.js";
import { table } from "./tables.js";

/** The columns of trials.csv before and behind the metric and the parameters. */
const FIRST = ["number", "state"];
const LAST = ["seconds", "directory", "reason"];

export class SweepView {
  #shown = null;

  constructor(job) {
    this.id = job.id;
    this.tiles = h("dl", { class: "headline" });
    this.trials = h("div");
    this.pictures = h("div", { class: "images" });
    this.element = h("div", {}, this.tiles, h("h2", {}, "Trials"), this.trials, this.pictures);
    this.update(job);
  }

  update(job) {
    this.job = job;
    const { trials, finished, begun } = job.progress ?? {};
    const { best, outcome } = job.result ?? {};
    const tiles = [
      trials && ["trials finished", `${finished ?? 0} of ${trials}`],
      best && [`best, of trial ${best.number}`, typeof best.value === "number" ? metric("", best.value) : String(best.value)],
      job.run_seconds > 0 && ["running time", duration(job.run_seconds)],
    ].filter(Boolean);
    this.tiles.replaceChildren(...tiles.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
    const now = JSON.stringify([begun, finished, outcome, job.state]);
    if (this.#shown === now) return;
    this.#shown = now;
    this.#table(ended(job));
  }

  async #table(over) {
    const path = (name) => jobPath(this.id, "artifacts", name);
    const { files } = await get(jobPath(this.id, "artifacts")).catch(() => ({ files: [] }));
    if (!files.some((file) => file.path === "trials.csv")) {
      this.trials.replaceChildren(h("p", { class: "quiet" },
        over ? "There is no table of its trials." : "The table of trials is written when they have ended."));
      return;
    }
    try {
      const [heads, ...rows] = records(await get(path("trials.csv"), { as: "text" }));
      const kept = heads.map((head, i) => [head, i]).filter(([head]) => !LAST.slice(1).includes(head));
      const [name] = heads.slice(FIRST.length);
      const cells = rows.map((row) => kept.map(([head, i]) => cell(head, row[i], name)));
      const { outcome } = this.job.result ?? {};
      this.trials.replaceChildren(...[outcome && h("p", {}, `${outcome.toLowerCase()} trials`), rows.length > 0
        ? table("Trials", kept.map(([head]) => head), cells, "left")
        : h("p", { class: "quiet" }, "No trial has begun yet.")].filter(Boolean));
    } catch (error) {
      this.trials.replaceChildren(h("p", { class: "bad" }, error.message));
    }
    this.pictures.replaceChildren(...files.map((file) => file.path)
      .filter((file) => /^plots\/[^/]+\.png$/.test(file))
      .map((file) => h("img", { src: path(file), alt: `${file}, as the sweep drew it`, loading: "lazy" })));
  }
}

function cell(head, text, name) {
  if (head === "state") return text.toLowerCase();
  const value = Number(text);
  return text === "" || Number.isNaN(value) || head === "number" ? text || "–" : metric(head === name ? name : "", value);
}

/** The records of a CSV text (RFC 4180). */
export function records(text) {
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== ",") rows.push([]);
  }
  return rows.filter((row) => row.length > 1 || (row[0] ?? "") !== "");
}
