"""Code that comes with a pack runs only where that is allowed."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cases import Capture
from tests.support.evidence_models import packed, thief
from zooaudit.auditing.steps import settled
from zooaudit.cli.main import main
from zooaudit.config import OwnTraining, Start
from zooaudit.data.resolve import load_digits
from zooaudit.errors import InputError
from zooaudit.evidence import models
from zooaudit.evidence.models import Trial
from zooaudit.kits.kit import Kit
from zooaudit.recipes.named import recipe_from
from zooaudit.storage.models import WEIGHTS
from zooaudit.storage.opening import open_store
from zooaudit.zoo.spec import ModelSpec


def test_a_packs_code_runs_only_if_it_is_allowed(
    case_store: Path, case_kit: Kit, tmp_path: Path, capsys: Capture
) -> None:
    artifacts = open_store(str(case_store))
    own = artifacts.load("model", case_kit.victim)
    meta = {"factory": "os:abort", "image_shape": [1, 8, 8], "num_classes": 10, "record": own.meta["record"]}
    artifacts.save("model", "victim-own-evil", {WEIGHTS: own.read(WEIGHTS)}, meta)
    pack = packed(
        case_store, tmp_path, replace(case_kit, victim="victim-own-evil"), "evil", thief(case_store, case_kit)
    )
    assert (
        main(
            [
                "evidence",
                "verify",
                str(pack),
                "--with-models",
                "--farm",
                "serial",
                "--store",
                str(tmp_path / "mine"),
            ]
        )
        == 2
    )
    assert "the victim is built by 'os:abort', code that would run here" in capsys.readouterr().err


def test_a_packs_training_and_factory_of_twins_run_only_if_they_are_allowed(
    case_store: Path, case_kit: Kit, tmp_path: Path, capsys: Capture
) -> None:
    artifacts = open_store(str(case_store))
    own = artifacts.load("model", case_kit.victim)
    evil = OwnTraining("os:abort", "c0de", function="os:abort")
    verify = ["evidence", "verify", "--with-models", "--farm", "serial", "--store", str(tmp_path / "mine")]
    trained = replace(case_kit, facts=case_kit.facts | {"training": settled(evil)})
    pack = packed(case_store, tmp_path, trained, "training", thief(case_store, case_kit))
    assert main([*verify, str(pack)]) == 2
    assert (
        "were trained by 'os:abort', code that would run here; look at it, then allow it by --train"
        in capsys.readouterr().err
    )
    assert main([*verify, str(pack), "--train", "tests.support.owners:train"]) == 2
    assert "--train needs --factory" in capsys.readouterr().err
    spec = own.meta["spec"] | {"own_training": {**settled(evil), "timeout_s": 1.0}}
    artifacts.save(
        "model", "victim-A-evil", {WEIGHTS: own.read(WEIGHTS)}, {"spec": spec, "record": own.meta["record"]}
    )
    pack = packed(
        case_store, tmp_path, replace(case_kit, victim="victim-A-evil"), "spec", thief(case_store, case_kit)
    )
    assert main([*verify, str(pack)]) == 2
    assert "expected the victim of one of our recipes" in capsys.readouterr().err


def test_a_packs_start_never_runs(case_store: Path, case_kit: Kit, tmp_path: Path, capsys: Capture) -> None:
    """Neither as the victim's, though the id fits, nor as the references' of the checker."""
    artifacts = open_store(str(case_store))
    own = artifacts.load("model", case_kit.victim)
    evil = Start("os:abort", "c0de")
    spec = replace(ModelSpec.from_json(own.meta["spec"]), start=evil)
    artifacts.save(
        "model", spec.id, {WEIGHTS: own.read(WEIGHTS)}, {"spec": spec.to_json(), "record": own.meta["record"]}
    )
    pack = packed(
        case_store, tmp_path, replace(case_kit, victim=spec.id), "start", thief(case_store, case_kit)
    )
    verify = [
        "evidence",
        "verify",
        str(pack),
        "--with-models",
        "--farm",
        "serial",
        "--store",
        str(tmp_path / "mine"),
    ]
    assert main(verify) == 2
    assert "expected the victim of one of our recipes" in capsys.readouterr().err
    recipe = recipe_from(case_kit.facts["recipe"])
    recipe = replace(recipe, zoo=replace(recipe.zoo, start=evil))
    specs = models._specs(recipe, case_kit.victim, load_digits(), None, Trial(twins=3, references=8, seed=5))
    assert specs and not any(s.start for s in specs)


def test_a_packs_checkpoint_is_the_checkers_own_file(case_kit: Kit) -> None:
    """Which file is read is not for the pack to say; its content must be what the kit's models began with."""
    net, theirs = "timm:test_resnet", Start("timm:test_resnet=/etc/theirs", "ab" * 32)
    recipe, digits = recipe_from(case_kit.facts["recipe"]), load_digits()
    zoo = replace(recipe.zoo, victim_architecture=net, architectures=("B",), checkpoints=(theirs,))
    for given in ((), (replace(theirs, weights="cd" * 32),)):
        with pytest.raises(
            InputError,
            match=f"begin with a checkpoint of {net}, SHA-256 abababababababab; .*--checkpoint {net}=FILE",
        ):
            models._specs(
                replace(recipe, zoo=zoo),
                case_kit.victim,
                digits,
                None,
                Trial(twins=3, seed=5, checkpoints=given),
            )
