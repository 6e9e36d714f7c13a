"""A kit on trial, on twins that the checker trains: what is honest passes, and an owner who
frames somebody is caught."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.cases import Capture, exported, kit_of, verified
from tests.support.evidence_models import packed, thief
from zooaudit.cli.main import main
from zooaudit.evidence.records import commitment
from zooaudit.evidence.stated import stated_twins
from zooaudit.kits.kit import Kit, load_kit
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import Recorded
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.examined import Candidate, Reference
from zooaudit.verdict.twin_test import TwinTest


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checker's store: models that one check trained serve the next."""
    return tmp_path_factory.mktemp("checker") / "store"


def with_models(
    capsys: Capture, pack: Path, checker: Path, *options: str
) -> tuple[int, dict[str, bool | None], dict[str, str]]:
    code, checks, output = verified(
        capsys, pack, "--with-models", "--store", str(checker), "--seed", "77", *options
    )
    return code, checks, {f["check"]: f["text"] for f in output["findings"]}


def test_honest_evidence_passes(
    scored: dict[str, Any], case_store: Path, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    pack = exported(case_store, scored["evidence"], tmp_path / "case.zip", "--with-victim")
    committed = commitment(kit_of(case_store))["commitment"]
    code, checks, output = with_models(capsys, pack, checker, "--commitment", committed)
    assert code == 0 and False not in checks.values(), output
    assert {c for c, passed in checks.items() if passed is None} == {"answers", "accuracies"}, output
    made = {
        "UAP",
        "questions",
        "victim",
        "training",
        "exchangeable",
        "stated twins",
        "fresh twins",
        "fresh references",
        "accuracies",
    }
    assert set(checks) == {"contents", "answers", "settings", "commitment", "method", "verdict", *made}
    assert "among 19 fresh twins, with the kit's 16 references, stolen" in output["fresh twins"]
    assert re.fullmatch(
        r"on \d+ test images: the suspect [01]\.\d\d; the victim [01]\.\d\d; the kit's twins \S+ to \S+,"
        r" median \S+ \(19\); fresh twins .* "
        r"\(19\); the kit's references .* \(16\); the checker's references .* \(\d+\)",
        output["accuracies"],
    ), output


def test_too_few_fresh_twins_or_the_owners_seed_confirm_nothing(
    scored: dict[str, Any], case_store: Path, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    pack = exported(case_store, scored["evidence"], tmp_path / "case.zip", "--with-victim")
    verify = ["evidence", "verify", str(pack), "--with-models", "--farm", "serial", "--store", str(checker)]
    for options, says in (
        (
            ["--twins", "9"],
            (
                "9 twins allow no p under 0.1; to confirm this pack, of 1 suspects at level 0.05, take"
                " --twins 19"
            ),
        ),
        (["--twins", "2"], "2 twins show nothing"),
        (["--seed", "0"], "seed 0 is the owner's own"),
        (
            ["--train", "tests.support.owners:train"],
            "--train is given, but the kit names no training procedure",
        ),
    ):
        assert main([*verify, *options]) == 2
        assert says in capsys.readouterr().err


def test_a_kit_whose_questions_are_made_up_is_found(
    case_store: Path, case_kit: Kit, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    labels = case_kit.twin_test.labels.clone()
    labels[0] = (labels[0] + 1) % 10
    made = replace(case_kit, twin_test=replace(case_kit.twin_test, labels=labels))
    code, checks, _ = with_models(
        capsys, packed(case_store, tmp_path, made, "labels", thief(case_store, case_kit)), checker
    )
    assert code == 6 and checks["questions"] is False


@pytest.mark.parametrize("what", ["images", "lessons"])
def test_a_kit_whose_questions_or_lessons_are_not_of_its_data_is_rejected(
    what: str, case_store: Path, case_kit: Kit, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A frame is an answer of the check, not an error of it."""
    test = case_kit.twin_test
    assert test.lessons is not None
    changed = {"images": test.images.flip(-1)} if what == "images" else {"lessons": test.lessons[:, :-1]}
    made = replace(case_kit, twin_test=replace(test, **changed))
    code, checks, output = with_models(
        capsys, packed(case_store, tmp_path, made, what, thief(case_store, case_kit)), checker
    )
    assert code == 6 and checks["lessons"] is False and checks["questions"] is (what == "lessons"), output


def among(test: TwinTest, references: tuple[Reference, ...]) -> TwinTest:
    """The same with fewer references, the last ones; without any, and without what
    interfaces do to answers."""
    count = len(references)
    if count == 0:
        bare = replace(
            test,
            references=(),
            reference_answers=test.reference_answers[:0],
            behind=None,
            reference_behind=None,
        )
        return replace(bare, predicted=None, lessons=None)
    behind = None if test.reference_behind is None else test.reference_behind[:, -count:]
    lessons = None if test.lessons is None else test.lessons[-count:]
    answers = test.reference_answers[-count:]
    return replace(
        test, references=references, reference_answers=answers, reference_behind=behind, lessons=lessons
    )


def invented_twins(kit: Kit) -> Kit:
    """A kit that accuses whoever is a little like the victim: its twins are mixtures of
    strangers, with much noise."""
    test = kit.twin_test
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(test.answers[1:].shape, generator=generator)
    strangers = test.reference_answers[torch.arange(test.twins) % len(test.references)]
    answers = torch.cat([test.answers[:1], 0.7 * strangers + 0.3 * noise / noise.sum(-1, keepdim=True)])
    return replace(kit, twin_test=replace(test, answers=answers))


def test_invented_twins_are_found(
    case_store: Path, case_kit: Kit, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The pack by itself is consistent; only models of the checker's own show that no
    training gives such twins."""
    made = invented_twins(case_kit)
    answers = thief(case_store, case_kit)
    call = made.twin_test.examine(Recorded(answers)).verdict.decision
    pack = packed(case_store, tmp_path, made, "invented", answers, call)
    assert verified(capsys, pack)[0] == 0
    code, checks, output = with_models(capsys, pack, checker)
    assert code == 6 and checks["stated twins"] is False, output


def test_an_innocent_whose_answers_were_made_the_victims_is_found(
    case_store: Path, case_kit: Kit, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The owner writes the suspect's answers into his kit as the victim's."""
    target = case_kit.twin_test.reference_answers[0]
    test = among(case_kit.twin_test, case_kit.twin_test.references[1:])
    answers = test.answers.clone()
    mixed = 0.6 * answers[0] + 0.4 * target
    answers[0] = mixed / mixed.sum(-1, keepdim=True)
    made = replace(case_kit, twin_test=replace(test, answers=answers))
    code, checks, output = with_models(capsys, packed(case_store, tmp_path, made, "swapped", target), checker)
    assert code == 6 and checks["victim"] is False, output


def test_a_stolen_that_fresh_twins_do_not_confirm_is_rejected(
    case_store: Path, case_kit: Kit, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Twins' answers moved a little away from an innocent's, so that the victim seems to be near it."""
    test = among(case_kit.twin_test, ())
    target = next(a for a in case_kit.twin_test.reference_answers if test.judge(a).verdict.rank not in (1, 2))
    step = (target.sqrt() - test.answers[1:].sqrt().mean(0))[None]

    def moved(by: float) -> TwinTest:
        squares = (test.answers[1:].sqrt() - by * step).clamp(min=0) ** 2
        return replace(test, answers=torch.cat([test.answers[:1], squares / squares.sum(-1, keepdim=True)]))

    accusing = (
        t
        for t in map(moved, (0.05, 0.1, 0.15, 0.2, 0.3, 0.4))
        if t.judge(target).verdict.decision is Decision.STOLEN
    )
    made = replace(case_kit, twin_test=next(accusing))
    pack = packed(case_store, tmp_path, made, "moved", target)
    assert verified(capsys, pack)[0] == 0, "the pack by itself is consistent"
    code, checks, output = with_models(capsys, pack, checker)
    assert code == 6 and False in (checks["fresh twins"], checks["fresh references"]), output
    assert any(
        "the pack states stolen, p 0.05, among 19 twins of its own" in output[c]
        for c in ("fresh twins", "fresh references")
    )


def test_a_kit_that_can_tell_of_nobody_is_no_frame(
    case_store: Path, case_kit: Kit, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Without twins its verdict is always that it cannot tell, and the check says no more."""
    test = case_kit.twin_test
    behind = None if test.behind is None else test.behind[:, :1]
    bare = replace(
        case_kit,
        twin_test=replace(
            test,
            candidates=test.candidates[:1],
            answers=test.answers[:1],
            behind=behind,
            predicted=None,
            lessons=None,
        ),
    )
    pack = packed(case_store, tmp_path, bare, "silent", thief(case_store, case_kit), Decision.CANNOT_TELL)
    code, checks, output = with_models(capsys, pack, checker)
    assert code == 0 and checks["fresh twins"] is None and "accuses nobody" in output["fresh twins"]


def drawn(generator: torch.Generator, count: int, apart: float, test: TwinTest) -> Tensor:
    """Candidates around the victim, in logits."""
    logits = test.answers[0].clamp(min=1e-4).log()
    return (logits + apart * torch.randn(count, *logits.shape, generator=generator)).softmax(-1)


def test_stated_twins_are_rejected_where_they_differ_and_seldom_else(case_kit: Kit) -> None:
    test, generator = case_kit.twin_test, torch.Generator().manual_seed(3)
    rejected = 0
    for _ in range(60):
        answers = torch.cat([test.answers[:1], drawn(generator, 38, 0.5, test)])
        accuracies = (0.9 + 0.02 * torch.rand(39, generator=generator)).tolist()
        candidates = [Candidate(str(i), a) for i, a in enumerate(accuracies)]
        stated = replace(test, answers=answers[:20], candidates=tuple(candidates[:20]))
        fresh = [candidates[0], *candidates[20:]], torch.cat([answers[:1], answers[20:]])
        rejected += stated_twins(stated, *fresh).passed is False
    assert rejected <= 3, "at most .01 of honest kits"
    wide = torch.cat([test.answers[:1], drawn(generator, 19, 0.9, test)])
    assert stated_twins(replace(stated, answers=wide), *fresh).passed is False
    worse = tuple(replace(c, accuracy=c.accuracy - 0.05) for c in stated.candidates)
    found = stated_twins(replace(stated, candidates=worse), *fresh)
    assert found.passed is False and "differ most in accuracy" in found.text
    few = replace(stated, answers=stated.answers[:3], candidates=stated.candidates[:3])
    assert stated_twins(few, *fresh).passed is None


@pytest.fixture(scope="module")
def defended_store(case_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The case's own zoo, with a kit that names a defence and no other."""
    store = Path(shutil.copytree(case_store, tmp_path_factory.mktemp("defended") / "store"))
    shutil.rmtree(store / "manifests" / "kit")
    audit = ["audit", "--recipe", "digits", "--farm", "serial", "--store", str(store)]
    named = ["--out", str(store.parent / "report"), "--set", "twin_test.defence=reverse-sigmoid"]
    assert main([*audit, *named]) == 0
    return store


def test_a_kit_of_a_victim_that_defends_itself_is_checked_as_any_other(
    defended_store: Path, checker: Path, tmp_path: Path, capsys: Capture
) -> None:
    kit = load_kit(open_store(str(defended_store)), kit_of(defended_store).id)
    test = kit.twin_test
    assert test.defended is not None and not test.defended.equal(test.answers)
    answers = thief(defended_store, kit)
    pack = packed(defended_store, tmp_path, kit, "defended", answers)
    code, checks, output = with_models(capsys, pack, checker)
    assert code == 0 and False not in checks.values(), output

    made_up = replace(kit, twin_test=replace(test, defended=test.answers.clone()))
    pack = packed(defended_store, tmp_path, made_up, "made up", answers)
    code, checks, output = with_models(capsys, pack, checker)
    assert code == 6 and checks["victim"] is False, output
