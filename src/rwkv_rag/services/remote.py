"""The client's side: `remote(contract, transport)` is an object with the contract's Protocol.

A caller cannot tell it from the object itself: it has the same signatures, errors of a call are
raised by the call and those of a stream by its iterator, and values of a stream are made as they
are fetched. Any thread may use it where the transport may. Knows no implementation and no socket.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache, wraps
from pathlib import Path
from typing import Any, get_origin

from rwkv_rag.bus.transport import Call, Transport
from rwkv_rag.services.contracts import Contract, Method, methods


def remote(contract: Contract, transport: Transport, bound: Mapping[str, str] | None = None) -> Any:
    """The object of `contract` behind `transport`; of several, the one that `bound` names."""
    return _class_for(contract.protocol)(contract, transport, dict(bound or {}))


class Remote:
    """What all remote objects share. Their methods are added from the Protocol."""

    def __init__(self, contract: Contract, transport: Transport, bound: Mapping[str, str]) -> None:
        self._contract = contract
        self._transport = transport
        self._bound = bound

    def __repr__(self) -> str:
        bound = ", ".join(f"{name}={value!r}" for name, value in self._bound.items())
        return f"<remote {self._contract.target}({bound})>"

    def _call(self, method: Method, *args: Any, **kwargs: Any) -> Any:
        given = method.signature.bind(*args, **kwargs).arguments
        stops = [given.pop(name) for name in method.stops if name in given]
        policy = self._contract.policies[method.name]
        call = Call(
            self._contract.target,
            method.name,
            {name: _absolute(value, method.types[name]) for name, value in given.items()},
            bound=self._bound,
            returns=method.returns,
            stream=method.stream,
            deadline_s=policy.deadline_s,
            priority=policy.priority,
            repeatable=policy.repeatable,
        )
        replies = self._transport.request(call)
        if not method.stream:
            (value,) = replies
            return value
        return Replies(replies, stops) if stops else replies


class Replies(Iterator[Any]):
    """The values of a stream until one of `stops` says that no more are wanted."""

    def __init__(self, replies: Iterator[Any], stops: list[Callable[[], bool]]) -> None:
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
def _class_for(protocol: type) -> type[Remote]:
    """A subclass of Remote with the methods of `protocol`."""
    members = {n: _member(m, vars(protocol)[n]) for n, m in methods(protocol).items()}
    return type(f"Remote{protocol.__name__}", (Remote,), members)


def _member(method: Method, declared: Any) -> Any:
    if method.property:
        return property(lambda self: self._call(method))

    @wraps(declared)
    def call(self: Remote, *args: Any, **kwargs: Any) -> Any:
        return self._call(method, *args, **kwargs)

    return call


def _absolute(value: Any, hint: Any) -> Any:
    """An argument with absolute paths: the other process may have been started elsewhere."""
    if isinstance(value, Path):
        return value.absolute()
    if is_dataclass(value) and not isinstance(value, type):
        paths = {f.name: getattr(value, f.name) for f in fields(value)}
        absolute = {n: path.absolute() for n, path in paths.items() if isinstance(path, Path)}
        return replace(value, **absolute) if absolute else value
    if get_origin(hint) is collections.abc.Sequence and not isinstance(value, str):
        return [_absolute(each, None) for each in value]
    return value
