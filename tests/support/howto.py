"""The shell commands of the how-to pages, and folders in which they are run."""

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.places import ROOT
from zooaudit.cli.main import main
from zooaudit.zoo import call_training, own_training

READERS = (
    "README.md",
    "docs/install.md",
    "docs/digits.md",
    "docs/your-model.md",
    "docs/score.md",
    "docs/evidence.md",
    "docs/serve.md",
    "docs/mlserver.md",
    "docs/s3.md",
    "docs/studies.md",
    "docs/results.md",
    "docs/costs.md",
    "docs/cluster.md",
    "docs/recipes.md",
)
"""Pages whose reader has a net of their own and images of one size."""
PAGES = (*READERS, "docs/models.md", "docs/data.md", "docs/apis.md")


@dataclass(frozen=True)
class Command:
    """One line of a page's shell blocks, without its comment."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def commands(page: str) -> list[Command]:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    bare = (re.sub(r"\s+", " ", re.sub(r"(^|\s)#.*", "", line)).strip() for line in lines)
    return [Command(page, line.removeprefix(".venv/bin/")) for line in bare if line]


def block(page: str, start: str) -> str:
    """The TOML block of a page that begins so."""
    (found,) = (
        b
        for b in re.findall(r"^```toml\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
        if b.startswith(start)
    )
    return found


@dataclass
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass
class Town:
    """A folder in which the commands of some pages are run.

    Attributes:
        places: what stands in the place of something that a page names; the rest of a
            command is as it is on the page.
        known: of a place whose content is known only later.
        said: by commands that were run beforehand.
    """

    folder: Path
    places: dict[str, str]
    known: dict[str, Callable[["Town"], str]] = field(default_factory=dict)
    said: dict[str, Done] = field(default_factory=dict)

    def filled(self, text: str) -> str:
        for place, content in self.places.items():
            text = text.replace(place, content)
        for place, found in self.known.items():
            if place in text:
                text = text.replace(place, found(self))
        return text

    def run(self, text: str) -> Done:
        """In this process: a Python of its own for each would take most of the time."""
        words = shlex.split(self.filled(text))
        assert words[0] == "zooaudit", text
        trains = words[1] == "audit" or "--with-models" in words
        out, err = io.StringIO(), io.StringIO()
        with here(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*words[1:], *(["--farm", "serial"] if trains else [])])
        return Done(code, out.getvalue(), err.getvalue())

    def done(self, text: str) -> Done:
        """The same, once."""
        if text not in self.said:
            self.said[text] = self.run(text)
            assert self.said[text].code == 0, (text, self.said[text])
        return self.said[text]


@contextmanager
def here(folder: Path) -> Iterator[None]:
    """In that folder, with its packages and no other folder's; twins are trained in this process, by the
    program that trains them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        for name in [n for n in sys.modules if n.partition(".")[0] in ("my_package", "their_package")]:
            patch.delitem(sys.modules, name)
        patch.setattr(own_training, "run", at_once)
        yield
        for name in [n for n in sys.modules if n.partition(".")[0] in ("my_package", "their_package")]:
            del sys.modules[name]


def at_once(
    command: Sequence[str],
    folder: Path,
    log: Path,
    limits: object,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """In place of a process of its own, which tests of own training start: nineteen times torch and
    transformers take a minute."""
    assert command[3] == "zooaudit.zoo.call_training"
    function, seed, threads, data, out = command[4:]
    log.write_bytes(b"")
    with torch.random.fork_rng([]), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return call_training.main(function, int(seed), int(threads), data, Path(out)), ""
