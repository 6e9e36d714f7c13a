"""Public checkpoints: the one that a victim was fine-tuned from, which some references also begin with; and
those that nets of the zoo begin with.

All models fine-tuned from one checkpoint have much in common, whoever tuned them. The verdict learns this
from references that began with it. A checkpoint is built by the owner's code, or is a file of weights for a
net of timm or torchvision.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from zooaudit.config import Start, TrainConfig
from zooaudit.errors import ModelError
from zooaudit.suspects.factories import imported
from zooaudit.suspects.load import try_out
from zooaudit.suspects.named_nets import is_named
from zooaudit.suspects.weights import put_weights, read_weights, refuse_pickle, unwrapped
from zooaudit.zoo.published_nets import COLOURS, head_of, pretrained

HEADS_LEFT_OUT = ("aux1.", "aux2.", "AuxLogits.")
"""Auxiliary heads in torchvision's files, which our nets do not have."""
SLOWER = 10.0
"""Learning rates are those of training from scratch, divided by this."""


def begun(start: Start, num_classes: int) -> nn.Module:
    """The checkpoint with a new last layer for this many classes, drawn from torch's global generator.

    Raises:
        ModelError: the owner's code fails, or does not return a module; the file does not exist, has changed,
            or does not fit.
    """
    return _loaded(start, num_classes) if is_named(start.factory) else _called(start.factory, num_classes)


def unlearnt(start: Start, num_classes: int) -> nn.Module:
    """A module of the same kind, to load stored weights into: reads no file."""
    return (
        pretrained(start.net, num_classes) if is_named(start.factory) else _called(start.factory, num_classes)
    )


def _called(factory: str, num_classes: int) -> nn.Module:
    made = imported(factory, "start")
    try:
        module = made(num_classes)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ModelError(
            f"start {factory} failed when it was called with {num_classes}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"start {factory} returned a {type(module).__name__}; expected a torch.nn.Module")
    return module.requires_grad_(True)


def _loaded(start: Start, num_classes: int) -> nn.Module:
    path = _file(start.factory)
    if (found := _sha256(path)) != start.weights:
        raise ModelError(
            f"checkpoint {path} has SHA-256 {found[:16]}; expected {start.weights[:16]}, as when the audit"
            " began"
        )
    model = pretrained(start.net, num_classes)
    expected, head = model.net.state_dict(), head_of(start.net)
    weights = unwrapped(read_weights(path), expected)
    body = {n: t for n, t in weights.items() if n not in head and not n.startswith(HEADS_LEFT_OUT)}
    put_weights(model.net, body | {n: expected[n] for n in head}, f"checkpoint {path}")
    return model


def _file(factory: str) -> Path:
    net, _, name = factory.partition("=")
    path = Path(name)
    if not name or not path.is_file():
        raise ModelError(
            f"checkpoint {factory}: there is no file {name or 'named'}; expected {net}=FILE.safetensors, on"
            " every node that trains"
        )
    refuse_pickle(path)
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoint_of(said: str, image_shape: tuple[int, int, int], num_classes: int) -> Start:
    """The checkpoint ``timm:NAME=FILE`` or ``torchvision:NAME=FILE``, after trying it.

    Raises:
        ModelError: it has another form, cannot be loaded, or does not take images of this shape.
    """
    if not is_named(said):
        raise ModelError(
            f"checkpoint {said!r} is not of a library's net; expected timm:NAME=FILE or torchvision:NAME=FILE"
        )
    start = Start(said, _sha256(_file(said)))
    if image_shape[0] not in (1, COLOURS):
        raise ModelError(f"{start.net} takes images of 3 channels, or grey ones; these have {image_shape[0]}")
    with torch.random.fork_rng([]):
        module = begun(start, num_classes)
    try_out(module.eval(), image_shape, num_classes, f"checkpoint {start.net}")
    return start


def start_of(factory: str, image_shape: tuple[int, int, int], num_classes: int) -> Start:
    """A start, after trying it: it is called twice with different seeds, to find out which of its weights are
    the checkpoint's and which are new.

    Args:
        factory: ``package.module:callable``, called with the number of classes. The module takes float images
            in [0, 1] of the data's own size: it must normalise and resize by itself. Or as for
            :func:`checkpoint_of`.

    Raises:
        ModelError: it fails, returns something else, or all of its weights are new each time.
    """
    if is_named(factory):
        return checkpoint_of(factory, image_shape, num_classes)
    with torch.random.fork_rng([]):
        weights = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            module = _called(factory, num_classes)
            weights.append(module.state_dict())
    same = [
        name
        for name, tensor in weights[0].items()
        if tensor.numel() and torch.equal(tensor, weights[1][name])
    ]
    learnt = [name for name in same if weights[0][name].ndim > 1]
    if not learnt:
        raise ModelError(
            f"start {factory} gives other weights each time; expected a public checkpoint's, except for the"
            " last layer"
        )
    if len(same) == len(weights[0]):
        raise ModelError(
            f"start {factory} gives the same last layer each time; expected a new one, drawn from torch's"
            " global generator"
        )
    try_out(module.eval(), image_shape, num_classes, f"start {factory}")
    return Start(factory, _digest({name: weights[0][name] for name in same}))


def fine_tuning(training: TrainConfig) -> TrainConfig:
    """The same training with learning rates for weights that are already trained."""
    sgd, adam, rmsprop = (rate / SLOWER for rate in (training.lr_sgd, training.lr_adam, training.lr_rmsprop))
    return replace(training, lr_sgd=sgd, lr_adam=adam, lr_rmsprop=rmsprop)


def _digest(weights: dict[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(name.encode() + weights[name].detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
