"""Judge a stored verdict's answers again, to explain it, as a page, or as evidence for somebody else."""

import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooaudit.choices import SEEN
from zooaudit.data.images import to_unit
from zooaudit.evidence import packs
from zooaudit.evidence.records import ANSWERS, KIND, keep, schema
from zooaudit.kits.kit import KIND as KIT
from zooaudit.kits.kit import Kit, answers_digest
from zooaudit.local_paths import last_part
from zooaudit.reporting.explained import Explanation, explained, plain
from zooaudit.serving.problems import Refused
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.copying import copy
from zooaudit.storage.opening import open_store
from zooaudit.suspects.access import Access
from zooaudit.verdict.decision import By
from zooaudit.verdict.examined import Examined
from zooaudit.verdict.several import one_of


@dataclass(frozen=True, eq=False)
class Case:
    """A suspect's answers, and how they were judged.

    Attributes:
        digest: the kit's.
        read_as: how the answers were read; ``access``: what was requested, perhaps ``seen``.
        evidence: its id in the store; "" for a score.
        verdict: the id of a score; "" for an audit.
        suspects: how many were judged at the same time, each by itself.
        made: when the score was given, in seconds; None for an audit.
        came: when the first and the last answer came, as evidence records it.
    """

    kit: Kit
    kit_id: str
    digest: str
    suspect: str
    answers: Tensor
    level: float
    access: str
    read_as: str
    by: By
    horizon: int | None
    evidence: str = ""
    verdict: str = ""
    suspects: int = 1
    made: float | None = None
    came: dict[str, str | None] = field(default_factory=dict)

    @staticmethod
    def of_score(kit: Kit, row: dict[str, Any], content: bytes) -> "Case":
        """The case of a stored score; ``content``: its answers."""
        result, asked = row["score"], row["asked"]
        verdict = result["twins"]
        rows = torch.from_numpy(np.frombuffer(content, "<f4").copy()).view(verdict["queries"], -1)
        return Case(
            kit,
            result["kit"],
            result["digest"],
            result["suspect"],
            rows,
            verdict["level"],
            asked["access"] or SEEN,
            verdict["access"],
            verdict["by"],
            asked["queries"],
            verdict=row["id"],
            suspects=asked.get("suspects", 1),
            made=row["made"],
        )

    @staticmethod
    def of_audit(kit: Kit, artifacts: Artifacts, evidence: str) -> "Case":
        """The case of an audit that ended with a verdict."""
        artifact = artifacts.load(KIND, evidence)
        meta = artifact.meta
        rows = artifact.table(ANSWERS, schema(meta["columns"])).column("probabilities").combine_chunks()
        answers = torch.from_numpy(np.asarray(rows.flatten()).copy()).view(-1, meta["columns"])
        return Case(
            kit,
            meta["kit"],
            meta["kit_sha256"],
            meta["suspect"],
            answers,
            meta["level"],
            meta["access"],
            meta["read_as"],
            meta["p_value"],
            meta["horizon"],
            artifact.id,
            came=meta.get("answered", {}),
        )

    def examined(self) -> Examined:
        """Judge the answers again."""
        found = self.kit.twin_test.judge(
            self.answers, self.level, Access.named(self.read_as), self.by, self.horizon
        )
        return replace(found, verdict=one_of(found.verdict, self.suspects))

    def explained(self, questions: int = 10) -> Explanation:
        """Explain the verdict, as ``zooaudit explain`` does."""
        access, verdict = Access.named(self.read_as), self.examined().verdict
        return explained(self.kit.twin_test, self.answers, access, verdict, self.kit.classes, questions)

    @property
    def identity(self) -> dict[str, str]:
        """What identifies the case."""
        return {
            "suspect": self.suspect,
            "kit": self.kit_id,
            "kit_sha256": self.digest,
            "victim": self.kit.victim,
            "evidence": self.evidence,
            "answers_sha256": answers_digest(self.answers),
        }

    def as_json(self) -> dict[str, Any]:
        """The explanation, with its questions' images."""
        from zooaudit.reporting.pictures import png  # slow to import, and rarely needed

        found = plain(self.explained())
        images = self.kit.twin_test.images
        shown = [q | {"image": png(to_unit(images[q["index"]]))} for q in found["questions"]]
        return self.identity | found | {"questions": shown}

    def page(self, questions: int) -> str:
        """One HTML file; without questions it shows only what the verdict shows."""
        from zooaudit.reporting.explained_page import answered, render

        given = [("Verdict given", datetime.fromtimestamp(self.made, UTC))] if self.made is not None else []
        result = self.identity | {
            "suspect": last_part(self.suspect),
            "verdict": self.verdict,
            "trial": self.kit.trial,
        }
        return render(self.kit.twin_test, self.explained(questions), result, [*answered(self.came), *given])

    def pack(self, artifacts: Artifacts) -> bytes:
        """Evidence and kit in one file, for 'zooaudit evidence verify'."""
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "pack.zip"
            if self.evidence:
                packs.export(artifacts, self.evidence, out)
                return out.read_bytes()
            store = open_store(str(Path(scratch) / "store"))
            copy(artifacts, store, [(KIT, self.kit_id)], lambda _: None)
            packs.export(
                store,
                keep(store, store.load(KIT, self.kit_id), self.suspect, self.examined(), self.access),
                out,
            )
            return out.read_bytes()


def judged_by_twins(row: dict[str, Any]) -> None:
    """Raises:
    Refused: 422, the verdict is by the paper's test.
    """
    if not row["score"].get("twins"):
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "verdicts of the paper's test are not explained",
            "method=paper",
            "method=twins",
        )
