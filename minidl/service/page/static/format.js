// How figures, times and sizes are written; the same words as in `minidl report`.

const SHARES = /(^|\/|_)(accuracy|precision|recall|f1|auroc|top\w*)$/i;

/** A metric's value: accuracies as per cent, else four or so digits that matter. */
export function metric(name, value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (SHARES.test(name) && value >= 0 && value <= 1) return `${(value * 100).toFixed(2)} %`;
  return number(value);
}

export function isShare(name) {
  return SHARES.test(name);
}

export function number(value) {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 1000) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  if (size >= 100) return String(Number(value.toFixed(1)));
  if (size >= 0.001) return String(Number(value.toPrecision(4)));
  return value.toExponential(2);
}

/** Seconds, as "1 h 05 min", "3 min 51 s" or "4.2 s". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/** "30", "45s", "20 min", "2h" or "1.5 d" as seconds; NaN for what is none. */
export function seconds(text) {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d)?\s*$/i.exec(text);
  if (!found) return NaN;
  const unit = { s: 1, sec: 1, m: 60, min: 60, h: 3600, d: 86400 }[(found[2] ?? "s").toLowerCase()];
  return Number(found[1]) * unit;
}

/** A moment, in the reader's time zone: "2026-11-26 14:05:09". */
export function moment(text) {
  if (!text) return "–";
  const at = new Date(text);
  const two = (value) => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `
    + `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** How long ago: "just now", "5 min ago", then the date. */
export function ago(text, now = Date.now()) {
  if (!text) return "–";
  const past = (now - new Date(text).getTime()) / 1000;
  if (past < 10) return "just now";
  if (past < 60) return `${Math.floor(past)} s ago`;
  if (past < 3600) return `${Math.floor(past / 60)} min ago`;
  if (past < 86400) return `${Math.floor(past / 3600)} h ago`;
  return moment(text).slice(0, 10);
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  const power = Math.min(Math.floor(Math.log2(count) / 10), 4);
  return `${(count / 1024 ** power).toFixed(1)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

export function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

/** A nested config as pairs of dotted path and text, in its order. */
export function flat(value, path = "", found = new Map()) {
  const nested = value !== null && typeof value === "object" && Object.keys(value).length > 0;
  if (!nested) found.set(path, typeof value === "string" ? value : JSON.stringify(value));
  else for (const key of Object.keys(value)) flat(value[key], path ? `${path}.${key}` : key, found);
  return found;
}

/** What a job is called: its name, else its id. */
export const title = (job) => job.name || job.id;

/** The same where there is little room. */
export const brief = (job) => (title(job).length > 36 ? `${title(job).slice(0, 35)}…` : title(job));

/** How far a job is: steps, or trials, that are done, and all; 0 where that is not known. */
export function progressOf({ progress }) {
  const { step, total_steps: steps, finished, trials } = progress ?? {};
  return trials ? [finished ?? 0, trials] : [step ?? 0, steps ?? 0];
}

export const ACTIVE = ["queued", "starting", "running", "cancelling"];
export const ended = (job) => !ACTIVE.includes(job.state);
export const stateText = (state) => state.replaceAll("_", " ");
