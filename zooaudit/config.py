"""What a recipe says: frozen, typed, validated once, when it is made.

Fields carry their unit or norm in the name where a bare number could be misread. A value out of range raises
:class:`~zooaudit.errors.ConfigError` with the field, the value found and the range expected.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from zooaudit.errors import ConfigError

Optimiser = Literal["sgd", "adam", "rmsprop"]
Norm = Literal["linf", "l2"]
Attack = Literal["cloudleak", "jbda"]
Labels = Literal["soft", "hard"]
Modification = Literal["fine-tune", "prune", "prune-channels", "int8", "adversarial", "uap"]

OPTIMISERS: tuple[Optimiser, ...] = ("sgd", "adam", "rmsprop")
MODIFICATIONS: tuple[Modification, ...] = ("fine-tune", "prune", "prune-channels", "int8", "adversarial", "uap")


def check(ok: bool, owner: object, name: str, expected: str) -> None:
    """Raise ConfigError naming ``owner.name``, what was found and what was expected, unless ``ok``."""
    if not ok:
        found = getattr(owner, name)
        raise ConfigError(f"{type(owner).__name__}.{name} is {found!r}; expected {expected}")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for equal values, whatever made them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of ``value`` (a dataclass or plain JSON) as canonical JSON."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TrainConfig:
    """How one model learns. Learning rates are for a batch of 128 and scale with the square root of the batch size;
    warm-up, then linear decay to zero."""

    epochs: int = 4
    lr_sgd: float = 0.1
    lr_adam: float = 4e-3
    lr_rmsprop: float = 4e-3
    momentum: float = 0.9
    weight_decay_sgd: float = 5e-4
    clip_norm: float = 2.0
    """Gradients longer than this (L2, over all weights) are shortened to it."""
    warmup_fraction: float = 0.15
    mirror: bool = False
    """Mirror about half of each batch left to right; of extracted models only if the attack says so."""
    shift: int = 0
    """Move each image by up to this many pixels each way, black coming in at the edges; under the same condition."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        check(self.epochs >= 1, self, "epochs", "at least 1")
        for name in ("lr_sgd", "lr_adam", "lr_rmsprop"):
            check(0 < getattr(self, name) < 10, self, name, "a number in (0, 10)")
        check(0 < self.clip_norm < float("inf"), self, "clip_norm", "a positive number")
        check(0 <= self.momentum < 1, self, "momentum", "a number in [0, 1)")
        check(0 <= self.weight_decay_sgd < 1, self, "weight_decay_sgd", "a number in [0, 1)")
        check(0 < self.warmup_fraction < 1, self, "warmup_fraction", "a number in (0, 1)")
        check(0 <= self.shift <= 64, self, "shift", "0 to 64 pixels")
        check(self.precision in ("auto", "float32", "bfloat16"), self, "precision", "auto, float32 or bfloat16")


@dataclass(frozen=True)
class ExtractConfig:
    """A model-extraction attack: a seed set, then rounds of synthetic points labelled by the victim."""

    attack: Attack = "cloudleak"
    labels: Labels = "soft"
    seed_size: int = 6000
    rounds: int = 2
    round_epochs: int = 2
    final_epochs: int = 6
    step_linf: float = 0.1
    epsilon_linf: float = 0.15
    augment: bool = False
    """Mirror and shift the attacker's images as the architecture's training does, keeping the victim's answers."""

    def __post_init__(self) -> None:
        check(self.attack in ("cloudleak", "jbda"), self, "attack", "cloudleak or jbda")
        check(self.labels in ("soft", "hard"), self, "labels", "soft or hard")
        check(self.seed_size >= 10, self, "seed_size", "at least 10 images")
        check(0 <= self.rounds <= 20, self, "rounds", "0 to 20")
        check(self.round_epochs >= 1, self, "round_epochs", "at least 1")
        check(self.final_epochs >= 1, self, "final_epochs", "at least 1")
        check(0 < self.step_linf <= 1, self, "step_linf", "a number in (0, 1]")
        check(0 < self.epsilon_linf <= 1, self, "epsilon_linf", "a number in (0, 1]")


@dataclass(frozen=True)
class ModifyConfig:
    """What a thief does to a finished model to hide where it came from (paper figure 8)."""

    kind: Modification
    strength: float
    """Fine-tuning: epochs; pruning: share of weights or channels set to zero; adversarial training, also on
    the model's own UAPs: iterations; INT8: 8, always."""
    start: float = 0.0
    """Adversarial training: iterations that the parent has behind it already."""
    lr: float = 0.01
    """Of fine-tuning and both kinds of adversarial training, which take plain SGD steps."""
    batch_size: int = 128

    def __post_init__(self) -> None:
        for name in ("strength", "start"):  # 8 and 8.0 are the same, and must give a model the same id
            object.__setattr__(self, name, float(getattr(self, name)))
        check(math.isfinite(self.strength) and math.isfinite(self.start), self, "strength", "a number")
        check(self.kind in MODIFICATIONS, self, "kind", f"one of {', '.join(MODIFICATIONS)}")
        pruned = self.kind.startswith("prune")
        allowed = "8" if self.kind == "int8" else "a share in [0, 1)" if pruned else "a whole number above start"
        whole = self.strength > self.start and self.strength == int(self.strength)
        right = self.strength == 8 if self.kind == "int8" else 0 <= self.strength < 1 if pruned else whole
        check(right, self, "strength", allowed)
        check(self.start == 0 or (self.start > 0 and self.kind == "adversarial"), self, "start", "0, or adversarial training's iterations")
        check(0 < self.lr < 10, self, "lr", "a number in (0, 10)")
        check(self.batch_size >= 2, self, "batch_size", "at least 2")


@dataclass(frozen=True)
class Overlap:
    """How much of a model's training half lies in the victim's (paper appendix C.2); all of it for the victim's twins."""

    share: float
    split_seed: int
    """Seed of the victim, which its training half follows from."""

    def __post_init__(self) -> None:
        check(0 <= self.share <= 1, self, "share", "a share in [0, 1]")


@dataclass(frozen=True)
class OwnTraining:
    """The owner's own training procedure, by which twins of his victim are trained: a function, or a command.

    :mod:`zooaudit.zoo.own_training` reads and checks it, and runs it once a twin.
    """

    factory: str
    """``package.module:factory``, which builds the module that a twin's weights are loaded into: the victim's."""
    code: str
    """SHA-256 of the function's file, or of the files that the command names: other code is another procedure, and gives other twins."""
    function: str = ""
    """``package.module:function``, called with the training images, their labels and a seed, or with a seed alone."""
    command: str = ""
    """For example ``python train.py --seed {seed} --out {out}``."""
    timeout_s: float = 6 * 3600
    """Longest that one twin may take. It decides no weights, and so no model's id."""

    def __post_init__(self) -> None:
        check(bool(self.function) != bool(self.command), self, "function", "a function or a command, one of the two")
        check(0 < self.timeout_s < math.inf, self, "timeout_s", "a positive number of seconds")


@dataclass(frozen=True)
class Start:
    """A public checkpoint that references are fine-tuned from; see :mod:`zooaudit.zoo.start`."""

    factory: str
    """``package.module:callable``, called with the number of classes."""
    weights: str
    """SHA-256 of the weights that it always gives: another checkpoint gives other references."""


@dataclass(frozen=True)
class ZooConfig:
    """Which models the zoo holds (paper section 5.1 and table 1)."""

    victim_architecture: str = "A"
    twins: int = 19
    """Models trained as the victim was, but for the seed, for it to be ranked among: m of them give p-values from 1 / (m + 1)."""
    references: int = 32
    """Models of other procedures than the victim's, none made from it or a twin; half of them nets of other kinds than
    the zoo's, three in ten extracted from strangers."""
    architectures: tuple[str, ...] = ("B", "C", "D", "E")
    optimisers: tuple[Optimiser, ...] = OPTIMISERS
    batch_sizes: tuple[int, ...] = (64, 128, 256)
    suspects_per_cell: int = 1
    encoder_architectures: tuple[str, ...] = ("E",)
    """Architectures that the encoder's training models take in turn; the paper has one."""
    encoder_per_role: int = 5
    other_victims: int = 2
    look_alikes_per_victim: int = 4
    taken: tuple[ModifyConfig, ...] = ()
    """What is done to the victim's own weights, each for one more suspect that is stolen; not of the user's own victim."""
    data_fraction: float = 0.5
    training: TrainConfig = field(default_factory=TrainConfig)
    epochs: tuple[tuple[str, int], ...] = ()
    """Epochs for named architectures, where they differ from ``training.epochs``."""
    mirrored: tuple[str, ...] = ()
    """Architectures trained with ``mirror``: it pays for those that train long, where a mirrored image keeps its class."""
    widths: tuple[int, ...] = (16, 32)
    """Channels of the convolutions of A to E, in equal shares: (16, 32) over four convolutions is 16, 16, 32, 32. Of torchvision's nets
    the first is the base width, 64 as published."""
    hidden: int = 256
    """Of A to E; torchvision's nets have no hidden layer."""
    extraction: ExtractConfig = field(default_factory=ExtractConfig)
    second_attack: ExtractConfig | None = None
    """If given, about every third extracted model is made by it: suspects, look-alikes, and those that train the encoder."""
    accuracy_floor: float = 0.80
    recovery_floor: float = 0.90
    start: Start | None = None
    """The public checkpoint that the victim was fine-tuned from: a quarter of the references are, too."""

    def __post_init__(self) -> None:
        for name in ("architectures", "encoder_architectures", "optimisers", "batch_sizes", "widths"):
            check(len(getattr(self, name)) > 0, self, name, "at least one entry")
        unknown = [o for o in self.optimisers if o not in OPTIMISERS]
        check(not unknown, self, "optimisers", f"only {', '.join(OPTIMISERS)}")
        check(all(b >= 1 for b in self.batch_sizes), self, "batch_sizes", "positive sizes")
        check(all(w >= 1 for w in self.widths), self, "widths", "positive widths")
        check(self.hidden >= 1, self, "hidden", "at least 1")
        check(len(set(self.architectures)) == len(self.architectures), self, "architectures", "each once")
        check(len(set(self.optimisers)) == len(self.optimisers), self, "optimisers", "each once")
        check(all(e >= 1 for _, e in self.epochs), self, "epochs", "at least 1 each")
        check(0 <= self.twins <= 999, self, "twins", "0 to 999")
        check(0 <= self.references <= 999, self, "references", "0 to 999")
        check(self.suspects_per_cell >= 1, self, "suspects_per_cell", "at least 1")
        check(self.encoder_per_role >= 2, self, "encoder_per_role", "at least 2 models a role")
        check(self.other_victims >= 0, self, "other_victims", "0 or more")
        check(self.look_alikes_per_victim >= 0, self, "look_alikes_per_victim", "0 or more")
        check(0 < self.data_fraction < 1, self, "data_fraction", "a number in (0, 1)")
        check(0 <= self.accuracy_floor < 1, self, "accuracy_floor", "a number in [0, 1)")
        check(0 <= self.recovery_floor < 1, self, "recovery_floor", "a number in [0, 1)")

    def training_of(self, architecture: str) -> TrainConfig:
        """The training of one architecture: ``training`` with its own number of epochs, and mirrored or not."""
        epochs = dict(self.epochs).get(architecture, self.training.epochs)
        mirror = self.training.mirror or architecture in self.mirrored
        return dataclasses.replace(self.training, epochs=epochs, mirror=mirror)


@dataclass(frozen=True)
class UapConfig:
    """The universal perturbation (paper section 3.1, equation 3)."""

    method: Literal["gradient", "deepfool"] = "gradient"
    norm: Norm = "linf"
    epsilon: float = 0.17
    """Radius of the ball, in the image range [0, 1] (for L2: of the whole image)."""
    points: int = 5000
    """Victim's training points that it is crafted on; the fooling rate is measured on held-out ones."""
    max_steps: int = 150
    batch_size: int = 128
    loss_cap: float = 4.0
    """Cross-entropy beyond which a point counts as fooled enough and stops pulling."""

    def __post_init__(self) -> None:
        check(self.method in ("gradient", "deepfool"), self, "method", "gradient or deepfool")
        check(self.norm in ("linf", "l2"), self, "norm", "linf or l2")
        if self.norm == "linf":
            check(0 < self.epsilon < 1, self, "epsilon", "a number in (0, 1): images lie in [0, 1], so a larger ball never binds")
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
    small_clusters: Literal["recluster", "error"] = "recluster"
    """A cluster with fewer members than views: ``recluster`` sets its points aside and clusters the rest again
    (at most ten times); ``error`` stops."""

    def __post_init__(self) -> None:
        check(1 <= self.points <= 10_000, self, "points", "N in 1 to 10,000")
        check(2 <= self.views <= 1_000, self, "views", "2 to 1,000")
        check(self.small_clusters in ("recluster", "error"), self, "small_clusters", "recluster or error")


ENCODERS = ("paper", "hellinger", "autoencoder")


@dataclass(frozen=True)
class EncoderConfig:
    """The supervised-contrastive encoder (paper section 4.3, equation 7).

    ``name`` says which:

    - ``paper``: probabilities go in; the loss acts on the ``output``-wide layer, similarity is measured on the one before.
    - ``hellinger``, ours: square roots of probabilities go in, and the loss acts on the layer on which similarity is measured
      (docs/decisions/0006).
    - ``autoencoder``: the paper's network trained without labels, to rebuild its input; for figure 11 only.
    """

    name: str = "paper"
    hidden: tuple[int, int] = (50, 20)
    output: int = 4
    temperature: float = 0.2
    lr: float = 5e-4
    batch_size: int = 512
    steps: int = 400
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
    fingerprints: int = 20
    repeats: int = 30
    min_reference_models: int = 3
    """Fewest homologous reference models that a verdict may rest on."""

    def __post_init__(self) -> None:
        check(0 < self.level < 0.5, self, "level", "a number in (0, 0.5)")
        check(self.fingerprints >= 2, self, "fingerprints", "at least 2")
        check(self.repeats >= 1, self, "repeats", "at least 1")
        check(self.min_reference_models >= 2, self, "min_reference_models", "at least 2")


@dataclass(frozen=True)
class TwinTestConfig:
    """What a suspect is asked, and whom the verdict may accuse (docs/statistics.md)."""

    level: float = 0.05
    """At most this share of innocent suspects is accused; below 1 / (twins + 1) nobody is."""
    checks: int = 100
    """Images of the victim's task at random, asked first: whether a suspect does it. Of a small pool, a fifth at most."""
    looks: tuple[int, ...] = (250, 500, 1000)
    """After how many questions the statistic is looked at; the last is how many there are, fewer if the pools hold fewer."""
    pool: int = 3000
    """Images of a family that every candidate and reference is asked, for the questions to be chosen from."""
    foreign: int = 1
    log: int = 4
    natural: int = 3
    """How the questions are shared among the families at hand: as so many parts."""

    def __post_init__(self) -> None:
        check(0 < self.level < 0.5, self, "level", "a number in (0, 0.5)")
        check(1 <= self.checks <= 10_000, self, "checks", "1 to 10,000")
        rising = len(self.looks) > 0 and self.looks[0] >= 1 and list(self.looks) == sorted(set(self.looks))
        check(rising and self.looks[-1] <= 100_000, self, "looks", "numbers of questions, ascending, 100,000 at most")
        check(25 <= self.pool <= 1_000_000, self, "pool", "25 to 1,000,000")
        for name in ("foreign", "log"):
            check(0 <= getattr(self, name) <= 100, self, name, "0 to 100 parts")
        check(1 <= self.natural <= 100, self, "natural", "1 to 100 parts")


@dataclass(frozen=True)
class Recipe:
    """One named, complete audit. The same recipe on the same data gives the same models and verdicts."""

    name: str
    dataset: str
    seed: int = 0
    zoo: ZooConfig = field(default_factory=ZooConfig)
    uap: UapConfig = field(default_factory=UapConfig)
    fingerprint: FingerprintConfig = field(default_factory=FingerprintConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    paper_encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The paper's own, which every audit by another encoder is also judged by."""
    verdict: VerdictConfig = field(default_factory=VerdictConfig)
    twin_test: TwinTestConfig = field(default_factory=TwinTestConfig)

    def __post_init__(self) -> None:
        check(bool(self.name), self, "name", "a name")
        check(0 <= self.seed < 2**63, self, "seed", "an integer in [0, 2**63)")
        check(self.paper_encoder.name == "paper", self, "paper_encoder", "an EncoderConfig named paper")
        for used in (self.encoder, self.paper_encoder):
            unknown = set(used.architectures) - set(self.zoo.encoder_architectures)
            check(
                not unknown, used, "architectures", f"some of the zoo's encoder_architectures, {', '.join(self.zoo.encoder_architectures)}"
            )
        check_views(self)

    @property
    def digest(self) -> str:
        """16 hex digits that change with any field."""
        return digest_of(self)


def check_views(recipe: Recipe) -> None:
    """The t-test draws ``verdict.fingerprints`` of the suspect's views: there must be that many."""
    drawn, views = recipe.verdict.fingerprints, recipe.fingerprint.views
    if drawn > views:
        raise ConfigError(
            f"VerdictConfig.fingerprints is {drawn}, but a suspect has only {views} (FingerprintConfig.views); "
            f"raise views to {drawn} or lower fingerprints to {views}"
        )
