"""What the routes share: settings, kits, keys, and two interfaces: for computing scores and for running
audits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Protocol

import anyio.to_thread
from fastapi import Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from torch import Tensor

from zooaudit.kits.kit import Kit
from zooaudit.scoring.answers import Job, Result, score_all
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.disk_space import DiskSpace
from zooaudit.serving.keys import EVERYBODY, Key, Keyring, Limiter, today
from zooaudit.serving.kits import Kits
from zooaudit.serving.origins import refuse_strangers
from zooaudit.serving.problems import Refused, not_authorised
from zooaudit.serving.schemas import KitSummary
from zooaudit.serving.settings import DATA, Settings
from zooaudit.serving.unknown_fields import refuse_unread
from zooaudit.serving.uploads import GRACE_S, LEAST, Uploads
from zooaudit.serving.verdict_writer import VerdictWriter

BODY_S = 30.0
"""How long a caller may take to send a body; Serve has its own limit, but callers can switch it off by a
header."""
DOWNLOADS = 2
READERS = 4
"""How many bodies are read, and kits loaded, at a time, apart from those that take no time."""
Run = Callable[[Job], Awaitable[Result]]


class Audits(Protocol):
    """Runs audits: the methods of :class:`~zooaudit.serving.auditor.Auditor`, wherever it runs."""

    async def submit(self, owner: str, asked: dict[str, Any], request_key: str = "") -> dict[str, Any]: ...
    async def get(self, id_: str) -> dict[str, Any] | None: ...
    async def all(
        self, owner: str | None, state: str, limit: int, after: Sequence[Any] | None
    ) -> list[dict[str, Any]]: ...
    async def cancel(self, id_: str) -> dict[str, Any] | None: ...
    async def kept(self, method: str, *args: Any) -> Any: ...


Metrics = Callable[[], Awaitable[bytes]]
"""All metrics, in Prometheus's format."""


class InProcess:
    """Audits in this process."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor

    async def submit(self, owner: str, asked: dict[str, Any], request_key: str = "") -> dict[str, Any]:
        return await run_in_threadpool(self._auditor.submit, owner, asked, request_key)

    async def get(self, id_: str) -> dict[str, Any] | None:
        return await run_in_threadpool(self._auditor.get, id_)

    async def all(
        self, owner: str | None, state: str, limit: int, after: Sequence[Any] | None
    ) -> list[dict[str, Any]]:
        return await run_in_threadpool(self._auditor.all, owner, state, limit, after)

    async def cancel(self, id_: str) -> dict[str, Any] | None:
        return await run_in_threadpool(self._auditor.cancel, id_)

    async def kept(self, method: str, *args: Any) -> Any:
        return await run_in_threadpool(self._auditor.kept, method, *args)


async def one_by_one(job: Job) -> Result:
    """Compute each score separately."""
    return (await run_in_threadpool(score_all, [job]))[0]


class Service:
    """Args:
    run: computes a score, perhaps together with others.
    audits: None for a service that does not ask suspects.
    metrics: None for a service without a collector.
    """

    def __init__(
        self,
        settings: Settings,
        run: Run = one_by_one,
        audits: Audits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.settings, self.run, self._audits, self.metrics = settings, run, audits, metrics
        self.kits = Kits(settings.store, settings.kits_bytes)
        self.keyring = Keyring(settings.keys, settings.keys_file)
        self.limiter = Limiter()
        self.uploads, self.disk_space = Uploads(), DiskSpace()
        self.keeper = VerdictWriter(lambda scores: self.audits.kept("keep_all", scores))
        self._downloads = anyio.CapacityLimiter(DOWNLOADS)
        self._readers, self._loaders = anyio.CapacityLimiter(READERS), anyio.CapacityLimiter(READERS)

    async def reading(self, read: Callable[..., Tensor], *args: Any) -> Tensor:
        """Run ``read`` in a thread, a few at a time: a body's numbers take many times its bytes."""
        return await anyio.to_thread.run_sync(read, *args, limiter=self._readers)

    async def sending(self, make: Callable[..., Response], *args: Any) -> Response:
        """Run ``make`` in a thread, one or two at a time: a download is in memory several times over."""
        return await anyio.to_thread.run_sync(make, *args, limiter=self._downloads)

    async def working(self, make: Callable[..., Any], *args: Any) -> Any:
        """As ``sending``, for results that are not sent as they are."""
        return await anyio.to_thread.run_sync(make, *args, limiter=self._downloads)

    async def kit(self, id_: str) -> tuple[KitSummary, Kit]:
        """As :meth:`Kits.get`; a few at a time, since they may wait for a store that is down."""
        held = self.kits.held(id_)
        return held if held else await anyio.to_thread.run_sync(self.kits.get, id_, limiter=self._loaders)

    @property
    def audits(self) -> Audits:
        """Runs audits."""
        if self._audits is None:
            raise Refused(
                HTTPStatus.FORBIDDEN,
                "this service asks no suspects",
                expected=f"a service with {DATA}, and hosts that it may ask",
            )
        return self._audits

    def caller(self, request: Request) -> Key:
        """The key of a request, whatever it may do."""
        if self.keyring.open:
            refuse_strangers(request, self.settings.hosts)
            return EVERYBODY
        scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not presented.strip():
            raise not_authorised("a key is missing")
        key = self.keyring.find(presented.strip())
        if key is None:
            raise not_authorised("this service does not know that key")
        request.state.key = key.name
        if key.expired(today()):
            raise not_authorised(f"the key {key.name} expired on {key.expires}")
        return key


def _who(request: Request, key: Key) -> str:
    """Whose uploads are counted together: a key's; without keys, an address's."""
    return request.client.host if key is EVERYBODY and request.client else key.name


async def shared(request: Request) -> Service:
    """The service of an application. It is async because FastAPI would call a plain function in another
    thread, for each request."""
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(shared)]


def needs(*scopes: str) -> Any:
    """A dependency: requires a key with one of ``scopes`` and requests left; returns the key."""

    async def check(request: Request, service: Shared) -> Key:
        key = service.caller(request)
        if not set(scopes) & set(key.scopes):
            expected = f"scope {' or '.join(scopes)}"
            raise Refused(
                HTTPStatus.FORBIDDEN,
                f"the key {key.name} may not do this",
                f"scopes {', '.join(key.scopes)}",
                expected,
            )
        if wait := service.limiter.wait_s(key):
            later = {"Retry-After": str(int(wait) + 1)}
            limit = f"{key.per_minute} a minute"
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"the key {key.name} has no requests left",
                f"more than {limit}",
                limit,
                later,
            )
        await refuse_unread(request)
        return key

    check.scopes = scopes  # type: ignore[attr-defined]  # for /openapi.json
    return Depends(check)


async def read_body(request: Request, limit: int, service: Service, key: Key) -> bytes:
    """The whole body; a body larger than ``limit`` bytes is refused without being held in memory, and so is
    one that comes too slowly."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "compressed bodies are not read",
            coding[:40],
            "no Content-Encoding",
        )
    stated = request.headers.get("Content-Length", "")
    parts, size = [], int(stated) if stated.isdecimal() else 0
    too_large = Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "the body is too large",
        f"more than {limit:,} bytes",
        f"{limit:,} at most",
    )
    if size > limit:
        raise too_large
    size = 0
    try:
        with service.uploads.of(_who(request, key)) as upload:
            started = asyncio.get_running_loop().time()
            async with asyncio.timeout(GRACE_S) as clock:
                async for part in request.stream():
                    size += len(part)
                    if size > limit:
                        raise too_large
                    upload.refuse_if_one_too_many()
                    clock.reschedule(started + min(BODY_S, GRACE_S + size / LEAST))
                    parts.append(part)
    except TimeoutError as error:
        raise Refused(
            HTTPStatus.REQUEST_TIMEOUT,
            "the body comes too slowly",
            f"{size:,} bytes so far",
            f"the first within {GRACE_S:g} s, then {LEAST:,} bytes a second, and all of them within"
            f" {BODY_S:g} s",
        ) from error
    except ClientDisconnect as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "the caller has gone") from error
    return b"".join(parts)
