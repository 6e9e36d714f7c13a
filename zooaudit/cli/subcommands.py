"""The list of subcommands and where each is defined. Imports none of them."""

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Subcommand:
    """One subcommand; places are ``module:name`` in ``zooaudit.cli``.

    Attributes:
        summary: a short description, the same as its function's docstring.
        run: the function that runs it.
        arguments: functions that add its options to a parser.
        example: a command line, or the name of one in a module.
        store: whether it takes ``--store``.
    """

    summary: str
    run: str
    arguments: tuple[str, ...]
    example: str
    store: bool = True


def found(place: str) -> Any:
    """The object at a place; imports its module."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"zooaudit.cli.{module}"), name)


def _of(run: str, options: str, summary: str, *more: str, store: bool = True) -> Subcommand:
    """A subcommand whose options are added by ``add_NAME`` of a module of ``arguments``; its example is
    ``NAME`` there."""
    module, _, name = options.partition(":")
    return Subcommand(
        summary, run, (f"arguments.{module}:add_{name}", *more), f"arguments.{module}:{name.upper()}", store
    )


FARM = "arguments.audit:add_farm"
SUBCOMMANDS = {
    "audit": Subcommand(
        "Audit a victim from end to end and write the report",
        "audit:audit",
        ("arguments.audit:add_audit",),
        "zooaudit audit --recipe fmnist-quick --store ./store",
    ),
    "zoo": Subcommand(
        "Build the zoo only",
        "audit:zoo",
        ("arguments.audit:add_stage",),
        "zooaudit zoo --recipe digits --store ./store --farm serial",
    ),
    "uap": Subcommand(
        "Train or load the victim and craft its UAP",
        "audit:uap",
        ("arguments.audit:add_stage",),
        "zooaudit uap --recipe digits --store ./store --farm serial",
    ),
    "plan": _of(
        "plan:plan",
        "plans:plan",
        "Say what an audit will take, before anything is run: models, hours, storage, requests, queries",
        store=False,
    ),
    "recipe": _of(
        "recipe:recipe",
        "plans:recipe_command",
        "List recipes, show one as a TOML file, check one, or make one for your own data and victim",
        store=False,
    ),
    "kit": _of(
        "kit:kit",
        "kits:kit",
        "List the kits of a store, show one, commit to one before a suspect is asked, write its questions, or"
        " add twins to it",
        FARM,
    ),
    "score": _of(
        "score:score",
        "kits:score",
        "Ask suspects a kit's questions and give the verdict: by the twin test, by the paper's test, or both",
    ),
    "evidence": _of(
        "evidence:evidence",
        "evidence:evidence",
        "Pack the evidence of a score for somebody else, or check such a pack",
        FARM,
    ),
    "explain": _of(
        "explain:explain",
        "evidence:explain",
        "Explain the verdict of a piece of evidence: the victim among its twins, and the questions that"
        " weighed most",
    ),
    "serve": _of(
        "serve:serve",
        "service:serve",
        "Score suspects over HTTP and show the console, on this machine, until it is stopped",
    ),
    "key": _of(
        "serve:key",
        "service:key",
        "Make a key for callers of the service: printed once, its SHA-256 added to the file of keys",
        store=False,
    ),
    "report": Subcommand(
        "Copy a finished run's report out of the store",
        "audit:report",
        ("arguments.audit:add_report",),
        "zooaudit report --store ./store --run fmnist-quick --out ./reports/mine",
    ),
    "data": _of(
        "data:data",
        "plans:look",
        "Find a dataset and show what is read of it: kind, sizes, classes, what was skipped, example images",
        store=False,
    ),
    "study": _of(
        "study:study",
        "plans:study",
        "Try claims of the paper on a zoo, or the twin test on models that somebody else trained",
    ),
    "sweep": _of(
        "sweep:sweep",
        "plans:sweep",
        "Fingerprint one zoo in many ways, in parallel on Ray Tune; ends in one table and one picture",
    ),
    "store": Subcommand(
        "List, show, check or copy what a store holds",
        "store:store",
        ("arguments.audit:add_store",),
        "zooaudit store copy --store ./store --to s3://bucket/audits --run mine",
    ),
    "completion": Subcommand(
        "Print a script that completes subcommands and options: for bash, zsh or fish",
        "completion:completion",
        ("completion:add_arguments",),
        "completion:EXAMPLE",
        store=False,
    ),
    "doctor": Subcommand(
        "Say what this machine can do and what is missing", "audit:doctor", (), "zooaudit doctor"
    ),
}
"""By name, in the order of the help."""
