"""A recipe: everything that determines an audit."""

import re
from dataclasses import dataclass, field

from zooaudit.config.basics import FILE_NAME, LONGEST_NAME, check, digest_of, stated
from zooaudit.config.paper import EncoderConfig, FingerprintConfig, UapConfig, VerdictConfig
from zooaudit.config.twins import TwinTestConfig
from zooaudit.config.zoo import ZooConfig
from zooaudit.errors import ConfigError


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
                not unknown,
                used,
                "architectures",
                f"some of the zoo's encoder_architectures, {', '.join(self.zoo.encoder_architectures)}",
            )
        check_views(self)

    @property
    def digest(self) -> str:
        """16 hex digits that change with any field; a newer field counts only if it is not at its
        default."""
        return digest_of(stated(self))

    @property
    def run_name(self) -> str:
        """The default name of its runs and folders: its name; if that is not a valid file name, the name's
        first words and a part of the digest."""
        if FILE_NAME.fullmatch(self.name):
            return self.name
        first = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name.partition(" with ")[0]).strip("-._")[:80]
        return f"{first or 'recipe'}-{self.digest[:8]}"


def check_views(recipe: Recipe) -> None:
    """Check that there are as many views as the t-test draws, ``verdict.fingerprints``."""
    drawn, views = recipe.verdict.fingerprints, recipe.fingerprint.views
    if drawn > views:
        raise ConfigError(
            f"VerdictConfig.fingerprints is {drawn}, but a suspect has only {views}"
            f" (FingerprintConfig.views); raise views to {drawn} or lower fingerprints to {views}"
        )
