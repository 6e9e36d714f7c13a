"""The command line before it works: it answers at once, says what was meant, completes, and ends with one
line when it is interrupted."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zooaudit.cli.completion import EXAMPLE
from zooaudit.cli.main import main
from zooaudit.cli.subcommands import SUBCOMMANDS

Capture = pytest.CaptureFixture[str]
HEAVY = (
    "torch",
    "numpy",
    "scipy",
    "sklearn",
    "pyarrow",
    "pandas",
    "ray",
    "matplotlib",
    "boto3",
    "httpx",
    "pydantic",
    "fastapi",
    "jinja2",
)
COUNTED = """
import json, sys
from zooaudit.__main__ import run
try:
    run()
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *arguments], capture_output=True, text=True, check=True
    )
    found: list[str] = json.loads(done.stderr.splitlines()[-1])
    return found


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], [], ["scor"], ["--verison"]], ids=" ".join)
def test_what_needs_no_subcommand_imports_none(arguments: list[str]) -> None:
    found = imported(*arguments)
    assert {m for m in found if m.startswith("zooaudit")} == {
        "zooaudit",
        "zooaudit.__main__",
        "zooaudit.cli",
        "zooaudit.cli.main",
        "zooaudit.cli.subcommands",
        "zooaudit.errors",
        "zooaudit.telemetry",
        "zooaudit.telemetry.events",
    }
    assert len(found) < 160, "of Python's own modules"


@pytest.mark.processes
@pytest.mark.parametrize("name", list(SUBCOMMANDS))
def test_help_and_a_mistyped_option_import_nothing_that_takes_a_while(name: str) -> None:
    for arguments in ([name, "--help"], [name, "--nothing-of-that-name"]):
        found = imported(*arguments)
        assert not set(HEAVY) & set(found), arguments
        assert len([m for m in found if m.startswith("zooaudit")]) < 30


INTERRUPTING = """
import signal, sys
moment = sys.argv.pop(1)
# As in a terminal: whoever runs this in the background ignores Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, *_):
        if name == moment:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
from zooaudit.__main__ import run
sys.exit(run())
"""
MOMENTS = (
    "zooaudit.cli.main",
    "argparse",
    "difflib",
    "zooaudit.cli.subcommands",
    "zooaudit.cli.arguments",
    "zooaudit.cli.arguments.kits",
    "zooaudit.recipes.named",
    "zooaudit.cli.kit",
    "torch",
    "torch.nn",
    "numpy",
    "pyarrow",
    "scipy.stats",
    "zooaudit.kits.kit",
    "zooaudit.storage.artifacts",
)


@pytest.mark.processes
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_while_it_imports_is_one_line_and_130(moment: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTING, moment, "kit", "--store", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert done.stderr.startswith("zooaudit: interrupted") and done.stderr.count("\n") == 1


MISTYPED = {
    "a subcommand": (
        ["scroe", "--kit", "4f"],
        "usage: zooaudit ",
        "there is no subcommand 'scroe'; did you mean score?",
    ),
    "an option": (
        ["audit", "--recpie", "digits"],
        "usage: zooaudit audit ",
        "--recpie; did you mean --recipe?",
    ),
    "an option that has to be given": (
        ["score", "--kti", "4f"],
        "usage: zooaudit score ",
        "--kti; did you mean --kit?",
    ),
    "an option with its value": (
        ["kit", "--stroe=s3://a/b"],
        "usage: zooaudit kit ",
        "--stroe; did you mean --store?",
    ),
    "an action": (["kit", "comit"], "usage: zooaudit kit ", "there is no 'comit'; did you mean commit?"),
    "a value": (
        ["audit", "--farm", "serail"],
        "usage: zooaudit audit ",
        "there is no 'serail'; did you mean serial?",
    ),
    "an option before the subcommand": (
        ["--store", "s", "kit"],
        "usage: zooaudit ",
        "options come after the subcommand",
    ),
    "one of all": (["--verison"], "usage: zooaudit ", "--verison; did you mean --version?"),
    "nothing alike": (["audit", "--xyzzy"], "usage: zooaudit audit ", "unrecognized arguments: --xyzzy\n"),
    "too much": (["doctor", "nurse"], "usage: zooaudit doctor ", "unrecognized arguments: nurse"),
}


@pytest.mark.parametrize("name", MISTYPED)
def test_what_is_mistyped_gets_the_nearest_and_its_subcommands_usage(name: str, capsys: Capture) -> None:
    arguments, usage, said = MISTYPED[name]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and out == ""
    assert err.startswith(usage) and said in err


def test_a_value_may_begin_with_dashes_where_it_is_one_word_with_spaces(capsys: Capture) -> None:
    assert main(["audit", "--recipe", "nothing", "--train-command", "--not-an-option of ours"]) == 2
    assert "unknown recipe" in capsys.readouterr().err


def test_alone_it_prints_help(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and all(re.search(rf"\n    {name}\s", shown) for name in SUBCOMMANDS)


def completed(script: str, *words: str) -> list[str]:
    """What bash offers for the last word."""
    typed = f"COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}"
    asked = f"{script}\n{typed}; _zooaudit; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


def script_for(shell: str, capsys: Capture) -> str:
    capsys.readouterr()
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def test_bash_completes_subcommands_options_and_values(capsys: Capture) -> None:
    script = script_for("bash", capsys)
    assert completed(script, "zooaudit", "") == [*SUBCOMMANDS, "--help", "--version"]
    assert completed(script, "zooaudit", "ev") == ["evidence"]
    assert completed(script, "zooaudit", "audit", "--fa") == ["--factory", "--farm", "--fallback"]
    assert completed(script, "zooaudit", "audit", "--farm", "") == ["ray", "serial"]
    assert completed(script, "zooaudit", "audit", "--farm", "s") == ["serial"]
    assert completed(script, "zooaudit", "kit", "c") == ["commit"]
    assert completed(script, "zooaudit", "audit", "--data", "") == [], "files are offered instead"


ZSH = """compdef() {}; _describe() { print -rl -- $found }; _files() { print files }
source /dev/stdin; words=("$@"); CURRENT=$#; _zooaudit"""
"""The script in a real zsh, without its line editor: what it would offer, a line each."""


@pytest.mark.shells
def test_zsh_completes_subcommands_options_and_values(capsys: Capture) -> None:
    script = script_for("zsh", capsys)

    def offered(*words: str) -> list[str]:
        found = subprocess.run(
            ["zsh", "-f", "-c", ZSH, "zsh", *words], input=script, capture_output=True, text=True, check=True
        )
        assert not found.stderr
        return [line.partition(":")[0] for line in found.stdout.splitlines()]

    assert offered("zooaudit", "") == list(SUBCOMMANDS)
    assert {"--factory", "--farm", "--fallback"} <= set(offered("zooaudit", "audit", "--fa"))
    assert offered("zooaudit", "audit", "--farm", "") == ["ray", "serial"]
    assert "commit" in offered("zooaudit", "kit", "c")
    assert offered("zooaudit", "audit", "--data", "") == ["files"]


@pytest.mark.shells
def test_fish_completes_subcommands_options_and_values(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "zooaudit.fish").write_text(script_for("fish", capsys))
    (tmp_path / "commitments").touch()

    def offered(line: str) -> list[str]:
        command = ["fish", "--no-config", "-c", "source zooaudit.fish; complete -C $argv[1]", line]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert not found.stderr
        return [one.partition("\t")[0] for one in found.stdout.splitlines()]

    assert set(offered("zooaudit ")) == set(SUBCOMMANDS)
    assert offered("zooaudit audit --fa") == ["--factory", "--fallback", "--farm"]
    assert offered("zooaudit audit --farm ") == ["ray", "serial"]
    assert "commit" in offered("zooaudit kit c")
    assert offered("zooaudit completion ") == ["bash", "fish", "zsh"], "and no files"
    assert offered("zooaudit audit --data com") == ["commitments"]


def test_zsh_and_fish_get_the_same_words(capsys: Capture) -> None:
    zsh, fish = script_for("zsh", capsys), script_for("fish", capsys)
    for name, one in SUBCOMMANDS.items():
        assert f"{name}:{one.summary}" in zsh.replace("'\"'\"'", "'")
        assert f" -a {name} -d '{one.summary}'" in fish.replace("\\'", "'")

    assert "__fish_seen_subcommand_from audit' -l farm -x -a 'ray serial' -d " in fish
    assert all(f"completion {shell}" in EXAMPLE for shell in ("bash", "zsh", "fish"))


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [["--help"], ["kit", "--nothing"], ["doctor"]], ids=" ".join)
def test_nothing_is_coloured_on_a_terminal_either(arguments: list[str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-m", "zooaudit", *arguments],
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env=os.environ | {"NO_COLOR": "1"},
    )
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(ours, 65536):
            seen += part
    run.wait()
    os.close(ours)
    assert seen and b"\x1b[" not in seen
