"""One audit: the service asks the suspect, judges it and stores the evidence."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zooaudit.auditing.suspect_check import order_hint
from zooaudit.config import digest_of
from zooaudit.errors import BusyError, NotWrittenError
from zooaudit.evidence.records import keep
from zooaudit.kits.kit import asked_as, read_kit
from zooaudit.scoring.answers import rendered
from zooaudit.scoring.asking import examined, not_judged, worth_asking
from zooaudit.serving.allowed_hosts import Pinned, resolved
from zooaudit.serving.audit_queue import Later
from zooaudit.serving.audit_records import AuditRecords
from zooaudit.serving.audit_requests import AuditRequest
from zooaudit.serving.kit_source import KitSource
from zooaudit.serving.spending import Limits, Spending
from zooaudit.storage.artifact import Artifact
from zooaudit.suspects.api import ApiBlackBox
from zooaudit.suspects.deadlines import heeding
from zooaudit.suspects.http_transport import HttpTransport, client_of
from zooaudit.suspects.ledger import Ledger
from zooaudit.suspects.opened import OpenSuspect, between
from zooaudit.suspects.outage import Trouble
from zooaudit.verdict.examined import Examined
from zooaudit.verdict.wording import plain

BUSY_S = 2.0
"""Wait this long before retrying an audit whose suspect another audit is asking."""
SHOWN = ("queries", "budget", "decision", "rank", "twins", "p_value", "settled")
"""Fields of a look that are shown as progress."""


class Ledgers:
    """The suspects' ledgers, each for one audit at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opening = threading.Lock()
        self._asking: dict[Path, str] = {}

    def open(
        self, id_: str, owner: str, about: dict[str, Any], request: AuditRequest, spending: Spending
    ) -> Ledger:
        """Open a ledger. Each key has its own, so that no caller learns or influences another's answers; an
        audit with ``fresh`` has its own.

        Raises:
            Later: another audit uses it.
        """
        own = f"-{id_}" if request.fresh else ""
        path = self._folder / digest_of(owner) / f"{digest_of(about)}{own}.sqlite"
        with self._opening:  # an audit that finds the ledger taken also finds by which audit
            try:
                ledger = Ledger(
                    path,
                    about,
                    request.budget,
                    spending.queries,
                    "the ledger of this suspect",
                    spending.answered,
                )
            except BusyError as error:
                other = self._asking.get(path, "")
                which = f"the audit {other}" if other else "another audit"
                raise Later(f"waiting for {which} of the same suspect to end", BUSY_S, other) from error
            self._asking[path] = id_  # harmless after the audit has ended: then nobody looks it up
        return ledger


class AuditRun:
    """One audit, with what it needs of the service.

    Args:
        halted: whether to stop asking.
        abandoned: whether to drop requests in flight, too.
    """

    def __init__(
        self,
        id_: str,
        audit: dict[str, Any],
        *,
        source: KitSource,
        records: AuditRecords,
        ledgers: Ledgers,
        limits: Limits,
        halted: Callable[[], bool],
        abandoned: Callable[[], bool],
    ) -> None:
        self._id, self._owner = id_, audit["by"]
        self._source, self._records, self._ledgers = source, records, ledgers
        self._halted, self._abandoned = halted, abandoned
        self._allowed = limits.settings.suspects
        self._artifact = source.kit(audit["kit"])
        self._kit = read_kit(self._artifact)
        self._request = AuditRequest.of(audit["asked"], self._kit, self._allowed)
        self._spending = Spending(limits, id_, self._owner, self._request.host)

    def result(self) -> dict[str, Any]:
        """Ask the suspect and store the evidence; returns the decision and its basis, as callers read it.

        Raises:
            Later: another audit is asking this suspect.
            StoppedError: the audit was halted.
            ZooauditError: the suspect does not answer, its budget is spent, or the store cannot be reached.
        """
        kit, request = self._kit, self._request
        remote, settings = request.remote, request.settings
        with heeding(self._stop):
            host, address = urlsplit(remote.url).hostname or "", resolved(remote.url)
        pinned = partial(Pinned, host, address, named=self._allowed)
        # Twins that were added later do not change the questions.
        about = {"kit": asked_as(self._artifact), **remote.about}
        ledger = self._ledgers.open(self._id, self._owner, about, request, self._spending)
        # A client is opened only after the ledger, which may be in use.
        with ledger, client_of(remote, pinned) as client, self._spending:
            black_box = self._black_box(ledger, HttpTransport(remote, client))
            self._records.note(
                self._id, progress={"queries": 0, "budget": settings.horizon(kit), "charged": ledger.spent}
            )
            opened = OpenSuspect(black_box, ledger=ledger)
            # A hint would be relative to the contract as given.
            opened.in_order = list(remote.naming.columns) == list(range(kit.num_classes))
            seen = worth_asking(kit, opened, remote.shown, settings)
            found = None
            if not seen.objection:
                on_look = partial(self._note_look, ledger)
                found = examined(kit, opened, settings, not settings.ask_everything, on_look)
            facts, contract = _facts(ledger, self._artifact), opened.how
        if found is None:
            verdict = not_judged(kit, settings, seen.objection, black_box.queries)
            return rendered(verdict, seen.hint) | facts | {"evidence": None}
        hint = seen.hint or order_hint(kit.twin_test, found.answers, opened)
        return rendered(found.verdict, hint) | facts | {"evidence": self._kept(found, contract, black_box)}

    def _black_box(self, ledger: Ledger, transport: HttpTransport) -> ApiBlackBox:
        return ApiBlackBox(
            self._request.remote,
            ledger,
            transport,
            self._request.access is not None,
            cancelled=self._stop,
            abandoned=self._give_up,
            troubled=self._note_trouble,
        )

    def _kept(self, found: Examined, contract: dict[str, Any], black_box: ApiBlackBox) -> str:
        """Store the evidence; returns its id."""
        return keep(
            self._source.artifacts(),
            self._artifact,
            self._request.remote.shown,
            found,
            self._request.settings.access,
            contract=contract,
            answered=between(black_box.came),
        )

    def _give_up(self) -> bool:
        return self._spending.time_is_up or self._abandoned()

    def _stop(self) -> bool:
        return self._halted() or self._give_up()

    def _note_look(self, ledger: Ledger, found: Examined) -> None:
        so_far = plain(found.verdict)
        self._records.note(self._id, progress={k: so_far[k] for k in SHOWN} | {"charged": ledger.spent})

    def _note_trouble(self, trouble: Trouble | None) -> None:
        """Show in the audit's progress that the suspect does not answer at the moment; None once it does."""
        with contextlib.suppress(NotWrittenError):  # the audit itself will raise it
            self._records.go_on(
                self._id,
                trouble=None if trouble is None else {"text": trouble.sentence(), **asdict(trouble)},
            )


def _facts(ledger: Ledger, artifact: Artifact) -> dict[str, Any]:
    return {
        "charged": ledger.spent,
        "lost": ledger.lost,
        "kit": artifact.id,
        "digest": artifact.digest,
    }
