"""Other contracts that a model may expect, each one change away from the current one; to suggest one, never
to apply it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from zooaudit.errors import InputError
from zooaudit.suspects.contract import Input
from zooaudit.suspects.contracted import Contracted
from zooaudit.suspects.load import Asked, Loaded, fitted

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""The normalisation that most public checkpoints were trained with."""
RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


@dataclass(frozen=True, eq=False)
class Variant:
    """A model behind another contract.

    Attributes:
        flag: the command-line flag for it.
        changed: the field that it changes first.
        stated: whether the user stated what it changes, as opposed to an inferred or default value.
    """

    module: nn.Module
    flag: str
    changed: str
    stated: bool


def variants(loaded: Loaded, asked: Asked) -> Iterator[Variant]:
    """Each other range, normalisation, order of channels and layout that the model accepts."""
    colours = _channels(loaded, asked) == 3
    for changes in _changes(loaded.contract.input, colours):
        input_ = replace(loaded.contract.input, **changes)
        try:
            other = fitted(
                loaded.raw,
                replace(
                    asked, contract=replace(loaded.contract, input=input_, classes=asked.contract.classes)
                ),
                "it",
            )
        except InputError:  # the model does not accept it
            continue
        stated = any(getattr(asked.contract.input, name) != getattr(Input(), name) for name in changes)
        yield Variant(
            other.module,
            "--contract " + " ".join(f"'input.{n}={_toml(v)}'" for n, v in changes.items()),
            next(iter(changes)),
            stated,
        )


def _changes(now: Input, colours: bool) -> Iterator[dict[str, Any]]:
    for range_ in RANGES:
        if range_ != (now.range or ((0.0, 255.0) if now.dtype == "uint8" and not now.scale else (0.0, 1.0))):
            yield {"range": range_}
    if now.mean or now.std:
        yield {"mean": (0.0,), "std": (1.0,)}
    if colours and now.mean != IMAGENET["mean"]:
        yield dict(IMAGENET)
    if colours:
        yield {"channels": "rgb" if now.channels == "bgr" else "bgr"}
    if now.layout in ("", "nchw", "nhwc"):
        yield {"layout": "nchw" if now.layout == "nhwc" else "nhwc"}


def _channels(loaded: Loaded, asked: Asked) -> int:
    return loaded.module.prepare.wanted if isinstance(loaded.module, Contracted) else asked.image_shape[0]


def _toml(value: Any) -> str:
    return "[" + ",".join(f"{v:g}" for v in value) + "]" if isinstance(value, tuple) else str(value)
