// Several jobs side by side: their curves in the same charts, results, and where configs differ.

import { get, jobPath, query } from "./api.js";
import { h } from "./dom.js";
import { brief, duration, ended, metric, stateText } from "./format.js";
import { Curves, Measured } from "./curves.js";
import { configOf, differences } from "./config_view.js";
import { table } from "./tables.js";

export class ComparePage {
  title = "Comparison";
  #closed = false;
  #timer = 0;
  #curves = null;

  constructor(place) {
    this.ids = [...new Set((place.jobs ?? "").split(",").filter(Boolean))].slice(0, 8);
    this.heading = h("h1", { tabindex: "-1" }, "Comparison");
    this.body = h("div", {}, h("p", { class: "quiet" }, "Loading …"));
    this.element = h("div", {}, this.heading, this.body);
    this.results = h("div");
    this.#start();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#curves?.close();
  }

  async #start() {
    if (this.ids.length < 2) {
      this.body.replaceChildren(h("p", { class: "empty" }, "Choose two jobs or more in ",
        h("a", { href: "#/jobs" }, "the list"), "."));
      return;
    }
    try {
      const [jobs, configs] = await Promise.all([
        Promise.all(this.ids.map((id) => get(jobPath(id)))), Promise.all(this.ids.map(configOf))]);
      if (!this.#closed) this.#build(jobs, configs);
    } catch (error) {
      this.body.replaceChildren(h("p", { class: "warning", role: "alert" }, error.message));
    }
  }

  #build(jobs, configs) {
    const names = distinct(jobs);
    const runs = jobs.map((job, i) => ({ label: names[i], id: job.id, measured: new Measured(), next: 0 }));
    this.#curves = new Curves(runs);
    const rows = differences(configs).map(([path, ...values]) =>
      [h("code", {}, path), ...values.map((value) => (value === undefined ? "–" : h("code", {}, value)))]);
    this.#showResults(jobs, names);
    this.body.replaceChildren(
      h("h2", {}, "Results"), this.results,
      h("h2", {}, "Curves"), this.#curves.element,
      h("h2", {}, "Config"),
      rows.length === 0
        ? h("p", {}, "The configs are the same, defaults included.")
        : table("Differences of the configs", ["key", ...names], rows, "left"));
    this.#follow(runs, names);
  }

  /**
   * Points are asked for again and again, not streamed: streams of eight jobs would be more than
   * the connections that a browser has for a host.
   */
  async #follow(runs, names) {
    let jobs;
    try {
      jobs = await Promise.all(runs.map(async (run) => {
        // In this order: what an ended job measured is all there.
        const job = await get(jobPath(run.id));
        for (let more = true; more;) {
          const { points, next, complete, reset } = await get(query(jobPath(run.id, "metrics"), { after: run.next }));
          if (reset) run.measured.curves.clear();
          for (const point of points) run.measured.add(point);
          run.next = next;
          more = !complete;
        }
        return job;
      }));
    } catch (error) {
      if (error.status) return;
    }
    if (this.#closed) return;
    this.#curves.changed();
    if (jobs) this.#showResults(jobs, names);
    if (!jobs?.every(ended)) this.#timer = setTimeout(() => this.#follow(runs, names), 2000);
  }

  #showResults(jobs, names) {
    const metrics = [...new Set(jobs.flatMap((job) => Object.keys(job.result?.metrics ?? {})))];
    const rows = jobs.map((job, i) => [
      h("a", { href: `#/jobs/${encodeURIComponent(job.id)}` }, names[i]),
      h("span", { class: `state ${job.state}` }, stateText(job.state)),
      ...metrics.map((name) => metric(name, job.result?.metrics?.[name])),
      job.progress?.step?.toLocaleString("en") ?? "–",
      duration(job.run_seconds),
    ]);
    this.results.replaceChildren(table("Results", ["job", "state", ...metrics, "steps", "time"], rows, "left"));
  }
}

/** Names of jobs that tell them apart: of those called the same, with the end of their ids. */
function distinct(jobs) {
  const count = (name) => jobs.filter((job) => brief(job) === name).length;
  return jobs.map((job) => (count(brief(job)) > 1 ? `${brief(job)} …${job.id.slice(-4)}` : brief(job)));
}
