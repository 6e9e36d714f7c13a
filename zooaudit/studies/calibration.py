"""Calibrated verdicts by `specific`, a model at a time: conformal p, evidence that may stop early, how often innocents are accused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from zooaudit.encoder.discriminant import fit_discriminant, left_out_parts
from zooaudit.fingerprint.access import Access
from zooaudit.seeds import derive
from zooaudit.studies.bench import Bench
from zooaudit.studies.families import STOLEN, Contest, Fold
from zooaudit.studies.methods import QUERIES, stacked, telling
from zooaudit.studies.outcome import Finding, Holds, Outcome
from zooaudit.studies.pictures import panels
from zooaudit.verdict.calibrated import Call, call, hindrances
from zooaudit.verdict.conformal import benjamini_hochberg, holm
from zooaudit.verdict.sequential import Looks, e_process, stopping_look
from zooaudit.zoo.spec import ModelSpec

LEVEL = 0.01
ACCESS = ("probabilities", "label")
NULL_RUNS = 10_000
NULL_REFERENCES = 100
FIRST_LOOK, STEP = 20, 1.25


def looks_at(budget: int) -> np.ndarray:
    """After how many queries: from ``FIRST_LOOK`` on, each time a quarter more, and at the end."""
    counts = [min(FIRST_LOOK, budget)]
    while counts[-1] < budget:
        counts.append(min(int(counts[-1] * STEP) + 1, budget))
    return np.array(counts)


def calibration(bench: Bench) -> Outcome:
    """Every suspect judged by all innocent models but itself."""
    contest = Contest(bench)
    rows: list[dict[str, Any]] = []
    found: list[Finding] = []
    for access in ACCESS:
        part: list[dict[str, Any]] = []
        accused = []
        for number, fold in enumerate(contest.folds):
            running = _running(contest, fold, Access.named(access))
            part += [{"access": access, "fold": number} | row for row in _judged(contest, fold, running)]
            accused.append(null_runs(np.array([running[s] for s in fold.negatives]), derive(bench.recipe.seed, "null", access, number)))
        rows += part
        found += _findings(access, part, accused)
    return Outcome(rows, found, {"calibration.svg": _picture(rows)}, bench.excluded)


def _running(contest: Contest, fold: Fold, rung: Access) -> dict[ModelSpec, np.ndarray]:
    """Standardised running scores ``[looks]`` of a fold's suspects, the most telling queries first."""
    chosen = telling(contest, fold)

    def told(specs: Sequence[ModelSpec]) -> torch.Tensor:
        return rung.told(stacked(contest, specs)[:, chosen])

    fitted = fit_discriminant(told(fold.copies), told(fold.innocent))
    looks = Looks.of(left_out_parts(told(fold.copies), told(fold.innocent)).numpy(), looks_at(len(chosen)))
    return dict(zip(fold.suspects, looks.standardised(fitted.parts(told(fold.suspects)).numpy()), strict=True))


def _judged(contest: Contest, fold: Fold, running: dict[ModelSpec, np.ndarray]) -> list[dict[str, Any]]:
    records, negatives = contest.accuracies, fold.negatives
    counts = looks_at(min(QUERIES, len(contest.pool)))
    chosen = telling(contest, fold)
    rows: list[dict[str, Any]] = []
    for family, specs in fold.tested.items():
        for spec in specs:
            others = [s for s in negatives if s.id != spec.id]
            references = np.array([running[s] for s in others])
            why = hindrances(contest.pool_answers[spec.id][chosen], records[spec.id], np.array([records[s.id] for s in others]))
            verdict = call(float(running[spec][-1]), references[:, -1], LEVEL, why)
            evidence = e_process(running[spec], references)
            stop = None if why else stopping_look(evidence, LEVEL)
            rows.append(
                {
                    "family": family,
                    "model": spec.id,
                    "architecture": spec.architecture,
                    "score": verdict.score,
                    "p": verdict.p_value,
                    "call": str(verdict.call),
                    "reason": verdict.reason,
                    "evidence": float(evidence[-1]),
                    "queries_to_stop": None if stop is None else int(counts[stop]),
                }
            )
    told = [r["p"] if r["p"] is not None else 1.0 for r in rows]
    for row, by_holm, by_bh in zip(rows, holm(told), benjamini_hochberg(told), strict=True):
        row |= {"p_holm": float(by_holm), "p_bh": float(by_bh)}
    return rows


def null_runs(innocent: np.ndarray, seed: int, runs: int = NULL_RUNS) -> int:
    """How many of so many runs accuse: an innocent drawn as the suspect, others as its references, running scores ``[models, looks]``."""
    generator = np.random.default_rng(seed)
    size = min(NULL_REFERENCES, len(innocent) - 1)
    accused = 0
    for _ in range(runs):
        drawn = innocent[generator.permutation(len(innocent))[: size + 1]]
        accused += stopping_look(e_process(drawn[0], drawn[1:]), LEVEL) is not None
    return accused


def _findings(access: str, rows: list[dict[str, Any]], accused: list[int]) -> list[Finding]:
    stolen = [r for r in rows if r["family"] == STOLEN]
    free = [r for r in rows if r["family"] != STOLEN]
    families = dict.fromkeys(r["family"] for r in free)
    wrong = {f: [sum(r["call"] == Call.STOLEN for r in free if r["family"] == f), sum(r["family"] == f for r in free)] for f in families}
    n = f"{len(stolen)} judgements of piracy models, {len(free)} of innocent ones, over {len(accused)} folds"
    stops = [r["queries_to_stop"] for r in stolen if r["queries_to_stop"]]
    early = [r for r in free if r["queries_to_stop"]]
    median = f"median {np.median(stops):g}, nine in ten within {np.quantile(stops, 0.9):g}" if stops else "never"
    cannot = sum(r["call"] == Call.CANNOT_TELL for r in rows)
    return [
        Finding(
            f"Copies are called stolen and innocent models are not, at level {LEVEL:g} ({access})",
            "not in the paper",
            "-",
            f"stolen {sum(r['call'] == Call.STOLEN for r in stolen)} of {len(stolen)}; accused "
            + ", ".join(f"{f} {a} of {b}" for f, (a, b) in wrong.items())
            + f"; cannot tell {cannot}",
            n,
            Holds.UNCLAIMED,
            "conformal p by all innocent models but the suspect itself: at most 1 in 100 of them can be accused, whichever they are",
        ),
        Finding(
            f"Asking stops early ({access})",
            "not in the paper",
            "-",
            f"{len(stops)} of {len(stolen)} decided, {median} queries; innocent models that it stopped at: {len(early)} of {len(free)}",
            n,
            Holds.UNCLAIMED,
            f"e-process at level {LEVEL:g}; {NULL_RUNS:,} null runs with at most {NULL_REFERENCES} references accused "
            + ", ".join(f"{a / NULL_RUNS:.2%}" for a in accused),
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
