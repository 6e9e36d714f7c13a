"""What the subcommand ``score`` does: ask suspects, whatever they are, or take answers that came back, and give the verdict."""

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any, TextIO

from zooaudit.audit.suspect_check import noticed, order_hint
from zooaudit.cli.audit import voice
from zooaudit.cli.suspects import Case, Scoring, open_suspect
from zooaudit.evidence.records import Together, keep
from zooaudit.kits.kit import answers_digest
from zooaudit.paper.fingerprint import ask
from zooaudit.storage.artifacts import existing_store
from zooaudit.verdict import wording
from zooaudit.verdict.decision import Asked, TwinVerdict, cannot_tell
from zooaudit.verdict.several import corrected
from zooaudit.verdict.twin_test import Examined


def score(args: argparse.Namespace, out: TextIO) -> int:
    """Ask suspects a kit's questions and give the verdict: by the twin test, by the paper's test, or both."""
    scoring = Scoring(args, voice(args), existing_store(args.store, writes=True))
    scoring.check()
    cases = [Case(name, scoring.artifact.id) for name in scoring.names]
    with ExitStack() as stack:
        for case in cases:
            scoring.attempt(case, partial(open_suspect, stack=stack))
        if args.method != "paper":
            _by_twins(scoring, cases)
        if args.method != "twins":
            for case in cases:
                scoring.attempt(case, _by_paper)
        for case in cases:
            if scoring.kit.trial:
                case.facts["trial"] = scoring.kit.trial
            if case.opened is not None:
                case.facts |= case.opened.facts()
    for case in cases:
        scoring.tell("", "done", **_flat(case.facts))
    _print_scores(cases, args, out)
    return min((case.trouble.exit_code for case in cases if case.trouble), default=0)


def _by_twins(scoring: Scoring, cases: Sequence[Case]) -> None:
    """The verdict of the twin test on each suspect, corrected for how many there are, and its evidence."""
    for case in cases:
        scoring.attempt(case, _examine)
        if case.verdict is None:
            case.verdict = _not_judged(scoring, case, f"not judged: {case.facts['error']}")
    args, alone = scoring.args, [case.verdict for case in cases if case.verdict]
    for i, (case, verdict) in enumerate(zip(cases, corrected(alone, args.correction), strict=True)):
        case.verdict = verdict
        case.facts |= wording.facts(verdict) | {"evidence": None}
        if case.examined and case.opened:
            together = Together(args.correction, tuple(v.p_value for v in alone), i)
            found, access = case.examined, args.access
            case.facts["evidence"] = keep(
                scoring.artifacts,
                scoring.artifact,
                case.shown,
                found,
                access,
                together,
                verdict,
                case.opened.sha256,
                case.opened.how,
                case.opened.answered,
            )
            if (
                case.opened.in_order
                and "hint" not in case.facts
                and (hint := order_hint(scoring.kit.twin_test, found.answers, case.opened))
            ):
                case.facts["hint"] = hint


def _examine(scoring: Scoring, case: Case) -> None:
    """One suspect by itself. Several are asked everything: their corrected p-values need it. Where nobody can be accused, nobody is asked:
    it may cost money."""
    args, test, opened = scoring.args, scoring.kit.twin_test, case.opened
    assert opened is not None

    def on_look(so_far: Examined) -> None:
        verdict = so_far.verdict
        scoring.tell("", "look", suspect=case.shown, queries=so_far.queries, decision=verdict.decision, p=verdict.p_value)

    if opened.answers is not None:
        case.examined = test.judge(opened.answers[: scoring.horizon], args.level, scoring.access, args.p_value, args.queries)
        on_look(case.examined)
    elif why := test.barred(args.level, args.p_value) or _objection(scoring, case):
        case.verdict = _not_judged(scoring, case, why)
        return
    else:
        early = not args.ask_everything and len(scoring.names) == 1
        case.examined = test.examine(opened.black_box, args.level, scoring.access, args.p_value, args.queries, early, on_look)
    case.verdict = case.examined.verdict


def _objection(scoring: Scoring, case: Case) -> str:
    """Why asking a suspect makes no sense after its first answers; what is worth saying beside a verdict goes into its facts."""
    if scoring.args.suspect_classes not in (None, scoring.kit.num_classes):
        return ""
    assert case.opened is not None
    found = noticed(scoring.kit.twin_test, case.opened, case.shown, scoring.args.ask_everything)
    case.facts |= {"hint": found.hint} if found.hint else {}
    return found.objection


def _not_judged(scoring: Scoring, case: Case, why: str) -> TwinVerdict:
    """Of a suspect with which something went wrong, or that there was no use in asking."""
    args, test = scoring.args, scoring.kit.twin_test
    level = test.level if args.level is None else args.level
    asked = Asked(args.access, case.opened.black_box.queries if case.opened and case.opened.answers is None else 0, scoring.horizon)
    return cannot_tell(why, test.twins, level, asked, args.p_value)


def _by_paper(scoring: Scoring, case: Case) -> None:
    kit, opened = scoring.kit, case.opened
    assert opened is not None
    answers = ask(opened.black_box, kit.questions()) if opened.answers is None else kit.shaped(opened.answers)
    _, verdict = kit.score_answers(case.shown, answers)
    data = {"encoder": kit.encoder_config.name, "queries": answers.shape[:3].numel(), **asdict(verdict)}
    case.facts["paper"] = data | {"answers_sha256": answers_digest(answers), "caution": kit.caution, "level": kit.verdict.level}


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    """For a line of a log: what the paper's test says under ``paper_``, and no lists."""
    inner = {f"paper_{k}": v for k, v in data.get("paper", {}).items()}
    return {k: v for k, v in (data | inner).items() if not isinstance(v, dict | list | tuple)}


def _print_scores(cases: Sequence[Case], args: argparse.Namespace, out: TextIO) -> None:
    if args.json:
        facts = [case.facts for case in cases]
        print(json.dumps(facts[0] if len(facts) == 1 else {"correction": args.correction, "suspects": facts}), file=out)
    elif args.log == "text":
        for case in cases:
            print("\n".join([case.shown] * (len(cases) > 1) + _lines(case)), file=out)


def _lines(case: Case) -> list[str]:
    result, lines = case.facts, wording.lines(case.verdict) if case.verdict else []
    if "trial" in result:
        lines.append(f"  {result['trial']}")
    if result.get("evidence"):
        lines.append(f"  evidence {result['evidence']}")
    if "charged" in result:
        lines.append(
            f"  charged {result['charged']} queries in all runs, {result['lost']} of them lost on the way; ledger {result['ledger']}"
        )
    if "hint" in result:
        lines.append(f"  hint: {result['hint']}")
    if "paper" in result:
        paper = result["paper"]
        lines.append(f"by the paper's test {paper['decision']}: {paper['reason']} ({paper['queries']} queries)")
        lines.append(f"  caution: {paper['caution']}")
    elif "error" in result and case.verdict is None:
        lines.append(f"by the paper's test nothing: {result['error']}")
    return lines
