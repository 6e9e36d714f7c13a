"""More twins for a kit: only the new ones are trained and asked, the questions stay, the old kit stays."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.cases import Capture, kit_of
from zooaudit.auditing.more_twins import add_twins, twin_specs
from zooaudit.auditing.steps import settled
from zooaudit.auditing.twin_step import asked_more
from zooaudit.cli.main import main
from zooaudit.config import OwnTraining
from zooaudit.data.images import Dataset
from zooaudit.data.resolve import load_digits
from zooaudit.errors import ConfigError, InputError, NotEnoughModelsError
from zooaudit.kits.kit import Kit, asked_as, load_kit, read_kit, save_kit
from zooaudit.recipes.named import recipe_from
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm
from zooaudit.verdict.examined import NATURAL, Candidate


def test_a_kit_with_more_twins(own_store: Path, capsys: Capture) -> None:
    store, artifacts = str(own_store), open_store(str(own_store))
    kit, models = kit_of(own_store), set(artifacts.ids("model"))
    capsys.readouterr()
    assert (
        main(
            [
                "kit",
                "add-twins",
                "--store",
                store,
                "--kit",
                kit.id,
                "--twins",
                "21",
                "--farm",
                "serial",
                "--json",
            ]
        )
        == 0
    )
    data = json.loads(capsys.readouterr().out)
    assert (
        data["twins"] == 21
        and data["added"] == 2
        and data["made_from"] == kit.id != data["kit"]
        and data["smallest_p"] == 1 / 22
    )
    new = set(artifacts.ids("model")) - models
    assert len(new) == 2 and all(i.startswith("twin-A-sgd-") for i in new), "only the new ones are trained"
    before, after = (load_kit(artifacts, i).twin_test for i in (kit.id, data["kit"]))
    assert (
        torch.equal(before.images, after.images)
        and before.looks == after.looks
        and before.references == after.references
    )
    assert after.candidates[:20] == before.candidates and {c.id for c in after.candidates[20:]} == new
    assert torch.equal(after.answers[:20], before.answers) and after.answers.shape[0] == 22
    assert (
        after.predicted is not None
        and before.predicted is not None
        and after.lessons is not None
        and before.lessons is not None
    )
    assert torch.equal(after.predicted[:20], before.predicted) and torch.equal(after.lessons, before.lessons)
    assert asked_as(artifacts.load("kit", data["kit"])) == kit.id, (
        "ledgers and answers of the old kit serve the new one"
    )
    recipe, digits = recipe_from(load_kit(artifacts, kit.id).facts["recipe"]), load_digits()
    again = asked_more(
        before, [c.id for c in before.candidates], recipe.twin_test, recipe.seed, digits, artifacts
    )
    assert again.predicted is not None
    torch.testing.assert_close(
        again.predicted, before.predicted, msg="twins that come later are predicted as the first ones were"
    )
    natural = [f == NATURAL for f in before.families]
    assert not torch.equal(before.predicted[:, natural], before.answers[:, natural])
    assert torch.equal(
        before.predicted[:, [not n for n in natural]], before.answers[:, [not n for n in natural]]
    )
    capsys.readouterr()
    assert (
        main(
            [
                "kit",
                "add-twins",
                "--store",
                store,
                "--kit",
                data["kit"],
                "--twins",
                "22",
                "--farm",
                "serial",
                "--json",
            ]
        )
        == 0
    )
    third = json.loads(capsys.readouterr().out)
    assert third["added"] == 1 and asked_as(artifacts.load("kit", third["kit"])) == kit.id
    assert main(["kit", "add-twins", "--store", store, "--kit", third["kit"], "--twins", "22"]) == 2
    assert (
        "has 22 twins already; --twins is the number in all: expected at least 23" in capsys.readouterr().err
    )
    assert main(["kit", "add-twins", "--store", store, "--kit", kit.id]) == 2
    assert "--twins is missing" in capsys.readouterr().err


def test_what_can_have_no_more_twins(own_store: Path, digits: Dataset) -> None:
    artifacts, artifact = open_store(str(own_store)), kit_of(own_store)
    kit, farm = read_kit(artifact), SerialFarm()

    def more(changed: Kit, training: OwnTraining | None = None) -> None:
        add_twins(save_kit(artifacts, changed), 20, digits, artifacts, farm, lambda _: None, training)

    with pytest.raises(ConfigError, match="the kit does not say how its victim victim-own-1 was trained"):
        more(replace(kit, victim="victim-own-1"))
    with pytest.raises(InputError, match="the kit's recipe trains victim-A-"):
        more(replace(kit, victim="victim-A-sgd-1"))
    with pytest.raises(InputError, match="the kit was made on data other"):
        more(replace(kit, facts=kit.facts | {"data": "other"}))
    then = OwnTraining("tests.support.owners:make", "1" * 64, function="tests.support.owners:train")
    changed = replace(kit, victim="victim-own-1", facts=kit.facts | {"training": settled(then)})
    with pytest.raises(ConfigError, match="is not the code that the kit's twins were trained by"):
        more(changed, replace(then, code="2" * 64))
    fails = replace(then, function="tests.support.owners:fails")
    recipe = recipe_from(kit.facts["recipe"])
    planned = twin_specs(replace(recipe, zoo=replace(recipe.zoo, twins=20)), "victim-own-1", digits, fails)
    known = (kit.twin_test.candidates[0], *(Candidate(s.id, 0.9) for s in planned[:19]))
    test = replace(kit.twin_test, candidates=known)
    with pytest.raises(
        NotEnoughModelsError, match=r"none of 1 new twins learnt \(ValueError: the learning rate is odd\)"
    ):
        more(replace(changed, facts=kit.facts | {"training": settled(fails)}, twin_test=test), fails)
