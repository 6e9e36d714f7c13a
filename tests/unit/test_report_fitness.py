"""Whether a kit is fit to judge, as the report says it."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.support.calls import audited
from tests.support.kits import make_kit
from tests.support.makers import make_twin_test, near, peer
from zooaudit.recipes.named import DIGITS, FMNIST_QUICK
from zooaudit.reporting.fitness import finding
from zooaudit.zoo.spec import ModelSpec


def test_a_kit_that_finds_thieves_and_spares_innocents_is_not_cleared(peer_specs: list[ModelSpec]) -> None:
    found = finding(audited(peer_specs, make_twin_test()))
    assert found.found == "The twin test called 2 of 3 stolen models stolen, and 0 of 3 innocent ones."
    assert (
        found.level
        == "Its level is 0.05: a model made without yours is called stolen in at most 1 of 20 cases."
    )
    assert (found.fit, found.why, found.trial) == ("nothing off", (), "")
    assert found.text == f"{found.found} {found.level} The checks of this kit found nothing off."


MADE_BY = {
    "digits": (DIGITS, "Made by the trial recipe digits: accuse nobody by it."),
    "changed": (
        replace(DIGITS, name="digits with seed=3"),
        "Made by the trial recipe digits with seed=3: accuse nobody by it.",
    ),
    "inherited": (
        replace(DIGITS, name="mine"),
        "Made by the recipe mine on the trial data digits: accuse nobody by it.",
    ),
    "another": (FMNIST_QUICK, ""),
}


@pytest.mark.parametrize("name", MADE_BY)
def test_nobody_is_to_be_accused_by_what_a_trial_recipe_made(name: str, peer_specs: list[ModelSpec]) -> None:
    audit = audited(peer_specs, make_twin_test())
    audit.recipe, said = MADE_BY[name]
    found = finding(audit)
    assert found.trial == said and found.text.endswith(said) and found.fit == "nothing off"
    assert make_kit(facts={"recipe": json.loads(json.dumps(asdict(audit.recipe)))}).trial == said


@pytest.mark.parametrize("recipe", [None, "digits", {}, {"name": None, "dataset": 3}])
def test_what_a_strangers_kit_says_of_its_recipe_may_be_anything(recipe: Any) -> None:
    assert make_kit(facts={"recipe": recipe}).trial == make_kit(facts={}).trial == ""


UNFIT = {
    "accuses nobody": (
        lambda a: vars(a.kit).update(twin_test=replace(a.kit.twin_test, level=0.01)),
        "it accuses nobody (19 twins allow",
    ),
    "is blind": (
        lambda a: a.__dict__.update(itself=a.suspects[-1].examined),
        "it does not recognise the victim itself",
    ),
    "finds none": (
        lambda a: a.__dict__.update(suspects=a.suspects[2:]),
        "it found none of the stolen models",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_kit_that_cannot_do_its_work_is_not_fit(name: str, peer_specs: list[ModelSpec]) -> None:
    audit = audited(peer_specs, make_twin_test())
    change, why = UNFIT[name]
    change(audit)
    found = finding(audit)
    assert found.fit == "not fit for use" and found.why[0].startswith(why)
    assert f"This kit is not fit for use: {why}" in found.text


def test_a_weak_level_false_accusations_and_doubts_ask_for_care(peer_specs: list[ModelSpec]) -> None:
    test = make_twin_test()
    lax = finding(audited(peer_specs, replace(test, level=0.2)))
    assert lax.fit == "with care" and lax.why == ("“stolen” is weak evidence at a level of 1 of 5",)
    wrong = finding(
        audited(peer_specs, test, [near(0, 1), near(0, 2), peer(2000), near(0, 3), near(0, 4), peer(2003)])
    )
    assert wrong.fit == "with care" and wrong.why == (
        "it called 2 of 3 innocent models stolen, more than its level allows",
    )
    doubtful = audited(peer_specs, test)
    doubtful.itself = replace(
        doubtful.itself, verdict=replace(doubtful.itself.verdict, cautions=("accuracy: high",))
    )
    assert finding(doubtful).why == ("checks of the victim raise a doubt (see the checks below)",)
    alone = audited(peer_specs, test)
    alone.suspects = alone.suspects[:3]
    assert finding(alone).why == ("no innocent model was there to try it on",)
