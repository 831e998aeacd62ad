"""Workers for a service that runs on another machine: `rwkv-rag worker`.

They connect again whenever the line is cut; nothing of the service itself runs here.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

from rwkv_rag import config
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.security import PeerSecurity, require_keys
from rwkv_rag.config.effective import Effective
from rwkv_rag.config.ragq import SERVICES
from rwkv_rag.errors import InputError
from rwkv_rag.processes.keeper import Keeper, Patience, end
from rwkv_rag.processes.orders import WorkerOrder
from rwkv_rag.processes.supervisor import Listener

STAYS = {
    "index": "the knowledge bases belong to one process on the machine that has the files",
    "tuning": "its jobs and their files stay on one machine",
}


class Joined:
    """The workers of this machine for one service; `run` as `Supervisor.run`."""

    def __init__(self, orders: list[WorkerOrder], effective: Effective, listener: Listener) -> None:
        self._listener = listener
        self._events: SimpleQueue[Keeper | None] = SimpleQueue()
        threads = max(1, (os.cpu_count() or 1) // len(orders)) if len(orders) > 1 else 0
        environment = config.child_environment(
            effective.settings, file=effective.file, threads=threads
        )
        self._keepers = [
            Keeper(
                order.name,
                order,
                lambda _: True,
                say=listener.wrote,
                environment=environment,
                changed=self._events.put,
                patience=Patience(),
            )
            for order in orders
        ]

    def run(self) -> None:
        """Work until `stop`, or until no worker can."""
        for keeper in self._keepers:
            keeper.start()
        while (changed := self._events.get()) is not None:
            # Whether it is of use yet only the router there knows.
            state = "started" if changed.state == "ready" else changed.state
            self._listener.changed(changed.name, state, changed.reason)
            if all(each.state == "failed" for each in self._keepers):
                raise InputError("no worker could be started: {reason}", reason=changed.reason)
        end(self._keepers)

    def stop(self) -> None:
        self._events.put(None)

    def hurry(self) -> None:
        for keeper in self._keepers:
            keeper.kill()


def join(
    effective: Effective,
    service: str,
    connect: str,
    *,
    key: Path | None,
    num_workers: int,
    listener: Listener,
) -> Joined:
    """Workers for `service` behind the back end at `connect`.

    Raises InputError for a service whose workers must stay where its files are, and for an address
    or a key that cannot be used.
    """
    if service in STAYS:
        raise InputError(
            "{service} takes no workers from other machines: {stays}",
            service=service,
            stays=STAYS[service],
        )
    if service not in SERVICES:
        raise InputError("there is no service {service!r} to work for; take llm", service=service)
    address = Address.parse(connect)
    require_keys(address, PeerSecurity.load(key) if key else None)
    host = os.uname().nodename if hasattr(os, "uname") else "worker"
    orders = [
        WorkerOrder(
            service=service,
            name=f"{service}-{number}@{host}",
            back=address.url,
            settings=asdict(effective.settings) | {"connect": "off"},
            key=str(key.absolute()) if key else "",
        )
        for number in range(1, num_workers + 1)
    ]
    return Joined(orders, effective, listener)
