// Kits: what there is, and one of them with its questions.
import { html } from "./html.js";
import { may, session, useLive } from "./api.js";
import { Facts, Lacks, Level, Live, Save, Table, Title } from "./parts.js";
import { counted, short } from "./words.js";

const STATES = { ok: "✓", caution: "!", refused: "✕", "no references": "–" };
const FORMATS = { parquet: "Parquet", json: "JSON", zip: "PNG images" };

export function Kits() {
  if (!may("read")) return html`<${Title}>Kits<//><${Lacks} scope="read" what="see kits" ...${session.me} />`;
  return html`<${Title}>Kits<//>
    <p class="hint">A kit holds what one victim's audits need: its questions, and what the victim, its twins and others answered.
      ${" "}Choose one to judge suspects by.</p><${KitList} />`;
}

const KITS = [
  ["Kit", (k) => html`<a href=${`/console/kits/${k.id}`}>${k.id}</a>`], ["Made by", (k) => (k.recipe ? `${k.recipe}${k.dataset && !k.recipe.includes(k.dataset) ? `, ${k.dataset}` : ""}` : "")], ["Victim", (k) => k.victim], ["Twins", (k) => k.twins, "number"],
  ["Level", (k) => html`${k.level}: <${Level} level=${k.level} />`, "number"], ["Queries at most", (k) => k.budget, "number"],
  ["Can accuse", (k) => (k.accuses_nobody || k.trial ? "nobody" : "yes")],
];

function KitList() {
  const live = useLive("/kits");
  return html`<${Live} live=${live}>${({ kits }) => (kits.length ? html`<div class="card"><${Table} name="Kits" columns=${KITS} of=${kits}
      id=${(k) => `kit-${k.id}`} /></div>`
    : html`<section class="empty"><p>There are no kits in this store yet. An audit makes one, of a toy task in a minute:</p>
        <pre>zooaudit audit --recipe digits --store STORE</pre><p>Of your own model: see docs/your-model.md.</p>
        <p><button type="button" onClick=${live.again}>Look again</button></p></section>`)}<//>`;
}

const CHECKED = [
  ["What is compared", (c) => c.check],
  ["State", (c) => html`<span class=${`state ${c.state.replace(" ", "-")}`}>${STATES[c.state]} ${c.state}</span>`],
  ["p", (c) => short(c.p_value), "number"],
  ["Found", (c) => (c.text.startsWith(`${c.check}: `) ? c.text.slice(c.check.length + 2) : c.text)],
];

function Checked({ rows }) {
  return html`<details><summary>Is the victim a draw of the procedure that made its twins?</summary>
    <p class="hint">Every verdict assumes it. This was found out without any suspect; the last row by whole probabilities and all questions.</p>
    <div id="checked"><${Table} name="Checks of victim and twins" columns=${CHECKED} of=${rows} /></div></details>`;
}

function factsOf(kit) {
  const last = kit.looks.length - 1, looks = last ? `${kit.looks.slice(0, last).join(", ")} or ${kit.looks[last]}` : kit.looks[0];
  return {
    Victim: kit.victim, Twins: `${kit.twins}${kit.procedure ? `: ${kit.procedure}` : ""}`, References: counted(kit.references),
    Level: html`${kit.level}: <${Level} level=${kit.level} /> models made without the victim may be called stolen`,
    "Strongest claim": `p ${short(kit.smallest_p)} by rank`, Questions: `${kit.budget}: ${counted(kit.families)}; the first ${kit.control_questions} are control questions, which show whether a suspect does the task`,
    "A verdict after": `${looks} answers`, Classes: kit.classes.join(", "), Images: kit.image_shape.join(" × "), "SHA-256": kit.digest,
  };
}

/* Where to go from a kit; `here` is the page that is shown. */
export function Steps({ id, here }) {
  const steps = { "": "The kit", "/judge": "Judge answers", "/audit": "Audit an API" };
  return html`<nav class="steps" aria-label="Kit">${Object.entries(steps).map(([path, name]) =>
    html`<a href=${`/console/kits/${id}${path}`} aria-current=${path === here ? "page" : undefined}>${name}</a>`)}</nav>`;
}

export function Nobody({ kit }) {
  const why = kit.accuses_nobody ? `This kit accuses nobody: ${kit.accuses_nobody}` : kit.trial;
  return why && html`<p id="nobody" class="note" role="note">${why}</p>`;
}

export function KitPage({ id }) {
  const live = useLive(`/kits/${encodeURIComponent(id)}`);
  return html`<${Title}>Kit <code>${id}</code><//><${Steps} id=${id} here="" /><${Live} live=${live}>${(kit) => html`
    <section id="kit" aria-label="Kit"><${Nobody} kit=${kit} /><${Facts} of=${factsOf(kit)} /><${Checked} rows=${kit.checked} /></section>
    <section aria-labelledby="questions"><h2 id="questions">Questions to ask a suspect</h2>
      <p class="hint">They are images of the victim's task that no model was trained on, images of anything else, and, if the kit was made with
        a query log, some that the victim was asked. Have the suspect answer them in their order, by class probabilities, then
        ${" "}<a href=${`/console/kits/${id}/judge`}>judge the answers</a>.</p>
      <p id="downloads" class="actions">${Object.entries(FORMATS).map(([f, name]) =>
        html`<${Save} path=${`/kits/${id}/queries?format=${f}`} name=${`queries-${id}.${f}`}>${name}<//>`)}</p></section>`}<//>`;
}
