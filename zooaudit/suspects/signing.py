"""How requests to a suspect are signed: an API key, OAuth2 client credentials, or AWS Signature Version 4.

Secrets come from the environment (AWS's from where its tools look) and are written only into requests: never
into a ledger, log or error.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from zooaudit.config import check
from zooaudit.errors import ConfigError
from zooaudit.suspects.addresses import guard_plain, is_address, without_keys
from zooaudit.suspects.transport import Refusal

WAYS = ("key", "oauth", "aws")
SHORTEST = 6
"""Shortest secret that is searched for in texts, in characters: shorter ones would match everywhere."""
Headers = dict[str, str]


@dataclass(frozen=True)
class Signing:
    """How a suspect's requests are signed.

    Attributes:
        sign: ``key``, ``oauth`` or ``aws``.
        key_env: environment variable with its key; "" for none.
        key_header, key_prefix: where the key goes.
        oauth_url: of the token server.
        oauth_id_env, oauth_secret_env: environment variables with the client's id and secret.
        oauth_scope, oauth_audience: what to request for the token; "" for the server's default.
        oauth_body: send id and secret in the body, instead of as basic authentication.
        aws_region, aws_service: "" infers them from the address.
        aws_profile: in AWS's configuration; "" for the default.

    Raises:
        ConfigError: an unknown way to sign, or a missing setting.
    """

    sign: str = "key"
    key_env: str = ""
    key_header: str = "Authorization"
    key_prefix: str = "Bearer"
    oauth_url: str = ""
    oauth_id_env: str = ""
    oauth_secret_env: str = ""
    oauth_scope: str = ""
    oauth_audience: str = ""
    oauth_body: bool = False
    aws_region: str = ""
    aws_service: str = ""
    aws_profile: str = ""

    def __post_init__(self) -> None:
        check(self.sign in WAYS, self, "sign", f"one of {', '.join(WAYS)}")
        if self.sign == "oauth":
            if not is_address(self.oauth_url, ("http", "https")):
                raise ConfigError(
                    f"Signing.oauth_url is {without_keys(self.oauth_url)!r}; expected the token server's"
                    " http(s)://host/path"
                )
            for name in ("oauth_id_env", "oauth_secret_env"):
                check(bool(getattr(self, name)), self, name, "the name of an environment variable")
        if self.sign != "key" and self.key_env:
            raise ConfigError(f'key_env is {self.key_env}, but sign is "{self.sign}"; give one of them')


AWS = "AWS"
"""Stands for the credentials that AWS's own tools would use."""


def asked_of_the_environment(signing: Signing) -> dict[str, str]:
    """By field: the secrets of this machine that a description wants sent to its address: names of variables,
    or ``AWS``."""
    named = {
        f: getattr(signing, f) for f in ("key_env", "oauth_id_env", "oauth_secret_env") if getattr(signing, f)
    }
    return named | ({"sign": AWS} if signing.sign == "aws" else {})


def check_allowed(signing: Signing, url: str, where: str, allowed: Collection[str]) -> None:
    """Refuse a description that names secrets which the user did not allow: the author of the file would
    receive them.

    Raises:
        ConfigError: it names such secrets; the message shows the flag that allows them.
    """
    asked = asked_of_the_environment(signing)
    if lacking := [name for name in asked.values() if name not in allowed]:
        host = urlsplit(signing.oauth_url or url).hostname
        what = (
            "AWS's credentials to be used for"
            if lacking[0] == AWS
            else f"the value of {', '.join(lacking)} to be sent to"
        )
        flags = " ".join(f"--allow-key-env {name}" for name in lacking)
        raise ConfigError(
            f"{where} wants {what} {host}; where you trust it with that, and wrote or read it yourself, give"
            f" {flags}"
        )


class Signer(Protocol):
    """Adds authentication to each request; for many threads."""

    @property
    def secrets(self) -> Iterable[str]:
        """Texts that must not be shown to anybody."""
        ...

    def headers(self, method: str, url: str, kind: str, body: bytes) -> Headers | Refusal:
        """Headers for a request of a media type; a refusal if there are none at the moment."""
        ...

    def renewed(self, sent: Headers) -> bool:
        """After a 401 to these headers: whether another attempt may succeed."""
        ...


def secret(name: str, what: str) -> str:
    """The value of an environment variable.

    Raises:
        ConfigError: it is not set, or has characters that a header cannot have.
    """
    field, value = what.partition(" ")[0], os.environ.get(name, "")
    if not value:
        raise ConfigError(f"{field} is {name}, which is not set; export {what.partition(' ')[2]} in it")
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(
            f"the key in {name} has characters that a header cannot have; expected printable ASCII"
        )
    return value


class Key:
    """A fixed key in a header, or none."""

    def __init__(self, signing: Signing, url: str) -> None:
        self._headers: Headers = {}
        self.secrets: tuple[str, ...] = ()
        if signing.key_env:
            key = secret(signing.key_env, "key_env the suspect's key")
            guard_plain(url, "the key")
            self._headers, self.secrets = {signing.key_header: f"{signing.key_prefix} {key}".strip()}, (key,)

    def headers(self, method: str, url: str, kind: str, body: bytes) -> Headers | Refusal:
        return dict(self._headers)

    def renewed(self, sent: Headers) -> bool:
        return False


def hidden(text: str, secrets: Iterable[str]) -> str:
    """A text on one line, printable, without secrets: servers echo what they were sent."""
    for one in sorted((s for s in secrets if len(s) >= SHORTEST), key=len, reverse=True):
        text = text.replace(one, "***")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
