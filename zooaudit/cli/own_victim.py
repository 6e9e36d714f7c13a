"""The user's own victim and its training procedure, from the command line: the options, and the checks of
them before anything is trained."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from zooaudit.config import OwnTraining, canonical_json
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError
from zooaudit.storage.models import OwnModel
from zooaudit.storage.places import local
from zooaudit.suspects.contract import Classes, Contract
from zooaudit.suspects.contract_files import read_contract
from zooaudit.suspects.contracted import Contracted
from zooaudit.suspects.files import read_json
from zooaudit.suspects.huggingface import PREFIX
from zooaudit.suspects.load import Loaded
from zooaudit.zoo.procedure import by_command, by_function, imported, takes_data


def own_victim(
    args: argparse.Namespace, dataset: Dataset, notify: Callable[[str], object] = lambda _: None
) -> OwnModel | None:
    """The victim that ``--victim`` names, loaded once to check it, with its training procedure; None without
    ``--victim``.

    Args:
        notify: called with what was inferred of its contract.

    Raises:
        ConfigError: the options contradict each other, or the procedure cannot be run.
        ModelError: see :func:`~zooaudit.suspects.load.load`.
    """
    if args.victim is not None:
        args.victim = str(local(args.victim))
        args.factory = args.factory or _own_factory(Path(args.victim))
    training = training_of(args)
    if args.victim is None:
        for option, what in (("factory", "how to build a model"), ("contract", "how a model is asked")):
            if getattr(args, option):
                raise ConfigError(f"--{option} says {what}, but --victim with its weights is missing")
        return None
    if args.twins is not None and training is None:
        raise ConfigError(
            "--twins needs --train or --train-command: only what trained your own victim can train its twins"
        )
    path, contract = Path(args.victim), read_contract(args.contract) if args.contract else Contract()
    own = OwnModel(
        path,
        None if path.is_dir() else args.factory,
        dataset.image_shape,
        dataset.num_classes,
        training,
        contract,
        dataset.classes,
    )
    loaded = own.loaded()
    for note in loaded.notes:
        notify(f"{args.victim}: {note}")
    if training is not None:
        _check_order(training, loaded, dataset.classes, args.victim)
    return own if training is None else replace(own, training=replace(training, contract=_for_twins(loaded)))


def _check_order(training: OwnTraining, loaded: Loaded, classes: Sequence[str], victim: str) -> None:
    """Refuse a victim whose classes have another order than the data's: its twins would learn the data's
    order, and be asked in the victim's."""
    columns = loaded.module.columns if isinstance(loaded.module, Contracted) else ()
    moved = sorted(columns) == list(range(len(classes))) and list(columns) != sorted(columns)
    if not moved or not training.function or not takes_data(imported(training.function), training.function):
        return
    own = [classes[columns.index(i)] for i in range(len(columns))]
    file = (
        f"{victim}/config.json"
        if (Path(victim) / "config.json").is_file()
        else "FILE, with its names in its order"
    )
    raise ConfigError(
        f"{victim} has the classes in the order {', '.join(own[:3])}, ..., the data in the order"
        f" {', '.join(classes[:3])}, ...; {training.function} is given the data's numbers, so its twins would"
        f" learn another order than the one they are asked in; expected one order: --classes {file}"
    )


def _own_factory(path: Path) -> str | None:
    """The default factory for twins of a victim that is a folder."""
    result = read_json(path / "config.json") if (path / "config.json").is_file() else {}
    if "model_type" in result:
        return f"{PREFIX}:{path}"
    return f"timm:{result['architecture']}" if "architecture" in result else None


def _for_twins(loaded: Loaded) -> str:
    """The victim's contract for models that other code builds, as JSON; its classes by their places. "" if it
    is empty."""
    columns = loaded.module.columns if isinstance(loaded.module, Contracted) else ()
    result = replace(loaded.contract.for_twins(), classes=Classes(columns=columns)).to_json()
    return canonical_json(result) if result else ""


NEEDED = {
    "victim": "the victim that it trained",
    "factory": "what builds the module that a twin's weights go into",
}


def training_of(args: argparse.Namespace, needs: Sequence[str] = tuple(NEEDED)) -> OwnTraining | None:
    """The training procedure that ``--train`` or ``--train-command`` names; None without either.

    Args:
        needs: other options that must be given.

    Raises:
        ConfigError: both are given, another option is missing, or the procedure cannot be run.
    """
    given = [
        name
        for name in ("--train", "--train-command")
        if getattr(args, name[2:].replace("-", "_")) is not None
    ]
    if not given:
        if args.train_timeout is not None:
            raise ConfigError("--train-timeout limits --train or --train-command, but neither is given")
        return None
    if len(given) == 2:
        raise ConfigError(
            "--train and --train-command are both given; expected one of them: what trained the victim"
        )
    for needed in needs:
        if getattr(args, needed) is None:
            raise ConfigError(f"{given[0]} needs --{needed}: {NEEDED[needed]}")
    timeout_s = OwnTraining.timeout_s if args.train_timeout is None else args.train_timeout
    if args.train is not None:
        return by_function(args.train, args.factory, timeout_s)
    return by_command(args.train_command, args.factory, timeout_s)
