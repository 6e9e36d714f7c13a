"""A wrong contract is noticed before it costs: on the first questions, whose answers everybody knows."""

from typing import Any

from zooaudit.errors import InputError
from zooaudit.score_cases import Case, Scoring
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.variants import variants
from zooaudit.verdict.control import Control, control, control_questions


def objection(scoring: Scoring, case: Case) -> str:
    """Why asking a suspect any further makes no sense; empty if it does. What is worth saying beside that goes into the case's facts.

    Nothing is ever asked otherwise than was said: the flag that would is named. Of a file, other contracts are tried on the control
    questions. Of an API, which may cost money, asking ends here where its answers are no better than chance.
    """
    test, door = scoring.kit.twin_test, case.door
    assert door is not None
    if scoring.args.suspect_classes not in (None, test.num_classes):
        return ""
    answers = door.box.ask(control_questions(test)).cpu()
    found = control(test, answers)
    if not found.poor:
        return ""
    told = f"right on {found.right} of {found.asked} control images" + (", no better than by chance" if found.at_chance else "")
    if columns := test.other_order(answers):
        case.facts["hint"] = _order(columns, door.loaded is not None)
        return f"{told}; {case.facts['hint']}" if door.ledger and not scoring.args.ask_everything else ""
    if door.loaded is not None:
        return _otherwise(scoring, case, found, told)
    if found.at_chance and not scoring.args.ask_everything:
        how = "see docs/models.md for what a contract may say, or give --ask-everything"
        return f"{told}: it may want its images in another form, or know another task; nothing more was asked: {how}"
    return ""


def _order(columns: tuple[int, ...], is_file: bool) -> str:
    flag = "--contract classes." if is_file else ""
    return f"its answers fit the images much better in another order of classes: {flag}columns = {list(columns)}"


def _otherwise(scoring: Scoring, case: Case, found: Control, told: str) -> str:
    """Of a file: the one change to its contract that would make sense of it."""
    door, test, images = case.door, scoring.kit.twin_test, control_questions(scoring.kit.twin_test)
    assert door is not None and door.loaded is not None and door.asked is not None
    best: tuple[int, Any] = (0, None)
    for variant in variants(door.loaded, door.asked):
        try:
            other = control(test, TorchBlackBox(variant.module, test.num_classes, case.name, door.asked.reading).ask(images).cpu())
        except InputError:  # it does not take that
            continue
        if found.mended_by(other) and other.right > best[0]:
            best = (other.right, variant)
    right, variant = best
    if variant is None:
        if found.at_chance:
            case.facts["hint"] = f"it is {told}, and no one change of range, normalisation, channel order or layout makes sense of it"
        return ""
    hint = f"it is {told}, with {variant.flag} on {right}"
    if variant.said:  # it was said otherwise, and stays so
        case.facts["hint"] = hint
        return ""
    return f"{hint}: its contract seems to be wrong; give that, or say that it is as it was: --contract {_as_it_was(variant.flag)}"


def _as_it_was(flag: str) -> str:
    name = flag.partition("input.")[2].partition("=")[0]
    return {
        "range": "'input.range=[0,1]'", "mean": "'input.mean=[0]'", "channels": "input.channels=rgb", "layout": "input.layout=nchw",
    }.get(name, "input.range=[0,1]")  # fmt: skip
