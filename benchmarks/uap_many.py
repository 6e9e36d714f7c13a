"""784 UAPs of one model, as figure 2 takes them: in batches, and one by one.

    python benchmarks/uap_many.py --store store [--repeats 3]

CPU seconds a UAP in each repeat, by one thread, one way after the other: *whole*, as an audit crafts the one
UAP that it needs (the recipe's settings); *short*, with the settings of figure 2, one by one; *batched*, the
same in batches. Each way makes some of the 784. Fooling rates are of the same 2,000 held-out images.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from measure import save, spread
from torch import Tensor, nn

from zooaudit.config import UapConfig
from zooaudit.data.resolve import resolve
from zooaudit.paper.many_uaps import many_uaps
from zooaudit.paper.uap import fooling_rate, gradient_uap
from zooaudit.recipes.named import get_recipe
from zooaudit.storage.models import load_module
from zooaudit.storage.opening import open_store
from zooaudit.studies.subspaces import ARMS, MOST

RATED, HELD_OUT = 5, 2000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default="store", help="store of a finished fmnist-quick run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--whole", type=int, default=3, help="UAPs by the recipe's settings in a repeat (default %(default)s)"
    )
    parser.add_argument(
        "--short", type=int, default=16, help="UAPs one by one by those of figure 2 (default %(default)s)"
    )
    parser.add_argument("--batched", type=int, default=MOST, help="UAPs in batches (default %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    dataset = resolve("fashion-mnist", say=lambda m: print(m, file=sys.stderr))
    artifacts = open_store(args.store)
    model = load_module(artifacts, next(i for i in artifacts.ids("model") if i.startswith("victim-")))
    recipe, images = get_recipe("fmnist-quick").uap, dataset.train.images
    assert isinstance(images, Tensor)
    short = replace(ARMS[0].config(recipe, images[0].numel()), norm=recipe.norm)
    ways: dict[str, tuple[int, Callable[[list[int]], Tensor]]] = {
        "whole, one by one": (args.whole, lambda seeds: each(model, images, recipe, seeds)),
        "short, one by one": (args.short, lambda seeds: each(model, images, short, seeds)),
        "short, batched": (args.batched, lambda seeds: many_uaps(model, images, short, seeds)),
    }
    rows: list[dict[str, Any]] = []
    for repeat in range(args.repeats):
        for name, (count, make) in ways.items():
            started = time.process_time()
            made = make([10_000 * repeat + i for i in range(count)])
            seconds = (time.process_time() - started) / count
            rates = [fooling_rate(model, dataset.test.images[:HELD_OUT], v) for v in made[:RATED]]
            rows.append(
                {"repeat": repeat, "way": name, "seconds": seconds, "fooling_rate": sum(rates) / len(rates)}
            )
            print(rows[-1], file=sys.stderr)
    by = {name: [r for r in rows if r["way"] == name] for name in ways}
    last = by["short, batched"]
    ratios = {
        n: spread([a["seconds"] / b["seconds"] for a, b in zip(found, last, strict=True)])
        for n, found in by.items()
    }
    body = {
        n: {
            "seconds": spread([r["seconds"] for r in f]),
            "fooling_rate": spread([r["fooling_rate"] for r in f]),
        }
        for n, f in by.items()
    }
    save("uap_many", {"uaps": MOST, "threads": 1, "ways": body, "times_as_long": ratios, "rows": rows})


def each(model: nn.Module, images: Tensor, config: UapConfig, seeds: list[int]) -> Tensor:
    """As ``craft_uap`` makes them, without the measuring."""
    found = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        chosen = images[torch.randperm(len(images), generator=generator)[: config.points]]
        found.append(gradient_uap(model, chosen, config, generator)[0])
    return torch.stack(found)


if __name__ == "__main__":
    main()
