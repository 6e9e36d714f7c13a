"""Build a module that weights go into: ``package.module:callable``, ``timm:NAME``, ``torchvision:NAME`` or
``hf:FOLDER``."""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zooaudit.errors import ModelError
from zooaudit.suspects.huggingface import PREFIX, empty
from zooaudit.suspects.named_nets import build_named, is_named


def call_factory(
    factory: str, weights: Mapping[str, Tensor] | None = None, num_classes: int | None = None
) -> nn.Module:
    """The module that a factory builds: a callable of the user's, a timm or torchvision net, or the net of a
    folder.

    Args:
        weights: will go into the module; a named net takes its number of classes from them.
        num_classes: the number of classes, if there are no weights.

    Raises:
        ModelError: there is no such factory, or it fails.
    """
    if is_named(factory):
        return build_named(factory, weights, num_classes)
    if factory.startswith(f"{PREFIX}:"):
        return empty(Path(factory.partition(":")[2]))
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
