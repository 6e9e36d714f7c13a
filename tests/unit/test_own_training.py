"""The owner's own training procedure: what is refused before anything is trained, and what
becomes of twins that fail."""

import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.own_training import built
from tests.support.owners import FACTORY, by_script, called, make
from zooaudit.config import OwnTraining
from zooaudit.data.images import Dataset
from zooaudit.zoo.build import Status
from zooaudit.zoo.limited_process import Limits, folder_bytes, run
from zooaudit.zoo.own_training import LOG_BYTES, train
from zooaudit.zoo.procedure import imported

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
    "nothing": r"\{out\} does not exist, though the run ended without an error; expected safetensors",
    "empty": r"\{out\} is empty, though the run ended without an error; expected safetensors",
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
