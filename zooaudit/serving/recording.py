"""Store each score when it is given."""

import asyncio
import logging
from typing import Any

from zooaudit.errors import ZooauditError
from zooaudit.serving.keys import Key
from zooaudit.serving.problems import Refused
from zooaudit.serving.schemas import Score
from zooaudit.serving.service import Service

log = logging.getLogger(__name__)
KEEP_S = 5.0
"""How long a caller waits for its verdict to be stored."""


async def kept(service: Service, key: Key, asked: dict[str, Any], score: Score, answers: bytes) -> Score:
    """Store a score, and return it with its id. If it cannot be stored, it is returned without one."""
    if service.settings.data is None:
        return score
    try:
        async with asyncio.timeout(KEEP_S):
            id_ = await service.keeper.keep(
                (key.name, asked, score.model_dump(mode="json", exclude={"id"}), answers)
            )
    except (Refused, ZooauditError, TimeoutError) as error:
        log.error("a verdict is not kept: %s", error or type(error).__name__)
        return score
    return score.model_copy(update={"id": id_})
