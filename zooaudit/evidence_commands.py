"""What the subcommand around evidence does: pack it for somebody else, check such a pack."""

import argparse
import json
import secrets
from dataclasses import asdict, replace
from pathlib import Path
from typing import TextIO

from zooaudit import own_data
from zooaudit.commands import chosen_farm, voice
from zooaudit.compute import pick_device
from zooaudit.config import OwnTraining, Start
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, InputError
from zooaudit.evidence import checks, packs
from zooaudit.evidence.models import Trial, crosscheck
from zooaudit.more_twins import committed_training
from zooaudit.own_start import add_checkpoint, checkpoints_of, tried_start
from zooaudit.recipes import recipe_from
from zooaudit.storage.artifacts import Artifacts, existing_store, open_store
from zooaudit.suspects.named_nets import is_named
from zooaudit.zoo.procedure import by_command, by_function
from zooaudit.zoo.spec import ModelSpec

REJECTED = 6
EXAMPLE = """zooaudit evidence export case.zip --store ./store --evidence 9c01 --with-victim
  zooaudit evidence verify case.zip --store ./mine --commitment 5e8f... --with-models"""


def evidence(args: argparse.Namespace, out: TextIO) -> int:
    """Pack the evidence of a score for somebody else, or check such a pack."""
    return _export(args, out) if args.action == "export" else _verify(args, out)


def _export(args: argparse.Namespace, out: TextIO) -> int:
    if not args.evidence:
        raise ConfigError("--evidence is missing: the id that 'zooaudit score' printed")
    packed = packs.export(existing_store(args.store), args.evidence, Path(args.pack), args.with_victim)
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
            found.append(checks.Finding("models", None, "give --with-models to rank the victim among twins of your own"))
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
    dataset = own_data.data_of(args, recipe_from(stated).dataset, tell).to(pick_device())
    _refuse_factory(args, opened, pack)
    training = _allowed_training(args, opened)
    trial = Trial(
        args.twins, args.references, secrets.randbelow(2**63) if args.seed is None else args.seed, _start(args, dataset),
        checkpoints_of(args.checkpoint, dataset),
    )  # fmt: skip
    tell(f"seed of the checker's models: {trial.seed}", "seed", seed=trial.seed)
    return crosscheck(opened, pack, dataset, open_store(args.store), chosen_farm(args), tell.watch, trial, training)


def _start(args: argparse.Namespace, dataset: Dataset) -> Start | None:
    return tried_start(args.start, dataset.image_shape, dataset.num_classes) if args.start else None


def _refuse_factory(args: argparse.Namespace, opened: packs.Opened, pack: Artifacts) -> None:
    """A pack must not choose which code runs here: a victim's factory has to be named by whoever checks."""
    meta = pack.load("model", opened.kit.victim).meta
    factory = meta.get("factory")
    if "spec" in meta:
        try:
            spec = ModelSpec.from_json(meta["spec"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"the pack's victim cannot be read ({error}); expected one that this version exported") from error
        if spec.id != opened.kit.victim or spec.own_training or (spec.start and not is_named(spec.start.factory)):
            raise InputError(f"the pack's victim {opened.kit.victim} is described as {spec.id}; expected the victim of one of our recipes")
    if factory and factory != args.factory:
        raise InputError(f"the victim is built by {factory!r}, code that would run here; look at it, then allow it by --factory {factory}")


def _allowed_training(args: argparse.Namespace, opened: packs.Opened) -> OwnTraining | None:
    """The owner's procedure as the checker gives it: the pack's own words never run here."""
    committed = committed_training(opened.kit.facts)
    given = [option for option, value in (("--train", args.train), ("--train-command", args.train_command)) if value]
    if committed is None:
        if given:
            raise InputError(f"{given[0]} is given, but the kit states no training procedure of the owner's; leave it out")
        return None
    if len(given) != 1:
        option, words = ("--train", committed.function) if committed.function else ("--train-command", committed.command)
        raise InputError(
            f"the kit's twins were trained by {words!r}, code that would run here; look at it, then allow it by {option} {words!r}"
        )
    if not args.factory:
        raise InputError(
            f"{given[0]} needs --factory: what builds the module that a twin's weights go into, {committed.factory!r} in the kit"
        )
    seconds = OwnTraining.timeout_s if args.train_timeout is None else args.train_timeout
    allowed = (by_function if args.train else by_command)(args.train or args.train_command, args.factory, seconds)
    return replace(allowed, contract=committed.contract)  # plain values, which run nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
        help="with verify: train fresh twins of the victim in --store, by the procedure that the kit commits to, and references, and rank "
        "the victim among these; a 'stolen' that they do not confirm is rejected. Also make the UAP again, and ask the victim again",
    )  # fmt: skip
    add("--twins", type=int, default=Trial.twins, metavar="N", help="fresh twins to train (default: %(default)s, for level .05)")
    add(
        "--references", type=int, metavar="N",
        help="references of the checker's own to train, beside the kit's, which are the owner's word; 0: none (default: as many as the "
        "kit's recipe has)",
    )  # fmt: skip
    own_data.add_arguments(add, "with --with-models: the victim's data, where it is not one that zooaudit finds by name")
    add("--factory", metavar="MODULE:NAME", help="with --with-models: allow the pack's victim, and its twins, to be built by this callable")
    add("--train", metavar="MODULE:NAME", help="with --with-models: the owner's training function, whose code you have looked at")
    add(
        "--start",
        metavar="MODULE:NAME",
        help="with --with-models: the public checkpoint that references begin with, too; see 'zooaudit audit'",
    )
    add_checkpoint(add)
    add("--train-command", metavar="COMMAND", help="with --with-models: the owner's training command, whose code you have looked at")
    add("--train-timeout", type=float, metavar="SECONDS", help="with --with-models: longest that --train or --train-command may take once")
    add("--seed", type=int, help="of the checker's models, to repeat a check (default: one that nobody can know beforehand)")
