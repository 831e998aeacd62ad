"""Every exception this project raises on purpose, in one tree. Knows no other module.

    RagError
    ├── InputError            what the user gave cannot be used
    │   ├── NotFound          the named thing does not exist
    │   ├── AlreadyExists     the named thing exists already
    │   ├── UnreadableDocument    a file that holds no text we can read
    │   └── UnsupportedModel  a file that is not a model we can run
    ├── ModelMismatch         a knowledge base, state or adapter belongs to another model
    ├── CorruptData           stored data is damaged
    ├── MissingExtra          an optional part is not installed
    ├── TuningFailed          training cannot go on; what was learned so far is kept
    ├── Busy                  another process holds what is needed, or a queue is full
    └── ServiceError          a service could not do what it was asked
        ├── Unreachable       nobody answers at the address
        ├── DeadlineExceeded  no reply came in time
        ├── WorkerLost        the worker died or was cut off while it worked on the request
        ├── NotAllowed        the key or token is missing or wrong
        ├── BadMessage        a message that breaks the protocol: version, size or shape
        └── Internal          a mistake in the program on the other side; its log says more

`code` is stable: it crosses process borders and names the class on the other side. The message is
one line: what happened, the value, and what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class RagError(Exception):
    """Base of all errors meant for the user; shown as one line, never as a traceback."""

    code: ClassVar[str] = "error"


class InputError(RagError):
    """What the user gave cannot be used."""

    code = "input"


class NotFound(InputError):
    """The named thing does not exist."""

    code = "not_found"


class AlreadyExists(InputError):
    """The named thing exists already."""

    code = "already_exists"


class UnreadableDocument(InputError):
    """The file holds no text we can read: empty, binary, damaged, encrypted or scanned."""

    code = "unreadable_document"


class UnsupportedModel(InputError):
    """The file is not a model this version can run; the message names what was found."""

    code = "unsupported_model"


class ModelMismatch(RagError):
    """A knowledge base, state or adapter belongs to another model than the one in use."""

    code = "model_mismatch"


class CorruptData(RagError):
    """Stored data is damaged; the message says which file and how to mend it."""

    code = "corrupt_data"


class MissingExtra(RagError):
    """An optional part is not installed; the message holds the command that installs it."""

    code = "missing_extra"


class TuningFailed(RagError):
    """Training cannot go on (NaN, no memory, a full disk); the last good checkpoint is kept."""

    code = "tuning_failed"


class Busy(RagError):
    """Another process holds what is needed, or a queue is full; trying again later may help."""

    code = "busy"


class ServiceError(RagError):
    """A service could not do what it was asked."""

    code = "service"


class Unreachable(ServiceError):
    """Nobody answers at the address; the message says how to start the service."""

    code = "unreachable"


class DeadlineExceeded(ServiceError):
    """No reply came in time; the request was cancelled."""

    code = "deadline"


class WorkerLost(ServiceError):
    """The worker died or was cut off while it worked on the request."""

    code = "worker_lost"


class NotAllowed(ServiceError):
    """The key or token is missing or wrong."""

    code = "not_allowed"


class BadMessage(ServiceError):
    """A message that breaks the protocol: another version, too large, or of another shape."""

    code = "bad_message"


class Internal(ServiceError):
    """A mistake in the program on the other side; the log of the named service says more."""

    code = "internal"
