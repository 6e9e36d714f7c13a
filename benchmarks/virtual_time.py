"""Threads in virtual time: exactly one runs at any moment, and ``sleep`` takes no real seconds. Real code,
which knows nothing of it, runs in them as it is."""

import heapq
import itertools
import threading
from collections.abc import Callable


class Ended(BaseException):
    """A thread was killed while it slept."""


class Thread:
    """One that runs when the clock says so."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.turn, self.killed, self.over = threading.Semaphore(0), False, False
        self.run = run


class Clock:
    """Seconds since the start, and who wakes when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._back = threading.Semaphore(0)
        self._sleepers: list[tuple[float, int, Thread]] = []
        self._number = itertools.count()
        self._own = threading.local()
        self._error: BaseException | None = None

    def start(self, run: Callable[[], None], after: float = 0.0) -> Thread:
        """A new thread, which begins ``after`` so many seconds."""
        thread = Thread(run)

        def whole() -> None:
            self._own.thread = thread
            thread.turn.acquire()
            try:
                if not thread.killed:
                    run()
            except Ended:
                pass  # it was killed: nothing of it is left to do
            except BaseException as error:  # noqa: BLE001  raised where the clock is run
                self._error = error
            finally:
                thread.over = True
                self._back.release()

        threading.Thread(target=whole, daemon=True).start()
        self._wake(thread, self.now + after)
        return thread

    def sleep(self, seconds: float) -> None:
        """Of the thread that calls it.

        Raises:
            Ended: it was killed meanwhile.
        """
        thread: Thread = self._own.thread
        self._wake(thread, self.now + seconds)
        self._back.release()
        thread.turn.acquire()
        if thread.killed:
            raise Ended

    @property
    def inside(self) -> bool:
        """Whether the caller is one of its threads."""
        return hasattr(self._own, "thread")

    def kill(self, thread: Thread) -> None:
        """It does nothing any more, from now on."""
        thread.killed = True
        if not thread.over:
            self._wake(thread, self.now)

    def run(self) -> float:
        """Until nobody sleeps any more; returns the time. What a thread raises is raised here."""
        while self._sleepers:
            at, _, thread = heapq.heappop(self._sleepers)
            if thread.over:
                continue
            self.now = max(self.now, at)
            thread.turn.release()
            self._back.acquire()
            if self._error:
                raise self._error
        return self.now

    def _wake(self, thread: Thread, at: float) -> None:
        heapq.heappush(self._sleepers, (at, next(self._number), thread))


class Server:
    """One that serves one caller after the other, as an actor does."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._free = clock, 0.0
        self.busy = 0.0

    def serve(self, seconds: float) -> None:
        """Wait for one's turn, and for being served."""
        self._free = max(self._free, self._clock.now) + seconds
        self.busy += seconds
        self._clock.sleep(self._free - self._clock.now)
