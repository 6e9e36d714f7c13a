"""A few of each owner's training images, for methods that ask who learnt them:
``trained/VICTIM.npz`` beside the models.

python -m benchmarks.foreign.trained --out DIR
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.foreign import data as stored
from benchmarks.foreign.jobs import Job
from benchmarks.foreign.make import OWNER_IMAGES
from benchmarks.foreign.plan import plan

COUNT = 500


def main() -> None:
    """Write those of all victims of data sets that are prepared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder that benchmarks.foreign.build wrote"
    )
    for path in write(parser.parse_args().out, plan("all")):
        print(path)


def write(out: Path, jobs: Iterable[Job]) -> list[Path]:
    """For the victims among the jobs; what is there, and data sets that are not prepared, are skipped.
    Returns the files written."""
    made = []
    for job in (j for j in jobs if j.role == "victim" and (out / j.dataset / "pools.npz").exists()):
        path = out / job.dataset / "trained" / f"{job.victim}.npz"
        if path.exists():
            continue
        images, labels = stored.load(out, job.dataset).part(job.options["part"], OWNER_IMAGES[job.dataset])
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".tmp.npz")
        # A part is in random order.
        np.savez(partial, images=images[:COUNT].numpy(), labels=labels[:COUNT].numpy())
        partial.rename(path)
        made.append(path)
    return made


if __name__ == "__main__":
    main()
