"""Answers out of a request's body, and queries into a response's: JSON lists or Parquet, in the layout of the store's answers."""

import json
import math
from http import HTTPStatus

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import ValidationError
from torch import Tensor

from zooaudit.errors import AnswersError
from zooaudit.kit import Kit
from zooaudit.serving.problems import Refused
from zooaudit.serving.schemas import Answers
from zooaudit.steps import answers_schema
from zooaudit.storage.artifacts import table_to_bytes

JSON, PARQUET = "application/json", "application/vnd.apache.parquet"
LEVELS = ("views", "datapoints in a view", "answers to a datapoint (clean, perturbed)", "probabilities in an answer (one a class)")
Shape = tuple[int, ...]


def read_answers(kind: str, body: bytes, shape: Shape) -> Tensor:
    """The answers in a body, float32 of ``shape`` ``[views, N, 2, K]``; their values are not looked at.

    Args:
        kind: the media type, ``JSON`` or ``PARQUET``.

    Raises:
        Refused: 400, the body is not what its type says.
        AnswersError: another layout, or another number of views, datapoints or classes.
    """
    return (_from_json if kind == JSON else _from_parquet)(body, shape)


def _from_json(body: bytes, shape: Shape) -> Tensor:
    try:
        nested = Answers.model_validate_json(body).answers
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is not JSON", first["msg"], JSON) from error
        place = "".join(f"[{step}]" if isinstance(step, int) else str(step) for step in first["loc"])
        raise AnswersError.of(
            f"at {place or 'the top'}: {first['msg']}", '{"answers": lists of numbers, by view, datapoint, 2, class}'
        ) from error
    lists: list[list[object]] = [nested]  # type: ignore[list-item]
    for what, expected in zip(LEVELS, shape, strict=True):
        for one in lists:
            if len(one) != expected:
                raise AnswersError.of(f"{len(one)} {what}", str(expected))
        lists = [inner for one in lists for inner in one]  # type: ignore[misc]
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        return torch.from_numpy(np.array(nested, dtype=np.float64).astype(np.float32))


def _from_parquet(body: bytes, shape: Shape) -> Tensor:
    schema, rows = answers_schema(shape[-1]), math.prod(shape[:-1])
    try:
        file = pq.ParquetFile(pa.BufferReader(body))
        if not file.schema_arrow.equals(schema):
            raise AnswersError.of(f"columns {_columns(file.schema_arrow)}", _columns(schema))
        if file.metadata.num_rows != rows:  # looked at before anything is unpacked
            raise AnswersError.of(f"{file.metadata.num_rows:,} rows", f"{rows:,}: views x datapoints x 2")
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "the body is not Parquet", str(error)[:200], PARQUET) from error
    columns = [table.column(name).combine_chunks() for name in schema.names]
    values = columns[-1].flatten()
    if any(column.null_count for column in [*columns, values]):
        raise AnswersError.of("empty cells", "a value in every cell")
    order = _order([np.asarray(c.cast(pa.int64())) for c in columns[:-1]], shape)
    return torch.from_numpy(np.asarray(values).reshape(rows, shape[-1])[order].reshape(shape))


def _order(place: list[np.ndarray], shape: Shape) -> np.ndarray:
    """The rows' order by view, datapoint, clean and perturbed; each combination must be there once."""
    for name, found, size in zip(("view", "point"), place, shape, strict=False):
        if found.min() < 0 or found.max() >= size:
            raise AnswersError.of(f"{name} {found.min()} to {found.max()}", f"0 to {size - 1}")
    number = np.ravel_multi_index(tuple(place), shape[:-1])
    order = np.argsort(number)
    if missing := len(number) - len(np.unique(number)):
        raise AnswersError.of(f"{missing:,} datapoints that are answered twice, and as many that are not", "each once")
    return order


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)[:500]


def queries_parquet(kit: Kit) -> bytes:
    """Every image to ask, as Parquet: ``view``, ``point``, ``perturbed`` as in answers, ``image`` a fixed list of c x h x w float32
    in [0, 1]; ``image_shape`` in the schema's metadata is ``[c, h, w]`` as JSON."""
    asked = kit.questions().cpu()
    view, point, perturbed = np.indices(asked.shape[:3]).reshape(3, -1)
    images = pa.FixedSizeListArray.from_arrays(pa.array(asked.flatten().numpy()), math.prod(kit.image_shape))
    arrays = [pa.array(view, pa.int32()), pa.array(point, pa.int32()), pa.array(perturbed.astype(bool)), images]
    table = pa.Table.from_arrays(arrays, ["view", "point", "perturbed", "image"])
    return table_to_bytes(table.replace_schema_metadata({"image_shape": json.dumps(kit.image_shape)}))
