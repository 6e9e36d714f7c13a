"""A suspect behind a prediction API: asked in batches by several threads, as fast as it wants to be asked, every answer in a ledger."""

import email.utils
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

import httpx
import torch
from torch import Tensor

from zooaudit.errors import AnswersError, ConfigError, InputError, SuspectError, first_line
from zooaudit.suspects.blackbox import Reading, to_probabilities
from zooaudit.suspects.ledger import LOST, REFUSED, Ledger, name_of
from zooaudit.suspects.naming import Form
from zooaudit.suspects.pace import Pace
from zooaudit.suspects.remote import Remote
from zooaudit.suspects.wire import Wire

BYTES_A_RESPONSE, BYTES_AN_IMAGE = 2**20, 2**16
"""The longest response that is read."""
BUSY = (429, 503)
"""The suspect says that it did not answer: such a request is not charged."""
PASSING = (408, 500, 502, 504)
"""May pass, and may have been answered behind a gateway: charged."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
ALLOW_HTTP = "ZOOAUDIT_SUSPECT_ALLOW_HTTP"


class HttpBlackBox:
    """Args:
    remote: where it is and how it is asked.
    ledger: of this suspect; answers in it are not asked for again.
    client: made by ``client_of`` unless given; closed by whoever made it.
    told: whether its interface was described, so that its values are taken as they are.
    pace: by ``remote.rate`` unless given.
    cancelled: looked at before every request; true ends the asking.
    """

    def __init__(
        self, remote: Remote, ledger: Ledger, client: httpx.Client, told: bool = False, pace: Pace | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._remote, self._ledger, self._client, self._told, self._cancelled = remote, ledger, client, told, cancelled
        self._pace = pace or Pace(remote.rate)
        self._naming = remote.naming
        self._wire: Wire | None = None
        self._queries = 0

    @property
    def queries(self) -> int:
        return self._queries

    def ask(self, images: Tensor) -> Tensor:
        """Answer float images ``[n, c, h, w]`` in [0, 1] with probabilities float32 ``[n, K]`` in the kit's order of classes.

        Raises:
            SuspectError: it refuses, does not answer, or the budget is spent; what came is in the ledger.
            AnswersError: it answers something else.
        """
        names = [name_of(image) for image in images]
        known = self._ledger.known(names)
        missing = list({n: i for i, n in enumerate(names) if n not in known}.items())
        size = 1 if self._remote.wire.one_by_one else self._remote.batch
        batches = [missing[i : i + size] for i in range(0, len(missing), size)]
        if batches:
            self._ask_all(images, batches)
            known = self._ledger.known(names)
        self._queries += len(images)
        return self._read([known[n] for n in names])

    def _read(self, rows: Sequence[tuple[Tensor, Form]]) -> Tensor:
        forms = {form for _, form in rows}
        if len(forms) > 1:
            raise AnswersError.of(f"answers of the forms {', '.join(sorted(forms))}", "all of one form")
        reading: Reading = "guess" if forms == {"list"} and not self._told else "told"
        return to_probabilities(torch.stack([r for r, _ in rows]), len(rows), len(self._naming.classes), self._remote.url, reading)

    def _ask_all(self, images: Tensor, batches: list[list[tuple[str, int]]]) -> None:
        """All batches: the first by itself, lest a wrong setting be paid for several times, then several at once; trouble with one stops
        those that have not been sent."""
        wire, stop = self._known_wire(), threading.Event()

        def ask(batch: list[tuple[str, int]]) -> None:
            self._ask_batch(wire, [n for n, _ in batch], images[[i for _, i in batch]], lambda: stop.is_set() or self._cancelled())

        first, *others = batches
        ask(first)
        with ThreadPoolExecutor(self._remote.concurrency) as pool:
            try:
                done, _ = wait([pool.submit(ask, batch) for batch in others], return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _ask_batch(self, wire: Wire, names: list[str], images: Tensor, halted: Callable[[], bool]) -> None:
        kind, body = wire.body(images)
        failures, since = 0, 0.0
        while True:
            if not self._pace.take(len(images), halted):
                raise SuspectError("the audit was stopped; answers so far are kept")
            since = since or time.monotonic()
            number = self._ledger.charge(len(images))
            try:
                outcome, trouble, wait_s = self._post(kind, body, len(images))
                if isinstance(outcome, bytes):
                    rows, form = self._naming.rows(wire.read(outcome, len(images)))
                    self._ledger.answered(number, names, rows, form)
                    return
            except (InputError, SuspectError) as error:  # it answered, though not what was asked; or it never will
                self._ledger.not_answered(number, LOST if isinstance(error, AnswersError) else REFUSED)
                raise
            self._ledger.not_answered(number, outcome)
            failures += 1
            self._give_up(failures, trouble, wait_s, since)
            self._pace.back_off(failures, wait_s)

    def _give_up(self, failures: int, trouble: str, wait_s: float, since: float) -> None:
        """When it is no use to try again now."""
        remote = self._remote
        if wait_s > remote.patience_s:
            raise SuspectError(f"{remote.url} {trouble} and wants to be asked again in {wait_s:.0f} s; run the same command then")
        if failures > remote.retries or time.monotonic() - since + wait_s > remote.patience_s:
            tried = f"{failures} times in {time.monotonic() - since:.0f} s"
            raise SuspectError(f"{remote.url} {trouble}, {tried}; answers so far are kept, the same command goes on from there")

    def _post(self, kind: str, body: bytes, count: int) -> tuple[bytes | str, str, float]:
        """The response's body, or a request's outcome without one; the trouble; for how long the suspect wants to be let alone."""
        try:
            response, content = self._exchanged("POST", self._remote.url, BYTES_A_RESPONSE + count * BYTES_AN_IMAGE, body, kind)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return REFUSED, f"cannot be reached ({first_line(error)})", 0.0
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol) as error:
            raise ConfigError(f"{self._remote.url} cannot be asked: {first_line(error)}") from error
        except httpx.HTTPError as error:
            return LOST, f"did not answer ({first_line(error)})", 0.0
        status = response.status_code
        if status == 200:
            return content, "", 0.0
        if status in BUSY or status in PASSING:
            return REFUSED if status in BUSY else LOST, f"answers {status}", _retry_after(response)
        hint = f"; is the key in {self._remote.key_env}?" if status in (401, 403) and self._remote.key_env else ""
        if 300 <= status < 400:
            hint = f"; it points to {response.headers.get('Location', 'nowhere')[:200]}, which is not followed"
        raise SuspectError(f"{self._remote.url} answers {status}{hint}: {content[:200].decode(errors='replace')}")

    def _exchanged(self, method: str, url: str, most: int, body: bytes | None = None, kind: str = "") -> tuple[httpx.Response, bytes]:
        """A response and its body: at most so many bytes, none of them compressed, all of them within the time."""
        end = time.monotonic() + self._remote.timeout_s
        headers = {"Accept-Encoding": "identity"} | ({"Content-Type": kind} if kind else {})
        with self._client.stream(method, url, content=body, headers=headers) as response:
            coding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if coding not in ("", "identity"):
                raise AnswersError.of(f"the Content-Encoding {coding[:40]}", "answers as they are: it was told to send identity")
            parts, size = [], 0
            for part in response.iter_raw():
                size += len(part)
                if size > most:
                    raise AnswersError.of(f"more than {most:,} bytes", "probabilities")
                if time.monotonic() > end:
                    raise httpx.ReadTimeout(f"not all of the answer within {self._remote.timeout_s:g} s")
                parts.append(part)
        return response, b"".join(parts)

    def _known_wire(self) -> Wire:
        """For ``v2``: the name of the input is asked for, unless it is said."""
        if self._wire is None:
            self._wire = self._remote.wire
            if self._wire.protocol == "v2" and not self._wire.input:
                self._wire = self._remote.described(self._metadata())
        return self._wire

    def _metadata(self) -> Any:
        try:
            response, content = self._exchanged("GET", self._remote.url.removesuffix("/infer"), BYTES_A_RESPONSE)
            return json.loads(content) if response.status_code == 200 else {}
        except (httpx.HTTPError, InputError, ValueError, RecursionError):  # it need not tell
            return {}


Transport = Callable[[Any, httpx.Limits], httpx.BaseTransport]
"""From what is trusted (``verify``) and the limits."""


def client_of(remote: Remote, transport: Transport | None = None) -> httpx.Client:
    """A client with the suspect's key, certificates and time-outs. Redirects are not followed; proxies of the environment are used, unless
    a transport is given.

    Raises:
        ConfigError: the key's variable is not set, a key would go over plain HTTP, or no such certificates.
    """
    headers = dict(remote.headers)
    if remote.key_env:
        key = os.environ.get(remote.key_env, "")
        if not key:
            raise ConfigError(f"key_env is {remote.key_env}, which is not set; export the suspect's key in it")
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the key in {remote.key_env} has characters that no header can have; expected printable ASCII")
        headers[remote.key_header] = f"{remote.key_prefix} {key}".strip()
    parts = urlsplit(remote.url)
    if remote.key_env and parts.scheme == "http" and parts.hostname not in LOOPBACK and os.environ.get(ALLOW_HTTP) != "1":
        raise ConfigError(f"{remote.url} is plain HTTP, and the key would be readable on the way; use https, or set {ALLOW_HTTP}=1")
    try:
        verify: Any = httpx.create_ssl_context(verify=True)
        if remote.ca:
            verify.load_verify_locations(cafile=remote.ca)
    except OSError as error:
        raise ConfigError(f"ca is {remote.ca!r}, which cannot be read ({error}); expected a PEM file of certificates") from error
    limits = httpx.Limits(max_connections=remote.concurrency)
    own = transport(verify, limits) if transport else None
    return httpx.Client(
        headers=headers,
        timeout=remote.timeout_s,
        verify=verify,
        limits=limits,
        transport=own,
        trust_env=own is None,
        follow_redirects=False,
    )


def _retry_after(response: httpx.Response) -> float:
    """Seconds; a date is taken by the difference to now. 0 if it does not say, or says what cannot be read."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0
