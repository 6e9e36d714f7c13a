"""torch.export files: as good as the model they were made of, and checked like one."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.archives import GRAPH, SHAPE, WEIGHTS, load, refused, rewrite
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import AnswersError, ModelError
from zooaudit.paper.datapoints import representation
from zooaudit.paper.uap import predict
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.load import load_model
from zooaudit.zoo.fit import accuracy


def test_gives_the_answers_of_the_model_it_was_made_of(
    exported: Path, learnt: nn.Module, digits: Dataset
) -> None:
    module = load(exported)
    for count in (1, 2, 450):
        x = to_unit(digits.test.images[:count])
        torch.testing.assert_close(module(x), learnt(x), atol=1e-5, rtol=1e-5)
    assert not any(p.requires_grad for p in module.parameters())


class Ordinary(nn.Module):
    """Layers and shape arithmetic as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Hardswish(), nn.MaxPool2d(2), nn.Dropout(0.5)
        )
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = x.shape[0]
        first, second = self.norm(self.layers(x).view(count * 4, 16)).reshape(count, 2, -1).chunk(2, 1)
        return self.head((first + second.flip(2)).reshape(count, -1)) + torch.arange(10)


def test_ordinary_layers_and_shapes_are_let_in(tmp_path: Path) -> None:
    model = Ordinary().eval()
    path = tmp_path / "ordinary.pt2"
    torch.export.save(
        torch.export.export(model, (torch.zeros(2, *SHAPE),), dynamic_shapes=({0: torch.export.Dim("n")},)),
        path,
    )
    x = torch.rand(7, *SHAPE)
    torch.testing.assert_close(load(path)(x), model(x), atol=1e-5, rtol=1e-5)


def test_can_be_asked_measured_and_looked_into(exported: Path, learnt: nn.Module, digits: Dataset) -> None:
    """All that an owner does to a victim, which may be a .pt2 file."""
    module = load(exported)
    box = TorchBlackBox(module, 10)
    x = to_unit(digits.test.images[:20])
    torch.testing.assert_close(box.ask(x), learnt(x).softmax(1), atol=1e-5, rtol=1e-5)
    assert accuracy(module, digits.test) == accuracy(learnt, digits.test)
    assert torch.equal(predict(module, x), predict(learnt, x))
    assert len(representation(module, digits.test.images[:20])) == 20
    x.requires_grad_()
    ours, theirs = (torch.autograd.grad(m(x).square().sum(), x)[0] for m in (module, learnt))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(share: float, exported: Path, tmp_path: Path) -> None:
    raw = exported.read_bytes()
    (tmp_path / "cut.pt2").write_bytes(raw[: int(len(raw) * share)])
    refused(tmp_path / "cut.pt2", "not a readable torch.export file", "torch.export.save")


@pytest.mark.parametrize("missing", [GRAPH, WEIGHTS])
def test_a_file_without_its_parts_is_refused(missing: str, exported: Path, tmp_path: Path) -> None:
    refused(rewrite(exported, tmp_path / "bad.pt2", {missing: None}), "not a readable torch.export file")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"config": {"w": {}}}', b'{"config": {"w": null}}'])
def test_a_broken_weights_list_is_refused(content: bytes, exported: Path, tmp_path: Path) -> None:
    refused(rewrite(exported, tmp_path / "bad.pt2", {WEIGHTS: lambda _: content}))


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_static_batch_is_asked_in_such_batches(batch: int, learnt: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "static.pt2"
    torch.export.save(torch.export.export(learnt, (torch.zeros(batch, *SHAPE),)), path)
    x = torch.rand(7, *SHAPE)
    torch.testing.assert_close(load(path)(x), learnt(x), atol=1e-5, rtol=1e-5)


def test_another_shape_is_adapted_to_and_another_number_of_classes_is_found_out(
    exported: Path, learnt: nn.Module
) -> None:
    colours = torch.rand(3, 3, 8, 8)
    grey = colours[:, :1] * 0.299 + colours[:, 1:2] * 0.587 + colours[:, 2:] * 0.114
    torch.testing.assert_close(
        load_model(exported, None, (3, 8, 8), 10)(colours), learnt(grey), atol=1e-5, rtol=1e-5
    )
    with pytest.raises(ModelError, match=r"gave a tensor of shape \(2, 10\) for 2 images; expected \(2, 7\)"):
        load_model(exported, None, SHAPE, 7)


def test_weights_of_an_exported_model_must_be_finite(exported: Path, tmp_path: Path) -> None:
    def spoil(content: bytes) -> bytes:
        return torch.full((len(content) // 4,), float("nan")).numpy().tobytes()

    path = rewrite(exported, tmp_path / "nan.pt2", {"data/weights/weight_0": spoil})
    with pytest.raises((ModelError, AnswersError), match="NaN"):
        load(path)
