"""Which processes a configuration asks for, and where each is reached. Starts nothing.

plan(effective, run_directory.socket, only=("llm",)) ─▶ Plan: services with their processes
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rwkv_rag import config
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.security import PeerSecurity, RouterSecurity
from rwkv_rag.config import SERVICES, Settings
from rwkv_rag.config.effective import Effective
from rwkv_rag.config.ragq import Endpoint
from rwkv_rag.errors import InputError, NotFound
from rwkv_rag.processes import ports
from rwkv_rag.processes.specs import ProcessPlan, ProgramSpec, RouterSpec, WorkerSpec

PROGRAMS = ("api", "ui")
NAMES = (*SERVICES, *PROGRAMS)


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """A service to be started. `address` is what users reach it by; api and ui have no router.

    `health` is where a program answers HTTP once it is ready: host, port and path.
    """

    name: str
    address: str
    workers: tuple[ProcessPlan, ...]
    router: ProcessPlan | None = None
    health: tuple[str, int, str] = ("", 0, "")


@dataclass(frozen=True, slots=True)
class Plan:
    """All services in the order of starting. `listens` has key, address and port of each port."""

    services: tuple[ServicePlan, ...]
    listens: tuple[tuple[str, str, int], ...]
    keys: Path | None = None
    fronts: Mapping[str, str] = field(default_factory=dict)

    @property
    def security(self) -> PeerSecurity | None:
        """The keys with which a process of this machine connects to the routers."""
        return RouterSecurity.load(self.keys).peer() if self.keys else None

    def service(self, name: str) -> ServicePlan:
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

    With `browser` the pages open one when they start.

    Raises InputError for unknown hosts, for services that are not enabled, and where an address
    needs keys and there are none.
    """
    names = _enabled(effective, only)
    queues = [name for name in names if name in SERVICES]
    places = {name: _Endpoints(effective, name, socket) for name in queues}
    keys = effective.settings.home if any(place.open for place in places.values()) else None
    if keys:
        RouterSecurity.load(keys)  # raises where there are none
    planner = _Planner(effective, places, keys, browser)
    programs = [planner.program(name) for name in names if name in PROGRAMS]
    listens = tuple(
        (f"{key}.port", ports.resolved(f"{key}.host", host), port)
        for key, host, port in effective.ragq.listens()
        if key.partition(".")[0] in names
    )
    services = (*map(planner.service, queues), *programs)
    return Plan(services, listens, keys=keys, fronts=planner.fronts)


def worker_settings(effective: Effective) -> Settings:
    """The settings of a worker: it never looks for services that run already."""
    return replace(effective.settings, connect="off")


def worker_threads(workers: int) -> int:
    """How many threads each of several workers may compute with; 0: as many as it likes."""
    return max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0


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


class _Endpoints:
    """Where the two ends of a service's router are."""

    def __init__(self, effective: Effective, name: str, socket: Callable[[str], str]) -> None:
        section = effective.ragq.service(name)
        self._socket = socket
        self.open = False
        self.front, self.reach_front = self._end(name, "front", section.front_end)
        self.back, self.reach_back = self._end(name, "back", section.back_end)

    def _end(self, name: str, side: str, end: Endpoint) -> tuple[str, str]:
        """Where to bind, and where a process of this machine connects."""
        if end.protocol == "ipc":
            url = self._socket(f"{name}.{side}")
            return url, url
        host = ports.resolved(f"{name}.{side}_end.host", end.host)
        bind = Address("tcp", host, end.port)
        self.open = self.open or not bind.loopback
        return bind.url, replace(bind, host=ports.reachable(host)).url


class _Planner:
    """Makes the plan of each service from its name."""

    def __init__(
        self,
        effective: Effective,
        places: Mapping[str, _Endpoints],
        keys: Path | None,
        browser: bool,
    ) -> None:
        self._effective, self._places, self._browser = effective, places, browser
        self._keys = str(keys or "")
        self.fronts = {name: place.reach_front for name, place in places.items()}

    def service(self, name: str) -> ServicePlan:
        place = self._places[name]
        fronts = {name: place.front for name, place in self._places.items()}
        router = RouterSpec(name, place.front, place.back, directory=fronts, keys=self._keys)
        workers = getattr(self._effective.ragq, name).num_workers
        return ServicePlan(
            name,
            place.front,
            tuple(self._worker(name, number, workers) for number in range(1, workers + 1)),
            ProcessPlan(f"{name}-router", router, self._environment()),
        )

    def _worker(self, name: str, number: int, of: int) -> ProcessPlan:
        spec = WorkerSpec(
            service=name,
            name=f"{name}-{number}",
            back=self._places[name].reach_back,
            settings=worker_settings(self._effective),
            llm=self.fronts.get("llm", "") if name == "index" else "",
            open=self._places[name].open,
            keys=self._keys,
        )
        return ProcessPlan(spec.name, spec, self._environment(worker_threads(of)))

    def program(self, name: str) -> ServicePlan:
        section = getattr(self._effective.ragq, name)
        address = ports.resolved(f"{name}.host", getattr(section, "host", "127.0.0.1"))
        reach = ports.reachable(address)
        settings = self._effective.settings
        arguments = ["--home", str(settings.home), "--port", str(section.port)]
        if name == "api":
            arguments += ["--host", address]
        elif not self._browser:
            arguments += ["--no-browser"]
        if "llm" in self._places:  # that service knows which model writes, and with what
            arguments += ["--tuned", ""]
        spec = ProgramSpec(f"rwkv_rag.{name}", (*arguments, "--lang", settings.language))
        shown = f"[{reach}]" if ":" in reach else reach
        environment = self._environment(named="llm" not in self._places)
        return ServicePlan(
            name,
            f"http://{shown}:{section.port}",
            (ProcessPlan(name, spec, environment),),
            health=(address, section.port, "/health" if name == "api" else "/_stcore/health"),
        )

    def _environment(self, threads: int = 0, named: bool = True) -> dict[str, str]:
        """Without `named`, a client of the llm service leaves the choice of a model to it."""
        environment = config.child_environment(
            self._effective.settings, file=self._effective.file, threads=threads
        )
        if not named:
            del environment["RWKV_RAG_MODEL"], environment["RWKV_RAG_TUNED"]
        return environment
