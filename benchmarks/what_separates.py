"""What tells piracy models from innocent ones: which models an encoder learnt from, which half of the
fingerprint, UAP subspaces.

    python benchmarks/what_separates.py --store STORE [--recipe fmnist-paper]

The store holds the outcomes of `zooaudit study all`; nothing is asked or trained but encoders. These numbers
explain a zoo that results were reported on, after the fact: what they suggest must be tried on another one.
Each AUC is of three starts of the encoder:

    learnt from     the encoder models of one architecture, and of all halves          the clean answers in
    the place of the perturbed ones, the other way round, and both as they are subspace        UAPs of victim
    and suspects: cosines, and figure 2 with the victim's profile from UAPs that the basis has not seen
"""

import argparse
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from measure import save, spread
from torch import Tensor

from zooaudit.config import EncoderConfig
from zooaudit.data.resolve import resolve
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.opening import open_store
from zooaudit.studies.bench import DRAWS, FAMILIES, Bench, NoFarm
from zooaudit.studies.cohort import Cohort, Variant
from zooaudit.studies.subspaces import ARMS, MODELS_PER_CELL, _uaps
from zooaudit.zoo.spec import Role

HALVES = {"both": (0, 1), "clean only": (0, 0), "perturbed only": (1, 1)}
"""Which of a point's two answers stand in a fingerprint's two places."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True)
    parser.add_argument("--recipe", default="fmnist-paper")
    args = parser.parse_args()
    recipe = get_recipe(args.recipe)
    bench = Bench(recipe, resolve(recipe.dataset), open_store(args.store), NoFarm(), lambda _: None)
    encoders = [replace(config, architectures=()) for config in bench.encoders.values()]
    choices = [*((a,) for a in recipe.zoo.architectures), ()]
    body = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "suspects": {str(role): sum(s.role is role for s in bench.suspects) for role in FAMILIES},
        "learnt_from": [
            learnt_from(bench.cohort, config, chosen) for config in encoders for chosen in choices
        ],
        "halves": [
            {"half": half} | found(only(bench.cohort, half), config) for half in HALVES for config in encoders
        ],
        "subspace": subspace(bench),
    }
    save("what_separates", body)


def learnt_from(cohort: Cohort, config: EncoderConfig, architectures: tuple[str, ...]) -> dict[str, Any]:
    return {"architectures": list(architectures) or "all"} | found(
        cohort, replace(config, architectures=architectures)
    )


def only(cohort: Cohort, half: str) -> Cohort:
    """The same models, with one half of each answer in the other's place."""
    answers = {id_: given[:, :, list(HALVES[half])] for id_, given in cohort.answers.items()}
    return Cohort(cohort.victim, cohort.training, cohort.suspects, answers, cohort.seed)


def found(cohort: Cohort, config: EncoderConfig) -> dict[str, Any]:
    scores = [cohort.scores(Variant(config, draw=d)) for d in DRAWS]
    return {
        "encoder": config.name,
        "auc_homologous": spread([a for s in scores if (a := s.auc(Role.HOMOLOGOUS)) is not None]),
        "auc_look_alike": spread([a for s in scores if (a := s.auc(Role.LOOK_ALIKE)) is not None]),
        "gap": spread([s.gap for s in scores]),
    }


def uaps_of(bench: Bench, id_: str) -> Tensor:
    """Those that figure 2 is drawn from, by gradients in the recipe's norm."""
    return _uaps(bench, ARMS[0], id_, 0)["uaps"]


def subspace(bench: Bench) -> dict[str, Any]:
    own = uaps_of(bench, bench.zoo.plan.victim)
    unit = F.normalize(own)
    cosines = (unit @ unit.T).abs()
    first: dict[str, list[float]] = {}
    unseen: dict[str, list[float]] = {}
    for role in FAMILIES:
        for architecture in bench.recipe.zoo.architectures:
            for spec in [s for s in bench.suspects if s.role is role and s.architecture == architecture][
                :MODELS_PER_CELL
            ]:
                uaps = uaps_of(bench, spec.id)
                first.setdefault(str(role), []).append(float(profile(uaps, own)[0]))
                unseen.setdefault(str(role), []).append(held_out(own, uaps))
    means = {role: sum(v) / len(v) for role, v in unseen.items()}
    return {
        "victims_own_mean_cosine": float(
            (cosines.sum() - cosines.trace()) / (cosines.numel() - len(cosines))
        ),
        "cosine_with_the_first_direction": {role: spread(v) for role, v in first.items()},
        "inconsistency_held_out": {role: spread(v) for role, v in unseen.items()},
        "ratio_held_out": means[str(Role.HOMOLOGOUS)] / means[str(Role.PIRACY)],
    }


def profile(uaps: Tensor, basis_of: Tensor) -> Tensor:
    """Mean absolute cosine of UAPs ``[d, p]`` with each right singular vector of others."""
    directions = torch.linalg.svd(basis_of, full_matrices=False)[2]
    return (F.normalize(uaps) @ directions.T).abs().mean(0)


def held_out(victim: Tensor, suspect: Tensor) -> float:
    """Figure 2's D with the basis from one half of the victim's UAPs and its profile from
    the other; mean of both ways."""
    halves = (victim[::2], victim[1::2])
    ways = [(profile(own, basis) - profile(suspect, basis)).norm() for basis, own in (halves, halves[::-1])]
    return float(sum(ways) / 2)


if __name__ == "__main__":
    main()
