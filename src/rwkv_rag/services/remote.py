"""Objects that live elsewhere: a contract and a transport make an object that implements the
contract's Protocol, and whose methods have the same signatures.

A caller cannot tell it from the object itself: errors of a call are raised by the call, those of
a stream by its iterator, values of a stream are made as they are fetched. It may be used from any
number of threads where the transport may. Knows no implementation and no socket.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache, wraps
from pathlib import Path
from typing import Any, get_origin

from rwkv_rag.bus.transport import Call, Transport
from rwkv_rag.services.contracts import Contract, Way
from rwkv_rag.services.methods import Method, methods

Stop = Callable[[], bool]


def remote(contract: Contract, transport: Transport, bound: Mapping[str, str] | None = None) -> Any:
    """The object of `contract` behind `transport`; of several, the one that `bound` names."""
    return _twin(contract.protocol)(contract, transport, dict(bound or {}))


class Remote:
    """What all remote objects share. Their methods are added from the Protocol."""

    def __init__(self, contract: Contract, transport: Transport, bound: Mapping[str, str]) -> None:
        self._contract = contract
        self._transport = transport
        self._bound = bound

    def __repr__(self) -> str:
        bound = ", ".join(f"{name}={value!r}" for name, value in self._bound.items())
        return f"<remote {self._contract.target}({bound})>"

    def _ask(self, method: Method, args: Any, kwargs: Any) -> Any:
        given = method.signature.bind(*args, **kwargs).arguments
        stops = [given.pop(name) for name in method.stops if name in given]
        replies = self._transport.request(self._call(method, given))
        if not method.stream:
            (value,) = replies
            return value
        return Replies(replies, stops) if stops else replies

    def _call(self, method: Method, given: Mapping[str, Any]) -> Call:
        way = self._contract.ways.get(method.name, Way())
        return Call(
            self._contract.target,
            method.name,
            {name: _travelling(value, method.types[name]) for name, value in given.items()},
            bound=self._bound,
            returns=method.returns,
            stream=method.stream,
            deadline_s=way.deadline_s,
            priority=way.priority,
            repeatable=way.repeatable,
        )


class Replies(Iterator[Any]):
    """The values of a stream until one of `stops` says that no more are wanted."""

    def __init__(self, replies: Iterator[Any], stops: list[Stop]) -> None:
        self._replies = replies
        self._stops = stops

    def __next__(self) -> Any:
        if any(stopped() for stopped in self._stops):
            self.close()
            raise StopIteration
        return next(self._replies)

    def close(self) -> None:
        """Cancel the call."""
        if close := getattr(self._replies, "close", None):
            close()


@cache
def _twin(protocol: type) -> type[Remote]:
    """The class whose methods are those of `protocol`."""
    members = {n: _member(m, vars(protocol)[n]) for n, m in methods(protocol).items()}
    return type(f"Remote{protocol.__name__}", (Remote,), members)


def _member(method: Method, declared: Any) -> Any:
    if method.property:
        return property(lambda self: self._ask(method, (), {}))

    @wraps(declared)
    def ask(self: Remote, *args: Any, **kwargs: Any) -> Any:
        return self._ask(method, args, kwargs)

    return ask


def _travelling(value: Any, hint: Any) -> Any:
    """An argument as it leaves this process: paths do not depend on where it was started."""
    if isinstance(value, Path):
        return value.absolute()
    if is_dataclass(value) and not isinstance(value, type):
        paths = {f.name: getattr(value, f.name) for f in fields(value)}
        absolute = {n: path.absolute() for n, path in paths.items() if isinstance(path, Path)}
        return replace(value, **absolute) if absolute else value
    if get_origin(hint) is collections.abc.Sequence and not isinstance(value, str):
        return [_travelling(each, None) for each in value]
    return value
