"""The command line: one subcommand a stage. Only what the one that is asked for needs is imported: torch alone takes seconds."""

import argparse
import contextlib
import difflib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

from zooaudit import __version__
from zooaudit.errors import InputError, ZooauditError
from zooaudit.events import event_line
from zooaudit.subcommands import SUBCOMMANDS, Subcommand, found

INTERRUPTED = 130
NO_READER = 141
"""What shells say of a command that writes into a closed pipe."""
Command = Callable[[argparse.Namespace, TextIO], int]

EXIT_CODES = """\
exit codes: 0 done; 2 bad input; 3 the store cannot be used or holds damage; 4 too few models learnt for a verdict;
5 the farm gave up; 6 a pack of evidence was rejected; 7 a suspect behind an API does not answer, or its budget is spent; 130 interrupted.
After 3, 4, 5, 7 and 130 the same command goes on where it stopped.
"""


def main(argv: list[str] | None = None) -> int:
    """Run ``zooaudit`` with arguments; returns the exit code. Errors of ours are one line, with ``--debug`` a traceback."""
    given = sys.argv[1:] if argv is None else argv
    try:
        args = _parsed(given or ["--help"])
    except KeyboardInterrupt:  # while it imports
        print("zooaudit: interrupted", file=sys.stderr)
        return INTERRUPTED
    args.command_line = given
    command: Command = args.command
    out = sys.stdout
    aside = _asides() if args.log == "events" else sys.stderr  # Ray prints a worker's death to standard output,
    try:
        with _sigterm_interrupts(), contextlib.redirect_stdout(aside):  # which is for results only
            code = command(args, out)
            out.flush()
            return code
    except BrokenPipeError:  # whoever read the output has seen enough, as head does; Python must not complain of it again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return NO_READER
    except ZooauditError as error:
        if args.debug:
            raise
        return _complain(args, "error", error.exit_code, " ".join(str(error).split()))
    except OSError as error:  # of a file that nobody looked at beforehand
        if args.debug or not error.filename:
            raise
        return _complain(args, "error", InputError.exit_code, f"{error.filename}: {error.strerror}; --debug shows where")
    except KeyboardInterrupt:
        return _complain(args, "stopped", INTERRUPTED, "interrupted; finished models are kept, the same command goes on from there")


def _parsed(given: Sequence[str]) -> argparse.Namespace:
    """What was asked for; exits with usage and the nearest option or subcommand where there is no such."""
    name = next((a for a in given if not a.startswith("-")), "")
    parser = make_parser(name)
    if given[0] == name and name not in SUBCOMMANDS:
        parser.error(f"there is no subcommand {name!r}{_meant(name, SUBCOMMANDS)}; zooaudit --help lists them")
    args, unknown = parser.parse_known_args(given)
    if unknown:
        own: argparse.ArgumentParser = args.parser
        options = [option for action in own._actions for option in action.option_strings]  # no public way to list them
        near = _meant(unknown[0].partition("=")[0], options) if unknown[0].startswith("-") else ""
        own.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
    return args


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _asides() -> Any:
    from zooaudit.console import Asides, EventLog

    return Asides(EventLog())


def _complain(args: argparse.Namespace, event: str, code: int, message: str) -> int:
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


def make_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The command line: all of it, or with the options of one subcommand alone."""
    parser = argparse.ArgumentParser(
        prog="zooaudit",
        description="Was this suspect model stolen from mine? Audits of model theft by UAP fingerprints.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"zooaudit {__version__}")
    subcommands = parser.add_subparsers(title="subcommands", metavar="COMMAND", required=True)
    for name, one in SUBCOMMANDS.items():
        if only in (None, name):
            _add(subcommands, name, one)
        else:
            subcommands.add_parser(name, help=one.summary)
    return parser


def _add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, one: Subcommand) -> None:
    """Add a subcommand with its options, those that all share first."""
    example = found(one.example) if ":" in one.example.split()[0] else one.example
    parser = subcommands.add_parser(
        name,
        help=one.summary,
        description=f"{one.summary}.",
        epilog=f"example:\n  {example}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --train must not be taken for --train-timeout where there is no --train
    )
    parser.set_defaults(command=found(one.run), parser=parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, everything else on standard error")
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
