"""Open what studies and sweeps work with, from the command line."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zooaudit.cli.audit import chosen_farm, recipe_and_data
from zooaudit.cli.terminal import Notifier
from zooaudit.outputs import check_folder
from zooaudit.storage.opening import existing_store, open_store

if TYPE_CHECKING:
    from zooaudit.studies.bench import Bench


def open_bench(args: argparse.Namespace, notify: Notifier) -> "Bench":
    """A recipe's zoo in a store; missing models are trained only with --build."""
    from zooaudit.studies.bench import Bench, NoFarm

    recipe, dataset = recipe_and_data(args, notify)
    artifacts = open_store(args.store) if args.build else existing_store(args.store, writes=True)
    return Bench(recipe, dataset, artifacts, chosen_farm(args) if args.build else NoFarm(), notify.watch)


def results_folder(args: argparse.Namespace, usual: Path) -> Path:
    """The folder for results."""
    folder = Path(args.out) if args.out else usual
    check_folder(folder)
    return folder
