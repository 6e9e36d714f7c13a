"""Kits from the store, loaded on demand; the most recently used stay in memory."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from pydantic import ValidationError

from zooaudit.errors import DamagedArtifactError, FormatError, InputError, MissingArtifactError, StoreError
from zooaudit.kits.kit import KIND, Kit, made_by, read_kit
from zooaudit.serving.schemas import KitSummary
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store
from zooaudit.storage.runs import REPORT
from zooaudit.suspects.access import Access
from zooaudit.telemetry.metrics import KIT_SECONDS, record

log = logging.getLogger(__name__)

AWAY_S = 2.0
"""How long a store that did not answer is considered unavailable, without trying it for each caller."""
DEADLINE_S = 5.0
"""How long a store that does not answer is retried while a caller waits."""


class Kits:
    """A store's kits, for many threads. The store is opened when it is first needed: a service can start
    without it, and reports that.

    Args:
        store: a folder or ``s3://bucket/prefix``.
        most_bytes: of the kits in memory, at least one of which is held; the least recently used goes first.
            Kits never change, so one in memory needs no store.
    """

    def __init__(self, store: str, most_bytes: int) -> None:
        self._store, self._most_bytes = store, most_bytes
        self._artifacts: Artifacts | None = None
        self._held: OrderedDict[str, tuple[KitSummary, Kit, int]] = OrderedDict()
        self._opening, self._holding, self._asking = threading.Lock(), threading.Lock(), threading.Lock()
        self._away: tuple[float, str] | None = None
        self._trouble = "it has not been asked yet"

    def get(self, id_: str) -> tuple[KitSummary, Kit]:
        """A kit by its whole id.

        Raises:
            MissingArtifactError: the store has no such kit.
            StoreError: the store does not answer, or what it holds is damaged.
        """
        if held := self.held(id_):
            return held
        started = time.perf_counter()
        artifact = self._load(self.there(), id_)
        summary, kit = _summary(artifact), read_kit(artifact)
        summary = summary.model_copy(update={"accuses_nobody": kit.twin_test.barred()})
        self._prepare(kit)
        record(KIT_SECONDS, time.perf_counter() - started)
        size = sum(file["bytes"] for file in artifact.files.values())
        with self._holding:
            self._held[id_] = summary, kit, size
            self._held.move_to_end(id_)
            while len(self._held) > 1 and self.used_bytes > self._most_bytes:
                self._held.popitem(last=False)
        return summary, kit

    def _prepare(self, kit: Kit) -> None:
        """Prepare what verdicts need here, not while requests wait; for labels too, unless one such kit fills
        the memory."""
        for access in (Access(), Access("label")):
            if kit.twin_test.kept_bytes <= self._most_bytes / 4:
                kit.twin_test.prepare(access)

    @property
    def used_bytes(self) -> int:
        """Bytes of the kits in memory: their files, and what was prepared since, which may be more."""
        return sum(size + kit.twin_test.kept_bytes for _, kit, size in self._held.values())

    def held(self, id_: str) -> tuple[KitSummary, Kit] | None:
        """A kit that is in memory, without waiting; None if it is not."""
        with self._holding:
            if id_ not in self._held:
                return None
            self._held.move_to_end(id_)
            return self._held[id_][:2]

    def ids(self) -> list[str]:
        """The ids of all kits in the store, in order.

        Raises:
            StoreError: the store does not answer.
        """
        return sorted(self.there().ids(KIND))

    def summaries(self, ids: Sequence[str]) -> list[KitSummary]:
        """Summaries of these kits, without those that are damaged or were removed meanwhile.

        Raises:
            StoreError: the store does not answer.
        """
        artifacts, found = self.there(), []
        for id_ in ids:
            try:
                found.append(_summary(artifacts.load(KIND, id_)))
            except (DamagedArtifactError, FormatError, MissingArtifactError) as error:
                log.error("%s", error)
        return found

    def reports(self) -> list[str]:
        """Names of runs that left a report.

        Raises:
            StoreError: the store does not answer.
        """
        return sorted(self.there().ids(REPORT))

    def report(self, run: str) -> str:
        """A run's report page.

        Raises:
            MissingArtifactError: the store has no report of that run.
            StoreError: the store does not answer.
        """
        return self._load(self.there(), run, REPORT).read("report.html").decode()

    def ready(self) -> None:
        """Check that the store answers. One caller at a time tries it, the others get its last result:
        together they block one worker thread, however long a dead store takes.

        Raises:
            StoreError: it did not answer.
        """
        if self._asking.acquire(blocking=False):
            try:
                self.there()
                self._trouble = ""
            except StoreError as error:
                self._trouble = str(error)
            finally:
                self._asking.release()
        if self._trouble:
            raise StoreError(self._trouble)

    def there(self) -> Artifacts:
        """The store, which has just answered.

        Raises:
            StoreError: the store did not answer.
        """
        if (away := self._away) and time.monotonic() < away[0]:
            raise StoreError(away[1])  # without trying: it did not answer a moment ago
        try:
            return self._asked()
        except StoreError as error:
            self._away = time.monotonic() + AWAY_S, str(error)
            raise

    def _asked(self) -> Artifacts:
        if not self._opening.acquire(timeout=DEADLINE_S):
            raise StoreError(
                f"store {self._store}: another request has been waiting for it for {DEADLINE_S:g} s"
            )
        try:
            if self._artifacts is None:
                self._artifacts = open_store(self._store, deadline_s=DEADLINE_S, writes=False)
            artifacts = self._artifacts
        finally:
            self._opening.release()
        artifacts.check_there()
        return artifacts

    def _load(self, artifacts: Artifacts, id_: str, kind: str = KIND) -> Artifact:
        try:
            return artifacts.load(kind, id_)
        except InputError as error:  # not a valid name of an artifact
            raise MissingArtifactError(f"store {artifacts.url} has no {kind} {id_[:100]!r}") from error


def _summary(artifact: Artifact) -> KitSummary:
    meta = artifact.meta
    try:
        test, encoder = meta["twin_test"], meta["encoder"]["name"]
        data = {
            "victim": meta["victim"],
            "encoder": encoder,
            "level": test["level"],
            "budget": test["looks"][-1],
        }
        data |= {"twins": len(test["candidates"]) - 1, "accuses_nobody": test.get("accuses_nobody", "")}
        data |= made_by(artifact)
        return KitSummary(id=artifact.id, digest=artifact.digest, **data)
    except (LookupError, AttributeError, TypeError, ValidationError) as error:
        raise DamagedArtifactError(
            f"kit {artifact.id}: its manifest lacks what kits of this version state ({error!r})"
        ) from error
