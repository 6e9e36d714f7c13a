"""Audits that run in the background: the service asks a suspect itself. Whatever is under
way goes on after a restart."""

import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Any

from zooaudit.backoff import doubled_s
from zooaudit.config import digest_of
from zooaudit.errors import (
    DamagedArtifactError,
    FormatError,
    MissingArtifactError,
    NotWrittenError,
    RepeatedError,
    StoppedError,
    StoreError,
    SuspectError,
    ZooauditError,
)
from zooaudit.kits.kit import read_kit
from zooaudit.serving.audit_queue import AuditQueue, Later, Waiting
from zooaudit.serving.audit_records import (
    CANCELLED,
    DONE,
    FAILED,
    MOST_LISTED,
    OPEN,
    QUEUED,
    AuditRecords,
)
from zooaudit.serving.audit_requests import AuditRequest
from zooaudit.serving.audit_run import AuditRun, Ledgers
from zooaudit.serving.kit_source import KitSource
from zooaudit.serving.settings import Settings
from zooaudit.serving.spending import Limits
from zooaudit.serving.verdicts import Verdicts
from zooaudit.telemetry.metrics import SERVICE_AUDITS, record

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Audits that run at once; the others wait."""
OF_A_KEY = AT_ONCE - 1
"""Audits of one API key that run at once."""
STARTS = 3
"""An audit that did not get on in so many starts, because the service ended each time, is
not started again."""
LONGEST_S = 60.0
"""Longest wait before an audit is tried again when its store or disk is away. The wait doubles each time."""
ENDING_S = 3.0
"""At the end of the service, seconds to wait for queries that are under way, since they are charged."""
TOO_OFTEN = (
    f"it was started {STARTS} times, and each time the service ended before another answer had come: it takes"
    " too much memory, say. It is not started again; ask for it with a smaller batch, or with a simpler"
    " request and answers, or have a look at the service's log"
)
ENDED = Later("", 0.0)
"""Nothing to try again: the audit was cancelled, or the service ends."""


class Auditor:
    """Runs audits one by one or a few at once; made once for a service.

    Args:
        settings: ``data`` must be set.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.data is not None
        self._settings = settings
        self._records = AuditRecords(settings.data / "audits.sqlite")
        self._verdicts = Verdicts(settings.data, self._records)
        self._source = KitSource(settings.store)
        self._limits = Limits(settings, self._records)
        self._ledgers = Ledgers(settings.data / "ledgers")
        self._queue = AuditQueue(OF_A_KEY)
        self._stopped: dict[str, threading.Event] = {}
        self._waits: dict[str, int] = {}
        self._closing, self._closed_at = threading.Event(), 0.0
        self._entering = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"audit-{i}", daemon=True) for i in range(AT_ONCE)
        ]
        for audit in self._records.open():
            self._start(audit["id"], audit["by"], suspected=audit["starts"] > 0)
        for thread in self._threads:
            thread.start()

    def submit(self, by: str, asked: dict[str, Any], once: str = "") -> dict[str, Any]:
        """Take an audit on; of a request that was sent before, give the audit that came of
        it, with ``replayed``.

        Args:
            asked: ``kit``, ``suspect`` (settings of :class:`~zooaudit.suspects.remote.Remote`), maybe
                ``level``, ``access``, ``budget``, ``queries``, ``p_value``, ``suspect_classes``,
                ``ask_everything``, ``fresh``.
            once: the key by which its caller knows this request.

        Raises:
            RepeatedError: the caller gave that key to another request.
            InputError: it cannot be done, and why.
            LimitError: its key has as much under way, or has spent as much, as it may.
            StoreError: no such kit, or the store does not answer; ``NotWrittenError``:
                there is no room to write it down.
        """
        body = digest_of(asked)
        if before := self._sent_before(by, once, body):
            return before
        self._limits.refuse_if_many(by)
        artifact = self._source.kit(asked["kit"])
        kit = read_kit(artifact)
        request = AuditRequest.of(asked, kit, self._settings.suspects)
        self._limits.check(by, request.host, 1)
        level = kit.twin_test.level if request.settings.level is None else request.settings.level
        with self._entering:  # of many that are sent at once each saw few
            if before := self._sent_before(by, once, body):
                return before
            self._limits.refuse_if_many(by)
            id_ = self._records.enter(by, artifact.id, asked | {"level": level}, once, body)
        self._start(id_, by)
        return self.get(id_) or {}

    def _sent_before(self, by: str, once: str, body: str) -> dict[str, Any] | None:
        """The audit that came of the same request."""
        known = self._records.known(by, once) if once else None
        if known is None:
            return None
        id_, of = known
        if of != body:
            raise RepeatedError(
                f"this Idempotency-Key belongs to the audit {id_}, asked for with another body; give each"
                " request a key of its own"
            )
        return (self.get(id_) or {}) | {"replayed": True}

    def get(self, id_: str) -> dict[str, Any] | None:
        """How far an audit is; None if there is none of that id."""
        found = self._records.get(id_)
        return self._with_waiting_reason(found) if found else None

    def all(
        self, by: str | None, state: str = "", limit: int = MOST_LISTED, after: Sequence[Any] | None = None
    ) -> list[dict[str, Any]]:
        """As :meth:`AuditRecords.by`: audits of one caller, or of all."""
        return [self._with_waiting_reason(audit) for audit in self._records.by(by, state, limit, after)]

    def _with_waiting_reason(self, audit: dict[str, Any]) -> dict[str, Any]:
        """Say why a queued audit waits: for other audits of its key, or for those of all keys."""
        if audit["state"] != QUEUED or "waiting" in audit["progress"]:
            return audit
        running = self._queue.under_way()
        own = sorted(w.id for w in running if w.by == audit["by"] and w.id != audit["id"])
        if len(own) >= OF_A_KEY:
            text = (
                f"{len(own)} other audits of this key are under way, as many as may be at once:"
                f" {', '.join(own)}"
            )
        elif len(running) >= AT_ONCE:
            text = f"{len(running)} audits are under way, as many as this service runs at once"
        else:
            return audit
        return audit | {"progress": audit["progress"] | {"waiting": text}}

    def kept(self, method: str, *args: Any) -> Any:
        """Call a method of the store of verdicts, which lives where the audits do."""
        return getattr(self._verdicts, method)(*args)

    def cancel(self, id_: str) -> dict[str, Any] | None:
        """Stop an audit; answers so far stay in its ledger."""
        if stopped := self._stopped.get(id_):
            stopped.set()
        self._records.note(id_, state=CANCELLED)
        return self.get(id_)

    def close(self) -> None:
        """Wait for the answers that are under way, for ``ENDING_S`` at most. Audits go on
        at the next start."""
        self._closed_at = time.monotonic()
        self._closing.set()
        self._queue.close()
        for thread in self._threads:
            thread.join()
        self._verdicts.close()
        self._records.close()

    def _start(self, id_: str, by: str, seconds: float = 0.0, suspected: bool = False) -> None:
        self._stopped.setdefault(id_, threading.Event())
        self._queue.put(Waiting(id_, by, time.monotonic() + seconds, suspected))

    def _work(self) -> None:
        while one := self._queue.take():
            again: Later | None = None
            try:
                again = self._run(one.id)
            except Exception:
                log.exception("audit %s", one.id)
                again = Later("the service's data cannot be read or written", self._longer(one.id))
            finally:
                self._queue.done(one.id)
            if again and not self._closing.is_set():
                self._start(one.id, one.by, again.seconds, one.suspected)

    def _run(self, id_: str) -> Later | None:
        """One audit, to its end, or until it has to be tried again."""
        audit, stopped = self._records.get(id_), self._stopped[id_]
        again: Later | None = None
        if audit and audit["state"] in OPEN and not stopped.is_set():
            again = self._attempt(id_, audit, stopped)
        if again:
            self._records.wait(id_, again.why, again.for_)
        if again and again is not ENDED:
            return again
        self._waits.pop(id_, None)
        if (ended := self._records.get(id_)) and ended["state"] not in OPEN:
            self._stopped.pop(id_, None)
            record(SERVICE_AUDITS, state=ended["state"])
        return None

    def _attempt(self, id_: str, audit: dict[str, Any], stopped: threading.Event) -> Later | None:
        """Run an audit once and write down what came of it. Returns a Later if it has to be tried again."""
        again: Later | None = None
        try:
            if self._records.begin(id_) > STARTS:
                raise SuspectError(TOO_OFTEN)
            result = self._carried_out(id_, audit, stopped).result()
        except StoppedError:
            # Neither cancelled nor at the service's end: its key's time is up.
            if not stopped.is_set() and not self._closing.is_set():
                self._records.note(
                    id_,
                    state=FAILED,
                    error=(
                        f"its key's audits took {self._settings.hours_a_day:g} h in 24; answers so far are"
                        " kept"
                    ),
                )
            again = ENDED
        except Later as later:
            again = later
        except MissingArtifactError:
            self._records.note(id_, state=FAILED, error="the store has no such kit any more")
        except DamagedArtifactError as error:
            log.error("audit %s: %s", id_, error)
            self._records.note(
                id_, state=FAILED, error="the kit is damaged in the store; the service's log says where"
            )
        except FormatError as error:
            log.error("audit %s: %s", id_, error)
            self._records.note(
                id_,
                state=FAILED,
                error="its kit or its ledger is of another version of zooaudit; the service's log says which",
            )
        except (NotWrittenError, sqlite3.OperationalError, OSError) as error:
            log.warning("audit %s: %s", id_, error)
            again = Later(
                "the service's data cannot be written; it goes on when there is room again", self._longer(id_)
            )
        except StoreError as error:  # its message names the store, which is for the operator only
            log.warning("audit %s: %s", id_, error)
            again = Later("the store does not answer; it goes on when it does", self._longer(id_))
        except ZooauditError as error:
            self._records.note(id_, state=FAILED, error=str(error))
        except Exception:
            log.exception("audit %s", id_)
            self._records.note(
                id_, state=FAILED, error="an error that the service did not foresee; its log says more"
            )
        else:
            self._records.note(id_, state=DONE, result=result)
        return again

    def _carried_out(self, id_: str, audit: dict[str, Any], stopped: threading.Event) -> AuditRun:
        def abandoned() -> bool:
            ended = self._closing.is_set() and time.monotonic() > self._closed_at + ENDING_S
            return stopped.is_set() or ended

        return AuditRun(
            id_,
            audit,
            source=self._source,
            records=self._records,
            ledgers=self._ledgers,
            limits=self._limits,
            halted=self._closing.is_set,
            abandoned=abandoned,
        )

    def _longer(self, id_: str) -> float:
        """Seconds until an audit is tried again: longer each time."""
        self._waits[id_] = self._waits.get(id_, -1) + 1
        return doubled_s(self._waits[id_], self._settings.retry_s, LONGEST_S)
