"""A recipe for somebody's own task: it can be planned and trained, and every number in it
says where it comes from."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from tests.support import owners
from tests.support.owner_recipes import OWN, Capture, new, victim
from zooaudit.auditing import steps
from zooaudit.cli.main import main, make_parser
from zooaudit.cli.own_start import with_start
from zooaudit.config import Recipe, Start
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.resolve import resolve
from zooaudit.errors import ConfigError, DataError, ModelError
from zooaudit.planning.measured import Domain
from zooaudit.planning.new_recipe import derived, made, reasons
from zooaudit.planning.own_task import DataFacts, VictimFacts, linear_accuracy, look_at_data, look_at_victim
from zooaudit.planning.sizing import Devices, estimate, planned
from zooaudit.recipes.differences import differences
from zooaudit.recipes.named import CIFAR10_SMALL, DIGITS, FMNIST_QUICK
from zooaudit.recipes.read import read_recipe
from zooaudit.recipes.write import to_toml
from zooaudit.storage.models import OwnModel, load_record
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.start import start_of


def facts(
    train: int = 60_000,
    test: int = 10_000,
    image: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    linear: float = 0.8,
) -> DataFacts:
    each = train // classes
    return DataFacts("shirts", train, test, image, classes, each, each, 1 / classes, linear)


def recipe_for(data: DataFacts, own: VictimFacts | None = None) -> Recipe:
    return made("mine", derived(data, own))


# the rules

SIDES = st.one_of(st.integers(4, 40), st.sampled_from([32, 63, 64, 96, 224]))


@given(
    st.integers(40, 200_000),
    st.integers(50, 50_000),
    st.tuples(st.sampled_from([1, 3, 4]), SIDES, SIDES),
    st.integers(2, 1000),
    st.floats(0, 1),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_any_task_has_a_recipe_that_can_be_planned(
    train: int, test: int, image: tuple[int, int, int], classes: int, linear: float, accuracy: float | None
) -> None:
    assume(classes <= train)
    data = facts(train, test, image, classes, linear)
    own = None if accuracy is None else victim(accuracy)
    assume(own is None or own.accuracy > data.above_chance)  # or it is refused
    reasoned = derived(data, own)
    recipe = made("mine", reasoned)
    steps.check_sizes(recipe, train, own is not None)
    assert len(planned(recipe, Domain("shirts", train, test, image, classes)).specs) > 50
    said = set(reasons(reasoned))
    for change in differences(Recipe("mine", "shirts"), recipe):
        assert any(path == change.path or path.startswith(f"{change.path}.") for path in said), change
    assert data.chance < recipe.zoo.accuracy_floor + 1e-3 and (
        own is None or recipe.zoo.accuracy_floor < own.accuracy
    )
    assert (
        recipe.twin_test.pool <= max(25, test)
        and recipe.fingerprint.points * recipe.fingerprint.views <= train
    )


@pytest.mark.parametrize("base", [DIGITS, FMNIST_QUICK, CIFAR10_SMALL], ids=lambda r: r.name)
def test_on_known_data_it_is_like_the_recipe_that_is_tried(base: Recipe) -> None:
    data = {
        "digits": facts(1347, 450, (1, 8, 8), linear=0.96),
        "fmnist-quick": facts(),
        "cifar10-small": facts(50_000, 10_000, (3, 32, 32), linear=0.35),
    }[base.name]
    found = recipe_for(data)
    assert 0.5 <= found.zoo.training.epochs / base.zoo.training.epochs <= 2
    assert 0.5 <= found.zoo.extraction.seed_size / min(5000, base.zoo.extraction.seed_size) <= 2
    assert found.uap.epsilon == pytest.approx(base.uap.epsilon, rel=0.1)
    assert (
        0.5 <= found.zoo.batch_sizes[-1] / base.zoo.batch_sizes[-1] <= 1
        and found.encoder.name == base.encoder.name
    )


def test_small_data_is_asked_less_and_learnt_in_small_batches() -> None:
    small, large = recipe_for(facts(120, 60, classes=3)), recipe_for(facts())
    assert small.twin_test.looks[-1] == 20 and small.twin_test.pool == 30 and small.zoo.batch_sizes == (8, 16)
    assert (
        large.twin_test.looks == (250, 500, 1000)
        and large.twin_test.pool == 3000
        and large.zoo.batch_sizes == (64, 128)
    )
    assert small.zoo.architectures == ("B", "C") and large.zoo.architectures == ("B", "C", "D", "E")


@pytest.mark.parametrize(
    ("side", "nets"), [(28, {"A"}), (63, {"A"}), (64, {"resnet18"}), (224, {"resnet18"})]
)
def test_large_images_are_for_nets_that_can(side: int, nets: set[str]) -> None:
    zoo = recipe_for(facts(image=(3, side, side))).zoo
    assert {zoo.victim_architecture} == nets and (set(zoo.architectures) <= set("ABCDE")) == (side < 64)


def test_floors_follow_chance_and_the_victim() -> None:
    weak = recipe_for(facts(50_000, 5_000, (3, 64, 64), 200, linear=0.5), victim(0.4)).zoo
    assert weak.accuracy_floor == pytest.approx((0.005 + 0.4) / 2, abs=1e-3), (
        "a floor of .8 is nonsense where the victim has .4"
    )
    assert weak.recovery_floor * 0.4 <= weak.accuracy_floor
    strong = recipe_for(facts(linear=0.8), victim(0.95)).zoo
    assert strong.accuracy_floor == pytest.approx(0.45, abs=1e-3), (
        "nets from scratch need not reach what a fine-tuned victim does"
    )
    hopeless = facts(linear=0.1)
    assert recipe_for(hopeless).zoo.accuracy_floor == pytest.approx(hopeless.above_chance, abs=1e-3)


def test_many_classes_have_larger_batches() -> None:
    assert recipe_for(facts(100_000, classes=1000)).zoo.batch_sizes == (128, 256)
    assert recipe_for(facts(2_000, classes=200)).zoo.batch_sizes == (64, 128)


def test_own_victims_without_training_are_told_that_they_have_no_twins() -> None:
    assert "there are none until --train" in derived(facts(), victim(has_training=False))["zoo.twins"][1]


# looking


def folder(at: Path, classes: int, each: tuple[int, int], side: int, mode: str) -> Path:
    """A class folder of PNG files: a bright bar where the class is, and noise."""
    rng = np.random.default_rng(0)
    for part, count in zip(("train", "test"), each, strict=True):
        for label in range(classes):
            place = at / part / f"class {label}"
            place.mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 120, (side, side, len(mode)), dtype=np.uint8)
                start = label * side // classes
                image[:, start : start + side // classes] += 130
                Image.fromarray(image[..., 0] if mode == "L" else image, mode).save(place / f"{i}.png")
    return at


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
        some_of_each_kind(steps.plan(recipe, dataset, open_store("memory:"), None)),
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


# the command


def test_the_next_command_has_all_that_was_said(own_weights: Path, tmp_path: Path, capsys: Capture) -> None:
    said = [*OWN, "--contract", "input.mean=[0]", "input.range=[0, 1]", "--train-timeout", "90.0"]
    assert main(new(tmp_path / "mine.toml", "--victim", str(own_weights), *said)) == 0
    result = shlex.split(capsys.readouterr().out.rpartition("next: zooaudit ")[2])
    args = make_parser().parse_args(result)
    assert (
        args.contract == ["input.mean=[0]", "input.range=[0, 1]"]
        and args.train_timeout == 90
        and args.victim == str(own_weights)
    )


def test_what_is_made_is_the_file_and_says_where_each_number_comes_from(
    own_weights: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "mine.toml"
    assert main(new(file, "--victim", str(own_weights), *OWN)) == 0
    output = capsys.readouterr().out
    assert (
        f"next: zooaudit audit --recipe {file} --store ./store --victim {own_weights}"
        f" --factory {owners.FACTORY} --train tests.support.owners:train" in output
    )
    text, recipe = file.read_text(), read_recipe(file)
    active = re.findall(r"\n# From: .+(?:\n# .+)*\n(\w+) = ", text)
    assert len(active) == len(re.findall(r"\n\w+ = ", text)) - 1 == text.count("# From: ") > 30, (
        "all but the name"
    )
    assert (
        recipe.dataset == "digits"
        and 0.4 < recipe.zoo.accuracy_floor < 0.6
        and to_toml(recipe).count("\n#") > 30
    )
    assert main(["recipe", "check", str(file)]) == 0 and "recipe mine is in order" in capsys.readouterr().out


REFUSED = {
    "no data": (["recipe", "new"], "--data is missing"),
    "try without a procedure": (
        ["recipe", "new", "--dataset", "digits", "--try"],
        "neither --train nor --train-command says how",
    ),
    "json without a file": (["recipe", "new", "--dataset", "digits", "--json"], "--out is missing"),
    "another ending": (
        ["recipe", "new", "--dataset", "digits", "--out", "mine.yaml"],
        "expected a file that ends in .toml",
    ),
    "there already": (["recipe", "new", "--dataset", "digits", "--out", "there.toml"], "is there already"),
    "no folder": (
        ["recipe", "new", "--dataset", "digits", "--out", "nowhere/mine.toml"],
        "nowhere is not a folder",
    ),
    "a name": (["recipe", "new", "digits"], "expected no name"),
    "settings": (
        ["recipe", "new", "--dataset", "digits", "--set", "seed=3"],
        "--set says nothing to recipe new",
    ),
    "unknown data": (["recipe", "new", "--dataset", "shirts"], "or give your own with --data FOLDER"),
    "train without a victim": (
        ["recipe", "new", "--dataset", "digits", "--train", "tests.support.owners:train"],
        "--train needs --victim",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.toml").write_text("mine")
    arguments, message = REFUSED[case]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert message in err and out == "" and (tmp_path / "there.toml").read_text() == "mine"


@pytest.mark.long
def test_an_audit_by_a_made_recipe_finds_the_thieves(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.toml"
    assert main(new(file, "--json")) == 0
    sized = json.loads(capsys.readouterr().out)["plan"]
    fewer = [
        "--set",
        "zoo.references=6",
        "--set",
        "zoo.second_attack=none",
        "--set",
        "zoo.encoder_per_role=2",
    ]
    audit = [
        "audit",
        "--recipe",
        str(file),
        *fewer,
        "--farm",
        "serial",
        "--store",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "report"),
    ]
    assert main([*audit, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["models"] == {"trained": sized["total_models"] - 18 - 4, "reused": 0, "failed": 0}
    assert data["victim_itself"]["decision"] == "stolen" and not data["twin_test"]["accuses_nobody"]
    stolen, innocent = data["called_stolen"]["piracy"], data["called_stolen"]["homologous"]
    assert stolen[0] >= 2 and innocent[0] <= 1, data["called_stolen"]
    assert (
        "mine with zoo.references=6, zoo.encoder_per_role=2, zoo.second_attack=&#34;none&#34;"
        in (tmp_path / "report" / "report.html").read_text()
    )


def test_the_start_is_written_as_the_audit_records_it(
    digits: Dataset, tmp_path: Path, capsys: Capture
) -> None:
    file, factory = tmp_path / "mine.toml", "tests.support.starts:checkpoint"
    assert main([*new(file), "--start", factory, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    recipe, start = read_recipe(file), start_of(factory, digits.image_shape, 10)
    assert recipe.zoo.start == start and plan["models"]["reference"]["start"] == round(
        recipe.zoo.references / 4
    )
    assert "# From: --start: what the victim was fine-tuned from" in file.read_text()
    audit = make_parser().parse_args(["audit", "--recipe", str(file)])
    assert with_start(recipe, audit, digits.image_shape, 10) == recipe, "the recipe is enough"
    audit = make_parser().parse_args(["audit", "--start", factory])
    assert (
        with_start(replace(recipe, zoo=replace(recipe.zoo, start=None)), audit, digits.image_shape, 10)
        == recipe
    )
    assert main(["plan", "--recipe", "digits", "--start", factory, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]["reference"]["start"] == 4
    assert (
        main(["recipe", "check", str(file), "--start", factory]) == 2
        and "--start says nothing to recipe check" in capsys.readouterr().err
    )


def test_a_recipe_whose_checkpoint_is_another_now_is_refused(digits: Dataset) -> None:
    stated = Start("tests.support.starts:checkpoint", "ab" * 32)
    recipe = replace(DIGITS, zoo=replace(DIGITS.zoo, start=stated))
    for options, says in (
        (
            [],
            (
                r"gives other weights \([0-9a-f]{12}...\) than the recipe says \(zoo.start.weights"
                r" abababababab...\)"
            ),
        ),
        (["--start", stated.factory], "gives other weights"),
        (
            ["--start", "my:other"],
            "--start is my:other, but the recipe's zoo.start.factory is tests.support.starts:checkpoint",
        ),
    ):
        with pytest.raises(ConfigError, match=says):
            with_start(recipe, make_parser().parse_args(["audit", *options]), digits.image_shape, 10)


def test_the_estimate_is_of_the_data_that_was_looked_at() -> None:
    small, large = (
        estimate(recipe_for(d), Domain("x", d.train, d.test, d.image, 10), Devices(1))
        for d in (facts(2000, 400), facts())
    )
    assert small.core_hours < large.core_hours and small.total_models < large.total_models
