"""The models that strangers' code trains for the studies: what is planned, and that owners'
procedures are procedures."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.foreign import data as stored
from benchmarks.foreign import learners, owners, plan_attacks, trained
from benchmarks.foreign.attacks import linked
from benchmarks.foreign.jobs import SET_OF, SHORT
from benchmarks.foreign.nets import NETS, build
from benchmarks.foreign.plan import VICTIMS, part, plan
from benchmarks.foreign.references import specs
from zooaudit.config import ExtractConfig, ModifyConfig, ZooConfig
from zooaudit.zoo.spec import Role

FEW = 300


def images(channels: int = 1, size: int = 28) -> torch.Tensor:
    return torch.randint(
        0, 256, (FEW, channels, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


LABELS = torch.arange(FEW) % 10


@pytest.mark.parametrize(("round_", "dataset"), VICTIMS)
def test_a_round_has_its_victims_twins_thieves_and_innocents(round_: str, dataset: str) -> None:
    jobs = part(round_, dataset)
    assert len({job.id for job in jobs}) == len(jobs)
    seen = set[str]()
    for job in jobs:
        assert seen.issuperset(job.parents), f"{job.id} comes before what it needs"
        seen.add(job.id)
    assert {job.set for job in jobs if job.role != "reference"} == {SET_OF[round_]}
    for procedure in VICTIMS[round_, dataset]:
        mine = Counter(
            job.role for job in jobs if job.victim == f"{SHORT[dataset]}-{procedure}" and not job.interface
        )
        assert (mine["victim"], mine["twin"], mine["thief"]) == (1, 19, 26) and mine["innocent"] >= 10


def test_what_is_reported_on_was_never_chosen_by() -> None:
    chosen, reported = (
        {job.id for job in plan(set_) if job.role != "reference"} for set_ in ("dev", "report")
    )
    assert chosen and reported and not chosen & reported
    assert len(VICTIMS["fresh", "fashion-mnist"]) + len(VICTIMS["fresh", "cifar10"]) == 6


@pytest.mark.parametrize("dataset", SHORT)
def test_references_are_those_of_an_audit(dataset: str) -> None:
    assert len(specs(dataset)) == ZooConfig().references and {s.role for s in specs(dataset)} == {
        Role.REFERENCE
    }
    jobs = [job for job in part("dev", dataset) if job.role == "reference"]
    assert [job.architecture for job in jobs] == [s.architecture for s in specs(dataset)]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_every_net_fits_both_data_sets(name: str, channels: int, size: int) -> None:
    x = images(channels, size)[:5]
    assert build(name, x).eval()(x.float() / 255).shape == (5, 10)


@pytest.mark.parametrize("procedure", owners.ARCHITECTURE)
def test_an_owners_seed_decides_the_network(procedure: str) -> None:
    start = build("resid", images(), 50)
    one, same, other = (
        owners.train(procedure, images(), LABELS, seed, start).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[k], same[k]) for k in one) and any(
        not torch.equal(one[k], other[k]) for k in one
    )
    assert all(bool(v.isfinite().all()) for v in one.values())


@pytest.mark.parametrize("loop", learners.LOOPS)
def test_every_loop_learns_what_can_be_learnt(loop: str) -> None:
    """Two kinds of images, dark and bright, which no shift, hole, noise or patch can hide."""
    torch.manual_seed(0)
    labels = LABELS % 2
    bright = (60 + labels * 130).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous()
    model = learners.LOOPS[loop](build("mlp", bright), bright, labels, "adam", 10)
    assert float((model(bright.float() / 255).argmax(1) == labels).float().mean()) > 0.95


@pytest.mark.parametrize("dataset", SHORT)
def test_more_thieves_are_of_known_models_and_so_are_their_innocent_likes(dataset: str) -> None:
    jobs = plan_attacks.plan(dataset)
    ids = [job.id for job in jobs]
    assert len(set(ids)) == len(ids) and all(
        parent in ids[: ids.index(job.id)] for job in jobs for parent in job.parents
    )
    made = [job for job in jobs if job.maker in ("attacked", "changed", "forewarned")]
    kinds = Counter(job.family for job in made if job.role == "thief")
    assert {f"of a stranger: {kind}" for kind in kinds} == {
        job.family for job in made if job.role == "innocent"
    }
    slow = {job.family for job in made if job.attack in plan_attacks.SLOW}
    victims = len(VICTIMS["fresh", dataset])
    assert {n for kind, n in kinds.items() if kind not in slow | {"float16"}} == {
        plan_attacks.COPIES * victims
    }
    assert {kinds[kind] for kind in slow if kind in kinds} == {plan_attacks.SLOW_COPIES[dataset] * victims}
    for job in made:
        if job.maker == "attacked":
            assert ExtractConfig(job.attack, job.labels, **job.options["config"]).most_queries <= 500_000
        elif job.maker == "changed":
            assert ModifyConfig(job.attack, job.options["strength"], **job.options["how"])


def prepared(out: Path) -> Path:
    """A data set's arrays, as small as can be: image i of the training set has the value i
    everywhere, and the label i % 10."""
    folder = out / "fashion-mnist"
    (folder / "arrays").mkdir(parents=True)
    values = np.arange(200, dtype=np.uint8)
    for name in (f for f in stored.Data.__dataclass_fields__ if f != "name"):
        array = (
            values % 10
            if name.endswith("labels")
            else np.broadcast_to(values[:, None, None, None], (200, 1, 2, 2))
        )
        np.save(folder / "arrays" / f"{name}.npy", array)
    np.savez(folder / "pools.npz")
    (folder / "start.safetensors").touch()
    return folder


def test_training_images_of_owners_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "COUNT", 50)
    monkeypatch.setattr(trained, "OWNER_IMAGES", {"fashion-mnist": 80, "cifar10": 80})
    folder = prepared(tmp_path)
    made = trained.write(tmp_path, plan("all"))
    assert {p.name for p in made} == {f"fmnist-P{i}.npz" for i in range(1, 10)}, (
        "of the data set that is there"
    )
    owned = stored.load(tmp_path, "fashion-mnist").part("fmnist-P6", 80)[0][:, 0, 0, 0].tolist()
    with np.load(folder / "trained" / "fmnist-P6.npz") as file:
        images, labels = file["images"], file["labels"]
    assert (
        images.dtype == np.uint8
        and images.shape == (50, 1, 2, 2)
        and images[:, 0, 0, 0].tolist() == owned[:50]
    )
    assert labels.tolist() == [i % 10 for i in owned[:50]]
    assert trained.write(tmp_path, plan("all")) == [] and not list((folder / "trained").glob("*.tmp*"))
    linked(folder, tmp_path / "thieves" / "fashion-mnist", [])
    assert (tmp_path / "thieves" / "fashion-mnist" / "trained" / "fmnist-P6.npz").samefile(
        folder / "trained" / "fmnist-P6.npz"
    )
