"""What thieves do: extract a model from the victim's answers, or change one whose weights they took."""

import math
from dataclasses import dataclass, field
from typing import Literal

from zooaudit.config.basics import (
    ATTACKS,
    DEFENCES,
    EXACT_STRENGTH,
    LABELS,
    LATER,
    MODIFICATIONS,
    Attack,
    Defence,
    Labels,
    Modification,
    check,
)


@dataclass(frozen=True)
class ExtractConfig:
    """A model-extraction attack: images that the victim is asked about, then rounds of more."""

    attack: Attack = "cloudleak"
    """CloudLeak adds points near the substitute's decision boundary, JBDA points along the Jacobian; distill
    asks about all images that it has; knockoff draws from them, with rounds by a policy that learns;
    activethief adds those that the substitute knows least; dfme makes all images itself, and so does
    disguide, which needs no probabilities."""
    labels: Labels = "soft"
    """What the thief sees of an answer: probabilities (soft), the most probable class (hard), the likeliest
    classes with their probabilities (top-3), or probabilities rounded to so many decimals (rounded-1)."""
    seed_size: int = 6000
    """Images that the thief starts with."""
    rounds: int = 2
    """Further rounds of questions. Each adds as many images as there are seeds; JBDA doubles what there is.
    distill, dfme and disguide have none."""
    round_epochs: int = 2
    """Epochs of the substitute in each round."""
    final_epochs: int = 6
    """Epochs on all images at the end."""
    step_linf: float = 0.1
    """Most that one step changes a pixel of a synthetic point, in the image range [0, 1]."""
    epsilon_linf: float = 0.15
    """CloudLeak: most that a pixel of a synthetic point may differ from its seed's, in the image range
    [0, 1]."""
    augment: bool = False
    """Mirror and shift the thief's images as the architecture's training does; the victim's answers stay."""
    images: Literal["domain", "own", "textures"] = field(default="domain", metadata=LATER)
    """The thief's images: of the victim's task, but none that the victim was trained on (domain); the
    victim's own training images (own); or made-up textures, another domain (textures)."""
    choice: Literal["uncertainty", "k-centre", "deepfool"] = field(default="uncertainty", metadata=LATER)
    """activethief: the rule by which it finds the images that the substitute knows least."""
    pool_size: int = field(default=0, metadata=LATER)
    """Images that activethief, and knockoff with rounds, choose among; 0 is four times as many as they ask
    about."""
    queries: int = field(default=1_000_000, metadata=LATER)
    """dfme and disguide: number of images that they ask the victim about."""
    defence: Defence = field(default="none", metadata=LATER)
    """What the victim does to its answers before ``labels`` reduces them. reverse-sigmoid blurs how sure it
    is; mad turns what the thief learns from an answer away from what it should learn; mad-argmax does so
    too and keeps the most probable class."""
    defence_budget: float = field(default=1.0, metadata=LATER)
    """mad and mad-argmax: most that an answer may be moved, the sum of the changes of its probabilities; 2
    allows any answer."""
    architecture: str = field(default="", metadata=LATER)
    """Architecture of the substitute, in [[zoo.thieves]] only: one that a zoo may have, or start, which
    begins with the public checkpoint of zoo.start. Empty takes the zoo's architectures in turn."""

    def __post_init__(self) -> None:
        check(self.attack in ATTACKS, self, "attack", ", ".join(ATTACKS))
        check(self.labels in LABELS, self, "labels", ", ".join(LABELS))
        check(
            self.attack != "dfme" or self.labels == "soft",
            self,
            "labels",
            "soft: dfme estimates gradients from probabilities",
        )
        check(self.images in ("domain", "own", "textures"), self, "images", "domain, own or textures")
        check(
            self.choice in ("uncertainty", "k-centre", "deepfool"),
            self,
            "choice",
            "uncertainty, k-centre or deepfool",
        )
        check(0 <= self.pool_size <= 10_000_000, self, "pool_size", "0 to 10,000,000 images")
        check(100 <= self.queries <= 1_000_000_000, self, "queries", "100 to 1,000,000,000")
        check(self.defence in DEFENCES, self, "defence", ", ".join(DEFENCES))
        check(0 < self.defence_budget <= 2, self, "defence_budget", "a number in (0, 2]")
        bounded = self.defence in ("mad", "mad-argmax")
        check(
            bounded or self.defence_budget == 1,
            self,
            "defence_budget",
            "1: only the defences mad and mad-argmax have a budget",
        )
        check(self.seed_size >= 10, self, "seed_size", "at least 10 images")
        check(0 <= self.rounds <= 20, self, "rounds", "0 to 20")
        check(self.round_epochs >= 1, self, "round_epochs", "at least 1")
        check(self.final_epochs >= 1, self, "final_epochs", "at least 1")
        check(0 < self.step_linf <= 1, self, "step_linf", "a number in (0, 1]")
        check(0 < self.epsilon_linf <= 1, self, "epsilon_linf", "a number in (0, 1]")
        check(
            self.chooses or not self.pool_size,
            self,
            "pool_size",
            "0: only activethief, and knockoff with rounds, choose among a pool",
        )
        check(
            not self.pool_size or self.pool_size >= self.most_queries,
            self,
            "pool_size",
            f"the {self.most_queries} asked about, or more",
        )

    @property
    def most_queries(self) -> int:
        """The most images that the victim labels."""
        if self.invents:
            return self.queries
        if self.asks_once:
            return self.seed_size
        return self.seed_size * (2**self.rounds if self.attack == "jbda" else 1 + self.rounds)

    @property
    def asks_once(self) -> bool:
        """Whether it asks about its seeds only, whatever ``rounds`` says."""
        return self.attack in ("distill",)

    @property
    def invents(self) -> bool:
        """Whether it makes all its images itself."""
        return self.attack in ("dfme", "disguide")

    @property
    def chooses(self) -> bool:
        """Whether it has more images than it asks about."""
        return self.attack == "activethief" or (self.attack == "knockoff" and self.rounds > 0)

    @property
    def images_needed(self) -> int:
        """Images that the thief must have; one that makes its own needs one, for its shape."""
        if self.invents:
            return 1
        return (self.pool_size or 4 * self.most_queries) if self.chooses else self.seed_size

    @property
    def description(self) -> str:
        """A short description for lists: for example ``cloudleak (hard)`` or ``knockoff (soft,
        textures)``."""
        images = [self.images] if self.images != "domain" else []
        return f"{self.attack} ({', '.join([self.labels, *images, *self.resisted])})"

    @property
    def resisted(self) -> tuple[str, ...]:
        """The victim's defence in words, for example ``against mad of 0.5``; empty without one."""
        budget = f" of {self.defence_budget:g}" if self.defence in ("mad", "mad-argmax") else ""
        return (f"against {self.defence}{budget}",) if self.defence != "none" else ()


@dataclass(frozen=True)
class ModifyConfig:
    """What a thief does to a model whose weights he has, to hide where it came from (paper
    figure 8, and other papers' ways)."""

    kind: Modification
    """Which: fine-tune all layers, or the last-layer alone; with a new-head that alone, or retrain all; prune
    weights or channels, prune-tune the rest for three epochs; int8 and float16; distil a new model from it;
    adversarial training, also on the model's own UAPs; removal, which keeps the accuracy and trains the
    likeness away; averaged with a model that the thief fine-tuned from the public checkpoint that the victim
    began with; transfer to the first half of the classes, with a new last layer."""
    strength: float
    """Epochs of what learns from all images; pruning: share of weights or channels set to zero; averaged: the
    victim's share, 0.1 to 0.9; adversarial training and removal: iterations; INT8: 8, float16: 16."""
    start: float = 0.0
    """Adversarial training: iterations that the parent has behind it already."""
    lr: float = 0.01
    """Of fine-tuning and both kinds of adversarial training, which take plain SGD steps."""
    batch_size: int = 128
    """Images in a batch, where it trains."""

    def __post_init__(self) -> None:
        for name in ("strength", "start"):  # 8 and 8.0 must give a model the same id
            object.__setattr__(self, name, float(getattr(self, name)))
        check(math.isfinite(self.strength) and math.isfinite(self.start), self, "strength", "a number")
        check(self.kind in MODIFICATIONS, self, "kind", f"one of {', '.join(MODIFICATIONS)}")
        pruned = self.kind.startswith("prune")
        exact = EXACT_STRENGTH.get(self.kind)
        whole = self.strength > self.start and self.strength == int(self.strength)
        if exact:
            check(self.strength == exact, self, "strength", str(exact))
        elif self.kind == "averaged":
            check(
                0.1 <= self.strength <= 0.9, self, "strength", "the victim's share of the weights, 0.1 to 0.9"
            )
        elif pruned:
            check(0 <= self.strength < 1, self, "strength", "a share in [0, 1)")
        else:
            check(whole, self, "strength", "a whole number above start")
        check(
            self.start == 0 or (self.start > 0 and self.kind == "adversarial"),
            self,
            "start",
            "0, or adversarial training's iterations",
        )
        check(0 < self.lr < 10, self, "lr", "a number in (0, 10)")
        check(self.batch_size >= 2, self, "batch_size", "at least 2")


@dataclass(frozen=True)
class Overlap:
    """How much of a model's training half lies in the victim's (paper appendix C.2); all of
    it for the victim's twins."""

    share: float
    split_seed: int
    """Seed of the victim, which its training half follows from."""

    def __post_init__(self) -> None:
        check(0 <= self.share <= 1, self, "share", "a share in [0, 1]")
