"""What the subcommand ``score`` does: ask suspects, whatever they are, or take answers that came back, and give the verdict."""

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from zooaudit.commands import voice
from zooaudit.console import Voice
from zooaudit.errors import ConfigError
from zooaudit.evidence.keeping import SEEN, Together, keep
from zooaudit.fingerprint.access import EXPECTED, Access
from zooaudit.fingerprint.answers import ask
from zooaudit.kit import Kit, answers_digest, find_kit, read_kit
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts, open_store
from zooaudit.suspects.door import ANSWERS, Door, How
from zooaudit.verdict.calibrated import Calibrated
from zooaudit.verdict.many import CORRECTIONS, corrected
from zooaudit.verdict.probe import Examined

EXAMPLE = """zooaudit score --store ./store --kit 4f2a --suspect theirs.safetensors --factory their_package.nets:make
  zooaudit score --store ./store --kit 4f2a --suspect https://models.example/v2/models/shirts/infer
  zooaudit score --store ./store --kit 4f2a --answers answers.parquet"""


def score(args: argparse.Namespace, out: TextIO) -> int:
    """Ask suspects a kit's questions and give the verdict: calibrated, by the paper's test, or both."""
    tell = voice(args)
    artifacts = open_store(args.store)
    artifact = find_kit(artifacts, args.kit)
    found = read_kit(artifact)
    names = _names(args)
    for name in names:
        tell("", "started", suspect=name, kit=artifact.id, store=args.store, method=args.method, budget=_needed(args, found))
    facts: dict[str, dict[str, Any]] = {name: {"suspect": name, "kit": artifact.id} for name in names}
    with ExitStack() as stack:
        doors = {name: stack.enter_context(_door(name, args, artifact.id, found, tell)) for name in names}
        if args.method != "paper":
            for name, told in _calibrated(args, artifacts, artifact, found, doors, tell).items():
                facts[name] |= told
        if args.method != "calibrated":
            for name, door in doors.items():
                facts[name] |= _by_paper(found, name, door)
    for told in facts.values():
        tell("", "done", **_flat(told))
    _print_scores(list(facts.values()), args, out)
    return 0


def _names(args: argparse.Namespace) -> list[str]:
    """Of suspects to ask, and of files with answers."""
    names = [*(args.suspect or []), *(args.answers or [])]
    if not names:
        raise ConfigError("whom do you suspect? give --suspect (a file, an address, or a .toml that describes one), or --answers")
    if len(set(names)) < len(names):
        raise ConfigError("a suspect is named twice; each counts once")
    if args.budget is not None and args.budget < 1:
        raise ConfigError(f"--budget is {args.budget}; expected a number of queries, 1 at least")
    if args.answers and args.method == "both":
        raise ConfigError("answers are to one method's questions: give --method calibrated (the default) or --method paper")
    return names


def _needed(args: argparse.Namespace, found: Kit) -> int:
    """Queries that the method takes at most."""
    paper = found.victim_answers.shape[:3].numel()
    return {"calibrated": found.probe.budget, "paper": paper, "both": found.probe.budget + paper}[args.method]


def _door(name: str, args: argparse.Namespace, kit: str, found: Kit, tell: Voice) -> Door:
    """How one suspect is asked."""
    kind = ANSWERS if name in (args.answers or []) else ""
    budget = _needed(args, found) if args.budget is None else args.budget
    how = How(
        kit, found.image_shape, found.classes, args.access != SEEN, args.factory, budget,
        Path(args.ledger) if args.ledger else None, kind,
    )  # fmt: skip
    door = Door.to(name, how)
    if door.ledger:
        tell(f"{name}: answers are kept in {door.ledger}", "ledger", suspect=name, ledger=str(door.ledger))
    return door


def _flat(told: dict[str, Any]) -> dict[str, Any]:
    """For a line of a log: what the paper's test says under ``paper_``, and no lists."""
    inner = {f"paper_{k}": v for k, v in told.get("paper", {}).items()}
    return {k: v for k, v in (told | inner).items() if not isinstance(v, dict | list | tuple)}


def _calibrated(
    args: argparse.Namespace, artifacts: Artifacts, artifact: Artifact, found: Kit, doors: dict[str, Door], tell: Voice
) -> dict[str, dict[str, Any]]:
    """By suspect: the calibrated verdict, corrected for how many there are. Several are asked everything: their corrected p needs it."""
    access = None if args.access == SEEN else Access.named(args.access)
    early = not args.ask_everything and len(doors) == 1
    examined: dict[str, Examined] = {}
    for name, door in doors.items():

        def told(so_far: Examined, name: str = name) -> None:
            tell("", "look", suspect=name, queries=so_far.queries, call=so_far.verdict.call, p=so_far.verdict.p_value)

        if door.answers is not None:
            examined[name] = found.probe.judge(door.answers, args.level, access)
            told(examined[name])
        else:
            examined[name] = found.probe.examine(door.box, args.level, access, early=early, told=told)
    alone = [e.verdict for e in examined.values()]
    verdicts = corrected(alone, args.correction)
    facts = {}
    for i, (name, verdict) in enumerate(zip(examined, verdicts, strict=True)):
        together = Together(args.correction, tuple(v.p_value for v in alone), i)
        kept = keep(artifacts, artifact, name, examined[name], args.access, together, verdict, doors[name].sha256)
        facts[name] = (
            _told(verdict, examined[name], kept) | doors[name].told() | (_hint(found, examined[name]) if doors[name].in_order else {})
        )
    return facts


def _hint(found: Kit, examined: Examined) -> dict[str, Any]:
    """Whether the suspect seems to name its classes in another order than it is said to."""
    columns = found.probe.other_order(examined.answers)
    return {"hint": f"its answers fit the images much better in another order of classes: columns = {list(columns)}"} if columns else {}


def _told(verdict: Calibrated, examined: Examined, kept: str) -> dict[str, Any]:
    plain = asdict(verdict)
    return plain | {
        "call": str(verdict.call),
        "families": list(plain["families"]),
        "score": examined.score,
        "access": examined.access.name,
        "queries": examined.queries,
        "budget": examined.budget,
        "evidence": kept,
    }


def _by_paper(found: Kit, name: str, door: Door) -> dict[str, Any]:
    answers = ask(door.box, found.questions()) if door.answers is None else found.shaped(door.answers)
    _, verdict = found.score_answers(name, answers)
    told = {"encoder": found.encoder_config.name, "queries": answers.shape[:3].numel(), **asdict(verdict)}
    return {"paper": told | {"answers_sha256": answers_digest(answers), "caution": found.caution}}


def _print_scores(facts: Sequence[dict[str, Any]], args: argparse.Namespace, out: TextIO) -> None:
    if args.json:
        print(json.dumps(facts[0] if len(facts) == 1 else {"correction": args.correction, "suspects": facts}), file=out)
    elif args.log == "text":
        for told in facts:
            print("\n".join(_lines(told, len(facts) > 1)), file=out)


def _lines(told: dict[str, Any], named: bool) -> list[str]:
    lines = [told["suspect"]] if named else []
    if "call" in told:
        lines.append(f"{told['call']}: {told['reason']}")
        lines.append(
            f"  score {told['score']:.2f} (0 as innocent models, 1 as known copies), {told['queries']} of at most {told['budget']} queries"
        )
        lines.append(f"  answers are read as {told['access']}; evidence {told['evidence']}")
        if "charged" in told:
            lines.append(
                f"  charged {told['charged']} queries in all runs, {told['lost']} of them lost on the way; ledger {told['ledger']}"
            )
        if "hint" in told:
            lines.append(f"  hint: {told['hint']}")
    if "paper" in told:
        paper = told["paper"]
        lines.append(f"by the paper's test {paper['decision']}: {paper['reason']} ({paper['queries']} queries)")
        lines.append(f"  caution: {paper['caution']}")
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``score``."""
    add = parser.add_argument
    add("--kit", metavar="ID", required=True, help="the victim's audit kit, by its id or the start of it")
    add(
        "--suspect", metavar="WHAT", nargs="+",
        help="the suspect: .safetensors weights (with --factory), a torch.export .pt2, an .onnx graph, the address of a prediction API, or "
        "a .toml that describes one; several are asked everything and judged together",
    )  # fmt: skip
    add(
        "--answers", metavar="FILE", nargs="+",
        help="answers that came back to 'zooaudit kit queries': Parquet, CSV or JSON with the columns query and probabilities, or label",
    )  # fmt: skip
    add("--factory", metavar="MODULE:NAME", help="callable without arguments that builds the suspects' module")
    add(
        "--method", choices=("calibrated", "paper", "both"), default="calibrated",
        help="calibrated: stolen, not shown or cannot tell, at a rate of false accusations that is stated, with few queries; "
        "paper: the t-test of the paper, which accuses innocent look-alikes (default: %(default)s)",
    )  # fmt: skip
    add(
        "--level",
        type=float,
        metavar="L",
        help="share of innocent models that may be accused; below 1 / (references + 1) nobody is (default: the kit's)",
    )
    add(
        "--access", default=SEEN, metavar="RUNG",
        help=f"what the suspect tells: {EXPECTED}; its outputs are then taken as they are. seen: logits, or whole probabilities, "
        "read as what the first of them look like (default: %(default)s)",
    )  # fmt: skip
    add("--ask-everything", action="store_true", help="ask all questions, even when the call is made already")
    add("--budget", type=int, metavar="N", help="queries an API may be charged at most, over all runs (default: what the method takes)")
    add(
        "--ledger", metavar="FILE",
        help="where an API's answers are kept as they come, so that none is paid twice (default: ./ledgers/KIT-SUSPECT.sqlite)",
    )  # fmt: skip
    add(
        "--correction", choices=CORRECTIONS, default="holm",
        help="of several suspects: holm bounds the chance that any innocent is accused, bh the share of innocents among the accused "
        "(default: %(default)s)",
    )  # fmt: skip
