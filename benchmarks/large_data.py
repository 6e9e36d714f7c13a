"""Data that does not fit in memory: 100,000 JPEGs of 224 x 224 pixels, against a torch DataLoader with as many processes.

    python benchmarks/large_data_make.py --tiny-imagenet DIR --out large
    python benchmarks/large_data.py --data large [--batches 150]

Measured, each in a process of its own: seconds from the start to the first batch, with all that is done before (finding the files, a
sample, the digest of all of them); images a second in the first pass, which decodes, and in the second, which reads what was kept; the
same loop on ``torchvision.datasets.ImageFolder`` with a DataLoader of one worker process, which decodes on one core while this one waits,
as ours decodes in threads beside the reader. Batches of 128 random images, the same for all.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch
from measure import save

BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=150)
    parser.add_argument("--way", choices=("ours", "loader"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(ours(args.data, args.batches) if args.way == "ours" else loader(args.data, args.batches)))
        return
    with tempfile.TemporaryDirectory(prefix="zooaudit-benchmark-") as cache:
        found = {}
        for turn in ("first", "second"):
            for way in ("loader", "ours"):
                command = [sys.executable, __file__, "--data", str(args.data), "--batches", str(args.batches), "--way", way]
                done = subprocess.run(command, env=os.environ | {"ZOOAUDIT_CACHE": cache}, capture_output=True, text=True, check=True)
                found[f"{way}, {turn}"] = json.loads(done.stdout.splitlines()[-1])
                print(f"{way}, {turn}: {found[f'{way}, {turn}']}", file=sys.stderr)
        kept = shutil.disk_usage(cache).used
    ratio = {turn: found[f"ours, {turn}"]["images_a_second"] / found[f"loader, {turn}"]["images_a_second"] for turn in ("first", "second")}
    save("large_data", {"images": sum(1 for _ in args.data.rglob("*.jpg")), "runs": found, "speed_against_loader": ratio, "disk": kept})


def order(count: int, batches: int) -> list[torch.Tensor]:
    return list(torch.randperm(count, generator=torch.Generator().manual_seed(0))[: batches * BATCH].split(BATCH))


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
        "found_s": read - started, "digest_s": digested - read, "first_batch_s": at_first - started, "images_a_second": images / seconds,
        "memory_bytes": memory, "digest": int(digest, 16) % 2**31,
    }  # fmt: skip


def loader(folder: Path, batches: int) -> dict[str, float]:
    started = time.perf_counter()
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    dataset = ImageFolder(str(folder / "train"), transform=pil_to_tensor)
    batches_of = [batch.tolist() for batch in order(len(dataset), batches)]
    begun = time.perf_counter()
    iterator = iter(DataLoader(dataset, batch_sampler=batches_of, num_workers=1))
    images = len(next(iterator)[0])
    at_first = time.perf_counter()
    images += sum(len(x) for x, _ in iterator)
    return {"first_batch_s": at_first - started, "images_a_second": images / (time.perf_counter() - begun)}


if __name__ == "__main__":
    main()
