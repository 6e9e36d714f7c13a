"""Scores on their way to where they are kept: together where that is slow, each with its own id or error."""

import asyncio
from typing import Any

import pytest

from zooaudit.errors import NotWrittenError
from zooaudit.serving.verdict_writer import MOST, MOST_BYTES, Arguments, VerdictWriter


def score(name: str, size: int = 1) -> Arguments:
    return name, {}, {}, b"x" * size


class Place:
    """Where scores are kept: slow, and it remembers what came together."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.open = asyncio.Event()

    async def send(self, scores: list[Arguments]) -> list[str | Exception]:
        self.calls.append([name for name, *_ in scores])
        await self.open.wait()
        if any(name == "breaks" for name, *_ in scores):
            raise RuntimeError("it does not answer")
        return [NotWrittenError("no room") if name == "full" else f"id of {name}" for name, *_ in scores]


async def asked(*scores: Arguments, wait_s: float = 5) -> tuple[Place, list[Any]]:
    """All at once; the place answers when all of them wait."""
    place = Place()
    keeper = VerdictWriter(place.send)
    waiting = [asyncio.create_task(keeper.keep(one)) for one in scores]
    await asyncio.sleep(0.01)
    place.open.set()
    return place, await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), wait_s)


def test_who_comes_while_a_call_is_under_way_goes_together() -> None:
    place, ids = asyncio.run(asked(*(score(str(i)) for i in range(MOST + 3))))
    assert ids == [f"id of {i}" for i in range(MOST + 3)]
    assert [len(call) for call in place.calls] == [MOST, 3] and [
        name for call in place.calls for name in call
    ] == [str(i) for i in range(MOST + 3)]


def test_a_call_has_no_more_bytes_than_it_may() -> None:
    place, _ = asyncio.run(asked(*(score(str(i), MOST_BYTES // 2) for i in range(5))))
    assert [len(call) for call in place.calls] == [2, 2, 1]


def test_each_has_its_own_error() -> None:
    _, found = asyncio.run(asked(score("a"), score("full"), score("b")))
    assert found[0] == "id of a" and isinstance(found[1], NotWrittenError) and found[2] == "id of b"


def test_a_call_that_breaks_is_an_error_for_all_of_it_and_the_next_goes_on() -> None:
    async def twice() -> None:
        place = Place()
        place.open.set()
        keeper = VerdictWriter(place.send)
        found = await asyncio.gather(
            *(keeper.keep(score(name)) for name in ("a", "breaks")), return_exceptions=True
        )
        assert [str(error) for error in found] == ["it does not answer"] * 2
        assert await keeper.keep(score("c")) == "id of c"

    asyncio.run(twice())


def test_who_waits_no_longer_is_not_sent() -> None:
    async def impatient() -> None:
        place = Place()
        keeper = VerdictWriter(place.send)
        first = asyncio.create_task(keeper.keep(score("first")))
        await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(keeper.keep(score("gone")), 0.01)
        last = asyncio.create_task(keeper.keep(score("last")))
        await asyncio.sleep(0.01)
        place.open.set()
        assert await first == "id of first" and await last == "id of last"
        assert place.calls == [["first"], ["last"]]

    asyncio.run(impatient())
