"""Thieves who know of the audit: what they change on the way, in the model, or by stealing again; and innocents who do the same."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooaudit.config import ModifyConfig
from zooaudit.fingerprint.access import LADDER, Access
from zooaudit.seeds import derive
from zooaudit.studies.bench import Bench
from zooaudit.studies.families import HARDENED, Contest
from zooaudit.studies.judge import Judge
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.pictures import panels
from zooaudit.studies.thieves import bases
from zooaudit.suspects.defences import DEFENCES, Defence
from zooaudit.verdict.metrics import auc
from zooaudit.zoo.spec import ModelSpec
from zooaudit.zoo.variants import distilled, hardened, modified

PROBABILITIES, LABEL = LADDER[0], LADDER[-1]
RUNGS = (PROBABILITIES, Access("rounded", 1), Access("top", 1), LABEL)
LONG, SHORT = ModifyConfig("fine-tune", 20), ModifyConfig("fine-tune", 5)
ON_UAPS = ModifyConfig("uap", 600, lr=0.05)
PRUNED, BARE = ModifyConfig("prune", 0.6), ModifyConfig("prune", 0.8)
RATE = 0.01
CHECKED = 400
"""Images that accuracies are measured on."""


def adaptive(bench: Bench) -> Outcome:
    """Copies under every defence through the discriminant that a fold's models fit, which knows of none.

    The threshold is what ``RATE`` of the innocent models are above as they are. Innocent models behind the same interface are held against
    it too: who softens answers or compresses images is no thief for it.
    """
    contest = Contest(bench)
    copies = bases(bench)
    judges = {rung: [Judge(contest, fold, rung, contest.telling(fold)) for fold in contest.folds] for rung in RUNGS}
    rows: list[dict[str, Any]] = []
    for defence in DEFENCES:
        rows += _rows(contest, judges, defence, copies, defence.name)
    for name, models in _changed_models(bench, copies).items():
        rows += _rows(contest, judges, DEFENCES[0], models, name)
    return Outcome(rows, [_finding(rows, rung.name) for rung in RUNGS], {"adaptive.svg": _picture(rows)}, bench.excluded)


def _changed_models(bench: Bench, copies: Sequence[ModelSpec]) -> dict[str, list[ModelSpec]]:
    """By what the thief did to the model: built if the store lacks them."""
    pruned = [modified(b, PRUNED) for b in copies]
    made = {
        "fine-tuned, 20 epochs": [modified(b, LONG) for b in copies],
        "pruned .8": [modified(b, BARE) for b in copies],
        "pruned .6, then fine-tuned": [modified(p, SHORT, p) for p in pruned],
        "adversarially trained": [s for b in copies for s in hardened(b, (int(HARDENED.strength),), HARDENED)],
        "trained on its UAPs": [modified(b, ON_UAPS) for b in copies],
        "second generation": [distilled(b, b) for b in copies],
    }
    learnt = bench.built([*pruned, *(s for specs in made.values() for s in specs)])
    return {name: kept for name, specs in made.items() if (kept := [s for s in specs if s in learnt])}


def _rows(
    contest: Contest, judges: Mapping[Access, Sequence[Judge]], defence: Defence, copies: Sequence[ModelSpec], name: str
) -> list[dict[str, Any]]:
    """One a rung, means over folds."""
    accuracy = _accuracy(contest, defence, copies)
    rows = []
    for rung, by_fold in judges.items():
        found = [_told_apart(judge, defence, copies) for judge in by_fold]
        mean = {key: float(np.mean([f[key] for f in found])) for key in found[0]}
        rows.append({"defence": name, "access": rung.name, "models": len(copies), "accuracy": accuracy} | mean)
    return rows


def _told_apart(judge: Judge, defence: Defence, copies: Sequence[ModelSpec]) -> dict[str, float]:
    """Mean score, AUC against innocent models as they are, shares of copies and of innocents behind the same interface accused."""
    free = judge.fold.negatives
    usual = judge.scores(free)
    threshold = sorted(usual, reverse=True)[int(RATE * len(usual) + 1e-9)]
    scores, disguised = (np.array(judge.scores_of(_defended(judge.contest, defence, specs, judge.chosen))) for specs in (copies, free))
    return {
        "score": float(scores.mean()),
        "auc": auc(scores.tolist(), usual) or 0.0,
        "accused": float((scores > threshold).mean()),
        "innocent_accused": float((disguised > threshold).mean()),
    }


def _defended(contest: Contest, defence: Defence, specs: Sequence[ModelSpec], chosen: Tensor) -> list[Tensor]:
    """What models tell of the pool's images at ``chosen``, ``[Q, K]`` each."""
    images = contest.pool[chosen]
    asked = defence.questions(images)

    def given(spec: ModelSpec) -> Tensor:
        if asked is images and spec.id in contest.pool_answers:
            return contest.pool_answers[spec.id][chosen]
        return contest.bench.answers([spec.id], asked.view(1, len(asked), 1, *asked.shape[1:]))[spec.id].flatten(0, 2)

    return [defence.answers(given(s), derive(contest.bench.recipe.seed, defence.name, s.id)) for s in specs]


def _accuracy(contest: Contest, defence: Defence, specs: Sequence[ModelSpec]) -> float:
    """Mean accuracy of the defended models, on the first ``CHECKED`` images of the pool."""
    first = torch.arange(min(CHECKED, len(contest.pool)))
    told = _defended(contest, defence, specs, first)
    return float(np.mean([(a.argmax(1) == contest.pool_labels[first]).float().mean() for a in told]))


def _finding(rows: Sequence[dict[str, Any]], access: str) -> Finding:
    part = [r for r in rows if r["access"] == access]
    shown = ", ".join(f"{r['defence']}: {r['accused']:.2f} (accuracy {r['accuracy']:.3f})" for r in part)
    worst = max(part, key=lambda r: r["innocent_accused"])
    return unclaimed(
        f"Copies under a thief's defences are still accused ({access})",
        f"{shown}; innocent models behind the same interface: at most {worst['innocent_accused']:.3f} ({worst['defence']})",
        f"one victim; {part[0]['models']} piracy models a defence",
        f"share above what {RATE:.0%} of innocent models as they are score; the discriminant knows of no defence",
    )


def _picture(rows: Sequence[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(r["defence"] for r in rows))

    def paint(axes: Any, access: str) -> None:
        part = {r["defence"]: r for r in rows if r["access"] == access}
        at = np.arange(len(names))
        axes.barh(at, [part[n]["accused"] for n in names], 0.6, color="#d55e00", label="copies accused")
        axes.barh(
            at, [part[n]["innocent_accused"] for n in names], 0.3, color="#0072b2", label="innocents behind the same interface accused"
        )
        axes.plot([part[n]["accuracy"] for n in names], at, "d", color="black", label="accuracy")
        axes.set_yticks(at, names, fontsize=8)
        axes.set(xlim=(0, 1.03))
        axes.invert_yaxis()

    return panels([PROBABILITIES.name, LABEL.name], paint, height=3.8)
