"""The application: its routes, the log of each request, and the form of errors. It does not know Ray."""

from fastapi import FastAPI

from zooaudit import __version__
from zooaudit.serving import (
    audit_routes,
    console_routes,
    kit_routes,
    metric_routes,
    model_routes,
    verdict_routes,
)
from zooaudit.serving.access_log import AccessLog
from zooaudit.serving.description import describe
from zooaudit.serving.problems import install
from zooaudit.serving.response_headers import Answering
from zooaudit.serving.service import Audits, Metrics, Run, Service, one_by_one
from zooaudit.serving.settings import Settings

ROUTERS = (
    console_routes.router,
    kit_routes.public,
    kit_routes.router,
    model_routes.router,
    audit_routes.router,
    verdict_routes.router,
    metric_routes.router,
)


def make_app(
    settings: Settings, run: Run = one_by_one, audits: Audits | None = None, metrics: Metrics | None = None
) -> FastAPI:
    """The ASGI application. FastAPI's pages that load scripts from elsewhere are off; ``/openapi.json``
    describes the routes.

    Args:
        run: computes a score.
        audits: runs audits; None for a service that does not ask suspects.
        metrics: returns the metrics; None without a collector.
    """
    app = FastAPI(
        title="zooaudit",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = Service(settings, run, audits, metrics)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(Answering)
    app.add_middleware(AccessLog, folder=settings.data)
    install(app, ROUTERS)
    describe(app, ROUTERS)
    return app
