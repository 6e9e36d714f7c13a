// Nodes from text, and the picture of a verdict. Everything from outside is set as text, never as markup.
"use strict";

const SVG = ["svg", "g", "line", "path", "circle", "text", "title"];
const RADIUS = 5, REACH = 10, STEP = 2 * RADIUS + 2, EDGE = 24;

function make(tag, attributes = {}, ...children) {
  const node = SVG.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) name === "onclick" ? node.addEventListener("click", value) : node.setAttribute(name, value);
  node.append(...children.map((c) => (c instanceof Node ? c : String(c))));
  return node;
}

function row(cells, attributes = {}) {
  return make("tr", attributes, ...cells.map((c) => make("td", typeof c === "number" ? { class: "number" } : {}, c ?? "")));
}

function table(name, titles, rows) {
  const head = make("thead", {}, make("tr", {}, ...titles.map((t) => make("th", { scope: "col" }, t))));
  return make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": name }, make("table", {}, head, make("tbody", {}, ...rows)));
}

const facts = (all) => Object.entries(all).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
const short = (value) => (value === null || value === undefined ? "none" : String(Number(value.toPrecision(2))));

/* The picture: each twin a ring above the line, those that would hide each other one above the other; the victim a full diamond on the line,
   named below it. Shapes tell them apart, not colours; the numbers are in a table below for whoever sees no picture. */

function stacked(twins, x, victim) {
  const placed = [];
  for (const value of [...twins].sort((a, b) => a - b)) {
    const at = x(value);
    let level = Math.abs(at - x(victim)) < RADIUS + REACH ? 1 : 0;
    while (placed.some((p) => p.level === level && Math.abs(p.at - at) < 2 * RADIUS + 1)) level += 1;
    placed.push({ at, level, value });
  }
  return placed;
}

function picture(found, width) {
  const [victim, ...twins] = found.statistics;
  const low = Math.min(-2, ...found.statistics), high = Math.max(2, ...found.statistics);
  const x = (value) => EDGE + ((value - low) / (high - low)) * (width - 2 * EDGE);
  const rings = stacked(twins, x, victim), line = 18 + STEP * Math.max(1, ...rings.map((r) => r.level)) + RADIUS, last = line + 62;
  const anchor = (at) => (at < 60 ? "start" : at > width - 60 ? "end" : "middle");
  const every = (high - low) / (width / 60) > 1 ? Math.ceil((high - low) / (width / 60)) : 1;
  const ticks = [];
  for (let n = Math.ceil(low / every) * every; n <= high; n += every) {
    ticks.push(make("line", { x1: x(n), x2: x(n), y1: line + 12, y2: line + 17, class: "axis" }), make("text", { x: x(n), y: line + 46, class: "dim", "text-anchor": "middle" }, String(n).replace("-", "−")));
  }
  const at = x(victim), diamond = `M${at} ${line - REACH} L${at + REACH} ${line} L${at} ${line + REACH} L${at - REACH} ${line} Z`;
  const marks = [
    make("line", { x1: EDGE / 2, x2: width - EDGE / 2, y1: line, y2: line, class: "axis" }), ...ticks,
    ...rings.map((r) => make("circle", { cx: r.at, cy: line - STEP * r.level, r: RADIUS, class: "twin" }, make("title", {}, `a twin: ${r.value.toFixed(2)}`))),
    make("path", { d: diamond, class: "victim" }, make("title", {}, `the victim: ${victim.toFixed(2)}`)),
    make("text", { x: at, y: line + 29, class: "victim-name", "text-anchor": anchor(at) }, `victim ${victim.toFixed(2)}`.replace("-", "−")),
    make("text", { x: EDGE / 2, y: last, class: "dim" }, "← less of it"), make("text", { x: width - EDGE / 2, y: last, class: "dim", "text-anchor": "end" }, "more of it in the suspect →"),
  ];
  const label = `How much of each candidate is in the suspect, in standard deviations: the victim ${victim.toFixed(2)}, rank ${found.rank} of ${found.statistics.length}; `
    + `its ${twins.length} twins from ${Math.min(...twins).toFixed(2)} to ${Math.max(...twins).toFixed(2)}.`;
  return make("svg", { viewBox: `0 0 ${width} ${last + 6}`, role: "img", "aria-label": label }, ...marks);
}

function candidates(found, width) {
  const all = found.statistics.map((value, i) => [i ? `twin ${i}` : "victim", value]).sort((a, b) => b[1] - a[1]);
  const caption = `How much of each candidate is in the suspect: ◆ the victim, ○ its ${found.statistics.length - 1} twins, models trained as the victim was but for the seed. `
    + "In standard deviations of all of them from their mean.";
  return make("figure", {}, picture(found, width), make("figcaption", { class: "hint" }, caption),
    make("details", {}, make("summary", {}, "The numbers"), table("Statistic of each candidate", ["Candidate", "Statistic"], all.map(([name, value]) => row([name, Number(value.toFixed(3))])))));
}
