"""A suspect behind an API, described: by its address alone, or by a TOML file."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zooaudit.config import check
from zooaudit.errors import ConfigError, InputError
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.wire import Wire

Settings = Mapping[str, Any]
EXAMPLE = """url = "https://models.example/v2/models/shirts/infer"
protocol = "v2"              # or tensorflow, torchserve, template
layout = "nchw"              # or nhwc, flat
classes = ["top", "trousers"] # its names of the kit's classes, in the kit's order
key_env = "SUSPECT_KEY"
rate = 20                    # images a second
"""


@dataclass(frozen=True)
class Remote:
    """Where a suspect is and how it is asked.

    Attributes:
        url: http or https, of its prediction route.
        batch: images a request.
        concurrency: requests at once.
        rate: images a second at most; 0 is no limit.
        retries: of one request.
        timeout_s: of one request.
        patience_s: how long one request is tried in all.
        key_env: environment variable with its key; the key itself is never in a file, a ledger or a log.
        ca: PEM file of certificates to trust beside the usual ones.

    Raises:
        ConfigError: a value out of range.
    """

    url: str
    wire: Wire
    naming: Naming
    batch: int = 32
    concurrency: int = 4
    rate: float = 0.0
    retries: int = 8
    timeout_s: float = 30.0
    patience_s: float = 300.0
    key_env: str = ""
    key_header: str = "Authorization"
    key_prefix: str = "Bearer"
    headers: Mapping[str, str] = field(default_factory=dict)
    ca: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        check(
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc,
            self,
            "url",
            "http(s)://host/path, no password",
        )
        for name, least in (("batch", 1), ("concurrency", 1), ("retries", 0)):
            value = getattr(self, name)
            check(isinstance(value, int) and value >= least, self, name, f"a whole number, {least} at least")
        for name in ("rate", "timeout_s", "patience_s"):
            value = getattr(self, name)
            positive = isinstance(value, int | float) and math.isfinite(value) and (value > 0 or (name == "rate" and value == 0))
            check(positive, self, name, "a number of images a second, 0 for no limit" if name == "rate" else "seconds, more than 0")

    @property
    def about(self) -> dict[str, Any]:
        """What its answers depend on: a ledger is of one suspect asked in one way."""
        wire, naming = self.wire, self.naming
        asked = {f.name: getattr(wire, f.name) for f in fields(wire)}
        return {"url": self.url, **asked, "classes": list(naming.classes), "columns": list(naming.columns)}

    def described(self, metadata: Any) -> Wire:
        """The wire to a ``v2`` model that tells of its inputs: the first one's name, and the layout that its shape shows."""
        inputs = metadata.get("inputs") if isinstance(metadata, dict) else None
        first = inputs[0] if isinstance(inputs, list) and inputs and isinstance(inputs[0], dict) else {}
        name = first.get("name")
        return replace(self.wire, input=name if isinstance(name, str) else "input")


def read_remote(path: Path, classes: tuple[str, ...]) -> Remote:
    """A suspect described by a TOML file.

    Args:
        classes: the kit's names of its classes, which are the suspect's unless the file says otherwise.

    Raises:
        InputError: no such file, no TOML, or settings that are none.
    """
    try:
        settings = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected TOML such as:\n{EXAMPLE}") from error
    return remote_of(settings, classes)


def remote_of(settings: Settings, classes: tuple[str, ...]) -> Remote:
    """A suspect from plain settings, the fields of ``Remote``, ``Wire`` and ``Naming`` together; the protocol is what the address shows
    unless it is said."""
    own = _split(settings)
    if "url" not in own[Remote]:
        raise ConfigError("the suspect has no url; expected the address of its prediction route")
    wire = _usual(str(own[Remote]["url"]), settings) | own[Wire]
    if wire.get("protocol") is None:
        raise ConfigError(
            f"{settings['url']} does not show its protocol (.../infer, ...:predict, /predictions/...); say protocol = one of "
            "v2, tensorflow, torchserve, template"
        )
    naming = {"classes": classes} | {k: tuple(v) if isinstance(v, list) else v for k, v in own[Naming].items()}
    if len(naming["classes"]) != len(classes):
        raise ConfigError(f"classes names {len(naming['classes'])}; the kit has {len(classes)}: {', '.join(classes)}")
    return Remote(wire=Wire(**wire), naming=Naming(**naming), **own[Remote])


def _usual(url: str, settings: Settings) -> dict[str, Any]:
    """What an address shows."""
    path = urlsplit(url).path
    shown = (
        "tensorflow"
        if path.endswith(":predict")
        else "v2"
        if path.endswith("/infer")
        else "torchserve"
        if "/predictions/" in path
        else None
    )
    protocol = settings.get("protocol", shown)
    return {"protocol": protocol, "layout": "nhwc" if protocol == "tensorflow" else "nchw"}


def _split(settings: Settings) -> dict[type, dict[str, Any]]:
    """Settings by whose they are, each of its field's type."""
    own: dict[type, dict[str, Any]] = {Remote: {}, Wire: {}, Naming: {}}
    kinds = {f.name: (owner, str(f.type)) for owner in own for f in fields(owner) if f.name not in ("wire", "naming")}
    for name, value in settings.items():
        if name not in kinds:
            raise ConfigError(f"the setting {name!r} is unknown; expected some of {', '.join(sorted(kinds))}")
        owner, kind = kinds[name]
        if not isinstance(value, TYPES.get(kind, object)) or isinstance(value, bool):
            raise ConfigError(f"{name} is {value!r}; expected {EXPECTED.get(kind, kind)}")
        own[owner][name] = value
    return own


TYPES: dict[str, Any] = {
    "str": str, "int": int, "float": (int, float), "tuple[str, ...]": list, "tuple[int, ...]": list, "Mapping[str, str]": dict,
    "Protocol": str, "Layout": str,
}  # fmt: skip
EXPECTED = {
    "str": "a text", "int": "a whole number", "float": "a number", "tuple[str, ...]": "a list of names",
    "tuple[int, ...]": "a list of numbers", "Mapping[str, str]": "a table of names and texts",
}  # fmt: skip
