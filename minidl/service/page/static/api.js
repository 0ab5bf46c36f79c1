// Everything that the page asks the service. A request answers with JSON, or throws ApiError with
// what the service said. A stream (server-sent events) is read by `fetch`, not EventSource: that one
// hides statuses, and gives up for good at the first answer that is no stream. Streams rest while
// the page is hidden, as browsers allow six connections to a host, over all tabs.

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.detail ?? `the service answered ${status}`);
    this.status = status;
    this.problems = body?.problems ?? [];
  }
}

/** The service cannot be reached. */
export class UnreachableError extends Error {
  constructor() {
    super("the service cannot be reached; trying again");
  }
}

/** Tells "signed-out", "lost" (not reached), and "back" (reached again). */
export const connection = new EventTarget();

let lost = false;

/** Note that the service was not reached, and ask until it is. */
export function connectionLost() {
  if (lost) return;
  lost = true;
  connection.dispatchEvent(new Event("lost"));
  let wait = 500;
  const probe = async () => {
    try {
      const answer = await fetch("healthz", { cache: "no-store" });
      if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    } catch {
      wait = Math.min(wait * 1.5, 5000);
      setTimeout(probe, wait);
      return;
    }
    lost = false;
    connection.dispatchEvent(new Event("back"));
  };
  setTimeout(probe, wait);
}

/** Ask the service; throws ApiError, UnreachableError, or AbortError. */
export async function ask(method, path, { body, headers = {}, signal, as = "json" } = {}) {
  const options = { method, signal, headers: { Accept: "application/json, */*;q=0.5", ...headers } };
  if (body instanceof Blob) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  let text = "";
  let blob = null;
  try {
    answer = await fetch(path, options);
    if (as === "blob" && answer.ok) blob = await answer.blob();
    else text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    connectionLost();
    throw new UnreachableError();
  }
  if (!answer.ok) {
    if (answer.status === 401 && path !== "session") signedOut();
    throw new ApiError(answer.status, parsed(text));
  }
  if (as === "text") return text;
  if (as === "blob") return { blob, headers: answer.headers };
  return text ? JSON.parse(text) : null;
}

const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

const signedOut = () => connection.dispatchEvent(new Event("signed-out"));

export const get = (path, options) => ask("GET", path, options);
export const post = (path, body, options) => ask("POST", path, { body, ...options });

/** A path with a query of what is neither empty nor undefined. */
export function query(path, values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined);
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

export const jobPath = (id, ...parts) => ["v1/jobs", encodeURIComponent(id), ...parts].join("/");

/** Longer than this without a byte, not even the service's pings: the stream is dead. */
const SILENCE = 45_000;

/**
 * Follow a stream until it ends or `close()` is called, over outages: each new connection goes on
 * after the last id. `on` maps names of events to functions of (data, id); `on.open` is called at each
 * connection, `on.end` once nothing more will come, `on.gone` with the status of a refusal.
 */
export function follow(path, on) {
  let closed = false;
  let last = null;
  let control = null;

  const rest = () => { if (document.hidden) control?.abort(); };
  document.addEventListener("visibilitychange", rest);
  const close = () => {
    closed = true;
    document.removeEventListener("visibilitychange", rest);
    control?.abort();
  };

  const deliver = (event) => {
    if (closed) return;
    if (event.id !== null) last = event.id;
    on[event.name]?.(event.data, event.id);
    if (event.name === "end") close();
  };

  const connect = async () => {
    control = new AbortController();
    const headers = { Accept: "text/event-stream", ...(last === null ? {} : { "Last-Event-ID": last }) };
    const answer = await fetch(path, { headers, signal: control.signal, cache: "no-store" });
    if (answer.status === 401) {
      close();
      signedOut();
    } else if ([403, 404, 410].includes(answer.status)) {
      close();
      on.gone?.(answer.status);
    } else if (!answer.ok) {
      throw new Error(`the stream answered ${answer.status}`);
    } else {
      on.open?.();
      await read(answer.body, deliver, control);
    }
  };

  const run = async () => {
    let wait = 250;
    while (!closed) {
      if (document.hidden) await visible();
      if (lost) await back();
      if (closed) return;
      const began = Date.now();
      try {
        await connect();
        if (Date.now() - began > 5000) wait = 250;
      } catch (error) {
        if (closed) return;
        if (error instanceof TypeError) connectionLost();
      }
      if (!closed) await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 1.6, 5000);
    }
  };
  run();
  return { close };
}

const back = () =>
  new Promise((done) => connection.addEventListener("back", done, { once: true }));

const visible = () =>
  new Promise((done) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      done();
    };
    document.addEventListener("visibilitychange", look);
  });

/** Read events from a body, as the HTML standard's section 9.2.6 has them. */
async function read(body, deliver, control) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let event = { name: "message", id: null, data: [] };
  let watch = 0;
  try {
    while (true) {
      clearTimeout(watch);
      watch = setTimeout(() => control.abort(), SILENCE);
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      // A carriage return at the end may be half of a line's end.
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop();
      for (const line of lines) event = take(line, event, deliver);
    }
  } finally {
    clearTimeout(watch);
  }
}

/** Take one line of a stream; returns the event that is being read. */
function take(line, event, deliver) {
  if (line === "") {
    if (event.data.length > 0 || event.name !== "message") {
      deliver({ ...event, data: event.data.join("\n") });
    }
    return { name: "message", id: null, data: [] };
  }
  const colon = line.indexOf(":");
  const field = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  if (field === "event") event.name = value;
  else if (field === "id") event.id = value;
  else if (field === "data") event.data.push(value);
  return event;
}
