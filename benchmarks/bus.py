"""The bus beside the pattern of this project's predecessor, in one run, as a table of ratios.

usage: python benchmarks/bus.py [--rounds 5] [--seconds 1.0] [--schemes tcp ipc curve] [--json]
The pattern: REQ, `zmq.proxy` between ROUTER and DEALER, REP; msgpack, vectors as lists of floats.
Both sides are clients, a router or proxy, and a worker, each in a process of its own. They take
turns, round after round, and the median round counts. It exits with 0 whether or not a goal is met.
"curve" is tcp as other machines are reached: the bus encrypts and goes through libzmq, the pattern
does neither.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
import zmq

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.keys import KeyStore
from rwkv_rag.bus.local import Local
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.security import PeerSecurity, RouterSecurity
from rwkv_rag.bus.transport import Call, Incoming, Transport
from rwkv_rag.bus.worker import Worker

CLIENTS = 4
SLOTS = 4  # of the worker; the pattern's has a queue of its own in front of it
TEXTS, WIDTH = 64, 1024
VECTORS = np.random.default_rng(0).standard_normal((TEXTS, WIDTH), np.float32)
SIDES = ("pattern", "bus")
SCHEMES = ("tcp", "ipc", "curve")
GOALS = {"p50_s": 5.0, "requests_per_s": 0.35, "vectors_s": 0.25}
Work = Callable[[], object]


# the pattern


def proxy(front: str, back: str, _: str) -> None:
    context = zmq.Context()
    clients, workers = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    clients.bind(front)
    workers.bind(back)
    print("ready", flush=True)
    zmq.proxy(clients, workers)


def pattern_worker(back: str, _: str) -> None:
    socket = zmq.Context().socket(zmq.REP)
    socket.connect(back)
    print("ready", flush=True)
    while True:
        asked = msgspec.msgpack.decode(socket.recv())
        value = VECTORS.tolist() if asked["cmd"] == "GET_EMBEDDINGS" else asked["text"]
        socket.send(msgspec.msgpack.encode({"code": 200, "value": value}))


def pattern_client(front: str, _: str) -> dict[str, Work]:
    socket = zmq.Context().socket(zmq.REQ)
    socket.connect(front)

    def ask(cmd: str) -> object:
        socket.send(msgspec.msgpack.encode({"cmd": cmd, "text": "hello"}))
        return msgspec.msgpack.decode(socket.recv())["value"]

    return {"echo": lambda: ask("ECHO"), "vectors": lambda: ask("GET_EMBEDDINGS")}


# the bus


class Text(msgspec.Struct):
    text: str


def answer(incoming: Incoming) -> object:
    text = incoming.arguments(Text).text
    if incoming.method == "embed":
        return VECTORS
    return iter([text] * 8) if incoming.method == "stream" else text


def router(front: str, back: str, keys: str) -> None:
    security = RouterSecurity.load(Path(keys)) if keys else None
    serving = Router("bench", front, back, security=security)
    print("ready", flush=True)
    serving.run()


def bus_worker(back: str, keys: str) -> None:
    print("ready", flush=True)
    Worker(answer, back, name="bench-0", slots=SLOTS, security=peer(keys)).run()


def peer(keys: str) -> PeerSecurity | None:
    return RouterSecurity.load(Path(keys)).peer() if keys else None


def works(transport: Transport) -> dict[str, Work]:
    def ask(method: str, returns: Any, stream: bool = False) -> object:
        call = Call("bench", method, {"text": "hello"}, returns=returns, stream=stream)
        return next(transport.request(call))

    return {
        "echo": lambda: ask("echo", str),
        "vectors": lambda: ask("embed", np.ndarray),
        "first": lambda: ask("stream", str, stream=True),
    }


def bus_client(front: str, keys: str) -> dict[str, Work]:
    return works(QueueClient(front, security=peer(keys)))


# measuring


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is met; `keys` is the folder of those it asks for, if it asks."""

    front: str
    back: str
    keys: str = ""


def client(side: str, front: str, keys: str, what: str, seconds: float) -> None:
    """One client: says ready, waits for a word, works; prints its times as JSON."""
    work = {"pattern": pattern_client, "bus": bus_client}[side](front, keys)[what]
    times(work, 0.2)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(times(work, seconds)), flush=True)
    os._exit(0)


def times(work: Work, seconds: float) -> list[float]:
    taken, now = [], time.perf_counter()
    until = now + seconds
    while now < until:
        work()
        before, now = now, time.perf_counter()
        taken.append(now - before)
    return taken


@contextmanager
def process(*line: str) -> Iterator[subprocess.Popen[str]]:
    """This script in another role, which has said that it is ready."""
    command = [sys.executable, __file__, "--role", *line]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as started:  # type: ignore[call-overload]
        try:
            assert started.stdout.readline() == "ready\n", line
            yield started
        finally:
            started.kill()


def clients(count: int, side: str, place: Place, what: str, seconds: float) -> list[list[float]]:
    """The times of so many clients that worked at once."""
    with ExitStack() as stack:
        line = ("client", side, place.front, place.keys, what, str(seconds))
        started = [stack.enter_context(process(*line)) for _ in range(count)]
        for each in started:
            each.stdin.write("go\n")  # type: ignore[union-attr]
            each.stdin.flush()  # type: ignore[union-attr]
        return [json.loads(each.stdout.readline()) for each in started]  # type: ignore[union-attr]


@contextmanager
def service(side: str, scheme: str) -> Iterator[Place]:
    """A router or proxy with one worker."""
    with tempfile.TemporaryDirectory(prefix="bus") as folder:
        place = Place(f"ipc://{folder}/front", f"ipc://{folder}/back")
        if scheme != "ipc":
            keys = folder if scheme == "curve" else ""
            place = Place(*(f"tcp://127.0.0.1:{port}" for port in free_ports()), keys)
        if place.keys:
            KeyStore(Path(folder)).make()
        between, worker = ("proxy", "pattern_worker") if side == "pattern" else ("router", "worker")
        with (
            process(between, place.front, place.back, place.keys),
            process(worker, place.back, place.keys),
        ):
            yield place


def free_ports() -> tuple[int, int]:
    context = zmq.Context()
    with context.socket(zmq.REP) as one, context.socket(zmq.REP) as other:
        ports = tuple(each.bind_to_random_port("tcp://127.0.0.1") for each in (one, other))
    context.term()
    return ports  # type: ignore[return-value]


def measure(side: str, scheme: str, seconds: float) -> dict[str, float]:
    with service(side, scheme) as place:
        (alone,) = clients(1, side, place, "echo", seconds)
        together = clients(CLIENTS, side, place, "echo", seconds)
        (vectors,) = clients(1, side, place, "vectors", seconds)
        found = {
            "p50_s": median(alone),
            "requests_per_s": sum(len(each) / sum(each) for each in together),
            "vectors_s": median(vectors),
        }
        if side == "bus":
            (first,) = clients(1, side, place, "first", seconds)
            here = median(times(works(Local(answer))["first"], 0.1))
            found["first_later_s"] = median(first) - here
        return found


def compare(rounds: int, seconds: float, schemes: list[str]) -> dict[str, dict[str, Any]]:
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(rounds):
        for scheme in schemes:
            for side in SIDES:
                print(f"round {number + 1}/{rounds}: {scheme} {side}", file=sys.stderr)
                runs.setdefault((scheme, side), []).append(measure(side, scheme, seconds))
    return {scheme: summary(*(runs[scheme, side] for side in SIDES)) for scheme in schemes}


def summary(pattern: list[dict[str, float]], bus: list[dict[str, float]]) -> dict[str, Any]:
    """Medians of both sides, and of the ratios bus / pattern of the same round."""
    rows: dict[str, Any] = {}
    for name in GOALS:
        ratios = [ours[name] / theirs[name] for ours, theirs in zip(bus, pattern, strict=True)]
        rows[name] = {
            "pattern": median(each[name] for each in pattern),
            "bus": median(each[name] for each in bus),
            "ratio": median(ratios),
        }
    rows["first_later_s"] = {"bus": median(each["first_later_s"] for each in bus)}
    return rows


def table(found: dict[str, dict[str, Any]]) -> str:
    lines = ["| | pattern | bus | ratio | goal |", "|---|--:|--:|--:|--:|"]
    for scheme, rows in found.items():
        p50, rate, vectors = (rows[name] for name in GOALS)
        lines += [
            _row(f"{scheme}: one small request, p50", p50, 1e6, "µs", "≤ 5"),
            _row(f"{scheme}: small requests of {CLIENTS} clients", rate, 1, "/s", "≥ 0.35"),
            _row(f"{scheme}: {TEXTS} vectors of {WIDTH}", vectors, 1e3, "ms", "≤ 0.25"),
            f"| {scheme}: first streamed value, later than in process | |"
            f" {rows['first_later_s']['bus'] * 1e3:.2f} ms | | ≤ 3 ms |",
        ]
    return "\n".join(lines)


def _row(what: str, row: dict[str, float], scale: float, unit: str, goal: str) -> str:
    theirs, ours = (f"{row[side] * scale:,.4g} {unit}" for side in SIDES)
    return f"| {what} | {theirs} | {ours} | {row['ratio']:.2f} | {goal} |"


def play(role: str, arguments: list[str]) -> None:
    if role == "client":
        client(*arguments[:4], float(arguments[4]))
    roles = {"proxy": proxy, "pattern_worker": pattern_worker, "router": router}
    roles.get(role, bus_worker)(*arguments)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=SCHEMES)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        return play(options.role[0], options.role[1:])
    load = os.getloadavg()[0]
    found = compare(options.rounds, options.seconds, options.schemes)
    if options.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": load}
        print(json.dumps({"machine": machine, "rounds": options.rounds, "figures": found}))
    else:
        print(f"{os.cpu_count()} cores, load {load:.2f} before; {options.rounds} rounds\n")
        print(table(found))
    return None


if __name__ == "__main__":
    main()
