"""Nets of ModelReuse."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18

from tests.support.downloads import put
from tests.support.published_files import NEW, REUSE, REUSED
from zooaudit.errors import ModelError
from zooaudit.studies import published_weights
from zooaudit.studies.published_models import load
from zooaudit.studies.published_weights import in_one_row, quantised, unmasked


class Parted(nn.Module):
    """ModelDiff's MobileNetV2 by the names of its weights: torchvision's blocks in five layers, a new one
    where the image is halved."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        whole = mobilenet_v2(num_classes=classes)
        parts: list[list[nn.Module]] = [[]]
        halvings = 0
        for block in whole.features:
            halves = any(isinstance(m, nn.Conv2d) and m.stride == (2, 2) for m in block.modules())
            halvings += halves
            parts[-1].append(block)
        rows = [parts[0][i:j] for i, j in ((0, 4), (4, 7), (7, 11), (11, 17), (17, 19))]
        self.layer1, self.layer2, self.layer3, self.layer4, self.layer5 = (
            nn.Sequential(*row) for row in rows
        )
        self.classifier = whole.classifier

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer5(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        return self.classifier(x.mean((2, 3)))


IMAGENET: dict[str, Any] = {
    "input_size": [3, 224, 224],
    "num_classes": 102,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def normalised(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(IMAGENET[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    return (x - mean) / std


def test_a_net_in_five_layers_is_loaded_as_torchvisions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets = {REUSED: Parted(102).eval(), NEW: resnet18(num_classes=102).eval()}
    folders = {n: put(tmp_path, n, made.state_dict(), "ModelReuse", **IMAGENET) for n, made in nets.items()}
    x = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        for name, made in nets.items():
            assert torch.allclose(load(REUSE, name, folders)(x), made(normalised(x)), atol=1e-5), name
    names = in_one_row(nets[REUSED].state_dict())
    assert names.keys() == mobilenet_v2(num_classes=102).state_dict().keys()


def test_blocks_end_where_theirs_do() -> None:
    """A layer of ModelDiff's ends after all blocks of a width whose first one halves the image."""
    ends, width = [], [(16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
    count = 1
    for _, blocks, stride in width:
        count += blocks
        if stride == 2:
            ends.append(count)
    expected = [b - a for a, b in zip([0, *ends], [*ends, 19], strict=True)]
    assert list(published_weights.BLOCKS) == expected


def test_a_quantised_net_is_made_of_the_one_that_it_was_quantised_from(tmp_path: Path) -> None:
    source = "pretrain(resnet18,imagenet-1k)->transfer(Flower102,0.1)"
    torch.manual_seed(0)
    made = resnet18(num_classes=102).eval()
    folders = {source: put(tmp_path, source, made.state_dict(), "ModelReuse", **IMAGENET)}
    x = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        whole = load(REUSE, source, folders)(x)
        half, eight = (load(REUSE, f"{source}->quantize({p})", folders)(x) for p in ("float16", "qint8"))
        features = nn.Sequential(*list(made.children())[:-1])(normalised(x)).flatten(1)
        by_hand = features @ made.fc.weight.half().float().T + made.fc.bias
    assert torch.allclose(half, by_hand, atol=1e-5) and not torch.equal(half, whole)
    assert 0 < float((eight - whole).abs().max()) < 0.05 * float(whole.abs().max())
    with pytest.raises(ModelError, match=r"quantize\(int4\); expected float16 or qint8"):
        quantised(made, "int4")


def test_weights_without_masks_are_left_alone(tmp_path: Path) -> None:
    weights = {
        "a.weight": torch.ones(2),
        "b.weight_orig": torch.full((2,), 3.0),
        "b.weight_mask": torch.tensor([0, 1], dtype=torch.bool),
    }
    found = unmasked(weights, tmp_path)
    assert found.keys() == {"a.weight", "b.weight"} and found["b.weight"].tolist() == [0, 3]
