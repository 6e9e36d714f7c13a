"""The files that decide what a model answers, and one digest of them all."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from zooaudit.config import canonical_json
from zooaudit.errors import ModelError, first_line
from zooaudit.extras import needs

INDEX = ".safetensors.index.json"
MOST_INDEX_BYTES = 64 * 2**20
SETTINGS = ("config.json", "preprocessor_config.json")
"""Read from a folder of Hugging Face's or timm's."""


def files_of(path: Path) -> tuple[Path, ...]:
    """The file itself first; then the weights that it names, or the files of a folder that are read.

    Raises:
        ModelError: a file is missing, or lies outside the folder.
    """
    if path.is_dir():
        return tuple(path / name for name in SETTINGS if (path / name).is_file()) + weights_in(path)
    if path.name.endswith(INDEX):
        return (path, *shards(path))
    return (path, *external(path)) if path.suffix == ".onnx" else (path,)


def digest(files: Iterable[Path]) -> str:
    """SHA-256 of a single file's content; for several files, of their names and digests."""
    found = {file: sha256(file) for file in files}
    if len(found) == 1:
        return next(iter(found.values()))
    top = next(iter(found)).parent
    return hashlib.sha256(
        canonical_json({str(f.relative_to(top)): sha for f, sha in found.items()}).encode()
    ).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def weights_in(folder: Path) -> tuple[Path, ...]:
    """The safetensors files that a folder's model is loaded from, the index of several first.

    Raises:
        ModelError: there are none.
    """
    single, index = folder / "model.safetensors", folder / f"model{INDEX}"
    if single.is_file():
        return (inside(folder, single.name, folder),)
    if index.is_file():
        return (index, *shards(index))
    pickles = [
        p.name
        for p in sorted(folder.iterdir())
        if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
    ]
    text = f"{pickles[0]}, which is never opened: a pickle can run code" if pickles else "none"
    raise ModelError(
        f"{folder} has no model.safetensors, and of other weights {text}; expected safetensors: where you"
        " trust it, load the model and save it again by model.save_pretrained(folder,"
        " safe_serialization=True)"
    )


def shards(index: Path) -> tuple[Path, ...]:
    """The files that an index of sharded safetensors names."""
    return tuple(inside(index.parent, name, index) for name in sorted(set(placed(index).values())))


def placed(index: Path) -> Mapping[str, str]:
    """For each tensor, the file that holds it."""
    result = read_json(index, MOST_INDEX_BYTES)
    placed = result.get("weight_map")
    if not isinstance(placed, dict) or not placed or not all(isinstance(v, str) for v in placed.values()):
        raise ModelError(
            f"{index} has no weight_map; expected names of tensors with the file that holds each"
        )
    return placed


def read_json(path: Path, most: int = 2**22) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: more than ``most`` bytes, or not a JSON object.
    """
    try:
        if path.stat().st_size > most:
            raise ModelError(f"{path} has {path.stat().st_size:,} bytes; expected {most:,} at most")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({first_line(error)}); expected a JSON object") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} holds a {type(data).__name__}; expected a JSON object")
    return data


def inside(folder: Path, name: str, whose: Path) -> Path:
    """The file of that name in a folder.

    Raises:
        ModelError: the file is missing, or its name or a link leads outside.
    """
    path = folder / name
    hub = folder.parent.name == "snapshots"  # a hub's cache links files into blobs next to the snapshots
    top = (folder.parent.parent if hub else folder).resolve()
    if (
        Path(name).is_absolute()
        or ".." in Path(name).parts
        or "\0" in name
        or not path.resolve().is_relative_to(top)
    ):
        raise ModelError(
            f"{whose} names the file {name[:200]!r}, which lies outside its folder; put it beside"
            f" {whose.name}"
        )
    if not path.is_file():
        raise ModelError(f"{whose} needs {path}, which is not there; put it beside {whose.name}")
    return path


def external(path: Path) -> tuple[Path, ...]:
    """Files next to an ONNX graph that hold some of its weights.

    Raises:
        ModelError: not ONNX, no package to read it, or a file is missing or lies outside.
    """
    with needs("onnx", str(path), ModelError):
        import onnx
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf has exceptions of its own
        raise ModelError(f"{path} is not a readable ONNX graph ({first_line(error)})") from error
    names = set()
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            names.add(next((e.value for e in tensor.external_data if e.key == "location"), ""))
    return tuple(inside(path.parent, name, path) for name in sorted(names))


def _tensors(model: Any) -> Iterator[Any]:
    """All tensors in every part of an ONNX model."""
    graphs = [model.graph, *(g for t in model.training_info for g in (t.initialization, t.algorithm))]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                *attribute.sparse_tensors,
            ):
                yield from (sparse.values, sparse.indices)
            graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
