"""The subcommands of the service: run it on this machine, make keys for it."""

import argparse
import contextlib
import datetime
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import psutil

from zooaudit.choices import SCOPES
from zooaudit.cli.arguments.service import KEYS
from zooaudit.errors import ConfigError, FarmError
from zooaudit.extras import needs, require
from zooaudit.serving import settings as names
from zooaudit.serving.keys import new_key, read_keys
from zooaudit.serving.local_ray import bracketed, last_line, shut_down, start_ray, wait_until_ready
from zooaudit.serving.preflight import kits_in, own_data, own_port, refuse_missing
from zooaudit.serving.settings import Settings
from zooaudit.telemetry.events import event_line

ENDING_S = 6.0
"""How long replicas may take to finish their work when the service ends."""


def serve(args: argparse.Namespace, out: TextIO) -> int:
    """Score suspects over HTTP and show the console, on this machine, until it is stopped."""
    notify = _notifier(args.log)
    notify(
        f"looking at port {args.port}, {args.data} and the keys", "looking", port=args.port, data=args.data
    )
    require("serve", "the service", "ray", "fastapi", "simdjson")
    refuse_missing(args.store)
    with own_port(args.host, args.port), own_data(Path(args.data)), _ended_in_time():
        keys = _environment(args)
        settings = Settings.from_environment()
        notify(f"looking for kits in {args.store}", "looking", store=args.store)
        try:
            _notify_kits(kits_in(settings.store), args.store, notify)
            if keys and not keys.exists():
                _first_key(keys, notify)
            _run(args, notify, out)
        except KeyboardInterrupt:
            notify("stopping: audits under way go on at the next start", "stopping")
        finally:
            if "ray" in sys.modules:
                shut_down(args.debug)
    return 0


Notify = Callable[..., None]


def _notifier(log: str) -> Notify:
    """How this command reports its progress: lines, or events. It has its own, since the other commands'
    imports heavy modules."""

    def notify(message: str, event: str, **facts: object) -> None:
        print(event_line(event, **facts) if log == "events" else message, file=sys.stderr, flush=True)

    return notify


def _notify_kits(kits: list[str], store: str, notify: Notify) -> None:
    if not kits:
        notify(
            f"no kits yet: 'zooaudit audit --store {store}' makes one, and the service shows it once it is"
            " there",
            "kits",
            kits=0,
        )
        return
    more = f" and {len(kits) - 5} more" if len(kits) > 5 else ""
    notify(
        f"{len(kits)} kit{'s' if len(kits) > 1 else ''}: {', '.join(kits[:5])}{more}", "kits", kits=len(kits)
    )


def _run(args: argparse.Namespace, notify: Notify, out: TextIO) -> None:
    """Start everything, print the address once it is ready, and wait for the end."""
    shown = f"http://{bracketed(args.host)}:{args.port}"
    notify("starting Ray", "starting", what="ray")
    with needs("serve", "the service"):
        metrics = start_ray(args.host, args.port, args.debug)
        notify(
            f"Ray's own ports take connections from this machine only; its metrics, without a key: {metrics}",
            "ray",
            metrics=metrics,
        )
        from ray import serve as ray_serve

        from zooaudit.serving.deployments import application
    notify(
        "starting the service: a process that answers, and one that asks suspects", "starting", what="service"
    )
    try:
        ray_serve.run(
            application({}), name="zooaudit", route_prefix="/", logging_config={"enable_access_log": False}
        )
    except RuntimeError as error:
        raise FarmError(
            f"the service does not start: {last_line(error)}; --debug shows what its processes say"
        ) from error
    wait_until_ready(args.host, args.port, lambda text: notify(text, "waiting", why=text))
    notify(
        f"serving {args.store} at {shown} until Ctrl-C; {shown}/metrics with a key of scope admin",
        "serving",
        url=shown,
        store=args.store,
    )
    print(json.dumps({"url": shown}) if args.json else f"ready: {shown}", file=out, flush=True)
    threading.Event().wait()


@contextlib.contextmanager
def _ended_in_time() -> Iterator[None]:
    """End this process and all that it started ``ENDING_S`` after Ctrl-C or SIGTERM, even if it is blocked,
    and immediately after a second signal. No answer is lost: they are written to disk as they come. Python
    handles a signal only between two of its own steps, and one of Ray's can take long; a thread that reads
    the wake-up socket sees it immediately."""
    heard, result = socket.socketpair()
    result.setblocking(False)
    before = signal.set_wakeup_fd(result.fileno(), warn_on_full_buffer=False)

    def next_signal() -> bool:
        """Wait for a signal to end; false once no more can come."""
        while number := heard.recv(1):
            if number[0] in (signal.SIGINT, signal.SIGTERM):
                return True
        return False

    def watch() -> None:
        if next_signal():
            heard.settimeout(ENDING_S)
            with contextlib.suppress(TimeoutError):
                if not next_signal():
                    return
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            os._exit(0)

    threading.Thread(target=watch, name="ending", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        result.close()


def _environment(args: argparse.Namespace) -> Path | None:
    """Set the environment of the service's processes. Returns the file of keys, after checking that it can be
    read if it exists; None if no keys are needed."""
    os.environ[names.STORE], os.environ[names.DATA] = args.store, args.data
    os.environ[names.SUSPECTS] = args.suspects
    os.environ[names.QUERIES] = "1" if args.training_images else "0"
    if args.model_files is not None:
        os.environ[names.MODELS_MIB] = str(args.model_files)
    if args.open:
        os.environ[names.OPEN] = "1"
        return None
    keys = Path(args.keys) if args.keys else Path(args.data) / KEYS
    os.environ[names.KEYS_FILE] = str(keys)
    if keys.exists():
        read_keys(keys)
    return keys


def _first_key(keys: Path, notify: Notify) -> None:
    key, entry = new_key("first", SCOPES, 0, None)
    _append(keys, entry)
    notify(
        f"a first key, which may do everything; keep it, it is stored nowhere: {key}",
        "key",
        name="first",
        key=key,
    )


def key(args: argparse.Namespace, out: TextIO) -> int:
    """Make a key for callers of the service: printed once, its SHA-256 added to the file of keys."""
    path = Path(args.keys)
    known = read_keys(path) if path.exists() else ()
    if args.name in [k.name for k in known]:
        raise ConfigError(
            f"{path} has a key named {args.name} already; choose another name, or take its entry out"
        )
    scopes = tuple(s.strip() for s in args.scopes.split(",") if s.strip())
    try:
        expires = datetime.date.fromisoformat(args.expires) if args.expires else None
    except ValueError as error:
        raise ConfigError(f"--expires is {args.expires!r}; expected a date, such as 2027-01-01") from error
    made, entry = new_key(args.name, scopes, args.per_minute, expires)
    _append(path, entry)
    facts = {"name": args.name, "key": made, "scopes": list(scopes), "keys": str(path)}
    print(json.dumps(facts) if args.json else made, file=out)
    print(
        f"its SHA-256 is in {path}; the key itself is stored nowhere: keep it, and send it as 'Authorization:"
        " Bearer KEY'",
        file=sys.stderr,
    )
    return 0


def _append(path: Path, entry: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write("\n" + entry)  # the file may lack a final line end
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another --keys") from error
