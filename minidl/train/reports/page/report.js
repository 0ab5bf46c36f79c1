// A pointer over a chart, or the arrow keys on it, read its curves: step and values in the legend.
"use strict";
for (const chart of document.querySelectorAll(".chart[data-curves]")) {
  const svg = chart.querySelector("svg");
  const line = svg.querySelector(".pointer");
  const outputs = chart.querySelectorAll(".legend output");
  const place = chart.querySelector(".step");
  const curves = JSON.parse(chart.dataset.curves);
  const all = [...new Set(curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
  let at = -1;

  const nearest = (places, x) =>
    places.reduce((best, other, i) => (Math.abs(other - x) < Math.abs(places[best] - x) ? i : best), 0);

  const show = (x) => {
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    line.style.visibility = "visible";
    let step = 0;
    let gap = Infinity;
    curves.forEach((curve, i) => {
      if (curve.x.length === 0) return;
      const point = nearest(curve.x, x);
      outputs[i].textContent = curve.texts[point];
      if (Math.abs(curve.x[point] - x) < gap) {
        gap = Math.abs(curve.x[point] - x);
        step = curve.steps[point];
      }
    });
    place.textContent = "step " + step.toLocaleString("en");
  };

  const hide = () => {
    at = -1;
    line.style.visibility = "hidden";
    outputs.forEach((output, i) => { output.textContent = curves[i].texts.at(-1) ?? ""; });
    place.textContent = "";
  };

  svg.addEventListener("pointermove", (event) => {
    if (all.length === 0) return;
    const box = svg.getBoundingClientRect();
    at = nearest(all, ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width);
    show(all[at]);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move === undefined || all.length === 0) return;
    event.preventDefault();
    at = Math.min(Math.max((at < 0 && move < 0 ? all.length : at) + move, 0), all.length - 1);
    show(all[at]);
  });
}
