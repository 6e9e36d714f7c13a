"""The fast ELU, PReLU and dropout against PyTorch's own, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zooaudit.compute import seeded
from zooaudit.zoo.activations import ACTIVATIONS, ELU, Dropout, PReLU

TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 2e-2}
VALUES = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40)


def grid(dtype: torch.dtype) -> Tensor:
    x = torch.cat([torch.linspace(-12, 12, 1001), torch.tensor([0.0, -0.0, -1e-7, 1e-7, -80.0, 80.0])])
    return x.to(dtype)


def run(function: object, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = function(x)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    return y.detach(), gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_elu_equals_torch(dtype: torch.dtype) -> None:
    x = grid(dtype)
    upstream = torch.linspace(-2, 2, len(x)).to(dtype)
    y, gradient = run(ELU(), x, upstream)
    expected_y, expected_gradient = run(F.elu, x, upstream)
    assert y.dtype == gradient.dtype == dtype
    torch.testing.assert_close(y, expected_y, atol=TOLERANCE[dtype], rtol=0)
    torch.testing.assert_close(gradient, expected_gradient, atol=2 * TOLERANCE[dtype], rtol=0)


@given(VALUES)
def test_elu_equals_torch_anywhere(values: list[float]) -> None:
    x = torch.tensor(values)
    for ours, theirs in zip(
        run(ELU(), x, torch.ones_like(x)), run(F.elu, x, torch.ones_like(x)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("slope", [0.25, 0.0, 1.3, -0.4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prelu_equals_torch_with_the_gradient_of_its_slope(dtype: torch.dtype, slope: float) -> None:
    x, weight = grid(dtype), torch.tensor([slope])
    upstream = torch.linspace(-1, 2, len(x)).to(dtype)
    ours = PReLU()
    ours.slope.data.copy_(weight)
    y, gradient = run(ours, x, upstream)
    (to_slope,) = torch.autograd.grad(ours(x), ours.slope, upstream)

    theirs = weight.clone().requires_grad_()
    expected_y, expected_gradient = run(lambda z: F.prelu(z, theirs.to(dtype)), x, upstream)
    (expected_slope,) = torch.autograd.grad(F.prelu(x.float(), theirs), theirs, upstream.float())
    scale = 12 if dtype is torch.bfloat16 else 1
    torch.testing.assert_close(y, expected_y, atol=scale * TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    torch.testing.assert_close(gradient, expected_gradient, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    assert to_slope.shape == (1,)
    assert to_slope.dtype == torch.float32
    torch.testing.assert_close(to_slope, expected_slope, atol=1e-3, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4, 4)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_shape_and_input_are_kept(name: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    assert ACTIVATIONS[name]()(x).shape == shape
    assert torch.equal(x, before), "the input was changed in place"


def test_channels_last_gives_the_same_gradients() -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    for module in (ELU(), PReLU()):
        plain = run(module, x, upstream)
        last = run(module, x.to(memory_format=torch.channels_last), upstream)
        assert all(torch.equal(a, b) for a, b in zip(plain, last, strict=True))


def test_prelu_starts_at_a_quarter_and_learns() -> None:
    module = PReLU()
    assert float(module.slope.detach()) == 0.25
    torch.testing.assert_close(module(torch.tensor([-4.0, 2.0])).detach(), torch.tensor([-1.0, 2.0]))
    module(torch.tensor([-4.0, -2.0, 7.0])).sum().backward()
    assert float(module.slope.grad) == -6.0  # the sum of the inputs below zero


def test_infinities_and_nan_pass_through() -> None:
    x = torch.tensor([float("-inf"), float("inf"), float("nan")])
    torch.testing.assert_close(ELU()(x), F.elu(x), equal_nan=True)
    torch.testing.assert_close(PReLU()(x).detach(), F.prelu(x, torch.tensor([0.25])), equal_nan=True)


@pytest.mark.parametrize(("module", "operator"), [(ELU(), "elu"), (PReLU(), "prelu")])
def test_an_exported_graph_holds_pytorchs_own_operator(module: torch.nn.Module, operator: str) -> None:
    program = torch.export.export(module, (torch.linspace(-2, 2, 8),))
    assert any(operator in str(node.target) for node in program.graph.nodes)
    x = torch.linspace(-3, 3, 8)
    torch.testing.assert_close(program.module()(x), module(x))


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("shape", [(400, 1001), (64, 8, 20, 20)])
def test_dropout_keeps_the_right_share_scaled_up(p: float, shape: tuple[int, ...]) -> None:
    x = torch.full(shape, 2.0, dtype=torch.bfloat16)
    with seeded(0, torch.device("cpu")):
        y, gradient = run(Dropout(p).train(), x, torch.ones_like(x))
    kept = y != 0
    assert abs(float(kept.float().mean()) - (1 - p)) < 5 * (p * (1 - p) / x.numel()) ** 0.5
    torch.testing.assert_close(
        y[kept].float(), torch.full_like(y[kept], 2 / (1 - p), dtype=torch.float32), rtol=1e-2, atol=0
    )
    assert torch.equal(gradient != 0, kept), "the gradient goes where the value went"
    torch.testing.assert_close(
        gradient[kept].float(), torch.full_like(y[kept], 1 / (1 - p), dtype=torch.float32), rtol=1e-2, atol=0
    )


def test_dropout_has_no_pattern() -> None:
    """Neighbours share a 64-bit random number: whether one is kept must say nothing of the next three."""
    with seeded(1, torch.device("cpu")):
        kept = (
            Dropout(0.5).train()(torch.ones(1, 200_000, dtype=torch.bfloat16).requires_grad_()) != 0
        ).float()[0]
    for lag in (1, 2, 3, 4):
        together = float((kept[:-lag] * kept[lag:]).mean())
        assert abs(together - 0.25) < 0.006  # five standard errors


def test_dropout_is_drawn_from_the_seed_and_absent_in_evaluation() -> None:
    x = torch.randn(50, 50, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    draws = []
    for seed in (3, 3, 4):
        with seeded(seed, torch.device("cpu")):
            draws.append(Dropout(0.3).train()(x).detach())
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(Dropout(0.3).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
