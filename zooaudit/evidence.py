"""Evidence that holds up: a kit's commitment before anybody is asked, a pack that another can check, and the check.

An owner may be dishonest. A kit whose references are invented accuses everybody; one whose copies were distilled from the suspect accuses
that suspect. So whoever checks a pack recomputes its verdict, and then puts the kit to the test on models whose history he knows because he
made them: innocent ones, which it must not accuse, and copies of the victim, which it must; and on the victim itself.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from zooaudit import __version__
from zooaudit.code import code_digest
from zooaudit.config import canonical_json
from zooaudit.errors import InputError
from zooaudit.fingerprint.access import Access
from zooaudit.kit import KIND as KIT
from zooaudit.kit import Kit, load_kit, read_kit
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts, open_store, table_to_bytes
from zooaudit.storage.copy import copy
from zooaudit.storage.models import KIND as MODEL
from zooaudit.suspects.blackbox import Recorded
from zooaudit.verdict.calibrated import Calibrated
from zooaudit.verdict.probe import Examined

KIND = "evidence"
ANSWERS = "answers.parquet"
CODE = code_digest("suspects", "fingerprint", "encoder", "verdict")
"""What a verdict follows from beside kit and answers."""
MOST_BYTES = 4 * 2**30
"""Of an unpacked pack."""


def commitment(kit: Artifact, level: float | None = None) -> dict[str, Any]:
    """What an owner lets somebody timestamp before a suspect is asked: kit, threshold and code, and one digest of them all."""
    found = read_kit(kit)
    settled = {
        "kit": kit.id,
        "kit_sha256": kit.digest,
        "level": found.probe.level if level is None else level,
        "checks": found.probe.checks,
        "budget": found.probe.budget,
        "code": CODE,
        "version": __version__,
    }
    return settled | {"commitment": hashlib.sha256(canonical_json(settled).encode()).hexdigest()}


def keep(artifacts: Artifacts, kit: Artifact, suspect: str, found: Examined) -> str:
    """Store a suspect's raw answers and the verdict on them; returns the evidence's id."""
    settled = commitment(kit, found.verdict.level)
    meta = settled | {"suspect": suspect, "access": found.access.name, "queries": found.queries, "verdict": _plain(found)}
    return artifacts.save_by_digest(KIND, {ANSWERS: table_to_bytes(_table(found.answers))}, meta).id


def _plain(found: Examined) -> dict[str, Any]:
    verdict = asdict(found.verdict)
    return verdict | {"call": str(found.verdict.call), "families": list(verdict["families"]), "score": found.score}


def _table(answers: Tensor) -> pa.Table:
    flat = pa.FixedSizeListArray.from_arrays(pa.array(answers.float().flatten().numpy()), answers.shape[1])
    return pa.Table.from_arrays([pa.array(np.arange(len(answers)), pa.int32()), flat], schema=_schema(answers.shape[1]))


def _schema(num_classes: int) -> pa.Schema:
    """One row a query, in the order of the probe's images."""
    return pa.schema([("query", pa.int32()), ("probabilities", pa.list_(pa.float32(), num_classes))])


def export(artifacts: Artifacts, id_: str, out: Path, with_victim: bool = False) -> Path:
    """Pack evidence and the kit that it rests on into one file, and the victim's weights if the checker is trusted with them.

    Raises:
        MissingArtifactError: the store lacks one of them.
        InputError: there is a file of that name.
    """
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
        except (zipfile.BadZipFile, OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{path} is no pack ({error}); expected one that 'zooaudit evidence export' made") from error
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
        kit_artifact = pack.load(KIT, evidence.meta["kit"])
        kit = read_kit(kit_artifact)
        rows = evidence.table(ANSWERS, _schema(kit.num_classes)).column("probabilities").combine_chunks()
        answers = torch.from_numpy(np.asarray(rows.flatten()).copy()).view(-1, kit.num_classes)
        return Opened(evidence, kit_artifact, kit, answers)


def recomputed(opened: Opened, committed: str = "") -> list[Finding]:
    """What a pack alone can show: that it is one piece, and that its verdict follows from its answers."""
    meta = opened.evidence.meta
    found = [Finding("contents", True, "every file has the SHA-256 that its manifest states")]
    settled = commitment(opened.kit_artifact, meta["level"])
    same_kit = settled["kit_sha256"] == meta["kit_sha256"]
    found.append(
        Finding("kit", same_kit, f"kit {meta['kit']}, SHA-256 {settled['kit_sha256']}" + ("" if same_kit else ", not what was asked"))
    )
    if committed:
        told = f"committed {committed}, asked by {meta['commitment']}"
        found.append(Finding("commitment", committed == meta["commitment"], told))
    else:
        found.append(Finding("commitment", None, f"give --commitment to compare it with {meta['commitment']}"))
    told = f"verdict by code {meta['code']}, checked by {CODE}"
    found.append(Finding("code", True if meta["code"] == CODE else None, told))
    return [*found, _verdict_again(opened)]


def _verdict_again(opened: Opened) -> Finding:
    meta, probe = opened.evidence.meta, opened.kit.probe
    again = probe.judge(opened.answers, meta["level"], Access.named(meta["access"]), apart=(meta["suspect"],))
    stated, found = meta["verdict"], _plain(again)
    same = stated["call"] == found["call"] and _alike(stated["p_value"], found["p_value"]) and _alike(stated["score"], found["score"])
    told = f"{found['call']}: {found['reason']}"
    return Finding("verdict", same, told if same else f"the answers give {told}; the pack states {stated['call']}: {stated['reason']}")


def _alike(one: float | None, other: float | None) -> bool:
    """Up to the last bits, which another processor may round otherwise."""
    return one is other if one is None or other is None else bool(np.isclose(one, other, rtol=1e-6, atol=1e-9))


def replayed(kit: Kit, answers: Tensor, **options: Any) -> Calibrated:
    """The verdict on a model whose answers to all of a kit's probe are known."""
    return kit.probe.examine(Recorded(answers), **options).verdict
