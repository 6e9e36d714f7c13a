"""Completion for bash, zsh and fish: a script that contains all subcommands and options, so that pressing tab
starts no Python."""

import argparse
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

from zooaudit.cli.subcommands import SUBCOMMANDS

EXAMPLE = """eval "$(zooaudit completion bash)"                # in ~/.bashrc
  eval "$(zooaudit completion zsh)"                 # in ~/.zshrc, after compinit
  zooaudit completion fish > ~/.config/fish/completions/zooaudit.fish"""


@dataclass(frozen=True)
class Word:
    """A word that can be typed, with a short description.

    Attributes:
        values: the words that can follow it; empty if any may, None if none does.
    """

    name: str
    help: str = ""
    values: tuple[str, ...] | None = None


def completion(args: argparse.Namespace, out: TextIO) -> int:
    """Print a script that completes subcommands and options: for bash, zsh or fish."""
    known = {name: list(_words(args.parsers[name])) for name in SUBCOMMANDS if name in args.parsers}
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](known), file=out)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``completion``."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell to complete in")


def _words(parser: argparse.ArgumentParser) -> Iterator[Word]:
    """The options of a subcommand, and the words that its arguments may be."""
    for action in parser._actions:  # no public way to list them
        if action.help == argparse.SUPPRESS:
            continue
        data = (action.help or "").partition(";")[0].partition(" (")[0].replace("\n", " ")[:80]
        choices = tuple(map(str, action.choices or ()))
        for option in action.option_strings:
            yield Word(option, data, None if action.nargs == 0 else choices)
        if not action.option_strings:
            yield from (Word(choice) for choice in choices)


Known = dict[str, list[Word]]


def _bash(known: Known) -> str:
    options = "\n".join(
        f"            {name}) words={shlex.quote(' '.join(w.name for w in words))} ;;"
        for name, words in known.items()
    )
    return f"""_zooaudit() {{
    local word command= words=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do [[ $word == -* ]] || {{ command=$word; break; }}; done
    case "$command ${{COMP_WORDS[COMP_CWORD-1]}}" in
{_cases(known, '        "{}") words={} ;;', lambda values: shlex.quote(" ".join(values)))}
        *) case "$command" in
            "") words={shlex.quote(" ".join([*known, "--help", "--version"]))} ;;
{options}
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _zooaudit zooaudit"""


def _cases(known: Known, line: str, listed: Callable[[Iterable[str]], str]) -> str:
    """A line for each option whose values are known, or that takes any: for the latter there are no words,
    and files are offered."""
    found = []
    for name, words in known.items():
        found += [line.format(f"{name} {w.name}", listed(w.values)) for w in words if w.values is not None]
    return "\n".join(found)


def _zsh(known: Known) -> str:
    commands = " ".join(shlex.quote(f"{name}:{SUBCOMMANDS[name].summary}") for name in known)
    options = "\n".join(
        f"            {name}) found=({' '.join(map(_described, words))}) ;;" for name, words in known.items()
    )
    return f"""#compdef zooaudit
_zooaudit() {{
    local word command=
    local -a found
    for word in ${{words[2,CURRENT-1]}}; do [[ $word == -* ]] || {{ command=$word; break }}; done
    case "$command ${{words[CURRENT-1]}}" in
{_cases(known, '        "{}") found=({}) ;;', shlex.join)}
        *) case "$command" in
            "") found=({commands}) ;;
{options}
        esac ;;
    esac
    (( $#found )) && _describe zooaudit found || _files
}}
compdef _zooaudit zooaudit"""


def _described(word: Word) -> str:
    return shlex.quote(f"{word.name}:{word.help}" if word.help else word.name)


def _fish(known: Known) -> str:
    lines = ["complete -c zooaudit -n __fish_use_subcommand -f -l help -l version"]
    for name, words in known.items():
        lines.append(
            f"complete -c zooaudit -n __fish_use_subcommand -f -a {name} -d"
            f" {_fished(SUBCOMMANDS[name].summary)}"
        )
        for word in words:
            seen = f"complete -c zooaudit -n '__fish_seen_subcommand_from {name}'"
            if not word.name.startswith("-"):
                lines.append(f"{seen} -f -a {word.name}")
                continue
            option = f"-l {word.name[2:]}" if word.name.startswith("--") else f"-s {word.name[1:]}"
            takes = (
                ""
                if word.values is None
                else f" -x -a {_fished(' '.join(word.values))}"
                if word.values
                else " -r"
            )
            lines.append(f"{seen} {option}{takes} -d {_fished(word.help)}")
    return "\n".join(lines)


def _fished(text: str) -> str:
    r"""Quote for fish: inside single quotes only \ and ' are special."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
