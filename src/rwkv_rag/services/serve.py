"""The server's side: `serve` gives a handler that offers exactly what the Protocols declare.

    handler = serve({"knowledge": Export(KNOWLEDGE, library, lock=FairLock())})
    knowledge = remote(KNOWLEDGE, Local(handler))     # may now be used from any thread

Arguments are checked against the annotations before the object sees them. Objects made for one
caller at a time get a `FairLock`: every call takes it, and so does every step of an iterator, so a
search is answered between two steps of a long indexing. Knows no implementation and no socket.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import BoundArguments
from typing import Any

from rwkv_rag.bus.transport import Handler, Incoming
from rwkv_rag.errors import BadMessage
from rwkv_rag.services.contracts import Contract, Method, methods

MAX_SHOWN = 60  # characters of a name from a request that an error repeats


class FairLock:
    """A lock that serves its waiters in the order they came; its owner may take it again.

    `threading.RLock` does not: a thread that releases and acquires again at once, as indexing does
    between its steps, gets it again, and a chat would wait until the last step.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()  # the first of them has the lock
        self._owner = self._depth = 0

    def __enter__(self) -> None:
        if self._owner == threading.get_ident():  # garbage collection may close an iterator
            self._depth += 1
            return
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket)
            except BaseException:  # Ctrl-C: those behind must not wait for ever
                self._waiting.remove(ticket)
                self._changed.notify_all()
                raise
        self._owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        if self._depth:
            self._depth -= 1
            return
        self._owner = 0
        with self._changed:
            self._waiting.popleft()
            self._changed.notify_all()

    def run(self, call: Callable[[], Any]) -> Any:
        """What `call` returns, made under the lock; an iterator takes it again for each step."""
        with self:
            value = call()
        return LockedIterator(value, self) if isinstance(value, Iterator) else value


class LockedIterator(Iterator[Any]):
    """An iterator that takes a lock for each step, and to end."""

    def __init__(self, values: Iterator[Any], lock: FairLock) -> None:
        self._values = values
        self._lock = lock

    def __next__(self) -> Any:
        with self._lock:
            return next(self._values)

    def close(self) -> None:
        if close := getattr(self._values, "close", None):
            with self._lock:
                close()


@dataclass(frozen=True, slots=True)
class Export:
    """An object as its contract offers it.

    Give the object itself, or `opener`, which is called for every call and so should remember what
    takes long to open; an error it raises is the call's.

    bound   parameters of the opener by which a call names one of several objects; texts all
    lock    taken for every call, opening included, and every step of an iterator; without one the
            object is called from any thread
    check   is called with the name of the method first; may refuse the call by raising
    """

    contract: Contract
    object: Any = None
    opener: Callable[..., Any] | None = None
    bound: tuple[str, ...] = ()
    lock: FairLock | None = None
    check: Callable[[str], None] | None = None

    def answer(self, incoming: Incoming) -> Any:
        """Call the method; errors of an iterator come from it later."""
        method = self._method(incoming.method)
        if self.check:
            self.check(method.name)
        given = incoming.arguments(method.arguments)
        values = {name: getattr(given, name) for name in method.types}
        values.update(dict.fromkeys(method.stops, incoming.cancelled))
        arguments = BoundArguments(method.signature, OrderedDict(values))
        self._check_bound(incoming.bound)

        def call() -> Any:
            target = self.opener(**incoming.bound) if self.opener else self.object
            member = getattr(target, method.name)
            return member if method.property else member(*arguments.args, **arguments.kwargs)

        return self.lock.run(call) if self.lock else call()

    def _method(self, name: str) -> Method:
        known = methods(self.contract.protocol)
        if name not in known:
            raise BadMessage(
                "{target} has no method {name}; it has {known}",
                target=self.contract.target,
                name=_shown(name),
                known=", ".join(sorted(known)),
            )
        return known[name]

    def _check_bound(self, bound: Mapping[str, str]) -> None:
        for name, value in bound.items():
            if name not in self.bound or not isinstance(value, str):
                raise BadMessage(
                    "{target} cannot be bound to {name}",
                    target=self.contract.target,
                    name=_shown(name),
                )


def serve(exports: Mapping[str, Export]) -> Handler:
    """Answer calls for the objects in `exports`, which are named by the target of a call."""

    def handle(incoming: Incoming) -> Any:
        if incoming.target not in exports:
            raise BadMessage(
                "this service has no {target}; it has {served}",
                target=_shown(incoming.target),
                served=", ".join(sorted(exports)),
            )
        return exports[incoming.target].answer(incoming)

    return handle


def _shown(name: str) -> str:
    return repr(name[:MAX_SHOWN])
