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

An error carries an English template and the values that fill it, so that whoever shows it can
translate it (`i18n`); `str(error)` is English, one line: what happened, the value, and what to do
about it. `code` is stable: it crosses process borders and names the class on the other side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, Union

Value: TypeAlias = Union[str, int, float, "Message"]


@dataclass(frozen=True, slots=True)
class Message:
    """A text for people that travels as data. `str()` gives the English text.

    template    English, with named placeholders as `str.format` takes them; it is the key of the
                translation. Without values it is taken as it stands, braces included.
    values      fill the placeholders; one that is a message is translated too
    """

    template: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format_map(self.values) if self.values else self.template

    def json(self) -> dict[str, Any]:
        """As JSON: {"template": …, "values": {…}}; messages among the values likewise."""
        values = {n: v.json() if isinstance(v, Message) else v for n, v in self.values.items()}
        return {"template": self.template, "values": values}

    @classmethod
    def from_json(cls, data: Any) -> Message:
        """What `json` made. Raises ValueError for anything else."""
        if not isinstance(data, dict) or not isinstance(data.get("template"), str):
            raise ValueError("no message")
        values = {
            name: cls.from_json(value) if isinstance(value, dict) else value
            for name, value in dict(data.get("values", {})).items()
        }
        return cls(data["template"], values)


def message(template: str, /, **values: object) -> Message:
    """A message of any values: errors become their messages, all but numbers becomes text."""
    return Message(template, {name: _value(value) for name, value in values.items()})


def joined(separator: str, messages: Iterable[Message]) -> Message:
    """Several messages in a row; `separator` is punctuation and is not translated."""
    values = {f"m{number}": each for number, each in enumerate(messages)}
    return Message(separator.join(f"{{{name}}}" for name in values), values)


def system_reason(error: OSError) -> Message:
    """What the operating system says of an error ("Permission denied"), as a message."""
    return Message(error.strerror or str(error))


def _value(value: object) -> Value:
    if isinstance(value, RagError):
        return value.message
    return value if isinstance(value, str | int | float | Message) else str(value)


class RagError(Exception):
    """Base of all errors meant for the user; shown as one line, never as a traceback."""

    code: ClassVar[str] = "error"

    def __init__(self, template: str | Message, /, **values: object) -> None:
        """`template` and `values` as in `Message`; a finished message is taken as it is."""
        self.message: Message = (
            template if isinstance(template, Message) else message(template, **values)
        )
        super().__init__(" ".join(str(self.message).split()))


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
