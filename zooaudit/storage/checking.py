"""Read everything in a store, to find damage."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zooaudit.errors import DamagedArtifactError
from zooaudit.storage.manifest import MANIFEST
from zooaudit.storage.port import Store

if TYPE_CHECKING:
    from zooaudit.storage.artifacts import Artifacts


def damaged(store: Store, artifacts: "Artifacts") -> Iterator[tuple[str, str, DamagedArtifactError]]:
    """Read all artifacts of a store, without a cache; yield kind, id and error of each damaged artifact, or
    "" and the key for a file among the manifests that cannot be one."""
    for key in store.keys("manifests/"):
        if not MANIFEST.fullmatch(key):
            yield (
                "",
                key,
                DamagedArtifactError(
                    f"{key[:200]!r} in {artifacts.url} is not a manifest's name; nobody reads it: remove it"
                    " yourself"
                ),
            )
    for kind in artifacts.kinds():
        for id_ in artifacts.ids(kind):
            try:
                artifact = artifacts.load(kind, id_)
                for name in artifact.files:
                    artifact.read(name)
            except DamagedArtifactError as error:
                yield kind, id_, error
