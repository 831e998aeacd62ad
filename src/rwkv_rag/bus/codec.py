"""Values as bytes and back: msgpack, typed by annotations. Knows no socket and no envelope.

encode(value) ─▶ bytes ─▶ decode(data, type)      fault(error) ─▶ (code, message) ─▶ raised(…)

Values are what `types` and the Protocols are made of: dataclasses, sequences, mappings, numbers,
text, `Path` and arrays; never pickle, and no object but of the class that is asked for. An array is
an extension of msgpack:

    "<f4"  ndim  dimensions (uint64 each)  padding  the numbers, C order, little endian

The padding lets the numbers of a message that is one large array begin at a multiple of 16 bytes,
so that they can be used where they lie. Decoded arrays are read-only.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from math import prod
from pathlib import Path, PurePath
from string import Formatter
from typing import Any, TypeAlias, get_args, get_origin

import msgspec
import numpy as np

from rwkv_rag.errors import BadMessage, Message, RagError, ServiceError, Value

Data: TypeAlias = bytes | bytearray | memoryview
MAX_MESSAGE_BYTES = 256 << 20
MAX_DIMENSIONS = 8
MAX_FAULT_CHARACTERS = 10_000  # a message names values, and values can be long

ARRAY, PATH = 1, 2  # codes of msgpack extensions
DTYPES = frozenset(
    {"|b1", "|i1", "|u1"}
    | {f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)}
    | {"<f2", "<f4", "<f8"}
)
_FORMAT = re.compile(r"[,.\d]{0,4}[a-z%]?")
_HEAD = struct.Struct("<3sB")
_EXTENSION = struct.Struct(">BIb")  # what msgpack puts before an extension of 64 KiB or more
_EXT32 = 0xC9
LARGE_BYTES = 1 << 16  # an array of so many bytes is not copied to be sent
_ALIGNMENT = 16


def encode(value: Any) -> bytes:
    """`value` as bytes. Raises BadMessage where it is too large or of a kind that cannot travel."""
    return b"".join(pieces(value))


def pieces(value: Any) -> tuple[Data, ...]:
    """The same in pieces: the numbers of a large array are one of them, and not copied."""
    try:
        if isinstance(value, np.ndarray) and value.nbytes >= LARGE_BYTES:
            return _array_pieces(value)
        data = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadMessage("a value cannot be sent: {reason}", reason=_line(error)) from error
    if len(data) > MAX_MESSAGE_BYTES:
        raise _too_large(len(data))
    return (data,)


def decode(data: Data, wanted: Any) -> Any:
    """The `wanted` that `data` holds; arrays share its memory. Raises BadMessage for all else."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise _too_large(len(data))
    try:
        return _decoder(wanted).decode(data)
    except RagError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadMessage("a message cannot be read: {reason}", reason=_line(error)) from error


def fault(error: RagError) -> tuple[str, Message]:
    """What crosses of an error; `raised` makes it the same class on the other side."""
    return error.code, _shortened(error.message)


def raised(code: str, message: Message) -> RagError:
    """The error a fault stands for; a code of a later version becomes a ServiceError."""
    return _by_code().get(code, ServiceError)(_checked(message))


def _shortened(text: Message) -> Message:
    """The message with values of a length that can be sent, in valid Unicode."""

    def value(given: Value) -> Value:
        if isinstance(given, Message):
            return _shortened(given)
        return _sendable(given) if isinstance(given, str) else given

    values = {name: value(given) for name, given in text.values.items()}
    return Message(_sendable(text.template), values)


def _sendable(text: str) -> str:
    return text[:MAX_FAULT_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


def _checked(text: Message) -> Message:
    """A received message; where its template is more than names and short formats, as plain text.

    `str.format` would otherwise follow attributes, and fill any width, as the sender likes.
    """
    values = {name: _checked_value(value) for name, value in text.values.items()}
    try:
        fields = [part[1:3] for part in Formatter().parse(text.template) if part[1] is not None]
    except ValueError:
        return Message(text.template)
    plain = all(name in values and _FORMAT.fullmatch(spec or "") for name, spec in fields)
    return Message(text.template, values) if plain else Message(text.template)


def _checked_value(value: Value) -> Value:
    return _checked(value) if isinstance(value, Message) else value


@cache
def _by_code() -> dict[str, type[RagError]]:
    """The classes of `errors` by code; one without a code of its own travels as its parent."""
    found, waiting = {RagError.code: RagError}, [RagError]
    while waiting:
        kinds = waiting.pop().__subclasses__()
        found.update({kind.code: kind for kind in kinds if "code" in vars(kind)})
        waiting.extend(kinds)
    return found


def _too_large(size: int) -> BadMessage:
    limit = MAX_MESSAGE_BYTES >> 20
    return BadMessage(
        "a message of {size} MB is over the limit of {limit} MB; send less",
        size=size >> 20,
        limit=limit,
    )


def _line(error: BaseException) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "it holds text with half a character"
    return " ".join(str(error).split()) or type(error).__name__


def _encodable(value: Any) -> Any:
    """What msgspec has no way of its own for."""
    if isinstance(value, np.ndarray):
        return msgspec.msgpack.Ext(ARRAY, _array_bytes(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, PurePath):
        return _path(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no kind of value that travels")


def _path(value: PurePath) -> str | msgspec.msgpack.Ext:
    """A path as text; as the system's bytes where it is none (a name in another encoding)."""
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return msgspec.msgpack.Ext(PATH, os.fsencode(text))
    return text


def _array_bytes(array: np.ndarray[Any, Any]) -> bytes:
    head, numbers = _array_parts(array)
    return b"".join((head, numbers))


def _array_pieces(array: np.ndarray[Any, Any]) -> tuple[Data, ...]:
    head, numbers = _array_parts(array)
    size = len(head) + array.nbytes
    if size > MAX_MESSAGE_BYTES:
        raise _too_large(size)
    return _EXTENSION.pack(_EXT32, size, ARRAY) + head, numbers.cast("B")


def _array_parts(array: np.ndarray[Any, Any]) -> tuple[bytes, memoryview]:
    """What stands before the numbers, and these as they travel."""
    dtype, head = _head(array.dtype, array.shape)
    return head, np.ascontiguousarray(array, dtype).data


@lru_cache(maxsize=256)
def _head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[np.dtype[Any], bytes]:
    """How such numbers travel, and what stands before them."""
    little = dtype.newbyteorder("<")
    if little.str not in DTYPES:
        raise TypeError(f"arrays of {dtype} do not travel; make them of numbers")
    if len(shape) > MAX_DIMENSIONS:
        raise TypeError(f"an array of {len(shape)} dimensions; {MAX_DIMENSIONS} are the most")
    head = _HEAD.pack(little.str.encode(), len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
    return little, head + bytes(_padding(len(head)))


def _padding(head: int) -> int:
    return -(_EXTENSION.size + head) % _ALIGNMENT


def _extension(code: int, data: memoryview) -> Any:
    if code == ARRAY:
        return _array(data)
    if code == PATH:
        return Path(os.fsdecode(bytes(data)))
    raise ValueError(f"unknown extension {code}")


def _array(data: memoryview) -> np.ndarray[Any, Any]:
    """The array in `data`, which it keeps alive; copied only where the numbers lie askew."""
    if len(data) < _HEAD.size:
        raise ValueError("an array without a head")
    dtype, shape, begin, size = _layout(
        bytes(data[: _HEAD.size + 8 * min(data[3], MAX_DIMENSIONS)])
    )
    if begin + size != len(data):
        raise ValueError(f"an array of shape {shape} in {len(data)} bytes")
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, data, begin)
    if not array.flags.aligned:
        array = array.copy()
    array.flags.writeable = False
    return array


@lru_cache(maxsize=256)
def _layout(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    """What a head says: of what the numbers are, the shape, where they begin, their bytes."""
    kind, dimensions = _HEAD.unpack_from(head)
    name = kind.decode("ascii", "replace")
    if name not in DTYPES:
        raise ValueError(f"an array of {name!r}")
    if dimensions > MAX_DIMENSIONS or len(head) < _HEAD.size + 8 * dimensions:
        raise ValueError(f"an array of {dimensions} dimensions in {len(head)} bytes")
    shape = struct.unpack_from(f"<{dimensions}Q", head, _HEAD.size)
    dtype = np.dtype(name)
    return dtype, shape, len(head) + _padding(len(head)), prod(shape) * dtype.itemsize


def _decoded(wanted: Any, value: Any) -> Any:
    """A value of a class that msgspec leaves to us, from what the message holds."""
    origin = get_origin(wanted) or wanted
    if origin is np.ndarray:
        return _checked_array(wanted, value)
    if issubclass(origin, PurePath) and isinstance(value, str | PurePath):
        return origin(value)
    return value  # msgspec checks its class


def _checked_array(wanted: Any, value: Any) -> np.ndarray[Any, Any]:
    """`value` as the NDArray[…] that is `wanted`."""
    if not isinstance(value, np.ndarray):
        raise ValueError(f"expected an array, got {type(value).__name__}")
    for kind in get_args(get_args(wanted)[1]) if get_args(wanted) else ():
        if isinstance(kind, type) and not issubclass(value.dtype.type, kind):
            raise ValueError(f"expected an array of {kind.__name__}, got {value.dtype}")
    return value


@lru_cache(maxsize=1024)
def _decoder(wanted: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(wanted, dec_hook=_decoded, ext_hook=_extension)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encodable)
