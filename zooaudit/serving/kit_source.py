"""Kits from the service's store, which may be away."""

import time
from pathlib import Path

from zooaudit.errors import DamagedArtifactError, FormatError, MissingArtifactError, StoreError
from zooaudit.kits.kit import KIND
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store

STORE_S, AWAY_S = 5.0, 3.0
"""Seconds that a store is asked; and for which a store that did not answer is not asked again."""


class KitSource:
    """The store that a service takes kits from and keeps evidence in."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._artifacts: Artifacts | None = None
        self._away_until = 0.0

    def kit(self, id_: str) -> Artifact:
        """Raises:
        MissingArtifactError, DamagedArtifactError, FormatError: no such kit, or none that can be read.
        StoreError: no store; at once if there was none a moment ago.
        """
        if time.monotonic() < self._away_until:
            raise StoreError("the store did not answer a moment ago")
        try:
            return self.artifacts().load(KIND, id_)
        except (MissingArtifactError, DamagedArtifactError, FormatError):
            raise
        except StoreError:
            self._away_until = time.monotonic() + AWAY_S
            raise

    def artifacts(self) -> Artifacts:
        """The store, which has just answered; opened once, since a folder that has gone would be made again.

        Raises:
            StoreError: it did not.
        """
        if self._artifacts is None:
            if ":" not in self._place and not Path(self._place).is_dir():
                raise StoreError(f"store {self._place} is not there")
            self._artifacts = open_store(self._place, deadline_s=STORE_S)
        self._artifacts.check_there()
        return self._artifacts
