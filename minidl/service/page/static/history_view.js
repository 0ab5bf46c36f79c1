// What became of a job: its attempts, and everything that was done to it.

import { get, jobPath } from "./api.js";
import { h } from "./dom.js";
import { duration, moment, stateText } from "./format.js";
import { table } from "./tables.js";

export class HistoryView {
  constructor(id) {
    this.id = id;
    this.element = h("div", {}, h("p", { class: "quiet" }, "Loading …"));
    this.refresh();
  }

  async refresh() {
    try {
      const [{ attempts }, { events }] = await Promise.all([
        get(jobPath(this.id, "attempts")), get(jobPath(this.id, "events"))]);
      this.element.replaceChildren(
        h("h3", {}, "Attempts"),
        attempts.length === 0
          ? h("p", { class: "quiet empty" }, "None yet: the job waits for its turn.")
          : table("Attempts", ["attempt", "state", "began", "took", "steps", "where", "why it ended"],
            attempts.map(attemptRow), "left"),
        h("h3", {}, "Events"),
        table("Events", ["when", "what", "by", ""], events.map(eventRow), "left"));
    } catch (error) {
      this.element.replaceChildren(h("p", { class: "bad" }, error.message));
    }
  }
}

function attemptRow(attempt) {
  const { started_at: began, ended_at: over, first_step: first, last_step: last } = attempt;
  const took = began && over ? duration((new Date(over) - new Date(began)) / 1000) : "–";
  const status = attempt.exit_status === null || attempt.exit_status === undefined ? "" : `exit status ${attempt.exit_status}`;
  const why = [attempt.cause, status, attempt.error].filter(Boolean).join("; ");
  return [
    String(attempt.number),
    h("span", { class: `state ${attempt.state}` }, stateText(attempt.state)),
    moment(began ?? attempt.created_at),
    took,
    last === null || last === undefined ? "–" : `${first ?? 0} to ${last}`,
    [attempt.executor, attempt.host].filter(Boolean).join(", "),
    h("span", { class: "wrap" }, why || "–"),
  ];
}

function eventRow(event) {
  const data = Object.entries(event.data ?? {})
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${typeof value === "string" ? value : JSON.stringify(value)}`);
  return [moment(event.at), event.kind.replaceAll("_", " "), event.actor, h("span", { class: "wrap quiet" }, data.join("; "))];
}
