"""Every error that zooaudit raises on purpose, in one tree.

    ZooauditError                   exit code
    ├── InputError (ValueError)     2   the user can fix it: the message says how
    │   ├── ConfigError                 a recipe's value is unknown or out of range
    │   ├── DataError                   images or labels that cannot be used
    │   ├── ModelError                  a model file, factory or output that does not fit
    │   ├── LimitError                  a caller of the service has used up its limit
    │   ├── RepeatedError               a caller of the service used one Idempotency-Key for two requests
    │   ├── AnswersError                a suspect's answers are not what was asked for
    │   └── ColumnsError                both of the above: the number of columns is not that of the classes
    ├── StoreError                  3   the store cannot be reached, written or trusted
    │   ├── MissingArtifactError        nothing under that name
    │   │   └── UnknownNameError    2   there is no such kit, run or evidence
    │   ├── DamagedArtifactError        content and manifest disagree
    │   ├── FormatError                 another version of zooaudit wrote it, in another format
    │   └── NotWrittenError             the service cannot write its own data, for example on a full disk
    ├── NotEnoughModelsError        4   too few models learnt for a verdict
    ├── FarmError                   5   workers kept dying; finished models are kept
    ├── RejectedError               6   an evidence pack was changed or damaged
    ├── SuspectError                7   a suspect's API does not answer, or its budget is spent
    │   ├── StoppedError                the audit was stopped while it asked the suspect
    │   └── BusyError                   another audit is using the suspect's ledger
    └── ServiceError                8   the scoring service refused the client's request

The command line prints the message on one line and exits with the code; ``--debug`` shows the traceback.
"""


class ZooauditError(Exception):
    """Root of the tree; never raised itself."""

    exit_code = 1


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class InputError(ZooauditError, ValueError):
    """The user's input cannot be used; nothing was changed."""

    exit_code = 2


class ConfigError(InputError):
    """A recipe's field is unknown or out of range."""


class DataError(InputError):
    """Images or labels that cannot be read or do not fit."""


class ModelError(InputError):
    """A model file, its factory or its outputs do not fit what was declared."""


class LimitError(InputError):
    """A caller of the service has reached its limit of running audits or of queries."""


class RepeatedError(InputError):
    """A caller of the service used an Idempotency-Key again, for another request."""


class AnswersError(InputError):
    """A suspect's answers are not finite class probabilities of the expected shape.

    Attributes:
        found, expected: what is wrong and what would be right, for callers that need them separately; "" if
            only the message says it.
    """

    found = expected = ""

    @classmethod
    def of(cls, found: str, expected: str) -> "AnswersError":
        """An error that names both."""
        error = cls(f"the answers have {found}; expected {expected}")
        error.found, error.expected = found, expected
        return error


class ColumnsError(ModelError, AnswersError):
    """The number of columns in the answers is not the number of classes.

    Attributes:
        columns: the number of columns found.
    """

    columns = 0

    @classmethod
    def counted(cls, columns: int, message: str, found: str = "", expected: str = "") -> "ColumnsError":
        """An error about this number of columns."""
        error = cls(message)
        error.columns, error.found, error.expected = columns, found, expected
        return error


class StoreError(ZooauditError):
    """The store cannot be reached, written or understood."""

    exit_code = 3


class MissingArtifactError(StoreError):
    """Nothing is stored under that kind and id."""


class UnknownNameError(MissingArtifactError):
    """The store does not hold the kit, run or evidence that the user named."""

    exit_code = InputError.exit_code


class DamagedArtifactError(StoreError):
    """Stored content does not match the SHA-256, shape or type in its manifest."""


class FormatError(StoreError):
    """Another version of zooaudit wrote it, in a format that this version does not read.

    Attributes:
        found: what was found and expected, without the remedy.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}: {remedy}")
        self.found = found


class NotWrittenError(StoreError):
    """The service cannot write its own data: the disk is full or read-only."""


class NotEnoughModelsError(ZooauditError):
    """Too few models learnt their task for a verdict."""

    exit_code = 4


class FarmError(ZooauditError):
    """The farm gave up. Every finished model is in the store, and a second run continues from there."""

    exit_code = 5


class RejectedError(ZooauditError):
    """An evidence pack is not what it claims to be: it was changed, or damaged in transit."""

    exit_code = 6


class SuspectError(ZooauditError):
    """A suspect behind an API does not answer, or its budget is spent. Its answers so far are kept, and those
    questions are not asked again."""

    exit_code = 7


class StoppedError(SuspectError):
    """An audit was stopped while it asked a suspect, which may have answered, and charged for, the last
    requests."""


class BusyError(SuspectError):
    """Another audit holds the ledger of this suspect."""


class ServiceError(ZooauditError):
    """The scoring service refused a request.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        found, expected: what was wrong and what would be right; "" if only the message says it.
    """

    exit_code = 8

    def __init__(self, message: str, status: int = 0, found: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.status, self.found, self.expected = status, found, expected
