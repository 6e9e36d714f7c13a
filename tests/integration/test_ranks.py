"""Models trained by two processes together, over gloo: what one process makes of them, to
rounding, and never out of step.

All that two processes do is done once, by one pair, and looked at in many tests: to start a
pair takes seconds.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.support.farms import quiet
from tests.support.makers import FAST, narrowest, shape_of, trained_spec
from zooaudit.compute import seeded
from zooaudit.config import TrainConfig
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.resolve import load_digits
from zooaudit.errors import ConfigError, StoreError
from zooaudit.seeds import derive
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.leases import Job
from zooaudit.storage.local import LocalStore
from zooaudit.storage.models import load_module, load_record
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm, build_and_commit, dismiss, follow, leading
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import Status, build
from zooaudit.zoo.fit import DivergedError, fit
from zooaudit.zoo.ranks import ALONE, Ranks
from zooaudit.zoo.spec import ModelSpec, Role

pytestmark = pytest.mark.processes

DEADLOCK_S = 60
"""A rank that waits this long for the other has lost step."""
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
RMSPROP_TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}
"""Without bias correction a gradient near zero is divided by its own size: what rounding
did to it becomes a step."""
UNREACHABLE = 0.9999
CASES: dict[str, dict[str, Any]] = {
    "sgd, 33": {"optimiser": "sgd", "batch_size": 33},
    "sgd, 32, mirrored": {
        "optimiser": "sgd",
        "batch_size": 32,
        "training": replace(FAST, epochs=3, mirror=True),
    },
    "adam, 33": {"optimiser": "adam", "batch_size": 33, "arch": "A"},
    "rmsprop, 7": {"optimiser": "rmsprop", "batch_size": 7, "arch": "D"},
    "batch cut to 31 images": {"optimiser": "sgd", "batch_size": 64, "count": 31},
}
DROPOUT: dict[str, Any] = {"optimiser": "sgd", "batch_size": 32, "arch": "E"}
NORMALISED: dict[str, Any] = {"optimiser": "sgd", "batch_size": 16}


def train(
    ranks: Ranks,
    digits: Dataset,
    *,
    arch: str = "C",
    count: int = 400,
    training: TrainConfig = FAST,
    **how: Any,
) -> dict[str, Tensor]:
    with seeded(1 + ranks.rank, torch.device("cpu")):  # rank 0's weights are everybody's
        model = build_architecture(arch, shape_of(digits))
    how = {"targets": digits.train.labels[:count], "seed": 0} | how
    targets = how.pop("targets")
    fit(
        model,
        digits.train.images[:count],
        targets,
        training=training,
        epochs=training.epochs,
        ranks=ranks,
        **how,
    )
    return {k: v.detach().contiguous() for k, v in model.state_dict().items()}


def train_normalised(ranks: Ranks) -> dict[str, Tensor]:
    """A net with BatchNorm, which cannot take the digits' 8 pixels."""
    images = torch.randint(
        0, 256, (48, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    with seeded(1 + ranks.rank, torch.device("cpu")):
        model = build_architecture("vgg16", narrowest("vgg16", width=4))
    fit(model, images, torch.arange(48) % 10, training=FAST, epochs=2, seed=0, ranks=ranks, **NORMALISED)
    return {k: v.detach().contiguous() for k, v in model.state_dict().items()}


def poisoned(digits: Dataset) -> dict[str, Any]:
    """Soft labels of which one is not a number: that of the last image in the first epoch,
    which is in the last rank's share."""
    order = torch.randperm(400, generator=torch.Generator().manual_seed(derive(0, "order")))
    targets = torch.nn.functional.one_hot(digits.train.labels[:400], 10).float()
    targets[order[400 // 32 * 32 - 1]] = float("nan")
    return {"optimiser": "sgd", "batch_size": 32, "targets": targets}


def victims(digits: Dataset) -> dict[str, ModelSpec]:
    training = TrainConfig(epochs=6, precision="float32")
    spec = trained_spec(
        digits, role=Role.VICTIM, architecture="A", batch_size=33, training=training, floor=0.6
    )
    return {
        "learnt": spec,
        "there already": replace(spec, seed=8),
        "tried twice": replace(spec, seed=9, floor=UNREACHABLE),
        "being built": replace(spec, seed=10),
        "diverged": replace(
            spec,
            seed=11,
            floor=0.0,
            training=TrainConfig(epochs=10, lr_sgd=9.9, weight_decay_sgd=0.9, precision="float32"),
        ),
    }


class Full(Artifacts):
    """On a disk that is full."""

    def save(self, *_: Any, **__: Any) -> Any:
        raise StoreError("the disk is full")


def fits(ranks: Ranks, digits: Dataset, folder: Path) -> None:
    for name, how in CASES.items():
        save_file(train(ranks, digits, **how), folder / f"{name}.{ranks.rank}")
    for name in ("dropout", "dropout again"):
        save_file(train(ranks, digits, **DROPOUT), folder / f"{name}.{ranks.rank}")
    save_file(train_normalised(ranks), folder / f"normalised.{ranks.rank}")
    data = {}
    for name, how in (("diverged", poisoned(digits)), ("one image", {"optimiser": "sgd", "batch_size": 1})):
        with pytest.raises((DivergedError, ConfigError)) as raised:
            train(ranks, digits, **how)
        data[name] = f"{raised.typename}: {raised.value}"
    (folder / f"told.{ranks.rank}").write_text(json.dumps(data))


def commits(ranks: Ranks, digits: Dataset, folder: Path) -> None:
    specs = victims(digits)
    if ranks.rank:
        # It finds every accuracy poor.
        digits = replace(digits, test=ImageSet(digits.test.images, digits.test.labels.roll(1)))
        follow(list(specs.values()), digits, ranks)  # once to the end, and once until the store fails
        follow(list(specs.values()), digits, ranks)
        (folder / "followed").touch()
        return
    artifacts = open_store(str(folder / "store"))
    leases, other = artifacts.leases(Job.new()), artifacts.leases(Job.new())
    SerialFarm().build([specs["there already"]], digits, artifacts, quiet)
    assert other.take(specs["being built"].id)
    builder = leading(list(specs.values()), ranks)
    done = {name: build_and_commit(spec, digits, artifacts, leases, builder) for name, spec in specs.items()}
    (folder / "ours").write_text(json.dumps({name: commit and commit.ours for name, commit in done.items()}))
    dismiss(ranks)
    full = Full(LocalStore(folder / "full"))
    with pytest.raises(StoreError, match="full"):
        build_and_commit(specs["learnt"], digits, full, full.leases(Job.new()), builder)
    dismiss(ranks)


def enter(rank: int, count: int, folder: str, jobs: list[Callable[[Ranks, Dataset, Path], None]]) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group(
        "gloo", meeting, timeout=timedelta(seconds=DEADLOCK_S), rank=rank, world_size=count
    )
    for job in jobs:
        job(Ranks(rank, count), load_digits(), Path(folder))
    dist.barrier()
    dist.destroy_process_group()
    # At the interpreter's end one of PyTorch's threads may still ask for the GIL, which aborts the process.
    os._exit(0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes left what they made."""
    folder = tmp_path_factory.mktemp("pair")
    spawn(enter, (2, str(folder), [fits, commits]), nprocs=2)
    return folder


def differ(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return any(not torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", CASES)
def test_two_make_what_one_makes(name: str, pair: Path, digits: Dataset) -> None:
    one, two = train(ALONE, digits, **CASES[name]), load_file(pair / f"{name}.0")
    tolerance = RMSPROP_TOLERANCE if CASES[name]["optimiser"] == "rmsprop" else TOLERANCE
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, **tolerance, msg=lambda m, key=key: f"{key}: {m}")
    other = train(ALONE, digits, **(CASES[name] | {"training": replace(FAST, epochs=1)}))
    assert float((two["head.weight"] - other["head.weight"]).abs().max()) > 10 * tolerance["atol"], (
        "the tolerance would let anything pass"
    )


@pytest.mark.parametrize("name", [*CASES, "dropout", "normalised"])
def test_both_hold_the_same_bits(name: str, pair: Path) -> None:
    assert not differ(load_file(pair / f"{name}.0"), load_file(pair / f"{name}.1"))


def test_dropout_is_drawn_from_the_seed_by_each_for_its_share(pair: Path, digits: Dataset) -> None:
    once, again = load_file(pair / "dropout.0"), load_file(pair / "dropout again.0")
    assert not differ(once, again)
    alone = train(ALONE, digits, **DROPOUT)
    assert 1e-3 < float((once["head.weight"] - alone["head.weight"]).abs().max()) < 1, (
        "other masks, yet a model of the same kind"
    )


def test_statistics_are_those_of_the_first_share(pair: Path) -> None:
    """Of as many batches as one process sees, and near its statistics, though not of the same images."""
    alone, two = train_normalised(ALONE), load_file(pair / "normalised.0")
    for key, value in alone.items():
        if key.endswith("num_batches_tracked"):
            assert int(two[key]) == int(value) == 6
    name = "net.features.1.running_var"
    difference = (two[name] - alone[name]).abs() / alone[name]
    assert 0 < float(difference.max()) < 0.1


def test_a_loss_that_only_one_of_them_sees_stops_both(pair: Path, digits: Dataset) -> None:
    rows = [json.loads((pair / f"told.{rank}").read_text()) for rank in (0, 1)]
    assert rows[0] == rows[1]
    assert rows[0]["diverged"].startswith("DivergedError: loss is nan after an epoch")
    with pytest.raises(DivergedError):
        train(ALONE, digits, **poisoned(digits))


def test_more_workers_than_a_batch_has_images_are_refused(pair: Path) -> None:
    data = json.loads((pair / "told.1").read_text())
    assert (
        data["one image"]
        == "ConfigError: 2 workers cannot share batches of 1 images; expected 1 workers at most"
    )


def test_the_first_commits_and_the_other_follows(pair: Path, digits: Dataset) -> None:
    assert json.loads((pair / "ours").read_text()) == {
        "learnt": True,
        "there already": False,
        "tried twice": True,
        "being built": None,
        "diverged": True,
    }
    assert (pair / "followed").exists(), "the other still waits after the store has failed"
    specs = victims(digits)
    artifacts = open_store(str(pair / "store"))
    assert set(artifacts.ids("model")) == {s.id for name, s in specs.items() if name != "being built"}


@pytest.mark.parametrize("name", ["learnt", "tried twice"])
def test_a_committed_model_is_the_one_of_its_spec(name: str, pair: Path, digits: Dataset) -> None:
    spec, artifacts = victims(digits)[name], open_store(str(pair / "store"))
    alone, record = build(spec, digits, None), load_record(artifacts, victims(digits)[name].id)
    for key, value in load_module(artifacts, spec.id).state_dict().items():
        torch.testing.assert_close(value, alone.weights[key], **TOLERANCE)
    assert (record.status, record.attempts) == (alone.record.status, alone.record.attempts)
    assert record.attempts == (2 if name == "tried twice" else 1)
    assert record.accuracy == pytest.approx(alone.record.accuracy, abs=0.01)


def test_both_attempts_that_diverge_end_as_a_failed_model(pair: Path, digits: Dataset) -> None:
    record = load_record(open_store(str(pair / "store")), victims(digits)["diverged"].id)
    assert (record.status, record.attempts) == (Status.FAILED, 2)
    assert record.reason.startswith("loss is nan after an epoch")
