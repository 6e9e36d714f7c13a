"""The owner's training on Ray, and commands that are ended with all their children."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support import owners
from tests.support.farms import quiet
from tests.support.own_training import built
from tests.support.owners import by_script
from tests.support.places import ROOT
from tests.support.zoos import twins
from zooaudit.data.images import Dataset
from zooaudit.storage.models import KIND, TRAINING_LOG, load_record
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo.build import Status
from zooaudit.zoo.procedure import by_command, by_function


def gone(*pids: int, within_s: float = 15.0) -> bool:
    """Whether processes end in time; a zombie has ended."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids):
            return True
        time.sleep(0.1)
    return False


def pids_in(file: Path, within_s: float = 60.0) -> list[int]:
    end = time.monotonic() + within_s
    while not file.exists():
        assert time.monotonic() < end, "it did not start"
        time.sleep(0.05)
    return [int(word) for word in file.read_text().split()]


@pytest.mark.processes
def test_at_the_time_limit_a_command_and_all_its_children_end(digits: Dataset, tmp_path: Path) -> None:
    found = built(by_script(tmp_path, "hangs", str(tmp_path / "pids"), timeout_s=3), digits)
    assert found.record.reason == "it took longer than 3 s and was ended; --train-timeout allows more"
    assert found.log.startswith(b"seed ")
    assert gone(*pids_in(tmp_path / "pids"))


OWNER = """
import sys
from pathlib import Path
from tests.support.owners import by_script
from zooaudit.data.resolve import load_digits
from zooaudit.zoo.own_training import train
folder = Path(sys.argv[1])
train(by_script(folder, "hangs", str(folder / "pids")), 3, load_digits())
"""


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_ends_with_whoever_ran_it(number: signal.Signals, tmp_path: Path) -> None:
    """By Ctrl-C, and also when a worker is killed and can do nothing more itself."""
    (tmp_path / "tmp").mkdir()
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )
    pids = pids_in(tmp_path / "pids")
    assert all(psutil.pid_exists(p) for p in pids)
    time.sleep(1)  # so that it is on its leash
    owner.send_signal(number)
    owner.wait(30)
    assert gone(*pids)
    end = time.monotonic() + 10
    while list((tmp_path / "tmp").iterdir()) and time.monotonic() < end:
        time.sleep(0.1)
    assert list((tmp_path / "tmp").iterdir()) == [], "scratch is left behind"


DRIVER = """
import sys
from pathlib import Path
from tests.support.farms import quiet
from tests.support.owners import by_script
from tests.support.zoos import twins
from zooaudit.data.resolve import load_digits
from zooaudit.training.ray_farm import RayFarm
from zooaudit.storage.opening import open_store
folder, digits = Path(sys.argv[1]), load_digits()
specs = twins(by_script(folder, "hangs", str(folder / "pids")), digits)
RayFarm(workers=1).build(specs, digits, open_store(str(folder / "store")), quiet)
"""


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.long
def test_a_command_ends_when_the_ray_farm_is_stopped(number: signal.Signals, tmp_path: Path) -> None:
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )
    pids = pids_in(tmp_path / "pids", within_s=120)
    assert all(psutil.pid_exists(p) for p in pids)
    driver.send_signal(number)
    driver.wait(60)
    assert gone(*pids, within_s=60)


@pytest.mark.ray
def test_on_ray_the_same_twins_by_function_and_by_command(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zooaudit.training.ray_farm import RayFarm

    shutil.copy(owners.__file__, tmp_path / "owners_nets.py")
    by_script(tmp_path, "good")
    monkeypatch.chdir(tmp_path)  # functions and files there are named as the user would name them
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    function = by_function("owners_nets:train", "owners_nets:make")
    command = by_command(f"{sys.executable} -I train.py good {{seed}} {{out}}", "owners_nets:make")
    specs = [*twins(function, digits, 3, floor=0.8), *twins(command, digits, 2)]
    one, two = open_store(str(tmp_path / "one")), open_store(str(tmp_path / "two"))
    assert RayFarm(workers=2).build(specs, digits, one, quiet) == 5
    assert SerialFarm().build(specs, digits, two, quiet) == 5
    for spec in specs:
        assert load_record(one, spec.id).status is Status.LEARNT, load_record(one, spec.id)
        a, b = (store.load(KIND, spec.id) for store in (one, two))
        assert a.files == b.files and TRAINING_LOG in a.files
