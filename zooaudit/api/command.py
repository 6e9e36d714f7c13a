"""Run a subcommand of ``zooaudit`` in this process: options by keyword, the result as the object that
``--json`` prints."""

import io
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from zooaudit.cli.main import make_parser
from zooaudit.cli.subcommands import found
from zooaudit.errors import ConfigError


def run(subcommand: str, options: Mapping[str, Any], words: Sequence[str] = ()) -> dict[str, Any]:
    """Run it.

    Args:
        options: by name, ``gpus_per_worker=0.5`` for ``--gpus-per-worker 0.5``; True for a flag, a list for
            an option with several values or that may be repeated; None and False are left out.
        words: the positional arguments.

    Raises:
        ConfigError: there is no such option, or it does not take that value.
        ZooauditError: see :mod:`zooaudit.errors`.
    """
    parser, given = make_parser(subcommand), [subcommand, *words, "--json"]
    known = _repeated(parser, subcommand)
    for name, value in options.items():
        given += _option(name, value, known)
    args = _parsed(parser, given)
    args.command_line, args.started = given, time.perf_counter()
    out = io.StringIO()
    found(args.does)(args, out)
    result: dict[str, Any] = json.loads(out.getvalue())
    return result


def _option(name: str, value: Any, repeated: Mapping[str, bool]) -> list[str]:
    """The words of one option."""
    option = f"--{name.replace('_', '-')}"
    if option not in repeated:
        raise ConfigError(
            f"there is no option {name}; expected one of"
            f" {', '.join(sorted(o[2:].replace('-', '_') for o in repeated))}"
        )
    if value is None or value is False:
        return []
    if value is True:
        return [option]
    if not isinstance(value, (list, tuple)):
        return [f"{option}={value}"]  # a value may begin with a sign
    return [f"{option}={one}" for one in value] if repeated[option] else [option, *map(str, value)]


def _repeated(parser: Any, subcommand: str) -> dict[str, bool]:
    """The subcommand's options; True for those that are repeated for each value."""
    (action,) = (a for a in parser._actions if hasattr(a, "choices") and isinstance(a.choices, dict))
    actions = [
        a for a in action.choices[subcommand]._actions if a.dest not in ("help", "debug", "json", "log")
    ]
    return {
        o: type(a).__name__ == "_AppendAction"
        for a in actions
        for o in a.option_strings
        if o.startswith("--")
    }


def _parsed(parser: Any, given: Sequence[str]) -> Any:
    def refuse(message: str) -> None:
        raise ConfigError(message)

    (action,) = (a for a in parser._actions if hasattr(a, "choices") and isinstance(a.choices, dict))
    parser.error = action.choices[given[0]].error = refuse
    return parser.parse_args(given)
