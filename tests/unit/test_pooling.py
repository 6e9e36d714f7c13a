"""The fast pooling against PyTorch's own, to the bit, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zooaudit.zoo.pooling import MaxPool2x2

DTYPES = [torch.float32, torch.bfloat16]
NAN, INF = float("nan"), float("inf")


def run(function: object, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(x)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed)).to(x.dtype)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    return y.detach(), gradient


def assert_as_torch(x: Tensor) -> None:
    ours, theirs = run(MaxPool2x2(), x), run(lambda z: F.max_pool2d(z, 2), x)
    for mine, expected in zip(ours, theirs, strict=True):
        assert mine.dtype == x.dtype
        torch.testing.assert_close(mine, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 16, 28, 28), (3, 5, 7, 9), (2, 1, 2, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_torch(dtype: torch.dtype, shape: tuple[int, ...], layout: torch.memory_format) -> None:
    # bfloat16 has ties: the first takes the gradient.
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert_as_torch(x.to(memory_format=layout))


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    values=st.lists(
        st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([INF, -INF]), min_size=16, max_size=16
    )
)
def test_equals_torch_on_any_numbers(dtype: torch.dtype, values: list[float]) -> None:
    x = torch.tensor(values).to(dtype) + 0.0  # no -0.0, which counts as less than 0.0 here
    assert_as_torch(x.view(1, 1, 4, 4))


@pytest.mark.parametrize("bits", [0x7FC0, 0xFFC0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("place", range(4))
def test_nan_of_either_sign_is_never_lost(dtype: torch.dtype, bits: int, place: int) -> None:
    nan = torch.tensor([bits], dtype=torch.uint16).view(torch.bfloat16).to(dtype)
    x = torch.tensor([1.0, INF, -INF, 3.0]).to(dtype)
    x[place] = nan
    y, _ = run(MaxPool2x2(), x.view(1, 1, 2, 2))
    assert y.isnan().all()


def test_zeros_of_either_sign_stay_zero() -> None:
    y, gradient = run(MaxPool2x2(), torch.tensor([-0.0, 0.0, -1.0, -0.0]).view(1, 1, 2, 2))
    assert y.item() == 0.0
    assert (gradient != 0).sum() == 1


def test_evaluation_and_export_use_pytorchs_own() -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(MaxPool2x2()(x), F.max_pool2d(x, 2))
    program = torch.export.export(MaxPool2x2(), (x,))
    assert any("max_pool2d" in str(node.target) for node in program.graph.nodes)


def test_second_derivatives_are_refused() -> None:
    x = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (first,) = torch.autograd.grad(MaxPool2x2()(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(first.sum(), x)
