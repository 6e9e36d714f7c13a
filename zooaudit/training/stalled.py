"""A model whose training hangs ends its worker, so that the farm goes on: the queue then
treats it like one that crashed it."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zooaudit.telemetry.events import event_line
from zooaudit.zoo import heartbeat
from zooaudit.zoo.schedule import relative_cost
from zooaudit.zoo.spec import ModelSpec

STALL, STALL_S = "ZOOAUDIT_STALL_SECONDS", 1800.0
TIMES, MOST = 3.0, 4.0
"""A model may do nothing that is heard of for so many times as long as all of it is expected to take, since
some do much between two batches; but for no longer than so many times what every model may, for the
expectation can be far off."""
LOOK_S = 1.0
EXIT_CODE = 75


class Clock:
    """One worker's. How long a model should take is learnt from those that it has finished.

    Args:
        train_size: images of the training set, for the models' costs.
    """

    def __init__(self, train_size: int) -> None:
        self._train_size = train_size
        self._floor = float(os.environ.get(STALL) or STALL_S)
        self._cost, self._seconds = 0.0, 0.0

    @contextmanager
    def watching(self, spec: ModelSpec) -> Iterator[None]:
        """Ends this process if, in the block, nothing is heard of the training for too long."""
        over, begun = threading.Event(), time.monotonic()
        heartbeat.beat()
        threading.Thread(target=self._watch, args=(spec, over), name="stalled", daemon=True).start()
        try:
            yield
        finally:
            over.set()
        self._cost += relative_cost(spec, self._train_size)
        self._seconds += time.monotonic() - begun

    def patience_s(self, spec: ModelSpec) -> float:
        """Seconds without a sign after which a model is taken to hang. An owner's own procedure gives none,
        and has a limit of its own."""
        expected = relative_cost(spec, self._train_size) * self._seconds / self._cost if self._cost else 0.0
        own = 2 * spec.own_training.timeout_s if spec.own_training else 0.0
        return min(max(self._floor, TIMES * expected), MOST * self._floor) + own

    def _watch(self, spec: ModelSpec, over: threading.Event) -> None:
        patience = self.patience_s(spec)
        while not over.wait(min(LOOK_S, patience / 10)):
            if heartbeat.silent_s() > patience:
                print(
                    event_line("stalled", model=spec.id, silent_s=heartbeat.silent_s(), patience_s=patience),
                    flush=True,
                )
                os._exit(EXIT_CODE)
