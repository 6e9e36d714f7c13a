"""An audit whose recipe names the victim's defence: the kit holds what it shows, of later twins too."""

from dataclasses import replace
from pathlib import Path

import torch

from tests.support.farms import Untouched
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import run_audit
from zooaudit.auditing.twin_step import asked_more
from zooaudit.config import TwinTestConfig
from zooaudit.data.images import Dataset
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.opening import open_store
from zooaudit.zoo.attacks.defended import shown


def test_a_kit_holds_what_the_defence_shows(own_store: Path, digits: Dataset) -> None:
    recipe = get_recipe("digits")
    config: TwinTestConfig = replace(recipe.twin_test, defence="mad", defence_budget=0.5)
    artifacts = open_store(str(own_store))
    context = Context(replace(recipe, twin_test=config), digits, artifacts, Untouched(), lambda _: None)
    test = run_audit(context).kit.twin_test
    assert test.defended is not None and test.defended_predicted is not None
    for own, told in zip(test.answers, test.defended, strict=True):
        torch.testing.assert_close(shown(test.questions(), own, "mad", 0.5), told)
    again = asked_more(test, [c.id for c in test.candidates], config, recipe.seed, digits, artifacts)
    assert again.defended is not None and again.defended_predicted is not None
    assert torch.equal(again.defended, test.defended)
    torch.testing.assert_close(again.defended_predicted, test.defended_predicted)
