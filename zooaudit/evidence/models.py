"""Put somebody else's kit to the test on models that the checker trains himself: is it about the victim, and does it spare the innocent?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import stats

from zooaudit import steps
from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.errors import InputError
from zooaudit.evidence.checks import Finding
from zooaudit.evidence.packs import Opened
from zooaudit.farm import Farm, Watch
from zooaudit.fingerprint.access import Access
from zooaudit.probing import pool
from zooaudit.recipes import recipe_from
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.copy import copy
from zooaudit.storage.models import KIND as MODEL
from zooaudit.storage.models import load_module
from zooaudit.suspects.blackbox import Recorded
from zooaudit.uap.universal import fooling_rate
from zooaudit.verdict.calibrated import Call
from zooaudit.verdict.paper import Decision
from zooaudit.zoo.build import Status
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.spec import Group, ModelSpec, Role

REJECT = 0.01
"""A kit is rejected if one that keeps its level would accuse so many of a family of the checker's with at most this chance."""
TOLERANCE = 1e-3
"""Of a UAP made again, L-inf: so far rounding on another processor may take it."""
ANOTHER = 0.5
"""Cosine under which a UAP made again is another one, whatever the processor."""
ENOUGH = 0.5
"""Share of the checker's models of each kind that must have learnt and be judged, or nothing is shown."""


@dataclass(frozen=True)
class Trial:
    """What the checker makes: so many innocent models, half of them look-alikes of his own strangers, and so many copies of the victim.

    Attributes:
        seed: nobody but he may know it beforehand: a kit could be made to spare just his models.
    """

    independents: int = 24
    copies: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.independents < 8 or self.copies < 2:
            raise InputError(f"{self.independents} independents and {self.copies} copies show too little; take 8 and 2 at least")


def crosscheck(
    opened: Opened, pack: Artifacts, dataset: Dataset, artifacts: Artifacts, farm: Farm, watch: Watch, trial: Trial
) -> list[Finding]:  # fmt: skip
    """Train the checker's models in his own store and ask them the kit's questions.

    Args:
        pack: holds the victim's weights.
        dataset: the victim's domain, the checker's own copy of it.
        artifacts: the checker's store; finished models are used again.

    Raises:
        InputError: the data is not what the kit was made on, or the seed is the owner's.
    """
    kit = opened.kit
    if kit.facts.get("data") != dataset.digest:
        raise InputError(f"the kit was made on data {kit.facts.get('data')}, this is {dataset.digest} ({dataset.name}); give the same data")
    recipe = recipe_from(kit.facts["recipe"])
    if trial.seed == recipe.seed:
        raise InputError(f"seed {trial.seed} is the owner's own, so these would be the owner's models; choose another --seed")
    copy(pack, artifacts, [(MODEL, kit.victim)], lambda _: None)
    victim = steps.Victim.load(kit.victim, artifacts, dataset)
    found = [_uap_again(opened, recipe, victim, dataset), _questions(opened, recipe, dataset), _itself(opened, victim, dataset, artifacts)]
    copies, innocent = _models(trial, recipe, kit.victim, dataset, artifacts, farm, watch)
    found.append(_copies(opened, copies, trial, dataset, artifacts))
    found.append(_references(opened, [s for s in innocent if s.role is Role.HOMOLOGOUS], dataset, artifacts))
    for role in (Role.HOMOLOGOUS, Role.LOOK_ALIKE):
        found.append(_innocent(opened, role, [s for s in innocent if s.role is role], trial, dataset, artifacts))
    return [*found, _by_paper(opened, innocent, dataset, artifacts)]


def _uap_again(opened: Opened, recipe: Recipe, victim: steps.Victim, dataset: Dataset) -> Finding:
    made, stated = steps.crafted(recipe, victim, dataset).v.cpu(), opened.kit.v
    apart = float((made - stated).abs().max())
    alike = float(torch.nn.functional.cosine_similarity(made.flatten(), stated.flatten(), dim=0))
    told = f"made again from seed {recipe.seed}, it differs by {apart:.2g} at most (L-inf), cosine {alike:.3f}"
    if apart <= TOLERANCE:
        return Finding("UAP", True, told)
    return Finding("UAP", False if alike < ANOTHER else None, told + ("" if alike < ANOTHER else "; another processor may explain it"))


def _questions(opened: Opened, recipe: Recipe, dataset: Dataset) -> Finding:
    """Whether the images that suspects are asked, and their labels, are test images that nothing trains on."""
    probe, free = opened.kit.probe, pool(dataset, recipe.seed)
    known = {(image.numpy().tobytes(), int(label)) for image, label in zip(free.images, free.labels, strict=True)}
    asked = [(image.numpy().tobytes(), int(label)) for image, label in zip(probe.images, probe.labels, strict=True)]
    strange = sum(a not in known for a in asked)
    told = f"{strange} of {len(asked)} images, with their labels, are not among the {len(free)} test images that nothing trains on"
    return Finding("questions", strange == 0, told)


def _itself(opened: Opened, victim: steps.Victim, dataset: Dataset, artifacts: Artifacts) -> Finding:
    (call,) = _calls(opened, [victim.id], dataset, artifacts)
    told = f"the kit's call on the victim itself: {call}; a kit that is about it says {Call.STOLEN}"
    return Finding("victim", _shown(opened, call is Call.STOLEN, [call]), told)


def _shown(opened: Opened, passed: bool, calls: Sequence[Call]) -> bool | None:
    """A kit that can tell of nobody shows nothing; no fault where its verdict says so itself, since nobody is accused or cleared."""
    silent = opened.evidence.meta["verdict"]["call"] == Call.CANNOT_TELL and set(calls) <= {Call.CANNOT_TELL}
    return None if silent else passed


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
    """As the suspect was judged: at its level, its answers read as they were."""
    probe, meta = opened.kit.probe, opened.evidence.meta
    given = steps.clean_answers(ids, probe.questions(), dataset, artifacts)
    access = Access.named(meta["read_as"])
    return [probe.examine(Recorded(given[id_]), meta["level"], access).verdict.call for id_ in ids]


def _copies(opened: Opened, copies: Sequence[ModelSpec], trial: Trial, dataset: Dataset, artifacts: Artifacts) -> Finding:
    calls = _calls(opened, [s.id for s in copies], dataset, artifacts)
    caught = calls.count(Call.STOLEN)
    told = f"{caught} of {len(calls)} copies of the victim that the checker made are called stolen; half are expected at least"
    enough = len(calls) >= ENOUGH * trial.copies and 2 * caught >= len(calls)
    return Finding("checker's copies", _shown(opened, enough, calls), told)


def _innocent(
    opened: Opened, role: Role, innocent: Sequence[ModelSpec], trial: Trial, dataset: Dataset, artifacts: Artifacts
) -> Finding:  # fmt: skip
    """One family by itself: a kit may spare one kind and accuse another."""
    calls = _calls(opened, [s.id for s in innocent], dataset, artifacts)
    level, accused = opened.evidence.meta["level"], calls.count(Call.STOLEN)
    judged = len(calls) - calls.count(Call.CANNOT_TELL)
    name = f"checker's {role}"
    if judged < ENOUGH * trial.independents / 2:
        told = f"only {judged} of {trial.independents // 2} could be judged, so nothing is shown; the rest did not learn, or cannot be told"
        return Finding(name, _shown(opened, False, calls), told)
    by_chance = float(stats.binom.sf(accused - 1, judged, level))
    told = (
        f"{accused} of {judged} that the checker made are called stolen; at level {level:g} that many or more come about with chance "
        f"{by_chance:.2g}, rejected at {REJECT:g}"
    )
    return Finding(name, by_chance > REJECT, told)


def _references(opened: Opened, homologous: Sequence[ModelSpec], dataset: Dataset, artifacts: Artifacts) -> Finding:
    """Whether the kit's homologous references score as models do: invented ones that nobody resembles accuse whoever is over the midpoint.

    Look-alikes are not compared: they vary by stranger.
    """
    probe, access, family = opened.kit.probe, Access.named(opened.evidence.meta["read_as"]), str(Role.HOMOLOGOUS)
    given = steps.clean_answers([s.id for s in homologous], probe.questions(), dataset, artifacts)
    lowest, compared = 1.0, 0
    for number, witness in enumerate(probe.at(access)):
        kits = probe.population(access, number).get(family)
        if kits is None or not homologous:
            return Finding("references", _shown(opened, False, []), f"there are no {family} models to compare the kit's with")
        compared = len(kits)
        own = [float(witness.scale.peaks(given[s.id][probe.checks :])) for s in homologous]
        lowest = min(lowest, float(stats.mannwhitneyu(own, kits, alternative="greater").pvalue))
    told = f"the checker's {len(homologous)} {family} models score above the kit's {compared} with p {lowest:.2g}, rejected at {REJECT:g}"
    return Finding("references", lowest > REJECT, told)


def _by_paper(opened: Opened, innocent: Sequence[ModelSpec], dataset: Dataset, artifacts: Artifacts) -> Finding:
    """What the UAP and the paper's test do to the same models: told, not judged, since the paper's test states no rate that it keeps."""
    kit, images = opened.kit, dataset.test.images[:1000]
    if not innocent:
        return Finding("UAP on innocents", None, "no innocent model of the checker's learnt")
    answers = steps.answers([s.id for s in innocent], kit.questions(), dataset, artifacts)
    accused = sum(kit.score_answers(s.id, answers[s.id])[1].decision is Decision.PIRACY for s in innocent)
    with torch.no_grad():
        fooled = [fooling_rate(load_module(artifacts, s.id).to(images.device), images, kit.v.to(images.device)) for s in innocent]
    told = f"the UAP fools them at {np.mean(fooled):.2f} on average; the paper's test calls {accused} of {len(innocent)} of them piracy"
    return Finding("UAP on innocents", None, told)
