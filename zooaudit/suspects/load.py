"""Load a user's model from files of any supported kind, and put it behind its contract. Nothing is ever
unpickled.

Kinds: safetensors weights, sharded or not, with a factory (:mod:`zooaudit.suspects.factories`); a
torch.export ``.pt2``; an ``.onnx`` graph; a folder of transformers' or timm's. Preprocessing and classes are
read from the files and reported; what the user states takes precedence.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zooaudit.errors import ConfigError, ModelError, first_line
from zooaudit.suspects import files
from zooaudit.suspects.blackbox import Reading, to_probabilities
from zooaudit.suspects.contract import MISSING, Classes, Contract
from zooaudit.suspects.contracted import Contracted
from zooaudit.suspects.described_input import seen_input
from zooaudit.suspects.exported import ExportedModule, load_exported
from zooaudit.suspects.factories import call_factory
from zooaudit.suspects.huggingface import PREFIX, read_folder
from zooaudit.suspects.named_nets import is_named, timm_folder, timm_seen
from zooaudit.suspects.onnx import OnnxModule
from zooaudit.suspects.outputs import settle
from zooaudit.suspects.preprocess import Preprocess
from zooaudit.suspects.raw import Raw
from zooaudit.suspects.weights import put_weights, read_weights, refuse_pickle

BY_CONTRACT = "if it expects other images, state that by --contract"


@dataclass(frozen=True)
class Asked:
    """What a model will be asked, and how its answers are read.

    Attributes:
        image_shape: (channels, height, width) of the images.
        classes: the kit's names of its classes; their numbers if they have no names.
        contract: as stated; the rest may be inferred from the model.
        reading: of its outputs, see :class:`~zooaudit.suspects.blackbox.TorchBlackBox`.
    """

    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    contract: Contract = Contract()  # noqa: RUF009  frozen
    reading: Reading = "any"


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that returns logits or probabilities ``[n, K]`` of the kit's classes for images ``[n, c, h,
    w]`` in [0, 1].

    Attributes:
        contract: the effective one: stated fields and inferred ones.
        notes: what was inferred, a line each.
        raw: the model before its contract, to try others on.
    """

    module: nn.Module
    contract: Contract
    notes: tuple[str, ...]
    raw: Raw


def load_model(
    path: Path,
    factory: str | None,
    image_shape: tuple[int, int, int],
    num_classes: int,
    contract: Contract = Contract(),  # noqa: B008
) -> nn.Module:
    """As ``load``, for a model whose classes have no names: only the module."""
    return load(path, factory, Asked(image_shape, tuple(map(str, range(num_classes))), contract)).module


def load(path: Path, factory: str | None, asked: Asked) -> Loaded:
    """Load a model and try it on a few images.

    Args:
        path: a file or a folder.
        factory: for weights: what builds the module that they go into.

    Raises:
        ModelError: the file, the factory, the weights or the output are wrong; the message says what was
            expected.
        ConfigError: the contract does not fit the model, the images or the classes.
    """
    return fitted(read(path, factory, asked), asked, str(path))


def read(path: Path, factory: str | None, asked: Asked) -> Raw:
    """Read the model from its files, before any contract."""
    stated = asked.contract.input
    if path.is_dir():
        return _folder(path, asked)
    if not path.is_file():
        raise ModelError(f"{path} does not exist; expected {KINDS}")
    if path.suffix in READERS:
        return READERS[path.suffix](path, asked)
    refuse_pickle(path)
    if factory is None:
        raise ModelError(
            f"{path} holds only weights; state how to build the model: --factory package.module:factory,"
            " timm:NAME, torchvision:NAME, or hf:FOLDER with its config.json"
        )
    weights = read_weights(path)
    module = call_factory(factory, weights)
    put_weights(module, weights, str(path))
    if is_named(factory) and factory.startswith("timm:"):
        return Raw(
            module,
            timm_seen(module, stated),
            notes=(f"{factory}: preprocessing from timm's pretrained_cfg",),
        )
    return Raw(module)


def _exported(path: Path, asked: Asked) -> Raw:
    module = load_exported(path)
    return Raw(module, described=module.described) if isinstance(module, ExportedModule) else Raw(module)


def _graph(path: Path, asked: Asked) -> Raw:
    files.external(path)  # refuses outside files before anything is read
    graph = OnnxModule(path, asked.contract.input.name, asked.contract.classes.names or asked.classes)
    return Raw(graph, described=graph.described)


READERS: dict[str, Callable[[Path, Asked], Raw]] = {
    ".pt2": _exported,
    ".onnx": _graph,
}
"""Readers of whole models in one file, by its ending. They unpickle nothing and run no code from the file."""
KINDS = (
    f"a .safetensors, {' or '.join(READERS)} file, a .safetensors.index.json, or a folder of transformers' or"
    " timm's"
)


def _folder(path: Path, asked: Asked) -> Raw:
    if not (path / "config.json").is_file():
        raise ModelError(f"{path} is a folder without config.json; expected {KINDS}")
    result = files.read_json(path / "config.json")
    if "model_type" not in result and "architecture" in result:
        return timm_folder(path, asked.contract.input)
    return read_folder(path, asked.contract.input, asked.image_shape)


def fitted(raw: Raw, asked: Asked, name: str) -> Loaded:
    """A model behind its contract, tried on a few images."""
    raw.module.eval().requires_grad_(False)
    contract, seen, notes = asked.contract, raw.seen, raw.notes
    if contract.input.size and seen.input.size and contract.input.size != seen.input.size:
        notes += ("the stated size and resizing are used instead",)
    shape, more = seen_input(raw.described, asked.image_shape, contract.over(seen).input, name)
    contract = contract.over(seen).over(Contract(shape))
    columns, labelled = _columns(raw, asked, name)
    prepare = Preprocess(contract.input, asked.image_shape)
    output = replace(contract.output, **_settled(raw, prepare, contract, columns, asked, name))
    contract = replace(contract, output=output)
    trivial = (
        not prepare.changes
        and not columns
        and output == type(output)()
        and not isinstance(raw.module, OnnxModule)
    )
    module = (
        raw.module if trivial else Contracted(raw.module, prepare, contract, columns, name, asked.reading)
    )
    module.eval()
    try_out(module, asked.image_shape, len(asked.classes), name, asked.reading)
    return Loaded(module, contract, (*notes, *more, *labelled), raw)


def _settled(
    raw: Raw, prepare: Preprocess, contract: Contract, columns: tuple[int, ...], asked: Asked, name: str
) -> dict[str, Any]:
    """Which of several outputs is the answers: name or number."""
    count = prepare.input.batch or 2
    images = torch.rand(count, *asked.image_shape, generator=torch.Generator().manual_seed(0))
    outputs = _outputs(raw.module, lambda: prepare(images), count, asked.image_shape, name)
    wide = len(contract.classes.names) or len(raw.labels) or (None if columns else len(asked.classes))
    found = settle(outputs, contract.output, count, wide, name)
    return {"name": found.name, "index": found.index}


def _columns(raw: Raw, asked: Asked, name: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The column of each of the kit's classes: as stated, or by the model's own names."""
    stated, kit = asked.contract.classes, asked.classes
    if stated != Classes():
        if stated.missing and raw.labels and not stated.names:
            stated = replace(stated, names=raw.labels)
        return stated.of(kit), ()
    if not raw.labels:
        return (), ()
    places = [Classes(names=raw.labels).place(k) for k in kit]
    found = sum(p != MISSING for p in places)
    if found == len(kit):
        moved = places != list(range(len(kit)))
        note = (
            f"its classes are matched by name, in another order or among {len(raw.labels)}"
            if moved or len(raw.labels) > len(kit)
            else ""
        )
        return (tuple(places) if note else ()), ((note,) if note else ())
    if found == 0 and len(raw.labels) == len(kit):
        return (), (
            (
                f"its class names ({raw.labels[0]}, ...) are not the kit's ({kit[0]}, ...): assumed to have"
                " the kit's order"
            ),
        )
    lost = [k for k, p in zip(kit, places, strict=True) if p == MISSING]
    raise ConfigError(
        f"{name} has {len(raw.labels)} classes ({', '.join(raw.labels[:3])}, ...), and of the kit's"
        f" {len(kit)} lacks {len(lost)} by name: {', '.join(lost[:3])}; state the column of each: --contract"
        " classes.columns=[...], or classes.missing=[...]"
    )


def _outputs(module: nn.Module, images: Any, count: int, image_shape: tuple[int, int, int], name: str) -> Any:
    try:
        with torch.no_grad():
            return module(images())
    except (ModelError, ConfigError):
        raise
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f"{name} failed on {count} float images of shape {image_shape}: {first_line(error)};"
            f" {BY_CONTRACT}"
        ) from error


def try_out(
    module: nn.Module,
    image_shape: tuple[int, int, int],
    num_classes: int,
    name: str,
    reading: Reading = "any",
) -> None:
    """Ask a module for the labels of a few blank images; raise ModelError if it does not return probabilities
    or logits for each."""
    for count in (2, 3):
        images = torch.full((count, *image_shape), 0.5)
        outputs: Tensor = _outputs(module, lambda given=images: given, count, image_shape, name)
        to_probabilities(outputs, count, num_classes, name)


def gradients(module: nn.Module, image_shape: tuple[int, int, int], name: str) -> None:
    """Raise ModelError if a victim's answers have no gradients with respect to its images; crafting a UAP
    needs them."""
    images = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.enable_grad():
        outputs = module(images)
    if not outputs.requires_grad:
        raise ModelError(
            f"{name} has no gradients to craft a UAP with: is all of it in a no_grad block, or its input"
            " rounded? Export it without"
        )


__all__ = [
    "BY_CONTRACT",
    "KINDS",
    "PREFIX",
    "Asked",
    "Loaded",
    "fitted",
    "gradients",
    "load",
    "load_model",
    "read",
    "try_out",
]
