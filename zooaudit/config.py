"""What a recipe says: frozen, typed, validated once, when it is made.

Fields carry their unit or norm in the name where a bare number could be misread. A value out of range raises
:class:`~zooaudit.errors.ConfigError` with the field, the value found and the range expected.
"""

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from zooaudit.errors import ConfigError

Optimiser = Literal["sgd", "adam", "rmsprop"]
Norm = Literal["linf", "l2"]
UapMethod = Literal["gradient", "deepfool"]
Attack = Literal["cloudleak", "jbda", "distill", "knockoff", "activethief", "dfme", "disguide"]
Defence = Literal["none", "reverse-sigmoid", "mad", "mad-argmax"]
Labels = Literal["soft", "hard", "top-1", "top-3", "rounded-1", "rounded-2"]
Modification = Literal[
    "fine-tune", "prune", "prune-channels", "int8", "adversarial", "uap", "last-layer", "new-head", "retrain", "prune-tune", "float16",
    "distil", "removal", "averaged", "transfer",
]  # fmt: skip

OPTIMISERS: tuple[Optimiser, ...] = ("sgd", "adam", "rmsprop")
ATTACKS: tuple[Attack, ...] = get_args(Attack)
DEFENCES: tuple[Defence, ...] = ("none", "reverse-sigmoid", "mad", "mad-argmax")
LABELS: tuple[Labels, ...] = ("soft", "hard", "top-1", "top-3", "rounded-1", "rounded-2")
MODIFICATIONS: tuple[Modification, ...] = get_args(Modification)
EXACT_STRENGTH = {"int8": 8, "float16": 16}
"""Modifications that are done or not."""


LONGEST_NAME = 200
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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


LATER = {"later": True}
"""Metadata of a field that came after digests were first made of its dataclass."""


def stated(value: Any) -> Any:
    """A dataclass as plain values, as ``asdict`` gives them, without the later fields that say nothing: what was made before they came
    keeps its digest."""
    if isinstance(value, list | tuple):
        return [stated(v) for v in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    fields = [(f, getattr(value, f.name)) for f in dataclasses.fields(value)]
    return {f.name: stated(v) for f, v in fields if not (f.metadata.get("later") and v == f.default)}


@dataclass(frozen=True)
class TrainConfig:
    """How one model learns. Learning rates are for a batch of 128 and scale with the square root of the batch size."""

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
    """Mirror about half of each batch left to right; of extracted models only if the attack says so."""
    shift: int = 0
    """Move each image by up to this many pixels each way, black coming in at the edges; under the same condition."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward pass; auto takes bfloat16 where the processor has it in hardware."""
    schedule: Literal["linear", "cosine"] = field(default="linear", metadata=LATER)
    """How the learning rate falls to zero after the warm-up."""
    crop: float = field(default=1.0, metadata=LATER)
    """Cut a piece out of each image and stretch it over the whole, as is usual for photographs: this share of the area at least, 0.08
    in many papers; 1 cuts nothing. Of extracted models as ``mirror``."""

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
        check(self.schedule in ("linear", "cosine"), self, "schedule", "linear or cosine")
        check(0 < self.crop <= 1, self, "crop", "a share in (0, 1]")


@dataclass(frozen=True)
class ExtractConfig:
    """A model-extraction attack: images that the victim is asked about, then rounds of more."""

    attack: Attack = "cloudleak"
    """CloudLeak adds points near the substitute's decision boundary, JBDA points along the Jacobian; distill asks about all images that
    it has; knockoff draws from them, with rounds by a policy that learns; activethief adds those that the substitute knows least; dfme
    makes all images itself, and so does disguide, which needs no probabilities."""
    labels: Labels = "soft"
    """What the victim tells the thief: probabilities (soft), the most probable class (hard), the likeliest classes with theirs (top-3), or
    so many decimals (rounded-1)."""
    seed_size: int = 6000
    """Images that the thief starts with."""
    rounds: int = 2
    """Rounds of more; each adds as many as there are seeds, but JBDA's doubles what there is. distill, dfme and disguide have none."""
    round_epochs: int = 2
    """Epochs of the substitute in each round."""
    final_epochs: int = 6
    """Epochs on everything at the end."""
    step_linf: float = 0.1
    """How far one step moves a pixel of a synthetic point at most, in the image range [0, 1]."""
    epsilon_linf: float = 0.15
    """CloudLeak: how far a pixel of a synthetic point may be from its seed's, in the image range [0, 1]."""
    augment: bool = False
    """Mirror and shift the attacker's images as the architecture's training does, keeping the victim's answers."""
    images: Literal["domain", "own", "textures"] = field(default="domain", metadata=LATER)
    """The thief's images: of the victim's task but not what it was trained on; the victim's own training images; or made-up textures,
    another domain."""
    choice: Literal["uncertainty", "k-centre", "deepfool"] = field(default="uncertainty", metadata=LATER)
    """activethief's rule for what the substitute knows least."""
    pool_size: int = field(default=0, metadata=LATER)
    """Images that activethief, and knockoff with rounds, choose among; 0: four times as many as they ask about."""
    queries: int = field(default=1_000_000, metadata=LATER)
    """dfme and disguide: images that the victim is asked about."""
    defence: Defence = field(default="none", metadata=LATER)
    """What the victim does to its answers before ``labels`` are told of them: reverse-sigmoid blurs how sure it is; mad turns what the
    thief learns from an answer away from what it should learn; mad-argmax does so and keeps the most probable class."""
    defence_budget: float = field(default=1.0, metadata=LATER)
    """mad and mad-argmax: how far an answer may be moved, the sum of the changes of its probabilities; 2 allows any answer."""
    architecture: str = field(default="", metadata=LATER)
    """Of the substitute, in [[zoo.thieves]] only: one that a zoo may have, or start, which begins with the public checkpoint of
    zoo.start; "": the zoo's architectures in turn."""

    def __post_init__(self) -> None:
        check(self.attack in ATTACKS, self, "attack", ", ".join(ATTACKS))
        check(self.labels in LABELS, self, "labels", ", ".join(LABELS))
        check(self.attack != "dfme" or self.labels == "soft", self, "labels", "soft: dfme estimates gradients from probabilities")
        check(self.images in ("domain", "own", "textures"), self, "images", "domain, own or textures")
        check(self.choice in ("uncertainty", "k-centre", "deepfool"), self, "choice", "uncertainty, k-centre or deepfool")
        check(0 <= self.pool_size <= 10_000_000, self, "pool_size", "0 to 10,000,000 images")
        check(100 <= self.queries <= 1_000_000_000, self, "queries", "100 to 1,000,000,000")
        check(self.defence in DEFENCES, self, "defence", ", ".join(DEFENCES))
        check(0 < self.defence_budget <= 2, self, "defence_budget", "a number in (0, 2]")
        bounded = self.defence in ("mad", "mad-argmax")
        check(bounded or self.defence_budget == 1, self, "defence_budget", "1: only the defences mad and mad-argmax have a budget")
        check(self.seed_size >= 10, self, "seed_size", "at least 10 images")
        check(0 <= self.rounds <= 20, self, "rounds", "0 to 20")
        check(self.round_epochs >= 1, self, "round_epochs", "at least 1")
        check(self.final_epochs >= 1, self, "final_epochs", "at least 1")
        check(0 < self.step_linf <= 1, self, "step_linf", "a number in (0, 1]")
        check(0 < self.epsilon_linf <= 1, self, "epsilon_linf", "a number in (0, 1]")
        check(self.chooses or not self.pool_size, self, "pool_size", "0: only activethief, and knockoff with rounds, choose among a pool")
        check(not self.pool_size or self.pool_size >= self.most_queries, self, "pool_size", f"the {self.most_queries} asked about, or more")

    @property
    def most_queries(self) -> int:
        """Images that the victim labels, at most."""
        if self.invents:
            return self.queries
        if self.attack == "distill":
            return self.seed_size
        return self.seed_size * (2**self.rounds if self.attack == "jbda" else 1 + self.rounds)

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
        """Images that the thief must have; who makes his own looks at one, for its shape."""
        if self.invents:
            return 1
        return (self.pool_size or 4 * self.most_queries) if self.chooses else self.seed_size

    @property
    def description(self) -> str:
        """In a few words that can stand in a list: for example ``cloudleak (hard)`` or ``knockoff (soft, textures)``."""
        images = [self.images] if self.images != "domain" else []
        return f"{self.attack} ({', '.join([self.labels, *images, *self.resisted])})"

    @property
    def resisted(self) -> tuple[str, ...]:
        """The victim's defence in words, for example ``against mad of 0.5``; empty without one."""
        budget = f" of {self.defence_budget:g}" if self.defence in ("mad", "mad-argmax") else ""
        return (f"against {self.defence}{budget}",) if self.defence != "none" else ()


@dataclass(frozen=True)
class ModifyConfig:
    """What a thief does to a model whose weights he has, to hide where it came from (paper figure 8, and other papers' ways)."""

    kind: Modification
    """Which: fine-tune all layers, or the last-layer alone; with a new-head that alone, or retrain all; prune weights or channels,
    prune-tune the rest for three epochs; int8 and float16; distil a new model from it; adversarial training, also on the model's own
    UAPs; removal, which keeps the accuracy and trains the likeness away; averaged with a model that the thief fine-tuned from the public
    checkpoint that the victim began with; transfer to the first half of the classes, with a new last layer."""
    strength: float
    """Epochs of what learns from all images; pruning: share of weights or channels set to zero; averaged: the victim's share, 0.1 to 0.9;
    adversarial training and removal: iterations; INT8: 8, float16: 16."""
    start: float = 0.0
    """Adversarial training: iterations that the parent has behind it already."""
    lr: float = 0.01
    """Of fine-tuning and both kinds of adversarial training, which take plain SGD steps."""
    batch_size: int = 128
    """Images in a batch, where it trains."""

    def __post_init__(self) -> None:
        for name in ("strength", "start"):  # 8 and 8.0 are the same, and must give a model the same id
            object.__setattr__(self, name, float(getattr(self, name)))
        check(math.isfinite(self.strength) and math.isfinite(self.start), self, "strength", "a number")
        check(self.kind in MODIFICATIONS, self, "kind", f"one of {', '.join(MODIFICATIONS)}")
        pruned = self.kind.startswith("prune")
        exact = EXACT_STRENGTH.get(self.kind)
        whole = self.strength > self.start and self.strength == int(self.strength)
        if exact:
            check(self.strength == exact, self, "strength", str(exact))
        elif self.kind == "averaged":
            check(0.1 <= self.strength <= 0.9, self, "strength", "the victim's share of the weights, 0.1 to 0.9")
        elif pruned:
            check(0 <= self.strength < 1, self, "strength", "a share in [0, 1)")
        else:
            check(whole, self, "strength", "a whole number above start")
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
    contract: str = field(default="", metadata=LATER)
    """JSON of the contract that the victim, and so each twin, is asked behind; "" where it says nothing, which is no part of an id."""

    def __post_init__(self) -> None:
        check(bool(self.function) != bool(self.command), self, "function", "a function or a command, one of the two")
        check(0 < self.timeout_s < math.inf, self, "timeout_s", "a positive number of seconds")

    @property
    def given(self) -> dict[str, Any]:
        """The contract's tables."""
        try:
            data = json.loads(self.contract or "{}")
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"OwnTraining.contract is {self.contract[:80]!r}, which is not JSON ({error})") from error
        check(isinstance(data, dict), self, "contract", "a JSON object of tables")
        return data

    def to_json(self) -> dict[str, Any]:
        """What decides a twin's weights and answers: not how long it may take."""
        return {name: value for name, value in stated(self).items() if name != "timeout_s"}


@dataclass(frozen=True)
class Start:
    """A public checkpoint that models are fine-tuned from; see :mod:`zooaudit.zoo.start`."""

    factory: str
    """``package.module:callable``, called with the number of classes; or ``timm:NAME=FILE`` or ``torchvision:NAME=FILE``, a library's net
    and its weights as a safetensors file."""
    weights: str
    """SHA-256 of the file; or of the weights that the callable always gives. Another checkpoint gives other models."""

    @property
    def net(self) -> str:
        """What is built, without the file that its weights are read from."""
        return self.factory.partition("=")[0]


@dataclass(frozen=True)
class ZooConfig:
    """Which models the zoo holds (paper section 5.1 and table 1)."""

    victim_architecture: str = "A"
    """Of the victim (if it is not your own), its twins, and the strangers that look-alikes are extracted from."""
    twins: int = 19
    """Models trained as the victim was, but for the seed, for it to be ranked among: m of them give p-values from 1 / (m + 1)."""
    references: int = 32
    """Models of other procedures than the victim's, none made from it or a twin; half of them nets of other kinds than
    the zoo's, three in ten extracted from strangers."""
    architectures: tuple[str, ...] = ("B", "C", "D", "E")
    """Of the suspects: each with every optimiser, extracted from the victim and trained independently."""
    optimisers: tuple[Optimiser, ...] = OPTIMISERS
    """Of the suspects; the first is the victim's."""
    batch_sizes: tuple[int, ...] = (64, 128, 256)
    """Each model draws one of these, in images."""
    suspects_per_cell: int = 1
    """Extracted suspects, and as many independent ones, for each architecture and optimiser."""
    encoder_architectures: tuple[str, ...] = ("E",)
    """Architectures that the encoder's training models take in turn; the paper has one."""
    encoder_per_role: int = 5
    """Models that the encoder learns from: so many extracted from the victim, and so many independent."""
    other_victims: int = 2
    """Strangers' models that look-alikes are extracted from."""
    look_alikes_per_victim: int = 4
    """Look-alikes extracted from each of these: innocent, though made like a stolen model."""
    taken: tuple[ModifyConfig, ...] = ()
    """What is done to the victim's own weights, each for one more suspect that is stolen; not of the user's own victim."""
    data_fraction: float = 0.5
    """Share of the training images that each model is trained on, drawn for each anew."""
    training: TrainConfig = field(default_factory=TrainConfig)
    """How each model is trained."""
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
    """The attack that extracted models are made by."""
    thieves: tuple[ExtractConfig, ...] = field(default=(), metadata=LATER)
    """More attacks on the victim: each for one more suspect that is stolen."""
    second_attack: ExtractConfig | None = None
    """If given, about every third extracted model is made by it: suspects, look-alikes, and those that train the encoder."""
    accuracy_floor: float = 0.80
    """Test accuracy below which a model did not learn, and enters no statistic; references of other kinds need half of it, and
    your own victim must reach it."""
    recovery_floor: float = 0.90
    """The same of extracted models: their accuracy over that of the model that they are extracted from."""
    start: Start | None = field(default=None, metadata=LATER)
    """The public checkpoint that the victim was fine-tuned from: a quarter of the references are, too."""
    checkpoints: tuple[Start, ...] = field(default=(), metadata=LATER)
    """Public checkpoints that nets of timm and torchvision begin with, wherever the zoo has them; the others begin with nothing."""
    step_gib: float = field(default=8.0, metadata=LATER)
    """GiB that one training step may take, as counted from the net's layers: a model whose batch would take more gets a smaller one."""

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
        check(len(dict(self.epochs)) == len(self.epochs), self, "epochs", "each architecture once")
        check(0 <= self.twins <= 999, self, "twins", "0 to 999")
        check(0 <= self.references <= 999, self, "references", "0 to 999")
        check(self.suspects_per_cell >= 1, self, "suspects_per_cell", "at least 1")
        check(self.encoder_per_role >= 2, self, "encoder_per_role", "at least 2 models a role")
        check(self.other_victims >= 0, self, "other_victims", "0 or more")
        check(self.look_alikes_per_victim >= 0, self, "look_alikes_per_victim", "0 or more")
        check(0 < self.data_fraction < 1, self, "data_fraction", "a number in (0, 1)")
        check(0 <= self.accuracy_floor < 1, self, "accuracy_floor", "a number in [0, 1)")
        check(0 <= self.recovery_floor < 1, self, "recovery_floor", "a number in [0, 1)")
        check(0 < self.step_gib < math.inf, self, "step_gib", "a positive number of GiB")
        for attack in filter(None, (self.extraction, self.second_attack)):
            check(not attack.architecture, attack, "architecture", '"": only an attack of [[zoo.thieves]] names its architecture')
        self._check_checkpoints()

    def _check_checkpoints(self) -> None:
        """One for a net that the zoo does not have would change nothing, without a word."""
        nets = [c.net for c in self.checkpoints]
        used = self.nets
        check(len(set(nets)) == len(nets), self, "checkpoints", "one a net")
        if unused := [n for n in nets if n not in used]:
            raise ConfigError(
                f"ZooConfig.checkpoints has one for {unused[0]}, which is none of this zoo's architectures ({', '.join(used)}); "
                f'expected it among them, as in zoo.architectures = ["{unused[0]}"]'
            )

    @property
    def nets(self) -> tuple[str, ...]:
        """Every architecture that it names, each once."""
        thieves = (t.architecture for t in self.thieves if t.architecture)
        return tuple(dict.fromkeys((self.victim_architecture, *self.architectures, *self.encoder_architectures, *thieves)))

    def checkpoint_of(self, architecture: str) -> Start | None:
        """What models of one architecture begin with; None for nothing."""
        return next((c for c in self.checkpoints if c.net == architecture), None)

    def training_of(self, architecture: str) -> TrainConfig:
        """The training of one architecture: ``training`` with its own number of epochs, and mirrored or not."""
        epochs = dict(self.epochs).get(architecture, self.training.epochs)
        mirror = self.training.mirror or architecture in self.mirrored
        return dataclasses.replace(self.training, epochs=epochs, mirror=mirror)


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
    """Victim's training points that it is crafted on; the fooling rate is measured on held-out ones."""
    max_steps: int = 150
    """Steps of the gradient method, or batches that DeepFool is run on."""
    batch_size: int = 128
    """Images in a step."""
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
    """Fingerprints of one model, each of other datapoints from the same clusters."""
    small_clusters: Literal["recluster", "error", "repeat"] = "recluster"
    """A cluster with fewer members than views: ``recluster`` sets its points aside and clusters the rest again
    (at most ten times); ``error`` stops; ``repeat`` takes its members more than once."""

    def __post_init__(self) -> None:
        check(1 <= self.points <= 10_000, self, "points", "N in 1 to 10,000")
        check(2 <= self.views <= 1_000, self, "views", "2 to 1,000")
        check(self.small_clusters in ("recluster", "error", "repeat"), self, "small_clusters", "recluster, error or repeat")


ENCODERS = ("paper", "paper-b", "hellinger", "autoencoder")


@dataclass(frozen=True)
class EncoderConfig:
    """The supervised-contrastive encoder (paper section 4.3, equation 7).

    ``name`` says which:

    - ``paper``: probabilities go in; the loss acts on the ``output``-wide layer, similarity is measured on the one before.
    - ``paper-b``: probabilities go in, and the loss acts on the layer on which similarity is measured: the other way to read the text.
    - ``hellinger``, ours: square roots of probabilities go in, and the loss acts on the layer on which similarity is measured
      (docs/decisions/0006).
    - ``autoencoder``: the paper's network trained without labels, to rebuild its input; for figure 11 only.
    """

    name: str = "paper"
    """paper, paper-b, hellinger or autoencoder."""
    hidden: tuple[int, int] = (50, 20)
    """Widths of the two hidden layers; similarity is measured on the second."""
    output: int = 4
    """Width of the last layer."""
    temperature: float = 0.2
    """Of the contrastive loss."""
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
    """Of the suspect's views, how many each test draws."""
    repeats: int = 30
    """Tests whose p-values are averaged."""
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
    control_questions: int = 100
    """Images of the victim's task at random, asked first: whether a suspect does it. Of a small pool, a fifth at most."""
    looks: tuple[int, ...] = (250, 500, 1000)
    """After how many questions the statistic is looked at; the last is how many there are, fewer if the pools hold fewer."""
    pool: int = 3000
    """Images of a family that every candidate and reference is asked, for the questions to be chosen from."""
    foreign: int = 1
    """Questions are shared among the families at hand as so many parts: images of another task (or textures) get this many."""
    log: int = 4
    """Parts for images that the victim was asked, if there is a query log."""
    natural: int = 3
    """Parts for images of the victim's task."""
    statistic: str = field(default="cosine", metadata=LATER)
    """What candidates are ranked by: the cosine of what a suspect and a candidate have apart from all others."""

    def __post_init__(self) -> None:
        check(0 < self.level < 0.5, self, "level", "a number in (0, 0.5)")
        check(1 <= self.control_questions <= 10_000, self, "control_questions", "1 to 10,000")
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
    """What runs, reports and kits call it; a changed recipe needs another."""
    dataset: str
    """digits, fashion-mnist, cifar10, tiny-imagenet or tiny-imagenet-50; any name for your own --data."""
    seed: int = 0
    """Decides all that chance decides: splits, weights, questions."""
    zoo: ZooConfig = field(default_factory=ZooConfig)
    """Which models are trained."""
    uap: UapConfig = field(default_factory=UapConfig)
    """The universal perturbation."""
    fingerprint: FingerprintConfig = field(default_factory=FingerprintConfig)
    """Datapoints and views of the paper's fingerprints."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The encoder that the paper's method judges by."""
    paper_encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The paper's own, which every audit by another encoder is also judged by."""
    verdict: VerdictConfig = field(default_factory=VerdictConfig)
    """The paper's decision."""
    twin_test: TwinTestConfig = field(default_factory=TwinTestConfig)
    """What a suspect is asked, and whom the verdict may accuse."""

    def __post_init__(self) -> None:
        check(
            bool(self.name) and self.name.isprintable() and len(self.name) <= LONGEST_NAME,
            self,
            "name",
            "a printable name of 1 to 200 characters",
        )
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
        """16 hex digits that change with any field; one that came later counts only where it says something."""
        return digest_of(stated(self))

    @property
    def run_name(self) -> str:
        """What its runs and folders are called unless the user says: its name; where that can be no file's name, the name's first words
        and a part of the digest."""
        if FILE_NAME.fullmatch(self.name):
            return self.name
        first = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name.partition(" with ")[0]).strip("-._")[:80]
        return f"{first or 'recipe'}-{self.digest[:8]}"


def check_views(recipe: Recipe) -> None:
    """The t-test draws ``verdict.fingerprints`` of the suspect's views: there must be that many."""
    drawn, views = recipe.verdict.fingerprints, recipe.fingerprint.views
    if drawn > views:
        raise ConfigError(
            f"VerdictConfig.fingerprints is {drawn}, but a suspect has only {views} (FingerprintConfig.views); "
            f"raise views to {drawn} or lower fingerprints to {views}"
        )
