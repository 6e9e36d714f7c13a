"""Twins, thieves of weights and own victims in what an audit will take."""

import json
from dataclasses import replace

import pytest
from torch import nn

from tests.support.finished import Finished
from zooaudit.cli.main import main
from zooaudit.config import ModifyConfig
from zooaudit.kits.kit import load_kit
from zooaudit.planning.footprint import model_bytes
from zooaudit.planning.given import Devices, OwnVictim
from zooaudit.planning.measured import DOMAINS
from zooaudit.planning.sizing import estimate, planned, scaled
from zooaudit.planning.twin_footprint import pools_of, twin_test_of
from zooaudit.recipes.named import DIGITS, RECIPES, get_recipe
from zooaudit.storage.opening import open_store
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.spec import Role


def test_the_twin_test_is_planned_as_an_audit_makes_it(finished: Finished) -> None:
    artifacts = open_store(str(finished.store))
    made = load_kit(artifacts, artifacts.ids("kit")[0]).twin_test
    plan = planned(DIGITS, DOMAINS["digits"])
    found = twin_test_of(DIGITS, plan, pools_of(DIGITS, DOMAINS["digits"].test_size))
    assert (found.control_questions, found.looks, found.level, found.budget) == (
        made.control_questions,
        made.looks,
        made.level,
        made.budget,
    )
    assert sorted(found.families) == sorted(made.families) and found.twins == made.twins
    for part in ("images", "labels", "answers", "reference_answers", "behind", "reference_behind"):
        one, other = getattr(found, part), getattr(made, part)
        assert (one.shape, one.dtype) == (other.shape, other.dtype), part


def test_a_named_defence_doubles_the_candidates_answers() -> None:
    plan, domain = planned(DIGITS, DOMAINS["digits"]), DOMAINS["digits"]
    named = replace(DIGITS, twin_test=replace(DIGITS.twin_test, defence="reverse-sigmoid"))
    found = twin_test_of(named, plan, pools_of(DIGITS, domain.test_size))
    assert found.defended is not None and found.defended.shape == found.answers.shape
    assert found.defended_predicted is not None and found.defended_predicted.shape == found.answers.shape
    kits = [estimate(r, domain, Devices(2)).storage_bytes["kit"] for r in (DIGITS, named)]
    assert kits[1] > kits[0] + found.answers.nbytes


@pytest.mark.parametrize(
    ("twins", "level", "said"),
    [
        (0, 0.05, "can accuse nobody, every verdict is 'cannot tell': the kit has no twins"),
        (
            18,
            0.05,
            (
                "can accuse nobody, every verdict is 'cannot tell': 18 twins allow no p under 0.053; level"
                " 0.05 needs 19"
            ),
        ),
        (
            19,
            0.05,
            (
                "p-values down to 0.05, level 0.05: it can accuse one of at most 1 suspect at once (Holm); 2"
                " take 39 twins"
            ),
        ),
        (
            99,
            0.05,
            (
                "p-values down to 0.01, level 0.05: it can accuse one of at most 5 suspects at once (Holm); 6"
                " take 119 twins"
            ),
        ),
    ],
)
def test_a_plan_says_whom_its_kit_can_accuse(twins: int, level: float, said: str) -> None:
    recipe = replace(
        DIGITS, zoo=replace(DIGITS.zoo, twins=twins), twin_test=replace(DIGITS.twin_test, level=level)
    )
    notes = estimate(recipe, DOMAINS["digits"], Devices(2)).notes
    assert said in notes[0] and not any("accuse" in n for n in notes[1:])


def test_what_is_made_of_the_victims_weights_is_sized_by_what_is_done_to_them() -> None:
    taken = (ModifyConfig("prune-channels", 0.5), ModifyConfig("int8", 8))
    domain = DOMAINS["digits"]
    bare, more = (
        estimate(replace(DIGITS, zoo=replace(DIGITS.zoo, taken=t)), domain, Devices(1)) for t in ((), taken)
    )
    assert more.total_models == bare.total_models + 2 and more.models["piracy"]["A"] == 2
    victim = model_bytes(Plan("v", planned(DIGITS, domain).specs[:1]))["model"]
    assert 1.2 * victim < more.storage_bytes["model"] - bare.storage_bytes["model"] < 1.8 * victim, (
        "INT8 takes a quarter of it"
    )
    assert any("not measured" in n and "A prune-channels" in n for n in more.notes)
    assert more.attackers_queries == bare.attackers_queries, "nobody asks whose weights they have"
    with_taken = replace(DIGITS, zoo=replace(DIGITS.zoo, taken=taken))
    assert scaled(with_taken, more.total_models)[0] == with_taken


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_with_twins_has_enough_for_its_level(name: str) -> None:
    recipe = get_recipe(name)
    said = "it can accuse one of at most" if recipe.zoo.twins else "can accuse nobody"
    assert said in estimate(recipe, DOMAINS[recipe.dataset], Devices(2)).notes[0]


def test_twins_by_ones_own_procedure_take_what_one_says() -> None:
    """On the devices at hand: twice as fast a device has not twice as fast an own procedure."""
    domain = DOMAINS["digits"]
    without = replace(DIGITS, zoo=replace(DIGITS.zoo, twins=0))
    base, timed, untimed = (
        estimate(recipe, domain, Devices(2, 4.0, "GPUs"), OwnVictim(seconds))
        for recipe, seconds in ((without, None), (DIGITS, 30.0), (DIGITS, None))
    )
    assert timed.models["twin"] == {"own": DIGITS.zoo.twins} and "victim" not in timed.models
    assert timed.core_hours - base.core_hours == pytest.approx(DIGITS.zoo.twins * 30 * 4 / 3600)
    assert timed.training_hours[0] - base.training_hours[0] == pytest.approx(DIGITS.zoo.twins * 30 / 2 / 3600)
    assert timed.critical_path_hours == pytest.approx(30 / 3600)
    assert untimed.core_hours == base.core_hours
    assert any("is not in these hours: time one" in n for n in untimed.notes)
    assert any("take 30 s each, as you said" in n for n in timed.notes) and not any(
        "not in these hours" in n for n in timed.notes
    )
    assert not any("own trained" in n for n in untimed.notes)
    assert timed.queries_per_suspect == estimate(DIGITS, domain, Devices(1)).queries_per_suspect
    assert not any("your own" in n or "--factory" in n for n in base.notes)


def test_an_own_victim_and_its_twins_are_as_large_as_the_factory_makes_them() -> None:
    unknown, known = (
        estimate(DIGITS, DOMAINS["digits"], Devices(1), OwnVictim(1.0, f))
        for f in ("", "tests.unit.test_sizing_twins:own_net")
    )
    more = known.storage_bytes["model"] - unknown.storage_bytes["model"]
    assert more == pytest.approx((1 + DIGITS.zoo.twins) * 400_040, rel=0.01)
    assert any("give --factory" in n for n in unknown.notes) and not any(
        "--factory" in n for n in known.notes
    )


def test_an_own_victim_is_one_model_less_to_train_and_one_more_to_save() -> None:
    ours, own = (estimate(DIGITS, DOMAINS["digits"], Devices(1), o) for o in (None, OwnVictim(1.0)))
    assert (ours.total_models, len(planned(DIGITS, DOMAINS["digits"], OwnVictim(1.0)).of(Role.VICTIM))) == (
        own.total_models + 1,
        0,
    )
    assert ours.requests.put - own.requests.put == 1, "the lease on it; the model itself is saved either way"
    assert (
        scaled(DIGITS, 200, OwnVictim())[0].zoo.suspects_per_cell
        >= scaled(DIGITS, 200)[0].zoo.suspects_per_cell
    )


def test_the_command_plans_for_an_own_victim(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "plan",
        "--recipe",
        "digits",
        "--twins",
        "39",
        "--own-victim",
        "--twin-seconds",
        "30",
        "--json",
    ]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"]["twin"] == {"own": 39} and "victim" not in found["models"]
    recipe = replace(DIGITS, zoo=replace(DIGITS.zoo, twins=39))
    assert found["core_hours"] == estimate(recipe, DOMAINS["digits"], Devices(1), OwnVictim(30.0)).core_hours


def own_net() -> nn.Module:
    """Some 400 kB of weights."""
    return nn.Linear(10_000, 10)
