// A job's page: who it is and how it does, what can be done to it, and its parts, of which one is
// shown at a time (so that a page holds few streams open).

import { get, jobPath } from "./api.js";
import { actions } from "./actions.js";
import { announce, h, say, shown } from "./dom.js";
import { ago, duration, ended, metric, moment, progressOf, stateText, title } from "./format.js";
import { ConfigView } from "./config_view.js";
import { FilesView } from "./files_view.js";
import { HistoryView } from "./history_view.js";
import { LogView } from "./log_view.js";
import { OverviewView } from "./overview_view.js";
import { SweepView } from "./sweep_view.js";
import { TryIt } from "./try_it.js";

const PARTS = { overview: "Overview", log: "Log", config: "Config", history: "History", files: "Files", try: "Try it" };

export class JobPage {
  #part = null;
  #shownPart = null;
  #job = null;
  #timer = 0;
  #closed = false;

  /** `place` is the route: {id, part, with}. */
  constructor(place, { me, live, go }) {
    Object.assign(this, { id: place.id, place, me, live, go });
    this.heading = h("h1", { tabindex: "-1" }, place.id);
    this.state = h("span", { class: "state" });
    this.bar = h("progress", { max: "1", "aria-label": "Progress" });
    this.progress = h("p", { class: "quiet progress" }, this.bar, h("span", { class: "words" }));
    this.buttons = h("div", { class: "buttons" });
    this.error = h("p", { class: "warning", hidden: true });
    this.failure = h("p", { class: "warning", role: "alert", hidden: true });
    this.facts = h("dl", { class: "facts" });
    this.nav = h("nav", { class: "parts", "aria-label": "Parts of the job" });
    this.body = h("div", { class: "part" });
    this.element = h("div", { class: "job" },
      h("div", { class: "top" }, h("div", { class: "heading" }, this.heading, this.state), this.buttons),
      this.failure, this.error, this.progress, this.facts, this.nav, this.body);
    this.heard = (event) => this.#hear(event.detail);
    live.addEventListener("job", this.heard);
    this.again = () => this.#load();
    live.addEventListener("resync", this.again);
    this.#load();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.live.removeEventListener("job", this.heard);
    this.live.removeEventListener("resync", this.again);
    this.#part?.close?.();
  }

  get title() {
    return this.#job ? title(this.#job) : this.id;
  }

  /** Show another part of the same job. */
  show(place) {
    this.place = place;
    if (this.#job) this.#showPart();
  }

  #hear({ job, event }) {
    if (event.job_id !== this.id) return;
    if (event.kind === "deleted") return this.#gone("This job has been deleted.");
    if (job) this.#take(job);
    if (this.#part instanceof HistoryView) this.#part.refresh();
    return undefined;
  }

  async #load() {
    clearTimeout(this.#timer);
    const first = this.#job === null;
    let failed = false;
    try {
      this.#take(await get(jobPath(this.id)));
      if (first) shown(this.failure, false);
    } catch (error) {
      // 422: what stands in the address is no id at all.
      if ([404, 422].includes(error.status)) this.#gone("There is no such job; it may have been deleted.");
      failed = !(error.status < 500);
      if (failed && first) {
        say(this.failure, error.message);
        shown(this.failure, true);
      }
    }
    // Progress is no event: it is asked for.
    if (!this.#closed && (failed || (this.#job && !ended(this.#job)))) this.#later();
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (document.hidden ? this.#later() : this.#load()), 1500);
  }

  #gone(words) {
    this.close();
    this.element.replaceChildren(this.heading, h("p", { class: "empty" }, words, " "),
      h("p", {}, h("a", { href: "#/jobs" }, "All jobs")));
  }

  #take(job) {
    const before = this.#job;
    this.#job = job;
    if (this.#closed) return;
    if (before && before.state !== job.state) announce(`${title(job)}: ${stateText(job.state)}`);
    if (before && ended(before) && !ended(job)) this.#later();
    say(this.heading, title(job));
    document.title = `${title(job)} – minidl`;
    say(this.state, stateText(job.state));
    this.state.className = `state ${job.state}`;
    this.#showProgress(job);
    if (before?.state !== job.state || before?.files_removed_at !== job.files_removed_at) this.#showButtons(job);
    const error = [job.error, job.files_removed_at && "Its files have been removed, as the service keeps them for a limited time or size."];
    say(this.error, error.filter(Boolean).join("\n"));
    shown(this.error, this.error.textContent !== "");
    this.#showFacts(job);
    if (before === null) this.#showPart();
    // A retry begins anew: curves and log too.
    else if (ended(before) && !ended(job)) this.#showPart(true);
    else this.#part?.update?.(job);
    if (before && !ended(before) && ended(job)) this.#part?.refresh?.();
  }

  #showProgress(job) {
    const { epoch, epochs, step, total_steps: total, metrics = {}, trials, finished } = job.progress ?? {};
    const words = [];
    if (job.state === "queued") words.push(job.queue_position ? `number ${job.queue_position} in the queue` : "in the queue");
    const [done, all] = progressOf(job);
    if (trials) words.push(`${finished ?? 0} of ${trials} trials finished`);
    if (epochs) words.push(`epoch ${epoch ?? 0} of ${epochs}`);
    if (total) words.push(`step ${(step ?? 0).toLocaleString("en")} of ${total.toLocaleString("en")}`);
    if ("train/loss" in metrics) words.push(`train/loss ${metric("train/loss", metrics["train/loss"])}`);
    shown(this.progress, !ended(job));
    shown(this.bar, all > 0);
    if (all > 0) this.bar.value = Math.min(done / all, 1);
    say(this.progress.querySelector(".words"), words.join(", ") || "it begins");
  }

  #showButtons(job) {
    const focused = this.buttons.contains(document.activeElement);
    this.buttons.replaceChildren(
      ...actions(job, this.me, {
        done: (changed) => { shown(this.failure, false); this.#take(changed); },
        failed: (error) => { say(this.failure, error.message); shown(this.failure, true); this.#load(); },
        deleted: () => this.go("#/jobs"),
      }),
      this.me.role === "read" ? "" : h("a", { class: "button", href: `#/submit?from=${encodeURIComponent(job.id)}` }, "Submit again …"));
    if (focused) this.heading.focus();
  }

  #showFacts(job) {
    const labels = Object.entries(job.labels ?? {}).map(([name, value]) => label(name, value));
    const link = job.mlflow?.url
      ? h("a", { href: job.mlflow.url, rel: "noreferrer", target: "_blank" }, "open the run in MLflow")
      : job.mlflow && h("code", {}, job.mlflow.command ?? job.mlflow.run_id);
    const pairs = [
      ["job", h("code", {}, job.id)],
      ["owner", job.owner],
      ["labels", labels.length > 0 && h("span", { class: "labels" }, labels)],
      ["submitted", h("time", { datetime: job.created_at, title: moment(job.created_at) }, ago(job.created_at))],
      ["ended", job.ended_at && h("time", { datetime: job.ended_at, title: moment(job.ended_at) }, ago(job.ended_at))],
      ["attempts", job.attempts > 0 && `${job.attempts}${job.executor ? ` (${job.executor})` : ""}`],
      ["retries", job.max_retries > 0 && `${job.retries_used} of ${job.max_retries} used`],
      ["ranks", job.ranks > 1 && String(job.ranks)],
      ["priority", job.priority !== 0 && String(job.priority)],
      ["time limit", job.timeout && duration(job.timeout)],
      ["MLflow", link],
    ].filter(([, value]) => value);
    this.facts.replaceChildren(...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  #showPart(anew = false) {
    const wanted = this.place.part in PARTS ? this.place.part : "overview";
    const links = Object.entries(PARTS).filter(([name]) => name !== "try" || this.#job.kind === "training");
    if (wanted !== this.#shownPart || this.nav.childElementCount === 0) {
      const focused = this.nav.contains(document.activeElement);
      this.nav.replaceChildren(...links.map(([name, text]) =>
        h("a", { href: `#/jobs/${this.id}/${name}`, "aria-current": name === wanted && "page" }, text)));
      const current = this.nav.querySelector("[aria-current]");
      this.nav.scrollLeft = current.offsetLeft - this.nav.offsetLeft - 40;
      if (focused) current.focus();
    }
    if (wanted === this.#shownPart && !anew) {
      this.#part.show?.(this.place.with);
      return;
    }
    this.#part?.close?.();
    this.#shownPart = wanted;
    const make = {
      overview: () => (this.#job.kind === "sweep" ? new SweepView(this.#job) : new OverviewView(this.#job)),
      log: () => new LogView(this.id),
      config: () => new ConfigView(this.#job, this.place.with, (to) => this.go(`#/jobs/${this.id}/config?with=${encodeURIComponent(to.with)}`)),
      history: () => new HistoryView(this.id),
      files: () => new FilesView(this.id),
      try: () => new TryIt(this.id),
    };
    this.#part = make[wanted]();
    this.body.replaceChildren(this.#part.element);
  }
}

export const label = (name, value) => h("span", { class: "label" }, value === "" ? name : `${name}=${value}`);
