"""Model extraction: a substitute trained on the answers of a black-box victim. Each attack is one
function."""

from collections.abc import Callable

from torch import Tensor, nn

from zooaudit.compute import seeded
from zooaudit.config import Attack, ExtractConfig
from zooaudit.seeds import derive
from zooaudit.suspects.blackbox import BlackBox
from zooaudit.zoo.attacks.asking import Retrain, Thief
from zooaudit.zoo.attacks.chosen import distilling, knocking_off, stealing_actively
from zooaudit.zoo.attacks.crafted import crafting
from zooaudit.zoo.attacks.data_free import inventing
from zooaudit.zoo.attacks.defended import defended
from zooaudit.zoo.attacks.disagreement import disagreeing

ATTACKS: dict[Attack, Callable[[nn.Module, Thief], None]] = {
    "cloudleak": crafting,
    "jbda": crafting,
    "distill": distilling,
    "knockoff": knocking_off,
    "activethief": stealing_actively,
    "dfme": inventing,
    "disguide": disagreeing,
}


def extract(
    substitute: nn.Module,
    victim: BlackBox,
    images: Tensor,
    config: ExtractConfig,
    retrain: Retrain,
    precision: str = "auto",
    seed: int = 0,
) -> None:
    """Train ``substitute`` in place on the victim's answers.

    Args:
        images: uint8 ``[n, c, h, w]``, the attacker's unlabelled images, ``config.images_needed`` of them.
        victim: counts the queries, at most ``config.most_queries``. Its answers are changed by
            ``config.defence``.
        retrain: ``(images, targets, epochs, round)`` trains the substitute.
        precision: of the substitute's gradients, as in TrainConfig.
        seed: of the attack's random draws.

    Raises:
        DivergedError: the substitute's loss became NaN or infinite.
    """
    with seeded(derive(seed, "attack"), images.device):  # for dropout in attacks with their own training
        ATTACKS[config.attack](
            substitute, Thief(defended(victim, config), images, config, retrain, precision, seed)
        )
