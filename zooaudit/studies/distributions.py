"""How similarities are distributed, by family of suspects."""

from typing import Any

import numpy as np

from zooaudit.reporting.canvas import LOOKS
from zooaudit.studies.bench import FAMILIES, Bench
from zooaudit.studies.cohort import Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome, spread
from zooaudit.studies.pictures import panels
from zooaudit.zoo.spec import Role


def distributions(bench: Bench) -> Outcome:
    """Figure 5: the distribution of fingerprints' similarities, by architecture."""
    rows: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for name, config in bench.encoders.items():
        scores = bench.cohort.scores(Variant(config))
        distances = {}
        for architecture in bench.recipe.zoo.architectures:
            by_role = {role: scores.of(role).where(architecture=architecture) for role in FAMILIES}
            for role, part in by_role.items():
                quantiles = np.quantile(part.views, np.linspace(0, 1, 101)) if len(part.views) else []
                rows += [
                    {
                        "encoder": name,
                        "architecture": architecture,
                        "role": str(role),
                        "share": i / 100,
                        "similarity": float(q),
                    }
                    for i, q in enumerate(quantiles)
                ]
            pair = by_role[Role.PIRACY].views, by_role[Role.HOMOLOGOUS].views
            distances[architecture] = (
                _largest_distance(*pair) if all(len(views) for views in pair) else np.nan
            )
        worst = min(distances, key=lambda a: -1.0 if np.isnan(distances[a]) else distances[a])
        findings.append(
            Finding(
                "The distributions of piracy and homologous fingerprints lie apart in every architecture"
                f" (encoder {name})",
                "figure 5",
                "apart",
                f"largest distance of the CDFs {spread(list(distances.values()))}, least for {worst}",
                f"{len(scores.of(Role.PIRACY).views):,} + {len(scores.of(Role.HOMOLOGOUS).views):,}"
                " fingerprints",
                Holds.of(distances[worst] >= 0.9, *distances.values()),
                "counted as reproduced if the distance is .9 or more in every architecture",
            )
        )
    pictures = {
        f"cdf-{name}.svg": _cdf_picture(rows, name, bench.recipe.zoo.architectures) for name in bench.encoders
    }
    return Outcome(rows, findings, pictures, bench.excluded)


def _largest_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest difference of the two distribution functions."""
    at = np.sort(np.concatenate([a, b]))
    cdf_a, cdf_b = (np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (a, b))
    return float(np.abs(cdf_a - cdf_b).max())


def _cdf_picture(rows: list[dict[str, Any]], name: str, architectures: tuple[str, ...]) -> bytes:
    def paint(axes: Any, architecture: str) -> None:
        for role in FAMILIES:
            part = [
                r
                for r in rows
                if (r["encoder"], r["architecture"], r["role"]) == (name, architecture, str(role))
            ]
            if part:
                look = LOOKS[role]
                x, y = [r["similarity"] for r in part], [r["share"] for r in part]
                axes.plot(x, y, label=str(role), color=look.colour, linestyle=look.line, linewidth=2)
        axes.set(
            xlabel="similarity to the victim",
            ylabel="share of fingerprints",
            xlim=(-0.02, 1.02),
            ylim=(0, 1.02),
        )

    return panels(architectures, paint)
