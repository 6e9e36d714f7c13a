"""Many reads or writes of a store at once: over a network most of the time is waiting."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 16


def at_once(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``work`` on every item, at most ``AT_ONCE`` at a time; results in the order of the items.

    The first error, in that order, is raised as it is; what has not begun by then is not begun.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))
