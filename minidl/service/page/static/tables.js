// Tables: of any rows, and the confusion matrix of a classifier.

import { h } from "./dom.js";
import { plural } from "./format.js";

/** A table that scrolls within its own frame; cells are texts or nodes. */
export function table(caption, heads, rows, look = "") {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: look },
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.map(([first, ...cells]) =>
        h("tr", {}, h("th", { scope: "row" }, first), cells.map((cell) => h("td", {}, cell)))))));
}

/** Rows are true classes, columns predicted ones; the colour is the share of the row. */
export function confusionTable({ classes, matrix }) {
  const sums = matrix.map((row) => row.reduce((sum, count) => sum + count, 0));
  const total = sums.reduce((sum, count) => sum + count, 0);
  const right = matrix.reduce((sum, row, i) => sum + row[i], 0);
  const cell = (count, i, j) => {
    const look = count === 0 ? "none" : i === j ? "hit" : "miss";
    const element = h("td", { class: look, title: `${classes[i]}, taken for ${classes[j]}: ${count}` },
      count.toLocaleString("en"));
    if (count > 0) element.style.setProperty("--share", String(count / sums[i]));
    return element;
  };
  const head = classes.map((name) => h("th", { scope: "col" }, name));
  const body = matrix.map((row, i) =>
    h("tr", {}, h("th", { scope: "row" }, classes[i]), row.map((count, j) => cell(count, i, j))));
  return h("div", {},
    h("p", {}, `${right.toLocaleString("en")} of ${plural(total, "sample")} are on the diagonal${mostMistaken(classes, matrix)}.`),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
      h("table", { class: "confusion" },
        h("caption", {}, "rows: true class; columns: predicted class; colour: share of the row"),
        h("thead", {}, h("tr", {}, h("td"), head)),
        h("tbody", {}, body))));
}

function mostMistaken(classes, matrix) {
  let most = null;
  matrix.forEach((row, i) => row.forEach((count, j) => {
    if (i !== j && count > (most?.count ?? 0)) most = { count, i, j };
  }));
  if (most === null) return "";
  return `; most often, ${classes[most.i]} is taken for ${classes[most.j]} (${plural(most.count, "time")})`;
}
