"""``zooaudit data``: show what was read, so that users can check that it is what they meant."""

import argparse
import json
from pathlib import Path
from typing import Any, TextIO

from torch import bincount

from zooaudit.cli import own_data
from zooaudit.cli.arguments.plans import DEFAULT
from zooaudit.cli.audit import notifier
from zooaudit.cli.plan import size
from zooaudit.data.images import Dataset
from zooaudit.data.messages import short
from zooaudit.data.readers import memory
from zooaudit.data.sheet import sheet
from zooaudit.errors import DataError
from zooaudit.outputs import check_folder

SHOWN = 30
"""How many classes are listed for people; --json has all."""


def data(args: argparse.Namespace, out: TextIO) -> int:
    """Find a dataset and show what is read of it: kind, sizes, classes, what was skipped, example images."""
    shown_below = args.data and not args.json and not args.data.startswith("s3://")
    if args.out:
        check_folder(Path(args.out))
    name = args.dataset or (own_data.name_of(args.data) if args.data else DEFAULT)
    found = own_data.data_of(args, name, (lambda _: None) if shown_below else notifier(args))
    facts = described(found)
    if args.out:
        facts["examples"] = _write_sheet(found, Path(args.out))
    print(json.dumps(facts) if args.json else "\n".join(lines(facts)), file=out)
    return 0


def _write_sheet(dataset: Dataset, folder: Path) -> str:
    path = folder / "examples.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sheet(dataset).save(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}); give another folder with --out"
        ) from error
    return str(path)


def described(dataset: Dataset) -> dict[str, Any]:
    """Everything about a data set, for JSON."""
    counts = {
        p: bincount(getattr(dataset, p).labels.cpu(), minlength=dataset.num_classes).tolist()
        for p in ("train", "test")
    }
    facts: dict[str, Any] = {
        "name": dataset.name,
        "source": dataset.source,
        "train": len(dataset.train),
        "test": len(dataset.test),
        "image_shape": list(dataset.image_shape),
        "classes": list(dataset.classes),
        "class_counts": counts,
        "memory_bytes": memory(dataset),
        "digest": dataset.digest,
    }
    if (met := dataset.found) is not None:
        facts |= {
            "kind": met.kind,
            "order": met.ordered,
            "sizing": met.sizing,
            "sizes": [[*size, count] for size, count in met.sizes],
            "modes": dict(met.modes),
            "formats": dict(met.formats),
            "skipped": [{"why": why, "count": count, "files": names} for why, count, names in met.skipped],
            "notes": list(met.notes),
        }
    return facts


def lines(facts: dict[str, Any]) -> list[str]:
    """The same for people, on one screen."""
    channels, height, width = facts["image_shape"]
    colour = {1: "grey", 3: "coloured"}.get(channels, f"{channels} channels")
    shown = [
        ("name", facts["name"]),
        ("source", facts["source"]),
        ("kind", facts.get("kind", "")),
        ("train", f"{facts['train']:,} images"),
    ]
    shown += [("test", f"{facts['test']:,} images"), ("image", f"{height} x {width}, {colour}{_by(facts)}")]
    shown += [("found", _found(facts)), ("memory", f"{size(facts['memory_bytes'])} for the images")]
    order = facts.get("order", "")
    shown += [("classes", f"{len(facts['classes']):,}" + (f", order: {order}" if order else ""))]
    listed = [f"{name:<12} {value}" for name, value in shown if value]
    listed += _classes(facts)
    listed += [f"{'skipped':<12} {s['count']:,} {s['why']}: {s['files']}" for s in facts.get("skipped", ())]
    listed += [f"{'note':<12} {note}" for note in facts.get("notes", ())]
    listed += [f"{name:<12} {facts[name]}" for name in ("digest", "examples") if name in facts]
    return listed


def _by(facts: dict[str, Any]) -> str:
    return f": {facts['sizing']}" if facts.get("sizing") else ""


def _found(facts: dict[str, Any]) -> str:
    """The sizes, modes and formats found in the files."""
    sizes = [f"{h} x {w} ({n:,})" for h, w, n in facts.get("sizes", ())]
    modes = [f"{mode} ({n:,})" for mode, n in facts.get("modes", {}).items()]
    formats = [f"{kind} ({n:,})" for kind, n in facts.get("formats", {}).items()]
    return "; ".join(short(listed, 5) for listed in (sizes, modes, formats) if listed)


def _classes(facts: dict[str, Any]) -> list[str]:
    counts = facts["class_counts"]
    rows = [
        f"  {i:>5} {name:<28.28} {train:>9,} train {test:>9,} test"
        for i, (name, train, test) in enumerate(
            zip(facts["classes"], counts["train"], counts["test"], strict=True)
        )
    ]
    left = len(rows) - SHOWN
    return rows if left <= 0 else [*rows[: SHOWN - 5], f"  ... {left} more (--json has all)", *rows[-5:]]
