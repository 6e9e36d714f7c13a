"""The queue of waiting audits. No key can keep the others waiting, however many audits it has."""

import threading
import time
from collections import Counter
from dataclasses import dataclass

HELD_BACK_S = 300.0
"""How long an interrupted audit waits for all others to go first."""


class Later(Exception):
    """An audit cannot continue now, through no fault of its own: the reason for callers, the seconds until
    the next attempt, and the audit that it waits for, "" for none."""

    def __init__(self, why: str, seconds: float, for_: str = "") -> None:
        super().__init__(why)
        self.why, self.seconds, self.for_ = why, seconds, for_


@dataclass(frozen=True)
class QueuedAudit:
    """An audit in the queue.

    Attributes:
        owner: the key that asked for it.
        not_before: earliest start, by the monotonic clock.
        interrupted: whether the service ended while the audit ran. Such audits run one at a time, so that one
            that ends the service again does not count against the others.
    """

    id: str
    owner: str
    not_before: float = 0.0
    interrupted: bool = False


class AuditQueue:
    """A queue for many threads.

    Args:
        most_of_one: how many audits of one key may run at the same time.
    """

    def __init__(self, most_of_one: int) -> None:
        self._most = most_of_one
        self._changed = threading.Condition()
        self._waiting: list[QueuedAudit] = []
        self._running: dict[str, QueuedAudit] = {}
        self._last: dict[str, float] = {}
        self._closed = False

    def put(self, one: QueuedAudit) -> None:
        """Put an audit at the end of its key's queue."""
        with self._changed:
            self._waiting.append(one)
            self._changed.notify_all()

    def take(self) -> QueuedAudit | None:
        """Wait for the next audit: of the key with the fewest running, and among these of the one served
        longest ago. None once the queue is closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if found := self._next(now):
                    self._waiting.remove(found)
                    self._running[found.id], self._last[found.owner] = found, now
                    return found
                soonest = min((w.not_before for w in self._waiting if w.not_before > now), default=now + 60.0)
                self._changed.wait(soonest - now)
        return None

    def _next(self, now: float) -> QueuedAudit | None:
        of_key = Counter(r.owner for r in self._running.values())
        one_interrupted = any(r.interrupted for r in self._running.values())
        free = [
            w
            for w in self._waiting
            if w.not_before <= now
            and w.id not in self._running
            and of_key[w.owner] < self._most
            and not (w.interrupted and one_interrupted)
        ]
        return min(
            free,
            key=lambda w: (
                w.interrupted and now - w.not_before < HELD_BACK_S,
                of_key[w.owner],
                self._last.get(w.owner, 0.0),
            ),
            default=None,
        )

    def under_way(self) -> list[QueuedAudit]:
        """Audits that were taken and are not done."""
        with self._changed:
            return list(self._running.values())

    def done(self, id_: str) -> None:
        """Mark an audit as no longer running."""
        with self._changed:
            self._running.pop(id_, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Stop handing out audits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
