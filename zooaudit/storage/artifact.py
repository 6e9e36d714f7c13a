"""One artifact: its manifest and its files, each checked against its digest when it is read."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from zooaudit import __version__
from zooaudit.data.limited_parquet import reader
from zooaudit.errors import DamagedArtifactError, DataError, FormatError, MissingArtifactError
from zooaudit.storage.manifest import REMEDIES, Manifest, format_of
from zooaudit.storage.port import Store

REPAIR = "remove it with 'zooaudit store check --repair' and run again: it is rebuilt"


@dataclass(frozen=True)
class Artifact:
    """A complete artifact: metadata now, files on demand, each checked against its digest when it is read."""

    kind: str
    id: str
    stated: Manifest
    """Its manifest, in whatever format, for copying and checking."""
    manifest: bytes = field(repr=False)
    """As it is stored."""
    _store: Store = field(repr=False)
    limited: bool = False
    """Whether its tables come from a stranger, and are read in a limited process."""

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """By name: ``sha256`` and ``bytes``."""
        return self.stated.files

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: of everything in it, file digests included."""
        return self.stated.digest

    @property
    def meta(self) -> dict[str, Any]:
        """Its metadata.

        Raises:
            FormatError: another version of zooaudit wrote it, in a format that this version does not read.
        """
        expected = format_of(self.kind)
        if self.stated.format != expected:
            newer = self.stated.format > expected
            raise FormatError(
                f"{self.kind} {self.id} has format {self.stated.format}, written by zooaudit"
                f" {self.stated.code}; this one ({__version__}) reads format {expected}",
                (
                    "upgrade zooaudit"
                    if newer
                    else REMEDIES.get(self.kind, "run again what made it, in another store")
                ),
            )
        return self.stated.meta

    def read(self, name: str) -> bytes:
        """Content of one file."""
        if name not in self.files:
            raise DamagedArtifactError(f"{self.kind} {self.id} holds {sorted(self.files)}; expected {name}")
        expected = self.files[name]
        key = object_key(expected["sha256"])
        try:
            content = self._store.read(key, expected["bytes"])
        except MissingArtifactError as error:
            raise DamagedArtifactError(f"{self.kind} {self.id}: {name} is gone ({key}); {REPAIR}") from error
        except DamagedArtifactError as error:  # larger, or not a regular file
            raise DamagedArtifactError(f"{self.kind} {self.id}: {name}: {error}; {REPAIR}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != expected["sha256"]:
            raise DamagedArtifactError(
                f"{self.kind} {self.id}: {name} ({key}) is {len(content):,} bytes with SHA-256"
                f" {found[:12]}...; expected {expected['bytes']:,} bytes, {expected['sha256'][:12]}...;"
                f" {REPAIR}"
            )
        return content

    def tensors(self, name: str) -> dict[str, Tensor]:
        """A safetensors file's tensors."""
        try:
            return safetensors.torch.load(self.read(name))
        except SafetensorError as error:
            raise DamagedArtifactError(
                f"{self.kind} {self.id}: {name} is not safetensors ({error})"
            ) from error

    def table(self, name: str, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file's table, which must have ``schema``; only ``columns`` of it, if given."""
        if self.limited:
            return self._limited_table(name, schema, columns)
        try:
            file = pq.ParquetFile(pa.BufferReader(self.read(name)))
            if not file.schema_arrow.equals(schema):
                raise DamagedArtifactError(
                    f"{self.kind} {self.id}: {name} has columns {file.schema_arrow.names}; expected"
                    f" {schema.names}"
                )
            return file.read(columns, use_threads=False)  # tables are small, and read in parallel
        except (pa.ArrowException, OSError) as error:
            raise DamagedArtifactError(f"{self.kind} {self.id}: {name} is not Parquet ({error})") from error

    def _limited_table(self, name: str, schema: pa.Schema, columns: list[str] | None) -> pa.Table:
        try:
            table, _ = reader.table(self.read(name))
        except DataError as error:
            raise DamagedArtifactError(
                f"{self.kind} {self.id}: {name} is not Parquet that can be read ({error})"
            ) from error
        if not table.schema.equals(schema):
            raise DamagedArtifactError(
                f"{self.kind} {self.id}: {name} has columns {table.schema.names}; expected {schema.names}"
            )
        return table if columns is None else table.select(columns)


def object_key(sha256: str) -> str:
    """The key of content with this SHA-256."""
    return f"objects/{sha256[:2]}/{sha256}"
