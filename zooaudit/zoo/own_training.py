"""Run the owner's own training procedure (:mod:`zooaudit.zoo.procedure`), once for each twin.

A function runs in a process of its own (:mod:`zooaudit.zoo.call_training`), a command directly; both with
limits of time and disk, and both write a safetensors file whose tensors must be those of the module that the
victim's factory builds. Seeds are integers in [0, 2**31). Before a function runs, the global generators of
torch, numpy and random are seeded too, so that what it forgets to seed is repeatable. Code that ignores its
seed gives identical twins, which a kit check detects.
"""

import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zooaudit.config import OwnTraining
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.errors import ConfigError, ModelError, first_line
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.factories import call_factory
from zooaudit.suspects.load import Asked, fitted
from zooaudit.suspects.raw import Raw
from zooaudit.suspects.weights import put_weights, read_weights, refuse_pickle
from zooaudit.zoo.limited_process import Limits, run
from zooaudit.zoo.procedure import OUT, SEED, imported, split, takes_data

LOG_BYTES = 2**20
"""How many bytes at the end of a log are stored."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of one run: a module on the CPU in evaluation mode, or one line that says why there is none;
    and its output."""

    module: nn.Module | None
    log: bytes
    reason: str = ""


def train(own: OwnTraining, seed: int, dataset: Dataset) -> Trained:
    """Run the procedure once; any failure becomes the reason of a failed twin, never an error.

    Args:
        seed: in [0, 2**31).
        dataset: the owner's; a function that takes data receives the whole training set, on the CPU.
    """
    with tempfile.TemporaryDirectory(prefix="zooaudit-twin-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        out, log = folder / "twin.safetensors", folder / "training.log"
        try:
            command = (
                _call(own.function, seed, dataset.train, out)
                if own.function
                else _filled(own.command, seed, out)
            )
        except ConfigError as error:  # on this machine, although it was checked on another one
            return Trained(None, b"", first_line(error))
        code, reason = run(
            command, folder, log, Limits(own.timeout_s), _environment() if own.function else None
        )
        result = _last(log)
        if code != 0:
            return Trained(None, result, reason or _why(code or 0, out, result))
        try:
            return Trained(_read(own, out, dataset), result)
        except (ModelError, ConfigError) as error:
            return Trained(
                None, result, first_line(error).replace(str(out), OUT if own.command else "its model")
            )


def _filled(command: str, seed: int, out: Path) -> list[str]:
    return [word.replace(SEED, str(seed)).replace(OUT, str(out)) for word in split(command)]


def _call(function: str, seed: int, images: ImageSet, out: Path) -> list[str]:
    data = "-"
    if takes_data(imported(function), function):
        if not isinstance(images.images, Tensor):
            raise ConfigError(
                f"{function} takes images and labels, but these do not fit in memory; expected"
                " function(seed), or --train-command"
            )
        data = str(out.with_name("data.safetensors"))
        save_file(
            {"images": images.images.cpu().contiguous(), "labels": images.labels.cpu().contiguous()}, data
        )
    return [
        sys.executable,
        "-P",
        "-m",
        "zooaudit.zoo.call_training",
        function,
        str(seed),
        str(torch.get_num_threads()),
        data,
        str(out),
    ]


def _environment() -> dict[str, str]:
    """Our environment, with our import path: whatever can be imported here can be imported there."""
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)}


def _why(code: int, out: Path, log: bytes) -> str:
    """One line about a failed run: a function's exception, or the exit code and the last line of the log."""
    if (result := out.with_suffix(".reason")).is_file():
        return result.read_text(encoding="utf-8").strip()
    last = next(
        (line.strip() for line in reversed(log.decode(errors="replace").splitlines()) if line.strip()),
        "it printed nothing",
    )
    signals = {s.value: s.name for s in signal.Signals}
    ended = f"ended by {signals.get(-code, f'signal {-code}')}" if code < 0 else f"exit code {code}"
    return f"{ended}: {last[:300]}"


def _read(own: OwnTraining, out: Path, dataset: Dataset) -> nn.Module:
    """The module with the run's weights, behind the victim's contract.

    Raises:
        ModelError: there is no such file, it is not safetensors, it does not fit the factory's module; or
            this cannot answer the images.
    """
    if not out.is_file():
        raise ModelError(f"{out} does not exist, though the run ended without an error; expected safetensors")
    if out.stat().st_size == 0:
        raise ModelError(f"{out} is empty, though the run ended without an error; expected safetensors")
    refuse_pickle(out)
    weights = read_weights(out)
    with torch.random.fork_rng([]):
        module = call_factory(own.factory, weights)
    put_weights(module, weights, str(out))
    return fitted(
        Raw(module), Asked(dataset.image_shape, dataset.classes, contract_of(own.given)), str(out)
    ).module


def _last(log: Path) -> bytes:
    """The end of a log."""
    if not log.is_file():
        return b""
    with log.open("rb") as content:
        content.seek(max(0, log.stat().st_size - LOG_BYTES))
        return content.read()
