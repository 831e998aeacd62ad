"""Frames come out as they went in, however their bytes are cut; anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.bus import zmtp
from rwkv_rag.bus.zmtp import COMMAND, MORE, Item, Reader
from rwkv_rag.errors import BadMessage

SIZES = st.sampled_from([0, 1, 20, 255, 256, 4095, 4096, 9000, 40_000])
MESSAGES = st.lists(st.tuples(SIZES, st.none() | SIZES), max_size=6)
LARGE = zmtp.STEP_BYTES * 5 // 2


def filled(size: int) -> bytes:
    return bytes(number % 251 for number in range(size))


def sent(envelope: bytes, *body: bytes) -> bytes:
    return b"".join(zmtp.parts(envelope, *body))


def read(data: bytes, step: int) -> list[Item]:
    """What a reader makes of the data if it comes in pieces of so many bytes."""
    reader, found = Reader(), []
    while data:
        if reader.large:
            room = reader.room()
            size = min(step, len(room), len(data))
            room[:size] = data[:size]
            found += reader.grow(size)
        else:
            size = min(step, len(data))
            found += reader.feed(data[:size])
        data = data[size:]
    return [(flags, bytes(one), None if two is None else bytes(two)) for flags, one, two in found]


@settings(deadline=None)
@given(MESSAGES, st.sampled_from([1, 2, 7, 300, 4096, 100_000]))
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    sizes: list[tuple[int, int | None]], step: int
) -> None:
    messages = [(filled(one), None if two is None else filled(two)) for one, two in sizes]
    data = b"".join(sent(one) if two is None else sent(one, two) for one, two in messages)
    assert read(data, step) == [(0, *message) for message in messages]


def test_a_frame_grows_as_its_bytes_come() -> None:
    data = sent(b"envelope", filled(LARGE))
    assert read(data, 300_000) == [(0, b"envelope", filled(LARGE))]
    reader = Reader()
    reader.feed(data[:100])
    assert len(reader.room()) < zmtp.STEP_BYTES  # what it says of its size is not believed


def test_the_pieces_of_a_body_are_one_frame() -> None:
    pieces = [filled(10), filled(50_000), filled(3)]
    assert read(sent(b"e", *pieces), 999) == [(0, b"e", b"".join(pieces))]


def test_of_a_message_of_many_frames_two_are_left_and_it_shows() -> None:
    frames = [zmtp.head(1, MORE) + b"x"] * 9 + [zmtp.head(0)]
    after = sent(b"next", b"one")
    assert read(b"".join(frames) + after, 4) == [(MORE, b"x", b"x"), (0, b"next", b"one")]


def test_a_frame_that_nobody_may_send_is_refused_when_its_size_is_read() -> None:
    with pytest.raises(BadMessage, match="limit"):
        Reader().feed(zmtp.head(zmtp.MAX_FRAME_BYTES + 1))


def test_the_end_of_a_line_is_no_message() -> None:
    for begin in (b"", b"\1", sent(b"e", filled(9000))[:5000]):
        reader = Reader()
        if begin:
            reader.feed(begin)
        with pytest.raises(EOFError):
            if reader.large:
                reader.grow(0)
            else:
                reader.feed(b"")


@given(st.lists(st.binary(max_size=9), max_size=5), st.integers(0, 45))
def test_what_is_left_after_some_bytes_is_the_rest(parts: list[bytes], size: int) -> None:
    whole = b"".join(parts)
    assert b"".join(zmtp.after([*parts], size)) == whole[size:]


def test_a_ping_is_answered_with_what_it_carries_and_nothing_else_is() -> None:
    ((flags, ping, _),) = read(zmtp.command(b"\x04PING\x00\x0acontext"), 99)
    assert flags == COMMAND and zmtp.answer(ping) == zmtp.command(b"\x04PONGcontext")
    for other in (b"\x04PONG", b"\x05READY", b"", b"\x04PINK\0\0"):
        assert zmtp.answer(other) is None


def test_a_greeting_tells_whether_keys_are_asked_for() -> None:
    assert not zmtp.asks_for_keys(zmtp.GREETING)
    assert zmtp.asks_for_keys(zmtp.GREETING.replace(b"NULL\0", b"CURVE"))


@pytest.mark.parametrize(
    "other",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".ljust(64),
        bytes(64),
        zmtp.GREETING[:10] + b"\x02" + zmtp.GREETING[11:],
    ],
)
def test_another_protocol_is_known_by_its_greeting(other: bytes) -> None:
    with pytest.raises(BadMessage, match="protocol of ZeroMQ"):
        zmtp.asks_for_keys(other)


def test_only_the_right_kind_of_socket_is_ready() -> None:
    (ready,) = read(zmtp.ready(b"ROUTER"), 99)
    zmtp.check_ready(ready, b"ROUTER")
    for item, kind in ((ready, b"DEALER"), ((0, ready[1], None), b"ROUTER")):
        with pytest.raises(BadMessage):
            zmtp.check_ready(item, kind)
