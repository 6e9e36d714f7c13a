// A verdict: the decision, what its level means, where the victim stands, what it rests on; one that is kept, why it is so, and to send it.
import { html } from "./html.js";
import { may, useLive } from "./api.js";
import { Decision, Facts, Live, Save, Table, Title } from "./parts.js";
import { Candidates, named } from "./picture.js";
import { isWeak, meaning, short, when } from "./words.js";

function pValue(found) {
  if (found.p_value === null) return "none";
  const by = found.by === "rank" ? "by the victim's rank among its twins" : "by the normal distribution";
  return `${short(found.p_value)} ${by}${found.beyond ? ", or by the suspect's among innocent models: the larger of both" : ""}`;
}

const normally = (found) => `p ${short(found.normal.p_value)}${earlier(found) && `, after all ${found.queries} questions`}; a test of their normality: p ${short(found.normal.normality)}`;

const earlier = (found) => (found.statistics_after && found.statistics_after < found.queries
  ? `; the victim's place was settled after ${found.statistics_after}` : "");

function restsOn(found) {
  return {
    p: pValue(found), Rank: found.rank === null ? "none" : `${found.rank} of ${found.twins + 1}`,
    "Smallest p": `${short(found.smallest_p)}, with ${found.twins} twins`,
    ...(found.normal ? { "If the twins are normal": normally(found) } : {}),
    ...(found.beyond ? { "Beside innocent models": `${found.beyond.above} of ${found.beyond.references} references have as much of the victim` } : {}),
    Questions: `${found.queries} of at most ${found.budget}${found.settled ? earlier(found) : "; not settled: more may change the decision"}`, "Read as": found.access,
  };
}

export function Verdict({ found, more = {}, head = "h3" }) {
  return html`<div class="verdict">
    <p class="large"><${Decision} decision=${found.decision} level=${found.level} /></p>
    <p class=${isWeak(found.level) ? "frequency unsure" : "frequency"}>${meaning(found.level)}</p>
    <p>${found.reason}</p>
    ${found.hint && html`<p class="hint">Hint: ${found.hint}</p>`}
    ${found.cautions?.length > 0 && html`<div class="note" role="note"><${head}>Caution<//><ul>${found.cautions.map((c) => html`<li>${c}</li>`)}</ul></div>`}
    ${found.statistics?.length > 1 && html`<${Candidates} found=${found} />`}
    <${head}>What it rests on<//><${Facts} of=${{ ...restsOn(found), ...more }} />
    <${head}>What the level means<//><p class="promise">${found.promise}</p></div>`;
}

const TRUSTED = "The pack holds the kit, and with it what the victim and its twins answered. It is for whoever must check the verdict: "
  + "zooaudit evidence verify.";
const NOT_TRUSTED = "The evidence pack and the explanation show what the victim and its twins answered: they take a key with the scope evidence.";

/* To send and to look closer: `at` is the verdict's address in the console, "" where the closer look is this one. */
export function Sending({ id, at, answers = true, head = "h3" }) {
  if (!answers) return html`<p class="note" role="note">
    The answers to this verdict are not kept any more: send them again to have it explained or packed.</p>`;
  return html`<${head}>${at ? "Send it, or look closer" : "Send it"}<//>
    <p class="actions"><${Save} path=${`/verdicts/${id}/page`} name=${`verdict-${id}.html`}>Verdict to print or send (HTML)<//>
    <${Save} disabled=${!may("evidence")} path=${`/verdicts/${id}/pack`} name=${`evidence-${id}.zip`}>Evidence pack (ZIP)<//>
    ${at && may("evidence") && html`<a class="button plain" href=${`${at}/why`}>Why this verdict?</a>`}</p>
    <p class="hint">${may("evidence") ? TRUSTED : NOT_TRUSTED}</p>`;
}

export function KeptVerdict({ id }) {
  const live = useLive(`/verdicts/${id}`);
  return html`<${Title}>Verdict${live.data ? ` on ${live.data.score.suspect}` : ""}<//><${Live} live=${live}>${(kept) => {
    const { score } = kept;
    const about = {
      Kit: html`<a href=${`/console/kits/${score.kit}`}>${score.kit}</a>`, "Kit, SHA-256": score.digest, "Answers, SHA-256": score.answers_sha256,
      ...(kept.asked.model_sha256 ? { "Model, SHA-256": kept.asked.model_sha256 } : {}), Judged: `${when(kept.made)}, with the key “${kept.by}”`,
    };
    return html`<section aria-label="Verdict">${score.twins ? html`<${Verdict} head="h2" found=${score.twins} more=${about} />`
      : html`<p class="large">${score.paper.decision}</p><p>By the paper's test: ${score.paper.reason}</p>
        <p class="note">${score.paper.caution}</p><${Facts} of=${about} />`}
      ${score.twins && html`<${Sending} head="h2" id=${id} at=${`/console/verdicts/${id}`} answers=${kept.answers_kept} />`}</section>`;
  }}<//>`;
}

const identity = (why) => ({
  Kit: why.kit, "Kit, SHA-256": why.kit_sha256, "Answers, SHA-256": why.answers_sha256, Victim: why.victim, "Decided by": why.decided_by.join(", "),
});
const said = (answers) => answers.map((a) => `${a.label}: ${a.probability.toFixed(2)}`).join(", ");

/* Models' ids in the order of the statistics: candidates come by statistic, the largest first, of equal ones that which is first in the kit. */
function idsOf(why) {
  const order = why.verdict.statistics.map((value, place) => ({ value, place })).sort((a, b) => b.value - a.value);
  const ids = [];
  why.candidates.forEach((candidate, i) => { ids[order[i].place] = candidate.id; });
  return ids;
}

const LOOKS = (ids) => [
  ["Questions", (l) => l.queries, "number"], ["Victim", (l) => l.victim.toFixed(2), "number"], ["Best twin", (l) => l.best.toFixed(2), "number"],
  ["Which", (l) => named(ids.indexOf(l.best_twin))],
];
const QUESTIONS = [
  ["Image", (q) => html`<img class="asked" src=${q.image} alt=${`Question ${q.index}${q.true_class && `, ${q.true_class}`}`} />`],
  ["Question", (q) => `${q.index}: ${q.family}${q.true_class && `, ${q.true_class}`}`], ["Weight", (q) => `${q.share < 0 ? "−" : "+"}${Math.abs(100 * q.share).toFixed(1)} %`, "number"],
  ["Victim", (q) => said(q.victim)], ["Suspect", (q) => said(q.suspect)], ["Twins, mean", (q) => said(q.twins)],
];

export function Why({ id, back }) {
  const live = useLive(`/verdicts/${id}/explanation`);
  return html`<${Title}>Why this verdict?<//><p><a href=${back}>Back to the verdict</a></p><${Live} live=${live}>${(why) => html`
    <section aria-labelledby="among"><h2 id="among">${why.suspect}: <${Decision} decision=${why.verdict.decision} level=${why.verdict.level} /></h2>
      <p class=${isWeak(why.verdict.level) ? "frequency unsure" : "frequency"}>${meaning(why.verdict.level)}</p><p>${why.verdict.reason}</p>
      ${why.candidates.length > 0 && html`<${Candidates} found=${why.verdict} ids=${idsOf(why)} />`}
      <${Facts} of=${identity(why)} /><${Sending} id=${id} /></section>
    ${why.looks.length > 0 && html`<section aria-labelledby="looks"><h2 id="looks">Look by look</h2>
      <${Table} name="Looks" columns=${LOOKS(idsOf(why))} of=${why.looks} /></section>`}
    ${why.questions.length > 0 && html`<section aria-labelledby="asked"><h2 id="asked">The questions that weighed most</h2>
      <p class="hint">Percentages are of what all questions weigh, whichever way they point, by the family of questions that speaks most for
        the victim. + speaks for the victim, − against it; all in all they speak ${why.leads ? "for" : "against"} it.
        Of each answer the two likeliest classes are shown.</p>
      <${Table} name="Questions" columns=${QUESTIONS} of=${why.questions} /></section>`}
    <section aria-labelledby="unsaid"><h2 id="unsaid">What is not said, and why</h2>
      <ul>${why.abstained.map((line) => html`<li>${line}.</li>`)}</ul></section>`}<//>`;
}
