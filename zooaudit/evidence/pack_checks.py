"""Check that an evidence pack is complete: its marker, its files, its tables."""

import json
from pathlib import Path
from typing import Any

from zooaudit.choices import CORRECTIONS
from zooaudit.errors import (
    DamagedArtifactError,
    InputError,
    MissingArtifactError,
    RejectedError,
)
from zooaudit.evidence.records import Together
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import FORMAT, MARKER, Artifacts

CHANGED = "the pack was changed or damaged; ask for it again"
"""The remedy for the receiver of a pack, who has no store to repair."""
MOST_COLUMNS = 1_000_000
MOST_MARKER = 4096


def no_pack(path: Path, why: object) -> InputError:
    return InputError(f"{path} is not a pack ({why}); expected one that 'zooaudit evidence export' made")


def check_marker(path: Path, folder: Path) -> None:
    """Check that the folder is a store of this version."""
    marker = folder / MARKER
    if not marker.is_file():
        if not (folder / "manifests").is_dir():
            raise no_pack(path, f"it holds neither {MARKER} nor manifests")
        raise RejectedError(f"{MARKER} is missing: {CHANGED}")
    try:
        found = json.loads(marker.read_bytes()[:MOST_MARKER])["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RejectedError(f"{MARKER} cannot be read ({error}): {CHANGED}") from error
    if found != FORMAT:
        raise InputError(
            f"the pack has format {str(found)[:80]}, of another version of zooaudit; expected format"
            f" {FORMAT}: take that version"
        )


def check_contents(pack: Artifacts) -> None:
    """Read every file that a manifest names."""
    for kind in sorted(pack.kinds()):
        for id_ in pack.ids(kind):
            try:
                artifact = pack.load(kind, id_)
            except DamagedArtifactError as error:
                raise RejectedError(
                    f"the manifest of {kind} {id_} is damaged ({error.__cause__ or error}): {CHANGED}"
                ) from error
            for name in artifact.files:
                _check_file(artifact, name)


def _check_file(artifact: Artifact, name: str) -> None:
    try:
        artifact.read(name)
    except DamagedArtifactError as error:
        if isinstance(error.__cause__, MissingArtifactError):
            raise RejectedError(f"{name} is missing: {CHANGED}") from error
        raise RejectedError(
            f"{name} is not what the manifest states (SHA-256 {artifact.files[name]['sha256']}): {CHANGED}"
        ) from error


def check_types(meta: dict[str, Any], together: Together) -> None:
    """Raise TypeError or IndexError unless numbers are numbers: a pack may come from anybody."""
    together.p_values[together.index]
    numbers = [meta["level"], *(p for p in together.p_values if p is not None)]
    whole = [meta["queries"], meta["horizon"], meta["columns"], together.index]
    if not all(isinstance(n, int | float) for n in numbers) or not all(
        isinstance(n, int) and n >= 0 for n in whole
    ):
        raise TypeError("a level, a p-value or a count that is not a number")
    if not 2 <= meta["columns"] <= MOST_COLUMNS:
        raise TypeError(f"{meta['columns']} columns of answers")
    for name in ("kit", "suspect", "access", "read_as", "p_value", "method", "commitment"):
        if not isinstance(meta[name], str):
            raise TypeError(f"{name} that is not text")
    if meta["p_value"] not in ("rank", "normal") or together.correction not in CORRECTIONS:
        raise TypeError("a p-value or a correction of an unknown kind")
    verdict = meta["verdict"]
    if (
        not isinstance(verdict, dict)
        or not {"decision", "p_value", "rank", "settled", "statistics", "reason"} <= verdict.keys()
    ):
        raise TypeError("a verdict that is not valid")
    stated = [*verdict["statistics"], *([] if verdict["p_value"] is None else [verdict["p_value"]])]
    if not all(isinstance(n, int | float) for n in stated):
        raise TypeError("an invalid number in a verdict")
