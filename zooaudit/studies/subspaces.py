"""Figure 2: as many UAPs of each model as the input has dimensions, and how far those of
suspects lie from the victim's."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from zooaudit.auditing.kept import kept_tensors
from zooaudit.config import Norm, UapConfig, UapMethod
from zooaudit.data.on_disk import in_memory
from zooaudit.methods import versions_of
from zooaudit.paper.many_uaps import many_uaps
from zooaudit.paper.subspace import inconsistency
from zooaudit.paper.uap import fooling_rate
from zooaudit.reporting.canvas import LOOKS
from zooaudit.seeds import derive
from zooaudit.storage.models import load_module
from zooaudit.studies.bench import FAMILIES, Bench
from zooaudit.studies.outcome import Finding, Holds, Outcome
from zooaudit.studies.pictures import panels
from zooaudit.verdict.distances import auc
from zooaudit.zoo.spec import ModelSpec, Role

MOST = 784
"""UAPs of a model: the input's dimensions, so that they fill a square matrix, but no more
than Fashion-MNIST has."""
DEEPFOOL_MOST = 256
"""By DeepFool fewer: each takes a hundred times as long."""
MODELS_PER_CELL = 2
"""Suspects of each role and architecture whose UAPs are made: it takes the model itself,
which an auditor has not."""
RATED = 5
"""UAPs of each model whose fooling rate is measured."""
RATIO, SEPARATED = 2.0, 0.9
ITSELF = "victim"
"""Its other UAPs: how far it is from itself."""
METHOD = versions_of("studies", "uap")


@dataclass(frozen=True)
class Arm:
    """One way to make the UAPs."""

    method: UapMethod
    norm: Norm
    times: float
    """Radius, of the recipe's: in L2 of the length that all pixels at the recipe's bound would have."""
    steps: int
    batch: int
    points: int
    most: int

    @property
    def name(self) -> str:
        return f"{self.method}, {'L-inf' if self.norm == 'linf' else 'L2'}"

    def config(self, recipe: UapConfig, dimensions: int) -> UapConfig:
        length = {("linf", "l2"): dimensions**0.5, ("l2", "linf"): dimensions**-0.5}.get(
            (recipe.norm, self.norm), 1.0
        )
        radius = recipe.epsilon * self.times * length
        return replace(
            recipe,
            method=self.method,
            norm=self.norm,
            epsilon=radius,
            max_steps=self.steps,
            batch_size=self.batch,
            points=self.points,
        )


ARMS = (
    Arm("gradient", "linf", 1.0, 30, 32, 1000, MOST),
    Arm("gradient", "l2", 0.6, 30, 32, 1000, MOST),
    Arm("deepfool", "linf", 1.0, 20, 16, 100, DEEPFOOL_MOST),
    Arm("deepfool", "l2", 0.6, 20, 16, 100, DEEPFOOL_MOST),
)


def uap_subspaces(bench: Bench) -> Outcome:
    """Figure 2: inconsistency D(V, S) of homologous and of piracy models with the victim,
    and of the victim with itself."""
    rows = [row for arm in ARMS for row in _rows(bench, arm)]
    return Outcome(
        rows,
        [f for arm in ARMS for f in _findings(bench, arm, [r for r in rows if r["arm"] == arm.name])],
        {
            "subspace.svg": panels(
                [a.name for a in ARMS], lambda axes, name: _paint(axes, [r for r in rows if r["arm"] == name])
            )
        },
        bench.excluded,
    )


def _rows(bench: Bench, arm: Arm) -> Iterator[dict[str, Any]]:
    victim = bench.zoo.plan.victim
    first, again = (_uaps(bench, arm, victim, turn)["uaps"] for turn in (0, 1))
    models = [(ITSELF, bench.recipe.zoo.victim_architecture, victim, 2)]
    models += [(str(s.role), s.architecture, s.id, 0) for s in _chosen(bench)]
    for role, architecture, id_, turn in models:
        made = _uaps(bench, arm, id_, turn)
        yield {
            "arm": arm.name,
            "role": role,
            "architecture": architecture,
            "model": id_,
            "uaps": len(first),
            "inconsistency": inconsistency(first, made["uaps"]),
            "without_floor": inconsistency(first, made["uaps"], again),
            "fooling_rate": float(made["rates"].mean()),
        }


def _chosen(bench: Bench) -> list[ModelSpec]:
    cells = ((role, architecture) for role in FAMILIES for architecture in bench.recipe.zoo.architectures)
    return [
        s
        for cell in cells
        for s in [s for s in bench.suspects if (s.role, s.architecture) == cell][:MODELS_PER_CELL]
    ]


def _uaps(bench: Bench, arm: Arm, id_: str, turn: int) -> dict[str, Tensor]:
    """``uaps`` float ``[d, p]`` of a model, each from another seed and other images than any other's, other
    ones at each turn; and ``rates`` ``[RATED]`` of some on test images. Kept in the store."""
    images = in_memory(bench.dataset.train.images)
    dimensions = images[0].numel()
    config, count = arm.config(bench.recipe.uap, dimensions), min(arm.most, dimensions)

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        model = load_module(bench.artifacts, id_).to(images.device)
        seeds = [derive(bench.recipe.seed, "subspace", arm.name, id_, turn, i) for i in range(count)]
        made = many_uaps(model, images, config, seeds)
        rates = made.new_tensor([fooling_rate(model, bench.dataset.test.images, v) for v in made[:RATED]])
        return {"uaps": made.flatten(1).cpu(), "rates": rates.cpu()}, {}

    inputs = [METHOD, id_, bench.dataset.digest, vars(config), count, turn, bench.recipe.seed]
    return kept_tensors(bench.artifacts, "subspace", inputs, make)[0]


def _findings(bench: Bench, arm: Arm, rows: list[dict[str, Any]]) -> Iterator[Finding]:
    """As the paper measures it, and without the victim's distance from itself."""
    stated = f"D homologous / D piracy = {'3' if bench.dataset.name == 'fashion-mnist' else 'greater'}"
    fooled = f"{np.mean([r['fooling_rate'] for r in rows]):.0%}"
    for what, way in (
        ("inconsistency", arm.name),
        ("without_floor", f"{arm.name}; without the victim's distance from itself"),
    ):
        by = {role: [r[what] for r in rows if r["role"] == role] for role in (ITSELF, *map(str, FAMILIES))}
        means = {role: float(np.mean(v)) for role, v in by.items() if v}
        ratio = means.get(Role.HOMOLOGOUS, np.nan) / means.get(Role.PIRACY, np.nan)
        area = auc(by[Role.HOMOLOGOUS], by[Role.PIRACY])
        yield Finding(
            "UAPs of homologous models lie farther from the victim's UAP subspace than those of piracy"
            f" models ({way})",
            "figure 2, section 4.1",
            stated,
            f"{ratio:.2f} (D {', '.join(f'{role} {mean:.3f}' for role, mean in means.items())}); "
            f"AUC {np.nan if area is None else area:.3f}; {fooled} fooled",
            f"{' + '.join(str(len(by[r])) for r in FAMILIES)} models, {rows[0]['uaps']} UAPs each",
            Holds.of(ratio >= RATIO and (area or 0) >= SEPARATED, ratio, np.nan if area is None else area),
            f"the distance of the two profiles is ours (L2); counted as reproduced from a ratio of {RATIO:g}"
            f" with an AUC of {SEPARATED:g}",
        )


def _paint(axes: Any, rows: list[dict[str, Any]]) -> None:
    for y, role in enumerate(FAMILIES):
        values = sorted(r["without_floor"] for r in rows if r["role"] == str(role))
        offsets = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else [0.0]
        axes.plot(values, y + np.asarray(offsets), LOOKS[role].marker, color=LOOKS[role].colour)
    itself = next(r["without_floor"] for r in rows if r["role"] == ITSELF)
    axes.axvline(itself, color="#777777", linestyle=":", label="the victim's own other UAPs")
    axes.set_yticks(range(len(FAMILIES)), [str(r) for r in FAMILIES])
    axes.set(
        xlabel="D(V, S) without its floor, one mark a model",
        xlim=(0, 1.08 * max(r["without_floor"] for r in rows)),
    )
    axes.invert_yaxis()
