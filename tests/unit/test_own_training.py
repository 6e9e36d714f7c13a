"""The owner's own training procedure: what is refused before anything is trained, and what
becomes of twins that fail."""

import json
import re
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.farms import quiet
from tests.support.own_training import built
from tests.support.owners import FACTORY, by_script, called, make
from tests.support.zoos import TINY, twins
from zooaudit.auditing import steps
from zooaudit.cli import chosen_recipe, own_victim
from zooaudit.cli.main import main, make_parser
from zooaudit.config import OwnTraining
from zooaudit.data.images import Dataset
from zooaudit.data.resolve import load_digits
from zooaudit.errors import ConfigError
from zooaudit.recipes.named import RECIPES
from zooaudit.storage.artifacts import tensors_to_bytes
from zooaudit.storage.models import KIND, TRAINING_LOG, OwnModel, load_module, load_record
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo import call_training
from zooaudit.zoo.build import Status
from zooaudit.zoo.limited_process import Limits, folder_bytes, run
from zooaudit.zoo.own_training import LOG_BYTES, train
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.procedure import by_command, by_function, imported, takes_data
from zooaudit.zoo.spec import Group, Role

# what a procedure is


@pytest.mark.parametrize(
    ("name", "data"),
    [("train", True), ("fails", True), ("train_alone", False), ("forgetful", False), ("endless", False)],
)
def test_the_signature_tells_whether_a_function_takes_data(name: str, data: bool) -> None:
    assert takes_data(imported(f"tests.support.owners:{name}"), name) is data
    assert called(name).function == f"tests.support.owners:{name}"


@pytest.mark.parametrize("name", ["no_seed", "one_of_two", "seed_first", "anything"])
def test_a_function_of_another_form_is_refused_with_what_was_found_and_both_forms(name: str) -> None:
    with pytest.raises(
        ConfigError,
        match=(
            rf"tests.support.owners:{name} takes \(.*\); expected function\(images, labels, seed\) or"
            r" function\(seed\)"
        ),
    ):
        called(name)


UNUSABLE = {
    "tests.support.owners": "is not of the form package.module:function",
    "tests.support.owners:": "is not of the form package.module:function",
    "nowhere_at_all:train": "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'",
    "tests.support.owners:nothing": "cannot be imported: AttributeError",
    "tests.support.owners:A_NUMBER": r"is a int; expected function\(images, labels, seed\) or",
    "broken_code:train": "cannot be imported: SyntaxError",
    "quitting_code:train": "cannot be imported: SystemExit: 3",
}


@pytest.mark.parametrize("function", UNUSABLE)
def test_a_function_that_cannot_be_had_is_refused(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_code.py").write_text("def train(:\n")
    (tmp_path / "quitting_code.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ConfigError, match=UNUSABLE[function]) as caught:
        by_function(function, FACTORY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "",
            "the training command is empty; expected for example: python train.py --seed {seed} --out {out}",
        ),
        ("python 'train.py {seed} {out}", "cannot be split into words (No closing quotation)"),
        (
            "python train.py {out}",
            "lacks {seed}, which stands for the twin's seed; expected both {seed} and {out}",
        ),
        (
            "python train.py {seed}",
            "lacks {out}, which stands for the file for its weights; expected both {seed} and {out}",
        ),
        (
            "no-such-program-here {seed} {out}",
            "program 'no-such-program-here' is not there, or may not be run",
        ),
    ],
)
def test_a_command_that_cannot_work_is_refused(command: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        by_command(command, FACTORY)


def test_changed_code_is_another_procedure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = by_script(tmp_path, "good")
    assert by_script(tmp_path, "good") == first
    (tmp_path / "train.py").write_text("print()")
    assert by_command(first.command, FACTORY).code != first.code
    (tmp_path / "rates.json").write_text("1")
    named = f"{sys.executable} -c 1 {{seed}} {{out}} --rates={tmp_path / 'rates.json'}"
    before = by_command(named, FACTORY).code
    (tmp_path / "rates.json").write_text("2")
    assert by_command(named, FACTORY).code != before

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "owners_code.py").write_text("def train(seed): ...\n")
    before = by_function("owners_code:train", FACTORY).code
    (tmp_path / "owners_code.py").write_text("def train(seed): return 1\n")
    assert by_function("owners_code:train", FACTORY).code != before


# what a function's process does


@pytest.fixture
def globals_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``call_training`` is meant for a process of its own."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


RAISED = {
    "fails": "ValueError: the learning rate is odd",
    "gives_up": "SystemExit: no licence left",
    "silent": "RuntimeError",
    "a_dict": "TypeError: it returned a OrderedDict; expected a torch.nn.Module",
}


@pytest.mark.parametrize("name", RAISED)
@pytest.mark.usefixtures("globals_kept")
def test_what_a_function_raises_is_one_line(
    name: str, digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.safetensors"
    data.write_bytes(tensors_to_bytes({"images": digits.train.images, "labels": digits.train.labels}))
    out = tmp_path / "twin.safetensors"
    assert (
        call_training.main(f"tests.support.owners:{name}", 5, 1, str(data) if name == "fails" else "-", out)
        == 1
    )
    assert out.with_suffix(".reason").read_text() == RAISED[name]
    assert not out.exists()
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("globals_kept")
def test_what_a_function_forgets_to_seed_is_repeatable_and_differs_with_the_seed(tmp_path: Path) -> None:
    found = []
    for i, seed in enumerate((5, 5, 6)):
        torch.rand(i)  # whatever was drawn before
        assert (
            call_training.main("tests.support.owners:forgetful", seed, 1, "-", tmp_path / f"{i}.safetensors")
            == 0
        )
        found.append(load_file(tmp_path / f"{i}.safetensors")["1.bias"])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.usefixtures("globals_kept")
def test_shared_weights_are_written_under_each_name(tmp_path: Path) -> None:
    assert call_training.main("tests.support.owners:tied", 5, 1, "-", tmp_path / "t.safetensors") == 0
    found = load_file(tmp_path / "t.safetensors")
    assert torch.equal(found["one.weight"], found["two.weight"]) and len(found) == 4


# twins


def test_a_twin_by_a_function_is_as_if_it_had_been_called_here(
    digits: Dataset, same_global_rng: None
) -> None:
    own = called("train")
    found = built(own, digits, floor=0.8)
    assert (found.record.status, found.record.reason, found.record.attempts) == (
        Status.LEARNT,
        "",
        1,
    ), found.record
    seed = found.spec.seed
    with torch.random.fork_rng([]):
        expected = imported(own.function)(digits.train.images, digits.train.labels, seed=seed).state_dict()
    assert (
        all(torch.equal(found.weights[k], v) for k, v in expected.items())
        and found.weights.keys() == expected.keys()
    )
    assert (
        found.log.decode() == f"seed {seed}: 1347 images of (1, 8, 8), torch.uint8, torch.int64, threads 1\n"
    )
    assert found.record.accuracy > 0.85


FAILING = {
    "another_shape": "its model: 1.weight is torch.float32 (9, 64); expected torch.float32 (10, 64)",
    "not_finite": "its model: 1.bias holds NaN or infinite values; expected finite weights",
    "crashes": "ended by SIGSEGV: about to crash",
    "fails": "ValueError: the learning rate is odd",
}


@pytest.mark.parametrize("name", FAILING)
def test_a_twin_that_a_function_fails_to_train_has_one_line_of_a_reason(name: str, digits: Dataset) -> None:
    found = built(called(name), digits)
    assert found.record.status is Status.FAILED
    assert found.record.reason == FAILING[name]
    assert found.weights == {}


def test_a_function_that_never_ends_is_ended(digits: Dataset) -> None:
    found = built(called("endless", timeout_s=1.5), digits)
    assert found.record.reason == "it took longer than 1.5 s and was ended; --train-timeout allows more"
    assert found.record.seconds < 30


def test_a_twin_by_a_command_of_any_environment(digits: Dataset, tmp_path: Path) -> None:
    one, again = (built(by_script(tmp_path, "good"), digits) for _ in range(2))
    assert one.record.status is Status.LEARNT, one.record
    assert one.log.decode() == f"seed {one.spec.seed}\n"
    assert one.weights.keys() == make().state_dict().keys()
    assert all(torch.equal(one.weights[k], again.weights[k]) for k in one.weights)


def test_a_twin_under_the_floor_has_failed_and_keeps_its_weights_and_log(
    digits: Dataset, tmp_path: Path
) -> None:
    found = built(by_script(tmp_path, "good"), digits, floor=0.8)
    assert found.record.status is Status.FAILED and found.record.accuracy < 0.5
    assert found.record.reason.endswith("is under the floor 0.8")
    assert found.weights and found.log


COMMANDS = {
    "fails": "exit code 3: no data there",
    "fails silently": r"exit code 1: seed \d+",
    "dies": r"ended by SIGKILL: seed \d+",
    "nothing": r"\{out\} is not there, though it ended without an error; expected safetensors",
    "empty": r"\{out\} is empty, though it ended without an error; expected safetensors",
    "pickle": r"\{out\} is a pickle; expected safetensors\. .*",
    "text": r"\{out\} is not a readable safetensors file .*",
    "few": r"\{out\} lacks 1\.bias; expected the 2 tensors of the model",
    "nan": r"\{out\}: 1\.bias holds NaN or infinite values; expected finite weights",
    "shape": r"\{out\}: 1\.bias is torch\.float32 \(9,\); expected torch\.float32 \(10,\)",
}


@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_that_fails_is_one_line_and_its_log_is_kept(
    what: str, digits: Dataset, tmp_path: Path
) -> None:
    found = built(by_script(tmp_path, what), digits)
    assert found.record.status is Status.FAILED and found.weights == {}
    assert re.fullmatch(COMMANDS[what], found.record.reason), found.record.reason
    assert found.log.decode().startswith(f"seed {found.spec.seed}\n")


def test_a_factory_that_fails_in_the_worker_is_a_reason_too(digits: Dataset, tmp_path: Path) -> None:
    found = built(replace(by_script(tmp_path, "good"), factory="tests.support.owners:gone"), digits)
    assert found.record.reason.startswith("factory tests.support.owners:gone failed: AttributeError")


def test_a_program_that_has_gone_meanwhile_is_a_reason_too(digits: Dataset) -> None:
    found = built(OwnTraining(FACTORY, "", command="no-such-program-here {seed} {out}"), digits)
    assert found.record.reason.startswith("no-such-program-here cannot be started: ")


def test_the_last_of_a_long_log_is_kept(digits: Dataset, tmp_path: Path) -> None:
    found = built(by_script(tmp_path, "talks"), digits)
    assert found.record.status is Status.LEARNT
    assert len(found.log) == LOG_BYTES and found.log.endswith(b"line 299999\n")


def test_nothing_is_left_in_the_scratch_folder(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    assert train(by_script(tmp_path, "good"), 3, digits).reason == ""
    assert train(by_script(tmp_path, "fails"), 3, digits).reason != ""
    assert list(scratch.iterdir()) == []


# limits


def test_a_command_that_fills_the_disk_is_ended(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    command = [
        sys.executable,
        "-I",
        "-c",
        (
            f"import time; f = open({str(folder / 'x')!r}, 'wb')\nwhile f.write(b'x' * 10**6): f.flush();"
            " time.sleep(.02)"
        ),
    ]
    code, reason = run(command, folder, folder / "log", Limits(60, folder_bytes=5 * 10**6, look_s=0.1))
    assert code is None and re.fullmatch(
        r"it was ended when it had written 0\.\d GB; expected at most 0\.005 GB", reason
    ), reason
    taken = folder_bytes(folder)
    assert 5 * 10**6 < taken < 100 * 10**6
    time.sleep(0.3)
    assert folder_bytes(folder) == taken, "it goes on"
    code, reason = run(["sleep", "60"], folder, folder / "log", Limits(60, free_bytes=10**18, look_s=0.1))
    assert code is None and "GB were left on the disk of" in reason and "expected at least 1e+09 GB" in reason


# in the store


def own_plan(dataset: Dataset, own: OwnTraining, count: int, floor: float = 0.0) -> Plan:
    return Plan("victim-own-1", tuple(twins(own, dataset, count, floor)))


def test_twins_are_kept_with_their_log_and_loaded_through_the_factory(
    digits: Dataset, tmp_path: Path
) -> None:
    store, plan = open_store(str(tmp_path / "store")), own_plan(digits, by_script(tmp_path, "good"), 2)
    assert SerialFarm().build(steps.missing_models(plan, store), digits, store, quiet) == 2
    for spec in plan.specs:
        module = load_module(store, spec.id)
        assert load_record(store, spec.id).status is Status.LEARNT
        assert module(torch.zeros(3, 1, 8, 8)).shape == (3, 10) and not module.training
        assert store.load(KIND, spec.id).read(TRAINING_LOG).decode() == f"seed {spec.seed}\n"
        assert steps.Victim.load(spec.id, store, digits).training_indices.tolist() == list(range(1347))
    assert steps.missing_models(plan, store) == []


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
    assert SerialFarm().build(steps.missing_models(plan, store), digits, store, quiet) == 6
    records = {s.id: load_record(store, s.id) for s in plan.specs}
    assert {i for i, r in records.items() if r.status is Status.FAILED} == odd
    assert {records[i].reason for i in odd} == {"exit code 1: not yet"}
    (tmp_path / "mended").touch()
    again = steps.missing_models(plan, store)
    assert {s.id for s in again} == odd
    assert SerialFarm().build(again, digits, store, quiet) == len(odd)
    assert {load_record(store, s.id).status for s in plan.specs} == {Status.LEARNT}
    assert steps.missing_models(plan, store) == []


# the command line


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
    plan = steps.plan(recipe, digits, open_store("memory:"), own)
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
