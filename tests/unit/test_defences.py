"""Defences of a thief: what they keep, what they change, and that answers stay answers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.functional import gaussian_blur

from zooaudit.paper.fingerprint import check_answers
from zooaudit.suspects.defences import BLURRED, DEFENCES, blurred, jpeg, noisy, tempered

ANSWERS = (2 * torch.randn(12, 5, generator=torch.Generator().manual_seed(1))).softmax(1)
IMAGES = torch.rand(6, 1, 12, 12, generator=torch.Generator().manual_seed(2))


@given(st.floats(0.5, 10))
def test_temperature_keeps_labels_and_softens_or_sharpens(temperature: float) -> None:
    changed = tempered(ANSWERS, temperature)
    assert torch.equal(changed.argmax(1), ANSWERS.argmax(1))
    assert (
        (changed.amax(1) <= ANSWERS.amax(1) + 1e-6)
        if temperature >= 1
        else (changed.amax(1) >= ANSWERS.amax(1) - 1e-6)
    ).all()
    torch.testing.assert_close(tempered(changed, 1 / temperature), ANSWERS, atol=1e-4, rtol=1e-3)


def test_noise_is_of_its_size_the_same_for_a_seed_and_independent_of_another() -> None:
    flat = torch.full((400, 5), 0.2)
    first, again, other = (
        noisy(flat, 0.02, 1) - flat,
        noisy(flat, 0.02, 1) - flat,
        noisy(flat, 0.02, 2) - flat,
    )
    assert torch.equal(first, again)
    assert 0.01 < first.std() < 0.03
    assert torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1].abs() < 0.1


def test_blur_and_jpeg_lose_detail_and_keep_the_image() -> None:
    for change in (lambda x: blurred(x, 1.0), lambda x: jpeg(x, 30)):
        changed = change(IMAGES)
        assert changed.shape == IMAGES.shape and changed.min() >= 0 and changed.max() <= 1
        assert 0.01 < (changed - IMAGES).abs().mean() < 0.4
    assert (jpeg(IMAGES, 95) - IMAGES).abs().mean() < (jpeg(IMAGES, 10) - IMAGES).abs().mean()
    assert jpeg(IMAGES.repeat(1, 3, 1, 1), 50).shape == (6, 3, 12, 12)


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda d: d.name)
def test_every_defence_gives_images_and_answers(defence: object) -> None:
    questions, answers = defence.questions(IMAGES), defence.answers(ANSWERS, 3)  # type: ignore[attr-defined]
    assert (
        questions.shape == IMAGES.shape
        and questions.dtype == torch.float32
        and questions.min() >= 0
        and questions.max() <= 1
    )
    check_answers(answers.view(1, 12, 1, 5), (1, 12, 1, 5))


def test_the_first_is_none() -> None:
    assert torch.equal(DEFENCES[0].answers(ANSWERS, 3), ANSWERS) and torch.equal(
        DEFENCES[0].questions(IMAGES), IMAGES
    )
    assert len({d.name for d in DEFENCES}) == len(DEFENCES)


@pytest.mark.parametrize("shape", [(150, 1, 28, 28), (70, 3, 32, 32)])
def test_many_images_are_blurred_some_at_a_time_with_the_same_pixels(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    whole = gaussian_blur(images, [5, 5], [0.7, 0.7])
    assert torch.equal(blurred(images, 0.7), whole)
    assert len(images) > BLURRED
