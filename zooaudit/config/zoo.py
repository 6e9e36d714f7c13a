"""The zoo: which models an audit trains."""

import dataclasses
import math
from dataclasses import dataclass, field

from zooaudit.config.basics import LATER, OPTIMISERS, Optimiser, check
from zooaudit.config.thieves import ExtractConfig, ModifyConfig
from zooaudit.config.training import Start, TrainConfig
from zooaudit.errors import ConfigError


@dataclass(frozen=True)
class ZooConfig:
    """Which models the zoo holds (paper section 5.1 and table 1)."""

    victim_architecture: str = "A"
    """Architecture of the victim (unless it is your own), of its twins, and of the strangers' models that
    look-alikes are extracted from."""
    twins: int = 19
    """Models trained as the victim was, with other seeds. The victim is ranked among them: m twins give
    p-values of 1 / (m + 1) and more."""
    references: int = 32
    """Models trained by other procedures than the victim's; none is made from it or from a twin. Half are
    nets of other kinds than the zoo's, three in ten are extracted from strangers' models."""
    architectures: tuple[str, ...] = ("B", "C", "D", "E")
    """Architectures of the suspects. Each comes with every optimiser, extracted from the victim and trained
    independently."""
    optimisers: tuple[Optimiser, ...] = OPTIMISERS
    """Optimisers of the suspects; the first is the victim's."""
    batch_sizes: tuple[int, ...] = (64, 128, 256)
    """Images in a batch; each model draws one of these."""
    suspects_per_cell: int = 1
    """Extracted suspects, and as many independent ones, for each architecture and optimiser."""
    encoder_architectures: tuple[str, ...] = ("E",)
    """Architectures of the models that the encoder learns from, taken in turn; the paper has one."""
    encoder_per_role: int = 5
    """The encoder learns from this many models extracted from the victim and as many independent ones."""
    other_victims: int = 2
    """Number of strangers' models that look-alikes are extracted from."""
    look_alikes_per_victim: int = 4
    """Look-alikes extracted from each of the strangers' models: innocent, though made like a stolen model."""
    taken: tuple[ModifyConfig, ...] = ()
    """Changes to the victim's own weights; each adds one stolen suspect. Not used with your own victim."""
    data_fraction: float = 0.5
    """Share of the training images that each model is trained on; each model draws its own."""
    training: TrainConfig = field(default_factory=TrainConfig)
    """How each model is trained."""
    epochs: tuple[tuple[str, int], ...] = ()
    """Epochs for named architectures, where they differ from ``training.epochs``."""
    mirrored: tuple[str, ...] = ()
    """Architectures trained with ``mirror``. It pays for those that train long, if a mirrored image keeps its
    class."""
    widths: tuple[int, ...] = (16, 32)
    """Channels of the convolutions of A to E, in equal shares: (16, 32) over four convolutions is 16, 16, 32,
    32. For torchvision's nets the first number is the base width, 64 as published."""
    hidden: int = 256
    """Width of the hidden layer of A to E; torchvision's nets have none."""
    extraction: ExtractConfig = field(default_factory=ExtractConfig)
    """The attack that extracted models are made by."""
    thieves: tuple[ExtractConfig, ...] = field(default=(), metadata=LATER)
    """More attacks on the victim; each adds one stolen suspect."""
    second_attack: ExtractConfig | None = None
    """If set, this attack makes about every third extracted model: suspects, look-alikes, and models that
    train the encoder."""
    accuracy_floor: float = 0.80
    """A model whose test accuracy is lower did not learn, and enters no statistic. References of other kinds
    need half of it; your own victim must reach it."""
    recovery_floor: float = 0.90
    """The same for extracted models: their accuracy divided by that of the model that they are extracted
    from."""
    start: Start | None = field(default=None, metadata=LATER)
    """The public checkpoint that the victim was fine-tuned from; a quarter of the references are then
    fine-tuned from it too."""
    checkpoints: tuple[Start, ...] = field(default=(), metadata=LATER)
    """Public checkpoints that nets of timm and torchvision in the zoo begin with; nets without one are
    trained from scratch."""
    step_gib: float = field(default=8.0, metadata=LATER)
    """GiB of memory that one training step may take, estimated from the net's layers. A model whose batch
    would take more gets a smaller batch."""

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
            check(
                not attack.architecture,
                attack,
                "architecture",
                '"": only an attack of [[zoo.thieves]] names its architecture',
            )
        self._check_checkpoints()

    def _check_checkpoints(self) -> None:
        """Refuse a checkpoint for a net that the zoo does not have, since it would silently change
        nothing."""
        nets = [c.net for c in self.checkpoints]
        used = self.nets
        check(len(set(nets)) == len(nets), self, "checkpoints", "one a net")
        if unused := [n for n in nets if n not in used]:
            raise ConfigError(
                f"ZooConfig.checkpoints has one for {unused[0]}, which is not one of this zoo's architectures"
                f" ({', '.join(used)}); "
                f'expected it among them, as in zoo.architectures = ["{unused[0]}"]'
            )

    @property
    def nets(self) -> tuple[str, ...]:
        """Every architecture that the zoo names, each once."""
        thieves = (t.architecture for t in self.thieves if t.architecture)
        return tuple(
            dict.fromkeys(
                (self.victim_architecture, *self.architectures, *self.encoder_architectures, *thieves)
            )
        )

    def checkpoint_of(self, architecture: str) -> Start | None:
        """The checkpoint that models of an architecture begin with; None without one."""
        return next((c for c in self.checkpoints if c.net == architecture), None)

    def training_of(self, architecture: str) -> TrainConfig:
        """The training of one architecture: ``training`` with its own number of epochs, and
        mirrored or not."""
        epochs = dict(self.epochs).get(architecture, self.training.epochs)
        mirror = self.training.mirror or architecture in self.mirrored
        return dataclasses.replace(self.training, epochs=epochs, mirror=mirror)
