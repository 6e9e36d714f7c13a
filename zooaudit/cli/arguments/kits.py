"""Options of ``kit`` and ``score``."""

import argparse
from typing import Any

from zooaudit.choices import ACCESS, CORRECTIONS, SEEN
from zooaudit.cli.arguments.own import FACTORIES, add_contract, add_data

KIT = """zooaudit kit show --store ./store --kit 4f2a
  zooaudit kit commit --store ./store --kit 4f2a --level 0.05 --queries 500
  zooaudit kit queries --store ./store --kit 4f2a --out queries.zip
  zooaudit kit add-twins --store ./store --kit 4f2a --twins 99"""
SCORE = """zooaudit score --store ./store --kit 4f2a --suspect theirs.safetensors --factory their.nets:make
  zooaudit score --store ./store --kit 4f2a --suspect https://models.example/v2/models/shirts/infer
  zooaudit score --store ./store --kit 4f2a --answers answers.parquet
  zooaudit score --store ./store --kit 4f2a --suspect theirs.onnx --suspect-classes 25

several suspects are judged together. One that cannot be asked is 'cannot tell', with its reason; it counts
as asked, and the others are judged. The exit code is then 2 (fix its file or settings) or 7 (its API failed;
repeat the command to go on from there)."""
METHODS = ("twins", "paper", "both")


def add_settings(add: Any) -> None:
    """Settings that must be fixed before a suspect is asked; 'zooaudit kit commit' commits to them."""
    add(
        "--level",
        type=float,
        metavar="L",
        help=(
            "share of suspects made without the victim that may be called stolen; by rank, none is called"
            " stolen at a level below 1 / (twins + 1) (default: the kit's)"
        ),
    )
    add(
        "--access",
        default=SEEN,
        metavar="WHAT",
        help=(
            f"how much the suspect's interface gives: {ACCESS}; its outputs are then taken as they are. seen:"
            " logits or whole probabilities, inferred from the first of them (default: %(default)s)"
        ),
    )
    add(
        "--p-value",
        choices=("rank", "normal"),
        default="rank",
        help=(
            "rank: of the victim among its twins, which assumes nothing else; normal: a p-value below 1 /"
            " (twins + 1), which assumes that the twins' statistics are normal, and is refused if a test says"
            " that they are not (default: %(default)s)"
        ),
    )
    add(
        "--queries",
        type=int,
        metavar="N",
        help=(
            "the most questions of the twin test; fix it before you see the first answer: one of the kit's"
            " looks, which 'zooaudit kit show' lists (default: all)"
        ),
    )


def add_kit(parser: argparse.ArgumentParser) -> None:
    """Options of ``kit``, without the farm's."""
    add = parser.add_argument
    add(
        "action",
        nargs="?",
        choices=("show", "commit", "queries", "add-twins"),
        default="show",
        help=(
            "show: list kits, or one with the results of its checks; commit: the digest of kit, method,"
            " --level, --access, --p-value and --queries, to be timestamped before a suspect is asked;"
            " queries: write the questions, for somebody who can reach the suspect; pass the answers to"
            " 'zooaudit score --answers'; add-twins: train more twins and make a new kit with them, for a"
            " smaller level or more suspects at once; the old kit stays, and no suspect is asked again"
        ),
    )
    add("--kit", metavar="ID", help="the kit, by its id or the start of it (default: list all)")
    add_settings(add)
    add(
        "--out",
        metavar="FILE",
        help="with queries: .parquet or .json, exact, or .zip of PNG images, rounded to 8 bits a channel",
    )
    add(
        "--views",
        type=int,
        metavar="N",
        help=(
            "with queries: those of the paper's test, for this number of views; without it, those of the twin"
            " test"
        ),
    )
    add(
        "--twins",
        type=int,
        metavar="N",
        help="with add-twins: the number of twins in all; N of them give p-values from 1 / (N + 1)",
    )
    add_data(add, "with add-twins: the victim's data, if zooaudit does not know it by name")
    add(
        "--train-timeout",
        type=float,
        metavar="SECONDS",
        help="with add-twins: the longest time for the owner's procedure to train one twin",
    )


def add_score(parser: argparse.ArgumentParser) -> None:
    """Options of ``score``."""
    add = parser.add_argument
    add("--kit", metavar="ID", required=True, help="the victim's audit kit, by its id or the start of it")
    _add_suspects(add)
    add(
        "--method",
        choices=METHODS,
        default="twins",
        help=(
            "twins: stolen, not shown or cannot tell, by the victim's rank among its twins, which are models"
            " trained like it but with other seeds: valid whoever made the suspect; paper: the paper's"
            " t-test, which accuses innocent look-alikes (default: %(default)s)"
        ),
    )
    add_settings(add)
    _add_asking(add)
    add(
        "--correction",
        choices=CORRECTIONS,
        default="holm",
        help=(
            "of several suspects: holm bounds the chance that any innocent is accused, and needs"
            " twins + 1 >= suspects / level; bh bounds the share of innocents among the accused"
            " (default: %(default)s)"
        ),
    )


def _add_suspects(add: Any) -> None:
    """Which suspects to score, and how they are read."""
    add(
        "--suspect",
        metavar="WHAT",
        nargs="+",
        help=(
            "the suspect: .safetensors weights or their .safetensors.index.json (with --factory), a"
            " torch.export .pt2, an .onnx graph, a folder of transformers' or timm's, each also at"
            " s3://bucket/key, hf://owner/name, models:/ or runs:/ of MLflow; the address of a prediction"
            " API; or a .toml that describes any of them; several are asked everything and judged together"
        ),
    )
    add(
        "--answers",
        metavar="FILE",
        nargs="+",
        help=(
            "answers that came back to 'zooaudit kit queries', as .csv, .json, .parquet, .arrow, .npy or"
            " .f32: docs/answers.md has each"
        ),
    )
    add("--factory", metavar="MODULE:NAME", help=f"what builds the suspects' module: {FACTORIES}")
    add_contract(add, "suspects that are files are")
    add(
        "--suspect-classes",
        type=int,
        metavar="N",
        help=(
            "the suspects' number of classes, if it is not the victim's; then how alike the answers to each"
            " pair of questions are is compared, instead of class by class (default: the victim's"
            " classes)"
        ),
    )


def _add_asking(add: Any) -> None:
    """How much is asked, and what an API may cost and see."""
    add(
        "--ask-everything",
        action="store_true",
        help="ask all questions, even when the decision is settled already",
    )
    add(
        "--budget",
        type=int,
        metavar="N",
        help="the most queries that an API may charge, over all runs (default: what the method takes)",
    )
    add(
        "--ledger",
        metavar="FILE",
        help=(
            "where an API's answers are kept as they come, so that no query is paid for twice (default:"
            " ./ledgers/KIT-SUSPECT.sqlite)"
        ),
    )
    add(
        "--allow-key-env",
        metavar="NAME",
        action="append",
        help=(
            "an environment variable that a suspect's .toml may name; its value is sent to the address in"
            " that file; AWS: the credentials of AWS's tools; repeatable (default: none, because the author"
            " of the file would receive the values)"
        ),
    )
