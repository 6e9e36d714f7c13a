"""Artifacts: content by SHA-256 first, then a manifest that names it. An artifact is complete once its
manifest exists.

Layout (docs/artifacts.md)::

    zooaudit.json {"format": 1} objects/<aa>/<sha256> content manifests/<kind>/<id>.json files with their
        digests and sizes, metadata, and its own digest
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from zooaudit import __version__
from zooaudit.config import canonical_json
from zooaudit.errors import DamagedArtifactError, StoreError, UnknownNameError
from zooaudit.storage.artifact import REPAIR, Artifact, object_key
from zooaudit.storage.cache import CachedStore
from zooaudit.storage.checking import damaged
from zooaudit.storage.collecting import collect, put_back, unnamed
from zooaudit.storage.leases import Job, Leases, dead_leases
from zooaudit.storage.manifest import (
    MANIFEST,
    MOST_BYTES,
    check_name,
    digest_of_body,
    format_of,
    read_manifest,
)
from zooaudit.storage.port import Store

FORMAT = 1
MARKER, MARKER_BYTES = "zooaudit.json", 4096
_MARK = canonical_json({"format": FORMAT}).encode()


class Artifacts:
    """Typed artifacts on a store.

    Args:
        limited: see ``open_store``.

    Attributes:
        used: kind and id of every artifact read or saved through this object; after a run, all that it
            needed.
    """

    def __init__(self, store: Store, limited: bool = False) -> None:
        self._store, self._limited = store, limited
        self._bare = store.behind if isinstance(store, CachedStore) else store
        self.used: set[tuple[str, str]] = set()
        self._marked = False
        if store.exists(MARKER):
            try:
                found = json.loads(store.read(MARKER, MARKER_BYTES))["format"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise StoreError(
                    f"{MARKER} in store {store.url} is damaged ({error}); expected format {FORMAT}"
                ) from error
            if found != FORMAT:
                raise StoreError(
                    f"store {store.url} has format {found}, written by another version of zooaudit; this one"
                    f" ({__version__}) reads format {FORMAT}: upgrade zooaudit or choose another store"
                )
            self._marked = True

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def made(self) -> bool:
        """Whether anything was ever stored here."""
        return self._marked or self._store.exists(MARKER) or any(self._store.keys("manifests/"))

    def check_there(self) -> None:
        """Check once that the store answers and is one of ours.

        Raises:
            StoreError: it does not answer, has disappeared (a folder that is no longer mounted), or was never
                written to.
        """
        if not self._store.exists(MARKER):
            raise StoreError(
                f"store {self.url} has no {MARKER}: it has gone, or nothing was ever stored there"
            )

    def named(self, kind: str, start: str, hint: str) -> Artifact:
        """The only artifact of a kind whose id begins with ``start``.

        Args:
            hint: what makes one, for a store that has none.

        Raises:
            UnknownNameError: there is none, or more than one; the message lists them.
        """
        known = self.ids(kind)
        found = [i for i in known if i.startswith(start)]
        if len(found) != 1:
            listed = ", ".join(found or known) or f"none; {hint} makes one"
            count = f"{len(found)} have" if found else "none has"
            raise UnknownNameError(
                f"{kind} {start!r} in {self.url}: {count} an id that starts so; there are: {listed}"
            )
        return self.load(kind, found[0])

    def leases(self, job: Job) -> Leases:
        """A job's claims on this store."""
        return Leases(self._store, job)

    def save(
        self, kind: str, id_: str, files: Mapping[str, bytes], meta: Mapping[str, Any], absent: bool = False
    ) -> Artifact:
        """Store an artifact, files first, manifest last; if it exists already, the existing one is kept and
        returned.

        Args:
            absent: the caller has just looked for it, which saves a request.

        Raises:
            InputError: kind, id or a file's name is not a plain name.
        """
        for name in (kind, *files):
            check_name(name)
        if not absent and self.has(kind, id_):
            return self.load(kind, id_)
        self._mark()
        listed: dict[str, dict[str, Any]] = {}
        for name, content in sorted(files.items()):
            sha = hashlib.sha256(content).hexdigest()
            self._store.create(object_key(sha), content)
            listed[name] = {"sha256": sha, "bytes": len(content)}
        body = {
            "format": format_of(kind),
            "kind": kind,
            "id": id_,
            "code": __version__,
            "files": listed,
            "meta": dict(meta),
        }
        digest = digest_of_body(body)
        manifest = canonical_json(body | {"sha256": digest}).encode()
        ours = self._store.create(_manifest_key(kind, id_), manifest)
        # Existing content without a manifest may have been collected before our manifest named it.
        for name, content in files.items():
            if not self._store.exists(key := object_key(listed[name]["sha256"])):
                self._store.create(key, content)
        if not ours:
            return self.load(kind, id_)
        self.used.add((kind, id_))
        return Artifact(kind, id_, read_manifest(manifest, kind, id_), manifest, self._store)

    def _mark(self) -> None:
        """Write the store's format, once."""
        if not self._marked:
            self._store.create(MARKER, _MARK)
            self._marked = True

    def save_by_digest(self, kind: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> Artifact:
        """As ``save``, with the first 16 hex digits of the SHA-256 of files and metadata as id."""
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        return self.save(kind, digest_of_body({"files": digests, "meta": dict(meta)})[:16], files, meta)

    def adopt(self, artifact: Artifact) -> int:
        """Copy another store's artifact bit for bit, files first, manifest last; returns how many bytes were
        new.

        Raises:
            StoreError: another artifact has its kind and id here; it is not changed.
            DamagedArtifactError: a file cannot be read, or does not match its manifest.
        """
        self.refuse_another(artifact)
        self._mark()
        written = self._adopt_files(artifact)
        if self._store.create(_manifest_key(artifact.kind, artifact.id), artifact.manifest):
            written += len(artifact.manifest)
        self.refuse_another(artifact)
        # again, as in ``save``: they may have been collected meanwhile.
        return written + self._adopt_files(artifact)

    def _adopt_files(self, artifact: Artifact) -> int:
        written = 0
        for name, entry in sorted(artifact.files.items()):
            key = object_key(entry["sha256"])
            if not self._store.exists(key) and self._store.create(key, artifact.read(name)):
                written += entry["bytes"]
        return written

    def refuse_another(self, artifact: Artifact) -> bool:
        """Whether this very artifact is here; StoreError if another one has its kind and id."""
        if not self.has(artifact.kind, artifact.id):
            return False
        found = self.load(artifact.kind, artifact.id).digest
        if found != artifact.digest:
            raise StoreError(
                f"{artifact.kind} {artifact.id} is in {self.url} already with other content (SHA-256"
                f" {found[:12]}..., to be copied: {artifact.digest[:12]}...); nothing was overwritten: copy"
                " to another store"
            )
        return True

    def load(self, kind: str, id_: str) -> Artifact:
        """Read an artifact's manifest and check it.

        Raises:
            MissingArtifactError: there is none.
            DamagedArtifactError: it does not match its own digest, or contains something that no artifact
                has; see ``read_manifest``.
            InputError: kind or id is not a plain name.
        """
        key = _manifest_key(kind, id_)
        try:
            raw = self._store.read(key, MOST_BYTES)
            found = read_manifest(raw, kind, id_)
        except ValueError as error:
            raise DamagedArtifactError(
                f"{key} in {self.url} is not a sound manifest: {error}; {REPAIR}"
            ) from error
        self.used.add((kind, id_))
        return Artifact(kind, id_, found, raw, self._store, self._limited)

    def has(self, kind: str, id_: str) -> bool:
        """Whether the artifact exists, complete."""
        return self._store.exists(_manifest_key(kind, id_))

    def ids(self, kind: str) -> list[str]:
        """Ids of all artifacts of a kind."""
        return [
            found[2]
            for key in self._store.keys(f"manifests/{check_name(kind)}/")
            if (found := MANIFEST.fullmatch(key))
        ]

    def kinds(self) -> dict[str, int]:
        """How many artifacts there are of each kind."""
        return dict(
            Counter(found[1] for key in self._store.keys("manifests/") if (found := MANIFEST.fullmatch(key)))
        )

    def check(self) -> Iterator[tuple[str, str, DamagedArtifactError]]:
        """Find damage; see :func:`zooaudit.storage.checking.damaged`."""
        return damaged(self._store, Artifacts(self._bare))

    def unnamed(self, grace_s: float = 0.0) -> list[str]:
        """Keys of content that no manifest names and that is at least ``grace_s`` seconds old: left by an
        interrupted save, or by a removed artifact.

        Raises:
            DamagedArtifactError: a manifest cannot be read, so it is unknown what it names.
        """
        return unnamed(self._store, self._named(), grace_s)

    def collect(self, grace_s: float) -> list[str]:
        """Remove unnamed content older than ``grace_s`` seconds; returns the keys removed. See
        :mod:`zooaudit.storage.collecting`."""
        return collect(self._store, self._named, grace_s)

    def put_back(self) -> list[str]:
        """Restore named content that an interrupted ``collect`` had set aside; returns its keys."""
        return put_back(self._store, self._named())

    def dead_leases(self, grace_s: float) -> list[str]:
        """Keys that killed jobs left of their claims, at least ``grace_s`` seconds ago."""
        return dead_leases(self._store, grace_s)

    def drop_leases(self, keys: list[str]) -> None:
        """Remove the keys from ``dead_leases``. If one of those jobs is alive after all, a model may be built
        twice; nothing worse."""
        for key in keys:
            self._store.delete(key)

    def _named(self) -> set[str]:
        artifacts = (self.load(kind, id_) for kind in self.kinds() for id_ in self.ids(kind))
        return {object_key(entry["sha256"]) for a in artifacts for entry in a.files.values()}

    def remove(self, kind: str, id_: str) -> None:
        """Remove an artifact's manifest and its damaged files, so that it can be built again."""
        key = _manifest_key(kind, id_)
        try:
            files = self.load(kind, id_).files
        except DamagedArtifactError:
            files = {}
        self._store.delete(key)
        for entry in files.values():
            blob = object_key(entry["sha256"])
            if (
                self._store.exists(blob)
                and hashlib.sha256(self._bare.read(blob)).hexdigest() != entry["sha256"]
            ):
                self._store.delete(blob)


def _manifest_key(kind: str, id_: str) -> str:
    return f"manifests/{check_name(kind)}/{check_name(id_)}.json"
