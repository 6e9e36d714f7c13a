"""A wrong contract is noticed before it costs: on the first questions, whose right answers
everybody knows."""

from dataclasses import dataclass

from torch import Tensor

from zooaudit.errors import InputError
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.contracted import Contracted
from zooaudit.suspects.load import Loaded
from zooaudit.suspects.opened import OpenSuspect
from zooaudit.suspects.variants import Variant, variants
from zooaudit.verdict.class_order import other_order
from zooaudit.verdict.control import Control, control, control_questions
from zooaudit.verdict.twin_test import TwinTest

SAME = {
    "range": "'input.range=[0,1]'",
    "mean": "'input.mean=[0]'",
    "channels": "input.channels=rgb",
    "layout": "input.layout=nchw",
}
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


def noticed(test: TwinTest, opened: OpenSuspect, name: str, ask_everything: bool = False) -> Noticed:
    """Ask a suspect the control questions and see whether its answers make sense. A file is
    asked behind other contracts, too, to find the flag that makes sense of it; nothing is
    ever asked otherwise than was said. Of an API, which may cost money, asking ends where
    answers are no better than by chance, unless ``ask_everything``.

    Raises:
        InputError, SuspectError: it cannot be asked.
    """
    answers = opened.black_box.ask(control_questions(test)).cpu()
    if answers.shape[1] != test.num_classes:
        return Noticed()
    found = control(test, answers)
    if not found.poor:
        return Noticed()
    text = f"right on {found.right} of {found.asked} control images" + (
        ", no better than by chance" if found.at_chance else ""
    )
    paid = opened.loaded is None and not ask_everything
    if hint := order_hint(test, answers, opened):
        return Noticed(f"{text}; {hint}" if paid and found.at_chance else "", hint)
    if opened.loaded is not None:
        return _otherwise(test, opened, name, found, text)
    if not (found.at_chance and paid):
        return Noticed()
    why = "it may want its images in another form, or know another task; nothing more was asked"
    return Noticed(
        f"{text}: {why}: see docs/models.md for what may be said of it, or give --ask-everything (over HTTP"
        " ask_everything)"
    )


def order_hint(test: TwinTest, answers: Tensor, opened: OpenSuspect) -> str:
    """That a suspect's answers ``[n, K]`` fit another order of classes, and how that is
    said: of an API by a setting of its description, else by words of the contract; "" if
    they fit as they are, or if their order says nothing."""
    if not (columns := _order(test, answers, opened)):
        return ""
    setting = f"columns = {list(columns)}" if opened.ledger else f"--contract {_columns(columns)}"
    return f"its answers fit the images much better in another order of classes: {setting}"


def _columns(columns: tuple[int, ...]) -> str:
    return f"'classes.columns={list(columns)}'"


def _order(test: TwinTest, answers: Tensor, opened: OpenSuspect) -> tuple[int, ...]:
    """Where the suspect seems to have each class, among its own columns; empty if it is as
    was said, or nobody knows."""
    if opened.loaded is None:
        return other_order(test, answers) if opened.in_order else ()
    return _own(other_order(test, answers), opened.loaded)


def _own(columns: tuple[int, ...], loaded: Loaded) -> tuple[int, ...]:
    """Among all of a file's columns."""
    now = loaded.module.columns if isinstance(loaded.module, Contracted) else ()
    return tuple(now[c] if now else c for c in columns)


def _otherwise(test: TwinTest, opened: OpenSuspect, name: str, found: Control, text: str) -> Noticed:
    """Of a file: the one change to its contract that would make sense of it; or one, and
    another order of classes with it."""
    one: tuple[Variant, str, int] | None = None
    two: tuple[Variant, str, int] | None = None
    assert opened.loaded is not None and opened.asked is not None
    for variant in variants(opened.loaded, opened.asked):
        black_box = TorchBlackBox(variant.module, test.num_classes, name, opened.asked.reading)
        try:
            answers = black_box.ask(control_questions(test)).cpu()
        except InputError:  # it does not take that
            continue
        other = control(test, answers)
        if found.mended_by(other):
            one = max(one or (variant, "", 0), (variant, variant.flag, other.right), key=_right)
        elif columns := other_order(test, answers):
            both = f"{variant.flag} {_columns(_own(columns, opened.loaded))}"
            two = max(
                two or (variant, "", 0),
                (variant, both, control(test, answers[:, list(columns)]).right),
                key=_right,
            )
    if not (best := one or two):
        none = (
            f"it is {text}, and no one change of range, normalisation, channel order or layout makes sense"
            " of it"
        )
        return Noticed(hint=none if found.at_chance else "")
    variant, flags, right = best
    hint = f"it is {text}, with {flags} on {right}"
    if variant.said:  # otherwise, and so it stays
        return Noticed(hint=hint)
    return Noticed(
        f"{hint}: its contract seems to be wrong; give that, or say that it is right by --contract"
        f" {SAME[variant.changed]}",
        hint,
    )


def _right(change: tuple[Variant, str, int]) -> int:
    return change[2]
