"""The victim's decision border: IPGuard, which the paper compares with (section 5.4), and confidence on
border points (figure 9)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooaudit.auditing.kept import kept_tensors
from zooaudit.baselines.ipguard import MARGINS, IpGuard
from zooaudit.baselines.scores import matching_rate
from zooaudit.data.images import to_unit
from zooaudit.methods import versions_of
from zooaudit.paper.border import border_points, confidence_gap, last_layer_border
from zooaudit.reporting.canvas import LOOKS, rendered
from zooaudit.seeds import derive
from zooaudit.studies.bench import FAMILIES, Bench
from zooaudit.studies.cohort import Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome, unclaimed
from zooaudit.studies.pictures import panels
from zooaudit.verdict.distances import auc
from zooaudit.zoo.spec import Role

POINTS = 100
PAIRS = 400
SURE = 0.5
"""A mean gap that counts as large: half of all confidence."""
BORDERS = {"the last layer": last_layer_border, "pixels": border_points}
METHOD = versions_of("studies", "uap", "baselines")
PAPER_IPGUARD = {"fashion-mnist": 0.83, "cifar10": 0.75, "tiny-imagenet": 0.61}


def ipguard(bench: Bench) -> Outcome:
    """AUC of IPGuard's matching rate beside ours, on the same models, at each margin that
    public codes use."""
    rows: list[dict[str, Any]] = []
    victim = bench.zoo.plan.victim
    for margin in MARGINS:
        answers = _answers(bench, _ipguard_questions(bench, margin))
        scores = {s: matching_rate(answers[victim], answers[s.id]) for s in bench.suspects}
        rows.append(
            {"method": "IPGuard", "margin": margin, "queries": POINTS}
            | {f"auc_{role}".replace("-", "_"): _auc(scores, role) for role in FAMILIES[1:]}
            | {f"score_{role}".replace("-", "_"): _mean(scores, role) for role in FAMILIES}
        )
    every = bench.questions.shape[:3].numel()
    for name, encoder in bench.encoders.items():
        means = {s: float(v.mean()) for s, v in bench.cohort.scores(Variant(encoder)).by_spec.items()}
        rows.append(
            {"method": f"UAP, encoder {name}", "margin": None, "queries": every}
            | {f"auc_{role}".replace("-", "_"): _auc(means, role) for role in FAMILIES[1:]}
            | {f"score_{role}".replace("-", "_"): _mean(means, role) for role in FAMILIES}
        )
    theirs = {r["margin"]: r["auc_homologous"] for r in rows if r["method"] == "IPGuard"}
    best, ours = (
        max(theirs.values()),
        {r["method"]: r["auc_homologous"] for r in rows if r["method"] != "IPGuard"},
    )
    stated = PAPER_IPGUARD.get(bench.papers_dataset)
    finding = Finding(
        "UAP fingerprints tell piracy from homologous models better than IPGuard",
        "section 5.4",
        f"IPGuard {stated:g}" if stated else "IPGuard lower",
        f"IPGuard {', '.join(f'k={k:g}: {v:.3f}' for k, v in theirs.items())};"
        f" {', '.join(f'{k}: {v:.3f}' for k, v in ours.items())}",
        f"{len(bench.suspects)} suspects, {POINTS} points",
        Holds.of(ours["UAP, encoder paper"] > best),
        "IPGuard as its paper describes it, at its best margin; it asks fewer queries",
    )
    return Outcome(rows, [finding], {"ipguard.svg": _ipguard_picture(rows)}, bench.excluded)


def _ipguard_questions(bench: Bench, margin: float) -> Tensor:
    """float ``[1, POINTS, 1, c, h, w]``."""
    images = bench.dataset.train.images
    seed = derive(bench.recipe.seed, "ipguard", margin)

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        generator = torch.Generator().manual_seed(seed)
        chosen = bench.victim.training_indices[
            torch.randperm(len(bench.victim.training_indices), generator=generator)[:POINTS]
        ]
        start = to_unit(images[chosen.to(images.device)])
        found = IpGuard(margin).points(bench.victim.module, start, derive(seed, "targets"))
        return {"questions": found.cpu().view(1, -1, 1, *found.shape[1:])}, {}

    inputs = [METHOD, bench.victim.id, bench.dataset.digest, margin, POINTS, vars(IpGuard(margin)), seed]
    return kept_tensors(bench.artifacts, "ipguard", inputs, make)[0]["questions"]


def _answers(bench: Bench, questions: Tensor) -> dict[str, Tensor]:
    """Answers ``[n, K]`` of the victim and all suspects."""
    ids = [bench.zoo.plan.victim, *(s.id for s in bench.suspects)]
    return {i: a.flatten(0, 2) for i, a in bench.answers(ids, questions).items()}


def _auc(scores: dict[Any, float], role: Role) -> float | None:
    return auc(
        [v for s, v in scores.items() if s.role is Role.PIRACY],
        [v for s, v in scores.items() if s.role is role],
    )


def _mean(scores: dict[Any, float], role: Role) -> float | None:
    values = [v for s, v in scores.items() if s.role is role]
    return float(np.mean(values)) if values else None


def _ipguard_picture(rows: list[dict[str, Any]]) -> bytes:
    def paint(axes: Any) -> None:
        names = [r["method"] + (f", k={r['margin']:g}" if r["margin"] is not None else "") for r in rows]
        at = np.arange(len(rows))
        for offset, role in ((-0.2, Role.HOMOLOGOUS), (0.2, Role.LOOK_ALIKE)):
            values = [r[f"auc_{role}".replace("-", "_")] or 0.0 for r in rows]
            axes.barh(at + offset, values, 0.38, color=LOOKS[role].colour, label=f"against {role}")
        axes.set_yticks(at, names)
        axes.invert_yaxis()
        axes.set(xlabel="AUC", xlim=(0, 1.03))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    return rendered(paint, width=5.6, height=3.4)


def border_confidence(bench: Bench) -> Outcome:
    """Figure 9: confidence gaps of suspects on the victim's border points, found by
    bisection in its last layer, and in pixels."""
    rows = [row for where in BORDERS for row in _gaps(bench, where)]
    findings = [
        f
        for where in BORDERS
        for f in _border_findings(bench, where, [r for r in rows if r["bisected_in"] == where])
    ]

    def paint(axes: Any, where: str) -> None:
        for role in FAMILIES:
            values = [
                r["confidence_gap"] for r in rows if (r["bisected_in"], r["role"]) == (where, str(role))
            ]
            if values:
                axes.ecdf(
                    values,
                    label=f"{role} ({len(values)})",
                    color=LOOKS[role].colour,
                    linestyle=LOOKS[role].line,
                    linewidth=2,
                )
        axes.set(
            xlabel="mean confidence gap on border points",
            ylabel="share of models",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )

    return Outcome(rows, findings, {"border.svg": panels(list(BORDERS), paint)}, bench.excluded)


def _gaps(bench: Bench, where: str) -> list[dict[str, Any]]:
    """A row a model, the victim's first."""
    answers = _answers(bench, _border_questions(bench, where))
    models = [("victim", bench.recipe.zoo.victim_architecture, bench.zoo.plan.victim)]
    models += [(str(s.role), s.architecture, s.id) for s in bench.suspects]
    return [
        {
            "bisected_in": where,
            "role": role,
            "architecture": architecture,
            "model": id_,
            "confidence_gap": float(confidence_gap(answers[id_]).mean()),
            "points": len(answers[id_]),
        }
        for role, architecture, id_ in models
    ]


def _border_findings(bench: Bench, where: str, rows: list[dict[str, Any]]) -> list[Finding]:
    by = {role: [r["confidence_gap"] for r in rows if r["role"] == str(role)] for role in FAMILIES}
    shown = ", ".join(f"{role} {np.mean(v):.3f}" for role, v in by.items() if v)
    n = f"{len(rows) - 1} suspects, {rows[0]['points']} border points"
    piracy = by[Role.PIRACY]
    area = auc(piracy, by[Role.HOMOLOGOUS])
    return [
        Finding(
            "Piracy models are sure of themselves on the victim's border points: they are far from their own"
            f" border (bisected in {where})",
            "figure 9 (app. A)",
            "a large confidence gap",
            f"mean gap: victim {rows[0]['confidence_gap']:.3f}, {shown}; least piracy model"
            f" {min(piracy):.3f}",
            n,
            Holds.of(float(np.mean(piracy)) >= SURE),
            f"counted as large from a mean of {SURE:g}",
        ),
        unclaimed(
            f"Piracy models are surer there than homologous ones (bisected in {where})",
            f"AUC {np.nan if area is None else area:.3f}",
            n,
            "the paper does not compare them; .5 is a coin toss, under it piracy models are nearer to the"
            " victim's border",
        ),
    ]


def _border_questions(bench: Bench, where: str) -> Tensor:
    """Border points between random pairs of the victim's training images: float ``[1, n, 1, c, h, w]``."""
    images = bench.dataset.train.images

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        generator = torch.Generator().manual_seed(derive(bench.recipe.seed, "border"))
        order = bench.victim.training_indices[
            torch.randperm(len(bench.victim.training_indices), generator=generator)[: 2 * PAIRS]
        ]
        pairs = to_unit(images[order.to(images.device)])
        half = len(pairs) // 2
        found, _ = BORDERS[where](bench.victim.module, pairs[:half], pairs[half : 2 * half])
        return {"questions": found.cpu().view(1, -1, 1, *found.shape[1:])}, {}

    inputs = [METHOD, bench.victim.id, bench.dataset.digest, PAIRS, where, bench.recipe.seed]
    return kept_tensors(bench.artifacts, "border", inputs, make)[0]["questions"]
