"""The unanswered questions of one call, and what to do after a failure."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from zooaudit.errors import SuspectError
from zooaudit.suspects.deadlines import Halted
from zooaudit.suspects.outage import Trouble
from zooaudit.suspects.remote import Remote
from zooaudit.suspects.transport import Refusal

Item = tuple[str, int]
"""An image's name and its place."""

LOADING_S, LOADING_DOUBLINGS = 10.0, 5
"""While a model loads, it is asked again after at most this long, whatever its estimate, and progress is
reported; without an estimate the waits double this often."""


def silent(text: str) -> None:
    """The default: report nothing."""


@dataclass
class Asking:
    """The unanswered questions of one call, shared by the threads that ask them."""

    images: Tensor
    left: deque[Item]
    cancelled: Halted
    let_go: Halted
    stop: threading.Event = field(default_factory=threading.Event)
    interrupted: threading.Event = field(default_factory=threading.Event)
    trouble: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def halted(self) -> bool:
        return self.stop.is_set() or self.cancelled()

    def abandoned(self) -> bool:
        """Whether requests in flight are dropped too. A failure of another request is no reason: these are
        paid for."""
        return self.interrupted.is_set() or self.let_go()

    def take(self, count: int) -> list[Item]:
        with self.lock:
            return [self.left.popleft() for _ in range(min(count, len(self.left)))]

    def back(self, items: Sequence[Item]) -> None:
        with self.lock:
            self.left.extendleft(reversed(items))

    def fail(self, error: BaseException) -> None:
        with self.lock:
            self.trouble.append(error)
        self.stop.set()


class Tries:
    """How often and for how long one request was tried, and when to give up."""

    def __init__(self, remote: Remote, say: Callable[[str], None]) -> None:
        self._remote, self._say = remote, say
        self.failures = 0
        self._since, self._gives_up = time.monotonic(), time.time() + remote.patience_s

    def trouble(self, refusal: Refusal, wait_s: float) -> Trouble:
        """What to report about a failure after which there is a wait of ``wait_s``."""
        limit = 0 if refusal.loading else self._remote.retries + 1
        return Trouble(refusal.reason, self.failures, time.time() + wait_s, self._gives_up, limit)

    def wait_after(self, refusal: Refusal) -> float:
        """Seconds to leave the suspect alone before the next attempt, at least.

        Raises:
            SuspectError: it is time to give up.
        """
        remote, wait_s = self._remote, refusal.wait_s
        self.failures += 1
        elapsed = time.monotonic() - self._since
        if refusal.loading:
            if elapsed >= remote.patience_s:
                raise SuspectError(
                    f"{remote.shown} {refusal.reason}: its model was still loading after {elapsed:.0f} s"
                    f" (patience_s = {remote.patience_s:g}); answers so far are kept, repeat the command to"
                    " go on from there"
                )
            estimated = f", says for {wait_s:.0f} s" if wait_s else ""
            self._say(
                f"{remote.shown}: its model is loading{estimated}; waited {elapsed:.0f} of"
                f" {remote.patience_s:g} s so far"
            )
            return min(wait_s, LOADING_S, max(0.0, remote.patience_s - elapsed))
        if wait_s > remote.patience_s:
            raise SuspectError(
                f"{remote.shown} {refusal.reason} and asks for a pause of {wait_s:.0f} s; repeat the command"
                " then"
            )
        if self.failures > remote.retries or elapsed + wait_s > remote.patience_s:
            tried = f"{self.failures} times in {elapsed:.0f} s" + (
                f" ({refusal.message})" if refusal.message else ""
            )
            raise SuspectError(
                f"{remote.shown} {refusal.reason}, {tried}; answers so far are kept, repeat the command to go"
                " on from there"
            )
        return wait_s
