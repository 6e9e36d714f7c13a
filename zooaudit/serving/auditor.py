"""Audits in the background: the service asks a suspect itself. Unfinished audits continue after a restart."""

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
from zooaudit.serving.audit_queue import AuditQueue, Later, QueuedAudit
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
"""How many audits run at the same time; the others wait."""
OF_A_KEY = AT_ONCE - 1
"""How many audits of one API key run at the same time."""
STARTS = 3
"""An audit is given up after this many starts without a new answer, if each ended because the service
ended."""
LONGEST_S = 60.0
"""Longest wait before retrying an audit whose store or disk is unavailable. The wait doubles each time."""
ENDING_S = 3.0
"""How long the service waits at its end for queries in flight, in seconds, since they are charged."""
TOO_OFTEN = (
    f"it was started {STARTS} times, and each time the service ended before another answer came: perhaps it"
    " takes too much memory. It is not started again; request it with a smaller batch, or with a simpler"
    " request template and answers path, or look at the service's log"
)
ENDED = Later("", 0.0)
"""Reasons that need no retry: the audit was cancelled, or the service ends."""


class Auditor:
    """Runs a few audits at a time; made once for each service.

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
            self._start(audit["id"], audit["by"], interrupted=audit["starts"] > 0)
        for thread in self._threads:
            thread.start()

    def submit(self, owner: str, asked: dict[str, Any], request_key: str = "") -> dict[str, Any]:
        """Accept an audit. If the request was sent before, return its audit, with ``replayed``.

        Args:
            asked: ``kit``, ``suspect`` (settings of :class:`~zooaudit.suspects.remote.Remote`), maybe
                ``level``, ``access``, ``budget``, ``queries``, ``p_value``, ``suspect_classes``,
                ``ask_everything``, ``fresh``.
            request_key: the caller's key for this request.

        Raises:
            RepeatedError: the caller used that key for another request.
            InputError: the audit cannot be made, and why.
            LimitError: its key has too many open audits, or has spent its quota.
            StoreError: no such kit, or the store does not answer; ``NotWrittenError``: the disk is full.
        """
        body = digest_of(asked)
        if before := self._sent_before(owner, request_key, body):
            return before
        self._limits.refuse_if_many(owner)
        artifact = self._source.kit(asked["kit"])
        kit = read_kit(artifact)
        request = AuditRequest.of(asked, kit, self._settings.suspects)
        self._limits.check(owner, request.host, 1)
        level = kit.twin_test.level if request.settings.level is None else request.settings.level
        with self._entering:  # requests sent at the same time must not pass the limit together
            if before := self._sent_before(owner, request_key, body):
                return before
            self._limits.refuse_if_many(owner)
            id_ = self._records.enter(owner, artifact.id, asked | {"level": level}, request_key, body)
        self._start(id_, owner)
        return self.get(id_) or {}

    def _sent_before(self, owner: str, request_key: str, body: str) -> dict[str, Any] | None:
        """The audit of an earlier, identical request."""
        known = self._records.known(owner, request_key) if request_key else None
        if known is None:
            return None
        id_, of = known
        if of != body:
            raise RepeatedError(
                f"this Idempotency-Key belongs to the audit {id_}, requested with another body; give each"
                " request a key of its own"
            )
        return (self.get(id_) or {}) | {"replayed": True}

    def get(self, id_: str) -> dict[str, Any] | None:
        """An audit's state and result; None if there is no such id."""
        found = self._records.get(id_)
        return self._with_waiting_reason(found) if found else None

    def all(
        self, owner: str | None, state: str = "", limit: int = MOST_LISTED, after: Sequence[Any] | None = None
    ) -> list[dict[str, Any]]:
        """As :meth:`AuditRecords.listed`: audits of one caller, or of all."""
        return [
            self._with_waiting_reason(audit) for audit in self._records.listed(owner, state, limit, after)
        ]

    def _with_waiting_reason(self, audit: dict[str, Any]) -> dict[str, Any]:
        """Add why a queued audit waits: for other audits of its key, or for those of all keys."""
        if audit["state"] != QUEUED or "waiting" in audit["progress"]:
            return audit
        running = self._queue.under_way()
        own = sorted(w.id for w in running if w.owner == audit["by"] and w.id != audit["id"])
        if len(own) >= OF_A_KEY:
            text = f"{len(own)} other audits of this key are under way, the most at a time: {', '.join(own)}"
        elif len(running) >= AT_ONCE:
            text = f"{len(running)} audits are under way, the most that this service runs at a time"
        else:
            return audit
        return audit | {"progress": audit["progress"] | {"waiting": text}}

    def kept(self, method: str, *args: Any) -> Any:
        """Call a method of the store of verdicts, which is in the same process as the audits."""
        return getattr(self._verdicts, method)(*args)

    def cancel(self, id_: str) -> dict[str, Any] | None:
        """Stop an audit; answers so far stay in its ledger."""
        if stopped := self._stopped.get(id_):
            stopped.set()
        self._records.note(id_, state=CANCELLED)
        return self.get(id_)

    def close(self) -> None:
        """Wait for answers in flight, at most ``ENDING_S``. Audits continue at the next start."""
        self._closed_at = time.monotonic()
        self._closing.set()
        self._queue.close()
        for thread in self._threads:
            thread.join()
        self._verdicts.close()
        self._records.close()

    def _start(self, id_: str, owner: str, seconds: float = 0.0, interrupted: bool = False) -> None:
        self._stopped.setdefault(id_, threading.Event())
        self._queue.put(QueuedAudit(id_, owner, time.monotonic() + seconds, interrupted))

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
                self._start(one.id, one.owner, again.seconds, one.interrupted)

    def _run(self, id_: str) -> Later | None:
        """Run one audit until it ends, or must be retried."""
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
        """Run an audit once and record the result. Returns a Later if it must be retried."""
        again: Later | None = None
        try:
            if self._records.begin(id_) > STARTS:
                raise SuspectError(TOO_OFTEN)
            result = self._carried_out(id_, audit, stopped).result()
        except StoppedError:
            # Not cancelled, and not the service's end: the key's time is used up.
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
        except StoreError as error:  # its message names the store, which only the operator may see
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
        """Seconds until an audit is retried: longer each time."""
        self._waits[id_] = self._waits.get(id_, -1) + 1
        return doubled_s(self._waits[id_], self._settings.retry_s, LONGEST_S)
