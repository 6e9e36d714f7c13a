/* The victim among its twins: each twin a ring above the line, those that would hide each other one above the other; the victim a full diamond
   on the line, named below it. Shapes tell them apart, not colours; the numbers are in a table below for whoever sees no picture. */
import { html, useEffect, useState } from "./html.js";
import { Table } from "./parts.js";

const RADIUS = 5, REACH = 10, STEP = 2 * RADIUS + 2, EDGE = 24, WIDEST = 700, AROUND = 66;
// A candidate's name, the same on every page, by its place in the kit: the victim is the first.
export const named = (place) => (place ? `twin ${place}` : "victim");
const minus = (text) => String(text).replace("-", "−");

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

function Drawn({ found, width }) {
  const [victim, ...twins] = found.statistics;
  const low = Math.min(-2, ...found.statistics), high = Math.max(2, ...found.statistics);
  const x = (value) => EDGE + ((value - low) / (high - low)) * (width - 2 * EDGE);
  const rings = stacked(twins, x, victim), line = 18 + STEP * Math.max(1, ...rings.map((r) => r.level)) + RADIUS, last = line + 62;
  const anchor = (at) => (at < 60 ? "start" : at > width - 60 ? "end" : "middle");
  const every = Math.max(1, Math.ceil((high - low) / (width / 60)));
  const ticks = [];
  for (let n = Math.ceil(low / every) * every; n <= high; n += every) ticks.push(n);
  const at = x(victim), diamond = `M${at} ${line - REACH} L${at + REACH} ${line} L${at} ${line + REACH} L${at - REACH} ${line} Z`;
  const label = `How much of each candidate is in the suspect, in standard deviations: the victim ${victim.toFixed(2)}, `
    + `rank ${found.rank} of ${found.statistics.length}; its ${twins.length} twins from ${Math.min(...twins).toFixed(2)} to ${Math.max(...twins).toFixed(2)}.`;
  return html`<svg viewBox=${`0 0 ${width} ${last + 6}`} role="img" aria-label=${label}>
    <line x1=${EDGE / 2} x2=${width - EDGE / 2} y1=${line} y2=${line} class="axis" />
    ${ticks.map((n) => html`<line x1=${x(n)} x2=${x(n)} y1=${line + 12} y2=${line + 17} class="axis" />
      <text x=${x(n)} y=${line + 46} class="dim" text-anchor="middle">${minus(n)}</text>`)}
    ${rings.map((r) => html`<circle cx=${r.at} cy=${line - STEP * r.level} r=${RADIUS} class="twin">
      <title>${`a twin: ${r.value.toFixed(2)}`}</title></circle>`)}
    <path d=${diamond} class="victim"><title>${`the victim: ${victim.toFixed(2)}`}</title></path>
    <text x=${at} y=${line + 29} class="victim-name" text-anchor=${anchor(at)}>${minus(`victim ${victim.toFixed(2)}`)}</text>
    <text x=${EDGE / 2} y=${last} class="dim">← less of it</text>
    <text x=${width - EDGE / 2} y=${last} class="dim" text-anchor="end">more of it in the suspect →</text></svg>`;
}

const wide = () => Math.max(280, Math.min(WIDEST, document.documentElement.clientWidth - AROUND));

/* `ids`: of the models, in the order of the statistics, where they are known. */
export function Candidates({ found, ids }) {
  const [width, setWidth] = useState(wide());
  useEffect(() => {
    const changed = () => setWidth(wide());
    addEventListener("resize", changed);
    return () => removeEventListener("resize", changed);
  }, []);
  const all = found.statistics.map((value, i) => ({ name: named(i), value, model: ids?.[i] })).sort((a, b) => b.value - a.value);
  const columns = [["Candidate", (c) => c.name], ["Statistic", (c) => Number(c.value.toFixed(3)), "number"]];
  if (ids) columns.push(["Model", (c) => html`<code>${c.model}</code>`]);
  return html`<figure><${Drawn} found=${found} width=${width} />
    <figcaption class="hint">How much of each candidate is in the suspect: ◆ the victim, ○ its ${found.statistics.length - 1} twins, models trained
      as the victim was but for the seed. ${found.statistics_after ? `After ${found.statistics_after} questions, in` : "In"} standard
      deviations of all of them from their mean.</figcaption>
    <details><summary>The numbers</summary><${Table} name="Statistic of each candidate"
      columns=${columns} of=${all} /></details></figure>`;
}
