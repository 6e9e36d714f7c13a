"""A plan's notes on its figures: what can be accused, what takes longest, what is unknown."""

from zooaudit.planning.given import Devices, OwnVictim
from zooaudit.planning.measured import Domain, kind, measured
from zooaudit.verdict.decision import too_few
from zooaudit.verdict.ranking import smallest_p, suspects_at_once, twins_for
from zooaudit.zoo.plan import Plan


def accusing(twins: int, level: float) -> tuple[str, ...]:
    """Whether the kit will be able to accuse anybody, and how many suspects at once, if all twins learn."""
    if why := too_few(twins, level):
        return (f"its kit can accuse nobody, every verdict is 'cannot tell': {why}",)
    most = suspects_at_once(twins, level)
    text = (
        f"{twins} twins allow p-values down to {smallest_p(twins):.2g}, level {level:g}: it can accuse one of"
        f" at most {most} "
    )
    return (
        (
            f"{text}{'suspect' if most == 1 else 'suspects'} at once (Holm); {most + 1} take"
            f" {twins_for(level / (most + 1))} twins"
        ),
    )


def of_own(twins: int, own: OwnVictim | None) -> tuple[str, ...]:
    """What is unknown about the user's own victim and its twins."""
    if own is None or not twins:
        return ()
    if own.twin_seconds is None:
        rows = [
            f"how long your own procedure takes for each of {twins} twins is not in these hours: time one,"
            " and give --twin-seconds"
        ]
    else:
        rows = [f"{twins} twins by your own procedure take {own.twin_seconds:g} s each, as you said"]
    if not own.factory:
        rows.append("the size of your victim and its twins is not in the storage: give --factory")
    return tuple(rows)


def notes(plan: Plan, domain: Domain, devices: Devices) -> tuple[str, ...]:
    known = measured()
    notes = [
        (
            f"times are from {known.audits} audits by {known.recipe} on {known.hardware} (commit"
            f" {known.commit}, {known.date[:10]}), by architecture and attack, scaled by the work; a model"
            " that must be tried twice takes twice as long"
        ),
        (
            f"no more than {known.models} models and 2 cores were measured at once: what is larger is"
            " extrapolated"
        ),
    ]
    if devices.what != "CPU cores":
        notes.append(
            f"GPU hours are CPU core seconds divided by {devices.speedup:g}, the factor that you gave: there"
            " is no measurement on a GPU yet"
        )
    own = known.seconds_per_1e12_work.get(domain.name, {})
    if source := known.zoos.get(domain.name):
        notes.append(
            f"models on {domain.name} were measured in one zoo of {source['recipe']} ({source['models']}"
            f" models, {source['hardware']}, commit {source['commit']}, {source['date'][:10]}), the time"
            f" around them was not: it is that of {known.dataset}"
        )
    elif not own:
        notes.append(
            f"nothing was measured on {domain.name}: scaled by the work from other data, too low for much"
            " smaller images"
        )
    elif domain.name != known.dataset:
        notes.append(
            f"models on {domain.name} were measured, the time around them was not: it is that of"
            f" {known.dataset}"
        )
    needed, there = {kind(s) for s in plan.specs if s.own_training is None}, known.rates(domain.name).keys()
    if own and (elsewhere := sorted((needed & there) - own.keys())):
        notes.append(
            "measured on other data only, so counted at the slower of that rate and this data's slowest:"
            f" {', '.join(elsewhere)}"
        )
    unknown = sorted(needed - there)
    if unknown:
        notes.append(f"not measured, so counted at the slowest measured rate: {', '.join(unknown)}")
    return tuple(notes)
