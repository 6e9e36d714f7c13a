"""What the subcommands around the service do: run it on this machine, make keys for it."""

import argparse
import contextlib
import datetime
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import psutil

from zooaudit.commands import voice
from zooaudit.console import Voice
from zooaudit.distributed.cluster import QUIET, cores, own_sigterm
from zooaudit.distributed.token import guard_token
from zooaudit.errors import ConfigError, FarmError, InputError, first_line
from zooaudit.serving import settings as names
from zooaudit.serving.keys import SCOPES, new_key, read_keys

DATA = Path("serve-data")
ENDING_S = 6.0
"""For so long replicas may finish what they are doing when the service ends."""
KEYS = "keys.toml"
EXAMPLE = """zooaudit serve --store ./store
  zooaudit serve --store s3://bucket/audits --suspects models.example,10.0.0.7:8080"""
KEY_EXAMPLE = "zooaudit key --name team-a --scopes read,score --per-minute 600 --expires 2027-01-01"


def serve(args: argparse.Namespace, out: TextIO) -> int:
    """Score suspects over HTTP and show the console, on this machine, until it is stopped."""
    tell, data = voice(args), Path(args.data)
    _prepare(args, data, tell)
    try:
        from ray import serve as ray_serve

        from zooaudit.serving.app import application
    except ImportError as error:
        raise InputError(f"the service needs Ray Serve ({first_line(error)}): pip install -c constraints.txt '.[serve]'") from error
    made = application({})
    with _ended_in_time():
        try:
            _start(args)
            ray_serve.run(made, name="zooaudit", route_prefix="/", logging_config={"enable_access_log": False})
            shown = f"http://{args.host}:{args.port}"
            tell(f"serving {args.store} at {shown} until Ctrl-C", "serving", url=shown, store=args.store)
            print(json.dumps({"url": shown}) if args.json else f"ready: {shown}", file=out, flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            tell("stopping: audits under way go on at the next start", "stopping")
        except RuntimeError as error:
            raise FarmError(f"the service does not start: {first_line(error)}") from error
        finally:
            _shut_down()
    return 0


@contextlib.contextmanager
def _ended_in_time() -> Iterator[None]:
    """End this process and all that it started ``ENDING_S`` after Ctrl-C or SIGTERM, whatever it waits for then, and at once after a second
    one: no answer is lost, they are on disk as they come. Python itself hears a signal only between two of its own steps, and one of Ray's
    can take long; a thread that reads the wake-up socket hears it at once."""
    heard, told = socket.socketpair()
    told.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)

    def next_signal() -> bool:
        """Waits for one that asks to end; false once there is no use in it."""
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
        told.close()


def _shut_down() -> None:
    import ray
    from ray import serve as ray_serve

    if ray.is_initialized():  # or else Serve would start one, to end it
        ray_serve.shutdown()
    ray.shutdown()


def _prepare(args: argparse.Namespace, data: Path, tell: Voice) -> None:
    """The environment that the service's processes read; a first key, if there is none."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    data.chmod(0o700)  # it may have been made by 'zooaudit key', or by hand
    os.environ[names.STORE], os.environ[names.DATA] = args.store, str(data)
    os.environ[names.SUSPECTS] = args.suspects
    os.environ[names.QUERIES] = "1" if args.training_images else "0"
    if args.open:
        os.environ[names.OPEN] = "1"
        return
    keys = Path(args.keys) if args.keys else data / KEYS
    os.environ[names.KEYS_FILE] = str(keys)
    if keys.exists():
        read_keys(keys)
        return
    key, entry = new_key("first", SCOPES, 0, None)
    _append(keys, entry)
    tell(f"a first key, which may do everything; keep it, it is in no file: {key}", "key", name="first", key=key)


def _start(args: argparse.Namespace) -> None:
    import ray
    from ray import serve as ray_serve

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    guard_token()
    try:
        with own_sigterm():
            ray.init(include_dashboard=False, num_cpus=max(2, cores()), logging_level=logging.ERROR, log_to_driver=args.debug)
        ray_serve.start(http_options={"host": args.host, "port": args.port, "request_timeout_s": 60})
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise FarmError(f"Ray does not start: {first_line(error)}; see 'zooaudit doctor'") from error


def key(args: argparse.Namespace, out: TextIO) -> int:
    """Make a key for callers of the service: printed once, its SHA-256 added to the file of keys."""
    path = Path(args.keys)
    known = read_keys(path) if path.exists() else ()
    if args.name in [k.name for k in known]:
        raise ConfigError(f"{path} has a key named {args.name} already; choose another name, or take its entry out")
    scopes = tuple(s.strip() for s in args.scopes.split(",") if s.strip())
    try:
        expires = datetime.date.fromisoformat(args.expires) if args.expires else None
    except ValueError as error:
        raise ConfigError(f"--expires is {args.expires!r}; expected a date such as 2027-01-01") from error
    made, entry = new_key(args.name, scopes, args.per_minute, expires)
    _append(path, entry)
    facts = {"name": args.name, "key": made, "scopes": list(scopes), "keys": str(path)}
    print(json.dumps(facts) if args.json else made, file=out)
    return 0


def _append(path: Path, entry: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write("\n" + entry)  # whatever the file ended with
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another --keys") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``serve``."""
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; it is plain HTTP: for others put a proxy with TLS before it (%(default)s)",
    )
    add("--port", type=int, default=8000, help="(default: %(default)s)")
    add(
        "--data",
        metavar="DIR",
        default=str(DATA),
        help="audits, their ledgers, keys, and the log of who asked what (default: ./%(default)s)",
    )
    add("--keys", metavar="FILE", help="keys of callers (default: keys.toml in --data; a first one is made if there is none)")
    add("--open", action="store_true", help="no keys: whoever reaches it may do everything")
    add(
        "--suspects", metavar="HOSTS", default="",
        help="hosts whose prediction APIs the service may ask, host or host:port, with commas between them (default: none)",
    )  # fmt: skip
    add(
        "--training-images", action="store_true", help="hand out the questions of the paper's test, which show the victim's training images"
    )


def add_key_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``key``."""
    add = parser.add_argument
    add("--name", required=True, help="whose it is, for the log")
    add("--scopes", default="read,score", help=f"what it may do, of {', '.join(SCOPES)}, with commas between them (default: %(default)s)")
    add("--per-minute", type=int, default=0, metavar="N", help="requests a minute, by each replica (default: no limit)")
    add("--expires", metavar="DATE", help="the first day on which it is not accepted, UTC (default: never)")
    add("--keys", metavar="FILE", default=str(DATA / KEYS), help="file of keys; a running service notices (default: ./%(default)s)")
