"""The service under Ray Serve: ``scoring``, which takes all requests and grows with them, and a single
``auditor``, which asks suspects.

    ZOOAUDIT_STORE=store ZOOAUDIT_SERVE_OPEN=1 serve run zooaudit.serving.deployments:application

On one machine: zooaudit serve. On a cluster: cluster/serve.yaml, cluster/kubernetes/scoring/.
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import httpx
import ray
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from starlette.concurrency import run_in_threadpool

from zooaudit.errors import ConfigError, first_line
from zooaudit.scoring.answers import Job, Result, one_thread, score_all
from zooaudit.serving.application import make_app
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.problems import RETRY_AFTER_S, Refused
from zooaudit.serving.replica_port import bind_to_node
from zooaudit.serving.settings import Settings
from zooaudit.telemetry.metrics import collect_with
from zooaudit.training.ray_metrics import RayCollector

log = logging.getLogger(__name__)

AT_ONCE, WAITING = 64, 64
"""How many requests a replica takes, and how many wait in each proxy before more are refused with 503. If a
replica takes fewer, Serve's router asks it again at growing intervals while cores idle: with 16, half of an
empty handler's requests a second. All bodies are held in memory, but the numbers of only a few at a time."""
METRICS_S = 10.0
BATCH = 16
"""The most scores that are computed together; none waits for others to arrive."""
INLINE_NUMBERS = 2**20
"""Batches up to this size (16 of 20 views, N=100, K=10: 50 ms; the twin test: 60 ms) are computed in the
event loop: a second thread would only compete for Python's lock, which costs a fifth of the scores a second.
In a thread run larger ones, and those that name an access level, whose first score prepares what later ones
use."""


class Handle:
    """The auditor, wherever it runs in the cluster. Its refusals come back as results, not wrapped in one of
    Ray's errors."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def _ask(self, method: str, *args: Any) -> Any:
        try:
            done, found = await self._handle.tried.remote(method, *args)
        except (RayError, RayServeException, TimeoutError) as error:
            log.warning("the auditor does not answer: %s", first_line(error))
            later = {"Retry-After": str(RETRY_AFTER_S)}
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "what runs audits does not answer; try again later",
                headers=later,
            ) from error
        if not done:
            raise found
        return found

    async def submit(self, owner: str, asked: dict[str, Any], request_key: str = "") -> dict[str, Any]:
        return dict(await self._ask("submit", owner, asked, request_key))

    async def get(self, id_: str) -> dict[str, Any] | None:
        return await self._ask("get", id_)

    async def all(
        self, owner: str | None, state: str, limit: int, after: Sequence[Any] | None
    ) -> list[dict[str, Any]]:
        return list(await self._ask("all", owner, state, limit, after))

    async def cancel(self, id_: str) -> dict[str, Any] | None:
        return await self._ask("cancel", id_)

    async def kept(self, method: str, *args: Any) -> Any:
        return await self._ask("kept", method, *args)


async def exported() -> bytes:
    """What Ray's agent on this machine exports, for all its processes."""
    here = ray.get_runtime_context().get_node_id()
    (node,) = [n for n in await run_in_threadpool(ray.nodes) if n["NodeID"] == here]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=METRICS_S) as client:
            return (await client.get(url)).raise_for_status().content
    except httpx.HTTPError as error:
        log.warning("Ray's metrics at %s: %s", url, first_line(error))
        later = {"Retry-After": str(RETRY_AFTER_S)}
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE, "the metrics do not answer; try again later", headers=later
        ) from error


class AuditorReplica:
    """An auditor as a deployment."""

    def __init__(self, settings: Settings) -> None:
        one_thread()
        bind_to_node()
        collect_with(RayCollector())
        self._auditor = Auditor(settings)

    def tried(self, method: str, *args: Any) -> tuple[bool, Any]:
        """The result of an auditor's method, or the error that it raises."""
        try:
            return True, getattr(self._auditor, method)(*args)
        except Exception as error:  # noqa: BLE001  raised again where it was asked
            return False, error

    def __del__(self) -> None:
        if hasattr(self, "_auditor"):
            self._auditor.close()


def application(arguments: dict[str, str]) -> Any:
    """The Serve application; settings are read here, so that a wrong one stops the start.

    Args:
        arguments: Serve passes those of the command line or config; none are accepted, since all settings are
            in the environment.

    Raises:
        ConfigError, InputError: there are arguments, or as ``Settings.from_environment``.
    """
    if arguments:
        raise ConfigError(
            f"the application was given {', '.join(arguments)}; expected no arguments: its settings are in"
            " the environment"
        )
    settings = Settings.from_environment()

    def build() -> FastAPI:
        """Called in each replica."""
        one_thread()
        bind_to_node()
        collect_with(RayCollector())

        @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
        async def together(jobs: list[Job]) -> list[Result]:
            if sum(job.answers.numel() for job in jobs) <= INLINE_NUMBERS and not any(
                job.access for job in jobs
            ):
                return score_all(jobs)
            return await run_in_threadpool(score_all, jobs)

        audits = Handle(serve.get_deployment_handle("auditor")) if settings.data else None
        return make_app(settings, together, audits, exported)

    scoring = serve.deployment(name="scoring", max_ongoing_requests=AT_ONCE, max_queued_requests=WAITING)(
        serve.ingress(build)()
    )
    if settings.data is None:
        return scoring.bind()
    waits = {"num_cpus": 0.1}  # it mostly waits for suspects
    auditor = serve.deployment(
        name="auditor", num_replicas=1, max_ongoing_requests=64, ray_actor_options=waits
    )(AuditorReplica)
    return scoring.bind(auditor.bind(settings))
