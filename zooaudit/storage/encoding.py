"""Tensors and tables as bytes."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
from torch import Tensor


def tensors_to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """safetensors bytes of named tensors."""
    return safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def table_to_bytes(table: pa.Table) -> bytes:
    """Parquet bytes of a table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()
