"""How models learn: the zoo's, the owner's own procedure, public checkpoints to begin with."""

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from zooaudit.config.basics import LATER, check, stated
from zooaudit.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """How one model learns. Learning rates are for a batch of 128 and scale with the square
    root of the batch size."""

    epochs: int = 4
    """Passes over the training images."""
    lr_sgd: float = 0.1
    """Largest learning rate of SGD."""
    lr_adam: float = 4e-3
    """Largest learning rate of Adam."""
    lr_rmsprop: float = 4e-3
    """Largest learning rate of RMSprop."""
    momentum: float = 0.9
    """Nesterov momentum of SGD."""
    weight_decay_sgd: float = 5e-4
    """L2 penalty on weights, with SGD only."""
    clip_norm: float = 2.0
    """Gradients longer than this (L2, over all weights) are shortened to it."""
    warmup_fraction: float = 0.15
    """Share of all steps in which the learning rate rises."""
    mirror: bool = False
    """Mirror about half of each batch left to right; extracted models only if the attack has ``augment``."""
    shift: int = 0
    """Move each image by up to this many pixels each way, with black at the edges; extracted models as for
    ``mirror``."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the forward pass; auto takes bfloat16 where the processor has it in hardware."""
    schedule: Literal["linear", "cosine"] = field(default="linear", metadata=LATER)
    """How the learning rate falls to zero after the warm-up."""
    crop: float = field(default=1.0, metadata=LATER)
    """Cut a piece out of each image and stretch it to full size, as is usual for photographs. The piece has
    at least this share of the area: 0.08 in many papers; 1 cuts nothing. Extracted models as for
    ``mirror``."""

    def __post_init__(self) -> None:
        check(self.epochs >= 1, self, "epochs", "at least 1")
        for name in ("lr_sgd", "lr_adam", "lr_rmsprop"):
            check(0 < getattr(self, name) < 10, self, name, "a number in (0, 10)")
        check(0 < self.clip_norm < float("inf"), self, "clip_norm", "a positive number")
        check(0 <= self.momentum < 1, self, "momentum", "a number in [0, 1)")
        check(0 <= self.weight_decay_sgd < 1, self, "weight_decay_sgd", "a number in [0, 1)")
        check(0 < self.warmup_fraction < 1, self, "warmup_fraction", "a number in (0, 1)")
        check(0 <= self.shift <= 64, self, "shift", "0 to 64 pixels")
        check(
            self.precision in ("auto", "float32", "bfloat16"), self, "precision", "auto, float32 or bfloat16"
        )
        check(self.schedule in ("linear", "cosine"), self, "schedule", "linear or cosine")
        check(0 < self.crop <= 1, self, "crop", "a share in (0, 1]")


@dataclass(frozen=True)
class OwnTraining:
    """The owner's own training procedure, which trains the victim's twins: a function, or a command.

    :mod:`zooaudit.zoo.own_training` reads and checks it, and runs it once for each twin.
    """

    factory: str
    """``package.module:factory``, which builds the module for a twin's weights: the victim's factory."""
    code: str
    """SHA-256 of the function's file, or of the files that the command names: other code is another
    procedure, and gives other twins."""
    function: str = ""
    """``package.module:function``, called with the training images, their labels and a
    seed, or with a seed alone."""
    command: str = ""
    """For example ``python train.py --seed {seed} --out {out}``."""
    timeout_s: float = 6 * 3600
    """Time limit for one twin. It does not change weights, and so no model's id."""
    contract: str = field(default="", metadata=LATER)
    """JSON of the contract that applies to the victim and each twin; "" if it is empty, and then it is not
    part of an id."""

    def __post_init__(self) -> None:
        check(
            bool(self.function) != bool(self.command),
            self,
            "function",
            "a function or a command, one of the two",
        )
        check(0 < self.timeout_s < math.inf, self, "timeout_s", "a positive number of seconds")

    @property
    def given(self) -> dict[str, Any]:
        """The contract's tables."""
        try:
            data = json.loads(self.contract or "{}")
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"OwnTraining.contract is {self.contract[:80]!r}, which is not JSON ({error})"
            ) from error
        check(isinstance(data, dict), self, "contract", "a JSON object of tables")
        return data

    def to_json(self) -> dict[str, Any]:
        """What determines a twin's weights and answers, without the time limit."""
        return {name: value for name, value in stated(self).items() if name != "timeout_s"}


@dataclass(frozen=True)
class Start:
    """A public checkpoint that models are fine-tuned from; see :mod:`zooaudit.zoo.start`."""

    factory: str
    """``package.module:callable``, called with the number of classes; or ``timm:NAME=FILE`` or
    ``torchvision:NAME=FILE``, a library's net and its weights as a safetensors file."""
    weights: str
    """SHA-256 of the file; or of the weights that the callable always gives. Another
    checkpoint gives other models."""

    @property
    def net(self) -> str:
        """What is built, without the file that its weights are read from."""
        return self.factory.partition("=")[0]
