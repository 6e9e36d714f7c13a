"""How alike the views of a model are."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from zooaudit.studies.bench import Bench
from zooaudit.studies.cohort import Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome
from zooaudit.studies.pictures import panels
from zooaudit.zoo.spec import Role


def views_alike(bench: Bench) -> Outcome:
    """Figure 10: two fingerprints of one model are more alike than those of two models of the same label."""
    rows: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for name, encoder in bench.encoders.items():
        cohort, variant = bench.cohort, Variant(encoder)
        network = cohort.encoder(variant)
        for role in (Role.PIRACY, Role.HOMOLOGOUS):
            specs = [s for s in cohort.suspects if s.role is role]
            with torch.no_grad():
                z = torch.stack(
                    [F.normalize(network.embed(cohort.rows(variant, s.id)), dim=1, eps=1e-8) for s in specs]
                )
            same, other = within_and_between(z)
            rows.append(
                {
                    "encoder": name,
                    "role": str(role),
                    "views_of_one_model": same,
                    "models_of_one_label": other,
                    "models": len(specs),
                }
            )
        mine = [r for r in rows if r["encoder"] == name]
        findings.append(_more_alike(name, mine))

    def paint(axes: Any, name: str) -> None:
        mine = [r for r in rows if r["encoder"] == name]
        at = np.arange(len(mine))
        axes.bar(
            at - 0.2,
            [r["views_of_one_model"] for r in mine],
            0.38,
            label="views of one model",
            color="#0072b2",
        )
        axes.bar(
            at + 0.2,
            [r["models_of_one_label"] for r in mine],
            0.38,
            label="models of one label",
            color="#e69f00",
            hatch="//",
        )
        axes.set_xticks(at, [r["role"] for r in mine])
        axes.set(ylabel="mean cosine", ylim=(0, 1.03))

    return Outcome(rows, findings, {"views.svg": panels(list(bench.encoders), paint)}, bench.excluded)


def _more_alike(name: str, mine: list[dict[str, Any]]) -> Finding:
    """Whether the views of one model are more alike by the encoder ``name``."""
    return Finding(
        f"Views of one model are more alike than models of one label (encoder {name})",
        "figure 10 (app. B)",
        "more alike",
        "; ".join(
            f"{r['role']}: {r['views_of_one_model']:.3f} against {r['models_of_one_label']:.3f}" for r in mine
        ),
        f"{' + '.join(str(r['models']) for r in mine)} models",
        Holds.of(
            all(r["views_of_one_model"] > r["models_of_one_label"] for r in mine),
            *(np.nan if r["models"] < 2 else 0.0 for r in mine),
        ),
        "mean cosines of embeddings; more alike for both labels",
    )


def within_and_between(z: torch.Tensor) -> tuple[float, float]:
    """Mean cosine of different views of one model, and of different models; ``z`` unit rows
    ``[models, views, d]``."""
    models, views, _ = z.shape
    cosine = torch.einsum("avd,bwd->abvw", z, z)
    same = cosine[torch.arange(models), torch.arange(models)]
    within = (same.sum() - same.diagonal(dim1=1, dim2=2).sum()) / max(1, models * views * (views - 1))
    between = (cosine.sum() - same.sum()) / max(1, models * (models - 1) * views * views)
    return float(within), float(between)
