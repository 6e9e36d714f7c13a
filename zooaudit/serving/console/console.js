// The console: plain fetches of the service's own routes. Everything from outside is set as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const state = { key: sessionStorage.getItem("key") || "", kit: null, watching: null };
const KINDS = { parquet: "application/vnd.apache.parquet", arrow: "application/vnd.apache.arrow.stream", json: "application/json", f32: "application/octet-stream" };
const ENDED = ["done", "failed", "cancelled"];
const QUANTILES = ["least", "5 %", "25 %", "median", "75 %", "95 %", "most"];

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "rect", "circle", "text", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) name === "onclick" ? node.addEventListener("click", value) : node.setAttribute(name, value);
  node.append(...children.map((c) => (c instanceof Node ? c : String(c))));
  return node;
}

class Refused extends Error {}

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}), ...(state.key ? { Authorization: `Bearer ${state.key}` } : {}) };
  let reply;
  try { reply = await fetch(path, { ...options, headers }); } catch { throw new Refused("The service cannot be reached."); }
  if (reply.ok) return reply;
  let told = {};
  try { told = await reply.json(); } catch { /* not a problem document */ }
  const parts = [told.detail || `The service answers ${reply.status}`, told.found && `found ${told.found}`, told.expected && `expected ${told.expected}`];
  throw new Refused(parts.filter(Boolean).join("; "));
}

const read = async (path) => (await ask(path)).json();

function trouble(error) {
  $("trouble").hidden = !error;
  $("trouble").textContent = error ? error.message : "";
  if (error && !(error instanceof Refused)) console.error(error);
}

async function tried(work) {
  try { trouble(null); await work(); } catch (error) { trouble(error); }
}

async function save(path, name) {
  const url = URL.createObjectURL(await (await ask(path)).blob());
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function row(cells, attributes = {}) {
  return make("tr", attributes, ...cells.map((c) => make("td", typeof c === "number" ? { class: "number" } : {}, c ?? "")));
}

async function showKits() {
  const { kits } = await read("/kits");
  $("who").textContent = `${kits.length} kit${kits.length === 1 ? "" : "s"}`;
  $("kits").tBodies[0].replaceChildren(...kits.map((k) =>
    row([make("button", { class: "link", type: "button", onclick: () => tried(() => chooseKit(k.id, true)) }, k.id), k.victim, k.level, k.budget], { id: `kit-${k.id}` })));
  const known = kits.map((k) => k.id);
  const wanted = known.includes(location.hash.slice(1)) ? location.hash.slice(1) : known[0];
  if (wanted) await chooseKit(wanted, false);
}

async function chooseKit(id, focus) {
  const kit = await read(`/kits/${encodeURIComponent(id)}`);
  state.kit = kit;
  history.replaceState(null, "", `#${id}`);
  for (const tr of $("kits").tBodies[0].rows) tr.setAttribute("aria-selected", tr.id === `kit-${id}`);
  $("kit").hidden = false;
  $("kit-id").textContent = id;
  const facts = {
    Victim: kit.victim, Classes: kit.classes.join(", "), Images: kit.image_shape.join(" × "), "Queries at most": `${kit.budget}, ${kit.checks} of them checks; at least ${kit.first_look}`,
    "Innocent references": Object.entries(kit.references).map(([f, n]) => `${n} ${f}`).join(", "), "Strongest claim": `p ${kit.smallest_p.toPrecision(2)}; level ${kit.level}`, Digest: kit.digest,
  };
  $("kit-facts").replaceChildren(...Object.entries(facts).flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)]));
  const formats = { parquet: "Parquet", json: "JSON", zip: "PNG images" };
  $("downloads").replaceChildren(...Object.entries(formats).flatMap(([f, name], i) =>
    [i ? " · " : "", make("button", { class: "link", type: "button", onclick: () => tried(() => save(`/kits/${id}/queries?format=${f}`, `queries-${id}.${f}`)) }, name)]));
  if (focus) $("kit").querySelector("h3").focus();
}

function picture(found) {
  const families = Object.entries(found.population), left = 120, width = Math.max(280, Math.min(700, $("result").clientWidth - 32)), high = 30 * families.length + 46;
  const all = families.flatMap(([, p]) => p.peaks).concat(found.peak ?? []);
  const low = Math.min(...all), span = Math.max(...all) - low || 1;
  const x = (value) => left + 10 + ((value - low) / span) * (width - left - 30);
  const marks = families.flatMap(([family, { models, peaks }], i) => {
    const y = 20 + 30 * i, name = family === "copy" ? "known copies" : family;
    const tip = make("title", {}, `${name}: ${QUANTILES.map((q, j) => `${q} ${peaks[j].toFixed(2)}`).join(", ")}`);
    return [
      make("text", { x: 0, y: y + 4 }, `${name} (${models})`),
      make("line", { x1: x(peaks[0]), x2: x(peaks[6]), y1: y, y2: y, stroke: "currentColor", "stroke-width": 1 }),
      make("rect", { x: x(peaks[2]), y: y - 7, width: Math.max(2, x(peaks[4]) - x(peaks[2])), height: 14, fill: "var(--accent)", opacity: 0.5 }, tip),
      make("line", { x1: x(peaks[3]), x2: x(peaks[3]), y1: y - 9, y2: y + 9, stroke: "currentColor", "stroke-width": 2 }),
    ];
  });
  if (found.peak !== null) {
    const at = x(found.peak), anchor = at > width - 60 ? "end" : "middle";
    marks.push(make("line", { x1: at, x2: at, y1: 6, y2: high - 30, stroke: "var(--stolen)", "stroke-width": 2, "stroke-dasharray": "4 3" }), make("text", { x: at, y: high - 16, "text-anchor": anchor }, "this suspect"));
  }
  marks.push(make("text", { x: left, y: high - 2, class: "dim" }, "less like a copy"), make("text", { x: width - 10, y: high - 2, class: "dim", "text-anchor": "end" }, "more like a copy"));
  const said = found.peak === null ? "" : ` The suspect is at ${found.peak.toFixed(2)}.`;
  const label = families.map(([f, p]) => `${f}: ${p.models} models from ${p.peaks[0].toFixed(2)} to ${p.peaks[6].toFixed(2)}`).join("; ");
  return make("svg", { viewBox: `0 0 ${width} ${high}`, role: "img", "aria-label": `Highest standardised scores. ${label}.${said}` }, ...marks);
}

function showVerdict(found, facts) {
  const families = make("table", {}, make("thead", {}, make("tr", {}, ...["Innocent models", "How many", "As high as the suspect", "p of the next one"].map((t) => make("th", { scope: "col" }, t)))),
    make("tbody", {}, ...found.families.map((f) => row([f.family, f.models, f.above, f.p_value.toPrecision(2)]))));
  const all = { ...facts, p: found.p_value === null ? "none" : `${found.p_value.toPrecision(3)} (level ${found.level}; strongest claim ${found.smallest_p.toPrecision(2)})`,
    Score: `${found.score === null ? "none" : found.score.toFixed(2)} (0 as innocent models, 1 as known copies)`, Queries: `${found.queries} of at most ${found.budget}`, "Read as": found.access };
  $("verdict").replaceChildren(
    make("p", { class: `call ${found.call.replace(" ", "-")}` }, found.call), make("p", {}, found.reason), ...(found.hint ? [make("p", { class: "hint" }, `Hint: ${found.hint}`)] : []),
    picture(found), make("p", { class: "hint" }, "Known copies taught the score, so a copy that it has not seen stands lower than they do."), make("div", { class: "scroll" }, families),
    make("h3", {}, "What it rests on"), make("dl", {}, ...Object.entries(all).flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)])));
}

function openResult(title) {
  $("result").hidden = false;
  $("result-title").textContent = title;
  $("verdict").replaceChildren();
  $("progress").hidden = true;
  $("result-title").focus();
}

async function judge(form) {
  if (!state.kit) throw new Refused("There is no kit to judge by.");
  const data = new FormData(form), file = $("file").files[0], kind = KINDS[file.name.split(".").pop().toLowerCase()];
  if (!kind) throw new Refused(`${file.name} has no known ending; expected .parquet, .arrow, .json or .f32`);
  const query = new URLSearchParams({ suspect: data.get("suspect"), access: data.get("access"), ...(data.get("level") ? { level: data.get("level") } : {}) });
  state.watching = null;
  const told = await (await ask(`/kits/${state.kit.id}/score?${query}`, { method: "POST", body: file, headers: { "Content-Type": kind } })).json();
  openResult(`Verdict on ${told.suspect}`);
  showVerdict(told.calibrated, { Kit: told.kit, "Kit's digest": told.digest, "Answers (SHA-256)": told.answers_sha256 });
}

async function start(form) {
  if (!state.kit) throw new Refused("There is no kit to audit by.");
  const data = new FormData(form), suspect = { url: data.get("url") };
  for (const name of ["protocol", "layout"]) if (data.get(name)) suspect[name] = data.get(name);
  if (data.get("rate")) suspect.rate = Number(data.get("rate"));
  try { Object.assign(suspect, JSON.parse(data.get("more") || "{}")); } catch { throw new Refused("The settings are no JSON."); }
  const asked = { kit: state.kit.id, suspect };
  for (const name of ["level", "budget"]) if (data.get(name)) asked[name] = Number(data.get(name));
  const made = await (await ask("/audits", { method: "POST", body: JSON.stringify(asked), headers: { "Content-Type": "application/json" } })).json();
  await showAudits();
  await watch(made.id);
}

async function watch(id) {
  state.watching = id;
  openResult("Audit");
  while (state.watching === id) {
    const audit = await read(`/audits/${id}`), { progress } = audit;
    if (state.watching !== id) return;  // something else is shown by now
    $("result-title").textContent = `Audit of ${audit.suspect}`;
    $("progress").hidden = ENDED.includes(audit.state);
    $("progress-text").textContent = `${audit.state}: ${progress.queries ?? 0} of at most ${progress.budget ?? "?"} queries, ${progress.charged ?? 0} charged`;
    $("bar").value = progress.budget ? progress.queries / progress.budget : 0;
    if (ENDED.includes(audit.state)) {
      state.watching = null;
      if (audit.state === "done") showVerdict(audit.result, { Kit: audit.kit, Evidence: audit.result.evidence, Charged: `${audit.result.charged} queries, ${audit.result.lost} lost on the way` });
      else $("verdict").replaceChildren(make("p", { class: "call cannot-tell" }, audit.state), make("p", {}, audit.error || "It was stopped; answers so far are kept."));
      await showAudits();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
}

async function showAudits() {
  const { audits } = await read("/audits");
  $("no-audits").hidden = audits.length > 0;
  $("audits").hidden = !audits.length;
  $("audits").tBodies[0].replaceChildren(...audits.map((a) => row([
    make("button", { class: "link", type: "button", onclick: () => tried(() => watch(a.id)) }, a.suspect), a.state, a.result ? a.result.call : "", new Date(a.made * 1000).toLocaleString()])));
}

async function showReports() {
  const { reports } = await read("/reports");
  $("reports").replaceChildren(...(reports.length ? reports.map((r) => make("li", {}, make("button", { class: "link", type: "button", onclick: () => tried(() => save(`/reports/${encodeURIComponent(r)}`, `${r}.html`)) }, `${r}.html`))) : [make("li", {}, "None yet.")]));
}

async function begin() {
  await tried(async () => {
    await showKits();
    await Promise.allSettled([showAudits(), showReports()]);  // a key may lack these scopes
  });
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = $("key").value.trim();
  sessionStorage.setItem("key", state.key);
  $("key").value = "";
  begin();
});
$("score-form").addEventListener("submit", (event) => { event.preventDefault(); tried(() => judge(event.target)); });
$("audit-form").addEventListener("submit", (event) => { event.preventDefault(); tried(() => start(event.target)); });
$("cancel").addEventListener("click", () => tried(() => ask(`/audits/${state.watching}`, { method: "DELETE" })));
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) $("file").files = event.dataTransfer.files;
  });
}
begin();
