"""Folders of models that somebody else trained: what is read, and every way in which such a
folder is refused, on one line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.foreign import SIZES, TWINS, VICTIM, change, change_arrays, collection
from zooaudit.errors import DataError, NotEnoughModelsError
from zooaudit.studies.collected import read
from zooaudit.studies.owners import ANOTHERS, ANOTHERS_THIEVES, owners
from zooaudit.verdict.examined import FOREIGN, LOG, NATURAL


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collection(tmp_path_factory.mktemp("whole"), innocents=3)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "models"))


def test_a_collection_holds_what_the_folder_says(whole: Path) -> None:
    (found,) = read(whole)
    assert found.dataset == "squares" and {n: len(x) for n, x in found.pools.items()} == SIZES
    asker = found.models["asker"]
    assert (asker.role, asker.victim, asker.asked_attacker, asker.recovery) == (
        "thief",
        VICTIM,
        tuple(range(40)),
        1.0,
    )
    answers = found.answers("asker")
    assert {n: tuple(a.shape) for n, a in answers.items()} == {n: (count, 4) for n, count in SIZES.items()}
    assert found.ancestors("asker") == {"candidate-00"} and not found.ancestors("candidate-00")


def test_images_without_channels_are_grey(folder: Path) -> None:
    path = folder / "squares" / "pools.npz"
    with np.load(path) as file:
        flat = {n: file[n][:, 0] for n in SIZES}
    before = read(folder)[0].pools
    change_arrays(path, **flat)
    assert all(torch.equal(images, before[name]) for name, images in read(folder)[0].pools.items())


def test_an_owner_is_its_victim_twins_thieves_and_log(whole: Path) -> None:
    (owner,), left_out = owners(read(whole), "dev")
    assert owner.candidates[0].id == "candidate-00" and len(owner.candidates) == TWINS + 1 and not left_out
    assert {a.role for a in owner.references} == {"reference"} and len(owner.thieves) == 4
    assert owner.log.tolist() == list(range(80))  # forty that the thief asked, forty that nobody did
    answers = owner.answers(owner.thieves, (NATURAL, FOREIGN, LOG))
    pools = owner.pools((NATURAL, FOREIGN, LOG))
    assert answers.shape == (4, 380, 4) and len(pools.images) == 380 and pools.families.count(LOG) == 80
    assert torch.equal(answers[0, 300:], owner.collection.answers(owner.thieves[0].id)["attacker"][:80])
    assert owner.excluded(owner.thieves[0], owner.candidates[0]) and not owner.excluded(
        owner.thieves[0], owner.candidates[1]
    )


def test_other_owners_models_are_innocent_and_count_by_themselves(folder: Path) -> None:
    change(folder, "innocent-00", victim="other-P2")
    change(folder, "innocent-01", victim=VICTIM)
    change(folder, "innocent-02", role="victim", victim="other-P2")
    change(folder, "copy-0", victim="other-P2")
    (owner,), left_out = owners(read(folder), "dev")
    counted = {about.id: family for family, about in owner.innocents}
    assert counted == {
        "innocent-00": ANOTHERS,
        "innocent-01": "stranger",
        "innocent-02": ANOTHERS,
        "copy-0": ANOTHERS_THIEVES,
    }
    assert "0 twins" in left_out["other-P2"]


def test_models_of_another_set_are_left_alone(folder: Path) -> None:
    change(folder, "innocent-00", set="report")
    change(folder, "innocent-01", set="both")
    (owner,), _ = owners(read(folder), "dev")
    assert {about.id for _, about in owner.innocents} == {"innocent-01", "innocent-02"}
    with pytest.raises(NotEnoughModelsError, match="no victim of the set 'report'"):
        owners(read(folder), "report")


def test_a_model_that_is_not_finished_is_not_there(folder: Path) -> None:
    (folder / "squares" / "models" / "innocent-00" / "about.json").unlink()
    shutil.copytree(folder / "squares" / "models" / "copy-0", folder / "squares" / "models" / ".copy-1-77")
    assert {m for m in read(folder)[0].models if m.startswith(("innocent", "."))} == {
        "innocent-01",
        "innocent-02",
    }


def pools_of(folder: Path) -> Path:
    return folder / "squares" / "pools.npz"


def about_of(folder: Path) -> Path:
    return folder / "squares" / "models" / "copy-0" / "about.json"


Spoil = Callable[[Path], object]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "no folder": (shutil.rmtree, "is not a folder"),
    "no pools": (lambda f: pools_of(f).unlink(), "no DATASET/pools.npz"),
    "no models": (lambda f: shutil.rmtree(f / "squares" / "models"), "no finished model"),
    "damaged pools": (lambda f: pools_of(f).write_bytes(b"PK nothing"), "cannot be read"),
    "a pool missing": (lambda f: change_arrays(pools_of(f), foreign=None), "lacks foreign"),
    "pickled pools": (
        lambda f: change_arrays(pools_of(f), foreign=np.array([{}], dtype=object)),
        "cannot be read",
    ),
    "float images": (
        lambda f: change_arrays(pools_of(f), natural=np.zeros((200, 1, 4, 4))),
        r"natural is float64 \[200, 1, 4, 4\]",
    ),
    "other shapes": (
        lambda f: change_arrays(pools_of(f), foreign=np.zeros((100, 1, 5, 4), np.uint8)),
        "several shapes",
    ),
    "an empty pool": (
        lambda f: change_arrays(pools_of(f), foreign=np.zeros((0, 1, 4, 4), np.uint8)),
        r"foreign is uint8 \[0",
    ),
    "few labels": (
        lambda f: change_arrays(pools_of(f), natural_labels=np.zeros(3, int)),
        r"expected integers \[200\]",
    ),
    "no JSON": (lambda f: about_of(f).write_text("{"), "expected a JSON object"),
    "a list": (lambda f: about_of(f).write_text("[]"), "holds a list"),
    "a field missing": (lambda f: change(f, "copy-0", family=None), "lacks 'family'"),
    "a field of another type": (
        lambda f: change(f, "copy-0", accuracy="good"),
        "accuracy is 'good'; expected float",
    ),
    "another's id": (lambda f: change(f, "copy-0", id="copy-1"), "expected 'copy-0'"),
    "another data set": (lambda f: change(f, "copy-0", dataset="circles"), "expected 'squares'"),
    "an unknown role": (
        lambda f: change(f, "copy-0", role="friend"),
        "role is 'friend'; expected 'victim' or",
    ),
    "an unknown set": (lambda f: change(f, "copy-0", set="test"), "set is 'test'; expected 'dev' or"),
    "a thief of nobody": (lambda f: change(f, "copy-0", victim=""), "a thief without a victim"),
    "rows outside of the pool": (
        lambda f: change(f, "asker", asked_attacker=[0, 90]),
        "expected rows of the pool, 0 to 89",
    ),
    "rows that are not numbers": (lambda f: change(f, "asker", asked_attacker=["0"]), "asked_attacker is"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_folder_that_does_not_fit_is_refused_on_one_line(folder: Path, name: str) -> None:
    spoil, said = SPOILT[name]
    spoil(folder)
    with pytest.raises(DataError, match=said) as error:
        read(folder)
    assert "\n" not in str(error.value) and "expected" in str(error.value)


ANSWERS: dict[str, tuple[Spoil, str]] = {
    "missing": (lambda p: p.unlink(), "cannot be read"),
    "without a pool": (lambda p: change_arrays(p, foreign=None), "lacks foreign"),
    "of another length": (
        lambda p: change_arrays(p, natural=np.zeros((3, 4), np.float32)),
        r"expected float32 \[200, classes\]",
    ),
    "in doubles": (lambda p: change_arrays(p, natural=np.zeros((200, 4))), "natural is float64"),
    "of one class": (
        lambda p: change_arrays(p, natural=np.ones((200, 1), np.float32)),
        r"natural is float32 \[200, 1\]",
    ),
    "logits": (lambda p: change_arrays(p, natural=np.full((200, 4), 3, np.float32)), "not probabilities"),
    "not finite": (
        lambda p: change_arrays(p, natural=np.full((200, 4), np.nan, np.float32)),
        "not probabilities",
    ),
    "negative": (
        lambda p: change_arrays(p, natural=np.full((200, 4), -0.5, np.float32)),
        "not probabilities",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_do_not_fit_are_refused_when_they_are_read(folder: Path, name: str) -> None:
    spoil, said = ANSWERS[name]
    spoil(folder / "squares" / "models" / "copy-0" / "answers.npz")
    (found,) = read(folder)
    with pytest.raises(DataError, match=said) as error:
        found.answers("copy-0")
    assert "\n" not in str(error.value) and "copy-0" in str(error.value)


def learnt(folder: Path, **arrays: object) -> Path:
    path = folder / "squares" / "trained" / f"{VICTIM}.npz"
    path.parent.mkdir(exist_ok=True)
    images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 1, 4, 4)
    np.savez(path, **({"images": images, "labels": np.array([0, 3, 1])} | arrays))
    return path


def test_training_images_are_read_where_there_are_any(folder: Path) -> None:
    (found,) = read(folder)
    assert found.trained(VICTIM, 4) is None
    learnt(folder)
    images, labels = found.trained(VICTIM, 4) or pytest.fail("there are some")
    assert images.shape == (3, 1, 4, 4) and images.dtype == torch.uint8 and int(images[2, 0, 3, 3]) == 47
    assert labels.tolist() == [0, 3, 1] and found.trained("another", 4) is None
    learnt(folder, images=np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4))  # grey, without channels
    again = found.trained(VICTIM, 4)
    assert again is not None and torch.equal(again[0], images)


TRAINED: dict[str, tuple[dict[str, object], str]] = {
    "no labels": ({"labels": np.array([])}, r"labels is float64 \[0\]; expected integers \[3\]"),
    "few labels": ({"labels": np.array([0, 1])}, r"labels is int64 \[2\]; expected integers \[3\]"),
    "floating labels": ({"labels": np.zeros(3)}, r"labels is float64"),
    "classes that there are not": ({"labels": np.array([0, 4, 1])}, "from 0 to 4; expected 0 to 3"),
    "negative classes": ({"labels": np.array([-1, 2, 1])}, "from -1 to 2"),
    "floating images": ({"images": np.zeros((3, 1, 4, 4))}, "images is float64"),
    "images of another size": (
        {"images": np.zeros((3, 1, 4, 5), np.uint8)},
        r"shape \[1, 4, 5\]; expected \[1, 4, 4\]",
    ),
    "pickles": ({"images": np.array([{}], dtype=object)}, "cannot be read"),
}


@pytest.mark.parametrize("name", TRAINED)
def test_training_images_that_do_not_fit_are_refused(folder: Path, name: str) -> None:
    arrays, said = TRAINED[name]
    learnt(folder, **arrays)
    with pytest.raises(DataError, match=said) as error:
        read(folder)[0].trained(VICTIM, 4)
    assert (
        "\n" not in str(error.value)
        and "expected" in str(error.value)
        and f"{VICTIM}.npz" in str(error.value)
    )


def test_training_images_cut_short_are_refused(folder: Path) -> None:
    path = learnt(folder)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be read"):
        read(folder)[0].trained(VICTIM, 4)


def test_rounded_answers_need_not_sum_to_one(folder: Path) -> None:
    change_arrays(
        folder / "squares" / "models" / "copy-0" / "answers.npz", natural=np.full((200, 4), 0.2, np.float32)
    )
    assert read(folder)[0].answers("copy-0")["natural"].sum() == pytest.approx(160)


def test_a_reference_made_from_a_candidate_is_refused(folder: Path) -> None:
    change(folder, "reference-03", parent="copy-0")  # which was made from the victim
    with pytest.raises(DataError, match="reference-03 was made from candidate-00"):
        owners(read(folder), "dev")


def test_two_victims_of_one_name_are_refused(folder: Path) -> None:
    change(folder, "candidate-04", role="victim")
    with pytest.raises(DataError, match="has 2 victims"):
        owners(read(folder), "dev")
