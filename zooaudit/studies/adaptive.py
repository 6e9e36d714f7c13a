"""Thieves who know of the audit: what they change on the way, in the model, or by stealing again; and innocents who do the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooaudit.config import ModifyConfig
from zooaudit.fingerprint.access import LADDER, Access
from zooaudit.probing import order
from zooaudit.studies.bench import Bench
from zooaudit.studies.calibration import LEVEL, kept_apart, probe_of
from zooaudit.studies.families import HARDENED, STOLEN, Contest, Fold
from zooaudit.studies.judge import Judge
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.pictures import panels
from zooaudit.studies.thieves import bases
from zooaudit.suspects.defences import DEFENCES, TREATMENTS, Defence
from zooaudit.verdict.calibrated import Call
from zooaudit.verdict.metrics import auc
from zooaudit.verdict.probe import Probe
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


@dataclass(frozen=True, eq=False)
class Side:
    """One fold: what judges its suspects, and the images that they are asked."""

    contest: Contest
    fold: Fold
    probe: Probe
    asked: Tensor
    judges: Mapping[Access, Judge]

    @staticmethod
    def of(contest: Contest, fold: Fold) -> "Side":
        telling, probe = contest.telling(fold), probe_of(contest, fold)
        return Side(
            contest, fold, probe, order(len(contest.pool), telling, probe.checks), {r: Judge(contest, fold, r, telling) for r in RUNGS}
        )

    def told(self, defence: Defence, specs: Sequence[ModelSpec]) -> list[Tensor]:
        """What models tell of the images through a defence, ``[Q, K]`` each."""
        return self.contest.behind(defence, specs, self.asked)

    def scores(self, rung: Access, told: Sequence[Tensor]) -> np.ndarray:
        return np.array(self.judges[rung].scores_of([t[self.probe.checks :] for t in told]))

    def calls(self, rung: Access, told: Sequence[Tensor], apart: Sequence[Sequence[str]]) -> np.ndarray:
        """The calibrated calls on answers, of each without the references ``apart`` from it."""
        seen = zip(told, apart, strict=True)  # read as it looks: a model that is very sure may look as if it told labels
        return np.array([str(self.probe.judge(rung.told(t), apart=out).verdict.call) for t, out in seen])

    @property
    def free(self) -> list[tuple[ModelSpec, list[str]]]:
        """Innocent suspects, and who is not among the references of each."""
        families = [(family, specs) for family, specs in self.fold.tested.items() if family != STOLEN]
        return [(spec, kept_apart(family, spec, specs)) for family, specs in families for spec in specs]


def adaptive(bench: Bench) -> Outcome:
    """Copies under every defence through the discriminant that a fold's models fit, and the calibrated calls on them.

    The threshold is what ``RATE`` of the innocent models are above as they are. Innocent models behind the same interface are held against
    it too, and judged: who softens answers or compresses images is no thief for it.
    """
    contest = Contest(bench)
    copies = bases(bench)
    sides = [Side.of(contest, fold) for fold in contest.folds]
    rows: list[dict[str, Any]] = []
    for defence in DEFENCES:
        innocent = [_innocents(side, defence) for side in sides]
        rows += _rows(sides, defence, copies, defence.name, innocent)
        if defence is DEFENCES[0]:
            as_they_are = innocent
    for name, models in _changed_models(bench, copies).items():
        rows += _rows(sides, DEFENCES[0], models, name, as_they_are)
    return Outcome(rows, [_finding(rows, rung.name) for rung in RUNGS], {"adaptive.svg": _picture(rows)}, bench.excluded)


Innocents = dict[Access, dict[str, Any]]


def _innocents(side: Side, defence: Defence) -> Innocents:
    """By rung: scores of the innocent suspects behind a defence, and the shares that are called stolen or cannot be told."""
    specs, apart = [s for s, _ in side.free], [a for _, a in side.free]
    told = side.told(defence, specs)
    return {rung: {"scores": side.scores(rung, told)} | _shares(side.calls(rung, told, apart), "innocent_") for rung in RUNGS}


def _shares(calls: np.ndarray, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}stolen": float((calls == Call.STOLEN).mean()), f"{prefix}cannot_tell": float((calls == Call.CANNOT_TELL).mean())}


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
    sides: Sequence[Side], defence: Defence, copies: Sequence[ModelSpec], name: str, innocent: Sequence[Innocents]
) -> list[dict[str, Any]]:
    """One a rung, means over folds."""
    accuracy = _accuracy(sides[0].contest, defence, copies)
    told = [side.told(defence, copies) for side in sides]
    rows = []
    for rung in RUNGS:
        found = [_told_apart(side, rung, t, free[rung]) for side, t, free in zip(sides, told, innocent, strict=True)]
        mean = {key: float(np.mean([f[key] for f in found])) for key in found[0]}
        rows.append({"defence": name, "access": rung.name, "models": len(copies), "accuracy": accuracy} | mean)
    return rows


def _told_apart(side: Side, rung: Access, told: Sequence[Tensor], innocent: dict[str, Any]) -> dict[str, float]:
    """Mean score, AUC against innocent models as they are, shares of copies and of innocents behind the same interface that are above the
    threshold, and that the calibrated verdict at the study's level calls stolen or cannot tell of."""
    usual = side.judges[rung].scores(side.fold.negatives)
    threshold = sorted(usual, reverse=True)[int(RATE * len(usual) + 1e-9)]
    scores = side.scores(rung, told)
    return {
        "score": float(scores.mean()),
        "auc": auc(scores.tolist(), usual) or 0.0,
        "accused": float((scores > threshold).mean()),
        "innocent_accused": float((innocent["scores"] > threshold).mean()),
        **_shares(side.calls(rung, told, [[]] * len(told))),
        **{k: v for k, v in innocent.items() if k != "scores"},
    }


def _accuracy(contest: Contest, defence: Defence, specs: Sequence[ModelSpec]) -> float:
    """Mean accuracy of the defended models, on the first ``CHECKED`` images of the pool."""
    first = torch.arange(min(CHECKED, len(contest.pool)))
    told = contest.behind(defence, specs, first)
    return float(np.mean([(a.argmax(1) == contest.pool_labels[first]).float().mean() for a in told]))


def _finding(rows: Sequence[dict[str, Any]], access: str) -> Finding:
    part = [r for r in rows if r["access"] == access]
    shown = ", ".join(f"{r['defence']}: {r['stolen']:.2f} (accuracy {r['accuracy']:.3f})" for r in part)
    free = ", ".join(f"{r['defence']}: {r['innocent_stolen']:.3f}" for r in part[: len(DEFENCES)])
    return unclaimed(
        f"Copies under a thief's defences are still called stolen at level {LEVEL:g} ({access})",
        f"{shown}; innocent models behind the same interface are called stolen: {free}",
        f"one victim; {part[0]['models']} piracy models a defence",
        "the discriminant was taught by models behind " + ", ".join(t.name for t in TREATMENTS) + "; the references know of no defence",
    )


def _picture(rows: Sequence[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(r["defence"] for r in rows))

    def paint(axes: Any, access: str) -> None:
        part = {r["defence"]: r for r in rows if r["access"] == access}
        at = np.arange(len(names))
        axes.barh(at, [part[n]["stolen"] for n in names], 0.6, color="#d55e00", label="copies called stolen")
        axes.barh(
            at, [part[n]["innocent_stolen"] for n in names], 0.3, color="#0072b2", label="innocents behind the same interface called so"
        )
        axes.plot([part[n]["accuracy"] for n in names], at, "d", color="black", label="accuracy")
        axes.set_yticks(at, names, fontsize=8)
        axes.set(xlim=(0, 1.03))
        axes.invert_yaxis()

    return panels([PROBABILITIES.name, LABEL.name], paint, height=3.8)
