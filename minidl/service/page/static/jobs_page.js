// The list of jobs, newest first, with live states; filters and the place in the list stand in the
// address, so that a reload and a bookmark keep them.

import { get, query } from "./api.js";
import { debounce, h, reconcile, say, shown } from "./dom.js";
import { ACTIVE, ago, duration, metric, moment, progressOf, stateText, title } from "./format.js";
import { label } from "./job_page.js";

const STATES = [...ACTIVE, "succeeded", "failed", "timed_out", "cancelled"];
const PAGE = 25;
/** Jobs whose curves are compared at once. */
const COMPARED = 8;

/** Jobs that are chosen to be compared, also while other pages of the list are shown. */
const chosen = new Map();

export class JobsPage {
  title = "Jobs";
  #timer = 0;
  #due = Infinity;
  #last = 0;
  #asked = 0;
  #closed = false;

  constructor(place, { me, live, go }) {
    Object.assign(this, { place, me, live, go });
    this.heading = h("h1", { tabindex: "-1" }, "Jobs");
    this.fields = this.#filters();
    this.rows = h("tbody");
    this.table = h("table", { class: "jobs" },
      h("caption", { class: "hidden" }, "Jobs, newest first"),
      h("thead", {}, h("tr", {},
        h("th", { scope: "col" }, h("span", { class: "hidden" }, "compare")),
        ["state", "job", "owner", "progress", "submitted", "time"].map((name) => h("th", { scope: "col" }, name)))),
      this.rows);
    this.empty = h("div", { class: "empty", hidden: true });
    this.failure = h("p", { class: "warning", role: "alert", hidden: true });
    this.compare = h("button", { type: "button", disabled: true, onclick: () => this.#compare() });
    this.clear = h("button", { type: "button", class: "link", onclick: () => {
      chosen.clear();
      for (const box of this.rows.querySelectorAll("input")) box.checked = false;
      this.#showChosen();
      this.compare.focus();
    } }, "Choose none");
    this.newest = h("a", { class: "button", hidden: true }, "Newest");
    this.older = h("a", { class: "button", hidden: true }, "Older");
    this.element = h("div", {},
      h("div", { class: "top" }, this.heading,
        h("div", { class: "buttons" }, this.clear, this.compare,
          me.role !== "read" && h("a", { class: "button primary", href: "#/submit" }, "Submit a job"))),
      this.form, this.failure, this.table, this.empty,
      h("nav", { class: "buttons pages", "aria-label": "Pages of the list" }, this.newest, this.older));
    this.heard = () => this.#soon();
    live.addEventListener("job", this.heard);
    live.addEventListener("resync", this.heard);
    this.#showChosen();
    this.show(place);
  }

  close() {
    this.#closed = true;
    this.#due = -Infinity;
    clearTimeout(this.#timer);
    this.live.removeEventListener("job", this.heard);
    this.live.removeEventListener("resync", this.heard);
  }

  show(place) {
    this.place = place;
    for (const [name, field] of Object.entries(this.fields)) {
      if (document.activeElement !== field) field.value = place[name] ?? "";
    }
    this.#load();
  }

  #filters() {
    const changed = () => this.#filter();
    const typed = debounce(changed, 300);
    const option = (value, text) => h("option", { value }, text);
    const fields = {
      q: h("input", { type: "search", oninput: typed, placeholder: "name or id", maxlength: "200" }),
      state: h("select", { onchange: changed }, option("", "all"), STATES.map((state) => option(state, stateText(state)))),
      kind: h("select", { onchange: changed }, option("", "all"), option("training", "training"), option("sweep", "sweep")),
      owner: h("input", { oninput: typed, placeholder: "user", maxlength: "100" }),
      label: h("input", { oninput: typed, placeholder: "key=value", maxlength: "200" }),
    };
    const names = { q: "search", state: "state", kind: "kind", owner: "owner", label: "label" };
    this.form = h("form", { class: "filters", role: "search", "aria-label": "Jobs", onsubmit: (event) => {
      event.preventDefault();
      changed();
    } }, Object.entries(fields).map(([name, field]) => h("label", {}, h("span", {}, names[name]), field)));
    return fields;
  }

  #filter() {
    const values = Object.fromEntries(Object.entries(this.fields).map(([name, field]) => [name, field.value.trim()]));
    this.go(query("#/jobs", values));
  }

  /** Load again within a moment: once, however often it is asked for meanwhile. */
  #soon(wait = 150) {
    const due = Math.max(Date.now() + wait, this.#last + 700);
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#due = Infinity;
      if (document.hidden) this.#soon(1000);
      else this.#load();
    }, due - Date.now());
  }

  async #load() {
    clearTimeout(this.#timer);
    this.#due = Infinity;
    this.#last = Date.now();
    const asked = (this.#asked += 1);
    const { q, state, kind, owner, label: wanted, cursor } = this.place;
    const filters = { q, state, kind, owner, label: wanted };
    try {
      const page = await get(query("v1/jobs", { ...filters, cursor, limit: PAGE }));
      if (this.#closed || asked !== this.#asked) return;
      shown(this.failure, false);
      this.#draw(page, filters);
      // Progress is no event, and "5 min ago" grows old.
      this.#soon(page.jobs.some((job) => ACTIVE.includes(job.state)) ? 2000 : 30_000);
    } catch (error) {
      if (this.#closed || asked !== this.#asked) return;
      say(this.failure, error.message);
      shown(this.failure, true);
      if (!(error.status < 500)) this.#soon(3000);
    }
  }

  #draw({ jobs, next_cursor: next }, filters) {
    reconcile(this.rows, jobs, (job) => job.id, (job) => this.#makeRow(job), (row, job) => updateRow(row, job));
    const filtered = Object.values(filters).some(Boolean);
    shown(this.table, jobs.length > 0);
    shown(this.empty, jobs.length === 0);
    if (jobs.length === 0 && this.empty.dataset.filtered !== String(filtered)) {
      this.empty.dataset.filtered = String(filtered);
      this.empty.replaceChildren(...(filtered
        ? [h("p", {}, "No job fits these filters."), h("p", {}, h("a", { href: "#/jobs" }, "Show all jobs"))]
        : [h("p", {}, "There are no jobs yet."), this.me.role === "read" ? "" : h("p", {}, h("a", { href: "#/submit" }, "Submit the first one"))]));
    }
    shown(this.older, Boolean(next));
    if (next) this.older.setAttribute("href", query("#/jobs", { ...filters, cursor: next }));
    shown(this.newest, Boolean(this.place.cursor));
    this.newest.setAttribute("href", query("#/jobs", filters));
  }

  #makeRow(job) {
    const choose = h("input", { type: "checkbox", checked: chosen.has(job.id), onchange: (event) => {
      if (event.target.checked) chosen.set(job.id, title(job));
      else chosen.delete(job.id);
      this.#showChosen();
    } });
    return h("tr", {},
      h("td", { class: "choose" }, h("label", {}, choose, h("span", { class: "hidden" }, `compare ${title(job)}`))),
      h("td", {}, h("span", { class: "state" })),
      h("td", { class: "name" }, h("a", { href: `#/jobs/${encodeURIComponent(job.id)}` }), h("span", { class: "labels" })),
      h("td", { class: "owner" }, h("span", {})),
      h("td", { class: "progress" }, h("progress", { max: "1", "aria-label": "Progress" }), h("span", { class: "words" })),
      h("td", { class: "time" }, h("time", {})),
      h("td", { class: "took" }));
  }

  #showChosen() {
    const count = chosen.size;
    shown(this.clear, count > 0);
    this.compare.disabled = count < 2 || count > COMPARED;
    say(this.compare, count > COMPARED ? `Compare (at most ${COMPARED})` : count > 0 ? `Compare ${count}` : "Compare");
    this.compare.title = count < 2 ? "Choose two jobs or more in the list" : "";
  }

  #compare() {
    this.go(`#/compare?jobs=${[...chosen.keys()].map(encodeURIComponent).join(",")}`);
  }
}

function updateRow(row, job) {
  const find = (selector) => row.querySelector(selector);
  const state = find(".state");
  say(state, stateText(job.state));
  state.className = `state ${job.state}`;
  say(find(".name a"), title(job));
  const labels = Object.entries(job.labels ?? {});
  if (find(".labels").childElementCount !== labels.length) {
    find(".labels").replaceChildren(...labels.map(([name, value]) => label(name, value)));
  }
  say(find(".owner span"), job.owner);
  const [done, all] = progressOf(job);
  shown(find("progress"), job.state === "running" && all > 0);
  if (all > 0) find("progress").value = Math.min(done / all, 1);
  say(find(".words"), words(job));
  find(".words").title = job.error ?? "";
  find(".words").classList.toggle("bad", job.state === "failed" || job.state === "timed_out");
  const time = find("time");
  say(time, ago(job.created_at));
  time.title = moment(job.created_at);
  time.dateTime = job.created_at;
  say(find(".took"), job.run_seconds > 0 ? duration(job.run_seconds) : "–");
}

/** What is most worth knowing of a job in its state, in a few words. */
function words(job) {
  const { epoch, epochs, step, metrics, trials, finished } = job.progress ?? {};
  if (job.state === "queued") {
    return job.not_before ? "waits before its next try" : job.queue_position ? `number ${job.queue_position} in the queue` : "";
  }
  if (job.state === "succeeded") {
    const results = Object.entries(job.result?.metrics ?? {}).filter(([, value]) => typeof value === "number");
    const best = results.find(([name]) => /accuracy/.test(name)) ?? results[0];
    if (typeof job.result?.best?.value === "number") return `best of its trials ${metric("", job.result.best.value)}`;
    return best ? `${best[0]} ${metric(...best)}` : "";
  }
  if (job.state === "failed" || job.state === "timed_out") return (job.error ?? "").split("\n")[0];
  if (trials) return `${finished ?? 0} of ${trials} trials`;
  if (!step && !epochs) return "";
  const loss = metrics?.["train/loss"];
  return `${epochs ? `epoch ${epoch ?? 0} of ${epochs}` : `step ${step}`}${typeof loss === "number" ? `, loss ${metric("loss", loss)}` : ""}`;
}
