"""What a thief does to a stolen model so that it is no longer recognised (paper section 6, figure 8).

In addition to the paper's: fine-tuning the last layer or all, with a new last layer or without (FTLL, RTLL,
RTAL of Adi et al., USENIX Security 2018); fine-pruning; float16; distillation of the weights into a new
model; removal, after RemovalNet (Yao et al., 2022): the last layer's inputs are driven away from the
victim's, at the same accuracy. *Ours* does that by their cosine, image by image. Weights averaged with those
of an independent model from the same public checkpoint; transfer to other classes (as the pairs of Li et al.,
ModelDiff, 2021).

None of these asks the victim. Fine-tuning, adversarial training and the calibration of INT8 use test images,
which are the attacker's own in the paper. *Ours*: they see one half of them, and accuracy after fine-tuning
and adversarial training is measured on the other.
"""

import copy
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune as pruning

from zooaudit.compute import seeded
from zooaudit.config import ModifyConfig
from zooaudit.data.images import ImageSet, to_unit
from zooaudit.zoo.arch import begin_anew
from zooaudit.zoo.averaging import averaged
from zooaudit.zoo.int8 import to_int8
from zooaudit.zoo.modify_adversarial import train_adversarially, train_on_uaps
from zooaudit.zoo.modify_steps import batches, step, stepped
from zooaudit.zoo.transferred import for_kept, of_kept

TUNED = (
    "fine-tune",
    "adversarial",
    "uap",
    "last-layer",
    "new-head",
    "retrain",
    "prune-tune",
    "distil",
    "removal",
    "averaged",
    "transfer",
)
"""Modifications that learn from the tuning images' labels."""
CALIBRATION_IMAGES = 512
Tuner = Callable[[nn.Module, ModifyConfig, ImageSet, torch.Generator], None]
AFTER_PRUNING = 3
"""Epochs of fine-tuning."""
REMOVED = 2.0
"""Weight of the likeness relative to the cross-entropy, in removal."""
OWN_EPOCHS = 10
"""Epochs of the model that a thief fine-tunes to average the stolen one with."""


def modify(
    model: nn.Module,
    config: ModifyConfig,
    tuning: ImageSet,
    seed: int,
    checkpoint: Callable[[], nn.Module] | None = None,
) -> nn.Module:
    """A modified copy of ``model``, in evaluation mode; the model itself is unchanged.

    Args:
        tuning: the attacker's labelled images, on the model's device.
        seed: order of the images.
        checkpoint: builds the public checkpoint that the model began with, for ``averaged``.

    Raises:
        ModelError: the last layer or the checkpoint does not fit.
        DivergedError: the loss became NaN or infinite.
    """
    if config.kind == "int8":
        return to_int8(model, to_unit(tuning.images[:CALIBRATION_IMAGES]))
    if config.kind == "float16":
        return copy.deepcopy(model).half().float().eval()
    changed = copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # as torch's pruning requires
    if config.kind == "averaged":
        return _averaged(changed, config, tuning, seed, checkpoint)
    if config.kind in PRUNERS:
        PRUNERS[config.kind](changed, config.strength)
    if config.kind in TUNERS:
        changed.requires_grad_(True).to(memory_format=torch.channels_last)
        with seeded(seed, tuning.images.device):
            TUNERS[config.kind](changed, config, tuning, torch.Generator().manual_seed(seed))
    return changed.eval().requires_grad_(False)


def _layers(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def _prune_weights(model: nn.Module, share: float) -> None:
    """Unstructured: the smallest ``share`` of all convolution and linear weights, over the
    whole model, become zero."""
    layers = [(m, "weight") for m in _layers(model)]
    pruning.global_unstructured(layers, pruning.L1Unstructured, amount=share)
    for module, name in layers:
        pruning.remove(module, name)


def _prune_channels(model: nn.Module, share: float) -> None:
    """Structured: in each convolution, the ``share`` of output channels with the smallest
    L2 norm become zero."""
    for module in _layers(model):
        if isinstance(module, nn.Conv2d) and round(share * module.out_channels):
            pruning.ln_structured(module, "weight", amount=round(share * module.out_channels), n=2, dim=0)
            pruning.remove(module, "weight")


def _fine_tune(model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator) -> None:
    _tune(model, int(config.strength - config.start), config, tuning, generator)


def _tune(
    model: nn.Module, epochs: int, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator
) -> None:
    """Train all trainable weights on the images' labels."""
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], config.lr)
    model.train()
    for batch in _passes(epochs, config, tuning, generator):
        step(model, optimiser, to_unit(tuning.images[batch]), tuning.labels[batch])


def _passes(
    epochs: int, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator
) -> Iterator[Tensor]:
    size = min(config.batch_size, len(tuning))
    for _ in range(epochs):
        order = torch.randperm(len(tuning), generator=generator)[: len(tuning) // size * size].to(
            tuning.images.device
        )
        yield from order.split(size)


def last_layer(model: nn.Module) -> nn.Linear:
    """The model's last linear layer."""
    return [m for m in model.modules() if isinstance(m, nn.Linear)][-1]


def _tune_last_layer(
    model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator
) -> None:
    model.requires_grad_(False)
    last_layer(model).requires_grad_(True)
    _tune(model, int(config.strength), config, tuning, generator)


def _train_new_head(
    model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator
) -> None:
    last_layer(model).reset_parameters()
    _tune_last_layer(model, config, tuning, generator)


def _retrain(model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator) -> None:
    last_layer(model).reset_parameters()
    _tune(model, int(config.strength), config, tuning, generator)


def _fine_prune(model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator) -> None:
    """Fine-tune all weights, including the pruned ones."""
    _tune(model, AFTER_PRUNING, config, tuning, generator)


def _averaged(
    model: nn.Module,
    config: ModifyConfig,
    tuning: ImageSet,
    seed: int,
    checkpoint: Callable[[], nn.Module] | None,
) -> nn.Module:
    """Average with a model that the thief fine-tunes from the same checkpoint, with a new last layer."""
    assert checkpoint is not None, "only models that began with a checkpoint are averaged"
    with seeded(seed, tuning.images.device):
        other = checkpoint().to(tuning.images.device).requires_grad_(True)
        _tune(other, OWN_EPOCHS, config, tuning, torch.Generator().manual_seed(seed))
    return averaged(model, other, config.strength, tuning).eval().requires_grad_(False)


def _transfer(model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator) -> None:
    """Train all layers on the classes that are kept, with a new last layer."""
    for_kept(head := last_layer(model))
    _tune(model, int(config.strength), config, of_kept(tuning, head.out_features), generator)


def _distil(model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator) -> None:
    """Train a new model of the same architecture on the stolen one's probabilities; with Adam, since there
    are few images."""
    teacher = copy.deepcopy(model).eval().requires_grad_(False)
    begin_anew(model)
    optimiser = torch.optim.Adam(model.parameters(), config.lr / 10)
    model.train()
    for batch in _passes(int(config.strength), config, tuning, generator):
        x = to_unit(tuning.images[batch])
        step(model, optimiser, x, teacher(x).softmax(1))


def _remove(model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator) -> None:
    """In each iteration, one step that keeps the labels and turns the last layer's inputs away from the
    stolen model's."""
    teacher = copy.deepcopy(model).eval().requires_grad_(False)
    optimiser = torch.optim.SGD(model.parameters(), config.lr, momentum=0.9)
    model.train()
    for batch in batches(len(tuning), config, generator):
        x = to_unit(tuning.images[batch])
        logits, ours = _with_features(model, x)
        _, theirs = _with_features(teacher, x)
        likeness = F.cosine_similarity(ours, theirs).square().mean()
        stepped(model, optimiser, F.cross_entropy(logits, tuning.labels[batch]) + REMOVED * likeness)


def _with_features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the last layer's inputs."""
    seen: list[Tensor] = []
    hook = last_layer(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        return model(x), seen[0]
    finally:
        hook.remove()


PRUNERS: dict[str, Callable[[nn.Module, float], None]] = {
    "prune": _prune_weights,
    "prune-tune": _prune_weights,
    "prune-channels": _prune_channels,
}
TUNERS: dict[str, Tuner] = {
    "fine-tune": _fine_tune,
    "adversarial": train_adversarially,
    "uap": train_on_uaps,
    "last-layer": _tune_last_layer,
    "new-head": _train_new_head,
    "retrain": _retrain,
    "prune-tune": _fine_prune,
    "distil": _distil,
    "removal": _remove,
    "transfer": _transfer,
}
