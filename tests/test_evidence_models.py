"""A kit on trial, on models that the checker trains: what is honest passes, and an owner who frames somebody is caught."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from zooaudit.verdict.calibrated import Call
from zooaudit.verdict.probe import Answered

from tests.cases import Capture, exported, kit_of, verified
from zooaudit.cli import main
from zooaudit.evidence.keeping import commitment, keep
from zooaudit.kit import Kit, load_kit, save_kit
from zooaudit.storage.artifacts import open_store
from zooaudit.storage.models import WEIGHTS
from zooaudit.suspects.blackbox import Recorded


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checker's store: models that one check trained serve the next."""
    return tmp_path_factory.mktemp("checker") / "store"


def test_honest_evidence_passes(scored: dict[str, Any], case_store: Path, checker: Path, tmp_path: Path, capsys: Capture) -> None:
    pack = exported(case_store, scored["evidence"], tmp_path / "case.zip", "--with-victim")
    committed = commitment(kit_of(case_store))["commitment"]
    code, checks, _ = verified(capsys, pack, "--commitment", committed, "--with-models", "--store", str(checker), "--seed", "77")
    assert code == 0 and False not in checks.values(), checks
    assert {c for c, passed in checks.items() if passed is None} == {"answers", "UAP on innocents"}
    made = {"UAP", "questions", "victim", "references", "checker's copies", "checker's homologous", "checker's look-alike"}
    assert set(checks) >= {"contents", "settings", "commitment", "code", "verdict", *made}


def test_a_kit_whose_questions_are_made_up_is_found(
    scored: dict[str, Any], case_store: Path, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    artifacts, kit = open_store(str(case_store)), load_kit(open_store(str(case_store)), kit_of(case_store).id)
    labels = kit.probe.labels.clone()
    labels[0] = (labels[0] + 1) % 10
    saved = save_kit(artifacts, replace(kit, probe=replace(kit.probe, labels=labels), facts=kit.facts | {"framed": "labels"}))
    found = kit.probe.examine(Recorded(kit.probe.copies.answers[0]))
    pack = exported(case_store, keep(artifacts, saved, "s", found), tmp_path / "labels.zip", "--with-victim")
    code, checks, _ = verified(capsys, pack, "--with-models", "--store", str(checker), "--seed", "77")
    assert code == 6 and checks["questions"] is False


def framed(case_store: Path, suspect_answers: torch.Tensor, kit: Kit, name: str) -> str:
    """Evidence by a kit that the owner tampered with before he committed to it: all of its digests are right."""
    artifacts = open_store(str(case_store))
    saved = save_kit(artifacts, replace(kit, facts=kit.facts | {"framed": name}))
    found = kit.probe.examine(Recorded(suspect_answers))
    assert found.verdict.call is Call.STOLEN, "the frame must work, or catching it proves nothing"
    return keep(artifacts, saved, name, found)


def harmless_references(kit: Kit) -> Kit:
    """A kit that accuses everybody: its references are models that look like nobody, yet do the task on the checks."""
    probe = kit.probe
    flat = torch.full_like(probe.references.answers, 0.02)
    flat.scatter_(2, probe.labels.view(1, -1, 1).expand(len(flat), -1, 1), 0.82)
    flat[:, probe.checks :] = (1 - probe.copies.answers.mean(0)[probe.checks :]) / (probe.num_classes - 1)
    flat += torch.rand(flat.shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    return replace(kit, probe=replace(probe, references=Answered(probe.references.models, flat / flat.sum(-1, keepdim=True))))


def copies_of_the_suspect(kit: Kit, target: torch.Tensor) -> Kit:
    """A kit that accuses one: what it calls copies of the victim answer as the suspect does, with a little noise."""
    probe = kit.probe
    noise = torch.rand(len(probe.copies), *target.shape, generator=torch.Generator().manual_seed(0)) * 0.05
    answers = target + noise
    return replace(kit, probe=replace(probe, copies=Answered(probe.copies.models, answers / answers.sum(-1, keepdim=True))))


@pytest.mark.parametrize("way", ["everybody", "one"])
def test_an_owner_who_frames_an_innocent_is_caught(way: str, case_store: Path, checker: Path, tmp_path: Path, capsys: Capture) -> None:
    kit = load_kit(open_store(str(case_store)), kit_of(case_store).id)
    homologous = [i for i, m in enumerate(kit.probe.references.models) if m.family == "homologous"]
    likest = max(homologous, key=lambda i: kit.probe.score(kit.probe.references.answers[i]))
    target = likest if way == "everybody" else homologous[0]
    answers = kit.probe.references.answers[target]
    others = [i for i in range(len(kit.probe.references)) if i != target]
    known = kit.probe.references
    blind = replace(kit, probe=replace(kit.probe, references=Answered(tuple(known.models[i] for i in others), known.answers[others])))
    made = harmless_references(blind) if way == "everybody" else copies_of_the_suspect(blind, answers)
    pack = exported(case_store, framed(case_store, answers, made, f"innocent, {way}"), tmp_path / "frame.zip", "--with-victim")
    code, checks, _ = verified(capsys, pack)
    assert code == 0 and False not in checks.values(), "the pack by itself is consistent"
    code, checks, _ = verified(capsys, pack, "--with-models", "--store", str(checker), "--seed", "77")
    assert code == 6
    assert checks["references" if way == "everybody" else "victim"] is False, checks


def test_a_packs_code_runs_only_if_it_is_allowed(case_store: Path, tmp_path: Path, capsys: Capture) -> None:
    artifacts, kit = open_store(str(case_store)), load_kit(open_store(str(case_store)), kit_of(case_store).id)
    own = artifacts.load("model", kit.victim)
    meta = {"factory": "os:abort", "image_shape": [1, 8, 8], "num_classes": 10, "record": own.meta["record"]}
    artifacts.save("model", "victim-own-evil", {WEIGHTS: own.read(WEIGHTS)}, meta)
    saved = save_kit(artifacts, replace(kit, victim="victim-own-evil", facts=kit.facts | {"framed": "evil"}))
    found = kit.probe.examine(Recorded(kit.probe.copies.answers[0]))
    pack = exported(case_store, keep(artifacts, saved, "s", found), tmp_path / "evil.zip", "--with-victim")
    assert main(["evidence", "verify", str(pack), "--with-models", "--farm", "serial", "--store", str(tmp_path / "mine")]) == 2
    assert "the victim is built by 'os:abort', code that would run here" in capsys.readouterr().err


def test_a_kit_that_can_tell_of_nobody_is_no_frame(case_store: Path, checker: Path, tmp_path: Path, capsys: Capture) -> None:
    """Look-alikes of one stranger: its verdict is always that it cannot tell, and the check says no more."""
    artifacts, kit = open_store(str(case_store)), load_kit(open_store(str(case_store)), kit_of(case_store).id)
    known = kit.probe.references
    stranger = next(m.kin for m in known.models if m.family == "look-alike")
    rows = [i for i, m in enumerate(known.models) if m.family != "look-alike" or m.kin == stranger]
    probe = replace(kit.probe, references=Answered(tuple(known.models[i] for i in rows), known.answers[rows]))
    saved = save_kit(artifacts, replace(kit, probe=probe, facts=kit.facts | {"framed": "silent"}))
    found = probe.examine(Recorded(probe.copies.answers[0]))
    assert found.verdict.call is Call.CANNOT_TELL
    pack = exported(case_store, keep(artifacts, saved, "s", found), tmp_path / "silent.zip", "--with-victim")
    code, checks, _ = verified(capsys, pack, "--with-models", "--store", str(checker), "--seed", "77")
    silent = ("victim", "checker's copies", "checker's homologous", "checker's look-alike")
    assert code == 0 and [checks[c] for c in silent] == [None] * 4, checks
