"""The statistics that a twin test may rank candidates by. Each treats all candidates alike: only then is the
victim's rank a p-value."""

from zooaudit.config import TwinTestConfig, check
from zooaudit.verdict.statistic import Comparison

COSINE = "cosine"
STATISTICS: dict[str, type[Comparison]] = {
    COSINE: Comparison,
}
"""By the name that a recipe has in ``twin_test.statistic``."""


def check_statistic(config: TwinTestConfig) -> None:
    """Raises:
    ConfigError: the recipe names a statistic that there is not.
    """
    check(config.statistic in STATISTICS, config, "statistic", f"one of {', '.join(STATISTICS)}")
