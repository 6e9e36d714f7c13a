"""Ask a suspect over HTTP."""

import functools
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx
from torch import Tensor

from zooaudit.errors import AnswersError, ConfigError, InputError, SuspectError, first_line
from zooaudit.suspects.addresses import keys_of, without_keys
from zooaudit.suspects.codings import unpacked
from zooaudit.suspects.deadlines import within
from zooaudit.suspects.exchange import Clocked
from zooaudit.suspects.ledger import LOST
from zooaudit.suspects.metadata import Fitted, fitted
from zooaudit.suspects.metadata_reply import model_of
from zooaudit.suspects.oauth import Fetch
from zooaudit.suspects.remote import Remote
from zooaudit.suspects.retry_after import object_of
from zooaudit.suspects.signers import signer_of
from zooaudit.suspects.signing import Headers, hidden
from zooaudit.suspects.statuses import SHOWN, refusal_of, text_of
from zooaudit.suspects.tensors import answers
from zooaudit.suspects.transport import Message, Refusal, Takes
from zooaudit.suspects.v2 import HEADER_LENGTH, infer_message, read_outputs

BYTES_A_RESPONSE, BYTES_AN_IMAGE = 2**20, 2**16
"""The longest response that is read."""
READ = 2**16
"""How many bytes of a refusal are read."""
LATE = (425, 429, 503)
"""Statuses of metadata that may be available later."""


class HttpTransport:
    """Args:
    remote: the suspect's address and settings.
    client: see ``client_of``; its creator closes it.

    Raises:
        ConfigError: a secret for signing is missing, or would be readable in transit.
    """

    def __init__(self, remote: Remote, client: httpx.Client) -> None:
        self._remote, self._client = remote, client
        self._signer = signer_of(remote.signing, remote.url, fetch_of(remote))
        self._fitted: Fitted | None = None

    def learn(self, shape: tuple[int, int, int]) -> Takes | Refusal:
        remote, wire = self._remote, self._remote.wire
        if wire.protocol != "v2":
            return Takes(most=1 if wire.one_by_one else 0)
        model = model_of(None)
        if wire.metadata:
            about = urlsplit(remote.url)._replace(query="", fragment="").geturl().removesuffix("/infer")
            root = about.partition("/v2/models/")[0] + "/v2"
            metadata = self._described(about)
            if isinstance(metadata, Refusal):
                return metadata
            config = self._described(f"{about}/config") if metadata.get("inputs") else {}
            server = (
                self._described(root)
                if metadata.get("inputs") and not wire.tensors and "/v2/models/" in about
                else {}
            )
            model = model_of(metadata, config, server)
        self._fitted = fitted(wire, remote.stated, model, shape, len(remote.naming.columns))
        return self._fitted.takes

    def message(self, images: Tensor) -> Message:
        return infer_message(self._fitted, images) if self._fitted else self._remote.wire.message(images)

    def send(self, message: Message, count: int) -> list[Any] | Refusal:
        most = BYTES_A_RESPONSE + count * BYTES_AN_IMAGE
        try:
            sent = self._signed("POST", self._remote.url, message)
            if isinstance(sent, Refusal):
                return sent
            response, content = self._exchanged("POST", self._remote.url, most, sent, message)
            if response.status_code == 401 and self._signer.renewed(sent):
                sent = self._signed("POST", self._remote.url, message)
                if isinstance(sent, Refusal):
                    return sent
                response, content = self._exchanged("POST", self._remote.url, most, sent, message)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Refusal(f"cannot be reached ({first_line(error)})")
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol) as error:
            raise ConfigError(
                f"{self._remote.shown} cannot be asked: {self._hidden(first_line(error))}"
            ) from error
        except httpx.HTTPError as error:
            return Refusal(f"did not answer ({first_line(error)})", LOST)
        return self._understood(response, content, count)

    def _understood(self, response: httpx.Response, content: bytes, count: int) -> list[Any] | Refusal:
        status, kind = response.status_code, response.headers.get("Content-Type", "")
        if 200 <= status < 300:
            if not content.strip():
                later = (
                    "; it was accepted for later, but asynchronous suspects are not supported"
                    if status == 202
                    else ""
                )
                raise AnswersError.of(f"nothing in them (status {status})", f"a body with answers{later}")
            return self._read(response.headers, content, kind, count)
        text = text_of(content[:READ], kind)
        if refusal := refusal_of(status, response.headers, self._hidden(text), count):
            return refusal
        raise SuspectError(
            f"{self._remote.shown} answers {status}{self._hint(response)}: {self._hidden(text)[:SHOWN]}"
        )

    def _read(self, headers: Mapping[str, str], content: bytes, kind: str, count: int) -> list[Any]:
        if self._fitted is None:
            return self._remote.wire.read(text_of(content, kind), count)
        length = headers.get(HEADER_LENGTH, "")
        return answers(read_outputs(content, length, kind), self._fitted.wire.output, count)

    def _hint(self, response: httpx.Response) -> str:
        status, signing = response.status_code, self._remote.signing
        if 300 <= status < 400:
            target = without_keys(self._hidden(response.headers.get("Location", "nowhere")))[:200]
            return (
                f"; it points to {target}, which is not followed: if that is the suspect too, give it as url"
            )
        if status not in (401, 403):
            return ""
        if signing.sign == "aws":
            return (
                "; are the AWS credentials this account's, in force, and allowed to invoke it, and are region"
                " and service right?"
            )
        if signing.sign == "oauth":
            return "; may this client ask it, and are oauth_scope and oauth_audience right?"
        return f"; is the key in {signing.key_env}?" if signing.key_env else ""

    def _hidden(self, text: str) -> str:
        return hidden(
            text, [*self._signer.secrets, *self._remote.headers.values(), *keys_of(self._remote.url)]
        )

    def _signed(self, method: str, url: str, message: Message) -> Headers | Refusal:
        return self._signer.headers(method, url, message.kind, message.body)

    def _exchanged(
        self, method: str, url: str, most: int, signed: Headers, message: Message
    ) -> tuple[httpx.Response, bytes]:
        return exchanged(self._client, self._remote.timeout_s, method, url, most, signed, message)

    def _described(self, url: str) -> dict[str, Any] | Refusal:
        """A JSON description of the suspect; {} if there is none, since it is optional."""
        nothing = Message("", b"")
        try:
            signed = self._signed("GET", url, nothing)
            if isinstance(signed, Refusal):
                return signed
            response, content = self._exchanged("GET", url, BYTES_A_RESPONSE, signed, nothing)
            text = text_of(content, response.headers.get("Content-Type", ""))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Refusal(f"cannot be reached ({first_line(error)})")
        except httpx.HTTPError as error:
            return Refusal(f"does not describe itself ({first_line(error)}; metadata = false skips this)")
        except InputError:
            return {}
        if response.status_code in LATE and (
            refusal := refusal_of(response.status_code, response.headers, self._hidden(text), 1)
        ):
            return refusal
        return object_of(text) if response.status_code == 200 else {}


def exchanged(
    client: httpx.Client,
    timeout_s: float,
    method: str,
    url: str,
    most: int,
    signed: Headers,
    message: Message,
) -> tuple[httpx.Response, bytes]:
    """A response and its decoded body: limited in bytes, and complete before the deadline, which starts with
    the look-up of the name."""
    headers = {"Accept-Encoding": "identity", **message.headers, **signed} | (
        {"Content-Type": message.kind} if message.kind else {}
    )
    with (
        within(timeout_s),
        client.stream(method, url, content=message.body or None, headers=headers) as response,
    ):
        return response, b"".join(
            unpacked(response.headers.get("Content-Encoding", ""), response.iter_raw(), most)
        )


TransportOf = Callable[[Any, httpx.Limits], httpx.BaseTransport]
"""Makes a transport from what is trusted (``verify``) and the limits."""


def client_of(remote: Remote, transport: TransportOf | None = None) -> httpx.Client:
    """A client with the suspect's certificates and time-outs. Redirects are not followed; proxies from the
    environment are used, unless a transport is given.

    Raises:
        ConfigError: the certificates cannot be read.
    """
    try:
        verify = _trusted(remote.ca)
    except OSError as error:
        raise ConfigError(
            f"ca is {remote.ca!r}, which cannot be read ({error}); expected a PEM file of certificates"
        ) from error
    limits = httpx.Limits(max_connections=remote.concurrency)
    own = transport(verify, limits) if transport else None
    if keys_of(remote.url):
        for name in ("httpx", "httpcore"):  # they log whole addresses
            logging.getLogger(name).setLevel(logging.WARNING)
    client = httpx.Client(
        headers=dict(remote.headers),
        timeout=remote.timeout_s,
        verify=verify,
        limits=limits,
        transport=own,
        trust_env=own is None,
        follow_redirects=False,
    )
    # Httpx has no setting for this; if its internals change, this raises AttributeError.
    for one in (client._transport, *client._mounts.values()):
        if isinstance(one, httpx.HTTPTransport):
            assert isinstance(one._pool._network_backend, httpcore.NetworkBackend)
            one._pool._network_backend = Clocked()
    return client


@functools.lru_cache(maxsize=4)
def _trusted(ca: str) -> ssl.SSLContext:
    """The trusted certificates; read once, since it is slow."""
    trusted = httpx.create_ssl_context(verify=True)
    if ca:
        trusted.load_verify_locations(cafile=ca)
    return trusted


def fetch_of(remote: Remote) -> Fetch:
    """Ask a token server with a suspect's time-out and certificates, but without its headers, since the
    server is not part of it."""

    def fetch(url: str, headers: Headers, body: bytes) -> tuple[int, Mapping[str, str], str]:
        message = Message(headers["Content-Type"], body)
        try:
            with client_of(replace(remote, headers={})) as client:
                response, content = exchanged(
                    client, remote.timeout_s, "POST", url, BYTES_A_RESPONSE, headers, message
                )
        except httpx.HTTPError as error:
            raise SuspectError(
                f"the token server {without_keys(url)} does not answer ({first_line(error)})"
            ) from error
        return (
            response.status_code,
            response.headers,
            text_of(content, response.headers.get("Content-Type", "")),
        )

    return fetch
