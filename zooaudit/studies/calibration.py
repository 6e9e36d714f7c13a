"""Calibrated verdicts by `specific`, a model at a time, as an audit gives them: whom they accuse, and after how many queries."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zooaudit.fingerprint.access import Access
from zooaudit.probing import answered, order, sizes
from zooaudit.studies.bench import Bench
from zooaudit.studies.families import BUILT, STOLEN, Contest, Fold
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.pictures import panels
from zooaudit.suspects.blackbox import Recorded
from zooaudit.suspects.defences import TREATMENTS
from zooaudit.verdict.calibrated import Call
from zooaudit.verdict.probe import Probe
from zooaudit.verdict.sequential import e_process, first_at
from zooaudit.zoo.spec import ModelSpec

LEVEL = 0.01
NO_REFERENCES = (STOLEN, "hardened")
"""Hardened innocents scatter so widely that a dozen of them among the references lets nobody be accused (docs/log.md)."""
ACCESS = ("probabilities", "label")


def calibration(bench: Bench) -> Outcome:
    """Every suspect judged by all innocent models but its kin and its kind, as if nobody had thought of such a model."""
    contest = Contest(bench)
    rows = [
        {"access": access, "fold": number} | row
        for number, fold in enumerate(contest.folds)
        for access in ACCESS
        for row in _judged(contest, fold, probe_of(contest, fold), Access.named(access))
    ]
    found = [f for access in ACCESS for f in _findings(access, [r for r in rows if r["access"] == access])]
    return Outcome(rows, found, {"calibration.svg": _picture(rows)}, bench.excluded)


def probe_of(contest: Contest, fold: Fold) -> Probe:
    """As an audit makes it, with all of a fold's innocent models as references but hardened ones: homologous and look-alikes by role."""
    config, pool = contest.bench.recipe.probe, contest.pool_answers
    telling = contest.telling(fold)
    asked = order(len(contest.pool), telling, sizes(config, len(contest.pool))[0])
    given = {id_: answers[asked] for id_, answers in pool.items()}
    images = (contest.pool[asked] * 255).round().byte()
    taught = [*fold.copies, *fold.innocent]
    behind = {t.name: dict(zip([s.id for s in taught], contest.behind(t, taught, asked), strict=True)) for t in TREATMENTS}
    copies, innocent = (answered(specs, given, behind) for specs in (fold.copies, fold.innocent))
    references = answered([s for family, specs in fold.tested.items() if family not in NO_REFERENCES for s in specs], given)
    return Probe(images, contest.pool_labels[asked], len(asked) - len(telling), LEVEL, copies, innocent, references)


def _judged(contest: Contest, fold: Fold, probe: Probe, access: Access) -> Iterator[dict[str, Any]]:
    asked = order(len(contest.pool), contest.telling(fold), probe.checks)
    as_seen = access if access.kind != "probabilities" else None  # a model that is very sure may look as if it told labels
    for family, specs in fold.tested.items():
        for spec in specs:
            answers = contest.pool_answers[spec.id][asked]
            apart = kept_apart(family, spec, specs)
            found = probe.examine(Recorded(answers), access=as_seen, apart=apart)
            verdict = found.verdict
            yield {
                "family": family,
                "model": spec.id,
                "architecture": spec.architecture,
                "references": verdict.references,
                "score": float(probe.judge(answers, access=as_seen, apart=apart).score),
                "p": verdict.p_value,
                "call": str(verdict.call),
                "reason": verdict.reason,
                "queries": found.queries,
                "budget": found.budget,
                "queries_by_e": _by_e(probe, answers, access, apart),
            }


def kept_apart(family: str, spec: ModelSpec, specs: Sequence[ModelSpec]) -> list[str]:
    """Who must not be among a suspect's references: itself; of a family that no audit has, all of it."""
    return [s.id for s in specs] if family in BUILT else [spec.id]


def _by_e(probe: Probe, answers: Any, access: Access, apart: Sequence[str]) -> int | None:
    """After how many queries an e-process by itself, over all references alike, would accuse; None if never."""
    scale, references = probe.at(access)[-1].scale, probe.at(access)[-1].references
    evidence = e_process(scale.running(answers[probe.checks :]), references.take(probe.references.others(apart)).peaks)
    look = first_at(evidence >= 1 / LEVEL)
    return None if look is None else probe.stops[look]


def _findings(access: str, rows: Sequence[dict[str, Any]]) -> list[Finding]:
    stolen, free = ([r for r in rows if (r["family"] == STOLEN) is theirs] for theirs in (True, False))
    families = dict.fromkeys(r["family"] for r in free)
    wrong = {f: [sum(r["call"] == Call.STOLEN for r in free if r["family"] == f), sum(r["family"] == f for r in free)] for f in families}
    folds = len({r["fold"] for r in rows})
    n = f"one victim; {len(stolen)} judgements of piracy models, {len(free)} of innocent ones, over {folds} folds"
    caught = [r["queries"] for r in stolen if r["call"] == Call.STOLEN]
    asked = [r["queries"] for r in stolen]
    cannot = sum(r["call"] == Call.CANNOT_TELL for r in rows)
    accused = ", ".join(f"{f} {a} of {b}" for f, (a, b) in wrong.items())
    by_e = [sum(bool(r["queries_by_e"]) for r in part) for part in (stolen, free)]
    return [
        unclaimed(
            f"Copies are called stolen and innocent models are not, at level {LEVEL:g} ({access})",
            f"stolen {len(caught)} of {len(stolen)}; accused {accused}; cannot tell {cannot}",
            n,
            "by all innocent models but the suspect's kin: nothing extracted from the same stranger, distilled from or made of the same "
            "model; of the kinds that no audit has among its references, none of that kind",
        ),
        unclaimed(
            f"Asking stops early ({access})",
            f"queries to the call: median {np.median(asked):g}, nine in ten at most {np.quantile(asked, 0.9):g} of {rows[0]['budget']}; "
            f"an e-process over all references alike would call {by_e[0]} of {len(stolen)} stolen, and {by_e[1]} of {len(free)} innocent",
            n,
            "asked until the call or the budget's end; the checks that the suspect does its task are counted in",
        ),
    ]


def _picture(rows: list[dict[str, Any]]) -> bytes:
    """Scores by family, one mark a model."""
    families = list(dict.fromkeys(r["family"] for r in rows))

    def paint(axes: Any, access: str) -> None:
        for y, family in enumerate(families):
            part = [r for r in rows if r["access"] == access and r["family"] == family]
            offsets = np.linspace(-0.3, 0.3, len(part)) if len(part) > 1 else [0.0]
            called = np.array([r["call"] == Call.STOLEN for r in part], dtype=bool)
            scores, at = np.array([r["score"] for r in part]), y + np.asarray(offsets)
            for mask, colour, label in ((called, "#d55e00", "called stolen"), (~called, "#0072b2", "not shown, or cannot tell")):
                axes.plot(scores[mask], at[mask], "o", color=colour, markersize=3, alpha=0.6, label=label)
        axes.set_yticks(range(len(families)), families, fontsize=8)
        axes.set(xlabel="score: 0 innocent, 1 copies")
        axes.invert_yaxis()

    return panels(list(ACCESS), paint, height=3.8)
