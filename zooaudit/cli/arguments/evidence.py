"""Options of ``evidence`` and ``explain``."""

import argparse
from typing import Any

from zooaudit.cli.arguments.own import add_checkpoint, add_data

EVIDENCE = """zooaudit evidence export case.zip --store ./store --evidence 9c01 --with-victim
  zooaudit evidence verify case.zip --store ./mine --commitment 5e8f... --with-models"""
EXPLAIN = "zooaudit explain 9c01 --store ./store --out why.html"


def add_evidence(parser: argparse.ArgumentParser) -> None:
    """Options of ``evidence``."""
    add = parser.add_argument
    add(
        "action",
        choices=("export", "verify"),
        help="export: pack answers, kit and verdict; verify: check anybody's pack",
    )
    add("pack", metavar="FILE", help="the pack")
    add(
        "--evidence",
        metavar="ID",
        help="with export: the id that 'zooaudit score' printed, or the start of it",
    )
    add(
        "--with-victim",
        action="store_true",
        help="with export: add the victim's weights, so that the checker can test the kit with models",
    )
    add("--commitment", metavar="HEX", help="with verify: what was timestamped before the suspect was asked")
    add(
        "--with-models",
        action="store_true",
        help=(
            "with verify: train fresh twins of the victim in --store, by the procedure that the kit commits"
            " to, and references, and rank the victim among them; a 'stolen' that they do not confirm is"
            " rejected. The UAP is also made again, and the victim asked again"
        ),
    )
    _add_models(add)


def _add_models(add: Any) -> None:
    """What ``--with-models`` trains."""
    add(
        "--twins",
        type=int,
        default=19,
        metavar="N",
        help="fresh twins to train (default: %(default)s, for level .05)",
    )
    add(
        "--references",
        type=int,
        metavar="N",
        help=(
            "the checker's own references to train, in addition to the kit's, which the owner chose; 0: none"
            " (default: as many as the kit's recipe has)"
        ),
    )
    _add_owners_code(add)
    add(
        "--seed",
        type=int,
        help="of the checker's models, to repeat a check (default: a random one)",
    )


def _add_owners_code(add: Any) -> None:
    """The data, code and checkpoints that the checker allows."""
    add_data(add, "with --with-models: the victim's data, if zooaudit does not know it by name")
    add(
        "--factory",
        metavar="MODULE:NAME",
        help="with --with-models: allow this callable to build the pack's victim and its twins",
    )
    add(
        "--train",
        metavar="MODULE:NAME",
        help="with --with-models: the owner's training function; read its code first",
    )
    add(
        "--start",
        metavar="MODULE:NAME",
        help=("with --with-models: the public checkpoint that the victim began with; see 'zooaudit audit'"),
    )
    add_checkpoint(add)
    add(
        "--train-command",
        metavar="COMMAND",
        help="with --with-models: the owner's training command; read its code first",
    )
    add(
        "--train-timeout",
        type=float,
        metavar="SECONDS",
        help="with --with-models: the longest time for --train or --train-command to train one twin",
    )


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Options of ``explain``."""
    add = parser.add_argument
    add("evidence", metavar="EVIDENCE", help="the id that 'zooaudit score' printed, or the start of it")
    add("--out", metavar="FILE", help="also write a page with the questions' images, one HTML file")
    add(
        "--questions",
        type=int,
        default=10,
        metavar="N",
        help="how many of the questions with the most weight to show (default: %(default)s)",
    )
