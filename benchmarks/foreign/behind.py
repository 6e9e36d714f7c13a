"""What victims, twins and references answer behind interfaces that change what they are
asked: ``behind.npz`` beside ``answers.npz``.

python -m benchmarks.foreign.behind --out DIR
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch

from benchmarks.foreign.models import load
from zooaudit.suspects.defences import TREATMENTS

POOLS = ("natural", "foreign", "attacker")
ROLES = ("victim", "twin", "reference")
BATCH = 500


def main() -> None:
    """Ask every model of these roles that has no such file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder that benchmarks.foreign.build wrote"
    )
    torch.set_num_threads(1)
    for folder in sorted(p.parent for p in parser.parse_args().out.glob("*/pools.npz")):
        questions = treated(folder / "pools.npz")
        for about in sorted(folder.glob("models/*/about.json")):
            if json.loads(about.read_text())["role"] in ROLES and not (about.parent / "behind.npz").exists():
                ask(about.parent, questions)
                print(about.parent.name, flush=True)


def treated(path: Path) -> dict[str, list[torch.Tensor]]:
    """By pool, its images float ``[n, c, h, w]`` in [0, 1] behind each treatment."""
    pools = {}
    with np.load(path) as file:
        for name in POOLS:
            images = torch.from_numpy(file[name])
            unit = (images if images.ndim == 4 else images.unsqueeze(1)).float() / 255
            pools[name] = [t.questions(unit) for t in TREATMENTS]
    return pools


@torch.no_grad()
def ask(folder: Path, questions: dict[str, list[torch.Tensor]]) -> None:
    """Write one model's answers, float32 ``[treatments, n, classes]`` a pool."""
    model = load(folder.parent, folder.name).eval()
    given = {
        name: np.stack(
            [torch.cat([model(part).float().softmax(1) for part in x.split(BATCH)]).numpy() for x in ways]
        )
        for name, ways in questions.items()
    }
    partial = folder / f".behind-{os.getpid()}.npz"
    np.savez(partial, **given)
    partial.replace(folder / "behind.npz")


if __name__ == "__main__":
    main()
