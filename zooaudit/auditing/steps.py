"""The steps of the audit: each calls one pure stage, unless the store already holds its result."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from zooaudit.auditing.kept import kept_tensors, tensor_digest
from zooaudit.config import OwnTraining, Recipe
from zooaudit.data.images import Dataset
from zooaudit.errors import NotEnoughModelsError
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.paper.datapoints import choose_points, representation
from zooaudit.paper.encoder import Encoder
from zooaudit.paper.encoder_training import INDEPENDENT, STOLEN, fit_encoder
from zooaudit.paper.fingerprint import fingerprints, queries
from zooaudit.paper.t_test import PaperDecision, Verdict
from zooaudit.paper.uap import Uap, craft_uap
from zooaudit.seeds import derive
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.models import KIND, load_module
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.build import training_half
from zooaudit.zoo.spec import ModelSpec, Role

CRAFTED_ON = 2**28
"""How many pixels of images on disk a UAP is crafted on: they are held as floats."""
CHOSEN_FROM, CHOICES = 10_000, 3
"""For images on disk, how many candidates for datapoints there are at least, and for each one needed."""


class Scored(Protocol):
    """A suspect of the zoo with its verdict."""

    @property
    def spec(self) -> ModelSpec: ...
    @property
    def verdict(self) -> Verdict: ...


@dataclass(frozen=True, eq=False)
class Victim:
    """The victim, with its weights: its owner has it in full."""

    id: str
    module: nn.Module
    training_indices: Tensor
    """The rows of the training images that it saw: all of them for the user's own victim."""

    @staticmethod
    def load(id_: str, artifacts: Artifacts, dataset: Dataset) -> "Victim":
        artifact = artifacts.load(KIND, id_)
        module = load_module(artifacts, id_).to(dataset.train.images.device)
        if "spec" not in artifact.meta:
            return Victim(id_, module, torch.arange(len(dataset.train)))
        return Victim(id_, module, training_half(ModelSpec.from_json(artifact.meta["spec"]), dataset.train))


def uap(recipe: Recipe, victim: Victim, dataset: Dataset, artifacts: Artifacts) -> Uap:
    """The victim's UAP, crafted on its training images, measured on the test images."""

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        made = crafted(recipe, victim, dataset)
        return {"v": made.v}, {k: v for k, v in vars(made).items() if k != "v"}

    tensors, meta = kept_tensors(
        artifacts, "uap", [victim.id, dataset.digest, asdict(recipe.uap), recipe.seed], make
    )
    return Uap(v=tensors["v"], **meta)


def crafted(recipe: Recipe, victim: Victim, dataset: Dataset) -> Uap:
    """As ``uap``, made anew; it follows from the recipe's seed."""
    images, config = dataset.train.take(victim.training_indices).images, recipe.uap
    if not isinstance(images, Tensor):
        config = replace(config, points=min(config.points, CRAFTED_ON // images[:1].nbytes))
    return craft_uap(victim.module, images, dataset.test.images, config, derive(recipe.seed, "uap"))


def points(recipe: Recipe, victim: Victim, dataset: Dataset, artifacts: Artifacts) -> Tensor:
    """The datapoints of every view, uint8 ``[views, N, c, h, w]``, from the victim's training images."""

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        rows = _to_choose_from(recipe, victim, dataset)
        images = dataset.train.take(rows).images
        chosen = choose_points(
            representation(victim.module, images), recipe.fingerprint, derive(recipe.seed, "points")
        )
        points = torch.stack([images[view] for view in chosen])
        return {"points": points.cpu(), "indices": rows[chosen]}, {}

    inputs = [victim.id, dataset.digest, asdict(recipe.fingerprint), recipe.seed]
    return kept_tensors(artifacts, "points", inputs, make)[0]["points"]


def _to_choose_from(recipe: Recipe, victim: Victim, dataset: Dataset) -> Tensor:
    """The victim's training images; if they are on disk, only enough of them for every cluster."""
    rows, config = victim.training_indices, recipe.fingerprint
    if isinstance(dataset.train.images, Tensor):
        return rows
    order = torch.randperm(
        len(rows), generator=torch.Generator().manual_seed(derive(recipe.seed, "to choose from"))
    )
    return rows[order[: max(CHOSEN_FROM, CHOICES * config.points * config.views)].sort().values]


def questions(uap: Uap, points: Tensor) -> Tensor:
    """Every image that a suspect is asked: float ``[views, N, 2, c, h, w]``."""
    return queries(points.float() / 255, uap.v.cpu())


def encoder(
    recipe: Recipe, victim: str, models: list[ModelSpec], answers: dict[str, Tensor], artifacts: Artifacts
) -> Encoder:
    """The encoder, trained on the victim's and the encoder models' fingerprints only."""
    for role in (Role.PIRACY, Role.HOMOLOGOUS):
        learnt = sum(s.role is role for s in models)
        if learnt < 2:
            raise NotEnoughModelsError(
                f"the encoder needs at least 2 {role} models, {learnt} learnt; raise encoder_per_role"
            )
    ids = [victim, *(s.id for s in models)]
    labels = [STOLEN, *(STOLEN if s.role is Role.PIRACY else INDEPENDENT for s in models)]
    dimension = answers[victim][0].numel()

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        rows = torch.cat([fingerprints(answers[i]) for i in ids])
        target = torch.tensor(labels).repeat_interleave(len(answers[victim]))
        return (
            dict(fit_encoder(rows, target, recipe.encoder, derive(recipe.seed, "encoder")).state_dict()),
            {},
        )

    inputs = [ids, [tensor_digest(answers[i]) for i in ids], asdict(recipe.encoder), recipe.seed]
    network = Encoder(dimension, recipe.encoder)
    network.load_state_dict(kept_tensors(artifacts, "encoder", inputs, make)[0])
    return network.eval().requires_grad_(False)


def kit(
    recipe: Recipe,
    victim: str,
    uap: Uap,
    points: Tensor,
    encoder: Encoder,
    answers: dict[str, Tensor],
    references: list[str],
    twin_test: TwinTest,
) -> Kit:
    """Assemble what is needed to audit a suspect; references are homologous models that did not train the
    encoder."""
    if not references:
        raise NotEnoughModelsError("no homologous suspect learnt: there is nothing to compare a suspect with")
    bare = Kit(
        victim,
        uap.v.cpu(),
        points,
        answers[victim],
        encoder,
        recipe.encoder,
        (),
        np.empty((0, 0), np.float32),
        recipe.verdict,
        recipe.seed,
        twin_test,
        {},
    )
    scores = np.stack([bare.similarities(answers[i]) for i in references])
    return Kit(**(vars(bare) | {"reference_ids": tuple(references), "references": scores}))


def settled(training: OwnTraining) -> dict[str, Any]:
    """What identifies a training procedure in a kit; the time limit for a twin is left out."""
    return training.to_json()


def commit_kit(
    kit: Kit,
    scored: Sequence[Scored],
    uap: Uap,
    recipe: Recipe,
    dataset: Dataset,
    artifacts: Artifacts,
    training: OwnTraining | None = None,
) -> str:
    """Store the kit with its known errors and what is needed to make its parts again; return its id."""
    accused = {
        role: sum(s.spec.role is role and s.verdict.decision is PaperDecision.PIRACY for s in scored)
        for role in Role
    }
    counts = {role: sum(s.spec.role is role for s in scored) for role in Role}
    facts = {
        "uap": {"epsilon": uap.epsilon, "norm": uap.norm, "fooling_rate": uap.fooling_rate},
        "accused": {str(r): [accused[r], counts[r]] for r in (Role.PIRACY, Role.HOMOLOGOUS, Role.LOOK_ALIKE)},
        "recipe": asdict(recipe),
        "data": dataset.digest,
        "classes": list(dataset.classes),
        "training": settled(training) if training else None,
    } | _contract(kit.victim, artifacts)
    return save_kit(artifacts, Kit(**(vars(kit) | {"facts": facts}))).id


def _contract(victim: str, artifacts: Artifacts) -> dict[str, Any]:
    """The contract of the user's own victim, as given and as inferred; empty without one."""
    meta = artifacts.load(KIND, victim).meta
    return (
        {"contract": {"said": meta["contract"], "seen": meta.get("seen", [])}} if "contract" in meta else {}
    )
