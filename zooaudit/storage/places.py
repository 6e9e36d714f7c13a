"""Where a model may be besides this machine's disk: S3, the Hugging Face hub, an MLflow registry. It is
downloaded first."""

import atexit
import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from zooaudit.errors import InputError, StoreError, first_line
from zooaudit.extras import needs

WANTED = ("*.json", "*.safetensors", "*.onnx", "*.data", "*.onnx_data", "*.pt2")
"""Files of a hub's repository that are fetched: none that contains a pickle, and no code."""
ENDINGS = tuple(pattern[1:] for pattern in WANTED)


@cache
def local(place: str) -> Path:
    """The file or folder of that name on this machine's disk; remote ones are fetched, once for each process.

    Args:
        place: a path, ``s3://bucket/key`` (a file, or a folder of files),
            ``hf://owner/name[@revision][/file]``, ``models:/...`` or ``runs:/...`` of MLflow.

    Raises:
        InputError: there is nothing of that name, or the package that fetches it is missing.
        StoreError: it cannot be reached.
    """
    if place.startswith("s3://"):
        return _s3(place)
    if place.startswith("hf://"):
        return _hub(place)
    if place.startswith(("models:/", "runs:/")):
        return _mlflow(place)
    return Path(place)


def _scratch() -> Path:
    """A folder that is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="zooaudit-model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _s3(place: str) -> Path:
    with needs("s3", place):
        from zooaudit.storage.s3 import S3Store

    above, _, name = place.rstrip("/").rpartition("/")
    if above in ("s3:", "s3:/") or not name:
        raise InputError(
            f"{place!r} is not a model in S3; expected s3://bucket/key of a file, or of a folder"
        )
    store, folder = S3Store(above, probe=False), _scratch()
    # Their weights may be in files next to them.
    stem = name.partition(".")[0] if name.endswith((".onnx", ".index.json")) else name
    keys = [
        k
        for k in store.keys(stem)
        if k == name or ((k.startswith(f"{name}/") or stem != name) and k.endswith(ENDINGS))
    ]
    if not any(k == name or k.startswith(f"{name}/") for k in keys):
        raise InputError(
            f"{place} does not exist; expected s3://bucket/key of a file, or of a folder of safetensors"
        )
    for key in keys:
        path = folder / key
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{place} holds the key {key[:200]!r}, which leads outside its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(key))
    return folder / name


def _hub(place: str) -> Path:
    name, inner = _owner_name(place)
    with needs("hub", place):
        hub = importlib.import_module("huggingface_hub")
    repo, _, revision = name.partition("@")
    try:
        with _quiet(hub):
            folder = Path(
                hub.snapshot_download(
                    repo, revision=revision or None, allow_patterns=[inner] if inner else list(WANTED)
                )
            )
    except Exception as error:  # the hub raises many kinds
        raise StoreError(
            f"{place} cannot be fetched ({type(error).__name__}: {first_line(error)[:200]})"
        ) from error
    found = folder / inner if inner else folder
    if not found.exists():
        raise InputError(
            f"{place} does not exist; {repo} has"
            f" {', '.join(sorted(p.name for p in folder.iterdir())[:5]) or 'nothing'}"
        )
    return found


def _owner_name(place: str) -> tuple[str, str]:
    words = place.removeprefix("hf://").removeprefix("models/").strip("/").split("/")
    if len(words) < 2 or not all(words[:2]) or ".." in words:
        raise InputError(
            f"{place!r} is not a model of the hub; expected hf://owner/name, hf://owner/name@revision, or a"
            " file in it"
        )
    return "/".join(words[:2]), "/".join(words[2:])


def _mlflow(place: str) -> Path:
    try:
        mlflow = importlib.import_module("mlflow")
    except ImportError as error:
        raise InputError(f"{place} needs the package mlflow: pip install mlflow") from error
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        fetched = mlflow.artifacts.download_artifacts(artifact_uri=place, dst_path=str(_scratch()))
    except Exception as error:  # MLflow raises many kinds
        raise StoreError(
            f"{place} cannot be fetched ({type(error).__name__}: {first_line(error)[:200]})"
        ) from error
    return flavour(Path(fetched), place)


def flavour(folder: Path, place: str) -> Path:
    """The model's own file or folder inside MLflow's packaging."""
    if not folder.is_dir() or (folder / "config.json").is_file():
        return folder
    found = [p for p in sorted(folder.rglob("*")) if p.suffix in (".onnx", ".pt2") or p.name == "config.json"]
    found = [p.parent if p.name == "config.json" else p for p in found] or sorted(
        folder.rglob("*.safetensors")
    )
    if len(found) != 1:
        names = ", ".join(str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file())
        raise InputError(
            f"{place} holds {names[:200] or 'nothing'}; expected one .onnx, .pt2 or .safetensors file, or a"
            " folder of transformers'; its pytorch flavour is a pickle, which is never opened: log the model"
            " as ONNX, or by mlflow.transformers"
        )
    return found[0]


@contextlib.contextmanager
def _quiet(hub: Any) -> Iterator[None]:
    """Without progress bars."""
    hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        hub.utils.enable_progress_bars()
