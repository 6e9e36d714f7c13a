"""Notice a wrong contract before it costs queries: on the control questions, whose right answers are
known."""

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
"""The setting that confirms each default of a contract."""


@dataclass(frozen=True)
class Noticed:
    """What the control questions showed.

    Attributes:
        objection: why asking on makes no sense; "" if it does.
        hint: a note beside the verdict; "" without one.
    """

    objection: str = ""
    hint: str = ""


def noticed(test: TwinTest, opened: OpenSuspect, name: str, ask_everything: bool = False) -> Noticed:
    """Ask a suspect the control questions and see whether its answers make sense. A file is also asked behind
    other contracts, to suggest the flag that would help; the audit itself always uses the contract as given.
    An API, which may cost money, is asked no further if its answers are no better than chance, unless
    ``ask_everything``.

    Raises:
        InputError, SuspectError: the suspect cannot be asked.
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
    why = "it may expect images in another form, or know another task; nothing more was asked"
    return Noticed(
        f"{text}: {why}: see docs/models.md for the settings, or give --ask-everything (over HTTP"
        " ask_everything)"
    )


def order_hint(test: TwinTest, answers: Tensor, opened: OpenSuspect) -> str:
    """A hint that a suspect's answers ``[n, K]`` fit another order of classes, with the setting for it: for
    an API one of its description, else one of the contract; "" if they fit as they are, or if the order
    cannot be inferred."""
    if not (columns := _order(test, answers, opened)):
        return ""
    setting = f"columns = {list(columns)}" if opened.ledger else f"--contract {_columns(columns)}"
    return f"its answers fit the images much better in another order of classes: {setting}"


def _columns(columns: tuple[int, ...]) -> str:
    return f"'classes.columns={list(columns)}'"


def _order(test: TwinTest, answers: Tensor, opened: OpenSuspect) -> tuple[int, ...]:
    """Which of the suspect's columns seems to hold each class; empty if the order is as stated, or cannot be
    inferred."""
    if opened.loaded is None:
        return other_order(test, answers) if opened.in_order else ()
    return _own(other_order(test, answers), opened.loaded)


def _own(columns: tuple[int, ...], loaded: Loaded) -> tuple[int, ...]:
    """The columns' numbers among all of a file's columns."""
    now = loaded.module.columns if isinstance(loaded.module, Contracted) else ()
    return tuple(now[c] if now else c for c in columns)


def _otherwise(test: TwinTest, opened: OpenSuspect, name: str, found: Control, text: str) -> Noticed:
    """For a file: the one change to its contract that would make sense of it, perhaps together with another
    order of classes."""
    one: tuple[Variant, str, int] | None = None
    two: tuple[Variant, str, int] | None = None
    assert opened.loaded is not None and opened.asked is not None
    for variant in variants(opened.loaded, opened.asked):
        black_box = TorchBlackBox(variant.module, test.num_classes, name, opened.asked.reading)
        try:
            answers = black_box.ask(control_questions(test)).cpu()
        except InputError:  # the model does not take such inputs
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
    if variant.stated:  # the user stated otherwise, so it is not changed
        return Noticed(hint=hint)
    return Noticed(
        f"{hint}: its contract seems to be wrong; change it, or confirm it by --contract"
        f" {SAME[variant.changed]}",
        hint,
    )


def _right(change: tuple[Variant, str, int]) -> int:
    return change[2]
