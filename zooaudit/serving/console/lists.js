// All that was judged, by this key; reports of runs.
import { html, useEffect, useRef, useState } from "./html.js";
import { may, session, useLive } from "./api.js";
import { Decision, Command, Lacks, Level, Live, Save, Table, Title } from "./parts.js";
import { ENDED, short, when } from "./words.js";

const PAGE = 25, EVERY_MS = 3000;
const CALLS = ["stolen", "not shown", "cannot tell", "running", "queued", "failed", "cancelled"];
const KINDS = { "": "everything", score: "answers judged", audit: "audits of APIs" };

const href = (row) => `/console/${row.kind === "audit" ? "audits" : "verdicts"}/${row.id}`;

function called(row) {
  return row.decision ? html`<${Decision} decision=${row.decision} level=${row.level} />`
    : html`<span class=${ENDED.includes(row.state) ? "" : "under-way"}>${row.state}</span>`;
}

const columns = (everybody) => [
  ["Suspect", (row) => html`<a href=${href(row)}>${row.suspect}</a>`], ["Decision", called],
  ["p", (row) => row.p_value !== null && short(row.p_value), "number"],
  ["Level", (row) => (row.method === "twins" ? html`<${Level} level=${row.level} />` : "the paper's test"), "number"],
  ["What", (row) => (row.kind === "audit" ? "API" : "answers")],
  ["Kit", (row) => html`<a href=${`/console/kits/${row.kit}`}><code class="word">${row.kit.slice(0, 12)}</code></a>`],
  ...(everybody ? [["Key", (row) => row.by]] : []), ["When", (row) => when(row.made), "when"],
];

const emptied = (filtered) => (filtered ? html`<section class="empty"><p>Nothing fits this filter. <a href="/console/verdicts">Show everything</a></p></section>`
  : html`<section class="empty"><p>Nothing was judged with this key yet. Choose a <a href="/console">kit</a>, ask the suspect its questions,
      ${" "}and judge the answers; or have the service ask a suspect behind an API.</p></section>`);

/* The filter is in the address, so that Back, reload and a link to somebody else show the same. */
export function Verdicts({ query, go }) {
  if (may("score", "audit", "admin")) return html`<${Title}>Verdicts<//><${Filtered} query=${query} go=${go} />`;
  return html`<${Title}>Verdicts<//><${Lacks} scope="score" what="judge anybody" ...${session.me} />`;
}

function Filtered({ query, go }) {
  const params = new URLSearchParams(query), filtered = ["kind", "decision", "text"].some((name) => params.get(name));
  const wait = useRef(0), [text, setText] = useState(params.get("text") ?? "");
  useEffect(() => () => clearTimeout(wait.current), []);
  const filter = (changes, replace = false) => {
    const next = new URLSearchParams(query);
    next.delete("cursor");
    for (const [name, value] of Object.entries(changes)) value ? next.set(name, value) : next.delete(name);
    go(`/console/verdicts${next.size ? `?${next}` : ""}`, { replace, quiet: true });
  };
  const typed = ({ target: { value } }) => {
    setText(value);
    clearTimeout(wait.current);
    wait.current = setTimeout(() => filter({ text: value }, true), 300);
  };
  return html`<form class="fields" role="search" onSubmit=${(event) => event.preventDefault()}>
      <label>Suspect or kit <input name="text" type="search" value=${text} onInput=${typed} maxlength="200" /></label>
      <label>Decision <select name="decision" value=${params.get("decision") ?? ""} onChange=${(e) => filter({ decision: e.target.value })}>
        <option value="">any</option>${CALLS.map((c) => html`<option>${c}</option>`)}</select></label>
      <label>What <select name="kind" value=${params.get("kind") ?? ""} onChange=${(e) => filter({ kind: e.target.value })}>
        ${Object.entries(KINDS).map(([k, name]) => html`<option value=${k}>${name}</option>`)}</select></label></form>
    <${Listed} key=${query} params=${params} filtered=${filtered} everybody=${may("admin")} />`;
}

function Listed({ params, filtered, everybody }) {
  const asked = new URLSearchParams([...params, ["limit", PAGE]]), live = useLive(`/verdicts?${asked}`, { every: EVERY_MS });
  const older = (next) => `/console/verdicts?${new URLSearchParams([...[...params].filter(([name]) => name !== "cursor"), ["cursor", next]])}`;
  return html`<${Live} live=${live}>${({ verdicts, next }) => html`${verdicts.length ? html`<div class="card"><${Table} name="Verdicts"
      columns=${columns(everybody)} of=${verdicts} /></div>` : emptied(filtered || params.get("cursor"))}
    <p class="actions">${params.get("cursor") && html`<a class="button plain" href="/console/verdicts">The newest</a>`}
      ${next && html`<a class="button plain" href=${older(next)}>Older</a>`}</p>`}<//>`;
}

export function Reports() {
  if (!may("read")) return html`<${Title}>Reports<//><${Lacks} scope="read" what="see reports" ...${session.me} />`;
  return html`<${Title}>Reports<//><p class="hint">Of whole audits, with all their models. Each is one page, to be saved and opened.</p><${ReportList} />`;
}

const named = (run) => html`<li><${Save} path=${`/reports/${encodeURIComponent(run)}`} name=${`${run}.html`}>${`${run}.html`}<//></li>`;

function ReportList() {
  const live = useLive("/reports");
  return html`<${Live} live=${live}>${({ reports }) => (reports.length
    ? html`<section aria-label="Reports"><ul id="reports" class="actions">${reports.map(named)}</ul></section>`
    : html`<section class="empty"><p>There are no reports in this store yet; each audit leaves one:
        ${" "}<${Command}>zooaudit audit --recipe digits --store STORE<//></p></section>`)}<//>`;
}
