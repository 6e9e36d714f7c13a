"""Make the models: ``python -m benchmarks.foreign.build --out DIR --fashion-mnist DIR --cifar10 DIR``; what
is there is skipped."""

import argparse
import multiprocessing
import queue
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.foreign import data as stored
from benchmarks.foreign import learners, trained
from benchmarks.foreign.data import derive
from benchmarks.foreign.jobs import SHORT, Job
from benchmarks.foreign.make import make
from benchmarks.foreign.nets import build
from benchmarks.foreign.plan import plan

START_EPOCHS = 5
Maker = Callable[[Path, Job], dict[str, Any]]


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    folders = {"fashion-mnist": options.fashion_mnist, "cifar10": options.cifar10}
    folders["tiny-imagenet"] = options.tiny_imagenet or options.cifar10.parent / "tiny-imagenet-50"
    unique = {job.id: job for job in plan(options.set)}  # references are in several parts
    waiting = [job for job in unique.values() if not there(options.out, job)]
    for dataset in SHORT:
        if any(job.dataset == dataset for job in waiting):
            prepare(options.out, dataset, folders)
    trained.write(options.out, unique.values())
    run(options.out, waiting, options.workers, len(unique))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fashion-mnist", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument(
        "--tiny-imagenet", type=Path, help="default: tiny-imagenet-50 beside the CIFAR-10 folder"
    )
    parser.add_argument("--set", choices=("dev", "report", "all"), default="all")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def there(out: Path, job: Job) -> bool:
    return (out / job.dataset / "models" / job.id / "about.json").exists()


def prepare(out: Path, dataset: str, folders: dict[str, Path]) -> None:
    """The arrays, the questions and the public checkpoint."""
    stored.prepare(out, dataset, folders)
    target = out / dataset / "start.safetensors"
    if target.exists():
        return
    data = stored.load(out, dataset)
    torch.manual_seed(derive("start", dataset) % 1000)
    model = learners.smooth(
        build("resid", data.start, 50), data.start, data.start_labels, "adam", START_EPOCHS
    )
    save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, target.with_suffix(".tmp"))
    target.with_suffix(".tmp").rename(target)
    print(f"{dataset}: data and the public checkpoint are ready", flush=True)


def run(out: Path, waiting: list[Job], workers: int, total: int, maker: Maker = make) -> None:
    """Hand jobs whose parents are there to the workers, in the order of the list."""
    context = multiprocessing.get_context("spawn")
    todo, done = context.Queue(), context.Queue()
    processes = [
        context.Process(target=work, args=(out, todo, done, maker), daemon=True) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    started, finished, running = time.monotonic(), 0, 0
    missing, lost = {job.id for job in waiting}, []
    first, left = total - len(waiting), list(waiting)
    while left or running:
        while running < workers and (job := next((j for j in left if missing.isdisjoint(j.parents)), None)):
            left.remove(job)
            todo.put(job)
            running += 1
        if not running:
            break  # what is left waits for a model that failed
        job_id, words = done.get()
        running -= 1
        if words.startswith("FAILED"):
            lost.append(job_id)
        else:
            missing.discard(job_id)
            finished += 1
        spent = time.monotonic() - started
        remaining = spent / max(1, finished) * (total - first - finished)
        print(
            f"{first + finished}/{total} {job_id}: {words}; {spent:.0f} s spent, {remaining / 60:.0f} min"
            " left",
            flush=True,
        )
    for _ in processes:
        todo.put(None)
    print(f"finished: {first + finished}/{total}; failed: {lost or 'none'}", flush=True)


def work(out: Path, todo: "Queue[Job | None]", done: "Queue[tuple[str, str]]", maker: Maker) -> None:
    """One worker: makes what it is handed, on one core."""
    torch.set_num_threads(1)
    for job in iter(partial(handed, todo), None):
        try:
            about = maker(out, job)
            recovery = f", recovery {about['recovery']:.3f}" if about["recovery"] else ""
            done.put((job.id, f"accuracy {about['accuracy']:.3f}{recovery}, {about['seconds']:.1f} s"))
        except Exception:  # noqa: BLE001 -- one model's failure must not stop the rest
            done.put((job.id, "FAILED\n" + traceback.format_exc()))


def handed(todo: "Queue[Job | None]") -> Job | None:
    """The next job; none if there are no more or whoever hands them out is gone."""
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        try:
            return todo.get(timeout=5)
        except queue.Empty:
            continue
    return None


def counted(jobs: Iterable[Job]) -> dict[tuple[str, str, str], int]:
    """How many jobs there are of each set, data set and role."""
    counts: dict[tuple[str, str, str], int] = {}
    for job in jobs:
        key = (job.set, job.dataset, job.role)
        counts[key] = counts.get(key, 0) + 1
    return counts


if __name__ == "__main__":
    main()
