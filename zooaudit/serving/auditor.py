"""Audits that run in the background: the service asks a suspect itself. Whatever is under
way goes on after a restart."""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zooaudit.auditing.suspect_check import order_hint
from zooaudit.choices import SEEN
from zooaudit.config import digest_of
from zooaudit.errors import (
    BusyError,
    ConfigError,
    DamagedArtifactError,
    FormatError,
    LimitError,
    MissingArtifactError,
    NotWrittenError,
    RepeatedError,
    StoppedError,
    StoreError,
    SuspectError,
    ZooauditError,
)
from zooaudit.evidence.records import keep
from zooaudit.kits.kit import KIND, Kit, asked_as, read_kit
from zooaudit.scoring.answers import rendered
from zooaudit.scoring.asking import examined, not_judged, worth_asking
from zooaudit.scoring.settings import ScoreSettings
from zooaudit.serving.allowed_hosts import Pinned, refuse_unless_named, resolved
from zooaudit.serving.audit_queue import Line, Waiting
from zooaudit.serving.audit_records import (
    CANCELLED,
    DONE,
    FAILED,
    HOUR_S,
    MOST_LISTED,
    OPEN,
    QUEUED,
    AuditRecords,
)
from zooaudit.serving.settings import Settings
from zooaudit.serving.suspects import refuse_idle
from zooaudit.serving.verdicts import Verdicts
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store
from zooaudit.suspects.access import Access
from zooaudit.suspects.api import ApiBlackBox
from zooaudit.suspects.exchange import heeding
from zooaudit.suspects.http_transport import HttpTransport, client_of
from zooaudit.suspects.ledger import Ledger
from zooaudit.suspects.opened import OpenSuspect, between
from zooaudit.suspects.outage import Trouble
from zooaudit.suspects.remote import Remote, remote_of
from zooaudit.suspects.signing import Signing
from zooaudit.telemetry.metrics import SERVICE_AUDITS, record
from zooaudit.verdict.decision import check_level
from zooaudit.verdict.examined import Examined
from zooaudit.verdict.wording import plain

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Audits under way; the others wait."""
OF_A_KEY = AT_ONCE - 1
"""Of one key."""
STARTS = 3
"""An audit that did not get on in so many starts, because the service ended each time, is
not started again."""
STORE_S, BUSY_S, AWAY_S, LONGEST_S = 5.0, 2.0, 3.0, 60.0
"""How long a store is asked; after how long an audit is tried again whose suspect another one is asking, or,
twice as long each time, whose store or disk is away; and for how long a store that did not answer is not
asked for the sake of somebody who waits."""
ENDING_S = 3.0
"""For so long what is under way is waited for when the service ends: it is paid for."""
NOT_OURS = ("ca", *(f.name for f in fields(Signing)))
"""Settings that would reach into the service's own environment and files, or that lead to
another host than the suspect's."""
MOST = {
    "timeout_s": 120.0,
    "patience_s": 900.0,
    "largest_request": 32_000_000,
    "batch": 256,
    "concurrency": 16,
}
TOO_OFTEN = (
    f"it was started {STARTS} times, and each time the service ended before another answer had come: it takes"
    " too much memory, say. It is not started again; ask for it with a smaller batch, or with a simpler"
    " request and answers, or have a look at the service's log"
)
FRAMING = (
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "accept-encoding",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "inference-header-content-length",
)


class Later(Exception):
    """An audit cannot go on now, through no fault of its own: why, in words for callers, after how many
    seconds it is tried again, and for which other audit it waits; "" for none."""

    def __init__(self, why: str, seconds: float, for_: str = "") -> None:
        super().__init__(why)
        self.why, self.seconds, self.for_ = why, seconds, for_


class Auditor:
    """Runs audits one by one or a few at once; made once for a service.

    Args:
        settings: ``data`` must be set.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.data is not None
        self._settings, self._data = settings, settings.data
        self._records = AuditRecords(self._data / "audits.sqlite")
        self._verdicts = Verdicts(self._data, self._records)
        self._line = Line(OF_A_KEY)
        self._stopped: dict[str, threading.Event] = {}
        self._waits: dict[str, int] = {}
        self._asking: dict[Path, str] = {}
        self._opening = threading.Lock()
        self._artifacts: Artifacts | None = None
        self._closing, self._closed_at = threading.Event(), 0.0
        self._away_until, self._entering = 0.0, threading.Lock()
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
        self._refuse_if_many(by)
        artifact = self._kit(asked["kit"])
        kit = read_kit(artifact)
        remote, *_ = self._understood(asked, kit)
        self._within_limits(by, host_of(remote.url), 1)
        level = kit.twin_test.level if asked.get("level") is None else asked["level"]
        with self._entering:  # of many that are sent at once each saw few
            if before := self._sent_before(by, once, body):
                return before
            self._refuse_if_many(by)
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

    def _refuse_if_many(self, by: str) -> None:
        if (open_ := len(self._records.open(by))) >= self._settings.open_audits:
            raise LimitError(
                f"the key {by} has {open_} audits that have not ended; this service takes"
                f" {self._settings.open_audits} at once"
            )

    def get(self, id_: str) -> dict[str, Any] | None:
        """How far an audit is; None if there is none of that id."""
        found = self._records.get(id_)
        return self._with_its_wait(found) if found else None

    def all(
        self, by: str | None, state: str = "", limit: int = MOST_LISTED, after: Sequence[Any] | None = None
    ) -> list[dict[str, Any]]:
        """As :meth:`AuditRecords.by`: audits of one caller, or of all."""
        return [self._with_its_wait(audit) for audit in self._records.by(by, state, limit, after)]

    def _with_its_wait(self, audit: dict[str, Any]) -> dict[str, Any]:
        """An audit that is queued only since others of its key, or of all keys, take all places says so."""
        if audit["state"] != QUEUED or "waiting" in audit["progress"]:
            return audit
        running = self._line.under_way()
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
        """What a method of the kept verdicts gives, which live where the audits do."""
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
        self._line.close()
        for thread in self._threads:
            thread.join()
        self._verdicts.close()
        self._records.close()

    def _start(self, id_: str, by: str, seconds: float = 0.0, suspected: bool = False) -> None:
        self._stopped.setdefault(id_, threading.Event())
        self._line.put(Waiting(id_, by, time.monotonic() + seconds, suspected))

    def _work(self) -> None:
        while one := self._line.take():
            again: Later | None = None
            try:
                again = self._run(one.id)
            except Exception:
                log.exception("audit %s", one.id)
                again = Later("the service's data cannot be read or written", self._longer(one.id))
            finally:
                self._line.done(one.id)
            if again and not self._closing.is_set():
                self._start(one.id, one.by, again.seconds, one.suspected)

    def _kit(self, id_: str) -> Artifact:
        """Raises: MissingArtifactError, DamagedArtifactError, StoreError: no such kit, or no store; at once
        if there was none a moment ago.
        """
        if time.monotonic() < self._away_until:
            raise StoreError("the store did not answer a moment ago")
        try:
            return self._there().load(KIND, id_)
        except (MissingArtifactError, DamagedArtifactError, FormatError):
            raise
        except StoreError:
            self._away_until = time.monotonic() + AWAY_S
            raise

    def _there(self) -> Artifacts:
        """The store, which has just answered; opened once, since a folder that has gone would be made again.

        Raises:
            StoreError: it did not.
        """
        place = self._settings.store
        if self._artifacts is None:
            if ":" not in place and not Path(place).is_dir():
                raise StoreError(f"store {place} is not there")
            self._artifacts = open_store(place, deadline_s=STORE_S)
        self._artifacts.check_there()
        return self._artifacts

    def _understood(self, asked: dict[str, Any], kit: Kit) -> tuple[Remote, Access | None, int]:
        suspect = asked["suspect"]
        if taboo := sorted(set(suspect) & set(NOT_OURS)):
            raise ConfigError(
                f"the suspect has {', '.join(taboo)}, which are for the command line; send its key in headers"
            )
        remote = remote_of(suspect, kit.named(asked.get("suspect_classes")))
        if taboo := sorted(h for h in remote.headers if h.lower() in FRAMING):
            raise ConfigError(f"the suspect's headers have {', '.join(taboo)}, which the service sets itself")
        for name, most in MOST.items():
            if getattr(remote, name) > most:
                raise ConfigError(f"{name} is {getattr(remote, name):,}; this service takes {most:,} at most")
        refuse_idle(remote, suspect)
        refuse_unless_named(remote.url, self._settings.suspects)
        if asked.get("level") is not None:
            check_level(asked["level"])
        kit.twin_test.stops(asked.get("queries"))
        access = asked.get("access") or SEEN
        return (
            remote,
            None if access == SEEN else Access.named(access),
            asked.get("budget") or kit.twin_test.budget,
        )

    def _within_limits(self, by: str, host: str, images: int) -> None:
        """Raises:
        LimitError: a key, or all of them of a host, would spend more than they may in 24 hours.
        """
        settings = self._settings
        queries, seconds = self._records.spent(by=by)
        if queries + images > settings.queries_a_day:
            raise LimitError(
                f"the audits of the key {by} charged {queries:,} queries in 24 hours, and {images:,} more are"
                f" needed; this service lets a key charge {settings.queries_a_day:,}"
            )
        if seconds >= settings.hours_a_day * HOUR_S:
            raise LimitError(
                f"the audits of the key {by} took {seconds / HOUR_S:.1f} h in 24; this service gives a key"
                f" {settings.hours_a_day:g}"
            )
        if self._records.spent(host=host)[0] + images > settings.host_queries_a_day:
            raise LimitError(
                f"this service asks {host} no more than {settings.host_queries_a_day:,} queries in 24 hours,"
                " over all its callers"
            )

    def _run(self, id_: str) -> Later | None:
        """One audit, to its end, or until it has to be tried again."""
        audit, stopped = self._records.get(id_), self._stopped[id_]
        again: Later | None = None
        if audit and audit["state"] in OPEN and not stopped.is_set():
            again = self._tried(id_, audit, stopped)
        if again:
            self._records.wait(id_, again.why, again.for_)
        if again and again.why:
            return again
        self._waits.pop(id_, None)
        if (ended := self._records.get(id_)) and ended["state"] not in OPEN:
            self._stopped.pop(id_, None)
            record(SERVICE_AUDITS, state=ended["state"])
        return None

    def _tried(self, id_: str, audit: dict[str, Any], stopped: threading.Event) -> Later | None:
        """What came of it is noted in the book; otherwise why and when it is tried again."""
        again: Later | None = None
        try:
            if self._records.begin(id_) > STARTS:
                raise SuspectError(TOO_OFTEN)
            result = self._examined(id_, audit, stopped)
        except StoppedError:
            if not stopped.is_set() and not self._closing.is_set():
                self._records.note(
                    id_,
                    state=FAILED,
                    error=(
                        f"its key's audits took {self._settings.hours_a_day:g} h in 24; answers so far are"
                        " kept"
                    ),
                )
            again = Later("", 0.0)
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

    def _longer(self, id_: str) -> float:
        """Seconds until an audit is tried again: longer each time."""
        self._waits[id_] = self._waits.get(id_, -1) + 1
        return min(LONGEST_S, self._settings.retry_s * 2.0 ** min(self._waits[id_], 10))

    def _examined(self, id_: str, audit: dict[str, Any], stopped: threading.Event) -> dict[str, Any]:
        """Ask the suspect, keep the evidence."""
        artifact, asked = self._kit(audit["kit"]), audit["asked"]
        kit = read_kit(artifact)
        settings = settings_of(asked)
        remote, access, budget = self._understood(asked, kit)

        def on_look(found: Examined) -> None:
            so_far = plain(found.verdict)
            progress = {
                name: so_far[name]
                for name in ("queries", "budget", "decision", "rank", "twins", "p_value", "settled")
            }
            self._records.note(id_, progress=progress | {"charged": ledger.spent})

        about = {"kit": asked_as(artifact), **remote.about}  # twins that came later ask nothing new
        spending = Spending(self, id_, audit["by"], host_of(remote.url))

        def abandoned() -> bool:
            return (
                stopped.is_set()
                or spending.time_is_up
                or (self._closing.is_set() and time.monotonic() > self._closed_at + ENDING_S)
            )

        def halted() -> bool:
            return self._closing.is_set() or abandoned()

        with heeding(halted):
            host, address = urlsplit(remote.url).hostname or "", resolved(remote.url)
        pinned = partial(Pinned, host, address, named=self._settings.suspects)
        ledger = self._ledger(id_, self._path(about, id_, audit), about, budget, spending)
        with ledger, client_of(remote, pinned) as client, spending:  # a ledger that is in use opens no client
            black_box = ApiBlackBox(
                remote,
                ledger,
                HttpTransport(remote, client),
                access is not None,
                cancelled=halted,
                abandoned=abandoned,
                troubled=lambda trouble: self._note_trouble(id_, trouble),
            )
            self._records.note(
                id_, progress={"queries": 0, "budget": settings.horizon(kit), "charged": ledger.spent}
            )
            opened = OpenSuspect(black_box, ledger=ledger)
            opened.in_order = list(remote.naming.columns) == list(
                range(kit.num_classes)
            )  # a hint would be relative to what was given
            seen = worth_asking(kit, opened, remote.shown, settings)
            found = (
                None
                if seen.objection
                else examined(kit, opened, settings, not settings.ask_everything, on_look)
            )
            how = opened.how
            facts = {
                "charged": ledger.spent,
                "lost": ledger.lost,
                "kit": artifact.id,
                "digest": artifact.digest,
            }
        if found is None:
            verdict = not_judged(kit, settings, seen.objection, black_box.queries)
            return rendered(verdict, seen.hint) | facts | {"evidence": None}
        kept = keep(
            self._there(),
            artifact,
            remote.shown,
            found,
            settings.access,
            contract=how,
            answered=between(black_box.came),
        )
        return (
            rendered(found.verdict, seen.hint or order_hint(kit.twin_test, found.answers, opened))
            | facts
            | {"evidence": kept}
        )

    def _ledger(
        self, id_: str, path: Path, about: dict[str, Any], budget: int, spending: "Spending"
    ) -> Ledger:
        """The ledger of a suspect, for one audit at a time.

        Raises:
            Later: another one has it.
        """
        with self._opening:  # who finds it taken finds by whom
            try:
                ledger = Ledger(
                    path, about, budget, spending.queries, "the ledger of this suspect", spending.answered
                )
            except BusyError as error:
                other = self._asking.get(path, "")
                which = f"the audit {other}" if other else "another audit"
                raise Later(f"waiting for {which} of the same suspect to end", BUSY_S, other) from error
            self._asking[path] = id_  # stays after its end, when nobody asks for it
        return ledger

    def _note_trouble(self, id_: str, trouble: Trouble | None) -> None:
        """That a suspect does not answer just now, for whoever looks at its audit; None once it does."""
        with contextlib.suppress(NotWrittenError):  # the audit itself will come upon that
            self._records.go_on(
                id_, trouble=None if trouble is None else {"text": trouble.sentence(), **asdict(trouble)}
            )

    def _path(self, about: dict[str, Any], id_: str, audit: dict[str, Any]) -> Path:
        """Of a ledger: a key's own, lest one caller learn, or choose, what another is told;
        of an audit that asks afresh, its own."""
        own = f"-{id_}" if audit["asked"].get("fresh") else ""
        return self._data / "ledgers" / digest_of(audit["by"]) / f"{digest_of(about)}{own}.sqlite"


class Spending:
    """What one audit charges and how long it takes, counted for its key and its suspect's
    host as it happens."""

    def __init__(self, auditor: Auditor, id_: str, by: str, host: str) -> None:
        self._auditor, self._id, self._by, self._host = auditor, id_, by, host
        self._records, self._got_on = auditor._records, False
        self._since = time.monotonic()
        self._end = self._since + auditor._settings.hours_a_day * HOUR_S - self._records.spent(by=by)[1]

    @property
    def time_is_up(self) -> bool:
        return time.monotonic() > self._end

    def queries(self, images: int) -> None:
        """Before a request is sent; with a minus after it was refused."""
        if images > 0:
            self._auditor._within_limits(self._by, self._host, images)
        now = time.monotonic()
        taken, self._since = now - self._since, now
        self._records.spend(self._by, self._host, images, taken)

    def answered(self) -> None:
        """An answer came: the audit gets on."""
        if not self._got_on:
            self._records.got_on(self._id)
            self._got_on = True

    def __enter__(self) -> "Spending":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(NotWrittenError):
            self.queries(0)


def host_of(url: str) -> str:
    """Whose budget it is."""
    return (urlsplit(url).hostname or "").lower().rstrip(".")


def settings_of(asked: dict[str, Any]) -> ScoreSettings:
    """How an audit's request has its suspect judged."""
    return ScoreSettings(
        level=asked.get("level"),
        access=asked.get("access") or SEEN,
        p_value=asked.get("p_value") or "rank",
        queries=asked.get("queries"),
        ask_everything=bool(asked.get("ask_everything")),
        suspect_classes=asked.get("suspect_classes"),
    )
