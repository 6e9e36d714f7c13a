"""Calibrated verdicts by `specific`, a model at a time: conformal p, evidence that may stop early, how often innocents are accused."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooaudit.fingerprint.access import Access
from zooaudit.studies.bench import Bench
from zooaudit.studies.families import STOLEN, Contest, Fold, kin
from zooaudit.studies.judge import Judge
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.pictures import panels
from zooaudit.verdict.calibrated import Call, call, hindrances
from zooaudit.verdict.sequential import Looks, e_process, stopping_look

LEVEL = 0.01
ACCESS = ("probabilities", "label")
CHECKS = 100
"""Images at random, asked first and charged for: whether a suspect does its task, and how well."""
FIRST_LOOK, STEP = 20, 1.25


def looks_at(budget: int) -> np.ndarray:
    """After how many queries: from ``FIRST_LOOK`` on, each time a quarter more, and at the end."""
    counts = [min(FIRST_LOOK, budget)]
    while counts[-1] < budget:
        counts.append(min(int(counts[-1] * STEP) + 1, budget))
    return np.array(counts)


def calibration(bench: Bench) -> Outcome:
    """Every suspect judged by all innocent models but its kin, as if none of its kind from the same source had been known."""
    contest = Contest(bench)
    rows = [
        {"access": access, "fold": number} | row
        for access in ACCESS
        for number, fold in enumerate(contest.folds)
        for row in _judged(contest, fold, Access.named(access))
    ]
    found = [f for access in ACCESS for f in _findings(access, [r for r in rows if r["access"] == access])]
    return Outcome(rows, found, {"calibration.svg": _picture(rows)}, bench.excluded)


def _judged(contest: Contest, fold: Fold, rung: Access) -> Iterator[dict[str, Any]]:
    judge = Judge(contest, fold, rung, contest.telling(fold))
    counts = looks_at(len(judge.chosen))
    looks = Looks.of(judge.innocents_left_out.numpy(), counts)
    parts = judge.discriminant.parts(judge.told(fold.suspects)).numpy()
    running = dict(zip(fold.suspects, looks.standardised(parts), strict=True))
    checks = _checks(contest, judge.chosen)
    given = {s: contest.pool_answers[s.id][checks] for s in fold.suspects}
    accuracy = {s: float((a.argmax(1) == contest.pool_labels[checks]).float().mean()) for s, a in given.items()}
    for family, specs in fold.tested.items():
        for spec in specs:
            others = [s for s in fold.negatives if kin(s) != kin(spec)]
            references = np.array([running[s] for s in others])
            why = hindrances(given[spec], accuracy[spec], np.array([accuracy[s] for s in others]))
            verdict = call(float(running[spec][-1]), references[:, -1], LEVEL, why)
            evidence = e_process(running[spec], references)
            stop = None if why else stopping_look(evidence, LEVEL)
            yield {
                "family": family,
                "model": spec.id,
                "architecture": spec.architecture,
                "references": len(others),
                "score": verdict.score,
                "p": verdict.p_value,
                "call": str(verdict.call),
                "reason": verdict.reason,
                "evidence": float(evidence[-1]),
                "queries_to_stop": None if stop is None else len(checks) + int(counts[stop]),
                "budget": len(checks) + int(counts[-1]),
            }


def _checks(contest: Contest, telling: Tensor) -> Tensor:
    """The first images of the pool, which is in random order, that are not among the telling ones."""
    free = torch.ones(len(contest.pool), dtype=torch.bool)
    free[telling] = False
    left = free.nonzero().flatten()[:CHECKS]
    return left if len(left) else telling  # a pool so small that all of it is asked


def _findings(access: str, rows: Sequence[dict[str, Any]]) -> list[Finding]:
    stolen, free = ([r for r in rows if (r["family"] == STOLEN) is theirs] for theirs in (True, False))
    families = dict.fromkeys(r["family"] for r in free)
    wrong = {f: [sum(r["call"] == Call.STOLEN for r in free if r["family"] == f), sum(r["family"] == f for r in free)] for f in families}
    folds = len({r["fold"] for r in rows})
    n = f"one victim; {len(stolen)} judgements of piracy models, {len(free)} of innocent ones, over {folds} folds"
    stops = [r["queries_to_stop"] for r in stolen if r["queries_to_stop"]]
    asked = [r["queries_to_stop"] or r["budget"] for r in stolen]
    early = sum(bool(r["queries_to_stop"]) for r in free)
    cannot = sum(r["call"] == Call.CANNOT_TELL for r in rows)
    accused = ", ".join(f"{f} {a} of {b}" for f, (a, b) in wrong.items())
    return [
        unclaimed(
            f"Copies are called stolen and innocent models are not, at level {LEVEL:g} ({access})",
            f"stolen {sum(r['call'] == Call.STOLEN for r in stolen)} of {len(stolen)}; accused {accused}; cannot tell {cannot}",
            n,
            "conformal p on all queries, by all innocent models but the suspect's kin: nothing extracted from the same stranger, distilled "
            "from or made of the same model is among its references",
        ),
        unclaimed(
            f"Asking may stop early ({access})",
            f"{len(stops)} of {len(stolen)} decided; queries asked: median {np.median(asked):g}, nine in ten at most "
            f"{np.quantile(asked, 0.9):g} of {rows[0]['budget']}; innocent models that it stopped at: {early} of {len(free)}",
            n,
            f"e-process at level {LEVEL:g}, in the place of p, not beside it; {CHECKS} of the queries check that the suspect does its task",
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
        axes.set(xlabel="score, in standard deviations of innocent models")
        axes.invert_yaxis()

    return panels(list(ACCESS), paint, height=3.8)
