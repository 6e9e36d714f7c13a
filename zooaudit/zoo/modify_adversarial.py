"""A thief who trains a copy against the questions: on adversarial examples, or on UAPs."""

import torch
from torch import Tensor, nn

from zooaudit.config import ModifyConfig, UapConfig
from zooaudit.data.images import ImageSet, to_unit
from zooaudit.data.on_disk import in_memory
from zooaudit.paper.deepfool import deepfool
from zooaudit.paper.uap import gradient_uap
from zooaudit.zoo.modify_steps import batches, new_batches, step

DEEPFOOL_STEPS = 10
UAP_EVERY = 30
"""Iterations between two UAPs of the current model."""
UAP = UapConfig(max_steps=30)


def train_adversarially(
    model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator
) -> None:
    """In each iteration, DeepFool examples of a batch of new images are added to the set, with their true
    labels; then the model takes a step on these, and one on as many drawn from the set.

    *Ours*: how much of the set is learnt in an iteration. A model that continues another's stage begins with
    an empty set.
    """
    optimiser = torch.optim.SGD(model.parameters(), config.lr)
    crafted: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in new_batches(len(tuning), config, generator):
        x, y = to_unit(tuning.images[batch]), tuning.labels[batch]
        model.eval().requires_grad_(False)
        new = (x + deepfool(model, x, "l2", DEEPFOOL_STEPS)).clamp(0, 1)
        model.train().requires_grad_(True)
        crafted += new
        labels += y
        step(model, optimiser, new, y)
        rows = torch.randint(len(crafted), (len(batch),), generator=generator).tolist()
        step(
            model, optimiser, torch.stack([crafted[i] for i in rows]), torch.stack([labels[i] for i in rows])
        )


def train_on_uaps(
    model: nn.Module, config: ModifyConfig, tuning: ImageSet, generator: torch.Generator
) -> None:
    """In each iteration, one step on a batch, half of it with a UAP of the model itself, which is crafted
    again at intervals.

    *Ours*: a thief does not know the victim's UAP, but a copy's UAPs are similar.
    """
    optimiser = torch.optim.SGD(model.parameters(), config.lr)
    v = torch.zeros_like(to_unit(tuning.images[:1])[0])
    for i, batch in enumerate(batches(len(tuning), config, generator)):
        if i % UAP_EVERY == 0:
            model.eval().requires_grad_(False)
            v, _ = gradient_uap(model, in_memory(tuning.images), UAP, generator)
            model.train().requires_grad_(True)
        x = to_unit(tuning.images[batch])
        x[::2] = (x[::2] + v).clamp(0, 1)
        step(model, optimiser, x, tuning.labels[batch])
