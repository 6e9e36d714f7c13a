"""Backoff: tries what may succeed, waits within its bounds, and ends at the deadline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooaudit.storage.retry import Backoff


class World:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def backoff(world: World, dice: float = 1.0, **changes: float) -> Backoff:
    return Backoff(
        **({"deadline_s": 60.0} | changes), clock=lambda: world.now, sleep=world.sleep, dice=lambda: dice
    )


def fails(times: int, world: World | None = None, cost: float = 0.0):  # type: ignore[no-untyped-def]
    def attempt(number: int) -> int:
        if world:
            world.now += cost
        if number < times:
            raise TimeoutError(number)
        return number

    return attempt


def test_success_at_once_waits_for_nothing() -> None:
    world = World()
    assert backoff(world).call(fails(0), lambda _: True) == 0
    assert world.waits == []


def test_waits_double_up_to_the_longest() -> None:
    world = World()
    tried = backoff(world, first_s=1, longest_s=5)
    assert tried.call(fails(5), lambda _: True) == 5
    assert world.waits == [1, 2, 4, 5, 5]
    assert tried.retries == 5


def test_other_errors_are_raised_at_once() -> None:
    world = World()
    with pytest.raises(TimeoutError):
        backoff(world).call(fails(1), lambda error: isinstance(error, ValueError))
    assert world.waits == []


@given(deadline=st.floats(0.1, 50), dice=st.floats(0, 1), cost=st.floats(0.01, 5))
def test_the_deadline_is_kept(deadline: float, dice: float, cost: float) -> None:
    world = World()
    with pytest.raises(TimeoutError):
        backoff(world, dice, deadline_s=deadline).call(fails(10**6, world, cost), lambda _: True)
    assert world.now <= deadline + cost, "an attempt began after the deadline"


def test_the_last_error_is_the_one_raised() -> None:
    with pytest.raises(TimeoutError) as caught:
        backoff(World(), deadline_s=7, first_s=1).call(fails(10**6), lambda _: True)
    assert caught.value.args[0] == 3  # after 1 + 2 + 4 seconds
