"""The envelopes of the bus: small msgpack messages beside the encoded values (bodies).

    client ─ Hello Request Credit Cancel Ping StatusRequest ─▶ router
           ◀─ Welcome Opened Reply End Fault Pong Ping ──────
    router ─ Request Credit Cancel Ping Goodbye Fault ──────▶ worker
           ◀─ Join Heartbeat Opened Reply End Fault ─────────

A message has one frame of envelope and, for Request and Reply, one of body. Replies carry the
request's id. A unary call ends with its Reply (`last`), a stream with End; a Fault ends either. The
first field of Hello, Join and Heartbeat is the same in every version. Knows no socket, no value.
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
    """A client's first message."""

    schema: int = SCHEMA


class Join(Struct, array_like=True, tag=14, gc=False):
    """The first message of a worker's session, repeated while it is idle.

    `token` is the same on all connections of the worker, `slots` the number of its sessions.
    """

    schema: int
    token: Token
    name: Name
    slots: Annotated[int, Meta(ge=1, le=1024)]


class Welcome(Struct, array_like=True, tag=1):
    """The answer to Hello: what a client should know of the router."""

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
    """The client accepts `count` more values of a stream."""

    id: Id
    count: Annotated[int, Meta(gt=0, le=WINDOW)]


class Cancel(Struct, array_like=True, tag=4, gc=False):
    """The replies to the request are not wanted any more."""

    id: Id


class Ping(Struct, array_like=True, tag=5, gc=False):
    """Is this request still known? From a router it only tests the connection."""

    id: Id = 0


class Pong(Struct, array_like=True, tag=6, gc=False):
    """Whether the request is known; one that is not will never be answered."""

    id: Id
    known: bool


class StatusRequest(Struct, array_like=True, tag=7, gc=False):
    """Asks for the state of the queue; the Reply's body is a `types.QueueStatus`."""

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
    """The request failed; see `codec.raised`."""

    id: Id
    code: str
    message: Message


class Heartbeat(Struct, array_like=True, tag=12):
    """A worker is alive; `facts` go into the status. If `leaving`, it takes no more requests."""

    schema: int
    token: Token
    name: Name
    slots: Annotated[int, Meta(ge=1, le=1024)]
    leaving: bool
    facts: dict[Name, str | int | float]


class Goodbye(Struct, array_like=True, tag=13, gc=False):
    """Nothing more will be sent to this session of a leaving worker."""


FromClient: TypeAlias = Hello | Request | Credit | Cancel | Ping | StatusRequest
FromWorker: TypeAlias = Join | Heartbeat | Opened | Reply | End | Fault
ToClient: TypeAlias = Welcome | Opened | Reply | End | Fault | Pong | Ping
ToWorker: TypeAlias = Request | Credit | Cancel | Ping | Goodbye | Fault

Decoder: TypeAlias = msgspec.msgpack.Decoder[Any]
from_client: Decoder = msgspec.msgpack.Decoder(FromClient)
from_worker: Decoder = msgspec.msgpack.Decoder(FromWorker)
to_client: Decoder = msgspec.msgpack.Decoder(ToClient)
to_worker: Decoder = msgspec.msgpack.Decoder(ToWorker)
pack = msgspec.msgpack.Encoder().encode


def unreadable(error: Exception) -> BadMessage:
    """The error for an envelope that could not be decoded."""
    return BadMessage("an unreadable envelope: {reason}", reason=" ".join(str(error).split()))
