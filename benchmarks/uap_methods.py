"""Gradient UAP against the Adversarial Robustness Toolbox's UniversalPerturbation
(DeepFool), same victim, same epsilon.

    python benchmarks/uap_methods.py --store store [--repeats 3]

Both are measured on the same 10,000 held-out images and with the same number of threads; ours is timed with
the measuring of its fooling rates included, ART's without.
"""

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch
from art.attacks.evasion import UniversalPerturbation
from art.estimators.classification import PyTorchClassifier
from measure import save, spread

from zooaudit.auditing.steps import Victim
from zooaudit.config import UapConfig
from zooaudit.data.images import to_unit
from zooaudit.data.on_disk import in_memory
from zooaudit.data.resolve import resolve
from zooaudit.paper.uap import craft_uap, fooling_rate
from zooaudit.storage.opening import open_store


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default="store", help="store of a finished fmnist-quick run")
    parser.add_argument("--epsilon", type=float, default=0.2)
    parser.add_argument("--art-points", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    dataset = resolve("fashion-mnist", say=lambda m: print(m, file=sys.stderr))
    artifacts = open_store(args.store)
    victim = Victim.load(
        next(i for i in artifacts.ids("model") if i.startswith("victim-")), artifacts, dataset
    )
    images, held_out = dataset.train.images[victim.training_indices], in_memory(dataset.test.images)
    rows: list[dict[str, Any]] = [
        {"method": "gradient", **ours(victim, images, held_out, args, s)} for s in range(args.repeats)
    ]
    rows += [
        {"method": "art-deepfool", **art(victim, images, held_out, args, s)} for s in range(args.repeats)
    ]
    seconds = {
        m: spread([r["seconds"] for r in rows if r["method"] == m]) for m in ("gradient", "art-deepfool")
    }
    rates = {
        m: spread([r["fooling_rate"] for r in rows if r["method"] == m]) for m in ("gradient", "art-deepfool")
    }
    ratio = seconds["art-deepfool"]["median"] / seconds["gradient"]["median"]
    body = {"epsilon_linf": args.epsilon, "art_points": args.art_points, "threads": torch.get_num_threads()}
    save(
        "uap_methods", body | {"seconds": seconds, "fooling_rate": rates, "times_faster": ratio, "rows": rows}
    )


def ours(
    victim: Victim, images: torch.Tensor, held_out: torch.Tensor, args: argparse.Namespace, seed: int
) -> dict[str, float]:
    started = time.perf_counter()
    made = craft_uap(victim.module, images, held_out, UapConfig(epsilon=args.epsilon), seed)
    row = {"seconds": time.perf_counter() - started, "fooling_rate": made.fooling_rate}
    print("gradient", row, file=sys.stderr)
    return row


def art(
    victim: Victim, images: torch.Tensor, held_out: torch.Tensor, args: argparse.Namespace, seed: int
) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    chosen = to_unit(images[torch.randperm(len(images), generator=generator)[: args.art_points]]).numpy()
    shape = tuple(int(n) for n in held_out.shape[1:])
    classifier = PyTorchClassifier(
        victim.module, torch.nn.CrossEntropyLoss(), shape, 10, clip_values=(0, 1), device_type="cpu"
    )
    np.random.seed(seed)
    started = time.perf_counter()
    attack = UniversalPerturbation(
        classifier, attacker="deepfool", eps=args.epsilon, norm=np.inf, max_iter=2, delta=0.1, verbose=False
    )
    attack.generate(chosen)
    seconds = time.perf_counter() - started
    v = torch.from_numpy(attack.noise.reshape(shape).astype(np.float32)).clamp(-args.epsilon, args.epsilon)
    row = {"seconds": seconds, "fooling_rate": fooling_rate(victim.module, to_unit(held_out), v)}
    print("art", row, file=sys.stderr)
    return row


if __name__ == "__main__":
    main()
