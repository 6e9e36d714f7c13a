"""Data and victims are looked at before a recipe is made of them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support import owners
from tests.support.owner_recipes import OWN, Capture, folder
from zooaudit.auditing import zoo_plan
from zooaudit.cli.main import main
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.resolve import resolve
from zooaudit.errors import DataError, ModelError
from zooaudit.planning.own_task import linear_accuracy, look_at_data, look_at_victim
from zooaudit.recipes.read import read_recipe
from zooaudit.storage.models import OwnModel, load_record
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo.plan import Plan


def some_of_each_kind(plan: Plan) -> Plan:
    """The victim, one model that is extracted from it, and one of several architectures
    that needs nothing else."""
    alone = {
        s.architecture: s
        for s in reversed(plan.specs)
        if s.parent is None and s.architecture in ("B", "C", "mlp", "residual")
    }
    copy = next(s for s in plan.specs if s.parent == plan.victim)
    victim_ = next(s for s in plan.specs if s.id == plan.victim)
    return Plan(plan.victim, (victim_, *(s for s in alone.values() if s != victim_), copy))


@pytest.mark.parametrize(
    ("classes", "each", "side", "mode"),
    [(3, (20, 20), 16, "L"), (4, (50, 25), 32, "RGB")],
    ids=["three classes, few images", "32 x 32, colour"],
)
@pytest.mark.long
def test_a_made_recipe_trains_models_that_learn(
    classes: int, each: tuple[int, int], side: int, mode: str, tmp_path: Path, capsys: Capture
) -> None:
    data, file = folder(tmp_path / "bars", classes, each, side, mode), tmp_path / "mine.toml"
    assert main(["recipe", "new", "--data", str(data), "--out", str(file)]) == 0
    assert f"{classes * each[0]} training images ({each[0]} to {each[0]} a class)" in capsys.readouterr().out
    recipe, dataset = read_recipe(file), resolve("bars", data)
    assert recipe.dataset == "bars" and recipe.zoo.accuracy_floor > 1 / classes
    plan, artifacts = (
        some_of_each_kind(zoo_plan.plan(recipe, dataset, open_store("memory:"), None)),
        open_store("memory:"),
    )
    SerialFarm().build(list(plan.specs), dataset, artifacts, lambda _: None)
    records = {s.id: load_record(artifacts, s.id) for s in plan.specs}
    poor = {i: r.reason for i, r in records.items() if r.reason}
    assert len(records) == 6 and not poor


def test_a_linear_model_finds_what_there_is_to_find(digits: Dataset) -> None:
    assert linear_accuracy(digits) == linear_accuracy(digits) > 0.9
    shuffled = ImageSet(
        digits.train.images,
        digits.train.labels[torch.randperm(1347, generator=torch.Generator().manual_seed(1))],
    )
    assert linear_accuracy(Dataset("noise", shuffled, digits.test, digits.classes, "here")) < 0.25


@pytest.mark.parametrize(
    ("train", "test", "classes", "message"),
    [
        (30, 450, 10, "30 training images; expected at least 40"),
        (1347, 40, 10, "40 test images; expected at least 50"),
        (100, 100, 1, "1 class; expected at least 2"),
    ],
)
def test_too_little_data_is_refused(
    train: int, test: int, classes: int, message: str, digits: Dataset
) -> None:
    parts: list[ImageSet] = []
    for part, count in ((digits.train, train), (digits.test, test)):
        labels = part.labels[:count] if classes > 1 else part.labels[:count] * 0
        parts.append(ImageSet(part.images[:count], labels))
    with pytest.raises(DataError, match=message):
        look_at_data(Dataset("few", parts[0], parts[1], tuple("0123456789"[:classes]), "here"))


def test_the_victim_is_looked_at(own_weights: Path, digits: Dataset) -> None:
    found = look_at_victim(
        OwnModel(own_weights, owners.FACTORY, digits.image_shape, 10),
        digits,
        look_at_data(digits),
        trial=True,
    )
    assert found.parameters == 650 and 0.85 < found.accuracy < 0.95
    assert (found.has_training, found.twin_seconds, found.twin_accuracy) == (False, None, None)


def test_a_victim_no_better_than_chance_is_refused(digits: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(owners.make().state_dict(), tmp_path / "mine.safetensors")
    own = OwnModel(tmp_path / "mine.safetensors", owners.FACTORY, digits.image_shape, 10)
    with pytest.raises(
        ModelError,
        match=(
            r"where always naming the most frequent class gives 0\.122; expected more: is it the right model"
        ),
    ):
        look_at_victim(own, digits, look_at_data(digits), trial=False)


def test_an_audit_that_is_refused_leaves_its_name_for_the_next_try(
    own_weights: Path, tmp_path: Path, capsys: Capture
) -> None:
    store = str(tmp_path / "store")
    audit = [
        "audit",
        "--recipe",
        "digits",
        "--farm",
        "serial",
        "--store",
        store,
        "--out",
        str(tmp_path / "report"),
        "--run",
        "mine",
    ]
    assert main([*audit, "--set", "zoo.accuracy_floor=0.999", "--victim", str(own_weights), *OWN]) == 2
    assert "'zooaudit recipe new' makes a recipe with floors that fit" in capsys.readouterr().err
    assert list(open_store(store).ids("run")) == []
