"""A training that hangs, told from one that is long."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.makers import trained_spec
from zooaudit.config import OwnTraining, TrainConfig
from zooaudit.data.images import Dataset
from zooaudit.training.stalled import EXIT_CODE, MOST, STALL, Clock
from zooaudit.zoo.heartbeat import beat


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Exit codes of what would have been the end of this process."""
    codes: list[int] = []
    hold = threading.Event()  # os._exit does not return

    def end(code: int) -> None:
        codes.append(code)
        hold.wait(20)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setenv(STALL, "0.3")
    yield codes
    hold.set()


def test_silence_ends_the_worker_and_says_whose_it_was(
    digits: Dataset, ended: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    spec = trained_spec(digits)
    with Clock(1000).watching(spec):
        time.sleep(1.0)
    assert ended == [EXIT_CODE] and f"event=stalled model={spec.id}" in capsys.readouterr().out


def test_a_long_training_that_gets_on_is_left_alone(digits: Dataset, ended: list[int]) -> None:
    with Clock(1000).watching(trained_spec(digits)):
        for _ in range(20):
            time.sleep(0.05)
            beat()
    time.sleep(0.5)  # nobody watches any more
    assert ended == []


def test_patience_grows_with_the_expected_time_up_to_a_limit(digits: Dataset, ended: list[int]) -> None:
    clock, short = Clock(1000), trained_spec(digits)
    assert clock.patience_s(short) == 0.3
    with clock.watching(short):
        time.sleep(0.2)
        beat()
    assert 0.6 <= clock.patience_s(short) <= 1.2, "three times as long as the last one of its kind took"
    long = replace(short, training=TrainConfig(epochs=1000))
    assert clock.patience_s(long) == MOST * 0.3
    own = replace(
        short, own_training=OwnTraining(factory="m:f", code="0" * 64, function="m:t", timeout_s=100)
    )
    assert clock.patience_s(own) >= 200, "an owner's procedure tells nothing, and has a limit of its own"
    assert ended == []
