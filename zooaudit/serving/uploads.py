"""Slow uploads block worker threads: they must keep a minimum rate, and a key may have only a few at a
time."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from zooaudit.serving.problems import Refused

GRACE_S, LEAST = 5.0, 16 * 1024
"""After this time a body must have arrived at this average rate, in bytes a second, and counts as slow."""
SLOW_AT_ONCE = 4
"""The most slow uploads of one key."""


class Upload:
    """A body that is being read."""

    def __init__(self, uploads: "Uploads", who: str, clock: Callable[[], float]) -> None:
        self._uploads, self._who, self._clock = uploads, who, clock
        self._since, self._slow = clock(), False

    def refuse_if_one_too_many(self) -> None:
        """Check after a part has arrived.

        Raises:
            Refused: 429, it is slow, and its key already has its maximum of slow bodies.
        """
        if not self._slow and self._clock() - self._since > GRACE_S:
            self._slow = self._uploads.take(self._who)

    def done(self) -> None:
        if self._slow:
            self._uploads.slow[self._who] -= 1


class Uploads:
    """The uploads of all callers; for one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.slow: Counter[str] = Counter()

    def take(self, who: str) -> bool:
        """Raises:
        Refused: there are too many.
        """
        if self.slow[who] >= SLOW_AT_ONCE:
            found = f"{self.slow[who]} that take longer than {GRACE_S:g} s"
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "this key sends several slow bodies already",
                found,
                f"{SLOW_AT_ONCE} at a time",
            )
        self.slow[who] += 1
        return True

    @contextmanager
    def of(self, who: str) -> Iterator[Upload]:
        upload = Upload(self, who, self._clock)
        try:
            yield upload
        finally:
            upload.done()
            self.slow += Counter()  # removes keys whose count is 0
