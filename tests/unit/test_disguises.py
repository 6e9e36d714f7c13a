"""What thieves change on the way: what they then tell, what it costs them, and that it is
the twin test that judges it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.foreign import change, collection, load, owner_of
from zooaudit.errors import ModelError
from zooaudit.studies import disguises
from zooaudit.studies.disguises import SHARES, Given
from zooaudit.studies.owners import Owner
from zooaudit.studies.power import rows_of
from zooaudit.suspects.access import LADDER
from zooaudit.suspects.defences import DEFENCES, tempered

Row = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            disguises,
            "DEFENCES",
            tuple(d for d in DEFENCES if d.name in ("none", "temperature 3", "blur 1.2")),
        )
        yield


@pytest.fixture(scope="module")
def found(owner: Owner) -> list[Row]:
    return disguises.rows(owner, load)


def test_every_thief_behind_every_disguise_and_access(owner: Owner, found: list[Row]) -> None:
    names = [
        "none",
        "temperature 3",
        "blur 1.2",
        *(f"another model answers the {s:.0%} he is least sure of" for s in SHARES),
    ]
    assert list(dict.fromkeys(r["disguise"] for r in found)) == names
    assert len(found) == len(names) * len(LADDER) * len(owner.thieves)


def test_without_a_disguise_it_is_the_study_of_power(owner: Owner, found: list[Row]) -> None:
    kit = {"questions": disguises.ASKED, "curve": "", "rule": "once"}
    theirs = {(r["thief"], r["access"]): r["p"] for r in rows_of(owner) if kit.items() <= r.items()}
    plain = [r for r in found if r["disguise"] == "none" and (r["thief"], r["access"]) in theirs]
    assert len(plain) >= 2 * len(owner.thieves)
    for row in plain:
        assert row["p"] == theirs[row["thief"], row["access"]] and row["cost"] == 0


def test_a_temperature_costs_nothing_and_blur_does(found: list[Row]) -> None:
    assert {r["cost"] for r in found if r["disguise"] == "temperature 3"} == {0}
    assert any(r["cost"] != 0 for r in found if r["disguise"] == "blur 1.2")


def test_what_is_told_behind_each(owner: Owner) -> None:
    scene, thief = disguises._Scene(owner, load), owner.thieves[0]
    plain = scene.plain[thief.id]
    module = load(owner.collection.folder / "models", thief.id)
    torch.testing.assert_close(module(scene.images.questions).softmax(1), plain.questions, atol=2e-4, rtol=0)
    warm = scene._behind("temperature 3", thief)
    assert warm is not None
    torch.testing.assert_close(warm.questions, tempered(plain.questions, 3.0))
    blurred = scene._behind("blur 1.2", thief)
    assert (
        blurred is not None
        and blurred.usual.shape == plain.usual.shape
        and not torch.allclose(blurred.usual, plain.usual, atol=1e-3)
    )


def test_the_other_model_answers_where_the_own_is_unsure() -> None:
    own, other = (
        torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.55, 0.45]]),
        torch.tensor([[0.0, 1.0]] * 4),
    )
    mixed = disguises._mixed(Given(own, own), Given(other, other), 0.5)
    assert torch.equal(mixed.questions, torch.stack([own[0], other[1], own[2], other[3]]))


def test_the_other_model_is_nobody_we_know(owner: Owner, tmp_path: Path) -> None:
    scene = disguises._Scene(owner, load)
    assert scene.other.questions.shape == scene.plain[owner.thieves[0].id].questions.shape
    at = collection(tmp_path / "lonely", innocents=1)
    change(at, "innocent-00", interface="JPEG")
    with pytest.raises(ModelError, match="no independent innocent"):
        disguises.rows(owner_of(at), load)


def test_a_thief_without_weights_is_behind_those_that_change_answers_only(tmp_path: Path) -> None:
    at = collection(tmp_path / "answers", innocents=2)
    lost = owner_of(at).thieves[0].id
    change(at, lost, architecture="answers only")
    result = {r["disguise"] for r in disguises.rows(owner_of(at), load) if r["thief"] == lost}
    assert "temperature 3" in result and "blur 1.2" not in result


def test_the_outcome_counts_thieves(owner: Owner, found: list[Row]) -> None:
    outcome = disguises.outcome(found)
    first = outcome.findings[0]
    assert "none" in first.claim and f"{len(owner.thieves)} thieves of 1 victims" == first.n
