"""The encoder: its loss against a double loop, its shape against the paper, and that it separates."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support.oracles import contrastive
from zooaudit.config import EncoderConfig
from zooaudit.errors import ConfigError
from zooaudit.paper.encoder import Encoder
from zooaudit.paper.encoder_loss import supervised_contrastive_loss
from zooaudit.paper.encoder_training import INDEPENDENT, STOLEN, fit_encoder
from zooaudit.paper.similarity import similarities

QUICK = EncoderConfig(steps=60)


def unit(count: int, dimension: int = 4, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed)), dim=1)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=9), st.floats(0.05, 5), st.integers(0, 10**6))
def test_loss_is_equation_7(labels: list[int], temperature: float, seed: int) -> None:
    z = unit(len(labels), seed=seed).double()
    found = supervised_contrastive_loss(z, torch.tensor(labels), temperature)
    assert float(found) == pytest.approx(
        contrastive.loss(z.tolist(), labels, temperature), rel=1e-9, abs=1e-9
    )


def test_loss_gradient_by_finite_differences() -> None:
    labels = torch.tensor([0, 1, 0, 1, 1])
    z = unit(5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: supervised_contrastive_loss(x, labels, 0.2), (z,))


def test_loss_of_known_arrangements() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    mixed = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])
    alike = torch.tensor([[1.0, 0]] * 4)
    assert float(supervised_contrastive_loss(alike, labels, 0.2)) == pytest.approx(math.log(3), abs=1e-5)
    assert float(supervised_contrastive_loss(apart, labels, 0.2)) == pytest.approx(
        math.log(1 + 2 * math.exp(-10)), abs=1e-5
    )
    assert float(supervised_contrastive_loss(mixed, labels, 0.2)) > 9


def test_loss_neither_overflows_nor_counts_lonely_labels() -> None:
    cold = supervised_contrastive_loss(unit(6), torch.tensor([0, 0, 1, 1, 2, 2]), 1e-3)
    assert torch.isfinite(cold)
    lonely = supervised_contrastive_loss(unit(3), torch.tensor([0, 1, 2]), 0.2)
    assert float(lonely) == 0


def test_order_of_the_batch_does_not_matter() -> None:
    z, labels, order = unit(8), torch.tensor([0, 1] * 4), torch.tensor([3, 1, 7, 0, 2, 6, 4, 5])
    torch.testing.assert_close(
        supervised_contrastive_loss(z, labels, 0.2), supervised_contrastive_loss(z[order], labels[order], 0.2)
    )


def test_network_is_the_papers() -> None:
    encoder = Encoder(2_000, EncoderConfig())
    assert [(m.in_features, m.out_features) for m in encoder.modules() if isinstance(m, nn.Linear)] == [
        (2000, 50),
        (50, 20),
        (20, 4),
    ]
    x = torch.rand(7, 2_000)
    torch.testing.assert_close(encoder(x).norm(dim=1), torch.ones(7))
    embedded = encoder.embed(x)
    assert embedded.shape == (7, 20)
    assert (embedded >= 0).all()
    torch.testing.assert_close(encoder(x), F.normalize(encoder.head(embedded), dim=1))


def fingerprints_of_two_kinds(per_kind: int = 40, dimension: int = 60) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.rand(2, dimension, generator=generator)
    rows = kinds.repeat_interleave(per_kind, 0) + 0.3 * torch.randn(
        2 * per_kind, dimension, generator=generator
    )
    return rows, torch.tensor([STOLEN, INDEPENDENT]).repeat_interleave(per_kind)


def test_training_separates_the_two_kinds() -> None:
    rows, labels = fingerprints_of_two_kinds()
    config = EncoderConfig(steps=150, lr=2e-3)
    before = fit_encoder(rows, labels, replace(config, steps=1), 0)
    after = fit_encoder(rows, labels, config, 0)

    def gap(encoder: Encoder) -> float:
        stolen, innocent = rows[labels == STOLEN], rows[labels == INDEPENDENT]
        same = similarities(encoder, stolen[:20], stolen[20:])
        other = similarities(encoder, innocent[:20], stolen[20:])
        return float(same.mean() - other.mean())

    assert gap(after) > gap(before) + 0.2
    assert not after.training
    assert not any(p.requires_grad for p in after.parameters())


def test_same_seed_same_bits_other_seed_other_bits(same_global_rng: None) -> None:
    rows, labels = fingerprints_of_two_kinds()
    small = replace(QUICK, batch_size=16)
    first, again, other = (fit_encoder(rows, labels, small, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_a_batch_larger_than_the_data_takes_all() -> None:
    rows, labels = fingerprints_of_two_kinds(per_kind=5)
    encoder = fit_encoder(rows, labels, QUICK, 0)
    assert all(torch.isfinite(p).all() for p in encoder.parameters())


def test_similarity_is_the_cosine_of_the_embeddings_view_by_view() -> None:
    encoder = Encoder(30, EncoderConfig()).eval()
    a, b = torch.rand(6, 30), torch.rand(6, 30)
    found = similarities(encoder, a, b)
    with torch.no_grad():
        for view in range(6):
            x, y = encoder.embed(a[view]).double(), encoder.embed(b[view]).double()
            assert float(found[view]) == pytest.approx(float(x @ y / (x.norm() * y.norm())), abs=1e-5)


def test_a_model_is_wholly_similar_to_itself_and_never_more() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(200, EncoderConfig()).eval()
    rows = torch.rand(500, 200, generator=torch.Generator().manual_seed(0))
    found = similarities(encoder, rows, rows)
    torch.testing.assert_close(found, torch.ones(500))
    assert found.max() <= 1, f"similarities are said to lie in [0, 1]; found {float(found.max())!r}"
    crossed = similarities(encoder, rows, rows.flip(0))
    assert crossed.min() >= 0
    assert crossed.max() <= 1


def test_an_embedding_without_direction_is_similar_to_nothing() -> None:
    encoder = Encoder(10, EncoderConfig()).eval()
    with torch.no_grad():
        for p in encoder.body.parameters():
            p.zero_()
    assert similarities(encoder, torch.rand(3, 10), torch.rand(3, 10)).tolist() == [0, 0, 0]


def test_hellinger_takes_roots_and_ends_where_similarity_is_measured() -> None:
    encoder = Encoder(2_000, EncoderConfig("hellinger"))
    assert [(m.in_features, m.out_features) for m in encoder.modules() if isinstance(m, nn.Linear)] == [
        (2000, 50),
        (50, 20),
    ]
    x = torch.rand(7, 2_000)
    torch.testing.assert_close(encoder.embed(x), encoder.body(x.sqrt()))
    torch.testing.assert_close(encoder(x), F.normalize(encoder.embed(x), dim=1))
    rounded = torch.tensor([[-1e-9] * 2_000])
    assert torch.isfinite(encoder(rounded)).all(), (
        "a probability just under 0, as rounding makes it, has no root"
    )


def test_hellinger_sets_innocents_apart_on_the_layer_that_is_measured() -> None:
    """What the paper's loss leaves to chance: an innocent model's similarity itself, not
    only its order, is far from 1."""
    rows, labels = fingerprints_of_two_kinds()
    rows = rows.abs()
    stolen, innocent = rows[labels == STOLEN], rows[labels == INDEPENDENT]
    config = EncoderConfig("hellinger", steps=150, lr=2e-3)
    for seed in range(3):
        encoder = fit_encoder(rows, labels, config, seed)
        assert float(similarities(encoder, innocent[:20], stolen[20:]).mean()) < 0.3
        assert float(similarities(encoder, stolen[:20], stolen[20:]).mean()) > 0.9


def test_an_encoder_without_a_name_is_the_papers() -> None:
    """Kits written before there was a second one say nothing."""
    assert EncoderConfig().name == "paper"
    with pytest.raises(
        ConfigError, match=r"EncoderConfig.name is 'best'; expected one of paper, paper-b, hellinger"
    ):
        EncoderConfig("best")
