"""An owner's training in the store and on the command line."""

import json
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from tests.support.farms import quiet
from tests.support.owners import FACTORY, by_script
from tests.support.zoos import TINY, twins
from zooaudit.auditing import steps, zoo_plan
from zooaudit.cli import chosen_recipe, own_victim
from zooaudit.cli.main import main, make_parser
from zooaudit.config import OwnTraining
from zooaudit.data.images import Dataset
from zooaudit.data.resolve import load_digits
from zooaudit.recipes.named import RECIPES
from zooaudit.storage.encoding import tensors_to_bytes
from zooaudit.storage.models import KIND, TRAINING_LOG, OwnModel, load_module, load_record
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo.build import Status
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.procedure import by_command, by_function, imported
from zooaudit.zoo.spec import Group, Role


def own_plan(dataset: Dataset, own: OwnTraining, count: int, floor: float = 0.0) -> Plan:
    return Plan("victim-own-1", tuple(twins(own, dataset, count, floor)))


def test_twins_are_kept_with_their_log_and_loaded_through_the_factory(
    digits: Dataset, tmp_path: Path
) -> None:
    store, plan = open_store(str(tmp_path / "store")), own_plan(digits, by_script(tmp_path, "good"), 2)
    assert SerialFarm().build(zoo_plan.missing_models(plan, store), digits, store, quiet) == 2
    for spec in plan.specs:
        module = load_module(store, spec.id)
        assert load_record(store, spec.id).status is Status.LEARNT
        assert module(torch.zeros(3, 1, 8, 8)).shape == (3, 10) and not module.training
        assert store.load(KIND, spec.id).read(TRAINING_LOG).decode() == f"seed {spec.seed}\n"
        assert steps.Victim.load(spec.id, store, digits).training_indices.tolist() == list(range(1347))
    assert zoo_plan.missing_models(plan, store) == []


def test_failed_twins_stop_nobody_and_are_tried_again_when_the_run_is(
    digits: Dataset, tmp_path: Path
) -> None:
    """The script fails for some seeds as long as a file is missing that it does not name."""
    script = tmp_path / "sometimes.py"
    script.write_text(
        "import sys, runpy, os\n"
        f"if int(sys.argv[2]) % 2 and not os.path.exists({str(tmp_path / 'mended')!r}): sys.exit('not yet')\n"
        f"runpy.run_path({str(tmp_path / 'train.py')!r}, run_name='__main__')\n"
    )
    by_script(tmp_path, "good")
    own = by_command(f"{sys.executable} {script} good {{seed}} {{out}}", FACTORY)
    store, plan = open_store("memory:"), own_plan(digits, own, 6)
    odd = {s.id for s in plan.specs if s.seed % 2}
    assert 0 < len(odd) < 6
    assert SerialFarm().build(zoo_plan.missing_models(plan, store), digits, store, quiet) == 6
    records = {s.id: load_record(store, s.id) for s in plan.specs}
    assert {i for i, r in records.items() if r.status is Status.FAILED} == odd
    assert {records[i].reason for i in odd} == {"exit code 1: not yet"}
    (tmp_path / "mended").touch()
    again = zoo_plan.missing_models(plan, store)
    assert {s.id for s in again} == odd
    assert SerialFarm().build(again, digits, store, quiet) == len(odd)
    assert {load_record(store, s.id).status for s in plan.specs} == {Status.LEARNT}
    assert zoo_plan.missing_models(plan, store) == []


def arguments(tmp_path: Path, *more: str) -> list[str]:
    return ["zoo", "--recipe", "digits", "--farm", "serial", "--store", str(tmp_path / "store"), *more]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    data = load_digits().train
    with torch.random.fork_rng([]):
        path.write_bytes(
            tensors_to_bytes(
                imported("tests.support.owners:train")(data.images, data.labels, seed=1).state_dict()
            )
        )
    return path


VICTIM = ("--victim", "mine.safetensors", "--factory", FACTORY)
TOGETHER = "python train.py {seed} {out}"
BAD = {
    "both": (
        (*VICTIM, "--train", "a:b", "--train-command", TOGETHER),
        "--train and --train-command are both given",
    ),
    "no victim": (("--train", "tests.support.owners:train", "--factory", FACTORY), "--train needs --victim"),
    "no factory": (
        ("--victim", "mine.safetensors", "--train-command", TOGETHER),
        "--train-command needs --factory",
    ),
    "no module": ((*VICTIM, "--train", "nowhere_at_all:train"), "cannot be imported: ModuleNotFoundError"),
    "form": (
        (*VICTIM, "--train", "tests.support.owners:no_seed"),
        "expected function(images, labels, seed) or function(seed)",
    ),
    "placeholder": ((*VICTIM, "--train-command", "python train.py {seed}"), "lacks {out}"),
    "empty": ((*VICTIM, "--train-command", ""), "the training command is empty"),
    "time": (
        (*VICTIM, "--train", "tests.support.owners:train", "--train-timeout", "0"),
        "timeout_s is 0.0; expected a positive number",
    ),
    "time of nothing": (
        (*VICTIM, "--train-timeout", "5"),
        "--train-timeout limits --train or --train-command, but neither is given",
    ),
    "twins of nothing": ((*VICTIM, "--twins", "5"), "--twins needs --train or --train-command"),
    "too many twins": (("--twins", "1000"), "ZooConfig.twins is 1000; expected 0 to 999"),
}


@pytest.mark.parametrize("name", BAD)
def test_options_that_do_not_go_together_are_one_line(
    name: str,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    more, message = BAD[name]
    assert main(arguments(tmp_path, *more)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("zooaudit: ")]
    assert len(errors) == 1 and message in errors[0], errors
    assert not (tmp_path / "store" / "manifests").exists(), "something was trained"


def test_the_zoo_of_an_own_victim_with_its_twins(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RECIPES, "digits", TINY)
    command = by_script(tmp_path, "good").command
    more = (
        "--victim",
        str(weights),
        "--factory",
        FACTORY,
        "--train-command",
        command,
        "--twins",
        "3",
        "--json",
    )
    assert main(arguments(tmp_path, *more)) == 0
    rows = json_of(capsys)
    found = [row for row in rows if row["model"].startswith("twin-own-")]
    assert len(found) == 3 and all(row["reason"].endswith("is under the floor 0.2") for row in found), (
        "an untrained script's twins"
    )
    assert main(arguments(tmp_path, *more)) == 0
    assert [r["model"] for r in json_of(capsys)] == [r["model"] for r in rows]


def json_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(capsys.readouterr().out)["models"]
    return rows


def test_options_become_a_procedure(weights: Path, digits: Dataset) -> None:
    given = (
        "--victim",
        str(weights),
        "--factory",
        FACTORY,
        "--train",
        "tests.support.owners:train",
        "--train-timeout",
        "7",
        "--twins",
        "4",
    )
    args = make_parser().parse_args(["audit", *given])
    own = own_victim.own_victim(args, digits)
    assert own is not None and own.training == by_function("tests.support.owners:train", FACTORY, 7.0)
    assert own.id == OwnModel(weights, FACTORY, digits.image_shape, 10).id, (
        "the procedure is no part of the victim"
    )
    recipe = chosen_recipe.with_twins(TINY, args)
    assert (recipe.zoo.twins, recipe.zoo.references) == (4, TINY.zoo.references)
    plan = zoo_plan.plan(recipe, digits, open_store("memory:"), own)
    assert [s.own_training for s in plan.of(Role.TWIN, Group.VERDICT)] == [own.training] * 4


def test_help_teaches_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["audit", "--help"])
    words = " ".join(textwrap.dedent(capsys.readouterr().out).split())
    for text in (
        "function(images, labels, seed)",
        "function(seed)",
        "python train.py --seed {seed} --out {out}",
        "tried again",
        "21600",
    ):
        assert text in words, text
