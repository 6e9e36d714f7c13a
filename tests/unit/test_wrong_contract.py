"""A wrong contract is noticed on the control questions: the one change that makes sense of a suspect is
named, and never made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.makers import CHECKS, make_twin_test, peer
from tests.support.weights import exported
from zooaudit.auditing.suspect_check import noticed
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.how import How
from zooaudit.suspects.ledger import Ledger
from zooaudit.suspects.opened import OpenSuspect
from zooaudit.verdict.control import Control, control
from zooaudit.verdict.twin_test import TwinTest

SHAPE = (1, 4, 4)


@pytest.fixture(scope="module")
def test_() -> TwinTest:
    """With 40 control questions, so that chance is told from skill."""
    return replace(make_twin_test(references=2), control_questions=40)


class Scaled(nn.Module):
    """A stranger's model, which takes its images in a range of its own."""

    def __init__(self, scale: float, shift: float, order: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        super().__init__()
        self.inner, self.scale, self.shift, self.order = peer(3000, 0.2), scale, shift, order

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x - self.shift) / self.scale)[:, list(self.order)]


def door(model: nn.Module, folder: Path, **tables: Any) -> OpenSuspect:
    path = exported(model.eval(), folder / "m.pt2")
    return OpenSuspect.to(str(path), How("kit", SHAPE, ("a", "b", "c", "d"), contract=contract_of(tables)))


def test_a_suspect_that_is_asked_as_it_wants_hears_nothing(test_: TwinTest, tmp_path: Path) -> None:
    assert noticed(test_, door(Scaled(1, 0), tmp_path), "m") == noticed(
        test_, door(Scaled(2, -1), tmp_path, input={"range": [-1, 1]}), "m"
    )
    found = noticed(test_, door(Scaled(1, 0), tmp_path), "m")
    assert (found.objection, found.hint) == ("", "")


@pytest.mark.parametrize(
    ("scale", "shift", "flag"), [(2.0, -1.0, "'input.range=[-1,1]'"), (255.0, 0.0, "'input.range=[0,255]'")]
)
def test_another_range_is_named(
    scale: float, shift: float, flag: str, test_: TwinTest, tmp_path: Path
) -> None:
    asked = door(Scaled(scale, shift), tmp_path)
    before = asked.black_box.ask(test_.questions()[:3])
    found = noticed(test_, asked, "m")
    assert f"with --contract {flag} on" in found.objection and "control images" in found.objection
    assert "confirm it by --contract 'input.range=[0,1]'" in found.objection
    assert torch.equal(asked.black_box.ask(test_.questions()[:3]), before), "nothing is switched"


def test_what_was_said_is_done_though_it_makes_no_sense(test_: TwinTest, tmp_path: Path) -> None:
    found = noticed(test_, door(Scaled(255, 0), tmp_path, input={"range": [0, 1.0], "mean": [0.0]}), "m")
    assert found.objection == "" and "with --contract 'input.range=[0,255]' on" in found.hint


def test_another_normalisation_is_named(test_: TwinTest, tmp_path: Path) -> None:
    wrong = door(Scaled(1, 0), tmp_path, input={"mean": [3.0], "std": [0.02]})
    found = noticed(test_, wrong, "m")
    assert found.objection == "" and "with --contract 'input.mean=[0]' 'input.std=[1]' on" in found.hint, (
        "it was said otherwise"
    )


def colours(test_: TwinTest) -> TwinTest:
    """The same questions, their blue channel the grey image, the others noise."""
    noise = torch.randint(
        0, 256, (len(test_.images), 2, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(9)
    )
    return replace(test_, images=torch.cat([noise, test_.images], 1))


class FirstChannel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = peer(3000, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x[:, :1])


class ChannelsLast(nn.Module):
    """Built by a factory, so that no shape is stated; it looks at the last channel of
    images with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = peer(3000, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.reshape(len(x), 4, 4, 3)[..., 2])


def test_another_order_of_channels_is_named(test_: TwinTest, tmp_path: Path) -> None:
    path = exported(FirstChannel(), tmp_path / "m.pt2", (3, 4, 4))
    found = noticed(
        colours(test_), OpenSuspect.to(str(path), How("kit", (3, 4, 4), ("a", "b", "c", "d"))), "m"
    )
    assert "with --contract 'input.channels=bgr' on" in found.objection
    said = How("kit", (3, 4, 4), ("a", "b", "c", "d"), contract=contract_of({"input": {"channels": "bgr"}}))
    assert noticed(colours(test_), OpenSuspect.to(str(path), said), "m").objection == ""


def test_another_layout_is_named(test_: TwinTest, tmp_path: Path) -> None:
    save_file(ChannelsLast().state_dict(), tmp_path / "m.safetensors")
    how = How("kit", (3, 4, 4), ("a", "b", "c", "d"), factory="tests.unit.test_wrong_contract:ChannelsLast")
    found = noticed(colours(test_), OpenSuspect.to(str(tmp_path / "m.safetensors"), how), "m")
    assert "with --contract 'input.layout=nhwc' on" in found.objection


def test_another_order_of_classes_is_named(test_: TwinTest, tmp_path: Path) -> None:
    found = noticed(test_, door(Scaled(1, 0, (2, 0, 3, 1)), tmp_path), "m")
    assert found.objection == "" and found.hint.endswith("--contract 'classes.columns=[1, 3, 0, 2]'")
    mended = door(Scaled(1, 0, (2, 0, 3, 1)), tmp_path, classes={"columns": [1, 3, 0, 2]})
    assert noticed(test_, mended, "m").hint == ""
    wrong = door(Scaled(1, 0, (2, 0, 3, 1)), tmp_path, classes={"columns": [0, 3, 2, 1]})
    assert noticed(test_, wrong, "m").hint.endswith("--contract 'classes.columns=[1, 3, 0, 2]'"), (
        "among its own columns"
    )


def test_another_range_and_another_order_are_named_together(test_: TwinTest, tmp_path: Path) -> None:
    wrong = door(Scaled(255, 0, (2, 0, 3, 1)), tmp_path)
    found = noticed(test_, wrong, "m")
    assert "with --contract 'input.range=[0,255]' 'classes.columns=[1, 3, 0, 2]' on" in found.objection
    mended = door(
        Scaled(255, 0, (2, 0, 3, 1)), tmp_path, input={"range": [0, 255]}, classes={"columns": [1, 3, 0, 2]}
    )
    assert noticed(test_, mended, "m").hint == ""


def test_what_nothing_makes_sense_of_is_said(test_: TwinTest, tmp_path: Path) -> None:
    torch.manual_seed(1)
    found = noticed(test_, door(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), tmp_path), "m")
    assert (
        found.objection == ""
        and "no one change of range, normalisation, channel order or layout makes sense of it" in found.hint
    )


def test_of_what_may_cost_money_no_more_is_asked(test_: TwinTest, tmp_path: Path) -> None:
    """An API stands behind a ledger; here what it answers is computed."""
    torch.manual_seed(1)
    box = TorchBlackBox(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), 4)
    with OpenSuspect(box, ledger=Ledger(tmp_path / "l.sqlite", {}, 0)) as api:
        found = noticed(test_, api, "api")
        assert (
            "no better than by chance" in found.objection
            and "--ask-everything" in found.objection
            and box.queries == 40
        )
        assert noticed(test_, api, "api", ask_everything=True).objection == ""
    with OpenSuspect(
        TorchBlackBox(Scaled(1, 0, (2, 0, 3, 1)), 4), ledger=Ledger(tmp_path / "k.sqlite", {}, 0)
    ) as api:
        found = noticed(test_, api, "api")
        assert found.hint.endswith(": columns = [1, 3, 0, 2]")


def test_chance() -> None:
    assert Control(10, 100, 10, 0.7).at_chance and not Control(20, 100, 10, 0.7).at_chance
    assert Control(4, 20, 10, 0.7).at_chance and not Control(5, 20, 10, 0.7).at_chance
    assert Control(60, 100, 10, 0.7).poor and not Control(70, 100, 10, 0.7).poor
    assert Control(30, 100, 10, 0.7).mended_by(Control(50, 100, 10, 0.7)) and not Control(
        30, 100, 10, 0.7
    ).mended_by(Control(45, 100, 10, 0.7))
    test = make_twin_test(references=2)
    assert control(test, test.answers[0]).asked == CHECKS and not control(test, test.answers[0]).poor
