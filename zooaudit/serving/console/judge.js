// Answers that came back: one file or many, judged one after the other, each by itself.
import { html, useEffect, useRef, useState } from "./html.js";
import { may, patiently, read, retried, session, useLive } from "./api.js";
import { Alert, Decision, Command, Lacks, Level, Live, Table, Title } from "./parts.js";
import { Nobody, Steps } from "./kits.js";
import { Sending, Verdict } from "./verdict.js";
import { frequency, isWeak, plural, short, twinsFor } from "./words.js";

export const KINDS = {
  parquet: "application/vnd.apache.parquet", arrow: "application/vnd.apache.arrow.stream", json: "application/json",
  csv: "text/csv", npy: "application/x-npy", f32: "application/octet-stream",
};
const MODELS = ["onnx", "safetensors"];
const ACCESS = ["probabilities", "top-3", "top-1", "rounded-2", "rounded-1", "label"];
const ending = (file) => file.name.split(".").pop().toLowerCase();
const isModel = (file) => session.me.model_bytes > 0 && MODELS.includes(ending(file));
const isKnown = (file) => ending(file) in KINDS || isModel(file);
const known = () => [...Object.keys(KINDS), ...(session.me.model_bytes ? MODELS : [])].map((e) => `.${e}`);

export function LevelField({ kit }) {
  const [level, setLevel] = useState(""), at = Number(level || kit.level), ok = at > 0 && at < 0.5, weak = isWeak(at);
  return html`<label>Level <input name="level" type="number" min="0.0001" max="0.4999" step="any"
      placeholder=${`the kit's: ${kit.level}`} onInput=${(e) => setLevel(e.target.value)} />
    <output class=${`hint ${weak && "unsure"}`}>${ok ? `at most ${frequency(at)} innocents${weak ? ": weak" : ""}` : "between 0 and 0.5"}</output></label>`;
}

export function HowFields({ kit }) {
  return html`<${LevelField} kit=${kit} />
    <label>p-value <select name="p_value"><option value="rank">by rank</option><option value="normal">normal distribution</option></select></label>
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

/* Each suspect's name: its file's without the ending, unless another file has that, too. */
function namesOf(files) {
  const stems = files.map(stem);
  return stems.map((name, i) => (stems.filter((s) => s === name).length > 1 ? files[i].name : name));
}

const OPEN = ["waits", "judging"];
const isOpen = (one) => OPEN.includes(one.state);
const having = (batch, state) => batch.filter((one) => one.state === state);

function called(one) {
  if (one.state === "done") return html`<${Decision} decision=${one.score.twins.decision} level=${one.score.twins.level} />`;
  return one.state === "refused" ? html`<span class="refused">refused: ${one.error.message}</span>` : one.say || one.state;
}

function ownPage({ score, name }) {
  if (!score) return "";
  return score.id ? html`<a href=${`/console/verdicts/${score.id}`}>Verdict on ${name}</a>` : "not kept";
}

const COLUMNS = [
  ["Suspect", (one) => one.name], ["Decision", called], ["p", (one) => one.score && short(one.score.twins.p_value), "number"],
  ["Level", (one) => one.score && html`<${Level} level=${one.score.twins.level} />`, "number"], ["Page", ownPage],
];

function Single({ score }) {
  const at = `/console/verdicts/${score.id}`;
  return html`<${Verdict} found=${score.twins} more=${{ Kit: score.kit, "Kit, SHA-256": score.digest, "Answers, SHA-256": score.answers_sha256 }} />
    ${score.id ? html`<p><a href=${at}>This verdict's own page</a></p><${Sending} id=${score.id} at=${at} />`
      : html`<p class="note" role="note">This verdict is not kept: the service keeps none, or has no room. Print this page if you need it.</p>`}`;
}

function titleOf(batch) {
  const [only] = batch, judged = having(batch, "done").length;
  if (batch.length === 1) return only.state === "cancelled" ? `${only.name}: cancelled` : `Verdict on ${only.name}`;
  if (batch.some(isOpen)) return `Judging ${batch.length} files`;
  const without = ["refused", "cancelled"].map((state) => [having(batch, state).length, state]).filter(([n]) => n);
  const rest = without.map(([n, state]) => `${plural(n, "file")} ${n === 1 ? "was" : "were"} ${state}`);
  return [judged ? `Verdict${judged === 1 ? "" : "s"} on ${plural(judged, "suspect")}` : "No verdict", ...rest].join("; ");
}

/* Among many innocent suspects some are called stolen, each judged by itself; and the correction for their number takes more twins. */
function Many({ batch }) {
  const [first] = having(batch, "done"), n = batch.filter((one) => one.state === "done" || isOpen(one)).length;
  if (!first || n < 2) return null;
  const { level, by, twins } = first.score.twins, needed = twinsFor(n, level);
  return html`<p class="notice" role="note" id="many">${n} suspects, each judged by itself. Of ${n} innocent ones up to ${short(n * level)} are called
    stolen on average; <${Command}>zooaudit score --answers A B<//> corrects for their number.
    ${by === "rank" && twins < needed && ` Corrected for their number, this kit can call none of them stolen: that takes ${needed} twins; it has ${twins}.`}</p>`;
}

function Batch({ batch }) {
  const [only] = batch, title = html`<h2 id="result-title" tabindex="-1">${titleOf(batch)}</h2>`;
  if (batch.length === 1) {
    if (isOpen(only) || only.error) return null;
    return html`<section id="result" aria-labelledby="result-title">${title}
      ${only.score ? html`<${Single} score=${only.score} />` : html`<${Stopped} />`}</section>`;
  }
  return html`<section id="result" aria-labelledby="result-title">${title}<${Many} batch=${batch} />
    <${Table} name="Verdicts" columns=${COLUMNS} of=${batch} />
    ${having(batch, "cancelled").length > 0 && html`<${Stopped} />`}</section>`;
}

const Stopped = () => html`<p class="hint">What had reached the service may have been judged all the same: it is among the
  ${" "}<a href="/console/verdicts">verdicts</a> then.</p>`;

/* Beside the button that was pressed: how far it is, what it waits for, and how to stop it. */
function UnderWay({ batch, cancel }) {
  const ended = batch.filter((one) => !isOpen(one)).length, say = batch.find((one) => one.say)?.say;
  if (ended === batch.length) return null;
  return html`<div id="under-way">
    <p role="status" class=${say ? "notice" : "hint"}>${batch.length > 1 && `${ended} of ${batch.length} files judged. `}
      ${say || "Sent; no verdict yet."}</p>
    ${batch.length > 1 && html`<progress aria-label="Files judged" max=${batch.length} value=${ended}></progress>`}
    <p class="actions"><button type="button" class="plain" onClick=${cancel}>Cancel</button></p></div>`;
}

export function Judge({ id }) {
  const live = useLive(`/kits/${encodeURIComponent(id)}`);
  return html`<${Title}>Judge answers by kit <code>${id}</code><//><${Steps} id=${id} here="/judge" />
    ${!may("score") && html`<${Lacks} scope="score" what="send answers" ...${session.me} />`}
    <${Live} live=${live}>${(kit) => html`<${JudgeForm} kit=${kit} />`}<//>`;
}

/* One file's verdict. It may be sent twice: the same answers are the same verdict. */
function sent(kit, file, { name, query, factory, signal, say }) {
  if (!isKnown(file)) throw new Error(`${file.name}: no known ending; expected ${known().join(", ")}`);
  query.set("suspect", name);
  const own = isModel(file), headers = { "Content-Type": own ? "application/octet-stream" : KINDS[ending(file)] };
  const asked = own ? `model?${query}&kind=${ending(file)}${factory && `&factory=${encodeURIComponent(factory)}`}` : `score?${query}`;
  const send = () => patiently(read(`/kits/${kit.id}/${asked}`, { method: "POST", body: file, headers, signal }), say);
  return retried(send, say, { signal });
}

function JudgeForm({ kit }) {
  const [files, setFiles] = useState([]), [batch, setBatch] = useState([]), [error, setError] = useState(null);
  const running = useRef(null), busy = batch.some(isOpen);
  const stop = () => { running.current?.abort(); running.current = null; };
  useEffect(() => stop, []);
  useEffect(() => {
    const stay = (event) => event.preventDefault();
    if (busy) addEventListener("beforeunload", stay);
    return () => removeEventListener("beforeunload", stay);
  }, [busy]);
  const clear = () => { setBatch([]); setError(null); };
  const choose = (chosen) => { stop(); clear(); setFiles(chosen); };
  const toResult = () => setTimeout(() => document.getElementById("result-title")?.focus()); // once it is drawn
  const cancel = () => {
    stop();
    setBatch((old) => old.map((one) => (isOpen(one) ? { ...one, state: "cancelled", say: "" } : one)));
    toResult();
  };

  function finished(ended) {
    const refused = ended.filter((one) => one.error), n = refused.length;
    if (!n) return toResult();
    const many = `${n} of ${ended.length} files ${n === 1 ? "was" : "were"} refused; the table says why`;
    return setError(ended.length === 1 ? refused[0].error : new Error(many));
  }

  async function judge(event) {
    event.preventDefault();
    if (running.current) return;
    clear();
    if (!files.length) return setError(new Error("There is no file yet; choose at least one"));
    const data = new FormData(event.target), query = new URLSearchParams({ access: data.get("access") }), factory = data.get("factory") ?? "";
    for (const name of ["level", "queries", "p_value"]) if (data.get(name)) query.set(name, data.get(name));
    const suspects = files.filter(isKnown).length;
    if (suspects > 1) query.set("suspects", suspects);
    const names = files.length === 1 && data.get("suspect") ? [data.get("suspect")] : namesOf(files);
    const mine = new AbortController(), { signal } = mine;
    const found = names.map((name, id) => ({ id, name, state: "waits" }));
    const change = (id, what) => {
      if (signal.aborted) return;
      found[id] = { ...found[id], ...what };
      setBatch([...found]);
    };
    running.current = mine;
    for (const [id, file] of files.entries()) {
      change(id, { state: "judging" });
      try {
        const score = await sent(kit, file, { name: names[id], query, factory, signal, say: (say) => change(id, { say }) });
        change(id, { state: "done", score, say: "" });
      } catch (refusal) { change(id, { state: "refused", error: refusal, say: "" }); }
      if (signal.aborted) return;
    }
    running.current = null;
    finished(found);
  }

  return html`<section aria-label="Answers"><${Nobody} kit=${kit} />
    <form id="score-form" onSubmit=${judge} onInput=${() => !running.current && clear()}><fieldset disabled=${!may("score")}>
      <div class="fields">
        ${files.length < 2 && html`<label>Suspect
          <input name="suspect" maxlength="500" placeholder=${files.length ? stem(files[0]) : "what you call it"} /></label>`}
        <${HowFields} kit=${kit} />
        <label>It tells <select name="access"><option value="seen">as its answers show</option>
          ${ACCESS.map((a) => html`<option>${a}</option>`)}</select></label>
      </div>
      <${Files} files=${files} choose=${choose} />
      ${files.some((f) => isModel(f) && ending(f) === "safetensors") && html`<div class="fields"><label>Weights go into
        <input name="factory" required placeholder="timm:resnet18 or torchvision:resnet18" /></label></div>`}
      <button aria-disabled=${busy}>${busy ? "Judging …" : "Judge"}</button><${UnderWay} batch=${batch} cancel=${cancel} />
      <${Alert} error=${error} focus id="score-error" /></fieldset></form></section>${batch.length > 0 && html`<${Batch} batch=${batch} />`}`;
}
