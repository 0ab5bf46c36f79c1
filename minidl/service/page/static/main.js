// The page's frame: who is signed in, which part is shown (by the address behind #, so that reloads
// and the browser's back work), the stream of what happens to jobs, and outages.

import { ApiError, ask, connection, follow, get } from "./api.js";
import { announce, h, say, shown } from "./dom.js";
import { ComparePage } from "./compare_page.js";
import { JobPage } from "./job_page.js";
import { JobsPage } from "./jobs_page.js";
import { SignIn } from "./sign_in.js";
import { SubmitPage } from "./submit_page.js";

const main = document.querySelector("main");
const account = document.getElementById("account");
const notice = document.getElementById("notice");

/** Tells "job" ({event, job}) of what happens, and "resync" after what may have been missed. */
const live = new EventTarget();

let me = null;
let view = null;
let stream = null;

/** The route in the address: [name, key of the view, its parameters]. */
function route() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parameters = Object.fromEntries(new URLSearchParams(search));
  const [name, id, part] = path.split("/").map(decoded);
  if (name === "jobs" && id) return [JobPage, `job ${id}`, { ...parameters, id, part: part ?? "overview" }];
  if (name === "submit") return [SubmitPage, `submit ${parameters.from ?? ""}`, parameters];
  if (name === "compare") return [ComparePage, `compare ${parameters.jobs}`, parameters];
  return [JobsPage, "jobs", parameters];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const go = (address) => {
  if (location.hash === address) show();
  else location.hash = address;
};

function show() {
  if (me === null) return;
  const [View, key, parameters] = route();
  for (const link of document.querySelectorAll("header nav a")) {
    const current = link.hash === "#/submit" ? View === SubmitPage : View !== SubmitPage;
    if (current) link.setAttribute("aria-current", View === JobsPage || View === SubmitPage ? "page" : "true");
    else link.removeAttribute("aria-current");
  }
  if (view?.key === key && view.show) view.show(parameters);
  else place(new View(parameters, { me, live, go }), key);
}

function place(next, key) {
  const first = view === null;
  view?.close?.();
  view = next;
  view.key = key;
  main.replaceChildren(view.element);
  document.title = `${view.title} – minidl`;
  // Keyboards and screen readers go on where the new part begins, but not when the page opens.
  if (!first) {
    view.heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

async function begin() {
  try {
    me = await get("v1/me");
  } catch (error) {
    // 401 has led to signing in; all else passes by itself.
    if (error instanceof ApiError && error.status !== 401) {
      main.replaceChildren(h("p", { class: "empty" }, `${error.message}; trying again …`));
      setTimeout(begin, 2000);
    }
    return;
  }
  account.replaceChildren(
    h("span", { class: "quiet" }, `${me.user} (${me.role})`),
    h("button", { type: "button", class: "link", onclick: signOut }, "Sign out"));
  for (const link of document.querySelectorAll("header nav a[href='#/submit']")) shown(link.parentElement, me.role !== "read");
  shown(document.querySelector("header nav"), true);
  stream?.close();
  let opened = 0;
  stream = follow("v1/events/stream", {
    // What happened before a stream is open again may have been missed.
    open: () => { if ((opened += 1) > 1) live.dispatchEvent(new Event("resync")); },
    job: (data) => live.dispatchEvent(new CustomEvent("job", { detail: JSON.parse(data) })),
  });
  view = null;
  show();
}

async function signOut() {
  await ask("DELETE", "session").catch(() => null);
  sessionStorage.clear();
  signIn();
}

function signIn() {
  me = null;
  stream?.close();
  shown(document.querySelector("header nav"), false);
  account.replaceChildren();
  if (view?.key === "sign in") return;
  const page = new SignIn(begin);
  place(page, "sign in");
  page.field.focus();
}

/** A newer service brings newer modules: those here may not understand it. */
async function lookForUpdate() {
  const digest = new URL(import.meta.url).pathname.split("/").at(-2);
  const text = await fetch("./", { cache: "no-cache" }).then((answer) => answer.text(), () => digest);
  if (text.includes(digest)) return;
  notice.replaceChildren("The service has been updated. ",
    h("button", { type: "button", class: "link", onclick: () => location.reload() }, "Load the new page"));
  notice.className = "notice warn";
  shown(notice, true);
}

connection.addEventListener("signed-out", signIn);
connection.addEventListener("lost", () => {
  say(notice, "The service cannot be reached. Jobs go on without this page; trying again …");
  notice.className = "notice bad";
  shown(notice, true);
});
connection.addEventListener("back", () => {
  say(notice, "The service is there again.");
  notice.className = "notice good";
  announce(notice.textContent);
  setTimeout(() => {
    shown(notice, false);
    lookForUpdate();
  }, 3000);
  if (me === null && view?.key !== "sign in") begin();
  else live.dispatchEvent(new Event("resync"));
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  view?.heading.focus();
});
addEventListener("hashchange", show);
begin();
