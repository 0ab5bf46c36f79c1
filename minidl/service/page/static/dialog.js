// Questions that stop all else: the browser's own modal dialog, which keeps the focus within, is
// left by Escape, and gives the focus back.

import { h } from "./dom.js";

let dialogs = 0;

/**
 * Ask before something is done. Resolves to null where it is not wanted, else to what `read` gives
 * (true without it). `content` stands between the text and the buttons.
 */
export function question({ title, text, action, danger = false, content = [], read = () => true }) {
  return new Promise((resolve) => {
    const id = `dialog${(dialogs += 1)}`;
    let answer = null;
    const dialog = h("dialog", { "aria-labelledby": id, onclose: () => {
      dialog.remove();
      resolve(answer);
    } });
    const form = h("form", { method: "dialog", onsubmit: () => { answer = read(); } },
      h("h2", { id }, title),
      text && h("p", {}, text),
      ...content,
      h("div", { class: "buttons end" },
        h("button", { type: "button", onclick: () => dialog.close() }, "Not now"),
        h("button", { type: "submit", class: danger ? "danger" : "primary" }, action)));
    dialog.append(form);
    document.body.append(dialog);
    dialog.showModal();
  });
}
