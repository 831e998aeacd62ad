"""Which Protocols each service offers, and how each of their methods is called.

The Protocols' annotations say what travels; both sides of the bus read them here. A method that a
Protocol does not declare cannot be called. Knows no implementation and no transport.
"""

from __future__ import annotations

import collections.abc
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from rwkv_rag import interfaces
from rwkv_rag.bus.transport import DEADLINE_S, Priority

if TYPE_CHECKING:
    import msgspec

LONG_S = 600.0  # rebuilding a base, loading a large model


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How one method is called; the fields are those of `bus.transport.Call`."""

    deadline_s: float = DEADLINE_S
    priority: Priority = Priority.NORMAL
    repeatable: bool = False


READ = CallPolicy(repeatable=True)
READ_LONG = CallPolicy(LONG_S, repeatable=True)
WRITE = CallPolicy()
WRITE_LONG = CallPolicy(LONG_S)
CHAT = CallPolicy(priority=Priority.CHAT, repeatable=True)
BULK = CallPolicy(LONG_S, Priority.BULK)


@dataclass(frozen=True, slots=True)
class Contract:
    """A Protocol as a service offers it, under the name `target`.

    `policies` names every method of the Protocol.
    """

    service: str
    target: str
    protocol: type
    policies: Mapping[str, CallPolicy]


GENERATOR = Contract(
    "llm",
    "generator",
    interfaces.Generator,
    {
        "name": READ,
        "count_tokens": CHAT,
        "generate": CallPolicy(120.0, Priority.CHAT, repeatable=True),
    },
)
EMBEDDER = Contract(
    "llm",
    "embedder",
    interfaces.Embedder,
    {
        "model": READ,
        "embed_documents": CallPolicy(LONG_S, Priority.BULK, repeatable=True),
        "embed_queries": CHAT,
    },
)
RERANKER = Contract("llm", "reranker", interfaces.Reranker, {"rerank": CHAT})
READER = Contract("llm", "reader", interfaces.Reader, {"read": CHAT})
MODELS = Contract(
    "llm", "models", interfaces.Models, {"writers": READ, "tuned": READ, "writer": READ}
)
KNOWLEDGE = Contract(
    "index",
    "knowledge",
    interfaces.Knowledge,
    {
        **dict.fromkeys(("bases", "base", "documents", "document"), READ),
        **dict.fromkeys(("create", "delete", "remove"), WRITE),
        **dict.fromkeys(("index", "add", "rebuild"), BULK),
        **dict.fromkeys(("search", "chunk"), CHAT),
        "verify": READ_LONG,
    },
)
TUNER = Contract(
    "tuning",
    "tuner",
    interfaces.Tuner,
    {
        **dict.fromkeys(("jobs", "job", "metrics", "logs"), READ),
        **dict.fromkeys(("stop", "forget"), WRITE),
        **dict.fromkeys(("start", "resume"), WRITE_LONG),
        "estimate": READ_LONG,
    },
)
SUPERVISION = Contract(
    "control",
    "supervision",
    interfaces.Supervision,
    {"status": READ, "restart": WRITE_LONG, "stop": WRITE},
)
CONTRACTS = (GENERATOR, EMBEDDER, RERANKER, READER, MODELS, KNOWLEDGE, TUNER, SUPERVISION)


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A method of a Protocol, or a property of it, which is a method without arguments.

    arguments   what travels, as a msgspec Struct with the defaults of the signature
    types       the type of each argument that travels
    stops       parameters that are functions and do not travel: the client calls them to learn
                whether to go on; the server passes one that tells whether the client has gone
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

    Computed on first use, so that importing this module loads neither msgspec nor numpy.
    """
    return {
        name: _method(name, what)
        for name, what in vars(protocol).items()
        if not name.startswith("_") and (inspect.isfunction(what) or isinstance(what, property))
    }


def _method(name: str, what: Any) -> Method:
    import msgspec

    function: Any = what.fget if isinstance(what, property) else what
    hints = get_type_hints(function, localns=_numpy_names(function))
    returns = hints.pop("return")
    stream = get_origin(returns) is collections.abc.Iterator
    parameters = list(inspect.signature(function).parameters.values())[1:]  # without self
    types = {
        name: hint
        for name, hint in hints.items()
        if get_origin(hint) is not collections.abc.Callable
    }
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
    required = parameter.default is inspect.Parameter.empty
    return (parameter.name, hint) if required else (parameter.name, hint, parameter.default)
