"""The statistics that a twin test may rank candidates by. Each treats all candidates alike; otherwise the
victim's rank would not give a p-value."""

from zooaudit.config import TwinTestConfig, check
from zooaudit.verdict.statistic import Comparison

COSINE = "cosine"
STATISTICS: dict[str, type[Comparison]] = {
    COSINE: Comparison,
}
"""By the name in a recipe's ``twin_test.statistic``."""


def check_statistic(config: TwinTestConfig) -> None:
    """Raises:
    ConfigError: the recipe names an unknown statistic.
    """
    check(config.statistic in STATISTICS, config, "statistic", f"one of {', '.join(STATISTICS)}")
