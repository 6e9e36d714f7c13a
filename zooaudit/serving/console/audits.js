// Audits of suspects behind an API: started once, watched from anywhere, stopped.
import { html, useRef, useState } from "./html.js";
import { may, read, session, token, useLive } from "./api.js";
import { Alert, Command, Lacks, Live, Once, Title } from "./parts.js";
import { Nobody, Steps } from "./kits.js";
import { HowFields } from "./judge.js";
import { Sending, Verdict } from "./verdict.js";
import { ENDED, short, when } from "./words.js";

const PROTOCOLS = {
  "": "as the address shows", v2: "Open Inference v2", tensorflow: "TensorFlow Serving", torchserve: "TorchServe", template: "template",
};
const LAYOUTS = { "": "usual", nchw: "channels first", nhwc: "channels last", flat: "one row" };
const EXAMPLE = '{"classes": ["top", "trousers"], "headers": {"Authorization": "Bearer ..."}}';
const EVERY_MS = 700;
const options = (of) => Object.entries(of).map(([value, name]) => html`<option value=${value}>${name}</option>`);

export function StartPage({ id, go }) {
  const live = useLive(`/kits/${encodeURIComponent(id)}`), { me } = session;
  return html`<${Title}>Audit an API by kit <code>${id}</code><//><${Steps} id=${id} here="/audit" />
    ${!may("audit") && html`<${Lacks} scope="audit" what="have suspects asked" ...${me} />`}
    ${may("audit") && !me.keeps && html`<p class="note" role="note">
      This service asks no suspects: its operator sets ZOOAUDIT_SERVE_DATA and names hosts.</p>`}
    <${Live} live=${live}>${(kit) => html`<${StartForm} kit=${kit} go=${go} />`}<//>`;
}

function described(data) {
  const suspect = { url: data.get("url") };
  for (const name of ["protocol", "layout"]) if (data.get(name)) suspect[name] = data.get(name);
  if (data.get("rate")) suspect.rate = Number(data.get("rate"));
  try {
    return Object.assign(suspect, JSON.parse(data.get("more") || "{}"));
  } catch { throw new Error("The settings are not JSON; expected an object such as {\"batch\": 8}"); }
}

// Why nothing can be started; "" if something can.
function offBecause({ keeps, suspects }) {
  if (!may("audit")) return "Off: it takes a key with the scope audit.";
  if (!keeps) return "Off: this service asks no suspects.";
  return suspects.length ? "" : "Off: this service may ask no host.";
}

function StartForm({ kit, go }) {
  const [error, setError] = useState(null), [busy, setBusy] = useState(false), running = useRef(false), tried = useRef({});
  const { suspects } = session.me;
  async function start(event) {
    event.preventDefault();
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setError(null);
    try {
      const data = new FormData(event.target), asked = { kit: kit.id, suspect: described(data), p_value: data.get("p_value") };
      for (const name of ["level", "budget", "queries"]) if (data.get(name)) asked[name] = Number(data.get(name));
      const body = JSON.stringify(asked);
      if (tried.current.body !== body) tried.current = { body, token: token() };  // sent again after a blip it is the same audit
      const headers = { "Content-Type": "application/json", "Idempotency-Key": tried.current.token };
      const made = await read("/audits", { method: "POST", body, headers });
      tried.current = {};
      go(`/console/audits/${made.id}`);
    } catch (found) {
      if (!found.passing) tried.current = {};
      setError(found.status === 0 ? new Error(`${found.message} Press Start again: it is the same audit, not a second one.`) : found);
    } finally {
      running.current = false;
      setBusy(false);
    }
  }
  const hosts = suspects.length ? `This service may ask: ${suspects.join(", ")}.`
    : html`This service may ask no host yet: its operator names them by <${Command}>zooaudit serve --suspects<//>.`;
  const off = offBecause(session.me);
  return html`<section aria-label="Suspect"><${Nobody} kit=${kit} />
    <form id="audit-form" onSubmit=${start} onInput=${() => setError(null)}><fieldset disabled=${Boolean(off)}>
    <div class="fields">
      <label class="wide">Address <input name="url" type="url" required aria-describedby="hosts"
        placeholder="https://models.example/v2/models/shirts/infer" /></label>
      <p class="hint wide" id="hosts">${hosts}</p>
      <label>Protocol <select name="protocol">${options(PROTOCOLS)}</select></label>
      <label>Layout <select name="layout">${options(LAYOUTS)}</select></label>
      <label>Images a second <input name="rate" type="number" min="0" step="any" placeholder="no limit" /></label>
      <label>Budget <input name="budget" type="number" min="1" step="1" placeholder=${`the kit's: ${kit.budget}`} /></label>
      <${HowFields} kit=${kit} /></div>
    <details><summary>More: class names, request template, headers</summary>
      <label>Settings, JSON <textarea name="more" rows="4" spellcheck=${false} placeholder=${EXAMPLE}></textarea></label></details>
    <div class="actions"><button aria-disabled=${busy} aria-describedby=${off && "off"}>${busy ? "Starting …" : "Start"}</button>
      ${off && html`<span id="off" class="unsure">${off}</span>`}</div><${Alert} error=${error} focus id="audit-error" /></fieldset></form></section>`;
}

function Progress({ audit, again }) {
  const { progress } = audit;
  const place = progress.rank ? `; so far the victim is number ${progress.rank} of ${progress.twins + 1}, p ${short(progress.p_value)}` : "";
  const cancel = async () => { await read(`/audits/${audit.id}`, { method: "DELETE" }); again(); };
  const so_far = `${audit.state}: ${progress.queries ?? 0} of at most ${progress.budget ?? "?"} queries, ${progress.charged ?? 0} charged${place}`;
  return html`<div id="progress"><p id="progress-text" role="status">${so_far}</p>
    ${progress.waiting && html`<p class="note" role="status" id="waiting">It waits${progress.waiting.replace(/^(waiting)?/, (at) => (at ? "" : ": "))}.</p>`}
    ${progress.trouble && html`<p class="note" role="status" id="trouble">The suspect ${progress.trouble.text}.</p>`}
    ${!progress.waiting && audit.state === "queued" && html`<p class="note" role="status" id="waiting">It waits for its turn: a few audits run at once.</p>`}
    <progress id="bar" aria-label="Queries answered" max="1" value=${progress.budget ? progress.queries / progress.budget : 0}></progress>
    <p class="actions"><${Once} class="plain" work=${cancel}>Cancel<//></p></div>`;
}

function Ended({ audit }) {
  const found = audit.result, again = html`<p><a href=${`/console/kits/${audit.kit}/audit`}>Start another</a>.
    ${" "}What the suspect answered is kept: it is not asked, or paid, twice.</p>`;
  if (audit.state === "cancelled") return html`<p class="large"><span class="decision cannot-tell">cancelled</span></p><p>It was stopped.</p>${again}`;
  if (audit.state === "failed") return html`<p class="large"><span class="decision cannot-tell">failed</span></p><p class="alert">${audit.error}</p>${again}`;
  const more = {
    Kit: html`<a href=${`/console/kits/${audit.kit}`}>${audit.kit}</a>`, "Kit, SHA-256": found.digest, Evidence: found.evidence ?? "none: it was not judged",
    Charged: `${found.charged} queries, ${found.lost} lost on the way`, Ended: when(audit.changed),
  };
  return html`<${Verdict} head="h2" found=${found} more=${more} />
    ${found.evidence && html`<${Sending} head="h2" id=${audit.id} at=${`/console/audits/${audit.id}`} />`}`;
}

export function AuditPage({ id }) {
  const live = useLive(`/audits/${encodeURIComponent(id)}`, { every: EVERY_MS, until: (a) => ENDED.includes(a.state) });
  return html`<${Title}>Audit${live.data ? ` of ${live.data.suspect}` : ""}<//>
    <${Live} live=${live}>${(audit) => html`<section aria-label="Audit" aria-live="polite">
      <p class="hint">Asked for ${when(audit.made)}, with the key “${audit.by}”.</p>
      ${ENDED.includes(audit.state) ? html`<${Ended} audit=${audit} />` : html`<${Progress} audit=${audit} again=${live.again} />`}</section>`}<//>`;
}
