"""Evidence that holds up: a kit's commitment before anybody is asked, a pack that another can check, and the check.

An owner may be dishonest. A kit whose references are invented accuses everybody; one whose copies were distilled from the suspect accuses
that suspect. So whoever checks a pack recomputes its verdict, and then puts the kit to the test on models whose history he knows because he
made them: innocent ones, which it must not accuse, and copies of the victim, which it must; and on the victim itself.
"""

import hashlib
import json
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from zooaudit import __version__
from zooaudit.code import code_digest
from zooaudit.config import canonical_json, check_level
from zooaudit.errors import InputError, MissingArtifactError, StoreError
from zooaudit.fingerprint.access import Access
from zooaudit.kit import KIND as KIT
from zooaudit.kit import Kit, load_kit, read_kit
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts, open_store, table_to_bytes
from zooaudit.storage.copy import copy
from zooaudit.storage.models import KIND as MODEL
from zooaudit.verdict.calibrated import Calibrated
from zooaudit.verdict.many import Correction, corrected
from zooaudit.verdict.probe import Examined

KIND = "evidence"
ANSWERS = "answers.parquet"
CODE = code_digest("suspects", "fingerprint", "encoder", "verdict")
"""What a verdict follows from beside kit and answers."""
SEEN = "seen"
"""Answers are read as what the first of them look like."""
SETTLED = ("kit", "kit_sha256", "level", "access", "checks", "budget", "code", "version")
"""What a commitment is to."""
MOST_BYTES = 4 * 2**30
"""Of an unpacked pack."""


def commitment(kit: Artifact, level: float | None = None, access: str = SEEN) -> dict[str, Any]:
    """What an owner lets somebody timestamp before a suspect is asked: kit, threshold, how answers are read, code, and one digest of all.

    Raises:
        ConfigError: no such level or access.
    """
    probe = kit.meta["probe"]
    settled = {
        "kit": kit.id,
        "kit_sha256": kit.digest,
        "level": probe["level"] if level is None else level,
        "access": access,
        "checks": probe["checks"],
        "budget": probe["budget"],
        "code": CODE,
        "version": __version__,
    }
    check_level(settled["level"])
    if access != SEEN:
        Access.named(access)
    return settled | {"commitment": _digest(settled)}


def _digest(settled: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json({k: settled[k] for k in SETTLED}).encode()).hexdigest()


@dataclass(frozen=True)
class Together:
    """The suspects that were judged at once: how their p-values were corrected, all of them by themselves, and which this one is."""

    correction: Correction
    p_values: tuple[float | None, ...]
    index: int


def keep(
    artifacts: Artifacts, kit: Artifact, suspect: str, found: Examined, access: str = SEEN, together: Together | None = None,
    call: Calibrated | None = None, sha256: str = "",
) -> str:  # fmt: skip
    """Store a suspect's raw answers and the verdict on them; returns the evidence's id.

    Args:
        access: as it was committed to.
        together: the suspects that it was judged with; by default it was alone.
        call: the verdict as one of them.
        sha256: of the suspect's file, if there is one.
    """
    alone = Together("none", (found.verdict.p_value,), 0)
    meta = commitment(kit, found.verdict.level, access) | {
        "suspect": suspect,
        "suspect_sha256": sha256,
        "read_as": found.access.name,
        "queries": found.queries,
        "together": asdict(together or alone),
        "verdict": _plain(call or found.verdict, found.score),
    }
    return artifacts.save_by_digest(KIND, {ANSWERS: table_to_bytes(_table(found.answers))}, json.loads(json.dumps(meta))).id


def _plain(verdict: Calibrated, score: float) -> dict[str, Any]:
    plain = asdict(verdict)
    return plain | {"call": str(verdict.call), "families": list(plain["families"]), "score": score}


def _table(answers: Tensor) -> pa.Table:
    flat = pa.FixedSizeListArray.from_arrays(pa.array(answers.float().flatten().numpy()), answers.shape[1])
    return pa.Table.from_arrays([pa.array(np.arange(len(answers)), pa.int32()), flat], schema=_schema(answers.shape[1]))


def _schema(num_classes: int) -> pa.Schema:
    """One row a query, in the order of the probe's images."""
    return pa.schema([("query", pa.int32()), ("probabilities", pa.list_(pa.float32(), num_classes))])


def export(artifacts: Artifacts, id_: str, out: Path, with_victim: bool = False) -> Path:
    """Pack evidence and the kit that it rests on into one file, and the victim's weights if the checker is trusted with them.

    Args:
        id_: the evidence's, or the start of it if only one has that.

    Raises:
        MissingArtifactError: the store lacks one of them.
        InputError: there is a file of that name.
    """
    known = [i for i in artifacts.ids(KIND) if i.startswith(id_)]
    if len(known) != 1:
        raise MissingArtifactError(f"{len(known)} pieces of evidence in {artifacts.url} have an id that starts with {id_!r}")
    id_ = known[0]
    evidence = artifacts.load(KIND, id_)
    which = [(KIND, id_), (KIT, evidence.meta["kit"])]
    if with_victim:
        which.append((MODEL, load_kit(artifacts, evidence.meta["kit"]).victim))
    if out.exists():
        raise InputError(f"{out} is there already; choose another name, nothing was overwritten")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "pack"
        copy(artifacts, open_store(str(folder)), which, lambda _: None)
        partial = out.with_name(f".partial-{out.name}")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as pack:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                pack.write(path, path.relative_to(folder))
        partial.replace(out)
    return out


@contextmanager
def opened(path: Path) -> Iterator[Artifacts]:
    """A pack as a store of its own, for as long as it is looked at.

    Raises:
        InputError: no file, or no pack: names that leave the folder and contents beyond ``MOST_BYTES`` are not unpacked.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a pack that 'zooaudit evidence export' made")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with zipfile.ZipFile(path) as pack:
                size = sum(entry.file_size for entry in pack.infolist())
                if size > MOST_BYTES:
                    raise InputError(f"{path} unpacks to {size:,} bytes; expected {MOST_BYTES:,} at most")
                pack.extractall(scratch)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise InputError(f"{path} is no pack ({error}); expected one that 'zooaudit evidence export' made") from error
        except OSError as error:
            raise StoreError(f"{path} cannot be unpacked in {scratch}: {error.strerror}; free some space, or set TMPDIR") from error
        yield open_store(scratch)


@dataclass(frozen=True)
class Finding:
    """One check of a pack: passed, failed, or None if it was not made, and why."""

    check: str
    passed: bool | None
    told: str


@dataclass(frozen=True, eq=False)
class Opened:
    """A pack's evidence and kit."""

    evidence: Artifact
    kit_artifact: Artifact
    kit: Kit
    answers: Tensor
    together: Together

    @staticmethod
    def of(pack: Artifacts) -> "Opened":
        """Read all of it; every file is checked against its SHA-256.

        Raises:
            InputError: not one piece of evidence and its kit.
            DamagedArtifactError: something in it was changed.
        """
        ids = pack.ids(KIND)
        if len(ids) != 1:
            raise InputError(f"the pack holds {len(ids)} pieces of evidence; expected one")
        evidence = pack.load(KIND, ids[0])
        meta = evidence.meta
        try:
            if missing := sorted(({*SETTLED, "commitment", "suspect", "read_as", "queries", "together", "verdict"}) - meta.keys()):
                raise InputError(f"the pack's evidence does not say {', '.join(missing)}; expected one that this version exported")
            kit_artifact = pack.load(KIT, meta["kit"])
            kit = read_kit(kit_artifact)
            table = evidence.table(ANSWERS, _schema(kit.num_classes))
            asked, together = list(range(meta["queries"])), Together(**meta["together"])
            together.p_values[together.index]
            Access.named(meta["read_as"])
        except (KeyError, TypeError, AttributeError, RuntimeError, IndexError) as error:
            raise InputError(f"the pack's kit or evidence cannot be read ({error}); expected one that this version exported") from error
        if table.column("query").to_pylist() != asked:
            raise InputError(f"the pack's answers are not to queries 0 to {len(asked) - 1}, each once and in order")
        rows = table.column("probabilities").combine_chunks()
        answers = torch.from_numpy(np.asarray(rows.flatten()).copy()).view(-1, kit.num_classes)
        return Opened(evidence, kit_artifact, kit, answers, together)


def recomputed(opened: Opened, committed: str = "") -> list[Finding]:
    """What a pack alone can show: that it is one piece, and that its verdict follows from its answers."""
    meta = opened.evidence.meta
    found = [
        Finding("contents", True, "every file has the SHA-256 that its manifest states"),
        Finding("answers", None, "they are the exporter's word: have the suspect asked again if that is in doubt"),
        _settled(opened),
        Finding("commitment", None, f"give --commitment to compare it with {meta['commitment']}"),
        Finding("code", True if meta["code"] == CODE else None, f"verdict by code {meta['code']}, checked by {CODE}"),
    ]
    if committed:
        told = f"committed {committed}, asked by {meta['commitment']}"
        found[3] = Finding("commitment", committed == meta["commitment"], told)
    return [*found, _verdict_again(opened)]


def _settled(opened: Opened) -> Finding:
    """Whether the stated commitment is one to this kit, level and reading."""
    meta = opened.evidence.meta
    here = commitment(opened.kit_artifact, meta["level"], meta["access"]) | {"code": meta["code"], "version": meta["version"]}
    differ = [k for k in SETTLED if here[k] != meta[k]]
    same = not differ and _digest(here) == meta["commitment"]
    told = f"kit {meta['kit']}, level {meta['level']:g}, answers read as {meta['access']}"
    return Finding("settings", same, told if same else f"{told}: the commitment {meta['commitment']} is to other settings")


def _verdict_again(opened: Opened) -> Finding:
    meta, probe = opened.evidence.meta, opened.kit.probe
    access = None if meta["access"] == SEEN else Access.named(meta["access"])
    again = probe.judge(opened.answers, meta["level"], access)
    together = opened.together
    whole = [replace(again.verdict, p_value=p) for p in together.p_values]
    judged = corrected(whole, together.correction)[together.index]
    stated, found = meta["verdict"], _plain(judged, again.score)
    same = (
        meta["read_as"] == again.access.name  # which the checker's models are read as, too
        and _alike(together.p_values[together.index], again.verdict.p_value)
        and stated["call"] == found["call"]
        and _alike(stated["p_value"], found["p_value"])
        and _alike(stated["score"], found["score"])
    )
    told = f"{found['call']}: {found['reason']}"
    if len(whole) > 1:
        told += f" (with {len(whole) - 1} other suspects, whose p-values are the exporter's word)"
    return Finding("verdict", same, told if same else f"the answers give {told}; the pack states {stated['call']}: {stated['reason']}")


def _alike(one: float | None, other: float | None) -> bool:
    """Up to the last bits, which another processor may round otherwise."""
    return one is other if one is None or other is None else bool(np.isclose(one, other, rtol=1e-6, atol=1e-9))
