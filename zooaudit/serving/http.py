"""The application: its routes, what is logged of each request, and how errors look. It knows nothing of Ray."""

from fastapi import FastAPI

from zooaudit import __version__
from zooaudit.serving import audit_routes, console_routes, kit_routes, model_routes, verdict_routes
from zooaudit.serving.access_log import AccessLog
from zooaudit.serving.problems import install
from zooaudit.serving.service import Audits, Run, Service, one_by_one
from zooaudit.serving.settings import Settings


def make_app(settings: Settings, run: Run = one_by_one, audits: Audits | None = None) -> FastAPI:
    """The ASGI application. The pages that would load scripts from elsewhere are off; ``/openapi.json`` says what there is.

    Args:
        run: computes a score.
        audits: who asks suspects; None for a service that does not.
    """
    app = FastAPI(title="zooaudit", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = Service(settings, run, audits)
    app.include_router(console_routes.router)
    app.include_router(kit_routes.public)
    app.include_router(kit_routes.router)
    app.include_router(model_routes.router)
    app.include_router(audit_routes.router)
    app.include_router(verdict_routes.router)
    app.add_middleware(AccessLog, folder=settings.data)
    install(app)
    return app
