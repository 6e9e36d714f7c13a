"""Two strangers' models of the digits, as ONNX graphs for a server: ``taken`` learnt from answers of a kit's
victim, ``own`` from labels.

    python docs/mlserver/suspects.py --store store --kit 4f2a --out models

For trying an audit on something whose truth is known: neither was ever in a zoo. Needs
``onnx``, which ``.[dev]`` brings.
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from zooaudit.data.images import to_unit
from zooaudit.data.resolve import load_digits
from zooaudit.kits.kit import find_kit, read_kit
from zooaudit.storage.models import load_module
from zooaudit.storage.opening import open_store


def stranger() -> nn.Module:
    """A net of another family than the zoo's."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(24 * 64, 64),
        nn.GELU(),
        nn.Linear(64, 10),
    )


def learnt(images: torch.Tensor, targets: torch.Tensor, seed: int) -> nn.Module:
    """Trained on images with probabilities or labels."""
    torch.manual_seed(seed)
    model = stranger()
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(60):
        for rows in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(model(images[rows]), targets[rows]).backward()
            optimiser.step()
    return nn.Sequential(model, nn.Softmax(1)).eval()


def main() -> None:
    """Train and export both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default="store")
    parser.add_argument("--kit", required=True)
    parser.add_argument("--out", type=Path, default=Path("models"))
    args = parser.parse_args()
    torch.set_num_threads(1)  # so small nets only wait for more
    store = open_store(args.store)
    victim = load_module(store, read_kit(find_kit(store, args.kit)).victim)
    train = load_digits().train
    images = to_unit(train.images)
    with torch.no_grad():
        answers = victim(images).softmax(1)  # all that a thief sees
    for name, targets in (("taken", answers), ("own", train.labels.long())):
        path = args.out / name / f"{name}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        sizes = {"images": {0: "n"}, "probabilities": {0: "n"}}
        torch.onnx.export(
            learnt(images, targets, 1),
            (images[:2],),
            path,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_axes=sizes,
            dynamo=False,
        )
        print(path)


if __name__ == "__main__":
    main()
