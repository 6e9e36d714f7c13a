// The console: plain fetches of the service's own routes. Everything from outside is set as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const state = { key: sessionStorage.getItem("key") || "", kit: null, watching: null };
const KINDS = { parquet: "application/vnd.apache.parquet", arrow: "application/vnd.apache.arrow.stream", json: "application/json", csv: "text/csv", npy: "application/x-npy", f32: "application/octet-stream" };
const ENDED = ["done", "failed", "cancelled"];
const STATES = { ok: "✓", caution: "!", refused: "✕", "no references": "–" };

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

async function showKits() {
  const { kits } = await read("/kits");
  $("who").textContent = `${kits.length} kit${kits.length === 1 ? "" : "s"}`;
  $("kits").tBodies[0].replaceChildren(...kits.map((k) =>
    row([make("button", { class: "link", type: "button", onclick: () => tried(() => chooseKit(k.id, true)) }, k.id), k.victim, k.twins, k.accuses_nobody ? `${k.level}: accuses nobody` : k.level, k.budget], { id: `kit-${k.id}` })));
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
  const counted = (of) => Object.entries(of).map(([what, n]) => `${n} ${what}`).join(", ") || "none", last = kit.looks.length - 1;
  const looks = last ? `${kit.looks.slice(0, last).join(", ")} or ${kit.looks[last]}` : kit.looks[0];
  $("kit-facts").replaceChildren(...facts({
    Victim: kit.victim, Twins: `${kit.twins}${kit.procedure ? `: ${kit.procedure}` : ""}`, References: counted(kit.references),
    "Strongest claim": `p ${short(kit.smallest_p)} by rank; level ${kit.level}`, Questions: `${kit.budget}: ${counted(kit.families)}; the first ${kit.checks} are checks`,
    "A verdict after": `${looks} answers`, Classes: kit.classes.join(", "), Images: kit.image_shape.join(" × "), Digest: kit.digest,
  }));
  $("nobody").hidden = !kit.accuses_nobody;
  $("nobody").textContent = kit.accuses_nobody ? `This kit accuses nobody: ${kit.accuses_nobody}` : "";
  $("checked").replaceChildren(table("Checks of victim and twins", ["What is compared", "State", "p", "Found"], kit.checked.map((c) => row([c.check, make("span", { class: `state ${c.state.replace(" ", "-")}` }, `${STATES[c.state]} ${c.state}`), short(c.p_value), c.told.startsWith(`${c.check}: `) ? c.told.slice(c.check.length + 2) : c.told]))));
  for (const select of document.querySelectorAll("select[name=queries]")) select.replaceChildren(make("option", { value: "" }, "all"), ...kit.looks.slice(0, last).map((n) => make("option", {}, n)));
  const formats = { parquet: "Parquet", json: "JSON", zip: "PNG images" };
  $("downloads").replaceChildren(...Object.entries(formats).flatMap(([f, name], i) =>
    [i ? " · " : "", make("button", { class: "link", type: "button", onclick: () => tried(() => save(`/kits/${id}/queries?format=${f}`, `queries-${id}.${f}`)) }, name)]));
  if (focus) $("kit").querySelector("h3").focus();
}

function pValue(found) {
  if (found.p_value === null) return "none";
  const by = found.by === "rank" ? "by the victim's rank among its twins" : "by the normal distribution";
  return `${short(found.p_value)} ${by}${found.beyond ? ", or by the suspect's among innocent models: the larger of both" : ""}`;
}

function showVerdict(found, more) {
  const width = Math.max(280, Math.min(700, $("result").clientWidth - 34)), placed = found.statistics?.length > 1;
  const rests = {
    p: pValue(found), Level: found.level, Rank: found.rank === null ? "none" : `${found.rank} of ${found.twins + 1}`, "Smallest p": `${short(found.smallest_p)}, with ${found.twins} twins`,
    ...(found.normal ? { "If the twins are normal": `p ${short(found.normal.p_value)}; a test of their normality: p ${short(found.normal.normality)}` } : {}),
    ...(found.beyond ? { "Beside innocent models": `${found.beyond.above} of ${found.beyond.references} references have as much of the victim` } : {}),
    Questions: `${found.queries} of at most ${found.budget}${found.settled ? "" : "; not settled: more may change the call"}`, "Read as": found.access, ...more,
  };
  $("verdict").replaceChildren(
    make("p", { class: `call ${found.call.replace(" ", "-")}` }, found.call), make("p", {}, found.reason), ...(found.hint ? [make("p", { class: "hint" }, `Hint: ${found.hint}`)] : []),
    ...(found.cautions?.length ? [make("div", { class: "caution", role: "note" }, make("h3", {}, "Caution"), make("ul", {}, ...found.cautions.map((c) => make("li", {}, c))))] : []),
    ...(placed ? [candidates(found, width)] : []),
    make("h3", {}, "What it rests on"), make("dl", {}, ...facts(rests)), make("h3", {}, "What the level means"), make("p", { id: "promise" }, found.promise ?? ""));
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
  if (!kind) throw new Refused(`${file.name} has no known ending; expected ${Object.keys(KINDS).map((k) => `.${k}`).join(", ")}`);
  const query = new URLSearchParams({ suspect: data.get("suspect"), access: data.get("access") });
  for (const name of ["level", "queries", "p_value"]) if (data.get(name)) query.set(name, data.get(name));
  state.watching = null;
  const told = await (await ask(`/kits/${state.kit.id}/score?${query}`, { method: "POST", body: file, headers: { "Content-Type": kind } })).json();
  openResult(`Verdict on ${told.suspect}`);
  showVerdict(told.twins, { Kit: told.kit, "Kit's digest": told.digest, "Answers (SHA-256)": told.answers_sha256 });
}

async function start(form) {
  if (!state.kit) throw new Refused("There is no kit to audit by.");
  const data = new FormData(form), suspect = { url: data.get("url") };
  for (const name of ["protocol", "layout"]) if (data.get(name)) suspect[name] = data.get(name);
  if (data.get("rate")) suspect.rate = Number(data.get("rate"));
  try { Object.assign(suspect, JSON.parse(data.get("more") || "{}")); } catch { throw new Refused("The settings are no JSON."); }
  const asked = { kit: state.kit.id, suspect };
  for (const name of ["level", "budget", "queries"]) if (data.get(name)) asked[name] = Number(data.get(name));
  asked.p_value = data.get("p_value");
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
    const place = progress.rank ? `; so far the victim is number ${progress.rank} of ${progress.twins + 1}, p ${short(progress.p_value)}` : "";
    $("progress-text").textContent = `${audit.state}: ${progress.queries ?? 0} of at most ${progress.budget ?? "?"} queries, ${progress.charged ?? 0} charged${place}`;
    $("bar").value = progress.budget ? progress.queries / progress.budget : 0;
    if (ENDED.includes(audit.state)) {
      state.watching = null;
      if (audit.state === "done") showVerdict(audit.result, { Kit: audit.kit, Evidence: audit.result.evidence ?? "none: it was not judged", Charged: `${audit.result.charged} queries, ${audit.result.lost} lost on the way` });
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
