"""Ray farms whose workers share a victim, or a GPU: who gets a place, and that the models
are those of the in-process farm."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
import torch

from tests.support.farms import quiet
from tests.support.makers import trained_spec
from tests.support.shared_victims import family
from zooaudit.cli.main import main
from zooaudit.data.images import Dataset
from zooaudit.errors import InputError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.models import KIND, load_module, load_record
from zooaudit.storage.opening import open_store
from zooaudit.training.cluster import QUIET
from zooaudit.training.farm import SerialFarm
from zooaudit.training.ray_farm import RayFarm
from zooaudit.training.ray_worker import granted
from zooaudit.training.work_queue import FarmStatus
from zooaudit.zoo.spec import ModelSpec, Role


def assert_same_but_for_rounding(specs: list[ModelSpec], one: Artifacts, two: Artifacts) -> None:
    assert set(one.ids(KIND)) == set(two.ids(KIND)) == {s.id for s in specs}
    for spec in specs:
        a, b = (load_module(artifacts, spec.id).state_dict() for artifacts in (one, two))
        equal = all(torch.equal(a[k], b[k]) for k in a)
        if spec.parent is None:
            assert equal is (spec.role in (Role.HOMOLOGOUS, Role.TWIN, Role.REFERENCE)), (
                f"{spec.role}: equal to the bit, so trained by one; or shared without being asked"
            )
            for key, value in a.items():
                torch.testing.assert_close(b[key], value, rtol=1e-3, atol=1e-4)
        accuracies = [load_record(artifacts, spec.id).accuracy for artifacts in (one, two)]
        assert accuracies[0] == pytest.approx(accuracies[1], abs=0.01 if spec.parent is None else 0.1)


@pytest.mark.ray
@pytest.mark.long
def test_victims_shared_by_two_workers(digits: Dataset, tmp_path: Path) -> None:
    one, two = open_store(str(tmp_path / "one")), open_store(str(tmp_path / "two"))
    specs, seen = family(digits, one), list[FarmStatus]()
    assert SerialFarm().build(specs, digits, one, quiet) == len(specs)
    assert RayFarm(victim_workers=2).build(specs, digits, two, seen.append) == len(specs)
    assert_same_but_for_rounding(specs, one, two)
    done = [s.done for s in seen]
    assert (
        {s.total for s in seen} == {len(specs)}
        and done == sorted(done)
        and (done[0], done[-1]) == (0, len(specs))
    ), "the watch lost count"
    assert [s.seconds for s in seen] == sorted(s.seconds for s in seen)
    assert RayFarm(victim_workers=2).build(specs, digits, two, quiet) == 0


@pytest.mark.parametrize(
    ("gpu_share", "models"),
    [(1, 1), (0.6, 1), (0.5, 2), (0.3, 3), (0.25, 4), (0.2, 5), (1 / 7, 7), (0.1, 10)],
)
def test_ray_counts_as_many_places_as_there_are(gpu_share: float, models: int) -> None:
    for gpus in (1, 3, 8):
        assert (
            gpus // granted(gpu_share)
            == sum([granted(gpu_share)] * gpus * models) // granted(gpu_share)
            == gpus * models
        )
    assert models * round(granted(gpu_share), 4) <= 1


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A private cluster that says it has a GPU; where there is none, its workers train on
    the CPU all the same."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray.init(
        num_cpus=5, num_gpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20
    )
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.long
def test_workers_that_share_a_gpu(digits: Dataset, tmp_path: Path, one_gpu: None) -> None:
    artifacts, at_once = open_store(str(tmp_path)), [0]
    specs = [trained_spec(digits, seed=seed) for seed in range(8)]

    def watch(_: FarmStatus) -> None:
        children = psutil.Process().children(recursive=True)
        at_once.append(sum("RayTrainWorker" in " ".join(_title(p)) for p in children))

    assert RayFarm(gpus_per_worker=0.2).build(specs, digits, artifacts, watch) == 8
    assert max(at_once) == 5
    assert set(artifacts.ids(KIND)) == {s.id for s in specs}


def _title(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.ray
def test_a_gpu_that_is_too_small_a_part_of_the_cluster_is_not_waited_for(
    digits: Dataset, tmp_path: Path, one_gpu: None
) -> None:
    ray.shutdown()
    ray.init(
        num_cpus=0, num_gpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20
    )
    with pytest.raises(
        InputError, match=r"each worker needs 1 CPU and 0\.5 GPU of one machine; found 0 CPU and 1 GPU"
    ):
        RayFarm(gpus_per_worker=0.5).build([trained_spec(digits)], digits, open_store(str(tmp_path)), quiet)


@pytest.mark.ray
def test_gpus_that_are_not_there_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert (
        main(
            [
                "zoo",
                "--recipe",
                "digits",
                "--gpus-per-worker",
                "0.3",
                "--workers",
                "2",
                "--store",
                str(tmp_path),
            ]
        )
        == 2
    )
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("zooaudit: ")]
    assert "each worker needs 1 CPU and 0.3 GPU of one machine; found" in line
    assert "and 0 GPU. Without --gpus-per-worker models are trained on CPUs" in line
