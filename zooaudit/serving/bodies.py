"""Answers out of a request's body, and queries into a response's.

Answers come as JSON lists or as bare float32 numbers: formats whose size in memory is known before they are read. A Parquet body of a
kilobyte can unpack to gigabytes, and neither its footer nor its schema tells (pyarrow believes the pages), so none is taken.
"""

import json
import math
from http import HTTPStatus

import numpy as np
import pyarrow as pa
import torch
from pydantic import ValidationError
from torch import Tensor

from zooaudit.errors import AnswersError
from zooaudit.kit import Kit
from zooaudit.serving.problems import Refused
from zooaudit.serving.schemas import Answers
from zooaudit.storage.artifacts import table_to_bytes

JSON, RAW, PARQUET = "application/json", "application/octet-stream", "application/vnd.apache.parquet"
FLOAT32 = np.dtype("<f4")
LEVELS = ("views", "datapoints in a view", "answers to a datapoint (clean, perturbed)", "probabilities in an answer (one a class)")
BYTES_A_NUMBER, BYTES_AROUND = 64, 65536
"""Of JSON: digits, brackets and indentation."""
Shape = tuple[int, ...]


def most_bytes(shape: Shape) -> int:
    """The largest body that answers of this shape can reasonably have."""
    return BYTES_A_NUMBER * math.prod(shape) + BYTES_AROUND


def read_answers(kind: str, body: bytes, shape: Shape) -> Tensor:
    """The answers in a body, float32 of ``shape`` ``[views, N, 2, K]``; their values are not looked at.

    Args:
        kind: the media type, ``JSON`` or ``RAW``: little-endian float32, the numbers in the order of ``shape``.

    Raises:
        Refused: 400, the body is not JSON.
        AnswersError: another layout, or another number of views, datapoints or classes.
    """
    return (_from_json if kind == JSON else _from_raw)(body, shape)


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


def _from_raw(body: bytes, shape: Shape) -> Tensor:
    expected = FLOAT32.itemsize * math.prod(shape)
    if len(body) != expected:
        raise AnswersError.of(f"{len(body):,} bytes", f"{expected:,}: little-endian float32 {list(shape)}")
    return torch.from_numpy(np.frombuffer(body, FLOAT32).astype(np.float32).reshape(shape))


def queries_parquet(kit: Kit) -> bytes:
    """Every image to ask, as Parquet: ``view``, ``point``, ``perturbed`` as in answers, ``image`` a fixed list of c x h x w float32
    in [0, 1]; ``image_shape`` in the schema's metadata is ``[c, h, w]`` as JSON."""
    asked = kit.questions().cpu()
    view, point, perturbed = np.indices(asked.shape[:3]).reshape(3, -1)
    images = pa.FixedSizeListArray.from_arrays(pa.array(asked.flatten().numpy()), math.prod(kit.image_shape))
    arrays = [pa.array(view, pa.int32()), pa.array(point, pa.int32()), pa.array(perturbed.astype(bool)), images]
    table = pa.Table.from_arrays(arrays, ["view", "point", "perturbed", "image"])
    return table_to_bytes(table.replace_schema_metadata({"image_shape": json.dumps(kit.image_shape)}))
