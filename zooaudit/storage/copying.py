"""Copy a run, or everything, from one store to another, bit for bit; an interrupted copy can be repeated.

What exists in the target is skipped, so a repeated copy continues where it stopped. Content is checked
against its SHA-256 when it is read, and an artifact's manifest is written after its content; reports come
last, so that a run with a report is complete.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.parallel import in_parallel
from zooaudit.storage.runs import REPORT

Named = tuple[str, str]
"""Kind and id."""


@dataclass(frozen=True)
class Copied:
    """The progress of a copy."""

    done: int
    total: int
    there: int
    """How many of those done were already complete in the target."""
    bytes: int
    """Bytes written so far."""


def everything(source: Artifacts) -> list[Named]:
    """All artifacts of a store."""
    return [(kind, id_) for kind in source.kinds() for id_ in source.ids(kind)]


def copy(
    source: Artifacts, target: Artifacts, which: Sequence[Named], watch: Callable[[Copied], None]
) -> Copied:
    """Copy the artifacts ``which`` from one store to another.

    Raises:
        StoreError: the target holds another artifact under one of the names; found out before anything is
            written.
        MissingArtifactError, DamagedArtifactError: the source lacks one of them, or a part of it; what was
            copied before stays.
    """
    artifacts = in_parallel(lambda name: source.load(*name), which)
    in_parallel(target.refuse_another, artifacts)
    tally = _Tally(len(artifacts), watch)

    def take(artifact: Artifact) -> None:
        tally.add(target.adopt(artifact))

    in_parallel(take, [a for a in artifacts if a.kind != REPORT])
    in_parallel(take, [a for a in artifacts if a.kind == REPORT])
    return tally.state


class _Tally:
    """Counts the work of several threads."""

    def __init__(self, total: int, watch: Callable[[Copied], None]) -> None:
        self.state = Copied(0, total, 0, 0)
        self._watch = watch
        self._lock = threading.Lock()

    def add(self, written: int) -> None:
        with self._lock:
            before = self.state
            self.state = Copied(
                before.done + 1, before.total, before.there + (written == 0), before.bytes + written
            )
            self._watch(self.state)
