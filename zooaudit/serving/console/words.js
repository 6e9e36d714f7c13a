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
  const sentence = `Level ${level}: a model made without yours is called stolen in at most ${frequency(level)} cases.`;
  return isWeak(level) ? `${sentence} That is weak evidence: nobody should be accused by it.` : sentence;
}

/* The fewest twins by which one of n suspects can be called stolen by rank, corrected for their number by Holm: twins + 1 must be n / level
   or more, as in twins_for of zooaudit/verdict/ranking.py. */
export function twinsFor(n, level) {
  let twins = Math.max(0, Math.floor(n / level) - 2);
  while (1 / (twins + 1) > level / n) twins += 1;
  return twins;
}

export const counted = (of) => Object.entries(of).map(([what, n]) => `${n} ${what}`).join(", ") || "none";
export const plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
export const kind = (decision) => decision.replace(" ", "-");
