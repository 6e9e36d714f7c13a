"""Thieves who know of the audit: what they change on the way, in the model, or by stealing from the stolen; accuracy kept beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from zooaudit.config import ModifyConfig
from zooaudit.encoder.discriminant import fit_discriminant
from zooaudit.fingerprint.access import LADDER, Access
from zooaudit.studies.bench import Bench
from zooaudit.studies.families import STOLEN, Contest, Fold
from zooaudit.studies.methods import stacked, telling
from zooaudit.studies.outcome import Finding, Holds, Outcome
from zooaudit.studies.pictures import panels
from zooaudit.suspects.defences import DEFENCES, Defence
from zooaudit.verdict.metrics import auc, tpr_at_fpr
from zooaudit.zoo.spec import ModelSpec
from zooaudit.zoo.variants import distilled, modified

PROBABILITIES, LABEL = LADDER[0], LADDER[-1]
RUNGS = (PROBABILITIES, Access("rounded", 1), Access("top", 1), LABEL)
FINE_TUNED, PRUNED = ModifyConfig("fine-tune", 5), ModifyConfig("prune", 0.6)


def adaptive(bench: Bench) -> Outcome:
    """Copies under every defence against all innocent models, as they are, through the discriminant that a fold's models fit."""
    contest = Contest(bench)
    bases = _bases(contest)
    changed = _changed_models(bench, bases)
    rows: list[dict[str, Any]] = []
    for defence in DEFENCES:
        rows += _rows(contest, defence.name, bases, _defended(contest, defence, bases))
    for name, models in changed.items():
        given = _answers(contest, models)
        rows += _rows(contest, name, models, {s: given[s.id] for s in models})
    return Outcome(
        rows, [_finding(rows, a) for a in dict.fromkeys(r["access"] for r in rows)], {"adaptive.svg": _picture(rows)}, bench.excluded
    )


def _bases(contest: Contest) -> list[ModelSpec]:
    """The first piracy suspect of each architecture and optimiser."""
    first: dict[tuple[str, str], ModelSpec] = {}
    for spec in contest.folds[0].tested[STOLEN]:
        first.setdefault((spec.architecture, spec.optimiser), spec)
    return list(first.values())


def _changed_models(bench: Bench, bases: Sequence[ModelSpec]) -> dict[str, list[ModelSpec]]:
    """By what the thief did: built if the store lacks them."""
    pruned = [modified(b, PRUNED) for b in bases]
    tuned = [modified(p, FINE_TUNED, p) for p in pruned]
    again = [distilled(b, b) for b in bases]
    learnt = bench.built([*pruned, *tuned, *again])
    names = {"pruned .6, then fine-tuned": tuned, "second generation": again}
    return {name: kept for name, specs in names.items() if (kept := [s for s in specs if s in learnt])}


def _answers(contest: Contest, specs: Sequence[ModelSpec], questions: Tensor | None = None) -> dict[str, Tensor]:
    """Answers ``[pool, K]`` by id to the pool, or to what became of it."""
    images = contest.pool if questions is None else questions
    given = contest.bench.answers([s.id for s in specs], images.view(1, len(images), 1, *images.shape[1:]))
    return {id_: answers.flatten(0, 2) for id_, answers in given.items()}


def _defended(contest: Contest, defence: Defence, specs: Sequence[ModelSpec]) -> dict[ModelSpec, Tensor]:
    asked = defence.questions(contest.pool)
    given = contest.pool_answers if asked is contest.pool else _answers(contest, specs, asked)
    return {s: defence.answers(given[s.id]) for s in specs}


def _rows(contest: Contest, name: str, specs: Sequence[ModelSpec], given: dict[ModelSpec, Tensor]) -> list[dict[str, Any]]:
    accuracy = float(np.mean([(a.argmax(1) == contest.pool_labels).float().mean() for a in given.values()]))
    rows = []
    for rung in RUNGS:
        found = [_told_apart(contest, fold, rung, [given[s] for s in specs]) for fold in contest.folds]
        rows.append(
            {
                "defence": name,
                "access": rung.name,
                "models": len(specs),
                "accuracy": accuracy,
                "score": float(np.mean([f[0] for f in found])),
                "auc": float(np.mean([f[1] for f in found])),
                "tpr_at_fpr01": float(np.mean([f[2] for f in found])),
            }
        )
    return rows


def _told_apart(contest: Contest, fold: Fold, rung: Access, given: Sequence[Tensor]) -> tuple[float, float, float]:
    """Mean score of a defence's models, AUC and TPR at 1 % FPR against all innocent models of the fold."""
    chosen = telling(contest, fold)

    def told(specs: Sequence[ModelSpec]) -> Tensor:
        return rung.told(stacked(contest, specs)[:, chosen])

    fitted = fit_discriminant(told(fold.copies), told(fold.innocent))
    scores = [float(fitted.scores(rung.told(a[chosen]))) for a in given]
    innocent = fitted.scores(told(fold.negatives)).tolist()
    return float(np.mean(scores)), auc(scores, innocent) or 0.0, tpr_at_fpr(scores, innocent, 0.01) or 0.0


def _finding(rows: Sequence[dict[str, Any]], access: str) -> Finding:
    part = [r for r in rows if r["access"] == access]
    shown = ", ".join(f"{r['defence']}: {r['tpr_at_fpr01']:.2f} (accuracy {r['accuracy']:.3f})" for r in part)
    return Finding(
        f"Copies under a thief's defences are still told from innocent models ({access})",
        "not in the paper",
        "-",
        f"TPR at 1 % FPR {shown}",
        f"{part[0]['models']} piracy models a defence",
        Holds.UNCLAIMED,
        "the discriminant does not know of the defence",
    )


def _picture(rows: Sequence[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(r["defence"] for r in rows))

    def paint(axes: Any, access: str) -> None:
        part = {r["defence"]: r for r in rows if r["access"] == access}
        at = np.arange(len(names))
        axes.barh(at, [part[n]["tpr_at_fpr01"] for n in names], 0.6, color="#d55e00", label="TPR at 1 % FPR")
        axes.plot([part[n]["accuracy"] for n in names], at, "d", color="black", label="accuracy")
        axes.set_yticks(at, names, fontsize=8)
        axes.set(xlim=(0, 1.03))
        axes.invert_yaxis()

    return panels([PROBABILITIES.name, LABEL.name], paint, height=3.8)
