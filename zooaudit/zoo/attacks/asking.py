"""What a thief has, and how it asks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zooaudit.config import ExtractConfig, Labels
from zooaudit.data.batches import images_at_once
from zooaudit.data.images import to_unit
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import BlackBox

Retrain = Callable[[Tensor, Tensor, int, int], None]
"""``(images, targets, epochs, round)`` trains the substitute."""
BATCH = 250


@dataclass(frozen=True)
class Thief:
    """All that an attack may use besides the substitute.

    Attributes:
        victim: counts its queries, and returns what its defence leaves of its answers.
        images: uint8 ``[n, c, h, w]``, without labels: the images that the thief may ask about. For an attack
            that makes its own, one image, for the shape.
        retrain: trains the substitute on images and the victim's answers, deterministically
            for each round's number.
        precision: of the substitute's gradients, as in TrainConfig.
        seed: of the attack's random draws.
    """

    victim: BlackBox
    images: Tensor
    config: ExtractConfig
    retrain: Retrain
    precision: str
    seed: int

    def ask(self, images: Tensor) -> Tensor:
        """The victim's answers to uint8 images, as far as its interface gives them."""
        return ask_labels(self.victim, images, self.config.labels)


def ask_labels(victim: BlackBox, images: Tensor, labels: Labels) -> Tensor:
    """The victim's answers to uint8 images: probabilities ``[n, K]`` (``top-k`` and ``rounded-d`` ones are
    normalised to sum to 1), or its top labels ``[n]`` if ``hard``."""
    answers = torch.cat([victim.ask(to_unit(x)) for x in images.split(images_at_once(images.shape, BATCH))])
    if labels == "hard":
        return answers.argmax(1)
    return answers if labels == "soft" else _summing_to_one(Access.named(labels).reduced(answers))


def _summing_to_one(reduced: Tensor) -> Tensor:
    """Normalise rows; a row of zeros becomes uniform."""
    reduced = torch.where(reduced.sum(1, keepdim=True) > 0, reduced, torch.ones_like(reduced))
    return reduced / reduced.sum(1, keepdim=True)
