"""What the subcommand around kits does: list, show, commit to one, hand out its questions."""

import argparse
import json
from pathlib import Path
from typing import Any, TextIO

from zooaudit.errors import ConfigError
from zooaudit.evidence.keeping import SEEN, commitment
from zooaudit.kit import KIND, Kit, find_kit, read_kit
from zooaudit.storage.artifacts import open_store
from zooaudit.suspects.offline import write_questions

EXAMPLE = """zooaudit kit commit --store ./store --kit 4f2a
  zooaudit kit queries --store ./store --kit 4f2a --out queries.zip"""

MEANT = {"commit": "commit to", "queries": "want the questions of"}


def kit(args: argparse.Namespace, out: TextIO) -> int:
    """List the kits of a store, show one, commit to one before a suspect is asked, or write its questions for whoever can ask it."""
    artifacts = open_store(args.store)
    if not args.kit:
        if args.action != "show":
            raise ConfigError(f"--kit is missing: which kit do you {MEANT[args.action]}? 'zooaudit kit' lists them")
        listed = artifacts.ids(KIND)
        print(json.dumps(listed) if args.json else "\n".join(listed) or "no kits yet: run zooaudit audit", file=out)
        return 0
    artifact = find_kit(artifacts, args.kit)
    if args.action == "queries":
        facts = _queries(args, artifact.id, read_kit(artifact))
    else:
        facts = commitment(artifact, args.level, args.access) if args.action == "commit" else _facts(read_kit(artifact))
    print(json.dumps(facts) if args.json else "\n".join(f"{k:<14} {v}" for k, v in facts.items()), file=out)
    return 0


def _queries(args: argparse.Namespace, id_: str, found: Kit) -> dict[str, Any]:
    if not args.out:
        raise ConfigError("--out is missing: a .parquet file, or a .zip of PNG images")
    of_paper = args.views is not None
    images = found.questions(args.views).flatten(0, 2) if of_paper else found.probe.questions()
    write_questions(Path(args.out), images, id_, found.classes)
    shown = (
        "images of the victim's training set, clean and perturbed" if of_paper else "test images that no model of the zoo was trained on"
    )
    method = "paper" if of_paper else "calibrated"
    return {"written": args.out, "queries": len(images), "show": shown, "score_with": f"--method {method} --answers FILE"}


def _facts(found: Kit) -> dict[str, Any]:
    views, points = found.points.shape[:2]
    probe = found.probe
    shown = {k: v for k, v in found.facts.items() if k not in ("recipe", "classes")}
    return {
        "victim": found.victim,
        "image_shape": list(found.image_shape),
        "num_classes": found.num_classes,
        "classes": list(found.classes),
        "level": probe.level,
        "budget": probe.budget,
        "checks": probe.checks,
        "references": len(probe.references),
        "copies": len(probe.copies.plain),
        "encoder": found.encoder_config.name,
        "views": views,
        "points": points,
        "queries": views * points * 2,
        "paper_references": len(found.reference_ids),
        **shown,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``kit``."""
    add = parser.add_argument
    add(
        "action", nargs="?", choices=("show", "commit", "queries"), default="show",
        help="show: list kits, or one; commit: the digest of kit, level and code, to be timestamped before a suspect is asked; "
        "queries: write the questions, for whoever can reach the suspect; the answers go into 'zooaudit score --answers'",
    )  # fmt: skip
    add("--kit", metavar="ID", help="the kit, by its id or the start of it (default: list all)")
    add("--level", type=float, metavar="L", help="with commit: the level that suspects will be scored at (default: the kit's)")
    add("--access", default=SEEN, metavar="RUNG", help="with commit: as 'zooaudit score --access' (%(default)s)")
    add("--out", metavar="FILE", help="with queries: .parquet, exact, or .zip of PNG images, rounded to 8 bits a channel")
    add(
        "--views", type=int, metavar="N",
        help="with queries: those of the paper's test, so many views of them; without, those of the calibrated verdict",
    )  # fmt: skip
