"""A server that wants signed requests."""

import json

import torch

from tests.support.asking import MODEL
from tests.support.scripted import Reply


def answer(body: bytes) -> Reply:
    images = torch.tensor(json.loads(body)["instances"]).permute(0, 3, 1, 2)
    with torch.no_grad():
        return 200, {}, json.dumps({"predictions": MODEL(images).softmax(1).tolist()}).encode()
