// Numbers and states in words, the same on every page.
export const ENDED = ["done", "failed", "cancelled"];
export const WEAK_OVER = 0.05;

export const short = (value) => (value === null || value === undefined ? "none" : String(Number(value.toPrecision(2))));
export const when = (seconds) => new Date(seconds * 1000).toLocaleString();
export const isWeak = (level) => level !== null && level !== undefined && level > WEAK_OVER;

// A level as a frequency, never smaller than it is, in the words of zooaudit/verdict/wording.py: .05 is 1 of 20, .03 is 3 of 100.
export function frequency(level) {
  for (let cases = 1; cases <= 1000; cases += 1) {
    const called = Math.round(level * cases);
    if (called && Math.abs(called / cases - level) < 1e-12) return `${called} of ${cases.toLocaleString("en")}`;
  }
  return `1 of ${Math.floor(1 / level).toLocaleString("en")}`;
}
export const levelled = (level) => (level === null || level === undefined ? "the kit's" : `${frequency(level)}${isWeak(level) ? ", weak" : ""}`);

export function meaning(level) {
  const told = `Level ${level}: a model made without yours is called stolen in at most ${frequency(level)} cases.`;
  return isWeak(level) ? `${told} That is weak evidence: nobody should be accused by it.` : told;
}

export const counted = (of) => Object.entries(of).map(([what, n]) => `${n} ${what}`).join(", ") || "none";
export const plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
export const kind = (call) => call.replace(" ", "-");
