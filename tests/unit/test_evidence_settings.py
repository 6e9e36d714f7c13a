"""Settings, kits and readings that do not fit the evidence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.cases import Capture, copied, exported, kit_of, verified
from zooaudit.cli.main import main
from zooaudit.evidence.records import Together, commitment, keep
from zooaudit.kits.kit import KIND as KIT
from zooaudit.kits.kit import TENSORS, Kit
from zooaudit.storage.encoding import tensors_to_bytes
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import Examined
from zooaudit.verdict.several import corrected


@pytest.mark.parametrize("changed", [{"level": 0.3}, {"horizon": 50}, {"by": "normal"}])
def test_settings_that_do_not_give_the_commitment_are_rejected(
    changed: dict[str, Any], case_store: Path, case_kit: Kit, tmp_path: Path, capsys: Capture
) -> None:
    """An owner committed to one level, scored at another, and wrote the committed digest beside it."""
    artifacts, artifact = open_store(str(case_store)), kit_of(case_store)
    found = case_kit.twin_test.examine(TorchBlackBox(copied(case_store), case_kit.num_classes), **changed)
    kept = artifacts.load("evidence", keep(artifacts, artifact, "s", found))
    committed = commitment(artifact)["commitment"]
    forged = artifacts.save_by_digest(
        "evidence", {n: kept.read(n) for n in kept.files}, kept.meta | {"commitment": committed}
    )
    code, checks, _ = verified(
        capsys, exported(case_store, forged.id, tmp_path / "forged.zip"), "--commitment", committed
    )
    assert code == 6 and checks["commitment"] is True and checks["settings"] is False


def test_a_call_that_holds_for_one_suspect_alone_is_not_the_evidence_on_several(
    case_store: Path, kept_evidence: Examined, tmp_path: Path, capsys: Capture
) -> None:
    artifacts, kit = open_store(str(case_store)), kit_of(case_store)
    assert kept_evidence.verdict.decision is Decision.STOLEN
    p = (kept_evidence.verdict.p_value, 0.9, 0.8)
    together = Together("holm", p, 0)
    called = corrected([replace(kept_evidence.verdict, p_value=x) for x in p])[0]
    assert called.decision is not Decision.STOLEN
    honest = exported(
        case_store,
        keep(artifacts, kit, "s", kept_evidence, together=together, final=called),
        tmp_path / "honest.zip",
    )
    assert verified(capsys, honest)[1]["verdict"] is True
    lie = exported(
        case_store, keep(artifacts, kit, "s", kept_evidence, together=together), tmp_path / "lie.zip"
    )
    code, checks, _ = verified(capsys, lie)
    assert code == 6 and checks["verdict"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"queries": "many"},
        {"level": "high"},
        {"method": 3},
        {"verdict": {}},
        {"together": {"correction": "none", "p_values": ["a"], "index": 0}},
        {"together": {"correction": "none", "p_values": [0.1], "index": 5}},
        {"together": {}},
        {"columns": 0},
        {"columns": 10**9},
        {"horizon": "all"},
        {"p_value": "guess"},
        {"together": {"correction": "some", "p_values": [0.1], "index": 0}},
        {"together": None},
    ],
)
def test_settings_of_another_kind_are_one_line(
    change: dict[str, Any], case_store: Path, kept_evidence: Examined, tmp_path: Path, capsys: Capture
) -> None:
    artifacts, kit = open_store(str(case_store)), kit_of(case_store)
    kept = artifacts.load("evidence", keep(artifacts, kit, "s", kept_evidence))
    made = artifacts.save_by_digest("evidence", {n: kept.read(n) for n in kept.files}, kept.meta | change)
    assert main(["evidence", "verify", str(exported(case_store, made.id, tmp_path / "odd.zip"))]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda described, tensors: described.update(control_questions=0),
        lambda described, tensors: described.update(looks=[50, 99]),
        lambda described, tensors: described.update(candidates=described["candidates"][:-1]),
        lambda described, tensors: described.update(families=["odd"] * len(described["families"])),
        lambda described, tensors: tensors.update(
            {"test.candidates": tensors["test.candidates"][:, :-1].contiguous()}
        ),
        lambda described, tensors: tensors.update(
            {"test.references": tensors["test.references"] * float("nan")}
        ),
    ],
    ids=["checks", "looks", "candidates", "families", "answers", "NaN"],
)
def test_a_kit_that_does_not_fit_together_is_one_line(
    change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None],
    case_store: Path,
    kept_evidence: Examined,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    artifacts, artifact = open_store(str(case_store)), kit_of(case_store)
    described, tensors = dict(artifact.meta["twin_test"]), artifact.tensors(TENSORS)
    change(described, tensors)
    files = {n: artifact.read(n) for n in artifact.files} | {TENSORS: tensors_to_bytes(tensors)}
    facts = artifact.meta["facts"] | {"framed": "odd"}
    saved = artifacts.save_by_digest(KIT, files, artifact.meta | {"twin_test": described, "facts": facts})
    kept = artifacts.load("evidence", keep(artifacts, artifact, "s", kept_evidence))
    made = artifacts.save_by_digest(
        "evidence", {n: kept.read(n) for n in kept.files}, kept.meta | {"kit": saved.id}
    )
    assert main(["evidence", "verify", str(exported(case_store, made.id, tmp_path / "odd.zip"))]) == 2
    assert "do not fit each other" in capsys.readouterr().err


def test_a_reading_that_is_not_the_answers_is_rejected(
    case_store: Path, kept_evidence: Examined, tmp_path: Path, capsys: Capture
) -> None:
    """The checker's models would be read otherwise than the suspect was."""
    artifacts, kit = open_store(str(case_store)), kit_of(case_store)
    kept = artifacts.load("evidence", keep(artifacts, kit, "s", kept_evidence))
    made = artifacts.save_by_digest(
        "evidence", {n: kept.read(n) for n in kept.files}, kept.meta | {"read_as": "label"}
    )
    code, checks, _ = verified(capsys, exported(case_store, made.id, tmp_path / "read.zip"))
    assert code == 6 and checks["verdict"] is False
