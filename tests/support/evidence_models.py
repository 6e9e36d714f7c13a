"""Packs with models, honest and not."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from tests.support.cases import copied, exported
from zooaudit.evidence.records import keep
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import Recorded, TorchBlackBox
from zooaudit.verdict.decision import Decision


def packed(
    case_store: Path, folder: Path, kit: Kit, name: str, answers: Tensor, decision: Decision = Decision.STOLEN
) -> Path:
    """Evidence by a kit that the owner tampered with before he committed to it: all of its
    digests are right."""
    artifacts = open_store(str(case_store))
    saved = save_kit(artifacts, replace(kit, facts=kit.facts | {"framed": name}))
    found = kit.twin_test.examine(Recorded(answers))
    assert found.verdict.decision is decision, (
        f"the frame must work, or catching it proves nothing: {found.verdict.reason}"
    )
    return exported(case_store, keep(artifacts, saved, name, found), folder / f"{name}.zip", "--with-victim")


def thief(case_store: Path, kit: Kit) -> Tensor:
    return TorchBlackBox(copied(case_store), kit.num_classes).ask(kit.twin_test.questions())
