"""Envelopes keep what they say, and refuse what they must."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.bus import message
from rwkv_rag.bus.message import pack
from rwkv_rag.errors import Message

REQUEST = message.Request(7, 1, 1, 60.0, True, False, "knowledge", "search", {"model": "a"})
ENVELOPES = [
    message.Hello(),
    message.Join(1, b"t" * 16, "llm-0", 8),
    message.Heartbeat(1, b"t", "llm-0", 8, True, {"pid": 1, "model": "m", "load": 0.5}),
    message.Welcome(1, "r", "llm", {"index": "tcp://127.0.0.1:1"}),
    REQUEST,
    message.Credit(7, 32),
    message.Cancel(7),
    message.Ping(7),
    message.Pong(7, True),
    message.StatusRequest(7),
    message.Opened(7),
    message.Reply(7, True),
    message.End(7),
    message.Fault(7, "busy", Message("忙", {"n": 1})),
    message.Goodbye(),
]


DECODERS = (message.from_client, message.from_worker, message.to_client, message.to_worker)


def readers(envelope: Any) -> list[message.Decoder]:
    """The decoders of those who may hear it."""
    return [decoder for decoder in DECODERS if type(envelope) in decoder.type.__args__]


@pytest.mark.parametrize("envelope", ENVELOPES, ids=lambda each: type(each).__name__)
def test_an_envelope_is_read_as_it_was_written(envelope: Any) -> None:
    assert readers(envelope)
    for decoder in readers(envelope):
        assert decoder.decode(pack(envelope)) == envelope


def test_every_envelope_has_a_number_of_its_own() -> None:
    numbers = [msgspec.msgpack.decode(pack(each))[0] for each in ENVELOPES]
    assert len({*numbers}) == len(ENVELOPES)


@pytest.mark.parametrize(
    "changes",
    [
        {"deadline_s": math.nan},
        {"deadline_s": 0.0},
        {"deadline_s": math.inf},
        {"priority": 3},
        {"priority": -1},
        {"id": -1},
        {"id": 2**63},
        {"method": "m" * 1000},
        {"bound": {"model": 1}},
        {"stream": 1},
    ],
    ids=str,
)
def test_a_request_that_makes_no_sense_is_not_read(changes: dict[str, Any]) -> None:
    fields = msgspec.structs.asdict(REQUEST) | changes
    with pytest.raises(msgspec.ValidationError):
        message.from_client.decode(msgspec.msgpack.encode([2, *fields.values()]))


@pytest.mark.parametrize("count", [0, -1, message.WINDOW + 1])
def test_nobody_may_ask_for_more_values_than_the_window(count: int) -> None:
    with pytest.raises(msgspec.ValidationError):
        message.from_client.decode(msgspec.msgpack.encode([3, 7, count]))


@given(st.binary(max_size=200) | st.lists(st.integers(0, 99) | st.text()).map(pack))
def test_other_bytes_are_refused_and_nothing_worse(data: bytes) -> None:
    for decoder in DECODERS:
        try:
            decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            assert "\n" not in str(message.unreadable(error))
