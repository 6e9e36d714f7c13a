"""Many reads or writes of a store in parallel: over a network most of the time is waiting."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_IN_PARALLEL = 16


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call ``work`` on every item, at most ``MOST_IN_PARALLEL`` at a time; results keep the items' order.

    The first error, in that order, is raised unchanged; items that have not begun by then are skipped.
    """
    with ThreadPoolExecutor(MOST_IN_PARALLEL) as pool:
        return list(pool.map(work, items))
