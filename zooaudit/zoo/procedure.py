"""Read and check the owner's own training procedure before anything is trained. Trains nothing.

Either ``package.module:function``, called as ``function(images: uint8 [n, c, h, w], labels: int64 [n], seed:
int) -> nn.Module`` or as ``function(seed: int) -> nn.Module`` if it reads its own data, distinguished by its
signature; or a command, ``python train.py --seed {seed} --out {out}``, that writes a safetensors file.
"""

import hashlib
import importlib
import inspect
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zooaudit.config import OwnTraining
from zooaudit.errors import ConfigError, first_line

SEED, OUT = "{seed}", "{out}"
FORMS = "function(images, labels, seed) or function(seed)"


def by_function(function: str, factory: str, timeout_s: float = OwnTraining.timeout_s) -> OwnTraining:
    """The procedure ``package.module:function``.

    Raises:
        ConfigError: it cannot be imported, or its parameters are neither images, labels and a seed, nor a
            seed.
    """
    takes_data(imported(function), function)
    file = getattr(sys.modules[function.partition(":")[0]], "__file__", None)
    return OwnTraining(factory, _digest([Path(file)] if file else []), function=function, timeout_s=timeout_s)


def by_command(command: str, factory: str, timeout_s: float = OwnTraining.timeout_s) -> OwnTraining:
    """The procedure ``python train.py --seed {seed} --out {out}``, or any other program.

    Raises:
        ConfigError: it lacks a placeholder, cannot be split into words, or its program does not exist.
    """
    words = split(command)
    for placeholder, what in ((SEED, "the twin's seed"), (OUT, "the file for its weights")):
        if not any(placeholder in word for word in words[1:]):
            raise ConfigError(
                f"the training command {command!r} lacks {placeholder}, which stands for {what}; expected"
                f" both {SEED} and {OUT}"
            )
    if shutil.which(words[0]) is None:
        raise ConfigError(
            f"the training command's program {words[0]!r} does not exist, or cannot be run; expected one on"
            " the PATH, or a path"
        )
    # --config=file names a file, too.
    named = [Path(part) for word in words for part in dict.fromkeys((word, word.rpartition("=")[2]))]
    return OwnTraining(factory, _digest(named), command=command, timeout_s=timeout_s)


def split(command: str) -> list[str]:
    """A command's words, split as by a shell; it is never run by one."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"the training command {command!r} cannot be split into words ({error})") from error
    if not words:
        raise ConfigError(
            f"the training command is empty; expected for example: python train.py --seed {SEED} --out {OUT}"
        )
    return words


def imported(function: str) -> Callable[..., Any]:
    """The callable ``package.module:function``; the current directory is searched too.

    Raises:
        ConfigError: it does not exist or cannot be imported.
    """
    module, _, attribute = function.partition(":")
    if not module or not attribute:
        raise ConfigError(f"training function {function!r} is not of the form package.module:function")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        target: Any = importlib.import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ConfigError(
            f"training function {function} cannot be imported: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not callable(target):
        raise ConfigError(f"training function {function} is a {type(target).__name__}; expected {FORMS}")
    return target


def takes_data(target: Callable[..., Any], name: str) -> bool:
    """Whether a training function takes images and labels, or reads its own data.

    Decided by its required positional parameters other than ``seed``: two, or none.

    Raises:
        ConfigError: it has another number of them.
    """
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"training function {name} does not say what it takes; expected {FORMS}") from error
    parameters = signature.parameters.values()
    required = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        and p.default is p.empty
        and p.name != "seed"
    ]
    given: tuple[None, ...] = (None,) * len(required)
    try:
        if "seed" not in signature.parameters or len(required) not in (0, 2):
            raise TypeError
        signature.bind(*given, seed=0)
    except TypeError:
        found = ", ".join(str(p.replace(annotation=p.empty)) for p in parameters)
        raise ConfigError(
            f"training function {name} takes ({found}); expected {FORMS}, with a parameter called seed"
        ) from None
    return bool(required)


def _digest(files: list[Path]) -> str:
    """SHA-256 of the content of those that are files, in this order."""
    code = hashlib.sha256()
    for file in files:
        if file.is_file():
            with file.open("rb") as content:
                code.update(hashlib.file_digest(content, "sha256").digest())
    return code.hexdigest()
