"""Audits that run in the background: the service asks a suspect itself. Whatever is under way goes on after a restart."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from zooaudit.config import digest_of
from zooaudit.errors import ConfigError, SuspectError, ZooauditError
from zooaudit.evidence.keeping import SEEN, keep
from zooaudit.kit import KIND, Kit, asked_as, read_kit
from zooaudit.metrics import SERVICE_AUDITS, record
from zooaudit.score_control import Noticed, noticed, order_hint
from zooaudit.serving.book import CANCELLED, DONE, FAILED, OPEN, RUNNING, Book
from zooaudit.serving.reach import Pinned, refuse_unless_named, resolved
from zooaudit.serving.scoring import rendered
from zooaudit.serving.settings import Settings
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import open_store
from zooaudit.suspects.access import Access
from zooaudit.suspects.api import ApiBlackBox
from zooaudit.suspects.door import Door
from zooaudit.suspects.http import HttpTransport, client_of
from zooaudit.suspects.ledger import Ledger
from zooaudit.suspects.remote import Remote, remote_of
from zooaudit.suspects.signing import Signing
from zooaudit.verdict.decision import Asked, cannot_tell, check_level
from zooaudit.verdict.twin_test import Examined
from zooaudit.verdict.wording import plain

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Audits under way; the others wait."""
LOCKED_S = 60.0
"""How long an audit that another process still holds (a replica that is being replaced) is waited for."""
NOT_OURS = ("ca", *(f.name for f in fields(Signing)))
"""Settings that would reach into the service's own environment and files, or that lead to another host than the suspect's."""
MOST = {"timeout_s": 120.0, "patience_s": 900.0, "largest_request": 32_000_000}
FRAMING = (
    "host", "content-length", "content-type", "content-encoding", "accept-encoding", "transfer-encoding", "connection", "te", "upgrade",
    "inference-header-content-length",
)  # fmt: skip


class Auditor:
    """Runs audits one by one or a few at once; made once for a service.

    Args:
        settings: ``data`` must be set.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.data is not None
        self._settings, self._data = settings, settings.data
        self._book = Book(self._data / "audits.sqlite")
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="audit")
        self._cancelled: dict[str, threading.Event] = {}
        self._closing = threading.Event()
        for id_ in self._book.open():
            self._start(id_)

    def submit(self, by: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Take an audit on.

        Args:
            asked: ``kit``, ``suspect`` (settings of :class:`~zooaudit.suspects.remote.Remote`), maybe ``level``,
                ``access``, ``budget``, ``queries``, ``p_value``, ``suspect_classes``, ``ask_everything``.

        Raises:
            InputError: it cannot be done, and why.
            StoreError: no such kit, or the store does not answer.
        """
        artifact = self._kit(asked["kit"])
        self._understood(asked, read_kit(artifact))
        id_ = self._book.enter(by, artifact.id, asked)
        self._start(id_)
        return self.get(id_) or {}

    def get(self, id_: str) -> dict[str, Any] | None:
        """How far an audit is; None if there is none of that id."""
        return self._book.get(id_)

    def all(self, by: str | None) -> list[dict[str, Any]]:
        """Audits of one caller, or of all."""
        return self._book.by(by)

    def cancel(self, id_: str) -> dict[str, Any] | None:
        """Stop an audit; answers so far stay in its ledger."""
        if id_ in self._cancelled:
            self._cancelled[id_].set()
        self._book.note(id_, state=CANCELLED)
        return self.get(id_)

    def close(self) -> None:
        """Let go of what is under way: it goes on at the next start."""
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)
        self._book.close()

    def _start(self, id_: str) -> None:
        self._cancelled[id_] = threading.Event()
        self._pool.submit(self._run, id_)

    def _kit(self, id_: str) -> Artifact:
        return open_store(self._settings.store).load(KIND, id_)

    def _understood(self, asked: dict[str, Any], kit: Kit) -> tuple[Remote, Access | None, int]:
        suspect = asked["suspect"]
        if taboo := sorted(set(suspect) & set(NOT_OURS)):
            raise ConfigError(f"the suspect has {', '.join(taboo)}, which are for the command line; send its key in headers")
        remote = remote_of(suspect, kit.named(asked.get("suspect_classes")))
        if taboo := sorted(h for h in remote.headers if h.lower() in FRAMING):
            raise ConfigError(f"the suspect's headers have {', '.join(taboo)}, which the service sets itself")
        for name, most in MOST.items():
            if getattr(remote, name) > most:
                raise ConfigError(f"{name} is {getattr(remote, name):,}; this service takes {most:,} at most")
        refuse_unless_named(remote.url, self._settings.suspects)
        if asked.get("level") is not None:
            check_level(asked["level"])
        kit.twin_test.stops(asked.get("queries"))
        access = asked.get("access") or SEEN
        return remote, None if access == SEEN else Access.named(access), asked.get("budget") or kit.twin_test.budget

    def _run(self, id_: str) -> None:
        audit = self._book.get(id_)
        try:
            if audit is None or self._cancelled[id_].is_set():
                return
            self._book.note(id_, state=RUNNING)
            result = self._examined(id_, audit)
        except ZooauditError as error:
            self._failed(id_, str(error))
        except Exception:
            log.exception("audit %s", id_)
            self._failed(id_, "an error that the service did not foresee; its log says more")
        else:
            self._book.note(id_, state=DONE, result=result)
        finally:
            self._cancelled.pop(id_, None)
            ended = self._book.get(id_)
            if ended and ended["state"] not in OPEN:
                record(SERVICE_AUDITS, state=ended["state"])

    def _failed(self, id_: str, error: str) -> None:
        if not self._closing.is_set():  # else it goes on at the next start
            self._book.note(id_, state=FAILED, error=error)

    def _examined(self, id_: str, audit: dict[str, Any]) -> dict[str, Any]:
        """Ask the suspect, keep the evidence."""
        artifact, asked = self._kit(audit["kit"]), audit["asked"]
        kit = read_kit(artifact)
        test, horizon = kit.twin_test, asked.get("queries")
        remote, access, budget = self._understood(asked, kit)
        host, address = urlsplit(remote.url).hostname or "", resolved(remote.url)
        client = client_of(remote, lambda verify, limits: Pinned(host, address, verify, limits))

        def told(found: Examined) -> None:
            so_far = plain(found.verdict)
            progress = {name: so_far[name] for name in ("queries", "budget", "call", "rank", "twins", "p_value", "settled")}
            self._book.note(id_, progress=progress | {"charged": ledger.spent})

        about = {"kit": asked_as(artifact), **remote.about}  # twins that came later ask nothing new
        stopped = self._cancelled[id_]
        with client, self._ledger(about, budget) as ledger:
            transport = HttpTransport(remote, client)
            box = ApiBlackBox(remote, ledger, transport, access is not None, cancelled=lambda: stopped.is_set() or self._closing.is_set())
            self._book.note(id_, progress={"queries": 0, "budget": test.stops(horizon)[-1], "charged": ledger.spent})
            door = Door(box, ledger=ledger)
            door.in_order = list(remote.naming.columns) == list(range(kit.num_classes))  # a hint would be relative to what was given
            seen = _noticed(kit, door, remote.url, asked)
            found = None
            if not seen.objection:
                early = not asked.get("ask_everything")
                found = test.examine(box, asked.get("level"), access, asked.get("p_value") or "rank", horizon, early, told)
            how = door.how
            facts = {"charged": ledger.spent, "lost": ledger.lost, "kit": artifact.id, "digest": artifact.digest}
        if found is None:
            return _not_judged(kit, seen, asked, box.queries) | facts | {"evidence": None}
        kept = keep(open_store(self._settings.store), artifact, remote.url, found, asked.get("access") or SEEN, contract=how)
        return rendered(found.verdict, seen.hint or order_hint(test, found.answers, door)) | facts | {"evidence": kept}

    def _ledger(self, about: dict[str, Any], budget: int) -> Ledger:
        path, end = self._data / "ledgers" / f"{digest_of(about)}.sqlite", time.monotonic() + LOCKED_S
        while True:
            try:
                return Ledger(path, about, budget)
            except SuspectError:
                if time.monotonic() > end or self._closing.wait(1.0):
                    raise


def _noticed(kit: Kit, door: Door, url: str, asked: dict[str, Any]) -> Noticed:
    """Whether there is any use in asking a suspect, by the kit and by the control questions, in the words of ``zooaudit score``. Nothing is
    asked where nobody can be accused."""
    if why := kit.twin_test.barred(asked.get("level"), asked.get("p_value") or "rank"):
        return Noticed(why)
    if asked.get("suspect_classes") not in (None, kit.num_classes):
        return Noticed()
    return noticed(kit.twin_test, door, url, bool(asked.get("ask_everything")))


def _not_judged(kit: Kit, seen: Noticed, asked: dict[str, Any], queries: int) -> dict[str, Any]:
    """The verdict on a suspect that there was no use in asking any further."""
    test = kit.twin_test
    level = test.level if asked.get("level") is None else asked["level"]
    counted = Asked(asked.get("access") or SEEN, queries, test.stops(asked.get("queries"))[-1])
    return rendered(cannot_tell(seen.objection, test.twins, level, counted, asked.get("p_value") or "rank"), seen.hint)
