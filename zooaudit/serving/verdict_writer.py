"""Send scores in groups to where they are stored."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

MOST, MOST_BYTES = 64, 32 * 2**20
"""The most scores in one call, and bytes of their answers; a single score may be larger."""
Arguments = tuple[str, dict[str, Any], dict[str, Any], bytes]
"""The arguments of ``Verdicts.keep``."""
Send = Callable[[list[Arguments]], Awaitable[list[str | Exception]]]


@dataclass(frozen=True)
class PendingVerdict:
    """A score in the queue, and the future for its id."""

    arguments: Arguments
    id: "asyncio.Future[str]"


class VerdictWriter:
    """While one call is running, the next scores gather, and go together. A call costs more than its work, so
    the slower the store, the fewer calls; and no score waits for others to come.

    Args:
        send: ``Verdicts.keep_all``, wherever it runs.
    """

    def __init__(self, send: Send) -> None:
        self._send, self._line = send, deque[PendingVerdict]()
        self._sending: asyncio.Task[None] | None = None

    async def keep(self, arguments: Arguments) -> str:
        """Store a score; returns its id.

        Raises:
            Exception: what ``send`` raises, or returns for this score.
        """
        one = PendingVerdict(arguments, asyncio.get_running_loop().create_future())
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
                if one.id.done():  # the caller stopped waiting
                    continue
                if isinstance(result, Exception):
                    one.id.set_exception(result)
                else:
                    one.id.set_result(result)

    def _next(self) -> list[PendingVerdict]:
        batch: list[PendingVerdict] = []
        size = 0
        while self._line and len(batch) < MOST and size < MOST_BYTES:
            one = self._line.popleft()
            if not one.id.done():
                batch.append(one)
                size += len(one.arguments[-1])
        return batch
