"""The service on this machine: start a private Ray, whose ports only this machine reaches, and wait until the
service answers."""

import contextlib
import io
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from zooaudit.errors import FarmError

READY_S, NEWS_S, PAUSE_S = 120.0, 5.0, 0.1
LOOPBACK = "127.0.0.1"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
Say = Callable[[str], None]


def start_ray(host: str, port: int, debug: bool) -> str:
    """Start Ray, and Serve's proxy on an address; returns where Ray's metrics are.

    All of Ray's own ports, whose metrics need no key, are on this machine's own address, whatever ``host``
    is: only the service is for others.

    Raises:
        FarmError: Ray does not start.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = (
        "0"  # Ray's one switch for it; read when ray is first imported
    )
    import ray
    from ray import serve

    from zooaudit.machine import cores
    from zooaudit.training.cluster import QUIET, own_sigterm
    from zooaudit.training.token import guard_token

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    guard_token()
    try:
        with own_sigterm():
            ray.init(
                "local",
                include_dashboard=False,
                num_cpus=max(2, cores()),
                logging_level=logging.ERROR,
                log_to_driver=debug,
            )
        serve.start(http_options={"host": host, "port": port, "request_timeout_s": 60})
        (node,) = ray.nodes()
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise FarmError(f"Ray does not start: {last_line(error)}; see 'zooaudit doctor'") from error
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def last_line(error: BaseException) -> str:
    """The last line of what Ray reports about an error in another process, which says what it was; without
    colours."""
    lines = [line.strip() for line in COLOURS.sub("", str(error)).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def wait_until_ready(host: str, port: int, say: Say, seconds: float = READY_S) -> None:
    """Wait until ``/ready`` returns 200; report what it returns instead.

    Raises:
        FarmError: it does not become ready within this time.
    """
    where = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
    url = f"http://{bracketed(where)}:{port}/ready"
    begun, told_at, found = time.monotonic(), time.monotonic(), ""
    while (now := time.monotonic()) - begun < seconds:
        found = _trouble(url)
        if not found:
            return
        if now - told_at > NEWS_S:
            say(f"not ready yet: {found}")
            told_at = now
        time.sleep(PAUSE_S)
    raise FarmError(
        f"the service is not ready after {seconds:.0f} s: {found}; --debug shows what its processes say"
    )


def _trouble(url: str) -> str:
    """Why the service is not ready; "" if it is."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as reply:
            return "" if reply.status == 200 else f"it answers {reply.status}"
    except urllib.error.HTTPError as error:
        data: Any = {}
        with contextlib.suppress(ValueError, OSError):
            data = json.loads(error.read(65536))
        detail = data.get("detail") if isinstance(data, dict) else None
        return str(detail or f"it answers {error.code}")
    except OSError as error:
        return f"it does not answer ({getattr(error, 'reason', error)})"


def bracketed(host: str) -> str:
    """A host as it is written in an address."""
    return f"[{host}]" if ":" in host else host


def shut_down(debug: bool) -> None:
    """Stop what ``start_ray`` started. Ray's messages about its own parts that end are shown only with
    ``debug``."""
    import ray
    from ray import serve

    with contextlib.ExitStack() as quiet:
        if not debug:
            quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))
            quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if ray.is_initialized():  # otherwise Serve would start one, only to end it
            serve.shutdown()
        ray.shutdown()
