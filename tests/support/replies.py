"""Servers whose replies are odd."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from tests.support.asking import MODEL
from tests.support.scripted import Asked, Reply

PREDICT = "/v1/models/m:predict"


@dataclass
class Serving:
    """A TensorFlow Serving that may refuse.

    Attributes:
        refuse: from the number of images and the number of the request to a reply, or None to answer.
        dress: what becomes of a reply's status, headers and body.
    """

    refuse: Callable[[int, int], Reply | None] = lambda count, number: None
    dress: Callable[[bytes], Reply] = lambda body: (200, {"Content-Type": "application/json"}, body)
    batches: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def script(self, asked: Asked) -> Reply:
        images = torch.tensor(json.loads(asked.body)["instances"]).permute(0, 3, 1, 2)
        with self.lock:
            self.times.append(time.monotonic())
            refusal = self.refuse(len(images), len(self.times))
            if refusal:
                return refusal
            self.batches.append(len(images))
            self.sizes.append(len(asked.body))
        with torch.no_grad():
            return self.dress(json.dumps({"predictions": MODEL(images).softmax(1).tolist()}).encode())


def refusing(
    status: int, text: str, times: int = 10**9, headers: Mapping[str, str] | None = None
) -> Callable[[int, int], Reply | None]:
    """The first so many requests."""
    return lambda count, number: (status, headers or {}, text.encode()) if number <= times else None
