"""The service under Ray Serve.

    ZOOAUDIT_STORE=store ZOOAUDIT_SERVE_OPEN=1 serve run zooaudit.serving.app:application

On a cluster: cluster/serve.yaml, cluster/kubernetes/rayservice.yaml.
"""

from typing import Any

import torch
from fastapi import FastAPI
from ray import serve

from zooaudit.distributed.metrics import RayCollector
from zooaudit.errors import ConfigError
from zooaudit.metrics import collect_with
from zooaudit.serving.http import make_app
from zooaudit.serving.settings import Settings

AT_ONCE, WAITING = 4, 32
"""Requests that a replica works on, and that wait for one before more are turned away with 503: each may hold a body and its numbers."""


def application(arguments: dict[str, str]) -> Any:
    """The Serve application, one deployment named ``scoring``; its settings are read here, so that a wrong one stops the start.

    Args:
        arguments: Serve hands over those of the command line or config; there are none, all settings are in the environment.

    Raises:
        ConfigError, InputError: arguments, or as ``Settings.from_environment``.
    """
    if arguments:
        raise ConfigError(f"the application was given {', '.join(arguments)}; expected no arguments: its settings are in the environment")
    settings = Settings.from_environment()

    def build() -> FastAPI:
        """Called in each replica."""
        torch.set_num_threads(1)  # a replica has one core
        collect_with(RayCollector())
        return make_app(settings)

    made = serve.deployment(name="scoring", max_ongoing_requests=AT_ONCE, max_queued_requests=WAITING)(serve.ingress(build)())
    return made.bind()
