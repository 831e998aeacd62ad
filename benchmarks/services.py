"""What `rwkv-rag up` costs: seconds until it answers, CPU while nobody asks, memory, time to end.

usage: python benchmarks/services.py [--model builtin|fake] [--repeats 3] [--idle-s 20] [--json]
Starts everything (llm, index, tuning, HTTP API, pages) in a temporary home, several times. Exits
with 0 whether or not a goal is met. Knows the command, and what the system says of its processes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

import psutil

READY_GOAL_S, IDLE_GOAL_PERCENT = 8.0, 2.0
LIMIT_S = 120.0
LOOK_S = 0.02
COMMAND = [sys.executable, "-c", "from rwkv_rag.cli import main; main()", "up", "--no-browser"]


class Services:
    """A running `rwkv-rag up` and what it took until it answered (`ready_s`)."""

    def __init__(self, home: Path, model: str) -> None:
        self._api = _free_port()
        ports = ["--port", str(_free_port()), "--api-port", str(self._api)]
        environment = os.environ | {"RWKV_RAG_HOME": str(home), "RWKV_RAG_MODEL": model}
        began = time.monotonic()
        with (home / "up.log").open("wb") as log:
            self._up = subprocess.Popen(
                [*COMMAND, *ports], env=environment, stdout=log, stderr=log, cwd=home
            )
        while not (self._settled(home) and self._answers()):
            if self._up.poll() is not None or time.monotonic() > began + LIMIT_S:
                sys.exit((home / "up.log").read_text(errors="replace"))
            time.sleep(LOOK_S)
        self.ready_s = time.monotonic() - began

    def processes(self) -> dict[str, psutil.Process]:
        """Every process by name; the supervisor is "up"."""
        up = psutil.Process(self._up.pid)
        return {"up": up} | {each.cmdline()[-1]: each for each in up.children(recursive=True)}

    def end(self) -> float:
        """Stop everything; how long that took."""
        began = time.monotonic()
        self._up.send_signal(signal.SIGINT)
        self._up.wait(LIMIT_S)
        return time.monotonic() - began

    def _settled(self, home: Path) -> bool:
        return b"ready; Ctrl-C" in (home / "up.log").read_bytes()

    def _answers(self) -> bool:
        """Whether the API says that every service answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._api}/ready", timeout=5) as said:
                return bool(json.load(said)["ready"])
        except (OSError, urllib.error.URLError):
            return False


def measure(model: str, repeats: int, idle_s: float) -> dict[str, Any]:
    """All figures; idle CPU and memory are of the last run."""
    ready, end = [], []
    for number in range(repeats):
        with tempfile.TemporaryDirectory(prefix="rr-") as home:
            services = Services(Path(home), model)
            ready.append(services.ready_s)
            found = _idle(services, idle_s) if number == repeats - 1 else {}
            end.append(services.end())
    return {
        "model": model,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "ready_s": round(median(ready), 2),
        "ready_goal_s": READY_GOAL_S,
        "end_s": round(median(end), 2),
        "idle_goal_percent": IDLE_GOAL_PERCENT,
        **found,
    }


def _idle(services: Services, idle_s: float) -> dict[str, Any]:
    """CPU of all processes over a quiet time, in per cent of one core, and their memory."""
    time.sleep(2.0)  # what starting left to do
    processes = services.processes()
    before = {name: sum(each.cpu_times()[:2]) for name, each in processes.items()}
    time.sleep(idle_s)
    used = {name: sum(each.cpu_times()[:2]) - before[name] for name, each in processes.items()}
    memory = {name: each.memory_full_info() for name, each in processes.items()}
    return {
        "idle_s": idle_s,
        "idle_percent": round(100 * sum(used.values()) / idle_s, 2),
        "processes": {
            name: {
                "idle_percent": round(100 * used[name] / idle_s, 2),
                "rss_bytes": memory[name].rss,
                "unique_bytes": memory[name].uss,
            }
            for name in sorted(processes)
        },
        "unique_bytes": sum(each.uss for each in memory.values()),
    }


def show(found: dict[str, Any]) -> None:
    """The figures as a table."""
    print(f"{found['cores']} cores, load {found['load_before']}; model {found['model']}\n")
    print("| figure | measured | goal | met |\n|---|--:|--:|---|")
    for what, value, goal, unit in (
        ("ready to answer", found["ready_s"], READY_GOAL_S, "s"),
        ("idle CPU, all processes, of one core", found["idle_percent"], IDLE_GOAL_PERCENT, "%"),
    ):
        print(
            f"| {what} | {value} {unit} | ≤ {goal:g} {unit} | {'yes' if value <= goal else 'no'} |"
        )
    print(f"| everything ended | {found['end_s']} s | | |")
    print(f"| memory of its own, all processes | {found['unique_bytes'] / 1e6:.0f} MB | | |")
    print("\n| process | idle CPU | resident | of its own |\n|---|--:|--:|--:|")
    for name, each in found["processes"].items():
        sizes = " | ".join(f"{each[k] / 1e6:.0f} MB" for k in ("rss_bytes", "unique_bytes"))
        print(f"| {name} | {each['idle_percent']} % | {sizes} |")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--idle-s", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.model, max(1, given.repeats), given.idle_s)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)


if __name__ == "__main__":
    main()
