"""A suspect behind an API, described: by its address alone, or by a TOML file."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zooaudit.config import canonical_json, check
from zooaudit.errors import ConfigError, InputError
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.wire import Layout, Protocol, Wire

Settings = Mapping[str, Any]
LEAST = 0.01
"""Of rates and of times."""
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
        timeout_s: of one request, from the first byte sent to the last one read.
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
        check(_is_address(self.url), self, "url", "http(s)://host/path, plain ASCII")
        for name, least, most in (("batch", 1, 10_000), ("concurrency", 1, 64), ("retries", 0, 1_000)):
            value = getattr(self, name)
            check(isinstance(value, int) and least <= value <= most, self, name, f"a whole number, {least} to {most:,}")
        for name, longest in (("rate", 1e6), ("timeout_s", 3600.0), ("patience_s", 86_400.0)):
            value = getattr(self, name)
            within = isinstance(value, int | float) and (LEAST <= value <= longest or (name == "rate" and value == 0))
            unit = "images a second, 0 for no limit," if name == "rate" else "seconds,"
            check(within, self, name, f"{unit} {LEAST} to {longest:,.0f}")
        plain = all(isinstance(v, str) and (k + v).isascii() and (k + v).isprintable() and k for k, v in self.headers.items())
        if not plain:  # values are not shown: one may be a key
            raise ConfigError(f"headers are {', '.join(map(str, self.headers))}; expected texts of printable ASCII")

    @property
    def about(self) -> dict[str, Any]:
        """What its answers depend on: a ledger is of one suspect asked in one way. Headers may choose a model, or whose account it is; the
        key of ``key_env`` may change meanwhile."""
        wire, naming = self.wire, self.naming
        asked = {f.name: getattr(wire, f.name) for f in fields(wire)} | {f.name: getattr(naming, f.name) for f in fields(naming)}
        headers = hashlib.sha256(canonical_json(sorted(self.headers.items())).encode()).hexdigest() if self.headers else ""
        return {"url": self.url, **asked, "classes": list(naming.classes), "columns": list(naming.columns), "headers": headers}

    def described(self, metadata: Any) -> Wire:
        """The wire to a ``v2`` model that tells of its inputs: by the first one's name."""
        inputs = metadata.get("inputs") if isinstance(metadata, dict) else None
        first = inputs[0] if isinstance(inputs, list) and inputs and isinstance(inputs[0], dict) else {}
        name = first.get("name")
        return replace(self.wire, input=name if isinstance(name, str) else "input")


def _is_address(url: Any) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and url.isascii() and url.isprintable()
        )
    except (ValueError, TypeError, AttributeError):
        return False


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
    url = own[Remote].get("url", "")
    if not url:
        raise ConfigError("the suspect has no url; expected the address of its prediction route")
    if not _is_address(url):
        raise ConfigError(f"url is {ascii(url)[:200]}; expected http(s)://host/path, plain ASCII, without a password")
    wire = _usual(url, settings) | own[Wire]
    if wire.get("protocol") is None:
        raise ConfigError(
            f"{url} does not show its protocol (.../infer, ...:predict, /predictions/...); say protocol = one of "
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
    kinds = {f.name: (owner, KINDS[f.type]) for owner in own for f in fields(owner) if f.type in KINDS}
    for name, value in settings.items():
        if name not in kinds:
            raise ConfigError(f"the setting {str(name)[:80]!r} is unknown; expected some of {', '.join(sorted(kinds))}")
        owner, kind = kinds[name]
        inner = value if isinstance(value, list) and kind.inner else ()
        if not _is(value, kind.outer) or not all(_is(v, kind.inner) for v in inner):
            raise ConfigError(f"{name} is {str(value)[:80]!r}; expected {kind.told}")
        own[owner][name] = value
    return own


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (object in kinds or not isinstance(value, bool))


@dataclass(frozen=True)
class Kind:
    """What a setting may be, and the elements of a list."""

    outer: tuple[type, ...]
    told: str
    inner: tuple[type, ...] = ()


KINDS: dict[Any, Kind] = {
    str: Kind((str,), "a text"),
    Protocol: Kind((str,), "a text"),
    Layout: Kind((str,), "a text"),
    int: Kind((int,), "a whole number"),
    float: Kind((int, float), "a number"),
    tuple[str, ...]: Kind((list,), "a list of names", (str,)),
    tuple[int, ...]: Kind((list,), "a list of numbers", (int,)),
    Mapping[str, str]: Kind((dict,), "a table of names and texts"),
    Any: Kind((object,), "anything"),
}
"""By the type of a field; fields of other types are no settings."""
