// The console: an address for each page. Everything from outside is set as text, never as markup.
import { html, render, useEffect, useRef, useState } from "./html.js";
import { Refused, askOthers, listen, pause, read, session, setKey } from "./api.js";
import { Alert, Command, Title } from "./parts.js";
import { AuditPage, StartPage } from "./audits.js";
import { Judge } from "./judge.js";
import { KitPage, Kits } from "./kits.js";
import { Reports, Verdicts } from "./lists.js";
import { KeptVerdict, Why } from "./verdict.js";

const ROUTES = [
  [/^\/console\/?$/, () => html`<${Kits} />`],
  [/^\/console\/kits\/([^/]+)$/, (id) => html`<${KitPage} id=${id} />`],
  [/^\/console\/kits\/([^/]+)\/judge$/, (id) => html`<${Judge} id=${id} />`],
  [/^\/console\/kits\/([^/]+)\/audit$/, (id) => html`<${StartPage} id=${id} go=${go} />`],
  [/^\/console\/verdicts$/, (query) => html`<${Verdicts} query=${query} go=${go} />`],
  [/^\/console\/verdicts\/([^/]+)$/, (id) => html`<${KeptVerdict} id=${id} />`],
  [/^\/console\/verdicts\/([^/]+)\/why$/, (id) => html`<${Why} id=${id} back=${`/console/verdicts/${id}`} />`],
  [/^\/console\/audits\/([^/]+)$/, (id) => html`<${AuditPage} id=${id} />`],
  [/^\/console\/audits\/([^/]+)\/why$/, (id) => html`<${Why} id=${id} back=${`/console/audits/${id}`} />`],
  [/^\/console\/reports$/, () => html`<${Reports} />`],
];
const UNDER = { "/console": ["/console/kits/"], "/console/verdicts": ["/console/verdicts/", "/console/audits/"], "/console/reports": [] };
const PAGES = { "/console": "Kits", "/console/verdicts": "Verdicts", "/console/reports": "Reports" };

let moved = () => {};

/* To another page; `quiet` leaves the focus where it is, `replace` makes no step of its own for Back. */
export function go(to, { replace = false, quiet = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", to);
  moved(quiet);
}

function page(path, query) {
  for (const [pattern, show] of ROUTES) {
    const found = pattern.exec(path);
    if (found) return show(found[1] === undefined ? query : decodeURIComponent(found[1]));
  }
  return html`<${Title}>There is no such page<//><p><a href="/console">All kits</a></p>`;
}

function KeyForm({ error, use }) {
  const submit = (event) => { event.preventDefault(); use(new FormData(event.target).get("key").trim()); };
  return html`<${Title}>Paste your key<//><section aria-label="Key"><form id="key-form" onSubmit=${submit}>
    <label>Key <input id="key" name="key" type="password" required autocomplete="off" spellcheck=${false} placeholder="of this service" /></label>
    <p class="hint">It is asked for once a browser session and kept in no file. Whoever runs the service makes keys: <${Command}>zooaudit key --name you<//>;
      the first one is printed when the service first starts.</p>
    <button>Sign in</button><${Alert} error=${error} focus /></form></section>`;
}

function Header({ path, forget }) {
  const { me } = session;
  const current = (to) => (path === to || UNDER[to].some((part) => path.startsWith(part)) ? "page" : undefined);
  const key = me && !me.open && html`Key <b>${me.name}</b>: ${me.scopes.join(", ")}${me.expires ? `, until ${me.expires}` : ""}
    ${" "}<button type="button" class="plain" onClick=${forget}>Forget key</button>`;
  return html`<a class="skip" href="#main">Skip to content</a><header>
    <p class="brand"><a href="/console">zooaudit</a></p><p class="claim">Was this suspect model stolen from yours?</p>
    <nav aria-label="Pages">${me && Object.entries(PAGES).map(([to, name]) => html`<a href=${to} aria-current=${current(to)}>${name}</a>`)}</nav>
    <p id="who">${me?.open ? "Open to all: no keys" : key}</p></header>`;
}

function App() {
  const here = () => ({ path: location.pathname.replace(/(?<=.)\/$/, ""), query: location.search.slice(1) });
  const [place, setPlace] = useState(here()), [state, set] = useState({ asking: true, error: null, trouble: "" }), quiet = useRef(true);

  async function begin() {
    set({ asking: true, error: null, trouble: "" });
    for (let failed = 0; ; failed += 1) {
      try {
        session.me = await read("/key");
        set({ asking: false, error: null, trouble: "" });
        return;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (error.status === 401 || !error.passing) {
          const tried = session.key;
          session.me = null;
          setKey("", false);
          set({ asking: false, error: tried ? error : null, trouble: "" });
          return;
        }
        const wait = Math.min(30, 2 ** failed);
        set({ asking: true, error: null, trouble: `${error.message} Next try in ${wait} s.` });
        await pause(wait * 1000);
      }
    }
  }

  useEffect(() => {
    moved = (still = false) => { quiet.current = still; setPlace(here()); };
    const back = () => moved();
    const click = (event) => {
      const link = event.target.closest?.("a[href^='/console']");
      if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      go(link.getAttribute("href"));
    };
    addEventListener("popstate", back);
    document.addEventListener("click", click);
    listen(begin);
    askOthers().then(begin);
  }, []);
  useEffect(() => {  // whoever came here by a link is taken to the page's name
    if (!quiet.current) { scrollTo(0, 0); document.querySelector("h1")?.focus({ preventScroll: true }); }
    quiet.current = true;
  }, [place.path, place.query]);

  const use = (key) => { setKey(key); begin(); };
  const shown = state.asking ? html`<p role="status" class=${state.trouble ? "alert stale" : "hint"}>${state.trouble || "Loading …"}</p>`
    : session.me ? page(place.path, place.query) : html`<${KeyForm} error=${state.error} use=${use} />`;
  return html`<${Header} path=${place.path} forget=${() => use("")} />
    <main id="main" tabindex="-1" key=${`${place.path} ${session.me?.name}`}>${shown}</main>
    <footer><p>A verdict says whether a suspect has more of the victim than of its twins, at a stated rate of false accusations.
      It does not say who took it, or how.
      ${" "}<a href="/openapi.json">API</a></p></footer>`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
