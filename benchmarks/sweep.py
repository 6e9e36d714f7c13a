"""A sweep over N and top-k on stored answers, against asking all models anew for each trial.

    python benchmarks/sweep.py --store STORE [--recipe fmnist-paper] [--repeats 3]

The store holds the recipe's zoo and its answers (`zooaudit study auc` leaves them so). It is only read: each
measurement has a copy of it by hard links, without earlier trials.

    stored   `zooaudit sweep answers`, 40 trials on Ray Tune: the whole command, starting Python and Ray
    included anew     one process on all cores: a trial asks the victim, the encoder models and all suspects
    its own N points in all views, keeps
             what they answer, trains an encoder and scores. Done for some N, at top-k 1; the other trials are
             counted as those of the nearest N on a line through these
    trained  the same, and before each trial the zoo is trained: the seconds that the zoo's models took, by
    their own records, over the
             number of cores. Counted, not run
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from measure import save, spread

from zooaudit.auditing import answering
from zooaudit.data.resolve import resolve
from zooaudit.machine import cores
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.opening import open_store
from zooaudit.studies.bench import Bench, NoFarm
from zooaudit.studies.cohort import Variant
from zooaudit.sweep.space import parse_space
from zooaudit.zoo.spec import Role

MEASURED = (10, 50, 100)
"""N of the trials that are done anew."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--recipe", default="fmnist-paper")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    trials = list(parse_space(["answers"]).trials())
    stored, anew = [], {}
    for _ in range(args.repeats):
        with copy_of(args.store, without="trial") as store:
            stored.append(sweep(args.recipe, store))
            print(f"stored: {stored[-1]:.1f} s", file=sys.stderr)
    for n in MEASURED:
        with copy_of(args.store, without="answers") as store:
            anew[n] = ask_anew(args.recipe, store, n)
    line = np.polyfit(list(anew), [s["seconds"] for s in anew.values()], 1)
    asking = float(sum(np.polyval(line, int(t["points"])) for t in trials))
    training = len(trials) * zoo_seconds(args.recipe, args.store) / cores()
    save(
        "sweep",
        {
            "recipe": args.recipe,
            "trials": len(trials),
            "stored_s": spread(stored),
            "anew_by_points": anew,
            "anew_s": asking,
            "trained_s": asking + training,
            "times_faster_than_asking": spread([asking / s for s in stored]),
            "times_faster_than_training": spread([(asking + training) / s for s in stored]),
        },
    )


@contextmanager
def copy_of(store: Path, without: str) -> Iterator[Path]:
    """A copy of the store that lacks artifacts of one kind."""
    # Links need one file system.
    with tempfile.TemporaryDirectory(prefix=".zooaudit-benchmark-", dir=store.absolute().parent) as scratch:
        copy = Path(scratch) / "store"
        shutil.copytree(
            store,
            copy,
            copy_function=os.link,
            ignore=lambda folder, _: {without} if folder.endswith("manifests") else set(),
        )
        yield copy


def sweep(recipe: str, store: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "zooaudit",
            "sweep",
            "answers",
            "--recipe",
            recipe,
            "--store",
            str(store),
            "--out",
            str(store / "out"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def ask_anew(recipe_name: str, store: Path, points: int) -> dict[str, float]:
    """One trial without stored answers: its seconds, and how many queries it cost."""
    bench = open_bench(recipe_name, store)
    questions = bench.questions[:, :points].contiguous()
    assert answering.unanswered([bench.zoo.plan.victim], questions, bench.artifacts), (
        "these answers are there already"
    )
    started = time.perf_counter()
    cohort = bench.asked(questions)
    found = cohort.scores(Variant(bench.recipe.encoder, top_k=1)).auc(Role.HOMOLOGOUS)
    seconds = time.perf_counter() - started
    print(f"anew, N={points}: {seconds:.1f} s, {bench.queries:,} queries, AUC {found:.3f}", file=sys.stderr)
    return {"seconds": seconds, "queries": bench.queries, "models": len(cohort.answers)}


def zoo_seconds(recipe_name: str, store: Path) -> float:
    """Seconds that the zoo's models took, one core each."""
    bench = open_bench(recipe_name, store)
    return sum(r.seconds for r in bench.zoo.records.values())


def open_bench(recipe_name: str, store: Path) -> Bench:
    recipe = get_recipe(recipe_name)
    return Bench(recipe, resolve(recipe.dataset), open_store(str(store)), NoFarm(), lambda _: None)


if __name__ == "__main__":
    main()
