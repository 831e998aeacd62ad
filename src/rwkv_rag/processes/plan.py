"""Which processes a configuration asks for, and where each is reached. Starts nothing.

plan(effective, run_directory.socket, only=("llm",)) ─▶ Plan: services, each with its processes
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rwkv_rag import config
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.security import PeerSecurity, RouterSecurity
from rwkv_rag.config.effective import Effective
from rwkv_rag.config.ragq import SERVICES, End
from rwkv_rag.errors import InputError, NotFound
from rwkv_rag.processes import ports
from rwkv_rag.processes.orders import Order, ProgramOrder, RouterOrder, WorkerOrder

PROGRAMS = ("api", "ui")
NAMES = (*SERVICES, *PROGRAMS)


@dataclass(frozen=True, slots=True)
class Planned:
    """A process to be: its order and its environment."""

    name: str
    order: Order
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Service:
    """A service to be. `address` is what users reach it by; `router` is None for api and ui."""

    name: str
    address: str
    workers: tuple[Planned, ...]
    router: Planned | None = None
    health: tuple[str, int, str] = ("", 0, "")


@dataclass(frozen=True, slots=True)
class Plan:
    """All services in the order of starting. `listens` has every port with its key."""

    services: tuple[Service, ...]
    listens: tuple[tuple[str, str, int], ...]
    keys: Path | None = None
    fronts: Mapping[str, str] = field(default_factory=dict)

    @property
    def security(self) -> PeerSecurity | None:
        """With what a process of this machine connects to the routers."""
        return RouterSecurity.load(self.keys).peer() if self.keys else None

    def service(self, name: str) -> Service:
        """Raises NotFound with the names there are."""
        for each in self.services:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.services)
        raise NotFound("no service {name!r} runs here; there are: {known}", name=name, known=known)


def plan(
    effective: Effective,
    socket: Callable[[str], str],
    only: Sequence[str] = (),
    *,
    browser: bool = False,
) -> Plan:
    """What is to run; `socket` gives the address of a local socket by its name.

    `browser` has the pages open one when they start.

    Raises InputError for hosts nobody knows, for services that are not enabled, and where an
    address needs keys and there are none.
    """
    names = _enabled(effective, only)
    queues = [name for name in names if name in SERVICES]
    places = {name: _Place(effective, name, socket) for name in queues}
    open_ones = [place for place in places.values() if place.open]
    home = effective.settings.home
    if open_ones:
        RouterSecurity.load(home)  # no keys, no service
    made = _Maker(effective, places, home if open_ones else None, browser)
    listens = [each for place in places.values() for each in place.listens]
    programs = [made.program(name) for name in names if name in PROGRAMS]
    listens += [(f"{each.name}.port", each.health[0], each.health[1]) for each in programs]
    return Plan(
        (*map(made.service, queues), *programs),
        tuple(listens),
        keys=made.keys,
        fronts=made.fronts,
    )


def _enabled(effective: Effective, only: Sequence[str]) -> list[str]:
    for name in only:
        if name not in NAMES:
            raise InputError(
                "there is no service {name!r}; there are: {names}",
                name=name,
                names=", ".join(NAMES),
            )
    enabled = [name for name in NAMES if getattr(effective.ragq, name).enabled]
    for name in only:
        if name not in enabled:
            raise InputError(
                "{name} is not enabled; set {name}.enabled to true in ragq.yml", name=name
            )
    chosen = [name for name in enabled if not only or name in only]
    if not chosen:
        raise InputError("no service is enabled; set llm.enabled to true in ragq.yml")
    return chosen


class _Place:
    """Where the two ends of a service's router are."""

    def __init__(self, effective: Effective, name: str, socket: Callable[[str], str]) -> None:
        section = effective.ragq.service(name)
        self.listens: list[tuple[str, str, int]] = []
        self.open = False
        self.front, self.reach_front = self._end(f"{name}.front_end", section.front_end, socket)
        self.back, self.reach_back = self._end(f"{name}.back_end", section.back_end, socket)

    def _end(self, key: str, end: End, socket: Callable[[str], str]) -> tuple[str, str]:
        """Where to bind, and where a process of this machine connects."""
        if end.protocol == "ipc":
            name, _, side = key.partition(".")
            url = socket(f"{name}.{side.removesuffix('_end')}")
            return url, url
        host = ports.resolved(f"{key}.host", end.host)
        bind = Address("tcp", host, end.port)
        self.open = self.open or not bind.loopback
        self.listens.append((f"{key}.port", host, end.port))
        return bind.url, replace(bind, host=ports.reachable(host)).url


class _Maker:
    """Turns names into services."""

    def __init__(
        self,
        effective: Effective,
        places: Mapping[str, _Place],
        keys: Path | None,
        browser: bool,
    ) -> None:
        self._effective, self._places, self.keys = effective, places, keys
        self._browser = browser
        self.fronts = {name: place.reach_front for name, place in places.items()}

    def service(self, name: str) -> Service:
        place, keys = self._places[name], str(self.keys or "")
        fronts = {name: place.front for name, place in self._places.items()}
        router = RouterOrder(name, place.front, place.back, directory=fronts, keys=keys)
        workers = getattr(self._effective.ragq, name).num_workers
        return Service(
            name,
            place.front,
            tuple(self._worker(name, number, workers) for number in range(1, workers + 1)),
            Planned(f"{name}-router", router, self._environment()),
        )

    def _worker(self, name: str, number: int, of: int) -> Planned:
        told = asdict(self._effective.settings) | {"connect": "off"}
        order = WorkerOrder(
            service=name,
            name=f"{name}-{number}",
            back=self._places[name].reach_back,
            settings=told,
            llm=self.fronts.get("llm", "") if name == "index" else "",
            open=self._places[name].open,
            keys=str(self.keys or ""),
        )
        threads = max(1, (os.cpu_count() or 1) // of) if of > 1 else 0
        return Planned(order.name, order, self._environment(threads))

    def program(self, name: str) -> Service:
        section = getattr(self._effective.ragq, name)
        host = getattr(section, "host", "127.0.0.1")
        address = ports.resolved(f"{name}.host", host)
        reach = ports.reachable(address)
        settings = self._effective.settings
        arguments = ["--home", str(settings.home), "--port", str(section.port)]
        if name == "api":
            arguments += ["--host", address]
        elif not self._browser:
            arguments += ["--no-browser"]
        if "llm" in self._places:  # which model writes, and with what, is that service's affair
            arguments += ["--tuned", ""]
        order = ProgramOrder(f"rwkv_rag.{name}", (*arguments, "--lang", settings.language))
        shown = f"[{reach}]" if ":" in reach else reach
        path = "/health" if name == "api" else "/_stcore/health"
        return Service(
            name,
            f"http://{shown}:{section.port}",
            (Planned(name, order, self._environment(named="llm" not in self._places)),),
            health=(address, section.port, path),
        )

    def _environment(self, threads: int = 0, named: bool = True) -> dict[str, str]:
        """`named` false: whoever asks the llm service leaves the model to it."""
        found = config.child_environment(
            self._effective.settings, file=self._effective.file, threads=threads
        )
        if not named:
            del found["RWKV_RAG_MODEL"], found["RWKV_RAG_TUNED"]
        return found
