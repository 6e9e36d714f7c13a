"""Pack evidence with its kit in one file for somebody else, and read such a file."""

import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zooaudit.data.zip_limits import check_listing, check_members
from zooaudit.errors import (
    DamagedArtifactError,
    FormatError,
    InputError,
    MissingArtifactError,
    RejectedError,
    StoreError,
)
from zooaudit.evidence.pack_checks import (
    CHANGED,
    MOST_COLUMNS,
    check_contents,
    check_marker,
    check_types,
    no_pack,
)
from zooaudit.evidence.records import ANSWERS, KIND, SETTLED, Together, schema
from zooaudit.kits.kit import KIND as KIT
from zooaudit.kits.kit import Kit, answers_digest, load_kit, read_kit
from zooaudit.local_paths import last_part
from zooaudit.outputs import check_new
from zooaudit.storage.artifact import REPAIR, Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.copying import copy
from zooaudit.storage.models import KIND as MODEL
from zooaudit.storage.opening import open_store
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import SUM_TOLERANCE
from zooaudit.verdict.examined import FAMILIES, NO_CLASS
from zooaudit.verdict.grouping import MOST as GROUPS
from zooaudit.verdict.twin_test import TwinTest

MOST_BYTES = 4 * 2**30
"""The most bytes of an unpacked pack."""
MOST_MEMBERS = 1000
"""The most members of a pack: a dozen are needed."""


def export(artifacts: Artifacts, id_: str, out: Path, with_victim: bool = False) -> Path:
    """Pack evidence and its kit into one file, and the victim's weights if the checker is trusted with them.

    Args:
        id_: the evidence's, or the start of it if that is unique.

    Raises:
        UnknownNameError, MissingArtifactError: the store lacks one of them.
        InputError: the file exists, or cannot be written.
    """
    check_new(out)
    evidence = artifacts.named(KIND, id_, "'zooaudit score'")
    which = [(KIND, evidence.id), (KIT, evidence.meta["kit"])]
    if with_victim:
        which.append((MODEL, load_kit(artifacts, evidence.meta["kit"]).victim))
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
    """Open a pack as a store, for as long as the context lasts; everything in it has the SHA-256 in its
    manifests.

    Raises:
        InputError: there is no such file, or it is not a pack: names that leave the folder, and contents
            beyond ``MOST_BYTES``, are not unpacked.
        RejectedError: a part is missing, or does not match its manifest.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a pack that 'zooaudit evidence export' made")
    with tempfile.TemporaryDirectory() as scratch:
        _unpack(path, scratch)
        check_marker(path, Path(scratch))
        pack = open_store(scratch, writes=False, limited=True)
        check_contents(pack)
        yield pack


def _unpack(path: Path, folder: str) -> None:
    try:
        check_listing(path, MOST_MEMBERS)
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"{path} is not a pack ({error}): it is truncated, or not a ZIP: ask for it again"
        ) from error
    except ValueError as error:
        raise no_pack(path, error) from error
    with archive:
        try:
            check_members(path, archive.infolist(), MOST_MEMBERS, MOST_BYTES)
        except ValueError as error:
            raise no_pack(path, error) from error
        try:
            archive.extractall(folder)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise RejectedError(f"one member is the folder of another: {CHANGED}") from error
        except OSError as error:
            raise StoreError(
                f"{path} cannot be unpacked in {folder}: {error.strerror}; free some space, or set TMPDIR"
            ) from error
        except (
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            raise RejectedError(f"a member cannot be unpacked ({error}): {CHANGED}") from error


@dataclass(frozen=True, eq=False)
class Opened:
    """A pack's evidence and kit."""

    evidence: Artifact
    kit_artifact: Artifact
    kit: Kit
    answers: Tensor
    together: Together

    @property
    def identity(self) -> dict[str, str]:
        """What identifies the pack: the same in ``evidence verify`` and on the page of ``explain``."""
        return {
            "suspect": last_part(self.evidence.meta["suspect"]),
            "evidence": self.evidence.id,
            "kit": self.kit_artifact.id,
            "kit_sha256": self.kit_artifact.digest,
            "victim": self.kit.victim,
            "answers_sha256": answers_digest(self.answers),
            "trial": self.kit.trial,
        }

    @staticmethod
    def of(pack: Artifacts) -> "Opened":
        """Read the whole pack; every file is checked against its SHA-256.

        Raises:
            InputError: another version made it, so it cannot be read.
            RejectedError: not one piece of evidence with its kit, or the two contradict each other.
        """
        ids = pack.ids(KIND)
        if len(ids) != 1:
            raise RejectedError(f"it holds {len(ids)} pieces of evidence, not one: {CHANGED}")
        evidence = pack.load(KIND, ids[0])
        try:
            meta = evidence.meta
            if missing := sorted(
                ({*SETTLED, "commitment", "suspect", "read_as", "queries", "columns", "together", "verdict"})
                - meta.keys()
            ):
                raise InputError(
                    f"the pack's evidence does not say {', '.join(missing)}; expected one that this version"
                    " exported"
                )
            kit_artifact = pack.load(KIT, meta["kit"])
            kit = read_kit(kit_artifact)
            _check_test(kit.twin_test)
            together = Together(**meta["together"])
            check_types(meta, together)
            table = evidence.table(ANSWERS, schema(meta["columns"]))
            Access.named(meta["read_as"])
        except FormatError as error:
            raise InputError(f"{error.found}: check the pack with that version") from error
        except MissingArtifactError as error:
            raise RejectedError(f"the kit {meta['kit']} is missing: {CHANGED}") from error
        except DamagedArtifactError as error:
            raise RejectedError(f"{str(error).removesuffix(f'; {REPAIR}')}: {CHANGED}") from error
        except (KeyError, TypeError, AttributeError, RuntimeError, IndexError) as error:
            raise InputError(
                f"the pack's kit or evidence cannot be read ({error}); expected one that this version"
                " exported"
            ) from error
        if len(table) != meta["queries"] or table.column("query").to_pylist() != list(range(len(table))):
            raise RejectedError(
                f"its answers are not to queries 0 to {meta['queries'] - 1}, each once and in order:"
                f" {CHANGED}"
            )
        rows = table.column("probabilities").combine_chunks()
        answers = torch.from_numpy(np.asarray(rows.flatten()).copy()).view(-1, meta["columns"])
        return Opened(evidence, kit_artifact, kit, answers, together)


def _check_test(test: TwinTest) -> None:
    """Raise TypeError unless a kit's twin test is complete: answers of all candidates and references to all
    questions."""
    asked, columns = len(test.images), test.answers.shape[-1]
    shapes = [(test.answers, len(test.candidates)), (test.reference_answers, len(test.references))]
    whole = (
        all(tuple(given.shape) == (count, asked, columns) for given, count in shapes)
        and len(test.candidates) > 0
    )
    rising = (
        list(test.looks) == sorted(set(test.looks))
        and test.looks[-1:] == (asked,)
        and 0 < test.control_questions <= test.looks[0]
    )
    classes = test.num_classes
    whole &= isinstance(classes, int) and 2 <= classes <= MOST_COLUMNS and columns == min(classes, GROUPS)
    whole &= bool(((test.labels >= NO_CLASS) & (test.labels < classes)).all())
    named = len(test.labels) == len(test.families) == asked and set(test.families) <= set(FAMILIES)
    behind = [given for given in (test.behind, test.reference_behind) if given is not None]
    whole &= len(behind) in (0, 2) and all(
        len(b) > 0 and b.shape[1:] == given.shape for b, (given, _) in zip(behind, shapes, strict=False)
    )
    foreseen = [given for given in (test.predicted, test.lessons) if given is not None]
    if test.predicted is not None and test.lessons is not None:
        whole &= test.predicted.shape == test.answers.shape
        whole &= test.lessons.ndim == 3 and (len(test.lessons), test.lessons.shape[2]) == (
            len(test.references),
            columns,
        )
    whole &= len(foreseen) in (0, 2)
    hidden = [given for given in (test.defended, test.defended_predicted) if given is not None]
    whole &= all(given.shape == test.answers.shape for given in hidden)
    whole &= test.defended is not None or not hidden
    answers = [*behind, *foreseen, *hidden, *(given for given, _ in shapes)]
    # Comparisons with NaN are false.
    sound = all(bool(((given >= 0) & (given <= 1 + SUM_TOLERANCE)).all()) for given in answers)
    numbers = all(isinstance(c.accuracy, int | float) for c in test.candidates)
    if not (whole and rising and named and sound and numbers):
        raise TypeError("a twin test whose questions, answers and candidates do not fit each other")
