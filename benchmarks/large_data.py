"""Data that does not fit in memory: 100,000 JPEGs of 224 x 224 pixels, against a torch
DataLoader with as many processes.

    python benchmarks/large_data_make.py --tiny-imagenet DIR --out large
    python benchmarks/large_data.py --data large [--batches 150]
    # an audit with a small net, on Ray: a quarter of an hour on 2 cores
    python benchmarks/large_data.py --data large --kit

Measured, each in a process of its own: seconds from the start to the first batch, with all that is done
before (finding the files, a sample, the digest of all of them); images a second in the first pass, which
decodes, and in the second, which reads what was kept; the same loop on ``torchvision.datasets.ImageFolder``
with a DataLoader of one worker process, which decodes on one core while this one waits, and of two; ours
decodes in threads beside the reader. Batches of 128 random images, the same for all. Of the audit: the most
memory that the driver and each of its workers had at once, without what they share.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from measure import save

BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=150)
    parser.add_argument("--kit", action="store_true", help="build an audit kit, and watch memory")
    parser.add_argument("--way", choices=tuple(WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.kit:
        save("large_data_kit", kit(args.data))
    elif args.way:
        print(json.dumps(WAYS[args.way](args.data, args.batches)))
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Each way twice, and how fast ours is against each loader."""
    with tempfile.TemporaryDirectory(prefix="zooaudit-benchmark-") as cache:
        found = {}
        for turn in ("first", "second"):
            for way in WAYS:
                command = [
                    sys.executable,
                    __file__,
                    "--data",
                    str(args.data),
                    "--batches",
                    str(args.batches),
                    "--way",
                    way,
                ]
                done = subprocess.run(
                    command,
                    env=os.environ | {"ZOOAUDIT_CACHE": cache},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                found[f"{way}, {turn}"] = json.loads(done.stdout.splitlines()[-1])
                print(f"{way}, {turn}: {found[f'{way}, {turn}']}", file=sys.stderr)
        kept = sum(p.stat().st_blocks * 512 for p in Path(cache).rglob("*"))

    def speed(way: str, turn: str) -> float:
        return found[f"{way}, {turn}"]["images_a_second"]

    others = [way for way in WAYS if way != "ours"]
    ratio = {
        f"{turn} pass against {way}": speed("ours", turn) / speed(way, turn)
        for turn in ("first", "second")
        for way in others
    }
    save(
        "large_data",
        {
            "images": sum(1 for _ in args.data.rglob("*.jpg")),
            "runs": found,
            "speed_against_loader": ratio,
            "disk": kept,
        },
    )


def order(count: int, batches: int) -> list[torch.Tensor]:
    return list(
        torch.randperm(count, generator=torch.Generator().manual_seed(0))[: batches * BATCH].split(BATCH)
    )


def ours(folder: Path, batches: int) -> dict[str, float]:
    started = time.perf_counter()
    from zooaudit.data.on_disk import ahead
    from zooaudit.data.readers import read_dataset

    dataset = read_dataset(folder, "large")
    read = time.perf_counter()
    digest = dataset.digest
    digested = time.perf_counter()
    pixels = ahead(dataset.train.images, order(len(dataset.train), batches))
    first = next(pixels)
    at_first = time.perf_counter()
    images = len(first) + sum(len(batch) for batch in pixels)
    seconds = time.perf_counter() - digested
    memory = psutil.Process().memory_info().rss
    return {
        "found_s": read - started,
        "digest_s": digested - read,
        "first_batch_s": at_first - started,
        "images_a_second": images / seconds,
        "memory_bytes": memory,
        "digest": int(digest, 16) % 2**31,
    }


def loader(workers: int, folder: Path, batches: int) -> dict[str, float]:
    started = time.perf_counter()
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    dataset = ImageFolder(str(folder / "train"), transform=pil_to_tensor)
    batches_of = [batch.tolist() for batch in order(len(dataset), batches)]
    begun = time.perf_counter()
    iterator = iter(DataLoader(dataset, batch_sampler=batches_of, num_workers=workers))
    images = len(next(iterator)[0])
    at_first = time.perf_counter()
    images += sum(len(x) for x, _ in iterator)
    return {"first_batch_s": at_first - started, "images_a_second": images / (time.perf_counter() - begun)}


WAYS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "loader of 1": partial(loader, 1),
    "loader of 2": partial(loader, 2),
    "ours": ours,
}


def kit(folder: Path) -> dict[str, Any]:
    """An audit on Ray with the recipe beside this file; raises if it fails."""
    started, most = time.perf_counter(), dict[str, int]()
    with tempfile.TemporaryDirectory(prefix="zooaudit-benchmark-") as scratch:
        recipe = Path(__file__).with_suffix(".toml")
        command = [sys.executable, "-m", "zooaudit", "audit", "--recipe", str(recipe), "--data", str(folder)]
        command += ["--store", f"{scratch}/store", "--out", f"{scratch}/report"]
        driver = psutil.Popen(command, env=os.environ | {"ZOOAUDIT_CACHE": f"{scratch}/cache"})
        while driver.poll() is None:
            for name, size in memory(driver):
                most[name] = max(most.get(name, 0), size)
            time.sleep(1)
        print(f"most bytes at once: {most}", file=sys.stderr)
        if driver.returncode:
            raise SystemExit(driver.returncode)
        models = len(list(Path(scratch, "store").glob("manifests/model/*")))
    return {"seconds": time.perf_counter() - started, "models": models, "most_bytes": most}


def memory(driver: psutil.Process) -> list[tuple[str, int]]:
    """Resident bytes of the driver and of each Ray worker, without what they share with others."""
    found = []
    for process in [driver, *driver.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            known = process.memory_info()
            name = (
                "driver"
                if process.pid == driver.pid
                else "worker"
                if process.name().startswith("ray::")
                else "other"
            )
            found.append((name, known.rss - known.shared))
    return found


if __name__ == "__main__":
    main()
