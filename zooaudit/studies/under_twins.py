"""The paper's measures where the test is valid: each ranks the victim among its twins
(docs/statistics.md), at 1,000 questions.

A measure treats every candidate alike: its own UAP, datapoints and border points. The
encoder is one that knows none of them: it was trained on another victim, its copies and
homologous models, about that victim's questions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zooaudit.auditing import steps
from zooaudit.auditing.kept import kept_tensors
from zooaudit.config import EncoderConfig
from zooaudit.data.images import to_unit
from zooaudit.errors import NotEnoughModelsError
from zooaudit.methods import versions_of
from zooaudit.paper.border import border_points, confidence_gap, last_layer_border
from zooaudit.paper.encoder import Encoder
from zooaudit.paper.encoder_training import INDEPENDENT, STOLEN, fit_encoder
from zooaudit.paper.fingerprint import fingerprints
from zooaudit.paper.similarity import similarities
from zooaudit.paper.uap import local_perturbations
from zooaudit.seeds import derive
from zooaudit.studies.bench import FAMILIES, Bench
from zooaudit.studies.bystanders import other_victims
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.pictures import panels
from zooaudit.studies.rates import interval
from zooaudit.studies.strengths import suspects
from zooaudit.zoo.spec import Group, ModelSpec, Role

VIEWS = 5
"""Of N datapoints, clean and perturbed: 1,000 questions with the paper's N."""
PAIRS = 1000
LEVEL = 0.05
METHOD = versions_of("studies", "uap", "points")


@dataclass(frozen=True, eq=False)
class Asked:
    """What one candidate's questions are: float ``[views, N, 2, c, h, w]``, or
    ``[1, n, 1, c, h, w]`` for border points."""

    uap: Tensor
    local: Tensor
    pixels: Tensor
    last_layer: Tensor


Measure = Callable[[Tensor, Tensor], float]
"""From the candidate's and the suspect's answers to how much the suspect is like the candidate."""


def under_twins(bench: Bench) -> Outcome:
    """For each measure: how often the victim is first among its twins, for stolen suspects
    and for innocent ones."""
    candidates = [bench.zoo.plan.victim, *(s.id for s in bench.zoo.learnt(Role.TWIN))]
    if len(candidates) < 2:
        raise NotEnoughModelsError(
            f"recipe {bench.recipe.name} has no twins to rank the victim among; add --set zoo.twins=19"
        )
    scores: dict[str, dict[str, list[float]]] = {}
    learnt, seen = trained_elsewhere(bench)
    chosen = [s for s in suspects(bench) if s.id not in seen]
    for candidate in candidates:
        for measure, of in _scores(bench, candidate, [s.id for s in chosen], learnt):
            for id_, value in of.items():
                scores.setdefault(measure, {}).setdefault(id_, []).append(value)
    rows = [
        {
            "measure": m,
            "role": str(s.role),
            "architecture": s.architecture,
            "model": s.id,
            "p": rank_p(scores[m][s.id]),
            "twins": len(candidates) - 1,
        }
        for m in scores
        for s in chosen
    ]
    return Outcome(rows, list(_findings(rows)), {"under-twins.svg": _picture(rows)}, bench.excluded)


def rank_p(scores: Sequence[float]) -> float:
    """The victim's place among all candidates, the victim first in ``scores``; those that
    tie count as before it."""
    return sum(s >= scores[0] for s in scores) / len(scores)


def _scores(
    bench: Bench, candidate: str, ids: Sequence[str], learnt: dict[str, Encoder]
) -> Iterator[tuple[str, dict[str, float]]]:
    """By measure: every suspect's score for one candidate."""
    asked = questions(bench, candidate)
    for kind in ("uap", "local"):
        given = bench.answers([candidate, *ids], getattr(asked, kind))
        word = {"uap": "UAP", "local": "LAP"}[kind]
        yield f"{word}, raw fingerprints", {i: raw(given[candidate], given[i]) for i in ids}
        if kind == "uap":
            for name, encoder in learnt.items():
                yield (
                    f"{word}, encoder {name}",
                    {i: embedded(encoder, given[candidate], given[i]) for i in ids},
                )
    for where in ("pixels", "last_layer"):
        given = bench.answers(ids, getattr(asked, where))
        name = f"border points of {'the last layer' if where == 'last_layer' else 'pixels'}"
        yield f"{name}, small gap", {i: -float(confidence_gap(given[i].flatten(0, 2)).mean()) for i in ids}


def questions(bench: Bench, candidate: str) -> Asked:
    """Made of the candidate alone, by the same seed for each; kept in the store."""
    recipe, dataset = bench.recipe, bench.dataset
    of = steps.Victim.load(candidate, bench.artifacts, dataset)
    uap = steps.uap(recipe, of, dataset, bench.artifacts)
    points = steps.points(recipe, of, dataset, bench.artifacts)[:VIEWS]

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        images = dataset.train.images
        generator = torch.Generator().manual_seed(derive(recipe.seed, "border"))
        order = of.training_indices[
            torch.randperm(len(of.training_indices), generator=generator)[: 2 * PAIRS]
        ]
        pairs = to_unit(images[order.to(images.device)])
        half = len(pairs) // 2
        ends = pairs[:half], pairs[half : 2 * half]
        flat = to_unit(points.flatten(0, 1)).to(images.device)
        local = local_perturbations(of.module, flat, recipe.uap.norm, recipe.uap.epsilon)
        made = {
            "local": local,
            "pixels": border_points(of.module, *ends)[0],
            "last_layer": last_layer_border(of.module, *ends)[0],
        }
        return {k: v.cpu() for k, v in made.items()}, {}

    inputs = [
        METHOD,
        candidate,
        dataset.digest,
        VIEWS,
        PAIRS,
        vars(recipe.uap),
        vars(recipe.fingerprint),
        recipe.seed,
    ]
    made = kept_tensors(bench.artifacts, "under-twins", inputs, make)[0]
    asked = steps.questions(uap, points)
    clean = asked[:, :, 0]
    local = torch.stack([clean, (clean + made["local"].view_as(clean)).clamp(0, 1)], dim=2)
    borders = [made[k].view(1, -1, 1, *dataset.image_shape) for k in ("pixels", "last_layer")]
    return Asked(asked, local, *borders)


def raw(candidate: Tensor, suspect: Tensor) -> float:
    """Mean cosine of fingerprints as they are, view by view."""
    return float(F.cosine_similarity(fingerprints(candidate), fingerprints(suspect), dim=1).mean())


def embedded(encoder: Encoder, candidate: Tensor, suspect: Tensor) -> float:
    """Mean similarity of embeddings, view by view."""
    return float(similarities(encoder, fingerprints(suspect), fingerprints(candidate)).mean())


def trained_elsewhere(bench: Bench) -> tuple[dict[str, Encoder], set[str]]:
    """Each encoder, trained on another victim's fingerprints: its copies stolen, homologous encoder models
    independent. None without one.

    Returns:
        The encoders by name, and the ids of the models that they learnt from.
    """
    others = other_victims(bench)
    if not others:
        return {}, set()
    victim = others[0].id
    stolen = [s for s in bench.zoo.learnt(Role.LOOK_ALIKE) if s.parent == victim]
    independent = bench.zoo.learnt(Role.HOMOLOGOUS, Group.ENCODER)[: len(stolen)]
    given = bench.answers([victim, *(s.id for s in (*stolen, *independent))], questions(bench, victim).uap)
    made = {
        name: _fitted(config, victim, stolen, independent, given, bench.recipe.seed)
        for name, config in bench.encoders.items()
    }
    return made, set(given)


def _fitted(
    config: EncoderConfig,
    victim: str,
    stolen: Sequence[ModelSpec],
    independent: Sequence[ModelSpec],
    given: dict[str, Tensor],
    seed: int,
) -> Encoder:
    models = [victim, *(s.id for s in stolen), *(s.id for s in independent)]
    rows = [fingerprints(given[i]) for i in models]
    labels = torch.tensor([STOLEN] * (1 + len(stolen)) + [INDEPENDENT] * len(independent)).repeat_interleave(
        len(rows[0])
    )
    return fit_encoder(torch.cat(rows), labels, config, derive(seed, "encoder, elsewhere"))


def _findings(rows: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    for measure in dict.fromkeys(r["measure"] for r in rows):
        shown = []
        for role in FAMILIES:
            mine = [r["p"] for r in rows if (r["measure"], r["role"]) == (measure, str(role))]
            if mine:
                hits = sum(p <= LEVEL for p in mine)
                low, high = interval(hits, len(mine))
                shown.append(f"{role} {hits} of {len(mine)} ({hits / len(mine):.0%} [{low:.0%}, {high:.0%}])")
        yield unclaimed(
            f"Called stolen at level {LEVEL:g} under the twin test: {measure}",
            "; ".join(shown),
            f"{rows[0]['twins']} twins",
            "of innocents at most one in twenty, whoever made them; of piracy models as many as can be",
        )


def _picture(rows: Sequence[dict[str, Any]]) -> bytes:
    measures = list(dict.fromkeys(r["measure"] for r in rows))

    def paint(axes: Any, role: str) -> None:
        share = [
            np.mean([r["p"] <= LEVEL for r in rows if (r["measure"], r["role"]) == (m, role)] or [np.nan])
            for m in measures
        ]
        axes.barh(range(len(measures)), share, color="#0072b2" if role != str(Role.PIRACY) else "#d55e00")
        axes.axvline(LEVEL, color="#000000", linestyle=":", linewidth=1)
        axes.set_yticks(
            range(len(measures)), measures if role == str(Role.PIRACY) else [""] * len(measures), fontsize=8
        )
        axes.set(xlim=(0, 1), xlabel="share called stolen")
        axes.invert_yaxis()

    return panels([str(r) for r in FAMILIES], paint)
