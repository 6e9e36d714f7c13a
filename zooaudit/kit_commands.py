"""What the subcommands around a kit do: show and commit it, score suspects, pack and check the evidence."""

import argparse
import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from zooaudit.commands import chosen_farm, voice
from zooaudit.compute import pick_device
from zooaudit.console import Voice
from zooaudit.data.resolve import resolve
from zooaudit.errors import ConfigError, InputError
from zooaudit.evidence import checks, packs
from zooaudit.evidence.keeping import SEEN, Together, commitment, keep
from zooaudit.evidence.models import Trial, crosscheck
from zooaudit.fingerprint.access import EXPECTED, Access
from zooaudit.fingerprint.answers import ask
from zooaudit.kit import KIND, Kit, answers_digest, find_kit, read_kit
from zooaudit.recipes import recipe_from
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts, open_store
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.load import load_model
from zooaudit.verdict.calibrated import Calibrated
from zooaudit.verdict.many import CORRECTIONS, corrected
from zooaudit.verdict.probe import Examined

REJECTED = 6
EVIDENCE_EXAMPLE = """zooaudit evidence export case.zip --store ./store --evidence 9c01 --with-victim
  zooaudit evidence verify case.zip --store ./mine --commitment 5e8f... --with-models"""


def kit(args: argparse.Namespace, out: TextIO) -> int:
    """List the kits of a store, show one, or commit to one before a suspect is asked."""
    artifacts = open_store(args.store)
    if not args.kit:
        if args.action == "commit":
            raise ConfigError("--kit is missing: which kit do you commit to? 'zooaudit kit' lists them")
        listed = artifacts.ids(KIND)
        print(json.dumps(listed) if args.json else "\n".join(listed) or "no kits yet: run zooaudit audit", file=out)
        return 0
    artifact = find_kit(artifacts, args.kit)
    facts = commitment(artifact, args.level, args.access) if args.action == "commit" else _facts(read_kit(artifact))
    print(json.dumps(facts) if args.json else "\n".join(f"{k:<14} {v}" for k, v in facts.items()), file=out)
    return 0


def _facts(found: Kit) -> dict[str, Any]:
    views, points = found.points.shape[:2]
    probe = found.probe
    shown = {k: v for k, v in found.facts.items() if k != "recipe"}
    return {
        "victim": found.victim,
        "image_shape": list(found.image_shape),
        "num_classes": found.num_classes,
        "level": probe.level,
        "budget": probe.budget,
        "checks": probe.checks,
        "references": len(probe.references),
        "copies": len(probe.copies),
        "encoder": found.encoder_config.name,
        "views": views,
        "points": points,
        "queries": views * points * 2,
        "paper_references": len(found.reference_ids),
        **shown,
    }


def score(args: argparse.Namespace, out: TextIO) -> int:
    """Ask suspects a kit's questions and give the verdict: calibrated, by the paper's test, or both."""
    tell = voice(args)
    artifacts = open_store(args.store)
    artifact = find_kit(artifacts, args.kit)
    found = read_kit(artifact)
    if len(set(args.suspect)) < len(args.suspect):
        raise ConfigError("a suspect is named twice; each counts once")
    for name in args.suspect:
        tell("", "started", suspect=name, kit=artifact.id, store=args.store, method=args.method, budget=found.probe.budget)
    boxes = {name: _box(name, args, found) for name in args.suspect}
    facts: dict[str, dict[str, Any]] = {name: {"suspect": name, "kit": artifact.id} for name in boxes}
    if args.method != "paper":
        for name, told in _calibrated(args, artifacts, artifact, found, boxes, tell).items():
            facts[name] |= told
    if args.method != "calibrated":
        for name, box in boxes.items():
            facts[name] |= _by_paper(found, name, box)
    for told in facts.values():
        tell("", "done", **_flat(told))
    _print_scores(list(facts.values()), args, out)
    return 0


def _flat(told: dict[str, Any]) -> dict[str, Any]:
    """For a line of a log: what the paper's test says under ``paper_``, and no lists."""
    inner = {f"paper_{k}": v for k, v in told.get("paper", {}).items()}
    return {k: v for k, v in (told | inner).items() if not isinstance(v, dict | list | tuple)}


def _box(name: str, args: argparse.Namespace, found: Kit) -> TorchBlackBox:
    module = load_model(Path(name), args.factory, found.image_shape, found.num_classes)
    return TorchBlackBox(module, found.num_classes, name, reading="guess" if args.access == SEEN else "told")


def _calibrated(
    args: argparse.Namespace, artifacts: Artifacts, artifact: Artifact, found: Kit, boxes: dict[str, TorchBlackBox], tell: Voice
) -> dict[str, dict[str, Any]]:
    """By suspect: the calibrated verdict, corrected for how many there are. Several are asked everything: their corrected p needs it."""
    access = None if args.access == SEEN else Access.named(args.access)
    early = not args.ask_everything and len(boxes) == 1
    examined: dict[str, Examined] = {}
    for name, box in boxes.items():

        def told(so_far: Examined, name: str = name) -> None:
            tell("", "look", suspect=name, queries=so_far.queries, call=so_far.verdict.call, p=so_far.verdict.p_value)

        examined[name] = found.probe.examine(box, args.level, access, early=early, told=told)
    alone = [e.verdict for e in examined.values()]
    verdicts = corrected(alone, args.correction)
    facts = {}
    for i, (name, verdict) in enumerate(zip(examined, verdicts, strict=True)):
        together = Together(args.correction, tuple(v.p_value for v in alone), i)
        sha256 = hashlib.sha256(Path(name).read_bytes()).hexdigest()
        kept = keep(artifacts, artifact, name, examined[name], args.access, together, verdict, sha256)
        facts[name] = _told(verdict, examined[name], kept)
    return facts


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


def _by_paper(found: Kit, name: str, box: TorchBlackBox) -> dict[str, Any]:
    before = box.queries
    answers = ask(box, found.questions())
    _, verdict = found.score_answers(name, answers)
    told = {"encoder": found.encoder_config.name, "queries": box.queries - before, **asdict(verdict)}
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
    if "paper" in told:
        paper = told["paper"]
        lines.append(f"by the paper's test {paper['decision']}: {paper['reason']} ({paper['queries']} queries)")
        lines.append(f"  caution: {paper['caution']}")
    return lines


def evidence_command(args: argparse.Namespace, out: TextIO) -> int:
    """Pack the evidence of a score for somebody else, or check such a pack."""
    return _export(args, out) if args.action == "export" else _verify(args, out)


def _export(args: argparse.Namespace, out: TextIO) -> int:
    if not args.evidence:
        raise ConfigError("--evidence is missing: the id that 'zooaudit score' printed")
    packed = packs.export(open_store(args.store), args.evidence, Path(args.pack), args.with_victim)
    facts = {"pack": str(packed), "bytes": packed.stat().st_size, "with_victim": args.with_victim}
    print(json.dumps(facts) if args.json else f"{packed}: {facts['bytes']:,} bytes", file=out)
    return 0


def _verify(args: argparse.Namespace, out: TextIO) -> int:
    with packs.opened(Path(args.pack)) as pack:
        opened = packs.Opened.of(pack)
        found = checks.recomputed(opened, args.commitment or "")
        if args.with_models:
            found += _with_models(args, opened, pack)
        else:
            found.append(checks.Finding("models", None, "give --with-models to test the kit on models of your own"))
    rejected = [f for f in found if f.passed is False]
    facts = {
        "pack": args.pack,
        "rejected": bool(rejected),
        "suspect": opened.evidence.meta["suspect"],
        "findings": [asdict(f) for f in found],
    }
    if args.json:
        print(json.dumps(facts), file=out)
    else:
        for f in found:
            print(f"{'-' if f.passed is None else 'ok' if f.passed else 'REJECTED':<9} {f.check:<20} {f.told}", file=out)
        print("rejected: " + ", ".join(f.check for f in rejected) if rejected else "nothing speaks against it", file=out)
    return REJECTED if rejected else 0


def _with_models(args: argparse.Namespace, opened: packs.Opened, pack: Artifacts) -> list[checks.Finding]:
    tell = voice(args)
    if not pack.has("model", opened.kit.victim):
        raise InputError("the pack lacks the victim's weights; have it exported with --with-victim, or leave out --with-models")
    stated = opened.kit.facts.get("recipe", {})
    dataset = resolve(recipe_from(stated).dataset, Path(args.data) if args.data else None, say=tell).to(pick_device())
    _refuse_factory(args, opened, pack)
    trial = Trial(args.independents, args.copies, secrets.randbelow(2**63) if args.seed is None else args.seed)
    tell(f"seed of the checker's models: {trial.seed}", "seed", seed=trial.seed)
    return crosscheck(opened, pack, dataset, open_store(args.store), chosen_farm(args), tell.watch, trial)


def _refuse_factory(args: argparse.Namespace, opened: packs.Opened, pack: Artifacts) -> None:
    """A pack must not choose which code runs here: a victim's factory has to be named by whoever checks."""
    factory = pack.load("model", opened.kit.victim).meta.get("factory")
    if factory and factory != args.factory:
        raise InputError(f"the victim is built by {factory!r}, code that would run here; look at it, then allow it by --factory {factory}")


def add_kit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=("show", "commit"), default="show",
        help="show: list kits, or one; commit: the digest of kit, level and code, to be timestamped before a suspect is asked",
    )  # fmt: skip
    parser.add_argument("--kit", metavar="ID", help="the kit, by its id or the start of it (default: list all)")
    parser.add_argument(
        "--level", type=float, metavar="L", help="with commit: the level that suspects will be scored at (default: the kit's)"
    )
    parser.add_argument("--access", default=SEEN, metavar="RUNG", help="with commit: as 'zooaudit score --access' (%(default)s)")


def add_score_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--kit", metavar="ID", required=True, help="the victim's audit kit, by its id or the start of it")
    add(
        "--suspect", metavar="FILE", required=True, nargs="+",
        help="the suspect: .safetensors weights (with --factory) or a torch.export .pt2; several are asked everything and judged together",
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
        "--access", default="seen", metavar="RUNG",
        help=f"what the suspect tells: {EXPECTED}; its outputs are then taken as they are. seen: logits, or whole probabilities, "
        "read as what the first of them look like (default: %(default)s)",
    )  # fmt: skip
    add("--ask-everything", action="store_true", help="ask all questions, even when the call is made already")
    add(
        "--correction", choices=CORRECTIONS, default="holm",
        help="of several suspects: holm bounds the chance that any innocent is accused, bh the share of innocents among the accused "
        "(default: %(default)s)",
    )  # fmt: skip


def add_evidence_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("action", choices=("export", "verify"), help="export: pack answers, kit and verdict; verify: check a pack, from anybody")
    add("pack", metavar="FILE", help="the pack")
    add("--evidence", metavar="ID", help="with export: the id that 'zooaudit score' printed, or the start of it")
    add(
        "--with-victim",
        action="store_true",
        help="with export: the victim's weights too, so that the kit can be tested on the checker's models",
    )
    add("--commitment", metavar="HEX", help="with verify: what was timestamped before the suspect was asked")
    add(
        "--with-models", action="store_true",
        help="with verify: make the UAP again, and train innocent models and copies of the victim in --store to test the kit on",
    )  # fmt: skip
    add("--data", metavar="DIR", help="with --with-models: the victim's data, where it is not one that zooaudit finds by name")
    add("--factory", metavar="MODULE:NAME", help="with --with-models: allow the pack's victim to be built by this callable")
    add("--seed", type=int, help="of the checker's models, to repeat a check (default: one that nobody can know beforehand)")
    add(
        "--independents",
        type=int,
        default=Trial.independents,
        metavar="N",
        help="innocent models to train (default: %(default)s)",
    )
    add("--copies", type=int, default=Trial.copies, metavar="N", help="copies of the victim to extract (default: %(default)s)")
