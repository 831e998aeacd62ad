"""Where the figures of a training run go: a file, a bar on the terminal, Weights & Biases.

Knows no training. A sink that reaches over the network never stops or holds up a run: what fails
is said once, and the figures stay on disk.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from rwkv_rag.errors import MissingExtra, TuningFailed, system_reason
from rwkv_rag.i18n import N_

Record = Mapping[str, Any]
"""Figures of one step: step, loss, lr, norm, tokens, seconds, tokens_per_s, eta_s, memory_bytes."""

WAIT_S = 8.0  # for Weights & Biases to answer, at the start and at the end
CHARTED = ("loss", "lr", "norm", "tokens_per_s", "memory_bytes")
log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes the figures of each step."""

    def log(self, record: Record) -> None:
        """One step's figures."""


class MetricsFile:
    """One JSON object a line. Lines behind `after_step`, from which a run goes on, are dropped:
    these steps are made again.
    """

    def __init__(self, path: Path, *, after_step: int = 0) -> None:
        self._path = path
        if path.exists():
            kept = [json.dumps(record) + "\n" for record in read_metrics(path)
                    if record["step"] <= after_step]  # fmt: skip
            with self._writing():
                part = path.with_suffix(".part")
                part.write_text("".join(kept), encoding="utf-8")
                os.replace(part, path)

    def log(self, record: Record) -> None:
        with self._writing(), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record)) + "\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TuningFailed(
                "{path} cannot be written ({reason}); the last checkpoint is kept: free some "
                "space and resume the job",
                path=self._path,
                reason=system_reason(error),
            ) from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; one that a killed process left half written is left out."""
    records = []
    with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and "step" in record:
                    records.append(record)
    return records


class Bar:
    """A progress bar on the terminal, for runs that a person watches."""

    def __init__(self, steps: int) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:,.0f} tok/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        self._task = self._bar.add_task("", total=steps, speed=0.0, loss="")

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def log(self, record: Record) -> None:
        text = f"{record['task']} {record['loss']:.3f}"
        speed = record["tokens_per_s"]
        self._bar.update(self._task, completed=record["step"], speed=speed, loss=text)


def wandb_login() -> str:
    """Whether Weights & Biases could be used online: "logged in", "not logged in" or "missing".

    Reads wandb's own settings and never asks its server.
    """
    try:
        import wandb
    except ImportError:
        return N_("missing")
    return N_("logged in") if _has_key(wandb) else N_("not logged in")


def _has_key(wandb: Any) -> bool:
    """Whether wandb knows a key; versions differ in how to ask without prompting or network."""
    if "prompt" in inspect.signature(wandb.login).parameters:
        wandb.setup(wandb.Settings(silent=True))
        return bool(wandb.login(prompt=False, verify=False))
    return bool(wandb.api.api_key)


class WandbSink:
    """A run of Weights & Biases, kept under `folder` as well; offline where online fails."""

    def __init__(
        self,
        folder: Path,
        *,
        mode: str,
        project: str,
        name: str,
        config: Mapping[str, Any],
    ) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtra(
                "wandb is not installed; install it with: pip install 'rwkv-rag[wandb]', "
                "or set wandb to off"
            ) from error
        common: dict[str, Any] = {
            "dir": str(folder), "project": project, "name": name, "id": name,
            "config": dict(config), "resume": "allow",
        }  # fmt: skip
        quiet = wandb.Settings(
            silent=True,
            console="off",
            x_disable_meta=True,
            x_disable_stats=True,
            init_timeout=WAIT_S,
        )
        self._run: Any = None
        if mode == "online":
            self._run = _online(wandb, common, quiet)
        if self._run is None:
            self._run = _tried(
                lambda: wandb.init(mode="offline", settings=quiet, **common), "wandb cannot be used"
            )

    def log(self, record: Record) -> None:
        if self._run is not None:
            charted = {name: record[name] for name in CHARTED if name in record}
            _tried(lambda: self._run.log(charted, step=record["step"]), "wandb lost a step")

    def close(self, summary: Mapping[str, Any]) -> None:
        """Say how the run ended and let go of it, whether or not everything was sent."""
        if self._run is None:
            return
        _tried(lambda: self._run.summary.update(dict(summary)), "wandb lost the summary")
        ended = threading.Thread(
            target=lambda: _tried(self._run.finish, "wandb did not finish"), daemon=True
        )
        ended.start()
        ended.join(WAIT_S)
        if ended.is_alive():
            log.warning("wandb is still sending; `wandb sync` sends what is left")


def _online(wandb: Any, common: Mapping[str, Any], settings: Any) -> Any:
    """An online run, or None with a line in the log."""
    if not _has_key(wandb):
        log.warning("wandb is not logged in (`wandb login`); this run is kept offline")
        return None
    return _tried(
        lambda: wandb.init(mode="online", settings=settings, **common),
        "wandb cannot be reached; this run is kept offline",
    )


def _tried(call: Callable[[], Any], otherwise: str) -> Any:
    """What `call` returns, or None with a line in the log: wandb raises errors of many kinds."""
    try:
        return call()
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        log.warning("%s (%s: %s)", otherwise, type(error).__name__, reason)
        return None
