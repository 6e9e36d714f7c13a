"""A suspect over HTTP."""

from typing import Any

import httpx
import pytest
import torch

from tests.support.makers import make_twin_test


@pytest.fixture
def asked_images() -> torch.Tensor:
    return make_twin_test().questions()[:60]


def replies(*contents: Any, **headers: str) -> httpx.MockTransport:
    """A suspect that answers with these in turn, then with the last for ever: what no
    honest server can be made to say."""
    left = list(contents)

    def answer(request: httpx.Request) -> httpx.Response:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        found = found() if callable(found) else found
        return (
            found
            if isinstance(found, httpx.Response)
            else httpx.Response(200, stream=httpx.ByteStream(found), headers=headers)
        )

    return httpx.MockTransport(answer)
