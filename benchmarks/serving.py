"""Scoring answers over HTTP at 32 concurrent clients, against a plain FastAPI application
and against an empty Serve handler.

    python benchmarks/serving.py --store store --kit 4f2a [--seconds 12] [--repeats 3] [--clients 32]

The body is answers to all views of the paper's test (20 views, N=100, K=10: 4,000 rows), as JSON, Arrow or
bare float32. In each repeat, one after the other, on the same cores, the client included:

    plain       FastAPI on uvicorn, one process; each request parsed by FastAPI's own model of the body,
    scored by itself in the thread pool ours        ``zooaudit serve`` as it comes empty       a Serve handler
    that takes the same body, and as many requests at once as ours, and says how long the body is: what
                Serve's proxy leaves for anybody

Ratios are taken within a repeat: a machine that others use too is not as fast in the next.
Then where a request's time goes, one at a time: the empty handler and the whole by one
client, parsing and scoring in this process.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import torch
from measure import save, spread

from zooaudit.client_replies import arrow_body
from zooaudit.kits.kit import Kit, find_kit, read_kit
from zooaudit.scoring.answers import Job, score_all
from zooaudit.serving.bodies import ARROW, JSON, RAW, read_rows
from zooaudit.serving.deployments import AT_ONCE
from zooaudit.storage.opening import open_store

sys.path.insert(0, str(Path(__file__).parent.parent))
from cluster.seaweed import free_ports

EMPTY = f"""
from ray import serve
from starlette.requests import Request

@serve.deployment(max_ongoing_requests={AT_ONCE})
class Empty:
    async def __call__(self, request: Request) -> int:
        return len(await request.body())

application = Empty.bind()
"""
START = """
import threading
import empty, ray
from ray import serve

ray.init(include_dashboard=False, num_cpus=2, log_to_driver=False)
serve.start(http_options={{"port": {port}}})
serve.run(empty.application, route_prefix="/", logging_config={{"enable_access_log": False}})
threading.Event().wait()
"""
PLAIN = """
import os, sys
import torch, uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel
from zooaudit.kits.kit import load_kit
from zooaudit.storage.artifacts import open_store

torch.set_num_threads(1)
kit = load_kit(open_store(sys.argv[1]), sys.argv[2])
app = FastAPI()

class Answers(BaseModel):
    answers: list[list[float]]

def judged(answers: torch.Tensor) -> dict:
    scores, verdict = kit.score_answers("s", kit.shaped(answers))
    return {"p_value": verdict.p_value, "similarities": scores.tolist(), "reason": verdict.reason}

@app.post("/json")
def scored(body: Answers) -> dict:
    return judged(torch.tensor(body.answers))

uvicorn.run(app, port=int(sys.argv[3]), log_level="error")
"""


def bodies(kit: Kit) -> dict[str, tuple[str, bytes]]:
    """By format: media type and body of one suspect's answers."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(kit.victim_answers.shape[:3].numel(), kit.num_classes, generator=generator).softmax(-1)
    text = json.dumps({"answers": [[round(v, 7) for v in row] for row in rows.tolist()]}).encode()
    return {
        "JSON": (JSON, text),
        "Arrow": (ARROW, arrow_body(rows.numpy())),
        "float32": (RAW, rows.numpy().astype("<f4").tobytes()),
    }


async def load(url: str, kind: str, body: bytes, key: str, clients: int, seconds: float) -> dict[str, float]:
    """So many clients, each asking again as soon as it is answered: requests a second, and
    percentiles of their times in ms."""
    times: list[float] = []
    headers = {"Content-Type": kind, "Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=clients), headers=headers
    ) as session:

        async def one(end: float) -> None:
            while time.perf_counter() < end:
                started = time.perf_counter()
                async with session.post(url, data=body) as reply:
                    content = await reply.read()
                    assert reply.status == 200, content[:300]
                times.append(time.perf_counter() - started)

        await asyncio.gather(*(one(time.perf_counter() + 2.0) for _ in range(clients)))  # warm
        times.clear()
        started = time.perf_counter()
        await asyncio.gather(*(one(started + seconds) for _ in range(clients)))
        took = time.perf_counter() - started
    p50, p99 = np.quantile(times, [0.5, 0.99]) * 1000
    return {
        "per_second": len(times) / took,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "requests": len(times),
    }


@contextlib.contextmanager
def process(command: list[str], ready: str, **environment: str) -> Iterator[int]:
    """A server until the end of the block, once it answers at ``ready``: its process id."""
    import urllib.request

    made = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            assert made.poll() is None, command
            try:
                urllib.request.urlopen(ready, timeout=2)
                break
            except OSError:  # an HTTPError is one: Serve's proxy answers before it knows any route
                time.sleep(0.3)
        yield made.pid
    finally:
        made.send_signal(2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            made.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(made.pid, 9)


def measured(
    args: argparse.Namespace, id_: str, sent: dict[str, tuple[str, bytes]]
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """One repeat: who, format, figures."""
    folder = Path(args.folder)
    (port,) = free_ports(1)
    (folder / "plain.py").write_text(PLAIN)
    (folder / "empty.py").write_text(EMPTY)
    here = f"http://127.0.0.1:{port}"
    with process(
        [sys.executable, str(folder / "plain.py"), args.store, id_, str(port)], f"{here}/openapi.json"
    ):
        yield (
            "plain",
            "JSON",
            asyncio.run(load(f"{here}/json", *sent["JSON"], "", args.clients, args.seconds)),
        )
    serve = [
        sys.executable,
        "-m",
        "zooaudit",
        "serve",
        "--store",
        args.store,
        "--data",
        str(folder / "data"),
        "--port",
        str(port),
        "--open",
    ]
    with process(serve, f"{here}/ready"):
        for name, body in sent.items():
            url = f"{here}/kits/{id_}/score?suspect=s&method=paper"
            yield "ours", name, asyncio.run(load(url, *body, "", args.clients, args.seconds))
            yield "ours, one client", name, asyncio.run(load(url, *body, "", 1, args.seconds / 4))
    starter = folder / "start.py"
    starter.write_text(START.format(port=port))
    with process([sys.executable, str(starter)], f"{here}/", PYTHONPATH=str(folder)):
        for name, body in sent.items():
            yield "empty", name, asyncio.run(load(f"{here}/", *body, "", args.clients, args.seconds))
            yield "empty, one client", name, asyncio.run(load(f"{here}/", *body, "", 1, args.seconds / 4))


def parts(kit: Kit, sent: dict[str, tuple[str, bytes]]) -> dict[str, Any]:
    """Milliseconds of parsing and of scoring, in this process, one at a time and sixteen together."""
    found: dict[str, Any] = {}

    def clocked(work: Any, times: int = 30) -> float:
        work()
        started = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - started) / times * 1000

    most = kit.victim_answers.shape[:3].numel()
    for name, (kind, body) in sent.items():
        found[f"parse {name}"] = clocked(
            lambda kind=kind, body=body: read_rows(kind, body, kit.classes, most)
        )
    rows = read_rows(*sent["float32"], kit.classes, most)
    job = Job(kit, "s", "paper", rows)
    found["score one"] = clocked(lambda: score_all([job]))
    found["score sixteen together, each"] = clocked(lambda: score_all([job] * 16), 5) / 16
    twins = Job(kit, "s", "twins", kit.twin_test.reference_answers[0])
    found["verdict of the twin test"] = clocked(lambda: score_all([twins]))
    return found


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default="store")
    parser.add_argument("--kit", required=True)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clients", type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(1)
    artifact = find_kit(open_store(args.store), args.kit)
    kit, args.store = read_kit(artifact), str(Path(args.store).absolute())
    sent = bodies(kit)
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="zb-") as folder:
        args.folder = folder
        for _ in range(args.repeats):
            for who, name, figures in measured(args, artifact.id, sent):
                print(who, name, figures, file=sys.stderr, flush=True)
                rows.setdefault((who, name), []).append(figures)
    table = [
        {"who": who, "format": name, "bytes": len(sent[name][1])}
        | {k: spread([f[k] for f in found]) for k in found[0]}
        for (who, name), found in rows.items()
    ]
    rate = {key: np.array([f["per_second"] for f in found]) for key, found in rows.items()}
    ratios = {
        f"{name} over {other}": spread(
            (rate["ours", name] / rate[other, "JSON" if other == "plain" else name]).tolist()
        )
        for name in sent
        for other in ("plain", "empty")
    }
    save(
        "serving",
        {
            "ratios": ratios,
            "clients": args.clients,
            "seconds": args.seconds,
            "rows": table,
            "milliseconds": parts(kit, sent),
        },
    )


if __name__ == "__main__":
    main()
