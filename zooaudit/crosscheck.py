"""Put somebody else's kit to the test on models that the checker trains himself: is it about the victim, and does it spare the innocent?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import stats

from zooaudit import steps
from zooaudit.config import Recipe, recipe_from
from zooaudit.data.images import Dataset
from zooaudit.errors import InputError
from zooaudit.evidence import Finding, Opened, replayed
from zooaudit.farm import Farm, Watch
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.copy import copy
from zooaudit.storage.models import KIND as MODEL
from zooaudit.storage.models import load_module
from zooaudit.uap.universal import fooling_rate
from zooaudit.verdict.calibrated import Call
from zooaudit.verdict.paper import Decision
from zooaudit.zoo.build import Status
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.spec import Group, ModelSpec, Role

REJECT = 0.01
"""A kit is rejected if one that keeps its level would accuse so many of the checker's innocent models with at most this chance."""
TOLERANCE = 1e-3
"""Of a UAP made again, L-inf: another processor may round otherwise."""


@dataclass(frozen=True)
class Trial:
    """What the checker makes: so many innocent models, half of them look-alikes of his own strangers, and so many copies of the victim."""

    independents: int = 12
    copies: int = 4
    seed: int = 1_000_003

    def __post_init__(self) -> None:
        if self.independents < 4 or self.copies < 2:
            raise InputError(f"{self.independents} independents and {self.copies} copies show too little; take 4 and 2 at least")


def crosscheck(
    opened: Opened, pack: Artifacts, dataset: Dataset, artifacts: Artifacts, farm: Farm, watch: Watch, trial: Trial
) -> list[Finding]:  # fmt: skip
    """Train the checker's models in his own store and ask them the kit's questions.

    Args:
        pack: holds the victim's weights.
        dataset: the victim's domain, the checker's own copy of it.
        artifacts: the checker's store; finished models are used again.

    Raises:
        InputError: the pack lacks the victim, or the data is not what the kit was made on.
    """
    kit = opened.kit
    if not pack.has(MODEL, kit.victim):
        raise InputError("the pack lacks the victim's weights; have it exported with --with-victim, or leave out --data")
    if kit.facts.get("data") != dataset.digest:
        raise InputError(f"the kit was made on data {kit.facts.get('data')}, this is {dataset.digest} ({dataset.name}); give the same data")
    recipe = recipe_from(kit.facts["recipe"])
    if trial.seed == recipe.seed:
        raise InputError(f"seed {trial.seed} is the owner's own, so these would be the owner's models; choose another --seed")
    copy(pack, artifacts, [(MODEL, kit.victim)], lambda _: None)
    victim = steps.Victim.load(kit.victim, artifacts, dataset)
    found = [_uap_again(opened, recipe, victim, dataset), _itself(opened, victim, dataset, artifacts)]
    copies, innocent = _models(trial, recipe, kit.victim, dataset, artifacts, farm, watch)
    return [*found, _copies(opened, copies, dataset, artifacts), *_innocent(opened, innocent, dataset, artifacts)]


def _uap_again(opened: Opened, recipe: Recipe, victim: steps.Victim, dataset: Dataset) -> Finding:
    made = steps.crafted(recipe, victim, dataset).v
    apart = float((made.cpu() - opened.kit.v).abs().max())
    told = f"made again from seed {recipe.seed}, it differs by {apart:.2g} at most (L-inf; expected {TOLERANCE:g})"
    return Finding("UAP", apart <= TOLERANCE, told)


def _itself(opened: Opened, victim: steps.Victim, dataset: Dataset, artifacts: Artifacts) -> Finding:
    (call,) = _calls(opened, [victim.id], dataset, artifacts)
    return Finding("victim", call is Call.STOLEN, f"the kit's call on the victim itself: {call}; a kit that is about it says {Call.STOLEN}")


def _models(
    trial: Trial, recipe: Recipe, victim: str, dataset: Dataset, artifacts: Artifacts, farm: Farm, watch: Watch
) -> tuple[list[ModelSpec], list[ModelSpec]]:  # fmt: skip
    """The checker's copies and innocent models that learnt."""
    half = trial.independents // 2
    cells = len(recipe.zoo.architectures) * len(recipe.zoo.optimisers)
    zoo = replace(recipe.zoo, suspects_per_cell=-(-max(half, trial.copies) // cells), other_victims=2, look_alikes_per_victim=-(-half // 2))
    plan = steps.plan_for(replace(recipe, zoo=zoo, seed=trial.seed), dataset, victim)
    copies = plan.of(Role.PIRACY, Group.SUSPECT)[: trial.copies]
    innocent = [*plan.of(Role.HOMOLOGOUS, Group.SUSPECT)[: trial.independents - half], *plan.of(Role.LOOK_ALIKE)[:half]]
    wanted = Plan(victim, (*plan.of(Role.OTHER_VICTIM), *copies, *innocent))
    if missing := steps.missing_models(wanted, artifacts):
        farm.build(missing, dataset, artifacts, watch)
    records = steps.records(wanted, artifacts)
    learnt = [[s for s in specs if records[s.id].status is Status.LEARNT] for specs in (copies, innocent)]
    return learnt[0], learnt[1]


def _calls(opened: Opened, ids: Sequence[str], dataset: Dataset, artifacts: Artifacts) -> list[Call]:
    probe = opened.kit.probe
    given = steps.clean_answers(ids, probe.questions(), dataset, artifacts)
    level = opened.evidence.meta["level"]
    return [replayed(opened.kit, given[id_], level=level).call for id_ in ids]


def _copies(opened: Opened, copies: Sequence[ModelSpec], dataset: Dataset, artifacts: Artifacts) -> Finding:
    calls = _calls(opened, [s.id for s in copies], dataset, artifacts)
    caught = calls.count(Call.STOLEN)
    told = f"{caught} of {len(calls)} copies of the victim that the checker made are called stolen; half are expected at least"
    return Finding("checker's copies", bool(calls) and 2 * caught >= len(calls), told)


def _innocent(opened: Opened, innocent: Sequence[ModelSpec], dataset: Dataset, artifacts: Artifacts) -> list[Finding]:
    calls = _calls(opened, [s.id for s in innocent], dataset, artifacts)
    level, accused = opened.evidence.meta["level"], calls.count(Call.STOLEN)
    by_chance = float(stats.binom.sf(accused - 1, len(calls), level))
    told = (
        f"{accused} of {len(calls)} innocent models that the checker made are called stolen; at level {level:g} that many or more come "
        f"about with chance {by_chance:.2g}, rejected at {REJECT:g}"
    )
    return [Finding("checker's innocents", by_chance > REJECT, told), _by_paper(opened, innocent, dataset, artifacts)]


def _by_paper(opened: Opened, innocent: Sequence[ModelSpec], dataset: Dataset, artifacts: Artifacts) -> Finding:
    """What the UAP and the paper's test do to the same models: told, not judged, since the paper's test states no rate that it keeps."""
    kit, images = opened.kit, dataset.test.images[:1000]
    answers = steps.answers([s.id for s in innocent], kit.questions(), dataset, artifacts)
    accused = sum(kit.score_answers(s.id, answers[s.id])[1].decision is Decision.PIRACY for s in innocent)
    with torch.no_grad():
        fooled = [fooling_rate(load_module(artifacts, s.id).to(images.device), images, kit.v.to(images.device)) for s in innocent]
    told = f"the UAP fools them at {np.mean(fooled):.2f} on average; the paper's test calls {accused} of {len(innocent)} of them piracy"
    return Finding("UAP on innocents", None, told)
