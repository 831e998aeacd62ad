"""Objects behind the bus: a handler that offers exactly what their Protocols declare.

The Protocol is the list of what may be called: no other attribute of an object can be reached, and
arguments are checked against the annotations before the object sees them. Knows no implementation
and no socket.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import BoundArguments
from typing import Any

from rwkv_rag.bus.transport import Handler, Incoming
from rwkv_rag.errors import BadMessage
from rwkv_rag.services.contracts import Contract
from rwkv_rag.services.methods import Method, methods
from rwkv_rag.services.turns import FairLock, in_turns

SHOWN = 60
"""Characters of a name that a stranger gave which are shown back to him."""


@dataclass(frozen=True, slots=True)
class Export:
    """An object as its contract offers it.

    Give the object itself, or `opener`, which gives it at every call, and so should remember what
    takes long to open; what it raises is what is wrong with the call.

    bound   by which of the opener's parameters calls are bound to one of several objects; texts all
    turn    of an object made for one caller at a time: every call of it, opening it, and every step
            of an iterator it gives wait for their turn. Without one it is called from any thread.
    """

    contract: Contract
    object: Any = None
    opener: Callable[..., Any] | None = None
    bound: tuple[str, ...] = ()
    turn: FairLock | None = None


def serve(exports: Mapping[str, Export]) -> Handler:
    """Answer calls for the objects in `exports`, which are named by the target of a call."""
    served = {target: _Served(export) for target, export in exports.items()}

    def handle(incoming: Incoming) -> Any:
        if incoming.target not in served:
            raise BadMessage(
                "this service has no {target}; it has {served}",
                target=_shown(incoming.target),
                served=_names(served),
            )
        return served[incoming.target].answer(incoming)

    return handle


class _Served:
    """One object, or several that are told apart by what a call is bound to."""

    def __init__(self, export: Export) -> None:
        self._target = export.contract.target
        self._methods = methods(export.contract.protocol)
        self._open = export.opener or (lambda: export.object)
        self._bound = export.bound
        self._turn = export.turn

    def answer(self, incoming: Incoming) -> Any:
        """Call the method; an iterator's errors come from it later."""
        method = self._method(incoming.method)
        given = incoming.arguments(method.arguments)
        values = {name: getattr(given, name) for name in method.types}
        values.update(dict.fromkeys(method.stops, incoming.cancelled))
        arguments = BoundArguments(method.signature, OrderedDict(values))
        self._check(incoming.bound)

        def call() -> Any:
            what = getattr(self._open(**incoming.bound), method.name)
            return what if method.property else what(*arguments.args, **arguments.kwargs)

        return in_turns(self._turn, call) if self._turn else call()

    def _method(self, name: str) -> Method:
        if name not in self._methods:
            known = _names(self._methods)
            raise BadMessage(
                "{target} has no method {name}; it has {known}",
                target=self._target,
                name=_shown(name),
                known=known,
            )
        return self._methods[name]

    def _check(self, bound: Mapping[str, str]) -> None:
        for name, value in bound.items():
            if name not in self._bound or not isinstance(value, str):
                raise BadMessage(
                    "{target} cannot be bound to {name}", target=self._target, name=_shown(name)
                )


def _shown(name: str) -> str:
    return repr(name[:SHOWN])


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names))
