"""The service over time: cold kits from an S3 server, many kits in bounded memory, and a
soak at 80 % of what it can take.

    python benchmarks/serving_steady.py --store store --kit 4f2a [--kits 200] [--kits-mib 256] [--soak 600]

SeaweedFS and ``zooaudit serve`` run on this machine, the client too. ``--kits`` copies of the kit, each with
another seed, are put into the bucket; each is asked for a first score (bare float32, 20 views, N=100), and
the replica's memory is read after each tenth. Then clients ask warm kits as fast as they can for some
seconds, and at 80 % of that rate for ``--soak`` seconds: errors, percentiles, memory by minute.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import torch
from measure import save, spread
from serving import bodies, load, process

from zooaudit.kits.kit import find_kit, read_kit, save_kit
from zooaudit.storage.opening import open_store

sys.path.insert(0, str(Path(__file__).parent.parent))
from cluster.seaweed import Seaweed, free_ports, make_bucket

PLACE = "s3://bench/kits"


def memory(pid: int) -> float:
    """MiB of all replicas that score, without Ray's shared object store, whose pages count
    once they were touched."""
    family = psutil.Process(pid).children(recursive=True)
    sizes = [p.memory_info() for p in family if "scoring" in " ".join(p.cmdline())]
    return sum(s.rss - s.shared for s in sizes) / 2**20


def asked(url: str, kind: str, body: bytes) -> float:
    """Seconds until a score is there."""
    started = time.perf_counter()
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as reply:
        reply.read()
    return time.perf_counter() - started


async def steady(
    urls: list[str], kind: str, body: bytes, rate: float, seconds: float, pid: int
) -> dict[str, Any]:
    """Ask at a steady rate, whatever comes back when."""
    times, errors, megabytes, waiting = [], [], [], set()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=64), headers={"Content-Type": kind}
    ) as session:

        async def one(url: str) -> None:
            started = time.perf_counter()
            try:
                async with session.post(url, data=body) as reply:
                    await reply.read()
                    if reply.status != 200:
                        errors.append(str(reply.status))
            except (aiohttp.ClientError, TimeoutError) as error:
                errors.append(repr(error))
            times.append(time.perf_counter() - started)

        begun = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            task = asyncio.create_task(one(urls[number % len(urls)]))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            if number % max(1, int(rate * 60)) == 0:
                megabytes.append(memory(pid))
        await asyncio.gather(*waiting)
    p50, p99 = np.quantile(times, [0.5, 0.99]) * 1000
    return {
        "per_second": rate,
        "requests": len(times),
        "errors": errors[:5],
        "failed": len(errors),
        "p50_ms": p50,
        "p99_ms": p99,
        "mib_by_minute": [*megabytes, memory(pid)],
    }


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default="store")
    parser.add_argument("--kit", required=True)
    parser.add_argument("--kits", type=int, default=200)
    parser.add_argument("--kits-mib", type=int, default=256)
    parser.add_argument("--soak", type=float, default=600)
    args = parser.parse_args()
    torch.set_num_threads(1)
    kit = read_kit(find_kit(open_store(args.store), args.kit))
    kind, body = bodies(kit)["float32"]
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="zb-") as scratch:
        folder = Path(scratch)
        server = Seaweed(folder / "s3").start()
        own = server.environment | {
            "ZOOAUDIT_STORE_CACHE_GIB": "0",
            "ZOOAUDIT_SERVE_KITS_MIB": str(args.kits_mib),
        }
        os.environ.update(own)
        try:
            make_bucket(server, "bench")
            store = open_store(PLACE)
            ids = [save_kit(store, replace(kit, seed=seed)).id for seed in range(args.kits)]
            print(f"{len(ids)} kits in the bucket", file=sys.stderr, flush=True)
            url = f"http://127.0.0.1:{free_ports(1)[0]}"
            command = [
                sys.executable,
                "-m",
                "zooaudit",
                "serve",
                "--store",
                PLACE,
                "--data",
                str(folder / "data"),
                "--open",
            ]
            with process([*command, "--port", url.rpartition(":")[2]], f"{url}/ready") as pid:
                urls = [f"{url}/kits/{id_}/score?suspect=s&method=paper" for id_ in ids]
                cold, held = [], [memory(pid)]
                for number, one in enumerate(urls, 1):
                    cold.append(asked(one, kind, body))
                    if number % 10 == 0:
                        held.append(memory(pid))
                print(f"cold {np.median(cold):.3f} s, memory {held}", file=sys.stderr, flush=True)
                # One kit: its answers go through the encoder together.
                most = asyncio.run(load(urls[-1], kind, body, "", 32, 15.0))
                print(most, file=sys.stderr, flush=True)
                soak = asyncio.run(steady(urls[-8:], kind, body, 0.8 * most["per_second"], args.soak, pid))
        finally:
            server.stop()
    data = {
        "kits": args.kits,
        "kits_mib": args.kits_mib,
        "cold_s": spread(cold),
        "mib_by_tens": held,
        "at_most": most,
        "soak": soak,
    }
    save("serving_steady", data)


if __name__ == "__main__":
    main()
