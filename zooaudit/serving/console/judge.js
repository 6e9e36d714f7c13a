// Answers that came back: one file or many, judged one after the other, each by itself.
import { html, useEffect, useRef, useState } from "./html.js";
import { ask, may, retried, session, useLive } from "./api.js";
import { Alert, Call, Lacks, Level, Live, Table, Title } from "./parts.js";
import { Nobody, Steps } from "./kits.js";
import { Sending, Verdict } from "./verdict.js";
import { frequency, isWeak, plural, short } from "./words.js";

export const KINDS = {
  parquet: "application/vnd.apache.parquet", arrow: "application/vnd.apache.arrow.stream", json: "application/json",
  csv: "text/csv", npy: "application/x-npy", f32: "application/octet-stream",
};
const MODELS = ["onnx", "safetensors"];
const ACCESS = ["probabilities", "top-3", "top-1", "rounded-2", "rounded-1", "label"];
const ending = (file) => file.name.split(".").pop().toLowerCase();
const isModel = (file) => session.me.model_bytes > 0 && MODELS.includes(ending(file));
const known = () => [...Object.keys(KINDS), ...(session.me.model_bytes ? MODELS : [])].map((e) => `.${e}`);

export function LevelField({ kit }) {
  const [level, setLevel] = useState(""), at = Number(level || kit.level), ok = at > 0 && at < 0.5, weak = isWeak(at);
  return html`<label>Level <input name="level" type="number" min="0.0001" max="0.4999" step="any"
      placeholder=${`the kit's: ${kit.level}`} onInput=${(e) => setLevel(e.target.value)} />
    <output class=${`hint ${weak && "unsure"}`}>${ok ? `at most ${frequency(at)} innocents${weak ? ": weak" : ""}` : "between 0 and 0.5"}</output></label>`;
}

export function HowFields({ kit }) {
  return html`<${LevelField} kit=${kit} />
    <label>p-value <select name="p_value"><option value="rank">by rank</option><option value="normal">by the normal distribution</option></select></label>
    <label>Questions at most <select name="queries"><option value="">all</option>
      ${kit.looks.slice(0, -1).map((n) => html`<option>${n}</option>`)}</select></label>`;
}

function Files({ files, choose }) {
  const [over, setOver] = useState(false);
  const on = (state) => (event) => { event.preventDefault(); setOver(state); };
  const dropped = (event) => { on(false)(event); if (event.dataTransfer.files.length) choose([...event.dataTransfer.files]); };
  return html`<label class=${`drop ${over ? "over" : ""}`} id="drop" onDragOver=${on(true)} onDragLeave=${on(false)} onDrop=${dropped}>
      Answers: drop files here, or choose some
      <input id="file" type="file" multiple accept=${known().join(",")} aria-describedby="formats" onChange=${(e) => choose([...e.target.files])} />
      ${files.length > 0 && html`<span class="chosen">${plural(files.length, "file")}: ${files.map((f) => f.name).join(", ")}</span>`}</label>
    <p class="hint" id="formats">CSV, JSON, Parquet or Arrow with <code>query</code> and <code>probabilities</code> or <code>label</code>; JSON with
      ${" "}<code>answers</code> or <code>labels</code>; NumPy (<code>.npy</code>) or bare float32 (<code>.f32</code>). Several files are several suspects, named by their files.
      ${session.me.model_bytes > 0 && html`${" "}Or a model itself, <code>.onnx</code> or <code>.safetensors</code> up to ${session.me.model_bytes >> 20} MiB: it is
        asked here, in a process of its own, and not kept.`}</p>`;
}

const stem = (file) => file.name.replace(/\.[^.]+$/, "");

function Row({ one }) {
  const found = one.told?.twins;
  const refused = one.error && html`<span class="refused">refused: ${one.error.message}</span>`;
  const state = one.state === "done" ? html`<${Call} call=${found.call} level=${found.level} />` : refused || one.say || one.state;
  return html`<tr><td>${one.name}</td><td>${state}</td><td class="number">${found ? short(found.p_value) : ""}</td>
    <td>${found && html`<${Level} level=${found.level} />`}</td>
    <td>${one.told?.id && html`<a href=${`/console/verdicts/${one.told.id}`}>Verdict on ${one.name}</a>`}
      ${one.told && !one.told.id && "not kept"}</td></tr>`;
}

function Single({ told }) {
  const at = `/console/verdicts/${told.id}`;
  return html`<${Verdict} found=${told.twins} more=${{ Kit: told.kit, "Kit, SHA-256": told.digest, "Answers, SHA-256": told.answers_sha256 }} />
    ${told.id ? html`<p><a href=${at}>This verdict's own page</a></p><${Sending} id=${told.id} at=${at} />`
      : html`<p class="note" role="note">This verdict is not kept: the service keeps none, or has no room. Print this page if you need it.</p>`}`;
}

function Batch({ batch, kit }) {
  const ended = batch.filter((b) => b.state === "done" || b.error), [only] = batch, running = ended.length < batch.length;
  if (!batch.length) return null;
  const told = only.told, single = batch.length === 1;
  const title = single ? `Verdict on ${only.name}` : `Verdicts on ${batch.length} suspects`;
  return html`<section id="result" aria-labelledby="result-title"><h2 id="result-title" tabindex="-1">${title}</h2>
    ${running && html`<p role="status">${ended.length} of ${batch.length} judged. ${batch.find((b) => b.say)?.say ?? ""}</p>
      <progress aria-label="Files judged" max=${batch.length} value=${ended.length}></progress>`}
    ${single ? told && html`<${Single} told=${told} />` : html`<${Table} name="Verdicts" titles=${["Suspect", "Call", "p", "Level", "Page"]}
        rows=${batch.map((one) => html`<${Row} key=${one.name} one=${one} />`)} />
        <p class="hint">Each is judged by itself: of ${batch.length} models made without the victim, up to${" "}
          ${short(batch.length * (told?.twins?.level ?? kit.level))} would be called stolen on average.
          ${" "}To judge them together, with a correction for their number: <code>zooaudit score --answers …</code></p>`}</section>`;
}

export function Judge({ id }) {
  const live = useLive(`/kits/${encodeURIComponent(id)}`);
  return html`<${Title}>Judge answers by kit <code>${id}</code><//><${Steps} id=${id} here="/judge" />
    ${!may("score") && html`<${Lacks} scope="score" what="send answers" ...${session.me} />`}
    <${Live} live=${live}>${(kit) => html`<${JudgeForm} kit=${kit} />`}<//>`;
}

function JudgeForm({ kit }) {
  const [files, setFiles] = useState([]), [batch, setBatch] = useState([]), [error, setError] = useState(null), [busy, setBusy] = useState(false);
  const running = useRef(false), here = useRef(true);
  useEffect(() => () => { here.current = false; }, []);
  useEffect(() => {
    const stay = (event) => event.preventDefault();
    if (busy) addEventListener("beforeunload", stay);
    return () => removeEventListener("beforeunload", stay);
  }, [busy]);
  const clear = () => { setBatch([]); setError(null); };
  const choose = (chosen) => { clear(); setFiles(chosen); };
  const change = (index, what) => here.current && setBatch((old) => old.map((one, i) => (i === index ? { ...one, ...what } : one)));

  async function judgeOne(index, file, name, query, factory) {
    change(index, { state: "judging" });
    query.set("suspect", name);
    const own = isModel(file), headers = { "Content-Type": own ? "application/octet-stream" : KINDS[ending(file)] };
    const asked = own ? `model?${query}&kind=${ending(file)}${factory && `&factory=${encodeURIComponent(factory)}`}` : `score?${query}`;
    const send = async () => (await ask(`/kits/${kit.id}/${asked}`, { method: "POST", body: file, headers })).json();
    try {  // may be sent twice: the same answers are the same verdict
      change(index, { state: "done", told: await retried(send, (say) => change(index, { say })), say: "" });
      return null;
    } catch (found) {
      change(index, { state: "refused", error: found, say: "" });
      return found;
    }
  }

  async function judge(event) {
    event.preventDefault();
    if (running.current) return;
    clear();
    const data = new FormData(event.target), unknown = files.filter((f) => !KINDS[ending(f)] && !isModel(f)).map((f) => f.name);
    if (!files.length) return setError(new Error("There is no file yet; choose at least one"));
    if (unknown.length) return setError(new Error(`${unknown.join(", ")}: no known ending; expected ${known().join(", ")}`));
    const query = new URLSearchParams({ access: data.get("access") });
    for (const name of ["level", "queries", "p_value"]) if (data.get(name)) query.set(name, data.get(name));
    const names = files.map((f) => (files.length === 1 && data.get("suspect")) || stem(f));
    running.current = true;
    setBusy(true);
    setBatch(files.map((file, i) => ({ name: names[i], state: "waits" })));
    const refused = [];
    for (const [i, file] of files.entries()) {
      if (!here.current) break;
      const found = await judgeOne(i, file, names[i], query, data.get("factory") ?? "");
      if (found) refused.push(found);
    }
    running.current = false;
    setBusy(false);
    if (files.length === 1 && refused.length) setBatch([]);
    if (refused.length) setError(files.length === 1 ? refused[0] : new Error(`${refused.length} of ${files.length} files were refused; the table says why`));
    else document.getElementById("result-title")?.focus();
  }

  return html`<section aria-label="Answers"><${Nobody} kit=${kit} />
    <form id="score-form" onSubmit=${judge} onInput=${() => !running.current && clear()}><fieldset disabled=${!may("score")}>
      <div class="fields">
        ${files.length < 2 && html`<label>Suspect
          <input name="suspect" maxlength="500" placeholder=${files.length ? stem(files[0]) : "what you call it"} /></label>`}
        <${HowFields} kit=${kit} />
        <label>It tells <select name="access"><option value="seen">whole probabilities, or as seen</option>
          ${ACCESS.map((a) => html`<option>${a}</option>`)}</select></label>
      </div>
      <${Files} files=${files} choose=${choose} />
      ${files.some((f) => isModel(f) && ending(f) === "safetensors") && html`<div class="fields"><label>Weights go into
        <input name="factory" required placeholder="timm:resnet18 or torchvision:resnet18" /></label></div>`}
      <button aria-disabled=${busy}>${busy ? "Judging …" : "Judge"}</button><${Alert} error=${error} focus id="score-error" /></fieldset></form></section>
    <${Batch} batch=${batch} kit=${kit} />`;
}
