"""The audits that wait: who comes next. No key keeps the others from being asked, however
many audits it has."""

import threading
import time
from collections import Counter
from dataclasses import dataclass

HELD_BACK_S = 300.0
"""For so long all others go before an audit that is suspected."""


class Later(Exception):
    """An audit cannot go on now, through no fault of its own: why, in words for callers, after how many
    seconds it is tried again, and for which other audit it waits; "" for none."""

    def __init__(self, why: str, seconds: float, for_: str = "") -> None:
        super().__init__(why)
        self.why, self.seconds, self.for_ = why, seconds, for_


@dataclass(frozen=True)
class Waiting:
    """An audit in the queue.

    Attributes:
        by: whose it is.
        at: not before this, of the monotonic clock.
        suspected: whether the service ended while it was under way: such audits run one at a time, so that
            one that ends it again does not count against the others.
    """

    id: str
    by: str
    at: float = 0.0
    suspected: bool = False


class AuditQueue:
    """For many threads.

    Args:
        most_of_one: audits of one key that are under way at once.
    """

    def __init__(self, most_of_one: int) -> None:
        self._most = most_of_one
        self._changed = threading.Condition()
        self._waiting: list[Waiting] = []
        self._running: dict[str, Waiting] = {}
        self._last: dict[str, float] = {}
        self._closed = False

    def put(self, one: Waiting) -> None:
        """At the end of its key's."""
        with self._changed:
            self._waiting.append(one)
            self._changed.notify_all()

    def take(self) -> Waiting | None:
        """The next one, of the key that has the fewest under way and was served longest ago; waits for one.
        None once it is closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if found := self._next(now):
                    self._waiting.remove(found)
                    self._running[found.id], self._last[found.by] = found, now
                    return found
                soonest = min((w.at for w in self._waiting if w.at > now), default=now + 60.0)
                self._changed.wait(soonest - now)
        return None

    def _next(self, now: float) -> Waiting | None:
        of_key = Counter(r.by for r in self._running.values())
        one_suspected = any(r.suspected for r in self._running.values())
        free = [
            w
            for w in self._waiting
            if w.at <= now
            and w.id not in self._running
            and of_key[w.by] < self._most
            and not (w.suspected and one_suspected)
        ]
        return min(
            free,
            key=lambda w: (w.suspected and now - w.at < HELD_BACK_S, of_key[w.by], self._last.get(w.by, 0.0)),
            default=None,
        )

    def under_way(self) -> list[Waiting]:
        """Those that were taken and are not done."""
        with self._changed:
            return list(self._running.values())

    def done(self, id_: str) -> None:
        """It is no longer under way."""
        with self._changed:
            self._running.pop(id_, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Give nobody anything any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
