"""The subcommand ``score``: read arguments, score the suspects, print."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from zooaudit.cli.audit import notifier
from zooaudit.kits.kit import find_kit
from zooaudit.scoring.scoring import Scoring, check
from zooaudit.scoring.settings import ScoreSettings
from zooaudit.scoring.suspects import Case, Named, Opening
from zooaudit.storage.opening import existing_store
from zooaudit.suspects.contract import Contract
from zooaudit.suspects.contract_files import read_contract
from zooaudit.verdict import wording


def score(args: argparse.Namespace, out: TextIO) -> int:
    """Ask suspects a kit's questions and give the verdict: by the twin test, by the paper's test, or both."""
    artifacts = existing_store(args.store, writes=True)
    suspects = [*map(Named, args.suspect or []), *(Named(name, answers=True) for name in args.answers or [])]
    settings = ScoreSettings(
        args.method,
        args.level,
        args.access,
        args.p_value,
        args.queries,
        args.ask_everything,
        args.suspect_classes,
        args.correction,
        args.budget,
    )
    opening = Opening(
        args.factory,
        read_contract(args.contract) if args.contract else Contract(),
        Path(args.ledger) if args.ledger else None,
        frozenset(args.allow_key_env or ()),
    )
    check(suspects, settings)
    cases = Scoring.of(artifacts, find_kit(artifacts, args.kit), settings, opening, notifier(args)).score(
        suspects
    )
    _print_scores(cases, args, out)
    return min((case.trouble.exit_code for case in cases if case.trouble), default=0)


def _print_scores(cases: Sequence[Case], args: argparse.Namespace, out: TextIO) -> None:
    if args.json:
        facts = [case.facts for case in cases]
        print(
            json.dumps(facts[0] if len(facts) == 1 else {"correction": args.correction, "suspects": facts}),
            file=out,
        )
    elif args.log == "text":
        for case in cases:
            print("\n".join([case.shown] * (len(cases) > 1) + lines(case)), file=out)


def lines(case: Case) -> list[str]:
    """Format a case for people."""
    facts, found = case.facts, wording.lines(case.verdict) if case.verdict else []
    if "trial" in facts:
        found.append(f"  {facts['trial']}")
    if facts.get("evidence"):
        found.append(f"  evidence {facts['evidence']}")
    if "charged" in facts:
        found.append(
            f"  charged {facts['charged']} queries in all runs, {facts['lost']} of them lost on the way;"
            f" ledger {facts['ledger']}"
        )
    if "hint" in facts:
        found.append(f"  hint: {facts['hint']}")
    if "paper" in facts:
        paper = facts["paper"]
        found.append(
            f"by the paper's test {paper['decision']}: {paper['reason']} ({paper['queries']} queries)"
        )
        found.append(f"  caution: {paper['caution']}")
    elif "error" in facts and case.verdict is None:
        found.append(f"the paper's test was not made: {facts['error']}")
    return found
