"""Load a user's model: safetensors weights with a factory, a torch.export .pt2 file, or an ONNX graph. Nothing is ever unpickled."""

import importlib
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zooaudit.errors import ModelError, first_line
from zooaudit.suspects.blackbox import to_probabilities
from zooaudit.suspects.exported import load_exported
from zooaudit.suspects.onnx import OnnxModule


def load_model(path: Path, factory: str | None, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Load a model and try it on two blank images.

    Args:
        path: ``.safetensors`` (with ``factory``), ``.pt2`` or ``.onnx``.
        factory: import path ``package.module:factory`` of a callable without arguments that returns the ``nn.Module``; the current
            directory is searched too.
        image_shape: (channels, height, width) of the images that it will be asked.
        num_classes: K.

    Raises:
        ModelError: what is wrong with the file, the factory, the weights or the output, and what was expected.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist; expected a .safetensors, .pt2 or .onnx file")
    if path.suffix == ".pt2":
        module = load_exported(path)
    elif path.suffix == ".onnx":
        module = OnnxModule(path, num_classes)
    else:
        refuse_pickle(path)
        if factory is None:
            raise ModelError(f"{path} holds weights only; say how to build the model: --factory package.module:factory")
        module = call_factory(factory)
        put_weights(module, read_weights(path), str(path))
    module.eval().requires_grad_(False)
    try_out(module, image_shape, num_classes, str(path))
    return module


def refuse_pickle(path: Path) -> None:
    """Raise ModelError if the file is a pickle or a torch.save archive: opening one runs its author's code."""
    with path.open("rb") as file:
        head = file.read(9)
    archived = zipfile.is_zipfile(path)
    if archived or (head[:1] == b"\x80" and head[8:] != b"{"):  # safetensors: eight bytes of length, then a brace
        kind = "a torch.save archive (a pickle inside a zip)" if archived else "a pickle"
        raise ModelError(
            f"{path} is {kind}; expected safetensors. Pickles can run code and are never opened: "
            "convert it where you trust it with safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); save it again") from error


def call_factory(factory: str) -> nn.Module:
    """Import ``package.module:factory`` and call it."""
    made = imported(factory, "factory")
    try:
        module = made()
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ModelError(f"factory {factory} failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"factory {factory} returned a {type(module).__name__}; expected a torch.nn.Module")
    return module


def imported(path: str, what: str = "function") -> Callable[..., Any]:
    """The user's ``package.module:function``; the current folder is searched too.

    Raises:
        ModelError: no such path, or importing it fails.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise ModelError(f"{what} {path!r} is not of the form package.module:{what}")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        target: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ModelError(f"{what} {path} failed: {type(error).__name__}: {error}") from error
    if not callable(target):
        raise ModelError(f"{what} {path} is a {type(target).__name__}; expected something to call")
    return target


WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel, DistributedDataParallel and torch.compile put before the names of a model's weights."""
EXACT = (torch.float16, torch.bfloat16)
"""Every value of these is one of float32."""


def unwrapped(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the model's names: without what wrappers put before all of them, and with those that share memory with another,
    of which safetensors keeps one only; half precision as float32, where the model has that."""
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
    """Load ``weights`` into ``module``, all of them and nothing else, or raise ModelError with path, expected and found."""
    expected = module.state_dict()
    weights = unwrapped(weights, expected)
    if missing := sorted(expected.keys() - weights.keys()):
        raise ModelError(f"{where} lacks {_some(missing)}; expected the {len(expected)} tensors of the model")
    if extra := sorted(weights.keys() - expected.keys()):
        raise ModelError(f"{where} holds {_some(extra)}, which the model does not have; expected {len(expected)} tensors")
    for name, tensor in expected.items():
        found = weights[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise ModelError(f"{where}: {name} is {found.dtype} {tuple(found.shape)}; expected {tensor.dtype} {tuple(tensor.shape)}")
        if found.is_floating_point() and not torch.isfinite(found).all():
            raise ModelError(f"{where}: {name} holds NaN or infinite values; expected finite weights")
    module.load_state_dict(weights)


def try_out(module: nn.Module, image_shape: tuple[int, int, int], num_classes: int, name: str) -> None:
    """Ask a module for the labels of a few blank images; raise ModelError if it does not give probabilities or logits for each."""
    for count in (2, 3):
        images = torch.full((count, *image_shape), 0.5)
        try:
            with torch.no_grad():
                outputs = module(images)
        except Exception as error:  # the user's code may raise anything
            hint = "; export it with a dynamic batch dimension" if name.endswith((".pt2", ".onnx")) else ""
            raise ModelError(f"{name} failed on {count} float images of shape {image_shape}: {first_line(error)}{hint}") from error
        to_probabilities(outputs, count, num_classes, name)


def _some(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
