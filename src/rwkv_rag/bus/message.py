"""The envelopes of the bus: what travels beside the opaque bodies. Knows no socket, no value.

    client ─ Hello Request Credit Cancel Ping Ask ─▶ router ─ Request Credit Cancel Goodbye ─▶ slot
           ◀─ Welcome Opened Reply End Fault Pong ─         ◀─ Join Opened Reply End Fault ─
                                                            ◀─ Beat ─ worker; it has Cancels too

A message is one frame of envelope and, for Request and Reply, one of body. What is answered goes
back under the request's id. A unary call ends with its Reply (`last`), a stream with End; a Fault
ends either. The field that Hello, Join and Beat begin with stays as it is in every version.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from rwkv_rag.errors import BadMessage, Message

SCHEMA = 1
MAX_ENVELOPE_BYTES = 16_384
MAX_DEADLINE_S = 7 * 86_400.0
WINDOW = 32  # values of a stream that may be on their way; more credit than that counts as that

Id: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
Name: TypeAlias = Annotated[str, Meta(max_length=200)]
Token: TypeAlias = Annotated[bytes, Meta(max_length=32)]


class Hello(Struct, array_like=True, tag=0, gc=False):
    """The first word of a client."""

    schema: int = SCHEMA


class Join(Struct, array_like=True, tag=14, gc=False):
    """The first word of a worker's slot, which repeats it while it has nothing to do.

    `token` is the same for all that the worker says, `slots` how many of these it has.
    """

    schema: int
    token: Token
    name: Name
    slots: Annotated[int, Meta(ge=1, le=1024)]


class Welcome(Struct, array_like=True, tag=1):
    """What a client learns of the router."""

    schema: int
    router: str
    service: str
    directory: dict[str, str]


class Request(Struct, array_like=True, tag=2):
    """A call; the body holds its arguments."""

    id: Id
    schema: int
    priority: Annotated[int, Meta(ge=0, le=2)]
    deadline_s: Annotated[float, Meta(gt=0, le=MAX_DEADLINE_S)]
    stream: bool
    repeatable: bool
    target: Name
    method: Name
    bound: dict[Name, Name]


class Credit(Struct, array_like=True, tag=3, gc=False):
    """The client takes `count` more values of a stream."""

    id: Id
    count: Annotated[int, Meta(gt=0, le=WINDOW)]


class Cancel(Struct, array_like=True, tag=4, gc=False):
    """Nobody reads what is said to the request from now on."""

    id: Id


class Ping(Struct, array_like=True, tag=5, gc=False):
    """Is this request still known? A router that asks only wants to see whether it can."""

    id: Id = 0


class Pong(Struct, array_like=True, tag=6, gc=False):
    """Whether the request is known; one that is not will never be answered."""

    id: Id
    known: bool


class Ask(Struct, array_like=True, tag=7, gc=False):
    """What is the state of the queue? The Reply's body is a `types.QueueStatus`."""

    id: Id


class Opened(Struct, array_like=True, tag=8, gc=False):
    """The method of a stream was called; its values follow against credit."""

    id: Id


class Reply(Struct, array_like=True, tag=9, gc=False):
    """A value, in the body."""

    id: Id
    last: bool


class End(Struct, array_like=True, tag=10, gc=False):
    """The stream is over."""

    id: Id


class Fault(Struct, array_like=True, tag=11, gc=False):
    """It went wrong; see `codec.raised`."""

    id: Id
    code: str
    message: Message


class Beat(Struct, array_like=True, tag=12):
    """A worker lives; `facts` is what it says of itself. One that is `leaving` takes no more."""

    schema: int
    token: Token
    name: Name
    slots: Annotated[int, Meta(ge=1, le=1024)]
    leaving: bool
    facts: dict[Name, str | int | float]


class Goodbye(Struct, array_like=True, tag=13, gc=False):
    """Nothing more will be sent to this slot of a leaving worker."""


FromClient: TypeAlias = Hello | Request | Credit | Cancel | Ping | Ask
FromWorker: TypeAlias = Join | Beat | Opened | Reply | End | Fault
ToClient: TypeAlias = Welcome | Opened | Reply | End | Fault | Pong | Ping
ToWorker: TypeAlias = Request | Credit | Cancel | Ping | Goodbye | Fault

Decoder: TypeAlias = msgspec.msgpack.Decoder[Any]
to_router: Decoder = msgspec.msgpack.Decoder(FromClient | FromWorker)
to_client: Decoder = msgspec.msgpack.Decoder(ToClient)
to_worker: Decoder = msgspec.msgpack.Decoder(ToWorker)
pack = msgspec.msgpack.Encoder().encode


def unreadable(error: Exception) -> BadMessage:
    """For what decoding an envelope raised."""
    return BadMessage("no envelope of this bus: {split}", split=" ".join(str(error).split()))
