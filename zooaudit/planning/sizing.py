"""What an audit will take: models, hours, bytes, requests, queries. Pure, except that it reads measured.json.

Hours are based on measured training times of models of each kind (:mod:`zooaudit.planning.measured`), scaled
by the work of :mod:`zooaudit.zoo.schedule`.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from zooaudit.config import ExtractConfig, OwnTraining, Recipe
from zooaudit.errors import ConfigError
from zooaudit.planning.footprint import (
    OWN_VICTIM,
    PROBE,
    Requests,
    asking,
    audit_bytes,
    audit_requests,
    model_bytes,
    on_s3,
)
from zooaudit.planning.given import Devices, OwnVictim
from zooaudit.planning.measured import Domain, measured
from zooaudit.planning.sizing_notes import accusing, notes, of_own
from zooaudit.planning.twin_footprint import pools_of, twin_test_of
from zooaudit.zoo.plan import Plan, plan_zoo
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import ModelSpec, Role


@dataclass(frozen=True)
class Estimate:
    """What one recipe takes on some devices."""

    recipe: str
    models: dict[str, dict[str, int]]
    """Count by role and architecture."""
    devices: Devices
    core_hours: float
    """Training work: hours on one core of the measured machine."""
    critical_path_hours: float
    """The longest chain on one device: a victim and the longest to train of the models extracted from it.
    More devices do not shorten it."""
    training_hours: tuple[float, float]
    """Lower and upper bound for any schedule that leaves no device idle while a model is ready."""
    driver_hours: float
    """Start, UAP, answers, encoder, verdicts, report: in one process, whatever the devices."""
    storage_bytes: dict[str, int]
    driver_bytes: int
    """Every model's answers, which the driver holds together in memory."""
    requests: Requests
    requests_per_model: Requests
    attackers_queries: int
    """Questions to victims for extraction, if every first attempt succeeds."""
    audit_queries: int
    queries_per_suspect: int
    """For the twin test, at most."""
    queries_by_paper: int
    notes: tuple[str, ...]

    @property
    def total_models(self) -> int:
        return sum(n for counts in self.models.values() for n in counts.values())

    @property
    def hours(self) -> tuple[float, float]:
        """The whole audit: lower and upper bound."""
        return self.training_hours[0] + self.driver_hours, self.training_hours[1] + self.driver_hours


def estimate(recipe: Recipe, domain: Domain, devices: Devices, own: OwnVictim | None = None) -> Estimate:
    """Estimate an audit; trains nothing and reads no data.

    Args:
        own: the user's own victim; without one, a victim is trained.

    Raises:
        ConfigError: the recipe cannot be planned on this domain.
    """
    known = measured()
    plan = planned(recipe, domain, own)
    seconds = _seconds(plan, domain, devices, own)
    path = critical_path(plan.specs, seconds)
    low, high = training_span(sum(seconds) / devices.speedup, path / devices.speedup, devices.count)
    families = pools_of(recipe, domain.test_size)
    test = twin_test_of(recipe, plan, families)
    asked = asking(recipe, plan, test, families)
    driver_s = known.fixed_s + known.after_zoo_us_per_query / 1e6 * asked.queries
    # An upper bound: part of it does not grow with the zoo.
    report = round(known.report_bytes_per_model * max(len(plan.specs), known.models))
    stored = model_bytes(plan) | audit_bytes(recipe, plan, asked, test) | {"report": report}
    encoders = 1 if recipe.encoder.name == "paper" else 2  # the paper's is always fitted too
    parents = [s.parent for s in plan.specs if s.parent is not None]
    operations = audit_requests(len(plan.specs), len(parents), len(set(parents)), asked.sets, encoders)
    requests = PROBE + on_s3(operations + OWN_VICTIM if own else operations)
    return Estimate(
        recipe=recipe.name,
        models=by_role(plan.specs),
        devices=devices,
        core_hours=sum(seconds) / 3600,
        critical_path_hours=path / devices.speedup / 3600,
        training_hours=(low / 3600, high / 3600),
        driver_hours=driver_s / 3600,
        storage_bytes=stored,
        driver_bytes=asked.queries * domain.num_classes * 4,
        requests=requests,
        requests_per_model=requests.over(len(plan.specs)),
        attackers_queries=sum(attack_queries(s.extraction) for s in plan.specs if s.extraction),
        audit_queries=asked.queries,
        queries_per_suspect=test.budget,
        queries_by_paper=asked.fingerprints,
        notes=(*accusing(test.twins, test.level), *of_own(test.twins, own), *notes(plan, domain, devices)),
    )


@lru_cache(maxsize=1)
def planned(recipe: Recipe, domain: Domain, own: OwnVictim | None = None) -> Plan:
    """The recipe's zoo. Names and seeds differ from those of a real run, which depend on the data, which is
    not read here."""
    blank = (0.5,) * domain.image[0]
    shape = ModelShape(domain.image, domain.num_classes, blank, blank, recipe.zoo.widths, recipe.zoo.hidden)
    if own is None:
        return plan_zoo(recipe.zoo, "planned", shape, recipe.seed)
    return plan_zoo(
        recipe.zoo,
        "planned",
        shape,
        recipe.seed,
        "victim-own-planned",
        OwnTraining(own.factory, "planned", "planned"),
    )


def _seconds(plan: Plan, domain: Domain, devices: Devices, own: OwnVictim | None) -> list[float]:
    """Core seconds of every model; without twins whose time is unknown."""
    known = measured()
    twin = devices.speedup * (own.twin_seconds or 0.0) if own else 0.0
    return [twin if s.own_training else known.seconds(s, domain) for s in plan.specs]


def critical_path(specs: tuple[ModelSpec, ...], seconds: list[float]) -> float:
    """Seconds of the longest chain: a model and the longest to train of those extracted from it."""
    children: dict[str, float] = {}
    for spec, cost in zip(specs, seconds, strict=True):
        if spec.parent:
            children[spec.parent] = max(children.get(spec.parent, 0.0), cost)
    return max(
        cost + (children.get(spec.id, 0.0) if not spec.parent else 0.0)
        for spec, cost in zip(specs, seconds, strict=True)
    )


def training_span(work: float, path: float, devices: int) -> tuple[float, float]:
    """Shortest and longest time for ``work`` with a critical ``path`` on equal devices, none idle while a
    model is ready.

    Shortest: neither the path nor an even share of the work can be beaten. Longest: Graham's bound (1969) for
    list scheduling, which is how the work queue works; longest-path-first usually comes close to the
    shortest.
    """
    return max(path, work / devices), path + (work - path) / devices


def attack_queries(attack: ExtractConfig) -> int:
    """Images that a victim labels for one extraction."""
    return attack.most_queries


def by_role(specs: Iterable[ModelSpec]) -> dict[str, dict[str, int]]:
    """How many models of each role and architecture."""
    counts = Counter((str(s.role), s.architecture) for s in specs)
    roles = [str(r) for r in Role if any(role == r for role, _ in counts)]
    return {r: {a: n for (role, a), n in sorted(counts.items()) if role == r} for r in roles}


def scaled(recipe: Recipe, models: int, own: OwnVictim | None = None) -> tuple[Recipe, str]:
    """The recipe with about ``models`` models, and what was changed: suspects a cell and
    look-alikes a victim, in proportion.

    Raises:
        ConfigError: the recipe's smallest zoo is larger.
    """
    zoo = recipe.zoo
    cells = 2 * len(zoo.architectures) * len(zoo.optimisers)
    strangers = zoo.other_victims if zoo.look_alikes_per_victim else 0
    victim = 0 if own else 1 + len(zoo.taken)
    fixed = (
        victim + len(zoo.thieves) + zoo.twins + zoo.other_victims + zoo.references + 2 * zoo.encoder_per_role
    )
    if models < fixed + cells + strangers:
        raise ConfigError(
            f"recipe {recipe.name} cannot be scaled to {models} models; its smallest zoo has"
            f" {fixed + cells + strangers}"
        )
    factor = (models - fixed) / (cells * zoo.suspects_per_cell + strangers * zoo.look_alikes_per_victim)

    def near(value: int) -> list[int]:
        wanted = value * factor
        return sorted({max(1, math.floor(wanted)), max(1, math.ceil(wanted))}) if value else [0]

    def miss(choice: tuple[int, int]) -> int:
        return abs(fixed + cells * choice[0] + strangers * choice[1] - models)

    suspects, look_alikes = min(
        itertools.product(near(zoo.suspects_per_cell), near(zoo.look_alikes_per_victim)), key=miss
    )
    changed = replace(
        recipe, zoo=replace(zoo, suspects_per_cell=suspects, look_alikes_per_victim=look_alikes)
    )
    return (
        changed,
        (
            f"scaled to about {models:,} models: suspects_per_cell {zoo.suspects_per_cell} -> {suspects}, "
            f"look_alikes_per_victim {zoo.look_alikes_per_victim} -> {look_alikes}; "
            f"victims, what is made of their weights, twins, references and the encoder's models stay {fixed}"
        ),
    )


def as_json(found: Estimate) -> dict[str, Any]:
    """Plain values for JSON."""
    plain = {k: v for k, v in vars(found).items() if k not in ("devices", "requests", "requests_per_model")}
    sizes = {"total_models": found.total_models, "hours": found.hours, "devices": vars(found.devices)}
    return (
        plain
        | sizes
        | {
            "requests": vars(found.requests),
            "requests_per_model": vars(found.requests_per_model),
        }
    )
