"""Hooks of MkDocs: what the site has beside docs/, and links as they work in the repository
made to fit the site.

README.md is the first page, cluster/README.md and others are pages too; a file of the repository that a page
links to comes with the site, under ``files/``. The notebook is shown as a page, and the command line's
options are written from its parser.
"""

import argparse
import json
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from zooaudit.cli.main import make_parser
from zooaudit.cli.subcommands import SUBCOMMANDS

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "cluster/README.md": "clusters.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages outside docs/, those that are there: their place in the repository, and in the site."""
NOTEBOOK = "tutorials/digits.ipynb"
OPTIONS = "<!-- every option -->"
LINK = re.compile(r"(?P<text>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<target>[^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Put pages for developers that lie in the repository's root into the order of pages,
    those that are there."""
    (developers,) = (section["Developers"] for section in config.nav if "Developers" in section)
    known = [page for entry in developers if isinstance(entry, dict) for page in entry.values()]
    for place in ("CONTRIBUTING.md", "SECURITY.md"):
        if (ROOT / place).exists() and PAGES[place] not in known:
            developers.insert(1, {place.removesuffix(".md").capitalize(): PAGES[place]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add pages and files that are not in docs/."""
    for place, page in PAGES.items():
        if (ROOT / place).exists():
            files.append(File.generated(config, page, content=(ROOT / place).read_text(encoding="utf-8")))
    notebook = Path(config.docs_dir) / NOTEBOOK
    files.append(
        File.generated(
            config, NOTEBOOK.replace(".ipynb", ".md"), content=shown(json.loads(notebook.read_text()))
        )
    )
    for written in files.documentation_pages():
        for link in LINK.finditer(written.content_string):
            place = _place(written.src_uri, link["target"].partition("#")[0])
            if (
                "://" not in link["target"]
                and _comes_along(place)
                and not files.get_file_from_path(f"files/{place}")
            ):
                files.append(File.generated(config, f"files/{place}", abs_src_path=str(ROOT / place)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """What python-markdown needs, and what the site has in another place than the repository."""
    text = re.sub(r"^<!-- (?:table: .*|end|/table) -->$", "", markdown, flags=re.MULTILINE)
    if OPTIONS in text:
        text = text.replace(OPTIONS, every_option())
    return _outside_code(
        text, lambda part: LINK.sub(lambda link: _linked(link, page.file.src_uri), _spaced(part))
    )


def _place(page: str, target: str) -> str:
    """Where in the repository a link of a page leads."""
    source = next((place for place, name in PAGES.items() if name == page), f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target)) if target else source


def _comes_along(place: str) -> bool:
    """Whether it is a file of the repository that is not a page and not in docs/."""
    return place not in PAGES and not place.startswith(("docs/", "..")) and (ROOT / place).is_file()


def _linked(link: re.Match[str], page: str) -> str:
    target, _, anchor = link["target"].partition("#")
    if not target or "://" in target or target.startswith("mailto:"):
        return link[0]
    place = _place(page, target)
    if (ROOT / place).is_dir():
        if place != "docs/decisions":
            return link["text"][1:-1]
        place = "docs/decisions/0001-architecture.md"  # the first; the others are beside it
    if place == f"docs/{NOTEBOOK}":
        place = place.replace(".ipynb", ".md")
    site = PAGES.get(place) or (
        place.removeprefix("docs/") if place.startswith("docs/") else f"files/{place}"
    )
    to = posixpath.relpath(site, posixpath.dirname(page) or ".") + (f"#{anchor}" if anchor else "")
    return f"{link['text']}({to})"


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """``text`` with all but its fenced blocks changed."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else change(part) for part in parts)


def _spaced(text: str) -> str:
    """A list begins after an empty line in python-markdown, on GitHub without."""
    item, lines = re.compile(r"^ *(?:[-*]|\d+\.) "), text.split("\n")
    done: list[str] = []
    for line in lines:
        before = done[-1] if done else ""
        if (
            item.match(line)
            and before.strip()
            and not item.match(before)
            and not before.startswith((" ", ">", "|"))
        ):
            done.append("")
        done.append(line)
    return "\n".join(done)


def every_option() -> str:
    """Help of each subcommand, as its ``--help`` says it."""
    (action,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    parts = []
    for name, one in SUBCOMMANDS.items():
        text = action.choices[name].format_help().partition("exit codes:")[0].rstrip()
        parts.append(f"### zooaudit {name}\n\n{one.summary}.\n\n```text\n{text}\n```")
    return "\n\n".join(parts)


def shown(notebook: dict[str, Any]) -> str:
    """A notebook as Markdown: its text, its code, and what it printed or drew."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if png := data.get("image/png"):
                parts.append(
                    f'<img alt="What this cell draws" src="data:image/png;base64,{"".join(png).strip()}">'
                )
            elif text := "".join(output.get("text", data.get("text/plain", ""))):
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"
