"""Scores on their way to where they are kept."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

MOST, MOST_BYTES = 64, 32 * 2**20
"""Scores that one call keeps, and their answers; a single score may be larger."""
Arguments = tuple[str, dict[str, Any], dict[str, Any], bytes]
"""Of ``Verdicts.keep``."""
Send = Callable[[list[Arguments]], Awaitable[list[str | Exception]]]


@dataclass(frozen=True)
class Waiting:
    """A score in line, and where its id is waited for."""

    arguments: Arguments
    id: "asyncio.Future[str]"


class VerdictWriter:
    """While one call is under way the next scores gather, and go together. A call costs more than what it
    does: so there are as few as the other side is slow, and no score waits for others to come.

    Args:
        send: ``Verdicts.keep_all``, wherever it is.
    """

    def __init__(self, send: Send) -> None:
        self._send, self._line = send, deque[Waiting]()
        self._sending: asyncio.Task[None] | None = None

    async def keep(self, arguments: Arguments) -> str:
        """The id of a score.

        Raises:
            Exception: as ``send`` raises, or gives for this score.
        """
        one = Waiting(arguments, asyncio.get_running_loop().create_future())
        self._line.append(one)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        return await one.id

    async def _send_all(self) -> None:
        while batch := self._next():
            try:
                found = await self._send([one.arguments for one in batch])
            except Exception as error:  # noqa: BLE001  raised to each who waits
                found = [error] * len(batch)
            for one, result in zip(batch, found, strict=True):
                if one.id.done():  # it waited no longer
                    continue
                if isinstance(result, Exception):
                    one.id.set_exception(result)
                else:
                    one.id.set_result(result)

    def _next(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size = 0
        while self._line and len(batch) < MOST and size < MOST_BYTES:
            one = self._line.popleft()
            if not one.id.done():
                batch.append(one)
                size += len(one.arguments[-1])
        return batch
