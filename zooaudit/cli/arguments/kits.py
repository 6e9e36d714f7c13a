"""Options of the subcommands around kits and verdicts."""

import argparse
from typing import Any

from zooaudit.choices import ACCESS, CORRECTIONS, SEEN
from zooaudit.cli.arguments.own import FACTORIES, add_checkpoint, add_contract, add_data

KIT = """zooaudit kit show --store ./store --kit 4f2a
  zooaudit kit commit --store ./store --kit 4f2a --level 0.05 --queries 500
  zooaudit kit queries --store ./store --kit 4f2a --out queries.zip
  zooaudit kit add-twins --store ./store --kit 4f2a --twins 99"""
SCORE = """zooaudit score --store ./store --kit 4f2a --suspect theirs.safetensors --factory their.nets:make
  zooaudit score --store ./store --kit 4f2a --suspect https://models.example/v2/models/shirts/infer
  zooaudit score --store ./store --kit 4f2a --answers answers.parquet
  zooaudit score --store ./store --kit 4f2a --suspect theirs.onnx --suspect-classes 25

several suspects are judged together: one that cannot be asked is 'cannot tell' with its reason and counts as
asked, the others are judged, and the exit code is 2 (its file or settings have to be mended) or 7 (its API
failed; the same command goes on from there)."""
EVIDENCE = """zooaudit evidence export case.zip --store ./store --evidence 9c01 --with-victim
  zooaudit evidence verify case.zip --store ./mine --commitment 5e8f... --with-models"""
EXPLAIN = "zooaudit explain 9c01 --store ./store --out why.html"
METHODS = ("twins", "paper", "both")


def add_settings(add: Any) -> None:
    """What has to be fixed before a suspect is asked, and 'zooaudit kit commit' commits to."""
    add(
        "--level",
        type=float,
        metavar="L",
        help=(
            "share of suspects made without the victim that may be called stolen; by rank, below 1 / (twins +"
            " 1) nobody is (default: the kit's)"
        ),
    )
    add(
        "--access",
        default=SEEN,
        metavar="WHAT",
        help=(
            f"what the suspect tells: {ACCESS}; its outputs are then taken as they are. seen: logits, or"
            " whole probabilities, read as what the first of them look like (default: %(default)s)"
        ),
    )
    add(
        "--p-value",
        choices=("rank", "normal"),
        default="rank",
        help=(
            "rank: of the victim among its twins, which rests on nothing else; normal: a claim beyond 1 /"
            " (twins + 1), which rests on the twins' statistics being normal, and is refused where a test"
            " says they are not (default: %(default)s)"
        ),
    )
    add(
        "--queries",
        type=int,
        metavar="N",
        help=(
            "questions of the twin test at most, to be fixed before the first answer is seen: one of the"
            " kit's looks, which 'zooaudit kit show' lists (default: all)"
        ),
    )


def add_kit(parser: argparse.ArgumentParser) -> None:
    """Options of ``kit``, but for the farm's."""
    add = parser.add_argument
    add(
        "action",
        nargs="?",
        choices=("show", "commit", "queries", "add-twins"),
        default="show",
        help=(
            "show: list kits, or one, with what was found out of it without any suspect; commit: the digest"
            " of kit, method, --level, --access, --p-value and --queries, to be timestamped before a suspect"
            " is asked; queries: write the questions, for whoever can reach the suspect; the answers go into"
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
            "with queries: those of the paper's test, so many views of them; without, those of the twin test"
        ),
    )
    add(
        "--twins",
        type=int,
        metavar="N",
        help="with add-twins: how many there are to be in all; N of them give p-values from 1 / (N + 1)",
    )
    add_data(add, "with add-twins: the victim's data, where it is not one that zooaudit finds by name")
    add(
        "--train-timeout",
        type=float,
        metavar="SECONDS",
        help="with add-twins: longest that the owner's procedure may take for one twin",
    )


def add_score(parser: argparse.ArgumentParser) -> None:
    """Options of ``score``."""
    add = parser.add_argument
    add("--kit", metavar="ID", required=True, help="the victim's audit kit, by its id or the start of it")
    add(
        "--suspect",
        metavar="WHAT",
        nargs="+",
        help=(
            "the suspect: .safetensors weights or their .safetensors.index.json (with --factory), a"
            " torch.export .pt2, an .onnx graph, a folder of transformers' or timm's, the same as"
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
            "how many classes the suspects have, where that is not as many as the victim has: then how alike"
            " their answers to each two questions are is compared, not class by class (default: the victim's"
            " classes)"
        ),
    )
    add(
        "--method",
        choices=METHODS,
        default="twins",
        help=(
            "twins: stolen, not shown or cannot tell, by the rank of the victim among its twins, models"
            " trained exactly as it was but for the seed: valid whoever made the suspect; paper: the t-test"
            " of the paper, which accuses innocent look-alikes (default: %(default)s)"
        ),
    )
    add_settings(add)
    add(
        "--ask-everything",
        action="store_true",
        help="ask all questions, even when the decision is settled already",
    )
    add(
        "--budget",
        type=int,
        metavar="N",
        help="queries an API may be charged at most, over all runs (default: what the method takes)",
    )
    add(
        "--ledger",
        metavar="FILE",
        help=(
            "where an API's answers are kept as they come, so that none is paid twice (default:"
            " ./ledgers/KIT-SUSPECT.sqlite)"
        ),
    )
    add(
        "--allow-key-env",
        metavar="NAME",
        action="append",
        help=(
            "an environment variable that a suspect's .toml may name, and have its value sent to the address"
            " in it; AWS: the credentials of AWS's tools; once for each (default: none, since whoever wrote"
            " the file would get to read what it names)"
        ),
    )
    add(
        "--correction",
        choices=CORRECTIONS,
        default="holm",
        help=(
            "of several suspects: holm bounds the chance that any innocent is accused, and takes so many"
            " twins that twins + 1 >= suspects / level; bh bounds the share of innocents among the accused"
            " (default: %(default)s)"
        ),
    )


def add_evidence(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "action",
        choices=("export", "verify"),
        help="export: pack answers, kit and verdict; verify: check a pack, from anybody",
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
        help="with export: the victim's weights too, so that the kit can be tested on the checker's models",
    )
    add("--commitment", metavar="HEX", help="with verify: what was timestamped before the suspect was asked")
    add(
        "--with-models",
        action="store_true",
        help=(
            "with verify: train fresh twins of the victim in --store, by the procedure that the kit commits"
            " to, and references, and rank the victim among these; a 'stolen' that they do not confirm is"
            " rejected. Also make the UAP again, and ask the victim again"
        ),
    )
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
            "references of the checker's own to train, beside the kit's, which are the owner's word; 0: none"
            " (default: as many as the kit's recipe has)"
        ),
    )
    add_data(add, "with --with-models: the victim's data, where it is not one that zooaudit finds by name")
    add(
        "--factory",
        metavar="MODULE:NAME",
        help="with --with-models: allow the pack's victim, and its twins, to be built by this callable",
    )
    add(
        "--train",
        metavar="MODULE:NAME",
        help="with --with-models: the owner's training function, whose code you have looked at",
    )
    add(
        "--start",
        metavar="MODULE:NAME",
        help=(
            "with --with-models: the public checkpoint that references begin with, too; see 'zooaudit audit'"
        ),
    )
    add_checkpoint(add)
    add(
        "--train-command",
        metavar="COMMAND",
        help="with --with-models: the owner's training command, whose code you have looked at",
    )
    add(
        "--train-timeout",
        type=float,
        metavar="SECONDS",
        help="with --with-models: longest that --train or --train-command may take once",
    )
    add(
        "--seed",
        type=int,
        help="of the checker's models, to repeat a check (default: one that nobody can know beforehand)",
    )


def add_explain(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("evidence", metavar="EVIDENCE", help="the id that 'zooaudit score' printed, or the start of it")
    add("--out", metavar="FILE", help="write a page with the questions' images, one HTML file, too")
    add(
        "--questions",
        type=int,
        default=10,
        metavar="N",
        help="how many of the questions that weighed most to show (default: %(default)s)",
    )
