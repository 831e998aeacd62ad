"""Values as bytes and back: msgpack, typed by annotations. Knows no socket and no envelope.

encode(value) ─▶ bytes ─▶ decode(data, type)      fault(error) ─▶ (code, message) ─▶ raised(…)

Values are those of `types` and the Protocols: dataclasses, sequences, mappings, numbers, text,
paths and arrays of numbers; never pickle, and no class but the one that is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from math import prod
from pathlib import Path, PurePath
from string import Formatter
from typing import Annotated, Any, TypeAlias, get_args, get_origin

import msgspec
import numpy as np
from msgspec import Meta

from rwkv_rag.errors import BadMessage, Message, RagError, ServiceError, Value

Data: TypeAlias = bytes | bytearray | memoryview
MAX_MESSAGE_BYTES = 256 << 20
MAX_FAULT_CHARACTERS = 10_000  # a message names values, and values can be long

ARRAY, PATH = 1, 2  # codes of msgpack extensions
DTYPES = frozenset(
    {"|b1", "|i1", "|u1"}
    | {f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)}
    | {"<f2", "<f4", "<f8"}
)
_FORMAT = re.compile(r"[,.\d]{0,4}[a-z%]?")


def encode(value: Any) -> bytes:
    """`value` as bytes. Raises BadMessage where it is too large or of a kind that cannot travel."""
    try:
        data = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadMessage("a value cannot be sent: {reason}", reason=_line(error)) from error
    if len(data) > MAX_MESSAGE_BYTES:
        raise _too_large(len(data))
    return data


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
    """What is sent of an error; `raised` makes it the same class on the other side."""
    return error.code, _shortened(error.message)


def raised(code: str, message: Message) -> RagError:
    """The error that was sent; an unknown code, of a later version, becomes a ServiceError."""
    return _by_code().get(code, ServiceError)(_checked(message))


def _shortened(value: Value) -> Any:
    """A message, or a value of one, of a length that can be sent, in valid Unicode."""
    if isinstance(value, Message):
        values = {name: _shortened(each) for name, each in value.values.items()}
        return Message(_shortened(value.template), values)
    if isinstance(value, str):
        return value[:MAX_FAULT_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return value


def _checked(text: Value) -> Any:
    """A received message; where its template is more than names and short formats, as plain text.

    `str.format` would otherwise follow attributes, and fill any width, as the sender likes.
    """
    if not isinstance(text, Message):
        return text
    values = {name: _checked(value) for name, value in text.values.items()}
    try:
        fields = [part[1:3] for part in Formatter().parse(text.template) if part[1] is not None]
    except ValueError:
        return Message(text.template)
    plain = all(name in values and _FORMAT.fullmatch(spec or "") for name, spec in fields)
    return Message(text.template, values) if plain else Message(text.template)


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
    size, limit = size >> 20, MAX_MESSAGE_BYTES >> 20
    return BadMessage(
        "a message of {size} MB is over the limit of {limit} MB; send less", size=size, limit=limit
    )


def _line(error: BaseException) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "it holds text with half a character"
    return " ".join(str(error).split()) or type(error).__name__


def _encodable(value: Any) -> Any:
    """Values of classes that msgspec does not encode itself."""
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
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _path(value: PurePath) -> str | msgspec.msgpack.Ext:
    """A path as text; as the system's bytes where it is none (a name in another encoding)."""
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return msgspec.msgpack.Ext(PATH, os.fsencode(text))
    return text


class _Array(msgspec.Struct, array_like=True):
    """An array as it is sent: the numbers in C order, little endian."""

    dtype: str
    shape: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(max_length=8)]
    data: memoryview


def _array_bytes(array: np.ndarray[Any, Any]) -> bytes:
    little = array.dtype.newbyteorder("<")
    if little.str not in DTYPES:
        raise TypeError(f"arrays of {array.dtype} cannot be sent; make them of numbers")
    if array.ndim > 8:
        raise TypeError(f"an array of {array.ndim} dimensions; 8 are the most")
    data = np.ascontiguousarray(array, little).reshape(-1).view(np.uint8).data
    return msgspec.msgpack.encode(_Array(little.str, array.shape, data))


def _extension(code: int, data: memoryview) -> Any:
    if code == ARRAY:
        return _array(data)
    if code == PATH:
        return Path(os.fsdecode(bytes(data)))
    raise ValueError(f"unknown extension {code}")


def _array(data: memoryview) -> np.ndarray[Any, Any]:
    """A read-only array, in the memory of the message where the processor can use it there."""
    sent = _array_decoder.decode(data)
    if sent.dtype not in DTYPES:
        raise ValueError(f"an array of {sent.dtype!r}")
    dtype = np.dtype(sent.dtype)
    if prod(sent.shape) * dtype.itemsize != len(sent.data):
        raise ValueError(f"an array of shape {sent.shape} in {len(sent.data)} bytes")
    array: np.ndarray[Any, Any] = np.ndarray(sent.shape, dtype, sent.data)
    if not array.flags.aligned:
        array = array.copy()
    array.flags.writeable = False
    return array


def _decoded(wanted: Any, value: Any) -> Any:
    """A value of a class that msgspec does not decode itself."""
    origin = get_origin(wanted) or wanted
    if origin is np.ndarray:
        return _checked_array(wanted, value)
    if issubclass(origin, PurePath) and isinstance(value, str | PurePath):
        return origin(value)
    return value  # msgspec checks its class


def _checked_array(wanted: Any, value: Any) -> np.ndarray[Any, Any]:
    """`value`, if it is the NDArray[…] that is `wanted`."""
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
_array_decoder = msgspec.msgpack.Decoder(_Array)
