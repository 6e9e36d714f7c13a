"""Answers out of a Parquet body, which is unpacked in a process of its own: see :mod:`zooaudit.data.limited_parquet`."""

from http import HTTPStatus

from torch import Tensor

from zooaudit.data.limited_parquet import NotStarted, reader
from zooaudit.errors import AnswersError, DataError
from zooaudit.serving.bodies import check_schema, from_table
from zooaudit.serving.problems import Refused

BYTES_A_NUMBER, BYTES_AROUND = 32, 65536
"""Of a table: eight are needed. A list that is too long is told as that, if it is not much too long."""


def read_parquet(body: bytes, num_classes: int, most: int) -> Tensor:
    """The answers in a Parquet body, float32 ``[n, K]``; columns as of Arrow.

    Raises:
        Refused: 400, it is no Parquet file, or one that unpacks to too much; 503, there is nothing to read it with.
        AnswersError: other columns, or other rows.
    """
    try:
        table, rows = reader.table(body, most, BYTES_A_NUMBER * (num_classes + 1) * most + BYTES_AROUND)
    except DataError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "the body is no Parquet file that can be read", str(error), "Parquet") from error
    except NotStarted as error:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "5"}) from error
    check_schema(table.schema)
    if not 1 <= rows <= most:
        raise AnswersError.of(f"{rows:,} rows", f"1 to {most:,}, one a question")
    return from_table(table, num_classes)
