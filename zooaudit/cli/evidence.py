"""The subcommand for evidence: pack it for somebody else, or check such a pack."""

import argparse
import json
import secrets
from dataclasses import asdict, replace
from pathlib import Path
from typing import TextIO

from zooaudit.auditing.more_twins import committed_training
from zooaudit.cli import own_data
from zooaudit.cli.audit import chosen_farm, notifier
from zooaudit.cli.own_start import checkpoints_of, tried_start
from zooaudit.compute import pick_device
from zooaudit.config import OwnTraining, Start
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, InputError, RejectedError
from zooaudit.evidence import checks, packs
from zooaudit.evidence.models import Trial, crosscheck
from zooaudit.recipes.named import recipe_from
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import existing_store, open_store
from zooaudit.suspects.named_nets import is_named
from zooaudit.zoo.procedure import by_command, by_function
from zooaudit.zoo.spec import ModelSpec

NAMED = ("suspect", "evidence", "kit", "kit_sha256", "victim", "answers_sha256", "trial")
"""What is printed about a pack; each None for a pack that cannot be read."""


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
    try:
        about, found = _checked(args)
    except RejectedError as error:
        about, found = dict.fromkeys(NAMED), [checks.Finding("contents", False, str(error))]
        rows = [f"REJECTED: {error}"]
    else:
        rows = [*(f"{k:<14} {v}" for k, v in about.items() if v), *(_line(f) for f in found)]
    rejected = [f.check for f in found if f.passed is False]
    if args.json:
        facts = {
            "pack": args.pack,
            "rejected": bool(rejected),
            **about,
            "findings": [asdict(f) for f in found],
        }
        print(json.dumps(facts), file=out)
        return RejectedError.exit_code if rejected else 0
    if about["suspect"] is not None:
        rows.append("rejected: " + ", ".join(rejected) if rejected else "nothing speaks against it")
    print("\n".join(rows), file=out)
    return RejectedError.exit_code if rejected else 0


def _checked(args: argparse.Namespace) -> tuple[dict[str, str | None], list[checks.Finding]]:
    """What identifies a pack, and the findings of its checks.

    Raises:
        RejectedError: the pack was changed or damaged.
    """
    with packs.opened(Path(args.pack)) as pack:
        opened = packs.Opened.of(pack)
        found = checks.recomputed(opened, args.commitment or "")
        if args.with_models:
            found += _with_models(args, opened, pack)
        else:
            found.append(
                checks.Finding(
                    "models", None, "give --with-models to rank the victim among twins of your own"
                )
            )
        return {name: opened.identity[name] for name in NAMED}, found


def _line(found: checks.Finding) -> str:
    return (
        f"{'-' if found.passed is None else 'ok' if found.passed else 'REJECTED':<9} {found.check:<20}"
        f" {found.text}"
    )


def _with_models(args: argparse.Namespace, opened: packs.Opened, pack: Artifacts) -> list[checks.Finding]:
    notify = notifier(args)
    if not pack.has("model", opened.kit.victim):
        raise InputError(
            "the pack lacks the victim's weights; have it exported with --with-victim, or leave out"
            " --with-models"
        )
    stated = opened.kit.facts.get("recipe", {})
    dataset = own_data.data_of(args, recipe_from(stated).dataset, notify).to(pick_device())
    _refuse_factory(args, opened, pack)
    training = _allowed_training(args, opened)
    trial = Trial(
        args.twins,
        args.references,
        secrets.randbelow(2**63) if args.seed is None else args.seed,
        _start(args, dataset),
        checkpoints_of(args.checkpoint, dataset),
    )
    notify(f"seed of the checker's models: {trial.seed}", "seed", seed=trial.seed)
    return crosscheck(
        opened, pack, dataset, open_store(args.store), chosen_farm(args), notify.watch, trial, training
    )


def _start(args: argparse.Namespace, dataset: Dataset) -> Start | None:
    return tried_start(args.start, dataset.image_shape, dataset.num_classes) if args.start else None


def _refuse_factory(args: argparse.Namespace, opened: packs.Opened, pack: Artifacts) -> None:
    """A pack must not choose which code runs here: the checker has to name the victim's factory."""
    meta = pack.load("model", opened.kit.victim).meta
    factory = meta.get("factory")
    if "spec" in meta:
        try:
            spec = ModelSpec.from_json(meta["spec"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"the pack's victim cannot be read ({error}); expected one that this version exported"
            ) from error
        if (
            spec.id != opened.kit.victim
            or spec.own_training
            or (spec.start and not is_named(spec.start.factory))
        ):
            raise InputError(
                f"the pack's victim {opened.kit.victim} is described as {spec.id}; expected the victim of one"
                " of our recipes"
            )
    if factory and factory != args.factory:
        raise InputError(
            f"the victim is built by {factory!r}, code that would run here; look at it, then allow it by"
            f" --factory {factory}"
        )


def _allowed_training(args: argparse.Namespace, opened: packs.Opened) -> OwnTraining | None:
    """The owner's procedure as the checker gives it: commands from the pack never run here."""
    committed = committed_training(opened.kit.facts)
    given = [
        option
        for option, value in (("--train", args.train), ("--train-command", args.train_command))
        if value
    ]
    if committed is None:
        if given:
            raise InputError(
                f"{given[0]} is given, but the kit names no training procedure of the owner's; leave it out"
            )
        return None
    if len(given) != 1:
        option, words = (
            ("--train", committed.function) if committed.function else ("--train-command", committed.command)
        )
        raise InputError(
            f"the kit's twins were trained by {words!r}, code that would run here; look at it, then allow it"
            f" by {option} {words!r}"
        )
    if not args.factory:
        raise InputError(
            f"{given[0]} needs --factory: what builds the module that a twin's weights go into,"
            f" {committed.factory!r} in the kit"
        )
    seconds = OwnTraining.timeout_s if args.train_timeout is None else args.train_timeout
    allowed = (by_function if args.train else by_command)(
        args.train or args.train_command, args.factory, seconds
    )
    return replace(allowed, contract=committed.contract)  # plain values, no code
