// The service's own routes, asked with the caller's key. What fails for a while is tried again, and said; what is refused is shown as it is.
import { useEffect, useRef, useState } from "./html.js";

const PASSING = [429, 500, 502, 503, 504];
const LONGEST_S = 30, ASKING_MS = 300, LATE_MS = 60000, SLOW_S = 5;

export class Refused extends Error {
  constructor(message, status = 0, wait = 0) {
    super(message);
    this.status = status;
    this.wait = wait; // seconds after which the service wants to be asked again
  }
  get passing() { return this.status === 0 || PASSING.includes(this.status); }
}

// The key: asked for once a browser session. It is in this tab's memory and in no file; another tab gets it from a tab that has it.
const channel = "BroadcastChannel" in window ? new BroadcastChannel("zooaudit") : null;
export const session = { key: sessionStorage.getItem("key") || "", me: null };

export function setKey(key, announce = true) {
  session.key = key;
  key ? sessionStorage.setItem("key", key) : sessionStorage.removeItem("key");
  if (announce) channel?.postMessage({ key });
}

export function listen(changed) {
  channel?.addEventListener("message", ({ data }) => {
    if (data.asked && session.key) channel.postMessage({ key: session.key });
    if ("key" in data && data.key !== session.key) { setKey(data.key, false); changed(); }
  });
}

export async function askOthers() {
  if (session.key || !channel) return;
  channel.postMessage({ asked: true });
  for (let waited = 0; waited < ASKING_MS && !session.key; waited += 20) await pause(20);
}

export const may = (...scopes) => scopes.some((s) => session.me?.scopes.includes(s));
export const pause = (ms, signal) => new Promise((resolve) => {
  setTimeout(resolve, ms);
  signal?.addEventListener("abort", resolve, { once: true });
});
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
const away = (signal) => new Refused(signal?.aborted ? "The service does not answer." : "The service cannot be reached.");

export async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}), ...(session.key ? { Authorization: `Bearer ${session.key}` } : {}) };
  let reply;
  try { reply = await fetch(path, { ...options, headers, cache: "no-store" }); } catch { throw away(options.signal); }
  if (reply.ok) return reply;
  let problem = {};
  try { problem = await reply.json(); } catch { /* not a problem document */ }
  const detail = problem.detail || `The service answers ${reply.status}`, more = ["found", "expected"].map((name) => problem[name] && `${name} ${problem[name]}`);
  if (reply.status === 401) throw new Refused(sentence(detail), 401); // what it expects is a header, which nobody types here
  const parts = [detail, ...more.filter((part) => part && !detail.includes(part))];
  throw new Refused(parts.join("; "), reply.status, Number(reply.headers.get("Retry-After")) || 0);
}

/* What the service says, parsed. Without a `signal` of the caller's own, a service that says nothing for a minute is taken to be away. */
export async function read(path, options = {}) {
  const late = new AbortController(), timer = setTimeout(() => late.abort(), LATE_MS), signal = options.signal ?? late.signal;
  try {
    return await (await ask(path, { ...options, signal })).json();
  } catch (error) {
    throw error instanceof Refused ? error : away(signal); // it was cut off amid its reply
  } finally { clearTimeout(timer); }
}

const backoff = (failed, wait) => Math.min(LONGEST_S, Math.max(wait, 2 ** failed));
const said = (error, left) => `${error.message.replace(/\.$/, "")}. Next try in ${left} s.`;

// Do what may be done twice, up to `tries` times or until `signal`; `say` hears how long the next try is away, and "" when it worked.
export async function retried(work, say, { tries = 6, signal } = {}) {
  for (let failed = 0; ; failed += 1) {
    try {
      const found = await work();
      say("");
      return found;
    } catch (error) {
      const again = error.passing && failed + 1 < tries;
      for (let left = backoff(failed, error.wait); again && !signal?.aborted && left > 0; left -= 1) {
        say(said(error, left));
        await pause(1000, signal);
      }
      if (!again || signal?.aborted) { say(""); throw error; }
    }
  }
}

/* Says how long there has been no answer, where that is long: a service may be stopped, or at work. */
export async function patiently(answer, say) {
  const since = Date.now();
  const timer = setInterval(() => {
    const waited = Math.round((Date.now() - since) / 1000);
    if (waited >= SLOW_S) say(`The service has not answered for ${waited} s.`);
  }, 1000);
  try { return await answer; } finally { clearInterval(timer); }
}

/* What the service says at `path`, again every `every` ms until `until(data)`. A blip of the network ends nothing: `trouble` says that it is
   tried again, `at` of when the data is; what is refused is in `error`. */
export function useLive(path, { every = 0, until = () => false } = {}) {
  const [state, set] = useState({ data: null, at: 0, error: null, trouble: "" });
  const wake = useRef(() => {});
  useEffect(() => {
    let alive = true;
    const sleep = (ms) => new Promise((resolve) => {
      const timer = ms === Infinity ? 0 : setTimeout(resolve, ms);
      wake.current = () => { clearTimeout(timer); resolve(true); };
    });
    const looked = () => wake.current();
    const watch = async () => {
      for (let failed = 0; alive;) {
        try {
          const data = await read(path);
          if (!alive) return;
          failed = 0;
          set({ data, at: Date.now(), error: null, trouble: "" });
          await sleep(every && !until(data) && !document.hidden ? every : Infinity);
        } catch (error) {
          if (!alive) return;
          if (!(error instanceof Refused)) throw error;
          if (!error.passing) { set((old) => ({ ...old, error, trouble: "" })); await sleep(Infinity); continue; }
          for (let left = backoff(failed, error.wait); alive && left > 0; left -= 1) {
            set((old) => ({ ...old, trouble: said(error, left) }));
            if (await sleep(1000)) break;
          }
          failed += 1;
        }
      }
    };
    watch();
    const seen = () => { if (!document.hidden) looked(); };
    addEventListener("online", looked);
    document.addEventListener("visibilitychange", seen);
    return () => { alive = false; looked(); removeEventListener("online", looked); document.removeEventListener("visibilitychange", seen); };
  }, [path]);
  return { ...state, again: () => wake.current() };
}

export async function save(path, name) {
  const url = URL.createObjectURL(await (await ask(path)).blob());
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// A name for one click, which the service knows again: crypto.randomUUID is for pages over TLS only.
export const token = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
