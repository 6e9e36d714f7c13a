"""``zooaudit store``: list, show, check, collect, copy. Always reads the store itself, never this machine's
cache of it."""

import argparse
import json
from contextlib import suppress
from dataclasses import asdict
from typing import TextIO

from zooaudit.cli.terminal import ProgressBar
from zooaudit.errors import DamagedArtifactError, InputError, MissingArtifactError, UnknownNameError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.copying import Copied, copy, everything
from zooaudit.storage.opening import existing_store, open_store
from zooaudit.storage.runs import artifacts_of_run


def store(args: argparse.Namespace, out: TextIO) -> int:
    """List, show, check or copy what a store holds."""
    if args.action == "gc" and not 0 <= args.grace_hours < float("inf"):
        raise InputError(f"--grace-hours is {args.grace_hours:g}; expected 0 or more")
    if args.action == "show" and not (args.kind and args.id):
        raise InputError(
            "store show needs a kind and an id, for example: zooaudit store show model victim-A-sgd-...; see"
            " zooaudit store ls"
        )
    if args.action == "copy" and not args.to:
        raise InputError(
            "store copy needs --to, for example: zooaudit store copy --store ./store --to s3://bucket/prefix"
            " --run NAME"
        )
    artifacts = existing_store(args.store, cache=False, writes=args.repair or args.delete)
    if args.action == "ls":
        names = artifacts.ids(args.kind) if args.kind else [f"{k} {n}" for k, n in artifacts.kinds().items()]
        print("\n".join(names) or "empty", file=out)
        return 0
    if args.action == "show":
        return _show(artifacts, args.kind, args.id, out)
    if args.action == "gc":
        return _gc(artifacts, args.grace_hours, args.delete, out)
    if args.action == "copy":
        return _copy(artifacts, args, out)
    return _check(artifacts, args.repair, out)


def _show(artifacts: Artifacts, kind: str, id_: str, out: TextIO) -> int:
    if not artifacts.has(kind, id_):
        raise UnknownNameError(
            f"{artifacts.url} has no {kind} {id_}; 'zooaudit store ls {kind}' lists what there is"
        )
    found = artifacts.load(kind, id_)
    shown = {
        "kind": found.kind,
        "id": found.id,
        "sha256": found.digest,
        "files": found.files,
        "meta": found.meta,
    }
    print(json.dumps(shown, indent=2), file=out)
    return 0


def _check(artifacts: Artifacts, repair: bool, out: TextIO) -> int:
    if repair:
        with suppress(DamagedArtifactError):  # a damaged manifest, which is reported below
            for key in artifacts.put_back():
                print(f"put back: {key}, which a gc that was stopped had put aside", file=out)
    damaged = list(artifacts.check())
    for kind, id_, error in damaged:
        print(f"damaged: {error}", file=out)
        if repair and kind:
            artifacts.remove(kind, id_)
            print(f"removed: {kind} {id_}; the next run rebuilds it", file=out)
    try:
        orphaned = artifacts.unnamed()
        loose = str(len(orphaned))
    except DamagedArtifactError:  # a damaged manifest cannot say what it names
        orphaned, loose = [], "unknown"
    for key in orphaned:
        print(
            f"orphaned: {key}: no artifact names it; zooaudit store gc --delete removes it when it is a"
            " day old",
            file=out,
        )
    print(
        f"{sum(artifacts.kinds().values())} artifacts, {len(damaged)} damaged; content that nothing names:"
        f" {loose}",
        file=out,
    )
    return 0 if repair or not damaged else 3


def _gc(artifacts: Artifacts, grace_hours: float, delete: bool, out: TextIO) -> int:
    grace_s = grace_hours * 3600
    keys = artifacts.dead_leases(grace_s)
    if delete:
        artifacts.drop_leases(keys)
    keys += artifacts.collect(grace_s) if delete else artifacts.unnamed(grace_s)
    print("\n".join(keys), file=out, end="\n" if keys else "")
    print(f"{len(keys)} {'removed' if delete else 'would be removed; --delete does it'}", file=out)
    return 0


def _copy(source: Artifacts, args: argparse.Namespace, out: TextIO) -> int:
    which = artifacts_of_run(source, args.run) if args.run else everything(source)
    if not which:
        raise MissingArtifactError(f"store {source.url} is empty: there is nothing to copy")
    target = open_store(args.to, cache=False)
    if target.url == source.url:
        raise InputError(f"--store and --to are both {source.url}; a copy goes to another store")
    done = copy(source, target, which, ProgressBar(line=copy_line))
    if args.json:
        print(json.dumps(asdict(done) | {"run": args.run, "from": source.url, "to": target.url}), file=out)
    else:
        what = f"run {args.run}" if args.run else "everything"
        print(
            f"{what} is in {target.url}: {done.total} artifacts, {done.total - done.there} copied"
            f" ({_size(done.bytes)}), {done.there} were there",
            file=out,
        )
    return 0


def copy_line(state: Copied) -> str:
    """For example ``copy 12/97 artifacts, 3 were there, 4.1 MiB written``."""
    there = f", {state.there} were there" if state.there else ""
    return f"copy {state.done}/{state.total} artifacts{there}, {_size(state.bytes)} written"


def _size(count: int) -> str:
    power = min((count.bit_length() - 1) // 10, 3) if count else 0
    return (
        f"{count} bytes"
        if power == 0
        else f"{count / 2 ** (10 * power):.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"
    )
