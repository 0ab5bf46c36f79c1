// The config of a job, as submitted and with all defaults, and what differs from another job's.

import { get, jobPath, query } from "./api.js";
import { h, say } from "./dom.js";
import { brief, flat, plural } from "./format.js";
import { table } from "./tables.js";

/** Keys whose values differ: [path, value in each config]; undefined where a config has it not. */
export function differences(configs) {
  const flats = configs.map((config) => flat(config));
  const paths = [...new Set(flats.flatMap((found) => [...found.keys()]))];
  return paths
    .map((path) => [path, ...flats.map((found) => found.get(path))])
    .filter(([, ...values]) => values.some((value) => value !== values[0]));
}

export const configOf = (id) => get(query(jobPath(id, "config"), { format: "json" }));

export class ConfigView {
  constructor(job, other, navigate) {
    this.job = job;
    this.navigate = navigate;
    this.texts = h("div");
    this.difference = h("div", { "aria-live": "polite" });
    this.select = h("select", { onchange: () => navigate({ with: this.select.value }) },
      h("option", { value: "" }, "choose a job"));
    this.element = h("div", {},
      h("h3", {}, "Compared with"),
      h("label", { class: "inline" }, "another job ", this.select), this.difference,
      this.texts);
    this.#texts();
    this.#others(other);
    this.show(other);
  }

  /** Compare with the job of an id. */
  async show(other) {
    this.other = other;
    if (!other) return this.difference.replaceChildren();
    try {
      const found = differences(await Promise.all([configOf(this.job.id), configOf(other)]));
      if (this.other !== other) return undefined;
      const rows = found.map(([path, here, there]) => [h("code", {}, path), changed(here), changed(there)]);
      const name = [...this.select.options].find((option) => option.value === other)?.text ?? other;
      const words = rows.length === 0
        ? "The two configs are the same, defaults included."
        : `${plural(rows.length, "key")} ${rows.length === 1 ? "differs" : "differ"}; all others are the same.`;
      return this.difference.replaceChildren(
        h("p", { class: "quiet" }, words),
        rows.length > 0 ? table("Differences of the configs", ["key", "this job", name], rows, "left") : "");
    } catch (error) {
      return this.difference.replaceChildren(h("p", { class: "bad" }, error.message));
    }
  }

  async #texts() {
    for (const [format, name, open] of [["source", "As it was submitted", true], ["yaml", "With all defaults", false]]) {
      const text = h("pre", { tabindex: "0", "aria-label": name });
      this.texts.append(h("details", { open }, h("summary", {}, name), text));
      get(query(jobPath(this.job.id, "config"), { format }), { as: "text" })
        .then((found) => say(text, found), (error) => say(text, error.message));
    }
  }

  async #others(chosen) {
    const { jobs } = await get(query("v1/jobs", { limit: 50, kind: this.job.kind })).catch(() => ({ jobs: [] }));
    const known = jobs.filter((job) => job.id !== this.job.id);
    const options = known.map((job) =>
      h("option", { value: job.id }, job.name ? `${brief(job)} (${job.id})` : job.id));
    if (chosen && !known.some((job) => job.id === chosen)) options.push(h("option", { value: chosen }, chosen));
    this.select.append(...options);
    this.select.value = chosen ?? "";
    if (known.length === 0) this.select.options[0].text = "there is no other job";
  }
}

const changed = (value) => (value === undefined ? h("span", { class: "quiet" }, "–") : h("code", {}, value));
