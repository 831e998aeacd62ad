"""Addresses are understood or refused with the reason, and it is known which leave the machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.bus.address import MAX_PATH_BYTES, Address
from rwkv_rag.errors import InputError

HERE = [
    "tcp://127.0.0.1:7781",
    "tcp://127.8.9.10:0",
    "tcp://localhost:1",
    "tcp://LocalHost:65535",
    "tcp://[::1]:7781",
    "ipc:///run/rwkv-rag/llm.front",
    "ipc:///家/服务",
    "inproc://llm",
]
ELSEWHERE = [
    "tcp://0.0.0.0:7781",
    "tcp://*:7781",
    "tcp://192.168.0.7:7781",
    "tcp://[::]:7781",
    "tcp://[fe80::1%eth0]:7781",
    "tcp://node-3.example.org:7781",
    "tcp://127.0.0.1.example.org:7781",
    "tcp://localhost.example.org:7781",
    "tcp://127.1:7781",
]


@pytest.mark.parametrize("text", HERE + ELSEWHERE)
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    assert Address.parse(text).url == text
    assert Address.parse(text).loopback is (text in HERE)


def test_the_parts_of_an_address() -> None:
    address = Address.parse("tcp://[::1]:7781")
    assert (address.scheme, address.host, address.port, address.ipv6) == ("tcp", "::1", 7781, True)
    assert Address.parse("tcp://a:08").port == 8
    assert not Address.parse("inproc://a:b").ipv6


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be tcp"),
        ("127.0.0.1:7781", "must be tcp"),
        ("http://127.0.0.1:7781", "must be tcp"),
        ("TCP://127.0.0.1:7781", "must be tcp"),
        ("tcp://127.0.0.1", "no port"),
        ("tcp://[::1]", "no port"),
        ("tcp://a:1:2", "no port"),
        ("tcp://a:1/x", "no port"),
        ("tcp://:7781", "no usable host"),
        ("tcp://a;b:1", "no usable host"),
        ("tcp://a b:1", "no usable host"),
        ("tcp://-a:1", "no usable host"),
        ("tcp://[127.0.0.1]:1", "no usable host"),
        ("tcp://[::g]:1", "no usable host"),
        ("tcp://a:", "from 0 to 65535"),
        ("tcp://a:x", "from 0 to 65535"),
        ("tcp://a:-1", "from 0 to 65535"),
        ("tcp://a:65536", "from 0 to 65535"),
        ("tcp://a:000001", "from 0 to 65535"),
        ("tcp://a:１", "from 0 to 65535"),
        ("ipc://", "whole path"),
        ("ipc://run/llm", "whole path"),
        ("ipc://@llm", "whole path"),
        ("ipc:///run/", "whole path"),
        ("ipc:///a\0b", "whole path"),
        ("ipc:///" + "家" * 36, f"109 bytes; sockets take {MAX_PATH_BYTES}"),
        ("inproc://", "no name"),
        ("inproc://a\nb", "no name"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_on_one_line(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        Address.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "tcp://", "tcp://[", "ipc:///", "inproc://", "tcp://a:"])
@given(rest=st.text(max_size=30))
def test_any_text_is_an_address_or_an_input_error(prefix: str, rest: str) -> None:
    try:
        address = Address.parse(prefix + rest)
    except InputError:
        return
    assert Address.parse(address.url) == address
