"""What a Protocol says of its methods: their arguments, what they return, whether they stream.

Read from the annotations, for both sides of the bus. Knows no object and no transport.
"""

from __future__ import annotations

import collections.abc
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    import msgspec

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A method of a Protocol, or a property of it, which is a method without arguments.

    arguments   what travels, as a msgspec Struct with the defaults of the signature
    types       the type of each argument that travels
    stops       parameters that are functions and do not travel: whoever calls the method asks them
                whether to go on; the other side gives one that tells whether the caller has gone
    returns     the type of the value, or of each value of a stream
    """

    name: str
    signature: inspect.Signature
    arguments: type[msgspec.Struct]
    types: Mapping[str, Any]
    stops: tuple[str, ...]
    returns: Any
    stream: bool
    property: bool


@cache
def methods(protocol: type) -> Mapping[str, Method]:
    """All methods and properties that `protocol` declares, by name.

    Read when first needed, as msgspec and numpy are.
    """
    return {
        name: _method(name, what)
        for name, what in vars(protocol).items()
        if not name.startswith("_") and (inspect.isfunction(what) or isinstance(what, property))
    }


def _method(name: str, what: Any) -> Method:
    import msgspec

    function: Callable[..., Any] = what.fget if isinstance(what, property) else what  # type: ignore[assignment]
    hints = get_type_hints(function, localns=_numpy_names(function))
    returns = hints.pop("return")
    stream = get_origin(returns) is collections.abc.Iterator
    parameters = list(inspect.signature(function).parameters.values())[1:]  # without self
    types = {name: hint for name, hint in hints.items() if not _is_function(hint)}
    fields = [_field(each, types[each.name]) for each in parameters if each.name in types]
    return Method(
        name=name,
        signature=inspect.Signature(parameters),
        arguments=msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True),
        types=types,
        stops=tuple(name for name in hints if name not in types),
        returns=get_args(returns)[0] if stream else returns,
        stream=stream,
        property=isinstance(what, property),
    )


def _numpy_names(function: Callable[..., Any]) -> dict[str, Any]:
    """The names that `interfaces` imports for type checkers only, where they are needed."""
    if not any("NDArray" in str(hint) for hint in function.__annotations__.values()):
        return {}
    import numpy as np
    from numpy.typing import NDArray

    return {"np": np, "NDArray": NDArray}


def _field(parameter: inspect.Parameter, hint: Any) -> tuple[Any, ...]:
    if parameter.default is REQUIRED:
        return parameter.name, hint
    return parameter.name, hint, parameter.default


def _is_function(hint: Any) -> bool:
    return get_origin(hint) is collections.abc.Callable
