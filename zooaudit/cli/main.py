"""The command line: one subcommand for each stage. Imports only what the chosen subcommand needs, since torch
alone takes seconds."""

import argparse
import contextlib
import difflib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

from zooaudit import __version__
from zooaudit.cli.subcommands import SUBCOMMANDS, Subcommand, found
from zooaudit.errors import InputError, ZooauditError
from zooaudit.telemetry.events import event_line

INTERRUPTED = 130
NO_READER = 141
"""The exit code by which shells report a write into a closed pipe."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
Command = Callable[[argparse.Namespace, TextIO], int]

EXIT_CODES = """\
exit codes: 0 done; 1 an error that zooaudit did not foresee; 2 bad input: fix an option, a name or a file;
3 the store cannot be used or holds damage; 4 too few models learnt for a verdict; 5 the farm gave up; 6 an
evidence pack was rejected; 7 a suspect behind an API does not answer, or its budget is spent; 8 the service
refused or does not answer; 130 interrupted.
After 3, 4, 5, 7 and 130, repeat the command to go on where it stopped.
"""


def main(argv: list[str] | None = None) -> int:
    """Run ``zooaudit`` with arguments; returns the exit code. Our own errors are printed on one line, with
    ``--debug`` as a traceback."""
    started = time.perf_counter()
    given = sys.argv[1:] if argv is None else argv
    try:
        args = _parsed(given or ["--help"])
    except KeyboardInterrupt:  # during imports
        print("zooaudit: interrupted", file=sys.stderr)
        return INTERRUPTED
    args.command_line, args.started = given, started
    if args.does == SUBCOMMANDS["completion"].run:
        args.parsers = {name: _alone(name) for name in SUBCOMMANDS}
    out = sys.stdout
    try:
        command: Command = found(args.does)
        # Ray prints a worker's death to standard output, which is for results only.
        aside = _asides() if args.log == "events" else sys.stderr
        with _sigterm_interrupts(), contextlib.redirect_stdout(aside):
            code = command(args, out)
            out.flush()
            return code
    except (
        BrokenPipeError
        # The reader has seen enough, as head does; Python must not complain about the closed pipe
        # again when it exits.
    ):
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return NO_READER
    except ZooauditError as error:
        if args.debug:
            raise
        return _complain(args, "error", error.exit_code, " ".join(str(error).split()))
    except OSError as error:  # from a file that was not checked beforehand
        if args.debug or not error.filename:
            raise
        return _complain(
            args, "error", InputError.exit_code, f"{error.filename}: {error.strerror}; --debug shows where"
        )
    except KeyboardInterrupt:
        return _complain(
            args,
            "stopped",
            INTERRUPTED,
            "interrupted; finished models are kept, repeat the command to go on from there",
        )


def _parsed(given: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; exit with usage and the nearest match if there is no such option or subcommand."""
    name = next((a for a in given if not a.startswith("-")), "")
    parser = make_parser(name)
    if given[0] == name and name not in SUBCOMMANDS:
        parser.error(f"there is no subcommand {name!r}{meant(name, SUBCOMMANDS)}; zooaudit --help lists them")
    if given[0] not in ("-h", "--help", "--version", name):
        parser.error(
            f"unrecognized arguments: {given[0]}{meant(given[0], parser.options)}; options come after the"
            " subcommand"
        )
    return parser.parse_args(given)


class Parser(argparse.ArgumentParser):
    """Suggests the nearest match for a mistyped word, and prints the usage of the subcommand in question."""

    def __init__(self, **how: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **how)
        # No abbreviations: --train must not be read as --train-timeout where there is no --train.

    @property
    def options(self) -> list[str]:
        # No public way to list them.
        return [option for action in self._actions for option in action.option_strings]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse, but report a mistyped option before a missing one: they may be the same."""
        known = self.options
        for word in args or []:
            name = word.partition("=")[0]
            if word == "--":
                break
            if self._subparsers is None and name.startswith("--") and " " not in name and name not in known:
                self.error(f"unrecognized arguments: {name}{meant(name, known)}")
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(c) for c in action.choices]
            raise argparse.ArgumentError(
                action, f"there is no {value!r}{meant(str(value), known)}; expected one of {', '.join(known)}"
            )


def meant(word: str, known: Iterable[str]) -> str:
    """Suggest what was meant, if there is a close match."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _asides() -> Any:
    from zooaudit.cli.terminal import Asides, EventLog

    return Asides(EventLog())


def _complain(args: argparse.Namespace, event: str, code: int, message: str) -> int:
    message = COLOUR.sub("", message)  # Ray's messages have colours
    line = event_line(event, code=code, message=message) if args.log == "events" else f"zooaudit: {message}"
    print(line, file=sys.stderr, flush=True)
    return code


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Treat SIGTERM, which ``ray job stop`` and Kubernetes send, as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def make_parser(only: str | None = None) -> Parser:
    """The parser of the whole command line, or with the options of one subcommand alone."""
    parser = Parser(
        prog="zooaudit",
        description="Was this suspect model stolen from mine? Audits of model theft.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"zooaudit {__version__}")
    subcommands = parser.add_subparsers(
        parser_class=Parser, title="subcommands", metavar="COMMAND", required=True
    )
    for name, one in SUBCOMMANDS.items():
        if only in (None, name):
            _add(subcommands, name, one)
        else:
            subcommands.add_parser(name, help=one.summary)
    return parser


def _alone(name: str) -> Parser:
    """The parser of one subcommand."""
    (action,) = (a for a in make_parser(name)._actions if isinstance(a, argparse._SubParsersAction))
    found: Parser = action.choices[name]
    return found


def _add(subcommands: "argparse._SubParsersAction[Parser]", name: str, one: Subcommand) -> None:
    """Add a subcommand with its options, the shared ones first."""
    example = found(one.example) if ":" in one.example.split()[0] else one.example
    parser = subcommands.add_parser(
        name,
        help=one.summary,
        description=f"{one.summary}.",
        epilog=f"example:\n  {example}\n\n{EXIT_CODES}",
    )
    parser.set_defaults(does=one.run)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object on standard output, everything else on standard error",
    )
    parser.add_argument(
        "--log",
        choices=("text", "events"),
        default="text",
        help="text for people, or one line an event with the time and key=value (default: %(default)s)",
    )
    if one.store:
        parser.add_argument(
            "--store",
            metavar="PLACE",
            default="./store",
            help="where models and results are kept: a folder, or s3://bucket/prefix (default: %(default)s)",
        )
    for add in one.arguments:
        found(add)(parser)


if __name__ == "__main__":
    sys.exit(main())
