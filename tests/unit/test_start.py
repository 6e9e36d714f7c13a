"""References that begin with the public checkpoint that the victim began with."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.makers import shape_of
from tests.support.starts import body, checkpoint
from zooaudit.auditing.twin_step import reference
from zooaudit.cli.main import make_parser
from zooaudit.cli.own_start import with_start
from zooaudit.config import ExtractConfig, Start, TrainConfig, ZooConfig
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, ModelError
from zooaudit.planning.sizing import scaled
from zooaudit.recipes.named import DIGITS
from zooaudit.recipes.read import recipe_of
from zooaudit.storage.models import load_module, save_built
from zooaudit.storage.opening import open_store
from zooaudit.zoo.build import Parent, Status, build
from zooaudit.zoo.plan import Plan, plan_zoo
from zooaudit.zoo.planner import Planner
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.start import begun, start_of


def all_new(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, num_classes))


def nothing_new(num_classes: int) -> nn.Module:
    torch.manual_seed(3)
    return checkpoint(num_classes)


def no_module(num_classes: int) -> int:
    return num_classes


def other_size(num_classes: int) -> nn.Module:
    return checkpoint(num_classes + 1)


def broken(num_classes: int) -> nn.Module:
    raise FileNotFoundError("weights.pt is not here")


HERE = "tests.unit.test_start"
SHAPE = ModelShape((1, 8, 8), 10, (0.5,), (0.5,), (4, 8), 16)


@pytest.fixture(scope="module")
def start(digits: Dataset) -> Start:
    return start_of(f"{HERE}:checkpoint", digits.image_shape, digits.num_classes)


def planner(digits: Dataset, start: Start | None, references: int = 32) -> Planner:
    zoo = ZooConfig(references=references, start=start, accuracy_floor=0.5, training=TrainConfig(epochs=60))
    return Planner(zoo, digits.digest, shape_of(digits), 0)


@pytest.mark.usefixtures("same_global_rng")
def test_a_start_is_known_by_the_weights_that_it_always_gives(digits: Dataset, start: Start) -> None:
    again = start_of(f"{HERE}:checkpoint", digits.image_shape, digits.num_classes)
    assert again == start and len(start.weights) == 64


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("all_new", "gives other weights each time"),
        ("nothing_new", "the same last layer each time"),
        ("no_module", "returned a int; expected a torch.nn.Module"),
        ("other_size", r"expected \(2, 10\)"),
        ("broken", "FileNotFoundError: weights.pt is not here"),
        ("missing", "has no attribute 'missing'"),
    ],
)
def test_what_is_no_start_is_refused(name: str, says: str, digits: Dataset) -> None:
    with pytest.raises(ModelError, match=says):
        start_of(f"{HERE}:{name}", digits.image_shape, digits.num_classes)


def test_a_quarter_of_the_references_begin_with_it(digits: Dataset, start: Start) -> None:
    specs = planner(digits, start).references()
    begin = [s for s in specs if s.start == start]
    assert len(specs) == 32 and len(begin) == 8 and len({s.id for s in specs}) == 32
    assert {s.optimiser for s in begin} == {"sgd", "adam", "rmsprop"} and begin[0].id.startswith(
        "reference-start-"
    )
    assert begin[0].training.lr_adam == planner(digits, None).zoo.training.lr_adam / 10
    assert reference(begin[0]).kind == "fine-tuned from the victim's start"
    assert ModelSpec.from_json(begin[0].to_json()) == begin[0]


def test_without_one_no_model_has_another_id(digits: Dataset) -> None:
    spec = planner(digits, None).references()[0]
    assert "start" not in spec.to_json() and spec.start is None


def test_another_checkpoint_gives_other_models(digits: Dataset, start: Start) -> None:
    other = dataclasses.replace(start, weights="0" * 64)
    ids = [{s.id for s in planner(digits, one).references() if s.start} for one in (start, other)]
    assert not ids[0] & ids[1]


def test_it_is_trained_stored_and_read_again(digits: Dataset, start: Start) -> None:
    spec = next(s for s in planner(digits, start).references() if s.start and s.optimiser == "sgd")
    built = build(spec, digits, None)
    assert built.record.status is Status.LEARNT, built.record
    assert not torch.equal(built.weights["1.weight"], body().weight), "all layers learn"
    artifacts = open_store("memory:")
    save_built(artifacts, built)
    module = load_module(artifacts, spec.id)
    assert torch.equal(module.state_dict()["1.weight"], built.weights["1.weight"])
    assert torch.equal(build(spec, digits, None).weights["1.weight"], built.weights["1.weight"]), (
        "the same again"
    )


def test_the_new_layer_follows_the_seed() -> None:
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(begun(Start(f"{HERE}:checkpoint", ""), 5).state_dict()["3.weight"])
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def wide(num_classes: int) -> nn.Module:
    """It takes colours of another size, as its victim does behind --contract."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), checkpoint(num_classes))


def test_a_start_is_not_behind_the_contract_and_says_so(digits: Dataset) -> None:
    """--contract is the victim's and its twins'; the start's module does by itself what the contract says."""
    options = ["audit", "--contract", "input.size=[16,16]", "input.channels=rgb"]
    args = make_parser().parse_args([*options, "--start", f"{HERE}:wide"])
    with pytest.raises(
        ModelError,
        match=r"expected input.* to have 3 channels, .*; a start is given images of 1 x 8 x 8 in \[0, 1\]",
    ) as error:
        with_start(DIGITS, args, digits.image_shape, digits.num_classes)
    assert "--contract applies to the victim and its twins, not to it" in str(
        error.value
    ) and "state that by --contract" not in str(error.value)
    said: list[str] = []
    args = make_parser().parse_args([*options, "--start", f"{HERE}:checkpoint"])
    found = with_start(DIGITS, args, digits.image_shape, digits.num_classes, said.append)
    assert found.zoo.start == start_of(f"{HERE}:checkpoint", digits.image_shape, digits.num_classes)
    assert len(said) == 1 and "images of 1 x 8 x 8 in [0, 1]" in said[0] and "not to it" in said[0]


def plan(digits: Dataset, **zoo: object) -> Plan:
    made = ZooConfig(
        **(
            {
                "training": TrainConfig(epochs=5, precision="float32"),
                "optimisers": ("adam",),
                "accuracy_floor": 0.1,
                "recovery_floor": 0.0,
                "batch_sizes": (32,),
            }
            | zoo
        )
    )
    return plan_zoo(made, digits.digest, shape_of(digits), 0)


def test_a_thief_may_begin_with_the_checkpoint(digits: Dataset, start: Start) -> None:
    """CloudLeak as its paper has it; beside it thieves of the zoo's architectures, as without it."""
    cloudleak = ExtractConfig("cloudleak", seed_size=100, rounds=1, final_epochs=10, architecture="start")
    found = plan(
        digits,
        start=start,
        thieves=(
            cloudleak,
            ExtractConfig("distill", seed_size=50),
            ExtractConfig("distill", architecture="A"),
        ),
    )
    before = {s.id for s in plan(digits, start=start).specs}
    thief, second, third = (s for s in found.specs if s.id not in before)
    assert (thief.architecture, thief.start, thief.role, thief.group) == (
        "start",
        start,
        Role.PIRACY,
        Group.SUSPECT,
    )
    assert (
        thief.extraction == dataclasses.replace(cloudleak, architecture="")
        and thief.training.lr_adam == TrainConfig().lr_adam / 10
    )
    assert (second.architecture, second.start, third.architecture, third.start) == ("C", None, "A", None)
    victim = build(found.of(Role.VICTIM)[0], digits, None)
    artifacts = open_store("memory:")
    save_built(artifacts, victim)
    built = build(thief, digits, Parent(load_module(artifacts, victim.spec.id), victim.record.accuracy))
    assert built.record.status is Status.LEARNT and built.record.queries == 200, built.record
    assert not torch.equal(built.weights["1.weight"], body().weight)
    assert (
        float(
            torch.cosine_similarity(
                built.weights["1.weight"].detach().flatten(), body().weight.detach().flatten(), dim=0
            )
        )
        > 0.7
    ), "it began there"
    save_built(artifacts, built)
    assert torch.equal(load_module(artifacts, thief.id).state_dict()["1.weight"], built.weights["1.weight"])


def test_a_whole_zoo_may_begin_with_it(digits: Dataset, start: Start) -> None:
    found = plan(
        digits,
        start=start,
        architectures=("start",),
        victim_architecture="start",
        encoder_architectures=("C",),
    )
    assert (
        len({s.id for s in found.specs}) == len(found.specs)
        and len({s.seed for s in found.specs if s.role is not Role.TWIN}) == 55
    )
    made = [
        s
        for s in found.specs
        if s.role in (Role.VICTIM, Role.TWIN, Role.OTHER_VICTIM) or s.group is Group.SUSPECT
    ]
    assert all((s.architecture, s.start) == ("start", start) for s in made)
    victim = build(found.of(Role.VICTIM)[0], digits, None)
    assert victim.record.status is Status.LEARNT, victim.record


def test_thieves_of_a_zoo_without_a_checkpoint_cannot_begin_with_it(digits: Dataset) -> None:
    for zoo in ({"thieves": (ExtractConfig(architecture="start"),)}, {"architectures": ("start",)}):
        with pytest.raises(
            ConfigError,
            match=(
                r"architecture 'start', which begins with the public checkpoint of zoo.start, but"
                r" it has no zoo.start"
            ),
        ):
            plan(digits, **zoo)
    with pytest.raises(ConfigError, match="unknown architecture 'Z'"):
        plan(digits, thieves=(ExtractConfig(architecture="Z"),))
    with pytest.raises(
        ConfigError,
        match=r"ExtractConfig.architecture is 'start'; expected \"\": only an attack of \[\[zoo.thieves\]\]",
    ):
        ZooConfig(extraction=ExtractConfig(architecture="start"))


def test_a_file_may_name_it(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = f"""inherit = "digits"\nname = "mine"
[zoo.start]\nfactory = "{start.factory}"\nweights = "{start.weights}"
[[zoo.thieves]]\nattack = "cloudleak"\narchitecture = "start"\n"""
    path.write_text(text)
    (thief,) = recipe_of(str(path), []).zoo.thieves
    assert thief == ExtractConfig(architecture="start")
    path.write_text(text.replace('architecture = "start"', 'architecture = "stat"'))
    with pytest.raises(ConfigError, match='thieves names the architecture "stat", which does not exist'):
        recipe_of(str(path), [])


def test_a_thief_of_a_librarys_net_may_have_its_own_checkpoint() -> None:
    there = Start("timm:resnet18=there.safetensors", "0" * 64)
    zoo = ZooConfig(checkpoints=(there,), thieves=(ExtractConfig(architecture="timm:resnet18"),))
    assert zoo.checkpoint_of("timm:resnet18") == there and "timm:resnet18" in zoo.nets


def test_scaling_counts_thieves(start: Start) -> None:
    more = dataclasses.replace(
        DIGITS, zoo=dataclasses.replace(DIGITS.zoo, thieves=(ExtractConfig("dfme"),) * 30)
    )
    sizes = [len(plan_zoo(scaled(r, 400)[0].zoo, "data", SHAPE, 0).specs) for r in (DIGITS, more)]
    assert abs(sizes[0] - sizes[1]) < 25, sizes
