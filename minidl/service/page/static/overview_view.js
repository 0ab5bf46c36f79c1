// The first part of a job's page: the figures that matter, curves as they grow, and, once there is
// one, the confusion matrix.

import { follow, get, jobPath } from "./api.js";
import { h } from "./dom.js";
import { duration, ended, isShare, metric } from "./format.js";
import { Curves, Measured } from "./curves.js";
import { confusionTable } from "./tables.js";

export class OverviewView {
  #confusionAsked = false;

  constructor(job) {
    this.id = job.id;
    this.tiles = h("dl", { class: "headline" });
    this.measured = new Measured();
    this.curves = new Curves([{ label: "", measured: this.measured }]);
    this.confusion = h("section", { hidden: true, "aria-label": "Test samples" });
    this.element = h("div", {}, this.tiles, h("h2", {}, "Curves"), this.curves.element, this.confusion);
    this.stream = follow(jobPath(job.id, "metrics/stream"), {
      reset: () => this.measured.curves.clear(),
      point: (data) => {
        this.measured.add(JSON.parse(data));
        this.curves.changed();
      },
    });
    this.update(job);
  }

  close() {
    this.stream.close();
    this.curves.close();
  }

  update(job) {
    const tiles = headline(job).map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text)));
    this.tiles.replaceChildren(...tiles);
    this.tiles.hidden = tiles.length === 0;
    // Only a run that has come to its end, and tells classes, has one.
    if (ended(job) && Object.keys(job.result?.metrics ?? {}).some(isShare)) this.#confusion();
  }

  async #confusion() {
    if (this.#confusionAsked) return;
    this.#confusionAsked = true;
    try {
      const found = await get(jobPath(this.id, "confusion"));
      this.confusion.replaceChildren(h("h2", {}, "Confusion matrix"), confusionTable(found));
      this.confusion.hidden = false;
    } catch {
      // There is none, or the service is not reached, as the page says elsewhere.
    }
  }
}

/** Pairs of name and text: results where there are some, else the last measurements. */
function headline(job) {
  const results = Object.entries(job.result?.metrics ?? {});
  const last = Object.entries(job.progress?.metrics ?? {});
  const shown = (results.length > 0 ? results : last.filter(([name]) => !name.startsWith("throughput")))
    .filter(([, value]) => typeof value === "number")
    .sort(([a], [b]) => isShare(b) - isShare(a)).slice(0, 4)
    .map(([name, value]) => [name, metric(name, value)]);
  const best = job.result?.best;
  if (typeof best === "number" && job.result.monitor) {
    shown.push([`best ${job.result.monitor}`, metric(job.result.monitor, best)]);
  }
  if (job.run_seconds > 0) shown.push(["running time", duration(job.run_seconds)]);
  return shown;
}
