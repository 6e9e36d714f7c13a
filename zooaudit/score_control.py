"""A wrong contract is noticed before it costs: on the first questions, whose right answers everybody knows."""

from dataclasses import dataclass

from torch import Tensor

from zooaudit.errors import InputError
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.contracted import Contracted
from zooaudit.suspects.door import Door
from zooaudit.suspects.variants import Variant, variants
from zooaudit.verdict.control import Control, control, control_questions
from zooaudit.verdict.twin_test import TwinTest

SAME = {"range": "'input.range=[0,1]'", "mean": "'input.mean=[0]'", "channels": "input.channels=rgb", "layout": "input.layout=nchw"}
"""How it is said that what was not said is meant."""


@dataclass(frozen=True)
class Noticed:
    """What the control questions showed.

    Attributes:
        objection: why asking any further makes no sense; "" if it does.
        hint: what is worth saying beside a verdict; "" if nothing is.
    """

    objection: str = ""
    hint: str = ""


def noticed(test: TwinTest, door: Door, name: str, ask_everything: bool = False) -> Noticed:
    """Ask a suspect the control questions and see whether its answers make sense. A file is asked behind other contracts, too, to find the
    flag that makes sense of it; nothing is ever asked otherwise than was said. Of an API, which may cost money, asking ends where answers
    are no better than by chance, unless ``ask_everything``.

    Raises:
        InputError, SuspectError: it cannot be asked.
    """
    answers = door.box.ask(control_questions(test)).cpu()
    if answers.shape[1] != test.num_classes:
        return Noticed()
    found = control(test, answers)
    if not found.poor:
        return Noticed()
    told = f"right on {found.right} of {found.asked} control images" + (", no better than by chance" if found.at_chance else "")
    paid = door.loaded is None and not ask_everything
    if columns := _order(test, answers, door):
        flag = "" if door.loaded is None else "--contract classes."
        hint = f"its answers fit the images much better in another order of classes: {flag}columns = {list(columns)}"
        return Noticed(f"{told}; {hint}" if paid and found.at_chance else "", hint)
    if door.loaded is not None:
        return _otherwise(test, door, name, found, told)
    if not (found.at_chance and paid):
        return Noticed()
    why = "it may want its images in another form, or know another task; nothing more was asked"
    return Noticed(f"{told}: {why}: see docs/models.md for what may be said of it, or give --ask-everything")


def _order(test: TwinTest, answers: Tensor, door: Door) -> tuple[int, ...]:
    """Where the suspect seems to have each class, among its own columns; empty if it is as was said, or nobody knows."""
    if door.loaded is None:
        return test.other_order(answers) if door.in_order else ()
    now = door.loaded.module.columns if isinstance(door.loaded.module, Contracted) else ()
    return tuple(now[c] if now else c for c in test.other_order(answers))


def _otherwise(test: TwinTest, door: Door, name: str, found: Control, told: str) -> Noticed:
    """Of a file: the one change to its contract that would make sense of it."""
    best: tuple[Variant, Control] | None = None
    assert door.loaded is not None and door.asked is not None
    for variant in variants(door.loaded, door.asked):
        box = TorchBlackBox(variant.module, test.num_classes, name, door.asked.reading)
        try:
            other = control(test, box.ask(control_questions(test)).cpu())
        except InputError:  # it does not take that
            continue
        if found.mended_by(other) and (best is None or other.right > best[1].right):
            best = variant, other
    if best is None:
        none = f"it is {told}, and no one change of range, normalisation, channel order or layout makes sense of it"
        return Noticed(hint=none if found.at_chance else "")
    variant, other = best
    hint = f"it is {told}, with {variant.flag} on {other.right}"
    if variant.said:  # otherwise, and so it stays
        return Noticed(hint=hint)
    return Noticed(
        f"{hint}: its contract seems to be wrong; give that, or say that it is right by --contract {SAME[variant.changed]}", hint
    )
