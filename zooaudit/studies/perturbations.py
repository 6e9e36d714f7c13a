"""Why a universal perturbation: figures 3 (maps of raw fingerprints) and 7 (UAP or LAP)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooaudit.auditing.kept import kept_tensors
from zooaudit.methods import versions_of
from zooaudit.paper.uap import local_perturbations
from zooaudit.reporting.canvas import LOOKS
from zooaudit.reporting.projection import MOST_ROWS, principal, tsne
from zooaudit.studies.bench import DRAWS, Bench
from zooaudit.studies.cohort import Cohort, Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome, spread
from zooaudit.studies.pictures import COLOURS, MARKERS, panels
from zooaudit.verdict.distances import auc
from zooaudit.zoo.spec import ModelSpec, Role

NEIGHBOURS = 5
METHOD = versions_of("studies", "uap")


def local_questions(bench: Bench) -> Tensor:
    """The audit's datapoints with, in place of the UAP, each one's own DeepFool
    perturbation (LAP) of the same norm."""
    images, config = bench.dataset.train.images, bench.recipe.uap

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        clean = bench.questions[:, :, 0]
        x = clean.flatten(0, 1).to(images.device)
        v = local_perturbations(bench.victim.module, x, config.norm, config.epsilon).cpu().view_as(clean)
        return {"questions": torch.stack([clean, (clean + v).clamp(0, 1)], dim=2)}, {}

    inputs = [
        METHOD,
        bench.victim.id,
        bench.dataset.digest,
        config.norm,
        config.epsilon,
        vars(bench.recipe.fingerprint),
        bench.recipe.seed,
    ]
    return kept_tensors(bench.artifacts, "lap", inputs, make)[0]["questions"]


def universal_or_local(bench: Bench) -> Outcome:
    """Figure 7: the same datapoints with the UAP, and with local perturbations of the same norm."""
    rows: list[dict[str, Any]] = []
    for kind, cohort in (("UAP", bench.cohort), ("LAP", bench.asked(local_questions(bench)))):
        for name, encoder in bench.encoders.items():
            for draw in DRAWS:
                scores = cohort.scores(Variant(encoder, draw=draw))
                rows.append(
                    {
                        "encoder": name,
                        "perturbation": kind,
                        "draw": draw,
                        "gap": scores.gap,
                        "auc": scores.auc(Role.HOMOLOGOUS),
                        "auc_look_alike": scores.auc(Role.LOOK_ALIKE),
                    }
                )

    def values(name: str, kind: str, what: str) -> list[float]:
        return [r[what] for r in rows if r["encoder"] == name and r["perturbation"] == kind]

    findings = [_separation(bench, name, functools.partial(values, name)) for name in bench.encoders]

    def paint(axes: Any, what: str) -> None:
        for x, kind in enumerate(("UAP", "LAP")):
            for offset, name in zip((-0.15, 0.0, 0.15), bench.encoders, strict=False):
                found = values(name, kind, what)
                axes.plot(
                    [x + offset] * len(found),
                    found,
                    MARKERS[name],
                    color=COLOURS[name],
                    label=name if not x else None,
                )
        axes.set_xticks([0, 1], ["UAP", "LAP"])
        axes.set(
            ylim=(-0.1, 1.03),
            xlim=(-0.5, 1.5),
            ylabel={"gap": "piracy less homologous similarity", "auc": "AUC against homologous"}[what],
        )

    return Outcome(rows, findings, {"uap-or-lap.svg": panels(["gap", "auc"], paint)}, bench.excluded)


def _separation(bench: Bench, name: str, values: Callable[[str, str], list[float]]) -> Finding:
    """Whether local perturbations separate worse by the encoder ``name``.

    Args:
        values: by kind of perturbation and what was measured.
    """
    shown = [
        f"{kind} gap {spread(values(kind, 'gap'))}, AUC {spread(values(kind, 'auc'))}"
        for kind in ("UAP", "LAP")
    ]
    worse = max(values("LAP", "gap")) < min(values("UAP", "gap"))
    worse = bool(worse and np.median(values("LAP", "auc")) <= np.median(values("UAP", "auc")))
    return Finding(
        f"Local perturbations of the same norm separate worse than the universal one (encoder {name})",
        "figure 7",
        "worse",
        "; ".join(shown),
        f"{len(bench.suspects)} suspects, {len(DRAWS)} encoders each",
        bench.holds(worse, name),
        "counted as worse if every encoder's gap is smaller and the median AUC no larger",
    )


def maps(bench: Bench) -> Outcome:
    """Figure 3: t-SNE of raw fingerprints, with the UAP and with LAP; and how often a fingerprint's
    neighbours are of its kind."""
    cohorts = {"UAP": bench.cohort, "LAP": bench.asked(local_questions(bench))}
    rows: list[dict[str, Any]] = [
        {
            "perturbation": kind,
            "neighbours_of_its_kind": _purity(cohort),
            "auc": _raw_auc(cohort),
            "neighbours": NEIGHBOURS,
        }
        for kind, cohort in cohorts.items()
    ]
    purity = {r["perturbation"]: r["neighbours_of_its_kind"] for r in rows}
    finding = Finding(
        "Raw fingerprints with the UAP cluster by type, with local perturbations they do not",
        "figure 3",
        "t-SNE maps",
        "; ".join(
            f"{kind}: {value:.3f} of the {NEIGHBOURS} nearest models' fingerprints are of its type"
            for kind, value in purity.items()
        ),
        f"{sum(s.role is not Role.LOOK_ALIKE for s in bench.suspects)} models,"
        f" {bench.recipe.fingerprint.views} views each",
        Holds.of(purity["UAP"] >= 0.9 and purity["LAP"] < 0.8),
        "in the raw space, other models only; .5 is chance. Counted as reproduced if the UAP's is at least .9"
        " and LAP's under .8",
    )
    return Outcome(rows, [finding], {"fingerprint-maps.png": _maps_picture(cohorts)}, bench.excluded)


def _labelled(cohort: Cohort) -> tuple[list[ModelSpec], np.ndarray]:
    specs = [s for s in cohort.suspects if s.role is not Role.LOOK_ALIKE]
    return specs, np.array([s.role is Role.PIRACY for s in specs])


def _purity(cohort: Cohort) -> float:
    """Share of each fingerprint's nearest ``NEIGHBOURS`` fingerprints of the same view, of
    other models, that are of its type."""
    specs, stolen = _labelled(cohort)
    flat = torch.stack([cohort.answers[s.id].flatten(1) for s in specs])
    shares = []
    for view in flat.unbind(1):
        distance = torch.cdist(view, view).fill_diagonal_(torch.inf)
        nearest = distance.topk(min(NEIGHBOURS, len(specs) - 1), largest=False).indices.numpy()
        shares.append((stolen[nearest] == stolen[:, None]).mean())
    return float(np.mean(shares))


def _raw_auc(cohort: Cohort) -> float | None:
    """AUC of the raw fingerprints' mean cosine with the victim's, without any encoder."""
    specs, stolen = _labelled(cohort)
    victim = cohort.answers[cohort.victim].flatten(1)
    scores = np.array(
        [
            float(torch.nn.functional.cosine_similarity(cohort.answers[s.id].flatten(1), victim).mean())
            for s in specs
        ]
    )
    return auc(scores[stolen].tolist(), scores[~stolen].tolist())


def _maps_picture(cohorts: dict[str, Cohort]) -> bytes:
    def paint(axes: Any, kind: str) -> None:
        cohort = cohorts[kind]
        specs, _ = _labelled(cohort)
        views = max(1, min(len(cohort.answers[cohort.victim]), MOST_ROWS // (1 + len(specs))))
        placed = tsne(principal(_fingerprints(cohort, [cohort.victim, *(s.id for s in specs)], views)))
        roles = np.repeat([Role.VICTIM.value, *(s.role.value for s in specs)], views)
        for role in (Role.PIRACY, Role.HOMOLOGOUS, Role.VICTIM):
            mine = placed[roles == role.value]
            look = LOOKS[role]
            size = 45 if role is Role.VICTIM else 14
            axes.scatter(
                *mine.T,
                s=size,
                marker=look.marker,
                color=look.colour,
                linewidths=0,
                alpha=0.75,
                label=str(role),
            )
        axes.set(xticks=[], yticks=[])

    return panels(list(cohorts), paint, height=4.4, form="png")


def _fingerprints(cohort: Cohort, ids: Sequence[str], views: int) -> np.ndarray:
    return np.concatenate([cohort.answers[i][:views].flatten(1).numpy() for i in ids])
