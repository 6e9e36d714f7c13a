"""Check a request for a score before its body is read."""

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import Request

from zooaudit.kits.kit import Kit
from zooaudit.serving.bodies import ACCEPTED
from zooaudit.serving.problems import Refused

OF_TWINS = ("level", "access", "queries", "p_value", "suspects")
"""Query parameters that only the twin test uses."""


def answers_kind(request: Request) -> str:
    """The media type of a body of answers."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in ACCEPTED:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "answers come in another format",
            kind or "no Content-Type",
            ", ".join(ACCEPTED),
        )
    return kind


def refuse_settings_of_twins(request: Request) -> None:
    """Refuse parameters that the paper's test would ignore."""
    if idle := sorted(set(request.query_params) & set(OF_TWINS)):
        text = "the paper's test uses only the kit's own settings"
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY, text, ", ".join(idle), "method=twins, or none of these"
        )


def refuse_for_paper(kit: Kit, suspect: str, classes: Sequence[str]) -> None:
    """Refuse a suspect that the paper's test cannot judge."""
    if suspect in kit.reference_ids:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "the suspect has the name of one of the kit's references",
            suspect,
            "another name",
        )
    if tuple(classes) != kit.classes:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "the paper's test",
            f"{len(classes)} classes",
            f"the kit's {kit.num_classes}",
        )
