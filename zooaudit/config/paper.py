"""The paper's method: perturbation, fingerprint, encoder, t-test."""

from dataclasses import dataclass
from typing import Literal

from zooaudit.config.basics import Norm, UapMethod, check


@dataclass(frozen=True)
class UapConfig:
    """The universal perturbation (paper section 3.1, equation 3)."""

    method: UapMethod = "gradient"
    """Gradient of the capped cross-entropy over minibatches, or DeepFool, the paper's way."""
    norm: Norm = "linf"
    """Which norm bounds the perturbation."""
    epsilon: float = 0.17
    """Radius of the ball, in the image range [0, 1] (for L2: of the whole image)."""
    points: int = 5000
    """Number of the victim's training images that it is crafted on; the fooling rate is measured on held-out
    ones."""
    max_steps: int = 150
    """Steps of the gradient method, or batches of the DeepFool method."""
    batch_size: int = 128
    """Images in a step."""
    loss_cap: float = 4.0
    """Cross-entropy beyond which a point counts as fooled enough and stops pulling."""

    def __post_init__(self) -> None:
        check(self.method in ("gradient", "deepfool"), self, "method", "gradient or deepfool")
        check(self.norm in ("linf", "l2"), self, "norm", "linf or l2")
        if self.norm == "linf":
            check(
                0 < self.epsilon < 1,
                self,
                "epsilon",
                "a number in (0, 1): images lie in [0, 1], so a larger ball never binds",
            )
        check(0 < self.epsilon < float("inf"), self, "epsilon", "a positive number")
        check(self.points >= 1, self, "points", "at least 1")
        check(1 <= self.max_steps <= 100_000, self, "max_steps", "1 to 100,000")
        check(self.batch_size >= 1, self, "batch_size", "at least 1")
        check(0 < self.loss_cap < float("inf"), self, "loss_cap", "a positive number")


@dataclass(frozen=True)
class FingerprintConfig:
    """Datapoints and views (paper section 4.2, equation 6)."""

    points: int = 100
    """N: datapoints in one fingerprint, one from each of N clusters."""
    views: int = 20
    """Fingerprints of one model, each of other datapoints from the same clusters."""
    small_clusters: Literal["recluster", "error", "repeat"] = "recluster"
    """A cluster with fewer members than views: ``recluster`` sets its points aside and clusters the rest
    again (at most ten times); ``error`` stops; ``repeat`` takes its members more than once."""

    def __post_init__(self) -> None:
        check(1 <= self.points <= 10_000, self, "points", "N in 1 to 10,000")
        check(2 <= self.views <= 1_000, self, "views", "2 to 1,000")
        check(
            self.small_clusters in ("recluster", "error", "repeat"),
            self,
            "small_clusters",
            "recluster, error or repeat",
        )


ENCODERS = ("paper", "paper-b", "hellinger", "autoencoder")


@dataclass(frozen=True)
class EncoderConfig:
    """The supervised-contrastive encoder (paper section 4.3, equation 7).

    ``name`` says which:

    - ``paper``: probabilities go in; the loss acts on the ``output``-wide layer, similarity
      is measured on the one before.
    - ``paper-b``: probabilities go in, and the loss acts on the layer on which similarity is measured: the
      other way to read the text.
    - ``hellinger``, ours: square roots of probabilities go in, and the loss acts on the layer on which
      similarity is measured (docs/decisions/0006).
    - ``autoencoder``: the paper's network trained without labels, to rebuild its input; for figure 11 only.
    """

    name: str = "paper"
    """paper, paper-b, hellinger or autoencoder."""
    hidden: tuple[int, int] = (50, 20)
    """Widths of the two hidden layers; similarity is measured on the second."""
    output: int = 4
    """Width of the last layer."""
    temperature: float = 0.2
    """Temperature of the contrastive loss."""
    lr: float = 5e-4
    """Learning rate of Adam."""
    batch_size: int = 512
    """Fingerprints in a batch."""
    steps: int = 400
    """Optimiser steps."""
    architectures: tuple[str, ...] = ()
    """Only the encoder models of these architectures train it; empty: all of them."""

    def __post_init__(self) -> None:
        check(self.name in ENCODERS, self, "name", f"one of {', '.join(ENCODERS)}")
        check(len(self.hidden) == 2 and min(self.hidden) >= 1, self, "hidden", "two positive widths")
        check(self.output >= 1, self, "output", "at least 1")
        check(0 < self.temperature <= 10, self, "temperature", "a number in (0, 10]")
        check(0 < self.lr < 1, self, "lr", "a number in (0, 1)")
        check(self.batch_size >= 4, self, "batch_size", "at least 4")
        check(self.steps >= 1, self, "steps", "at least 1")


@dataclass(frozen=True)
class VerdictConfig:
    """The decision (paper section 5.2)."""

    level: float = 0.05
    """A mean p-value below it is called piracy."""
    fingerprints: int = 20
    """How many of the suspect's views each test draws."""
    repeats: int = 30
    """Tests whose p-values are averaged."""
    min_reference_models: int = 3
    """Fewest homologous reference models that a verdict may rest on."""

    def __post_init__(self) -> None:
        check(0 < self.level < 0.5, self, "level", "a number in (0, 0.5)")
        check(self.fingerprints >= 2, self, "fingerprints", "at least 2")
        check(self.repeats >= 1, self, "repeats", "at least 1")
        check(self.min_reference_models >= 2, self, "min_reference_models", "at least 2")
