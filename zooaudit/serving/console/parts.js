// Small parts of every page.
import { html, useEffect, useRef, useState } from "./html.js";
import { save } from "./api.js";
import { isWeak, kind, levelled } from "./words.js";

/* The page's name, which is the window's too. */
export function Title({ children }) {
  const node = useRef();
  useEffect(() => { document.title = `${node.current.textContent} - zooaudit`; });
  return html`<h1 ref=${node} tabindex="-1">${children}</h1>`;
}

/* What went wrong, beside what it is about. It is announced, and where a click caused it the focus goes there. */
export function Alert({ error, focus = false, id }) {
  const node = useRef();
  useEffect(() => { if (error && focus) node.current.focus(); }, [error]);
  if (!error) return null;
  return html`<p ref=${node} id=${id} class="alert" role="alert" tabindex="-1">${error.message || error}</p>`;
}

export function Stale({ live }) {
  if (!live.trouble) return null;
  const shown = live.data ? ` What is shown is of ${new Date(live.at).toLocaleTimeString()}.` : "";
  return html`<p class="alert stale" role="status">${live.trouble}${shown}</p>`;
}

/* A page's data: what it waits for, what is refused, what is old. */
export function Live({ live, children }) {
  if (live.error) return html`<${Alert} error=${live.error} /><p><button type="button" onClick=${live.again}>Ask again</button></p>`;
  return html`<${Stale} live=${live} />${live.data ? children(live.data) : !live.trouble && html`<p class="hint" role="status">Loading …</p>`}`;
}

export function Facts({ of }) {
  return html`<dl>${Object.entries(of).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/* Of each of `of` a row: a column is its title, what it shows of one, and how its cells look. In narrow windows a row is a card, and each
   cell has its column's title before it (console.css); the roles say that it is a table all the same. */
export function Table({ name, columns, of, id = () => undefined }) {
  const row = (one, i) => html`<tr role="row" id=${id(one)} key=${one.id ?? i}>${columns.map(([title, cell, look]) =>
    html`<td role="cell" class=${look} data-label=${title}>${cell(one)}</td>`)}</tr>`;
  return html`<div class="scroll" role="region" tabindex="0" aria-label=${name}><table role="table" class=${columns.length > 2 ? "cards" : "narrow"}>
    <thead role="rowgroup"><tr role="row">${columns.map(([title]) => html`<th role="columnheader" scope="col">${title}</th>`)}</tr></thead>
    <tbody role="rowgroup">${of.map(row)}</tbody></table></div>`;
}

/* What is typed at a prompt: no line ends within an option's name. */
export function Command({ children }) {
  const words = [children].flat().join("").split(" ");
  return html`<code>${words.map((word, i) => html`${i > 0 && " "}<span class=${word.length < 25 ? "word" : ""}>${word}</span>`)}</code>`;
}

export function Decision({ decision, level }) {
  const weak = decision === "stolen" && isWeak(level);
  return html`<span class=${`decision ${kind(decision)} ${weak ? "weak" : ""}`}>${decision}${weak && html`${" "}<span class="mark">weak</span>`}</span>`;
}

export const Level = ({ level }) => html`<span class=${isWeak(level) ? "unsure" : ""}>${levelled(level)}</span>`;

/* A button for work that must happen once however often it is clicked; says beside it what went wrong. */
export function Once({ work, children, class: look = "", disabled = false, type = "button" }) {
  const [busy, setBusy] = useState(false), [error, setError] = useState(null), running = useRef(false);
  const click = async () => {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setError(null);
    try { await work(); } catch (found) { setError(found); } finally { running.current = false; setBusy(false); }
  };
  return html`<button type=${type} class=${look} disabled=${disabled} aria-disabled=${busy} onClick=${click}>${children}</button>
    <${Alert} error=${error} focus />`;
}

export const Save = ({ path, name, children, disabled }) => html`<${Once} disabled=${disabled} class="plain" work=${() => save(path, name)}>${children}<//>`;

export function Lacks({ scope, what, name, scopes }) {
  return html`<p class="note" role="note">The key “${name}” may not ${what}: it has the scopes ${scopes.join(", ")}, and this needs ${scope}.
    ${" "}Whoever runs the service makes one: <${Command}>zooaudit key --name … --scopes ${[...scopes, scope].join(",")}<//>.</p>`;
}
