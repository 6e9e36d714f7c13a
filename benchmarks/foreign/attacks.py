"""More kinds of thieves on the victims of the last report.

    python -m benchmarks.foreign.attacks --models models --out thieves
    zooaudit study validity power --models thieves --set report --out docs/thieves

Victims, twins and references are those of ``models``, which benchmarks.foreign.build made, by hard links;
what is there is skipped.
"""

import argparse
import os
from pathlib import Path

from benchmarks.foreign.build import run, there
from benchmarks.foreign.jobs import SHORT, Job
from benchmarks.foreign.plan_attacks import SLOW, plan


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dataset", choices=tuple(SHORT), action="append", help="default: both")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    jobs = [job for dataset in args.dataset or SHORT for job in plan(dataset)]
    jobs.sort(key=lambda job: job.attack in SLOW)
    for dataset in {job.dataset for job in jobs}:
        linked(args.models / dataset, args.out / dataset, [job for job in jobs if job.dataset == dataset])
    run(args.out, [job for job in jobs if not there(args.out, job)], args.workers, len(jobs))


def linked(source: Path, target: Path, jobs: list[Job]) -> None:
    """The data, and of the jobs those models that are finished there."""
    names = [
        p.relative_to(source)
        for folder in ("arrays", "trained")
        for p in sorted((source / folder).glob("*.np*"))
    ]
    names += [Path("pools.npz"), Path("start.safetensors")]
    for job in jobs:
        # Written last.
        files = sorted((source / "models" / job.id).glob("*"), key=lambda p: p.name == "about.json")
        names += [p.relative_to(source) for p in files]
    for name in names:
        if not (target / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(source / name, target / name)


if __name__ == "__main__":
    main()
