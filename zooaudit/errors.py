"""Every error that zooaudit raises on purpose, in one tree.

    ZooauditError                     exit code ├── InputError (ValueError)           2      the user can mend
    it: the message says how │   ├── ConfigError                          a recipe's value is unknown or out
    of range │   ├── DataError                            images or labels that cannot be used │   ├──
    ModelError                           a model file, factory or output that does not fit │   ├── LimitError
    a caller of the service has, or spent, as much as it may │   ├── RepeatedError                        a
    caller of the service gives one Idempotency-Key to two different requests │   ├── AnswersError
    a suspect's answers are not what was asked for │   └── ColumnsError                         both: another
    number of columns than there are classes ├── StoreError                        3      the store cannot be
    reached, written or trusted │   ├── MissingArtifactError                 nothing under that name │   │
    └── UnknownNameError          2      a kit, run or piece of evidence that the user named is not there │
    ├── DamagedArtifactError                 content and manifest disagree │   ├── FormatError
    written by another version of zooaudit, in another format │   └── NotWrittenError                      the
    service's own data cannot be written: the disk is full, say ├── NotEnoughModelsError              4
    too few models learnt for a verdict ├── FarmError                         5      workers kept dying;
    finished models are kept ├── RejectedError                     6      a pack of evidence was changed or
    damaged ├── SuspectError                      7      a suspect behind an API does not answer, or its
    budget is spent; its answers are kept │   ├── StoppedError                         asking it was stopped
    by whoever had it asked │   └── BusyError                            another audit is asking it by the
    same ledger └── ServiceError                      8      the scoring service refused a request of the
    client

The command line prints the message on one line and exits with the code; ``--debug`` shows the traceback.
"""


class ZooauditError(Exception):
    """Root of the tree; never raised itself."""

    exit_code = 1


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class InputError(ZooauditError, ValueError):
    """What the user gave cannot be used; nothing was changed."""

    exit_code = 2


class ConfigError(InputError):
    """A recipe's field is unknown or out of range."""


class DataError(InputError):
    """Images or labels that cannot be read or do not fit."""


class ModelError(InputError):
    """A model file, its factory or its outputs do not fit what was declared."""


class LimitError(InputError):
    """A caller of the service has as much under way, or spent as much, as it may."""


class RepeatedError(InputError):
    """A caller of the service gave an Idempotency-Key that it had given to another request."""


class AnswersError(InputError):
    """A suspect's answers are not finite class probabilities of the expected shape.

    Attributes:
        found, expected: what is wrong and what would be right, for those who need them
            apart; "" where the message alone says it.
    """

    found = expected = ""

    @classmethod
    def of(cls, found: str, expected: str) -> "AnswersError":
        """The error that says both."""
        error = cls(f"the answers have {found}; expected {expected}")
        error.found, error.expected = found, expected
        return error


class ColumnsError(ModelError, AnswersError):
    """Answers with another number of columns than there are classes.

    Attributes:
        columns: how many there are.
    """

    columns = 0

    @classmethod
    def counted(cls, columns: int, message: str, found: str = "", expected: str = "") -> "ColumnsError":
        """The error about so many columns."""
        error = cls(message)
        error.columns, error.found, error.expected = columns, found, expected
        return error


class StoreError(ZooauditError):
    """The store cannot be reached, written or understood."""

    exit_code = 3


class MissingArtifactError(StoreError):
    """Nothing is stored under that kind and id."""


class UnknownNameError(MissingArtifactError):
    """The store holds other kits, runs or pieces of evidence than the one that the user named."""

    exit_code = InputError.exit_code


class DamagedArtifactError(StoreError):
    """Stored content does not match the SHA-256, shape or type that its manifest states."""


class FormatError(StoreError):
    """Another version of zooaudit wrote it, in a format that this one does not read.

    Attributes:
        found: what was found and expected, without what to do about it.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}: {remedy}")
        self.found = found


class NotWrittenError(StoreError):
    """The service's own data cannot be written: its disk is full, or read-only."""


class NotEnoughModelsError(ZooauditError):
    """Too few models learnt their task: a verdict would rest on nothing."""

    exit_code = 4


class FarmError(ZooauditError):
    """The farm gave up; every finished model is in the store and a second run goes on from there."""

    exit_code = 5


class RejectedError(ZooauditError):
    """A pack of evidence is not what it says of itself: it was changed, or damaged on the way."""

    exit_code = 6


class SuspectError(ZooauditError):
    """A suspect behind an API does not answer, or its budget is spent; what it answered is
    kept and not asked again."""

    exit_code = 7


class StoppedError(SuspectError):
    """An audit was stopped while a suspect was being asked; it may have answered, and
    charged for, what was under way."""


class BusyError(SuspectError):
    """Another audit holds the ledger of this suspect."""


class ServiceError(ZooauditError):
    """The scoring service refused a request.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        found, expected: what was wrong and what would be right; "" where the message says it all.
    """

    exit_code = 8

    def __init__(self, message: str, status: int = 0, found: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.status, self.found, self.expected = status, found, expected
