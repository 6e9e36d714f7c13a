"""Bodies that come slowly take a place of those that work on requests: they have a least
rate, and a key has few of them at once."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from zooaudit.serving.problems import Refused

GRACE_S, LEAST = 5.0, 16 * 1024
"""After so long a body must come at so many bytes a second on the whole, and counts as a slow one."""
SLOW_AT_ONCE = 4
"""Of one key."""


class Upload:
    """One body that is being read."""

    def __init__(self, uploads: "Uploads", who: str, clock: Callable[[], float]) -> None:
        self._uploads, self._who, self._clock = uploads, who, clock
        self._since, self._slow = clock(), False

    def refuse_if_one_too_many(self) -> None:
        """After a part of it came.

        Raises:
            Refused: 429, it takes long, and its key has several that do already.
        """
        if not self._slow and self._clock() - self._since > GRACE_S:
            self._slow = self._uploads.take(self._who)

    def done(self) -> None:
        if self._slow:
            self._uploads.slow[self._who] -= 1


class Uploads:
    """Of all callers; for one thread."""

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
                f"{SLOW_AT_ONCE} at once",
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
            self.slow += Counter()  # without those that have none
