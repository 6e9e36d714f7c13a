"""A client of the scoring service.

from zooaudit.client import Client

with Client("https://zooaudit.example", key) as service:
    asked = service.queries(kit)
    verdict = service.score(kit, my_suspect(asked.images), suspect="theirs")
    print(verdict.twins.decision, verdict.twins.reason)
"""

import json
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import httpx
import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from zooaudit.backoff import doubled_s
from zooaudit.client_replies import MOST_QUERY_BYTES, arrow_body, may_pass, refusal, retry_after, whole
from zooaudit.data.limited_parquet import reader
from zooaudit.errors import ServiceError, first_line
from zooaudit.serving import audit_schemas, schemas

ARROW = "application/vnd.apache.arrow.stream"
MOST = 1000
"""Entries on a page."""
ENDED = ("done", "failed", "cancelled")
Method = Literal["twins", "paper"]
By = Literal["rank", "normal"]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class Questions:
    """The questions for a suspect, in order.

    Attributes:
        images: float32 ``[n, c, h, w]`` in [0, 1].
        classes: the kit's class names; answers must have this order.
    """

    kit: str
    images: np.ndarray
    classes: tuple[str, ...]


class Client:
    """A client for one thread; close it after use.

    Args:
        url: the service's address.
        key: the caller's key; "" for a service that needs none.
        patience_s: how long to retry a request while the service is busy.
        transport: a replacement for tests.
    """

    def __init__(
        self,
        url: str,
        key: str = "",
        timeout_s: float = 60.0,
        patience_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(
            base_url=url.rstrip("/"), headers=headers, timeout=timeout_s, transport=transport
        )
        self._patience_s = patience_s

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def kits(self) -> list[schemas.KitSummary]:
        """All kits."""
        found: list[schemas.KitSummary] = []
        asked: dict[str, Any] = {}
        while True:
            page = self._get(schemas.Kits, "/kits", asked)
            found += page.kits
            if page.next is None:
                return found
            asked = {"cursor": page.next}

    def kit(self, id_: str) -> schemas.KitDetail:
        """One kit, by its whole id."""
        return self._get(schemas.KitDetail, f"/kits/{id_}")

    def queries(self, id_: str, method: Method = "twins") -> Questions:
        """The questions to ask a suspect."""
        reply = self._asked("GET", f"/kits/{id_}/queries", params={"method": method})
        try:
            table, _ = reader.table(reply.content, most_bytes=MOST_QUERY_BYTES)
            result = table.schema.metadata
            images = table.column("image").combine_chunks().flatten().to_numpy()
            return Questions(
                id_,
                images.reshape(-1, *json.loads(result[b"image_shape"])),
                tuple(json.loads(result[b"classes"])),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException) as error:
            raise ServiceError(
                f"the service's questions cannot be read ({first_line(error)}); is it a scoring service?"
            ) from error

    def score(
        self,
        id_: str,
        answers: np.ndarray | Sequence[Sequence[float]],
        suspect: str,
        method: Method = "twins",
        level: float | None = None,
        access: str | None = None,
        queries: int | None = None,
        p_value: By = "rank",
        suspect_classes: int | None = None,
    ) -> schemas.Score:
        """Judge a suspect by its answers.

        Args:
            answers: probabilities ``[n, K]`` to the first n questions, in order.
            suspect: the suspect's name.
            level, access: as for ``zooaudit score``.
            queries: the most questions to use, one of the kit's ``looks``; fix it before you see the first
                answer. By default all.
            p_value: by the victim's rank among its twins, or by the normal distribution.
            suspect_classes: the suspect's number of classes, if it is not the kit's; then answers are ``[n,
                suspect_classes]``.

        Raises:
            InputError: the answers have another shape.
            ServiceError: the service refuses them or does not answer.
        """
        body = arrow_body(np.asarray(answers, dtype=np.float32))
        asked = {
            "suspect": suspect,
            "method": method,
            "level": level,
            "access": access,
            "queries": queries,
            "p_value": p_value,
        }
        asked |= {"suspect_classes": suspect_classes}
        params = {k: v for k, v in asked.items() if v is not None}
        reply = self._asked(
            "POST", f"/kits/{id_}/score", params=params, content=body, headers={"Content-Type": ARROW}
        )
        return schemas.Score.model_validate_json(reply.content)

    def audit(
        self,
        id_: str,
        suspect: dict[str, Any],
        level: float | None = None,
        access: str | None = None,
        budget: int | None = None,
        queries: int | None = None,
        p_value: By = "rank",
        suspect_classes: int | None = None,
        ask_everything: bool = False,
        fresh: bool = False,
        once: str = "",
    ) -> audit_schemas.Audit:
        """Have the service ask a suspect behind a prediction API. Retries of the request start only one
        audit.

        Args:
            suspect: ``{"url": ...}``, and how to ask it if the URL does not show that.
            budget: the most queries that may be charged, over all audits of the suspect by this kit.
            queries, p_value, suspect_classes: as for ``score``.
            fresh: use no answers of earlier audits.
            ask_everything: ask on when the decision is settled, or when the first answers make no sense.
            once: your own name for this request. Within 24 hours a second request with the same name returns
                the same audit, also from another process. By default each call is a new request.
        """
        asked = audit_schemas.AuditRequest(
            kit=id_,
            suspect=suspect,
            level=level,
            access=access,
            budget=budget,
            queries=queries,
            p_value=p_value,
            suspect_classes=suspect_classes,
            ask_everything=ask_everything,
            fresh=fresh,
        )
        headers = {"Content-Type": "application/json", "Idempotency-Key": once or str(uuid.uuid4())}
        reply = self._asked("POST", "/audits", content=asked.model_dump_json(), headers=headers)
        return audit_schemas.Audit.model_validate_json(reply.content)

    def audits(self, limit: int = 200, state: schemas.State | None = None) -> list[audit_schemas.Audit]:
        """This key's latest audits, at most ``limit``: first those still under way, then the newest."""
        found: dict[str, audit_schemas.Audit] = {}  # an audit that ends between two pages may be on both
        asked: dict[str, Any] = {"state": state} if state else {}
        while len(found) < limit:
            page = self._get(
                audit_schemas.Audits, "/audits", asked | {"limit": min(MOST, limit - len(found))}
            )
            found |= {a.id: a for a in page.audits}
            if page.next is None:
                break
            asked["cursor"] = page.next
        return list(found.values())

    def progress(self, audit: str) -> audit_schemas.Audit:
        """The state of an audit, and its result once it has ended."""
        return self._get(audit_schemas.Audit, f"/audits/{audit}")

    def cancel(self, audit: str) -> audit_schemas.Audit:
        """Stop an audit."""
        return audit_schemas.Audit.model_validate_json(self._asked("DELETE", f"/audits/{audit}").content)

    def wait(
        self,
        audit: str,
        every_s: float = 1.0,
        on_progress: Callable[[audit_schemas.Audit], None] = lambda _: None,
    ) -> audit_schemas.Audit:
        """Wait until an audit has ended; call ``on_progress`` with each state."""
        while True:
            found = self.progress(audit)
            on_progress(found)
            if found.state in ENDED:
                return found
            time.sleep(every_s)

    def _get(self, model: type[Model], path: str, params: dict[str, Any] | None = None) -> Model:
        return model.model_validate_json(self._asked("GET", path, params=params or {}).content)

    def _bounded(self, request: httpx.Request) -> httpx.Response:
        reply = self._http.send(request, stream=True)
        try:
            return whole(reply)
        finally:
            reply.close()

    def _asked(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Retry until there is an answer or patience runs out. Retries are safe: a request that starts an
        audit has an Idempotency-Key."""
        end, failures = time.monotonic() + self._patience_s, 0
        while True:
            wait, trouble, status = 0.0, "", 0
            try:
                reply = self._bounded(self._http.build_request(method, path, **how))
            except httpx.ConnectError as error:
                trouble = f"the service cannot be reached ({first_line(error)})"
            except httpx.HTTPError as error:
                trouble = f"the service did not answer ({first_line(error)})"
            else:
                if reply.is_success:
                    return reply
                refused = refusal(reply)
                if not may_pass(reply):
                    raise refused
                wait, trouble, status = retry_after(reply), str(refused), reply.status_code
            failures += 1
            wait = max(wait, random.random() * doubled_s(failures, 0.1, 5.0))
            if time.monotonic() + wait > end:
                raise ServiceError(f"{trouble}, {failures} times", status)
            time.sleep(wait)
