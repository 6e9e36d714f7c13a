"""The step that asks models and stores their answers."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from zooaudit.auditing.kept import digest_of_floats, tensor_digest
from zooaudit.compute import threads
from zooaudit.data.images import Dataset
from zooaudit.paper.fingerprint import ask
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import table_to_bytes
from zooaudit.storage.models import load_module
from zooaudit.storage.parallel import in_parallel
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.telemetry.metrics import QUERIES, record
from zooaudit.telemetry.phases import Count, ignore_count

ANSWERS = "answers.parquet"


def answers(
    models: Sequence[str],
    asked: Tensor,
    dataset: Dataset,
    artifacts: Artifacts,
    select: Callable[[Tensor], Tensor] = lambda rows: rows,
    count: Count = ignore_count,
) -> dict[str, Tensor]:
    """Raw answers ``[views, N, 2, K]`` of each model, asked under a query counter; stored as Parquet and read
    in parallel. Questions are float in [0, 1] or uint8; both name the same questions.

    Args:
        select: takes what is needed from each model's answers; the rest is freed before the next are read.
        count: called with the number of models asked so far, and of those to ask.
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
        return select(torch.from_numpy(flat.copy()).view(*asked.shape[:3], dataset.num_classes))

    return dict(zip(ids, in_parallel(load, list(ids.values())), strict=True))


def clean_answers(
    models: Sequence[str],
    images: Tensor,
    dataset: Dataset,
    artifacts: Artifacts,
    select: Callable[[Tensor], Tensor] = lambda rows: rows,
    count: Count = ignore_count,
) -> dict[str, Tensor]:
    """As ``answers``, for images ``[n, c, h, w]`` without a perturbation: ``[n, K]`` of each model."""
    given = answers(
        models, images.view(1, len(images), 1, *images.shape[1:]), dataset, artifacts, select, count
    )
    return {id_: rows.flatten(0, 2) for id_, rows in given.items()}


def unanswered(models: Sequence[str], asked: Tensor, artifacts: Artifacts) -> list[str]:
    """The models whose answers the store does not hold."""
    there = set(artifacts.ids("answers"))
    missing = {model: id_ for model, id_ in answers_ids(models, asked).items() if id_ not in there}
    # A listing may lag behind; asking again would cost queries.
    return [model for model, id_ in missing.items() if not artifacts.has("answers", id_)]


def answers_ids(models: Sequence[str], asked: Tensor) -> dict[str, str]:
    """By model: the id of its stored answers to these questions."""
    digest = tensor_digest(asked) if asked.dtype != torch.uint8 else digest_of_floats(asked)
    return {model: f"{model}.{digest}" for model in models}


def _ask(model: str, id_: str, asked: Tensor, dataset: Dataset, artifacts: Artifacts) -> None:
    device = dataset.train.images.device
    black_box = TorchBlackBox(load_module(artifacts, model).to(device), dataset.num_classes, model)
    # How a sum is split decides its last bits, and a stored answer must not depend on what computed it.
    with threads(1):
        given = ask(black_box, asked, device).cpu()
    record(QUERIES, black_box.queries, asker="auditor")
    table = answers_table(given, answers_schema(dataset.num_classes))
    artifacts.save(
        "answers", id_, {ANSWERS: table_to_bytes(table)}, {"model": model, "queries": black_box.queries}
    )


def answers_schema(num_classes: int) -> pa.Schema:
    """One row for each query: view, point (0 to N-1), whether v was added, and the K probabilities."""
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
