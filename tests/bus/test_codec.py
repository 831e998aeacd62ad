"""Values come back as they went, and nothing but a BadMessage comes of bytes that are no value."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from rwkv_rag import errors, types
from rwkv_rag.bus import codec
from rwkv_rag.bus.codec import DTYPES, decode, encode, fault, raised
from rwkv_rag.errors import BadMessage, InputError, Message, RagError, ServiceError

VALUES = [
    each
    for each in vars(types).values()
    if isinstance(each, type) and dataclasses.is_dataclass(each)
]
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    str: TEXT,
    bool: st.booleans(),
    Path: TEXT.map(Path),
    type(None): st.none(),
}
NUMBERS = arrays.arrays(
    st.sampled_from(sorted(DTYPES)), arrays.array_shapes(min_dims=0, min_side=0)
)


def drawn(hint: Any) -> st.SearchStrategy[Any]:
    """Values of the type that an annotation names."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in LEAVES:
        return LEAVES[hint]
    if hint is Message:  # its values may be messages again
        texts = st.dictionaries(st.text(), st.text() | st.integers(0, 9), max_size=2)
        inner_messages = st.builds(Message, st.text(), texts)
        return st.builds(Message, st.text(), st.dictionaries(st.text(), inner_messages, max_size=2))
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{name: drawn(each) for name, each in hints.items()})  # type: ignore[arg-type]
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple:
        return st.lists(drawn(inner[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(drawn(inner[0]), drawn(inner[1]), max_size=3)
    return st.one_of(*map(drawn, inner))


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_value_of_ours_comes_back_as_it_went(kind: type, data: st.DataObject) -> None:
    value = data.draw(drawn(kind))
    back = decode(encode(value), kind)
    assert back == value and type(back) is kind
    assert decode(encode([value, None]), list[kind | None]) == [value, None]  # type: ignore[valid-type]


@settings(deadline=None)
@given(array=NUMBERS, nested=st.booleans(), shift=st.integers(0, 15))
def test_arrays_come_back_with_their_type_shape_and_numbers(
    array: np.ndarray[Any, Any], nested: bool, shift: int
) -> None:
    value = {"x": "y" * shift, "array": array} if nested else array
    back = decode(encode(value), Any)
    back = back["array"] if nested else back
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)
    assert back.flags.aligned and not back.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype="<i4").reshape(2, 3, 4).transpose(2, 0, 1),
        np.arange(24, dtype="<f4")[::-2],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(5, dtype=">f8"),
        np.broadcast_to(np.float32(3), (4, 5)),
    ],
    ids=["transposed", "backwards", "fortran", "big-endian", "broadcast"],
)
def test_arrays_may_lie_in_memory_as_they_like(array: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(decode(encode(array), np.ndarray), array)


def test_numbers_of_numpy_travel_as_numbers() -> None:
    assert decode(encode([np.float32(0.5), np.int64(3), np.bool_(True)]), list[Any]) == [
        0.5,
        3,
        True,
    ]


def test_any_mapping_and_any_sequence_travels() -> None:
    class Pair(Sequence[int]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, at: Any) -> Any:
            return (1, 2)[at]

    assert decode(encode(MappingProxyType({"a": Pair()})), dict[str, list[int]]) == {"a": [1, 2]}


def test_a_path_travels_even_where_it_is_no_text() -> None:
    paths = [Path("/a/手册.md"), Path("/latin-\udce9.txt")]
    assert decode(encode(paths), list[Path]) == paths


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array(["text"]),
        np.array([1j]),
        np.array(["2026-01-01"], "M8[s]"),
        np.zeros(2, [("a", "i4")]),
        np.zeros((1,) * 9),
        lambda: 0,
        2**70,
        "half \ud800",
    ],
    ids=["object", "text", "complex", "date", "record", "deep", "function", "huge", "surrogate"],
)
def test_what_cannot_travel_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(BadMessage, match="cannot be sent") as caught:
        encode([value])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.zeros(2), NDArray[np.float32]),
        ([0.0], NDArray[np.float32]),
        (np.zeros(2), list[float]),
        (np.zeros(2), types.Page),
        ({"number": 1, "start": 0}, types.Page),
        ({"number": "1", "start": 0, "end": 0}, types.Page),
        ("fast", types.TuneMethod),
        (3, Path),
        (np.zeros(2), Path),
        (None, int),
    ],
)
def test_another_type_than_asked_for_is_refused(value: Any, wanted: Any) -> None:
    with pytest.raises(BadMessage, match="cannot be read"):
        decode(encode(value), wanted)


def extension(code: int, data: bytes) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, data))


def dims(*sizes: int) -> bytes:
    return b"".join(size.to_bytes(8, "little") for size in sizes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<f4",
        b"|O8\1" + dims(1) + bytes(22),
        b"<U1\1" + dims(1) + bytes(22),
        b"<f4\1" + dims(2**62) + bytes(22),
        b"<f4\2" + dims(2**32, 2**32) + bytes(22),
        b"<f4\2" + dims(0, 2**63) + bytes(6),
        b"<f4\xff" + bytes(5000),
        b"<f4\1" + dims(1),
    ],
)
@pytest.mark.parametrize("wanted", [Any, np.ndarray])
def test_an_array_that_lies_about_itself_is_refused(data: bytes, wanted: Any) -> None:
    with pytest.raises(BadMessage):
        decode(extension(codec.ARRAY, data), wanted)


def test_unknown_extensions_and_bottomless_nesting_are_refused() -> None:
    for data in (extension(99, b"x"), b"\x91" * 1_000_000, b"\xdd\xff\xff\xff\xff"):
        with pytest.raises(BadMessage):
            decode(data, Any)


WANTED = [Any, list[types.Hit], NDArray[np.float32], Path, *VALUES]
GOOD = [encode(each) for each in (np.ones(3), [Path("x")], types.Page(1, 2, 3), {"a": [1.5, None]})]


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(WANTED))
def test_garbage_never_raises_anything_but_bad_message(data: bytes, wanted: Any) -> None:
    decode_anyhow(data, wanted)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(GOOD), st.integers(0, 60), st.binary(max_size=3), st.sampled_from(WANTED))
def test_a_damaged_message_never_raises_anything_but_bad_message(
    good: bytes, at: int, patch: bytes, wanted: Any
) -> None:
    decode_anyhow(good[:at] + patch + good[at + len(patch) :], wanted)
    decode_anyhow(extension(codec.ARRAY, good[at:]), wanted)


def decode_anyhow(data: bytes, wanted: Any) -> None:
    try:
        decode(data, wanted)
    except BadMessage as error:
        assert "\n" not in str(error)


def test_messages_have_a_limit_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(b"x" * (3 << 20))
    monkeypatch.setattr(codec, "MAX_MESSAGE_BYTES", 2 << 20)
    for attempt in (lambda: encode(b"x" * (3 << 20)), lambda: decode(data, bytes)):
        with pytest.raises(BadMessage, match="3 MB is over the limit of 2 MB"):
            attempt()


ERRORS = [each for each in vars(errors).values() if isinstance(each, type)]


@pytest.mark.parametrize("kind", [each for each in ERRORS if issubclass(each, RagError)])
def test_an_error_arrives_as_the_class_it_was(kind: type[RagError]) -> None:
    back = raised(*fault(kind("no knowledge base {name!r}", name="手册")))
    assert type(back) is kind and str(back) == "no knowledge base '手册'"
    assert back.message == Message("no knowledge base {name!r}", {"name": "手册"})


def test_an_error_of_a_later_version_is_still_an_error_of_the_service() -> None:
    assert type(raised("code_of_2030", Message("what happened"))) is ServiceError


def test_a_kind_of_error_without_a_code_arrives_as_its_parent() -> None:
    class Special(InputError):
        """Knows no code of its own."""

    assert type(raised(*fault(Special("x")))) is InputError


def test_the_message_of_an_error_can_always_travel() -> None:
    why = InputError("half {what}", what="\ud800 " + "x" * 100_000)
    code, text = fault(RagError("no: {why}", why=why))
    assert len(encode([code, text])) < 20_000 and re.match(r"no: half \? x+", str(text))


@pytest.mark.parametrize("template", ["{x.__class__}", "{x:999999999}", "{y}", "{", "{x[0]}", "{}"])
def test_a_received_template_fills_in_nothing_but_its_values(template: str) -> None:
    back = raised("input", Message(template, {"x": "value"}))
    assert str(back) == template


def test_a_large_array_that_cannot_travel_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadMessage, match="make them of numbers"):
        encode(np.zeros(100_000, np.complex128))
    monkeypatch.setattr(codec, "MAX_MESSAGE_BYTES", 1 << 18)
    with pytest.raises(BadMessage, match="over the limit"):
        encode(np.zeros(1 << 18, np.uint8))
