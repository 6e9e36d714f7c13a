"""A suspect behind an API, described by its address alone or by a TOML file."""

import difflib
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zooaudit.config import canonical_json, check
from zooaudit.errors import ConfigError, InputError
from zooaudit.suspects.addresses import GRPC, is_address, without_keys
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.pictures import Layout
from zooaudit.suspects.signing import Signing
from zooaudit.suspects.wire import LATER, PROTOCOLS, Protocol, Wire

Settings = Mapping[str, Any]
LEAST = 0.01
"""The smallest rate, in images a second, and the shortest time, in seconds."""
NEAR = 0.7
"""From which similarity of two names, 0 to 1, one may be a typo of the other."""
ADDRESS = "http(s)://host/path, or grpc(s)://host:port/model"
HUGGING_FACE = (".endpoints.huggingface.cloud", "api-inference.huggingface.co", "router.huggingface.co")
"""Hosts that take an image as the body, and return labels with scores."""
EXAMPLE = """url = "https://models.example/v2/models/shirts/infer"
protocol = "v2"              # or tensorflow, torchserve, raw, form, template
layout = "nchw"              # or nhwc, flat
classes = ["top", "trousers"] # its names of the kit's classes, in the kit's order
key_env = "SUSPECT_KEY"
rate = 20                    # images a second
"""


@dataclass(frozen=True)
class Remote:
    """Where a suspect is and how it is asked.

    Attributes:
        url: http or https, of its prediction route; or ``grpc[s]://host:port/model[/version]``.
        signing: how its requests are signed.
        batch: most images in a request.
        largest_request: most bytes in a request, unless a single image has more.
        concurrency: requests at the same time.
        rate: most images a second; 0 is no limit.
        retries: of one request; while its model loads, only ``patience_s`` limits them.
        timeout_s: of one exchange, from the look-up of the name to the last byte read.
        patience_s: how long one request is retried in all.
        ca: PEM file of certificates to trust in addition to the usual ones.
        stated: names of the settings that were given.

    Raises:
        ConfigError: a value is out of range.
    """

    url: str
    wire: Wire
    naming: Naming
    signing: Signing = field(default_factory=Signing)
    batch: int = 32
    largest_request: int = 4_000_000
    concurrency: int = 4
    rate: float = 0.0
    retries: int = 8
    timeout_s: float = 30.0
    patience_s: float = 300.0
    headers: Mapping[str, str] = field(default_factory=dict)
    ca: str = ""
    stated: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not is_address(self.url):
            raise ConfigError(
                f"url is {ascii(self.shown)[:200]}; expected {ADDRESS}, plain ASCII, without a password"
            )
        limits = (
            ("batch", 1, 10_000),
            ("largest_request", 1_000, 2**31 - 1),
            ("concurrency", 1, 64),
            ("retries", 0, 1_000),
        )
        for name, least, most in limits:
            value = getattr(self, name)
            check(
                isinstance(value, int) and least <= value <= most,
                self,
                name,
                f"a whole number, {least} to {most:,}",
            )
        for name, longest in (("rate", 1e6), ("timeout_s", 3600.0), ("patience_s", 86_400.0)):
            value = getattr(self, name)
            within = isinstance(value, int | float) and (
                LEAST <= value <= longest or (name == "rate" and value == 0)
            )
            unit = "images a second, 0 for no limit," if name == "rate" else "seconds,"
            check(within, self, name, f"{unit} {LEAST} to {longest:,.0f}")
        plain = all(
            isinstance(v, str) and (k + v).isascii() and (k + v).isprintable() and k
            for k, v in self.headers.items()
        )
        if not plain:  # the values are not shown, since one may be a key
            raise ConfigError(
                f"headers are {', '.join(map(str, self.headers))}; expected texts of printable ASCII"
            )
        if self.is_grpc and (self.wire.protocol != "v2" or self.signing.sign == "aws"):
            wrong = f"protocol {self.wire.protocol}" if self.wire.protocol != "v2" else "sign aws"
            raise ConfigError(
                f"{self.shown} is gRPC, which does not go with {wrong}; expected v2, signed by key or oauth"
            )

    @property
    def is_grpc(self) -> bool:
        return urlsplit(self.url).scheme in GRPC

    @property
    def shown(self) -> str:
        """Its address without keys, for messages, records and evidence."""
        return without_keys(self.url)

    @property
    def about(self) -> dict[str, Any]:
        """What its answers depend on: a ledger belongs to one suspect asked in one way. Headers may choose a
        model or an account; the key in ``key_env`` may change meanwhile."""
        wire, naming = self.wire, self.naming
        later = {
            f.name
            for f in fields(wire)
            if f.name in LATER and getattr(wire, f.name) == getattr(Wire(), f.name)
        }
        asked = {f.name: getattr(wire, f.name) for f in fields(wire) if f.name not in later}
        asked |= {f.name: getattr(naming, f.name) for f in fields(naming)}
        headers = (
            hashlib.sha256(canonical_json(sorted(self.headers.items())).encode()).hexdigest()
            if self.headers
            else ""
        )
        data = {
            "url": self.shown,
            **asked,
            "classes": list(naming.classes),
            "columns": list(naming.columns),
            "headers": headers,
        }
        return data | (
            {"url_sha256": hashlib.sha256(self.url.encode()).hexdigest()} if self.shown != self.url else {}
        )


def read_remote(path: Path, classes: tuple[str, ...]) -> Remote:
    """Read a suspect's description from a TOML file.

    Args:
        classes: the kit's names of its classes, which are the suspect's unless the file says otherwise.

    Raises:
        InputError: no such file, not TOML, or settings that are not valid.
    """
    try:
        settings = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected TOML such as:\n{EXAMPLE}") from error
    return remote_of(settings, classes)


def remote_of(settings: Settings, classes: tuple[str, ...]) -> Remote:
    """A suspect from plain settings, the fields of ``Remote``, ``Wire``, ``Signing`` and ``Naming`` together;
    the protocol is inferred from the address unless it is given."""
    own = _split(settings)
    url = own[Remote].get("url", "")
    if not url:
        raise ConfigError("the suspect has no url; expected the address of its prediction route")
    if not is_address(url):
        raise ConfigError(
            f"url is {ascii(without_keys(str(url)))[:200]}; expected {ADDRESS}, plain ASCII, without a"
            " password"
        )
    wire = _usual(url, settings) | own[Wire]
    if wire.get("protocol") is None:
        raise ConfigError(
            f"{without_keys(url)} does not show its protocol (.../infer, ...:predict, /predictions/...); "
            f"give protocol = one of {', '.join(PROTOCOLS)}"
        )
    naming = {"classes": classes} | {
        k: tuple(v) if isinstance(v, list) else v for k, v in own[Naming].items()
    }
    if len(naming["classes"]) != len(classes):
        raise ConfigError(
            f"classes names {len(naming['classes'])}; the kit has {len(classes)}: {', '.join(classes)}"
        )
    return Remote(
        wire=Wire(**wire),
        naming=Naming(**naming),
        signing=Signing(**own[Signing]),
        stated=frozenset(settings),
        **own[Remote],
    )


def _usual(url: str, settings: Settings) -> dict[str, Any]:
    """Settings that an address implies."""
    parts = urlsplit(url)
    path, host = parts.path, parts.hostname or ""
    shown = (
        "v2"
        if parts.scheme in GRPC
        else (
            "tensorflow"
            if path.endswith(":predict")
            else (
                "v2"
                if path.endswith("/infer")
                else (
                    "torchserve"
                    if "/predictions/" in path
                    else "raw"
                    if host.endswith(HUGGING_FACE)
                    else None
                )
            )
        )
    )
    protocol = settings.get("protocol", shown)
    return {"protocol": protocol, "layout": "nhwc" if protocol == "tensorflow" else "nchw"}


def _split(settings: Settings) -> dict[type, dict[str, Any]]:
    """Settings by the class they belong to, each checked against its field's type."""
    own: dict[type, dict[str, Any]] = {Remote: {}, Wire: {}, Signing: {}, Naming: {}}
    kinds = {f.name: (owner, KINDS[f.type]) for owner in own for f in fields(owner) if f.type in KINDS}
    for name, value in settings.items():
        if name not in kinds:
            near = difflib.get_close_matches(str(name)[:80], kinds, 1, NEAR)
            meant = f"did you mean {near[0]}? Expected" if near else "expected"
            raise ConfigError(
                f"the setting {str(name)[:80]!r} is unknown; {meant} some of {', '.join(sorted(kinds))}"
            )
        owner, kind = kinds[name]
        inner = value if isinstance(value, list) and kind.inner else ()
        if not _is(value, kind.outer) or not all(_is(v, kind.inner) for v in inner):
            raise ConfigError(f"{name} is {str(value)[:80]!r}; expected {kind.expected}")
        own[owner][name] = value
    return own


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (object in kinds or isinstance(value, bool) == (bool in kinds))


@dataclass(frozen=True)
class Kind:
    """The types that a setting, or the elements of a list, may have."""

    outer: tuple[type, ...]
    expected: str
    inner: tuple[type, ...] = ()


KINDS: dict[Any, Kind] = {
    str: Kind((str,), "a text"),
    bool: Kind((bool,), "true or false"),
    Protocol: Kind((str,), "a text"),
    Layout: Kind((str,), "a text"),
    int: Kind((int,), "a whole number"),
    float: Kind((int, float), "a number"),
    tuple[str, ...]: Kind((list,), "a list of names", (str,)),
    tuple[int, ...]: Kind((list,), "a list of numbers", (int,)),
    Mapping[str, str]: Kind((dict,), "a table of names and texts"),
    Any: Kind((object,), "anything"),
}
"""By the type of a field; fields of other types are not settings."""
