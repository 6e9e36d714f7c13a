"""What an owner's training procedure is, and what its process does."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.owners import FACTORY, by_script, called
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError
from zooaudit.storage.encoding import tensors_to_bytes
from zooaudit.zoo import call_training
from zooaudit.zoo.procedure import by_command, by_function, imported, takes_data


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
            "program 'no-such-program-here' does not exist, or cannot be run",
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


RAISED = {
    "fails": "ValueError: the learning rate is odd",
    "gives_up": "SystemExit: no licence left",
    "silent": "RuntimeError",
    "a_dict": "TypeError: it returned a OrderedDict; expected a torch.nn.Module",
}


@pytest.fixture
def globals_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``call_training`` is meant for a process of its own."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


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
