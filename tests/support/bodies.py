"""Answers as callers send them: tables in Parquet and Arrow."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

K, MOST = 4, 60
GOOD = torch.rand(MOST, K, generator=torch.Generator().manual_seed(1)).softmax(-1)


def table(rows: Tensor = GOOD, query: Any = None, fixed: bool = True) -> pa.Table:
    query = list(range(len(rows))) if query is None else query
    kind = pa.list_(pa.float32(), rows.shape[1]) if fixed else pa.list_(pa.float64())
    return pa.table({"query": pa.array(query, pa.int64()), "probabilities": pa.array(rows.tolist(), kind)})


def as_arrow(made: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, made.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(made)
    return sink.getvalue()


def as_parquet(made: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(made, sink, **options)
    return sink.getvalue()


def bomb(rows: int) -> bytes:
    """Few bytes, one row whose list has so many values."""
    values = pa.array(np.zeros(rows, np.float32))
    lists = pa.ListArray.from_arrays(pa.array([0, rows], pa.int32()), values)
    return as_parquet(
        pa.table({"query": pa.array([0], pa.int64()), "probabilities": lists}), compression="zstd"
    )
