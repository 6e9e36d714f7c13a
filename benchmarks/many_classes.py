"""A kit of 1,000 classes, 1,000 questions, 19 twins and 32 references: how large it is, and
how long one suspect takes.

    python benchmarks/many_classes.py [--classes 1000] [--size 64] [--repeats 7]

No model is trained: answers are drawn, as spread as a net's and as incompressible. The kit is of the default
settings (20 views of 100 datapoints for the paper's test; the twin test's questions chosen from 3,000 images
of the task and 1,500 others). Each repeat opens the store, reads the kit with all its digests checked, and
judges one suspect's answers to all questions by the twin test.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import save, spread
from torch import Tensor

from zooaudit.auditing.twin_questions import Pools, order
from zooaudit.auditing.twin_step import Asked, assembled, foreseen
from zooaudit.config import EncoderConfig, TwinTestConfig, VerdictConfig
from zooaudit.kits.kit import Kit, load_kit, save_kit
from zooaudit.paper.encoder import Encoder
from zooaudit.storage.opening import open_store
from zooaudit.verdict.examined import FOREIGN, NATURAL, Candidate, Reference
from zooaudit.verdict.grouping import kept
from zooaudit.verdict.twin_test import TwinTest

TWINS, REFERENCES, INTERFACES, VIEWS, POINTS = 19, 32, 3, 20, 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument(
        "--size", type=int, default=64, help="height and width of the images, of three channels"
    )
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zooaudit-benchmark-") as scratch:
        artifacts = open_store(scratch, cache=False)
        kit = save_kit(artifacts, made(args.classes, args.size)).id
        size = sum(p.stat().st_size for p in Path(scratch).rglob("*") if p.is_file())
        print(f"kit of {size / 1e6:.0f} MB", file=sys.stderr)
        rows = [measured(scratch, kit, args.classes, seed) for seed in range(args.repeats)]
    seconds = {name: spread([row[name] for row in rows]) for name in rows[0]}
    save(
        "many_classes",
        {"classes": args.classes, "image_size": args.size, "kit_bytes": size, "seconds": seconds},
    )


def measured(store: str, kit: str, classes: int, seed: int) -> dict[str, float]:
    started = time.perf_counter()
    found = load_kit(open_store(store, cache=False), kit)
    loaded = time.perf_counter()
    verdict = found.twin_test.judge(drawn(1, found.twin_test.budget, classes, seed)[0]).verdict
    judged = time.perf_counter()
    print(
        f"loaded {loaded - started:.2f} s, judged {judged - loaded:.2f} s: {verdict.decision}",
        file=sys.stderr,
    )
    return {"loaded": loaded - started, "judged": judged - loaded, "both": judged - started}


def made(classes: int, size: int) -> Kit:
    image = (3, size, size)
    victim_answers = drawn(VIEWS * POINTS, 2, classes, 1).view(VIEWS, POINTS, 2, classes)
    encoder = Encoder(victim_answers[0].numel(), EncoderConfig("hellinger"))
    return Kit(
        "victim",
        torch.rand(image),
        noise(VIEWS, POINTS, *image),
        victim_answers,
        encoder,
        EncoderConfig("hellinger"),
        ("a", "b", "c"),
        np.random.default_rng(0).random((3, VIEWS), dtype=np.float32),
        VerdictConfig(),
        0,
        twin_test(classes, image),
        {},
    )


def twin_test(classes: int, image: tuple[int, int, int]) -> TwinTest:
    config = TwinTestConfig()
    families = (NATURAL,) * config.pool + (FOREIGN,) * (config.pool // 2)
    of = Pools(noise(len(families), *image), torch.arange(len(families)) % classes, families)
    chosen = order(config, of, torch.rand(len(families)))
    names = [f"model-{i}" for i in range(TWINS + 1)]
    own, others = (kept(drawn(count, len(chosen[0]), classes, count)) for count in (TWINS + 1, REFERENCES))
    task, lessons = (kept(drawn(count, config.pool, classes, count)) for count in (TWINS + 1, REFERENCES))
    behind, others_behind = (torch.stack([answers] * INTERFACES) for answers in (own, others))
    asked = foreseen(Asked(own, behind), task, lessons, chosen[0], classes)
    references = [Reference(f"reference-{i}", "trained") for i in range(REFERENCES)]
    found = assembled(
        0.05,
        of,
        chosen,
        [Candidate(n, 0.7) for n in names],
        asked,
        references,
        Asked(others, others_behind),
        "",
        classes,
    )
    object.__setattr__(found, "lessons", lessons)
    return found


def drawn(models: int, questions: int, classes: int, seed: int) -> Tensor:
    """Answers ``[models, questions, classes]`` of models that agree on much."""
    common = 3 * torch.randn(questions, classes, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [
            (common + 2 * torch.randn(questions, classes, generator=generator)).softmax(-1)
            for _ in range(models)
        ]
    )


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


if __name__ == "__main__":
    main()
