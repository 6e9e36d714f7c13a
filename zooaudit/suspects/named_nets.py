"""Named nets of timm and torchvision, built without any download: ``timm:resnet18``,
``torchvision:resnet18``; and timm's folders.

A net takes its number of classes and channels from the weights that go into it.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from zooaudit.errors import ModelError, first_line
from zooaudit.extras import needs
from zooaudit.suspects.contract import Contract, Filter, Input
from zooaudit.suspects.files import read_json, weights_in
from zooaudit.suspects.raw import Raw
from zooaudit.suspects.weights import put_weights, read_weights, unwrapped

LIBRARIES = ("timm", "torchvision")
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
Make = Callable[..., nn.Module]


def library(name: str, needed_by: str) -> Any:
    """Import an optional package.

    Raises:
        ModelError: it is not installed.
    """
    with needs("hub", needed_by, ModelError):  # torchvision is always installed
        return importlib.import_module(name)


def is_named(factory: str) -> bool:
    """Whether a factory is a named net of a library."""
    return factory.partition(":")[0] in LIBRARIES and "." not in factory.partition(":")[0]


def build_named(
    factory: str, weights: Mapping[str, Tensor] | None = None, num_classes: int | None = None
) -> nn.Module:
    """The net ``timm:NAME`` or ``torchvision:NAME``, with random weights.

    Args:
        weights: will go into it; they determine its number of classes and channels.
        num_classes: the number of classes, if there are no weights.

    Raises:
        ModelError: there is no such package or net.
    """
    make = maker(factory)
    try:
        return _fitting(make, weights, num_classes, factory.startswith("timm:"))
    except (RuntimeError, TypeError, ValueError, AssertionError, KeyError, AttributeError) as error:
        raise ModelError(f"factory {factory} failed: {type(error).__name__}: {first_line(error)}") from error


def maker(factory: str) -> Make:
    """A function that builds the net ``timm:NAME`` or ``torchvision:NAME``, freshly initialised, with the
    library's options.

    Raises:
        ModelError: there is no such package or net.
    """
    which, _, name = factory.partition(":")
    return _timm(name, factory) if which == "timm" else _torchvision(name, factory)


def _timm(name: str, factory: str) -> Make:
    timm = library("timm", factory)
    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:8]}*")[:5]
        raise ModelError(
            f"factory {factory}: timm has no net of that name; expected one of timm.list_models(), such as"
            f" {', '.join(near)}"
        )
    return lambda **options: cast(nn.Module, timm.create_model(name, pretrained=False, **options))


def _torchvision(name: str, factory: str) -> Make:
    models = library("torchvision", factory).models
    if name not in models.list_models(module=models):
        raise ModelError(
            f"factory {factory}: torchvision has no classifier of that name; expected one of"
            " torchvision.models.list_models()"
        )
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}  # else they warn
    return lambda **more: cast(nn.Module, models.get_model(name, weights=None, **options, **more))


def _fitting(
    make: Make, weights: Mapping[str, Tensor] | None, num_classes: int | None, any_channels: bool
) -> nn.Module:
    """The net with as many classes, channels and auxiliary heads as the weights have."""
    with torch.random.fork_rng([]):
        if weights is None:
            return make(**({} if num_classes is None else {"num_classes": num_classes}))
        with torch.device("meta"):
            one, other = (make(num_classes=n).state_dict() for n in (11, 13))
        found = unwrapped(dict(weights), one)
        heads = [n for n in one if one[n].shape != other[n].shape and n in found and found[n].ndim]
        options: dict[str, Any] = {"num_classes": int(found[heads[-1]].shape[0])} if heads else {}
        aux = [n for n in one if n.startswith(("aux", "AuxLogits"))]
        if aux and not any(n in found for n in aux):
            options["aux_logits"] = False
        if any_channels:
            with torch.device("meta"):
                grey = make(in_chans=1).state_dict()
            first = next(
                (
                    n
                    for n in one
                    if grey[n].shape != one[n].shape and n in found and found[n].ndim == one[n].ndim
                ),
                None,
            )
            options |= (
                {"in_chans": int(found[first].shape[1])}
                if first is not None and found[first].ndim > 1
                else {}
            )
        return make(**options)


def timm_seen(module: nn.Module, stated: Input) -> Contract:
    """What timm's own evaluation transform does for a net, from its ``pretrained_cfg``.

    Raises:
        ModelError: the transform pads, or chooses its filter at random; or it is for colour images, the net
            takes grey ones, and ``stated`` has no mean.
    """
    data = library("timm.data", "timm")
    result = data.resolve_model_data_config(module)
    _, height, width = result["input_size"]
    channels = next((t.shape[1] for t in module.state_dict().values() if t.ndim == 4), 3)
    if channels != len(result["mean"]) and not (stated.mean or stated.range):
        raise ModelError(
            f"timm's pretrained_cfg has mean {result['mean']}, and the net takes {channels} channel; state"
            " how"
            " its images are normalised: --contract 'input.mean=[0.5]' 'input.std=[0.5]'"
        )
    mode, filter_ = result.get("crop_mode", "center"), result["interpolation"]
    if mode not in ("center", "squash") or filter_ not in FILTERS:
        raise ModelError(
            f"timm's transform has crop_mode {mode}, interpolation {filter_}; state what to do: --contract"
            " input.size=... input.resize=..."
        )
    to = tuple(math.floor(side / result["crop_pct"]) for side in (height, width))
    resize = "squash" if mode == "squash" or height != width else "shorter"
    return Contract(
        Input(
            size=(height, width),
            resize=cast(Any, resize),
            resize_to=to if resize == "squash" else to[:1],
            filter=cast(Filter, filter_),
            mean=tuple(map(float, result["mean"]))[:channels],
            std=tuple(map(float, result["std"]))[:channels],
            channels="grey" if channels == 1 else "rgb",
        )
    )


def timm_folder(folder: Path, stated: Input) -> Raw:
    """Read a folder as timm writes it for the hub: ``config.json`` with ``architecture``, and safetensors.

    Raises:
        ModelError: what is wrong with the folder.
    """
    timm, result = library("timm", str(folder)), read_json(folder / "config.json")
    name = str(result["architecture"])
    if not timm.is_model(name):
        raise ModelError(
            f"{folder / 'config.json'} has architecture {name[:80]!r}; expected one of timm.list_models()"
        )
    config = {k: v for k, v in (result.get("pretrained_cfg") or {}).items() if k in KNOWN}
    for key in ("num_classes", "global_pool"):
        if result.get(key) is not None:
            config.setdefault(key, result[key])
    options = result.get("model_args") or {}
    if not isinstance(options, dict) or not all(
        isinstance(v, int | float | str | bool | list | None) for v in options.values()
    ):
        raise ModelError(
            f"{folder / 'config.json'} has model_args {str(options)[:80]}; expected names with plain values"
        )
    path = weights_in(folder)[0]
    try:
        with torch.random.fork_rng([]):
            module = timm.create_model(
                name,
                pretrained=False,
                pretrained_cfg_overlay=config,
                num_classes=config.get("num_classes", 1000),
                **options,
            )
    except (RuntimeError, TypeError, ValueError, AssertionError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{folder}: timm cannot build {name} ({type(error).__name__}: {first_line(error)})"
        ) from error
    put_weights(module, read_weights(path), str(path))
    labels = result.get("label_names") or config.get("label_names") or ()
    labels = tuple(map(str, labels)) if isinstance(labels, list | tuple) else ()
    return Raw(
        module,
        timm_seen(module, stated),
        labels,
        notes=(f"config.json: timm's {name} and its preprocessing",),
    )


KNOWN = (
    "input_size",
    "fixed_input_size",
    "interpolation",
    "crop_pct",
    "crop_mode",
    "mean",
    "std",
    "num_classes",
    "pool_size",
    "first_conv",
    "classifier",
    "label_names",
)
"""Fields of a pretrained_cfg that are used: none that names a download."""
