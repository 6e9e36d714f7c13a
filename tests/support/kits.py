"""A kit whose verdicts are known."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tests.support.makers import Affine, make_twin_test
from zooaudit.config import EncoderConfig, VerdictConfig
from zooaudit.kits.kit import Kit
from zooaudit.paper.encoder import Encoder
from zooaudit.paper.fingerprint import ask
from zooaudit.suspects.blackbox import TorchBlackBox

VIEWS, N, K = 6, 5, 4
CONFIG = EncoderConfig(hidden=(12, 6), output=3)


def make_kit(**changes: Any) -> Kit:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(2 * N * K, CONFIG).eval().requires_grad_(False)
    kit = Kit(
        victim="victim-A-sgd-0123",
        v=(torch.rand(1, 4, 4, generator=generator) - 0.5) * 0.4,
        points=torch.randint(0, 256, (VIEWS, N, 1, 4, 4), dtype=torch.uint8, generator=generator),
        victim_answers=torch.zeros(VIEWS, N, 2, K),
        encoder=encoder,
        encoder_config=CONFIG,
        reference_ids=("h1", "h2", "h3"),
        references=np.random.default_rng(0).random((3, VIEWS)).astype(np.float32),
        verdict=VerdictConfig(fingerprints=6, repeats=5, min_reference_models=2),
        seed=9,
        twin_test=make_twin_test(),
        facts={"uap": {"epsilon": 0.2}, "accused": {"piracy": [3, 4]}},
    )
    answers = ask(TorchBlackBox(Affine(seed=0), K), kit.questions())
    return replace(kit, **({"victim_answers": answers} | changes))
