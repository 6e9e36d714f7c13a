"""The rules by which studies find a claim reproduced or not, on numbers made to pass and to fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tests.support.zoos import bench
from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.recipes.named import RECIPES
from zooaudit.reporting.paper_numbers import PAPER_ACCURACY
from zooaudit.storage.opening import open_store
from zooaudit.studies import accuracy, borders, bystanders, modifications, pictures, similarity, thieves
from zooaudit.studies.bench import Bench
from zooaudit.studies.outcome import Holds


@pytest.fixture
def separating(monkeypatch: pytest.MonkeyPatch, digits: Dataset) -> Bench:
    """A bench whose encoders separate; its zoo is never looked at."""
    monkeypatch.setattr(Bench, "separation", lambda self, encoder: 1.0)
    return bench(digits, open_store("memory:"))


def changed(
    kind: str, by_strength: dict[float, tuple[float, float]], innocent: float = 0.05
) -> list[dict[str, object]]:
    """Rows of two models: by strength their similarity and accuracy; and the mean
    similarity of homologous models."""
    return [
        {
            "encoder": "paper",
            "kind": kind,
            "strength": s,
            "base": b,
            "model": f"{b}{s}",
            "accuracy": a,
            "kept": a / by_strength[0.0][1],
            "similarity": x,
            "p": 0.0,
            "above_innocent": True,
            "homologous": innocent,
        }
        for s, (x, a) in by_strength.items()
        for b in ("one", "two")
    ]


FINE = changed("fine-tune", {0.0: (0.9, 0.8), 2.0: (0.8, 0.85)})
PRUNED_WELL = changed("prune", {0.0: (0.9, 0.8), 0.2: (0.9, 0.79)})
INT8 = changed("int8", {0.0: (0.9, 0.8), 8.0: (0.9, 0.795)})
HELD_THEN_LOST = changed("adversarial", {0.0: (0.9, 0.8), 120.0: (0.85, 0.79), 270.0: (0.1, 0.6)})


def by_claim(working: Bench, rows: list[dict[str, object]]) -> dict[str, Holds]:
    return {
        f.claim.split(" (")[0]: f.holds for f in modifications._modification_findings(working, "paper", rows)
    }


def test_the_rules_of_figure_8(separating: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"EPOCHS": (1, 2), "PRUNED": (0.2,), "ITERATIONS": (120, 270)}.items():
        monkeypatch.setattr(modifications, name, value)
    good = by_claim(separating, [*FINE, *PRUNED_WELL, *INT8, *HELD_THEN_LOST])
    assert set(good.values()) == {Holds.REPRODUCED} and len(good) == 4
    lost = changed("fine-tune", {0.0: (0.9, 0.8), 2.0: (0.3, 0.85)})
    assert by_claim(separating, [*lost, *PRUNED_WELL, *INT8, *HELD_THEN_LOST]) == good | {
        "Similarity stays high after fine-tuning on test-set points": Holds.NOT_REPRODUCED
    }
    # .8 is high only where innocents are low.
    as_innocents = changed("fine-tune", {0.0: (0.9, 0.8), 2.0: (0.8, 0.85)}, innocent=0.8)
    assert next(iter(by_claim(separating, as_innocents).values())) is Holds.NOT_REPRODUCED
    early = changed("adversarial", {0.0: (0.9, 0.8), 120.0: (0.2, 0.79), 270.0: (0.1, 0.6)})
    assert (
        by_claim(separating, [*FINE, *PRUNED_WELL, *INT8, *early])[
            next(c for c in good if c.startswith("Adv"))
        ]
        is Holds.NOT_REPRODUCED
    )
    for missing in ("fine-tune", "prune", "adversarial"):
        left = [
            r
            for r in (*FINE, *PRUNED_WELL, *INT8, *HELD_THEN_LOST)
            if r["kind"] != missing or r["strength"] == 0
        ]
        assert list(by_claim(separating, left).values()).count(Holds.UNDECIDED) == 1, (
            f"all {missing} models failed"
        )


def test_means_at_all_strengths_are_of_the_same_models() -> None:
    rows = [*FINE, {**FINE[0], "base": "three", "similarity": 0.0}]
    assert modifications._at(rows, "fine-tune", 0.0, "similarity") == pytest.approx(0.9), (
        "the third has no changed version that learnt"
    )


def test_int8_is_held_to_a_hundredth_of_accuracy() -> None:
    assert (
        modifications._int8_finding(INT8).ours.startswith("2 of 2;")
        and modifications._int8_finding(INT8).holds is Holds.UNCLAIMED
    )
    worse = changed("int8", {0.0: (0.9, 0.8), 8.0: (0.9, 0.789)})
    assert modifications._int8_finding(worse).ours.startswith("0 of 2; accuracy lost +0.0110")
    assert modifications._int8_finding(worse[:2]).holds is Holds.UNDECIDED


@given(rates=st.lists(st.floats(0, 1.1), max_size=30))
def test_every_model_is_in_one_interval(rates: list[float]) -> None:
    found = thieves._intervals([{"recovery_rate": r} for r in rates])
    assert sum(len(v) for v in found.values()) == len(rates)
    for name, rows in found.items():
        low, high = (float(x) for x in name.split("-")) if "-" in name else (float(name.rstrip("+")), 9.0)
        assert all(low <= r["recovery_rate"] < high for r in rows)


@pytest.mark.parametrize(("detected", "holds"), [(9, Holds.REPRODUCED), (8, Holds.NOT_REPRODUCED)])
def test_the_rule_of_figure_6c(detected: int, holds: Holds, separating: Bench) -> None:
    rows = [{"recovery_rate": 0.4 + 0.01 * i, "detected": i < detected, "similarity": 0.5} for i in range(10)]
    rows += [{"recovery_rate": 0.95, "detected": False, "similarity": 0.5}] * 5
    assert thieves._recovery_finding(separating, "paper", rows).holds is holds
    assert thieves._recovery_finding(separating, "paper", rows[6:]).holds is Holds.UNDECIDED, (
        "four models are too few"
    )


def test_a_rule_that_rests_on_nothing_decides_nothing() -> None:
    assert Holds.of(True, float("nan")) is Holds.UNDECIDED and Holds.of(False, 1.0) is Holds.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("slope", "error", "holds"),
    [
        (0.0, 0.05, Holds.REPRODUCED),
        (0.3, 0.1, Holds.NOT_REPRODUCED),
        (-0.3, 0.1, Holds.NOT_REPRODUCED),
        (0.05, 0.2, Holds.UNDECIDED),
        (0.0, float("nan"), Holds.UNDECIDED),
    ],
)
def test_an_effect_must_be_clear_of_the_noise(
    separating: Bench, slope: float, error: float, holds: Holds
) -> None:
    assert bystanders._no_effect(separating, "paper", slope, error, 0.9) is holds
    assert (
        bystanders._no_effect(separating, "paper", slope, max(error, 0.01), -0.9) is not Holds.REPRODUCED
    ), "there is no gap"


def test_the_slope_of_a_line_and_how_sure_it_is() -> None:
    slope, error = bystanders._slope([0, 0, 1, 1], [0.0, 0.2, 1.0, 1.2])
    assert slope == pytest.approx(1) and error == pytest.approx(0.14142 * 4.3027, rel=1e-3)
    assert bystanders._slope([0, 0.5, 1], [0.0] * 3) == pytest.approx((0, 0), abs=1e-12), (
        "all the same is not an effect, and surely so"
    )
    assert all(np.isnan(v) for x in ([0.5] * 4, [0.0, 1.0]) for v in bystanders._slope(x, [1.0] * len(x)))


@pytest.mark.parametrize(
    ("titles", "grid"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (7, (3, 3))]
)
def test_panels_stand_in_rows_of_three_under_one_legend(
    monkeypatch: pytest.MonkeyPatch, titles: int, grid: tuple[int, int]
) -> None:
    made: list[tuple[int, int]] = []

    def kept(paint: Callable[[Any], None], *, panels: tuple[int, int], **_: Any) -> bytes:
        figure = Figure()
        axes = figure.subplots(*panels)
        paint(axes)
        made.append(panels)
        assert [t.get_text() for t in figure.legends[0].get_texts()] == [
            "all",
            *(f"{i}" for i in range(titles)),
        ]
        assert sum(a.axison for a in np.atleast_1d(axes).ravel()) == titles
        return b""

    def paint(axes: Any, title: str) -> None:
        axes.plot([0], [1], label="all")
        axes.plot([0], [1], label=title)

    monkeypatch.setattr(pictures, "rendered", kept)
    pictures.panels([f"{i}" for i in range(titles)], paint)
    assert made == [grid]


@pytest.mark.parametrize(
    "recipe", [r for r in RECIPES.values() if r.dataset != "digits"], ids=lambda r: r.name
)
def test_every_recipes_data_has_figures_of_the_paper_beside_it(recipe: Recipe, digits: Dataset) -> None:
    """Of a part of the classes, those of the whole."""
    named = bench(replace(digits, name=recipe.dataset), open_store("memory:")).papers_dataset
    for figures in (
        similarity.SHOWN,
        similarity.STATED,
        similarity.PAPER_AUC,
        borders.PAPER_IPGUARD,
        accuracy.RECOVERED,
        PAPER_ACCURACY,
    ):
        assert named in figures
