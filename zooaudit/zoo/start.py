"""The public checkpoint that a victim was fine-tuned from, as its owner's code builds it: references begin with it, too.

Everything that was fine-tuned from one checkpoint has much in common, whoever did it. References that were are how the verdict learns what.
"""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor, nn

from zooaudit.config import Start, TrainConfig
from zooaudit.errors import ModelError
from zooaudit.suspects.factories import imported
from zooaudit.suspects.load import try_out

SLOWER = 10.0
"""Learning rates are those of training from nothing, divided by this."""


def begun(factory: str, num_classes: int) -> nn.Module:
    """What ``factory`` builds: the checkpoint with a new last layer for so many classes, which draws from torch's global generator.

    Raises:
        ModelError: it fails, or gives no module.
    """
    made = imported(factory, "start")
    try:
        module = made(num_classes)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ModelError(f"start {factory} failed when it was called with {num_classes}: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"start {factory} returned a {type(module).__name__}; expected a torch.nn.Module")
    return module.requires_grad_(True)


def start_of(factory: str, image_shape: tuple[int, int, int], num_classes: int) -> Start:
    """A start, tried out: called twice with different seeds, to see which of its weights are the checkpoint's and which are new.

    Args:
        factory: ``package.module:callable``, called with the number of classes. The module takes float images in [0, 1] of the data's
            own size: normalising and resizing are its own affair.

    Raises:
        ModelError: it fails, answers something else, or all of its weights are new each time.
    """
    with torch.random.fork_rng([]):
        weights = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            module = begun(factory, num_classes)
            weights.append(module.state_dict())
    same = [name for name, tensor in weights[0].items() if tensor.numel() and torch.equal(tensor, weights[1][name])]
    learnt = [name for name in same if weights[0][name].ndim > 1]
    if not learnt:
        raise ModelError(f"start {factory} gives other weights each time; expected a public checkpoint's, but for the last layer")
    if len(same) == len(weights[0]):
        raise ModelError(f"start {factory} gives the same last layer each time; expected a new one, drawn from torch's global generator")
    try_out(module.eval(), image_shape, num_classes, f"start {factory}")
    return Start(factory, _digest({name: weights[0][name] for name in same}))


def fine_tuning(training: TrainConfig) -> TrainConfig:
    """The same at learning rates for weights that have learnt already."""
    sgd, adam, rmsprop = (rate / SLOWER for rate in (training.lr_sgd, training.lr_adam, training.lr_rmsprop))
    return replace(training, lr_sgd=sgd, lr_adam=adam, lr_rmsprop=rmsprop)


def _digest(weights: dict[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(name.encode() + weights[name].detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
