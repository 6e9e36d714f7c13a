"""A model whose training hangs ends its worker, so that the farm continues: the queue then treats it as a
model that crashed its worker."""

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
"""A model may be silent for this multiple of its expected training time, since some do much between two
batches; but for at most this multiple of the minimum, since the expectation can be far off."""
LOOK_S = 1.0
EXIT_CODE = 75


class Clock:
    """One worker's clock. It learns how long models take from those that it has finished.

    Args:
        train_size: images of the training set, for the models' costs.
    """

    def __init__(self, train_size: int) -> None:
        self._train_size = train_size
        self._floor = float(os.environ.get(STALL) or STALL_S)
        self._cost, self._seconds = 0.0, 0.0

    @contextmanager
    def watching(self, spec: ModelSpec) -> Iterator[None]:
        """During the block, end this process if training is silent for too long."""
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
        """Seconds of silence after which a model counts as hanging. An owner's own procedure does not report,
        and has its own time limit."""
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
