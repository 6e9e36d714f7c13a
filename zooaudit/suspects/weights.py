"""Read weights from safetensors files, and load them into a module: all of them, and nothing else. Nothing is
ever unpickled."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from zooaudit.data.zip_limits import check_listing
from zooaudit.errors import ModelError
from zooaudit.suspects.files import INDEX, inside, placed

MOST_MEMBERS = 50_000


def refuse_pickle(path: Path) -> None:
    """Raise ModelError if the file is a pickle or a torch.save archive: opening one runs its author's
    code."""
    with path.open("rb") as file:
        head = file.read(9)
    archived = zipfile.is_zipfile(path)
    # safetensors files begin with eight bytes of length, then a brace.
    if archived or (head[:1] == b"\x80" and head[8:] != b"{"):
        if archived and _scripted(path):
            raise ModelError(
                f"{path} is TorchScript, which contains a pickle; expected safetensors, .pt2 or"
                " .onnx. Where you trust it, torch.onnx.export(torch.jit.load(path), images, 'model.onnx',"
                " dynamo=False) writes a graph, and"
                " safetensors.torch.save_file(torch.jit.load(path).state_dict(), 'model.safetensors') its"
                " weights for --factory"
            )
        kind = "a torch.save archive (a pickle inside a zip)" if archived else "a pickle"
        raise ModelError(
            f"{path} is {kind}; expected safetensors. Pickles can run code and are never opened: convert it"
            " where you trust it with safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        )


def _scripted(path: Path) -> bool:
    try:
        check_listing(path, MOST_MEMBERS)
    except ValueError:
        return False  # some other pickle, which is refused as such
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; for an index (``model.safetensors.index.json``), those of
    all its files.

    Raises:
        ModelError: a file is missing or unreadable, or the tensors are not those of the index.
    """
    if not path.name.endswith(INDEX):
        return _read(path)
    found: dict[str, Tensor] = {}
    where = placed(path)
    for name in sorted(set(where.values())):
        shard = inside(path.parent, name, path)
        refuse_pickle(shard)
        tensors = _read(shard)
        stated = {tensor for tensor, file in where.items() if file == name}
        if stated != tensors.keys():
            other = sorted(stated ^ tensors.keys())[0]
            where_ = "lacks" if other in stated else "holds"
            raise ModelError(
                f"{shard} {where_} {other}, {path.name} says otherwise; expected the {len(stated)} tensors"
                " that the index names"
            )
        found |= tensors
    return found


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); save it again") from error


def shapes(path: Path) -> Mapping[str, tuple[int, ...]]:
    """The shapes of a safetensors file's tensors, by name; the content is not read."""
    try:
        with safe_open(path, "pt") as content:
            return {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118  no dict
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); save it again") from error


WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel, DistributedDataParallel and torch.compile add to the names of a model's
weights."""
EXACT = (torch.float16, torch.bfloat16)
"""Types whose every value is also a float32."""


def unwrapped(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the model's names: without the prefixes of wrappers, with tensors that share memory
    with another (safetensors keeps only one), and half precision as float32 if the model has that."""
    while weights and not weights.keys() & expected.keys():
        prefix = next((p for p in WRAPPERS if all(name.startswith(p) for name in weights)), None)
        if prefix is None:
            break
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    kept = {(t.data_ptr(), t.shape): name for name, t in expected.items() if name in weights and t.numel()}
    shared = {name: kept.get((t.data_ptr(), t.shape)) for name, t in expected.items() if name not in weights}
    weights = weights | {name: weights[other] for name, other in shared.items() if other is not None}

    def widened(name: str, tensor: Tensor) -> Tensor:
        single = name in expected and expected[name].dtype is torch.float32
        return tensor.float() if single and tensor.dtype in EXACT else tensor

    return {name: widened(name, tensor) for name, tensor in weights.items()}


def put_weights(module: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Load ``weights`` into ``module``, all of them and nothing else. Raises ModelError with path, expected
    and found."""
    expected = module.state_dict()
    weights = unwrapped(weights, expected)
    if missing := sorted(expected.keys() - weights.keys()):
        raise ModelError(f"{where} lacks {_some(missing)}; expected the {len(expected)} tensors of the model")
    if extra := sorted(weights.keys() - expected.keys()):
        raise ModelError(
            f"{where} holds {_some(extra)}, which the model does not have; expected {len(expected)} tensors"
        )
    for name, tensor in expected.items():
        found = weights[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise ModelError(
                f"{where}: {name} is {found.dtype} {tuple(found.shape)}; expected {tensor.dtype}"
                f" {tuple(tensor.shape)}"
            )
        if found.is_floating_point() and not torch.isfinite(found).all():
            raise ModelError(f"{where}: {name} holds NaN or infinite values; expected finite weights")
    module.load_state_dict(weights)


def _some(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
