"""The subcommand for kits: list, show, commit to one, write its questions, add twins."""

import argparse
import json
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from zooaudit.auditing.more_twins import add_twins, committed_training
from zooaudit.cli import own_data
from zooaudit.cli.audit import chosen_farm, notifier
from zooaudit.compute import pick_device
from zooaudit.config import OwnTraining
from zooaudit.errors import ConfigError
from zooaudit.evidence.records import commitment
from zooaudit.kits.kit import KIND, Kit, asked_as, find_kit, made_by, read_kit
from zooaudit.recipes.named import recipe_from
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import existing_store
from zooaudit.suspects.offline import write_questions
from zooaudit.verdict import wording
from zooaudit.verdict.ranking import smallest_p, suspects_at_once
from zooaudit.zoo.procedure import by_command, by_function

MEANT = {"commit": "commit to", "queries": "want the questions of", "add-twins": "add twins to"}


def kit(args: argparse.Namespace, out: TextIO) -> int:
    """List the kits of a store, show one, commit to one before a suspect is asked, write
    its questions, or add twins to it."""
    if not args.kit and args.action != "show":
        raise ConfigError(
            f"--kit is missing: which kit do you {MEANT[args.action]}? 'zooaudit kit' lists them"
        )
    artifacts = existing_store(args.store, writes=args.action == "add-twins")
    if not args.kit:
        listed = artifacts.ids(KIND)
        lines = listed if args.json else [_line(artifacts.load(KIND, id_)) for id_ in listed]
        print(
            json.dumps(lines) if args.json else "\n".join(lines) or "no kits yet: run zooaudit audit",
            file=out,
        )
        return 0
    artifact = find_kit(artifacts, args.kit)
    if args.action == "commit":
        facts = commitment(artifact, args.level, args.access, args.queries, args.p_value)
    elif args.action == "queries":
        facts = _queries(args, artifact, read_kit(artifact))
    elif args.action == "add-twins":
        facts = _add_twins(args, artifact, artifacts)
    else:
        facts = kit_facts(read_kit(artifact))
    print(json.dumps(facts) if args.json else "\n".join(_lines(facts)), file=out)
    return 0


def _line(kit: Artifact) -> str:
    """A line in the list of kits."""
    made, victim = made_by(kit), kit.meta.get("victim", "")
    of = (
        f"  recipe {made['recipe']}, data {made['dataset']}, victim {victim}"
        if made["recipe"]
        else f"  victim {victim}"
    )
    return f"{kit.id}{of}{'  (trial: accuse nobody by it)' if made['trial'] else ''}"


def _queries(args: argparse.Namespace, artifact: Artifact, found: Kit) -> dict[str, Any]:
    if not args.out:
        raise ConfigError("--out is missing: a .parquet or .json file, or a .zip of PNG images")
    of_paper = args.views is not None
    if of_paper and args.queries is not None:
        raise ConfigError("--views is for the paper's test, --queries for the twin test; give one of them")
    test = found.twin_test
    images = (
        found.questions(args.views).flatten(0, 2)
        if of_paper
        else test.questions()[: test.stops(args.queries)[-1]]
    )
    write_questions(Path(args.out), images, asked_as(artifact), found.classes)
    shown = (
        "images of the victim's training set, clean and perturbed"
        if of_paper
        else _plain(Counter(test.families[: len(images)]))
    )
    method = ["paper"] if of_paper else ["twins", *(["--queries", str(args.queries)] if args.queries else [])]
    command = [
        "zooaudit",
        "score",
        "--store",
        args.store,
        "--kit",
        artifact.id,
        "--method",
        *method,
        "--answers",
        "answers.parquet",
    ]
    return {"written": args.out, "queries": len(images), "show": shown, "score_with": shlex.join(command)}


def _add_twins(args: argparse.Namespace, artifact: Artifact, artifacts: Artifacts) -> dict[str, Any]:
    if args.twins is None:
        raise ConfigError("--twins is missing: the number of twins that the kit should have in all")
    found, notify = read_kit(artifact), notifier(args)
    training = _as_it_is_now(committed_training(found.facts), args.train_timeout)
    dataset = own_data.data_of(args, recipe_from(found.facts["recipe"]).dataset, notify).to(pick_device())
    made = add_twins(artifact, args.twins, dataset, artifacts, chosen_farm(args), notify.watch, training)
    now = read_kit(made).twin_test.twins
    return {
        "kit": made.id,
        "twins": now,
        "added": now - found.twin_test.twins,
        "smallest_p": smallest_p(now),
        "made_from": artifact.id,
    }


def _as_it_is_now(committed: OwnTraining | None, timeout_s: float | None) -> OwnTraining | None:
    """The committed procedure, read again: its code may have changed since."""
    if committed is None:
        return None
    seconds = OwnTraining.timeout_s if timeout_s is None else timeout_s
    if committed.function:
        found = by_function(committed.function, committed.factory, seconds)
    else:
        found = by_command(committed.command, committed.factory, seconds)
    return replace(found, contract=committed.contract)


def kit_facts(found: Kit) -> dict[str, Any]:
    test = found.twin_test
    views, points = found.points.shape[:2]
    shown = {k: v for k, v in found.facts.items() if k not in ("recipe", "classes", "accused")}
    return {
        "victim": found.victim,
        "image_shape": list(found.image_shape),
        "num_classes": found.num_classes,
        "classes": list(found.classes),
        "twins": test.twins,
        "procedure": test.procedure,
        "references": len(test.references),
        "reference_kinds": dict(Counter(r.kind for r in test.references)),
        "level": test.level,
        "frequency": wording.in_cases(test.level),
        "smallest_p": smallest_p(test.twins),
        "suspects_at_once": suspects_at_once(test.twins, test.level),
        "budget": test.budget,
        "questions": dict(Counter(test.families)),
        "control_questions": test.control_questions,
        "looks": list(test.looks),
        "encoder": found.encoder_config.name,
        "views": views,
        "points": points,
        "queries": views * points * 2,
        "paper_references": len(found.reference_ids),
        "paper_accused": found.facts.get("accused", {}),
        "recipe": found.facts.get("recipe", {}).get("name", "unknown"),
        "trial": found.trial,
        **shown,
        "checked": wording.checked(test.exchangeability, test.hub()),
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    """For people: one fact on each line, without the empty ones, then the results of the kit's checks."""
    lines = [f"{k:<16} {_formatted(k, v)}" for k, v in facts.items() if k != "checked" and not _missing(v)]
    return lines + [f"{row['state']:<16} {row['text']}" for row in facts.get("checked", [])]


def _formatted(fact: str, value: Any) -> str:
    if fact == "paper_accused":  # without this it reads as if it came from the twin test
        return "by the paper's test, for comparison: " + ", ".join(
            f"{role} {accused} of {of}" for role, (accused, of) in value.items()
        )
    return " x ".join(map(str, value)) if fact == "image_shape" else _plain(value)


def _plain(value: Any) -> str:
    """Format a value without Python's brackets and quotes."""
    if isinstance(value, dict):
        return (
            ", ".join(
                f"{k} {f'({_plain(v)})' if isinstance(v, dict) else _plain(v)}"
                for k, v in value.items()
                if not _missing(v)
            )
            or "none"
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _missing(value: Any) -> bool:
    return value is None or value in ("", [], {})
