"""Kits from the service's store, which may be unavailable."""

import time
from pathlib import Path

from zooaudit.errors import DamagedArtifactError, FormatError, MissingArtifactError, StoreError
from zooaudit.kits.kit import KIND
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import open_store

STORE_S, AWAY_S = 5.0, 3.0
"""How long a store is tried, in seconds; and how long a store that did not answer is not tried again."""


class KitSource:
    """The store that a service reads kits from and writes evidence to."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._artifacts: Artifacts | None = None
        self._away_until = 0.0

    def kit(self, id_: str) -> Artifact:
        """Raises:
        MissingArtifactError, DamagedArtifactError, FormatError: there is no such kit, or it cannot be read.
        StoreError: the store does not answer; raised immediately if it did not a moment ago.
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
        """The store, which has just answered; opened once, since opening it again would recreate a removed
        folder.

        Raises:
            StoreError: the store did not answer.
        """
        if self._artifacts is None:
            if ":" not in self._place and not Path(self._place).is_dir():
                raise StoreError(f"store {self._place} is not there")
            self._artifacts = open_store(self._place, deadline_s=STORE_S)
        self._artifacts.check_there()
        return self._artifacts
