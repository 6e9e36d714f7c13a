"""The steps of the audit: each calls one pure stage, unless the store already holds what it would give."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from zooaudit.auditing.victim_check import remedy
from zooaudit.compute import threads
from zooaudit.config import OwnTraining, Recipe, digest_of
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import ConfigError, DataError, ModelError, NotEnoughModelsError
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.methods import METHODS
from zooaudit.paper.datapoints import choose_points, representation
from zooaudit.paper.encoder import Encoder
from zooaudit.paper.encoder_training import INDEPENDENT, STOLEN, fit_encoder
from zooaudit.paper.fingerprint import ask, fingerprints, queries
from zooaudit.paper.t_test import PaperDecision, Verdict
from zooaudit.paper.uap import Uap, craft_uap
from zooaudit.seeds import derive
from zooaudit.storage.artifacts import Artifacts, table_to_bytes, tensors_to_bytes
from zooaudit.storage.at_once import at_once
from zooaudit.storage.models import KIND, OwnModel, load_module, load_record, save_own
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.telemetry.metrics import QUERIES, record
from zooaudit.telemetry.phases import Count, uncounted
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.build import ModelRecord, Status, training_half
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.plan import Plan, plan_zoo
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import ModelSpec, Role

TENSORS = "tensors.safetensors"
ANSWERS = "answers.parquet"
DIGESTED = 64
"""Images whose values are hashed at once."""
CRAFTED_ON = 2**28
"""Pixels that a UAP is crafted on, of images on disk: they are held as floats."""
CHOSEN_FROM, CHOICES = 10_000, 3
"""Of images on disk, datapoints are chosen from so many at least, and from so many times what is needed."""
SAMPLE = 500
"""Test images on which other contracts of a victim are tried."""


class Scored(Protocol):
    """A suspect of the zoo with its verdict."""

    @property
    def spec(self) -> ModelSpec: ...
    @property
    def verdict(self) -> Verdict: ...


@dataclass(frozen=True, eq=False)
class Victim:
    """The victim, opened up: its owner has it in full."""

    id: str
    module: nn.Module
    training_indices: Tensor
    """The rows of the training images that it saw: all of them for the user's own."""

    @staticmethod
    def load(id_: str, artifacts: Artifacts, dataset: Dataset) -> "Victim":
        artifact = artifacts.load(KIND, id_)
        module = load_module(artifacts, id_).to(dataset.train.images.device)
        if "spec" not in artifact.meta:
            return Victim(id_, module, torch.arange(len(dataset.train)))
        return Victim(id_, module, training_half(ModelSpec.from_json(artifact.meta["spec"]), dataset.train))


def plan(recipe: Recipe, dataset: Dataset, artifacts: Artifacts, own: OwnModel | None) -> Plan:
    """The plan of the zoo; the user's own victim, if given, is measured and committed first."""
    check_sizes(recipe, len(dataset.train), own is not None)
    planned = plan_for(recipe, dataset, own.id if own else None, own.training if own else None)
    if own is not None:
        _commit_own(own, recipe, dataset, artifacts)
    return planned


def plan_for(
    recipe: Recipe, dataset: Dataset, own_victim: str | None, own_training: OwnTraining | None = None
) -> Plan:
    """The plan for a victim that is there already, with twins if we know what trained it,
    or for one that is to be trained."""
    mean, std = dataset.channel_stats
    shape = ModelShape(
        dataset.image_shape, dataset.num_classes, mean, std, recipe.zoo.widths, recipe.zoo.hidden
    )
    return plan_zoo(recipe.zoo, dataset.digest, shape, recipe.seed, own_victim, own_training)


def check_sizes(recipe: Recipe, images: int, own: bool) -> None:
    """Refuse before any training what the data is too small for.

    Args:
        images: how many the training set has.
        own: whether the victim is the user's own, which may have seen all of them.

    Raises:
        ConfigError, DataError: it is.
    """
    held = images if own else round(images * recipe.zoo.data_fraction)
    n, views = recipe.fingerprint.points, recipe.fingerprint.views
    if n * views > held:
        raise ConfigError(
            f"{n} datapoints x {views} views need {n * views:,} images, but the victim's training set has"
            f" {held:,}; lower FingerprintConfig.points or views"
        )
    left = images if own else images - held
    for attack in (recipe.zoo.extraction, recipe.zoo.second_attack, *recipe.zoo.thieves):
        if attack and attack.images == "domain" and attack.images_needed > left:
            raise DataError(
                f"the attack's seed set asks for {attack.images_needed} images outside the victim's training"
                f" set, which leaves {left}; lower {'pool_size, ' if attack.chooses else ''}seed_size or"
                " data_fraction"
            )


def _commit_own(own: OwnModel, recipe: Recipe, dataset: Dataset, artifacts: Artifacts) -> None:
    """Keep the user's own victim, unless it is there; by a recipe with a higher floor it
    may be refused all the same."""
    there = artifacts.has(KIND, own.id)
    device = dataset.test.images.device
    reached = (
        load_record(artifacts, own.id).accuracy if there else accuracy(own.load().to(device), dataset.test)
    )
    if reached < recipe.zoo.accuracy_floor:
        sample = dataset.test.take(
            torch.randperm(len(dataset.test), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        )
        advice = (
            remedy(own.loaded(), own.asked, sample)
            or "is it the right model for this data, and is it asked as it expects (--contract)? If it is as"
            " good as the task allows, 'zooaudit recipe new' makes a recipe with floors that fit"
        )
        raise ModelError(
            f"{own.path} has accuracy {reached:.3f} on the test images, under the recipe's floor"
            f" {recipe.zoo.accuracy_floor:g}; {advice}"
        )
    if not there:
        save_own(artifacts, own, ModelRecord(Status.LEARNT, reached, None, 0, 0.0, 0, "own"))


def missing_models(plan: Plan, artifacts: Artifacts) -> list[ModelSpec]:
    """Specs that the store does not hold yet. Twins that the owner's own procedure failed to train are
    removed from it, to be tried again: he may have mended what was wrong, a full disk, say, without changing
    the code that they are named after.
    """
    there = set(artifacts.ids(KIND))
    for spec in plan.specs:
        if (
            spec.own_training is not None
            and spec.id in there
            and load_record(artifacts, spec.id).status is Status.FAILED
        ):
            artifacts.remove(KIND, spec.id)
            there.remove(spec.id)
    return [s for s in plan.specs if s.id not in there]


def records(plan: Plan, artifacts: Artifacts) -> dict[str, ModelRecord]:
    """What became of every model of the plan, the victim included."""
    ids = list(dict.fromkeys([plan.victim, *(s.id for s in plan.specs)]))
    return dict(zip(ids, at_once(lambda id_: load_record(artifacts, id_), ids), strict=True))


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
    """As ``uap``, made anew: the recipe's seed decides it."""
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
    """The victim's training images, or of those on disk as many as give every cluster enough."""
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


def answers(
    models: Sequence[str],
    asked: Tensor,
    dataset: Dataset,
    artifacts: Artifacts,
    of: Callable[[Tensor], Tensor] = lambda rows: rows,
    count: Count = uncounted,
) -> dict[str, Tensor]:
    """Raw answers ``[views, N, 2, K]`` of each model, whose queries are counted; kept as Parquet, and read
    many at once. What is asked is float in [0, 1], or uint8, which is the same questions.

    Args:
        of: what is wanted of each model's; what is not is let go of before the next are read.
        count: told how many models were asked of those that had to be.
    """
    ids, schema = answers_ids(models, asked), answers_schema(dataset.num_classes)
    missing = unanswered(models, asked, artifacts)
    for i, model in enumerate(missing):
        count(i, len(missing))
        _ask(model, ids[model], asked, dataset, artifacts)
    if missing:
        count(len(missing), len(missing))

    def load(id_: str) -> Tensor:
        table = artifacts.load("answers", id_).table(ANSWERS, schema, ["probabilities"])
        flat = np.asarray(table.column("probabilities").combine_chunks().flatten())
        return of(torch.from_numpy(flat.copy()).view(*asked.shape[:3], dataset.num_classes))

    return dict(zip(ids, at_once(load, list(ids.values())), strict=True))


def clean_answers(
    models: Sequence[str],
    images: Tensor,
    dataset: Dataset,
    artifacts: Artifacts,
    of: Callable[[Tensor], Tensor] = lambda rows: rows,
    count: Count = uncounted,
) -> dict[str, Tensor]:
    """As ``answers``, of images ``[n, c, h, w]`` as they are: ``[n, K]`` of each model."""
    given = answers(models, images.view(1, len(images), 1, *images.shape[1:]), dataset, artifacts, of, count)
    return {id_: rows.flatten(0, 2) for id_, rows in given.items()}


def unanswered(models: Sequence[str], asked: Tensor, artifacts: Artifacts) -> list[str]:
    """Those of ``models`` whose answers the store does not hold."""
    there = set(artifacts.ids("answers"))
    missing = {model: id_ for model, id_ in answers_ids(models, asked).items() if id_ not in there}
    return [
        model for model, id_ in missing.items() if not artifacts.has("answers", id_)
    ]  # a listing may lag; to ask again would cost queries


def answers_ids(models: Sequence[str], asked: Tensor) -> dict[str, str]:
    """By model: the id that its answers to these questions are kept under."""
    digest = tensor_digest(asked) if asked.dtype != torch.uint8 else _digest_of_floats(asked)
    return {model: f"{model}.{digest}" for model in models}


def _ask(model: str, id_: str, asked: Tensor, dataset: Dataset, artifacts: Artifacts) -> None:
    device = dataset.train.images.device
    black_box = TorchBlackBox(load_module(artifacts, model).to(device), dataset.num_classes, model)
    with threads(
        1
    ):  # how a sum is split decides its last bits, and a stored answer must not depend on who asked
        given = ask(black_box, asked, device).cpu()
    record(QUERIES, black_box.queries, asker="auditor")
    table = answers_table(given, answers_schema(dataset.num_classes))
    artifacts.save(
        "answers", id_, {ANSWERS: table_to_bytes(table)}, {"model": model, "queries": black_box.queries}
    )


def answers_schema(num_classes: int) -> pa.Schema:
    """One row a query: view, point (0 to N-1), whether v was added, and the K probabilities."""
    probabilities = pa.list_(pa.float32(), num_classes)
    return pa.schema(
        [
            ("view", pa.int32()),
            ("point", pa.int32()),
            ("perturbed", pa.bool_()),
            ("probabilities", probabilities),
        ]
    )


def answers_table(given: Tensor, schema: pa.Schema) -> pa.Table:
    """Raw answers ``[views, N, 2, K]`` as a table of ``answers_schema``."""
    view, point, perturbed = np.indices(given.shape[:3]).reshape(3, -1)
    column = pa.FixedSizeListArray.from_arrays(pa.array(given.flatten().numpy()), given.shape[-1])
    arrays = [
        pa.array(view, pa.int32()),
        pa.array(point, pa.int32()),
        pa.array(perturbed.astype(bool)),
        column,
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def encoder(
    recipe: Recipe, victim: str, models: list[ModelSpec], answers: dict[str, Tensor], artifacts: Artifacts
) -> Encoder:
    """The encoder, trained on the victim's and the encoder models' fingerprints only."""
    for role in (Role.PIRACY, Role.HOMOLOGOUS):
        learnt = sum(s.role is role for s in models)
        if learnt < 2:
            raise NotEnoughModelsError(
                f"the encoder needs 2 {role} models at least, {learnt} learnt; raise encoder_per_role"
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
    """Put together what auditing a suspect needs; references are homologous models that did
    not train the encoder."""
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
    """What a training procedure is known by, as a kit keeps it: not how long a twin may take."""
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
    """Store the kit with what is known of its errors and what it takes to make its parts
    again, and return its id."""
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
    """How the user's own victim is asked: what was said and what was seen; nothing where nothing was."""
    meta = artifacts.load(KIND, victim).meta
    return (
        {"contract": {"said": meta["contract"], "seen": meta.get("seen", [])}} if "contract" in meta else {}
    )


Made = tuple[dict[str, Tensor], dict[str, Any]]


def kept_tensors(artifacts: Artifacts, kind: str, inputs: list[Any], make: Callable[[], Made]) -> Made:
    """Tensors and facts of a step: from the store if it holds them for these inputs, else made and stored."""
    id_ = digest_of([kind, METHODS.get(kind, 1), inputs])
    if not artifacts.has(kind, id_):
        tensors, meta = make()
        artifacts.save(kind, id_, {TENSORS: tensors_to_bytes(tensors)}, meta)
    artifact = artifacts.load(kind, id_)
    return artifact.tensors(TENSORS), artifact.meta


def _digest_of_floats(images: Tensor) -> str:
    """``tensor_digest`` of uint8 images as floats in [0, 1], some at a time: as floats they
    take four times the memory."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for part in images.flatten(0, 2).split(DIGESTED):
        digest.update(to_unit(part).contiguous().numpy().reshape(-1).data)
    return digest.hexdigest()[:16]


def tensor_digest(tensor: Tensor) -> str:
    """Of shape and values, without a copy of them: a pool of photographs has gigabytes."""
    digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
    digest.update(tensor.contiguous().numpy().reshape(-1).data)
    return digest.hexdigest()[:16]
