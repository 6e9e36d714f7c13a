"""A suspect behind an API with a contract: other numbers, more classes than the kit's, and
what only its own description can say."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.asking import CLASSES, MODEL, THEIRS
from tests.support.makers import make_twin_test
from tests.support.strangers import Stranger, serving
from zooaudit.errors import ConfigError
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.how import How
from zooaudit.suspects.opened import OpenSuspect


def how(tmp_path: Path, kit: tuple[str, ...] = CLASSES, **tables: dict[str, Any]) -> How:
    return How("kit", (1, 4, 4), kit, budget=1000, ledger=tmp_path / "l.sqlite", contract=contract_of(tables))


def test_numbers_are_sent_as_the_model_wants_them(tmp_path: Path) -> None:
    images = make_twin_test().questions()[:20]
    expected = TorchBlackBox(MODEL, 4).ask((images - 0.5) / 0.25)
    asked = how(tmp_path, input={"mean": [0.5], "std": [0.25]})
    with (
        serving(Stranger(MODEL, THEIRS)) as stranger,
        OpenSuspect.to(stranger.url + "/v2/models/m/infer", asked) as opened,
    ):
        assert torch.allclose(opened.black_box.ask(images), expected, atol=1e-6)
        assert opened.in_order and opened.stated == asked.contract


def test_the_kits_classes_are_picked_out_of_its_own(tmp_path: Path) -> None:
    images = make_twin_test().questions()[:20]
    whole = TorchBlackBox(MODEL, 4).ask(images)
    asked = how(tmp_path, ("dresses", "bags", "boots"), classes={"names": list(THEIRS)})
    with (
        serving(Stranger(MODEL, THEIRS)) as stranger,
        OpenSuspect.to(stranger.url + "/v2/models/m/infer", asked) as opened,
    ):
        found = opened.black_box.ask(images)
        assert not opened.in_order
    picked = whole[:, [3, 1, 0]]
    assert torch.allclose(found, picked / picked.sum(1, keepdim=True), atol=1e-6)


def test_pictures_hold_no_other_numbers(tmp_path: Path) -> None:
    asked = how(tmp_path, input={"mean": [0.5], "std": [0.25]})
    with (
        serving(Stranger(MODEL, CLASSES)) as stranger,
        OpenSuspect.to(stranger.url + "/predictions/m", asked) as opened,
    ):
        with pytest.raises(
            ConfigError,
            match=(
                r"numbers from -\S+ to \S+, which a PNG cannot hold; expected \[0, 1\]: leave mean, std and"
                r" range"
            ),
        ):
            opened.black_box.ask(make_twin_test().questions()[:20])
        assert not stranger.computed


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        (
            {"input": {"layout": "nhwc"}},
            "input.layout is for files; an API's description has its own settings",
        ),
        ({"input": {"dtype": "uint8"}}, "input.dtype is for files"),
        ({"output": {"index": 1}}, "output.name and output.index are for files"),
        (
            {"classes": {"columns": [3, 0, 1, 2]}},
            r"name all of its classes, in its order: classes.names=\[...\]",
        ),
    ],
)
def test_what_its_description_says_is_refused_in_a_contract(
    tables: dict[str, dict[str, Any]], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        OpenSuspect.to("http://127.0.0.1:9/v2/models/m/infer", how(tmp_path, **tables))
