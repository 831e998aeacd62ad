"""Runs the API on stand-ins for models behind a real socket, with a base of two documents."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from rwkv_rag import app
from rwkv_rag.api import application, server
from rwkv_rag.api.options import Options
from rwkv_rag.config import Settings
from rwkv_rag.testing import text_document

GARDEN = (
    "The garden opens at six in the morning.\n\n"
    "The annual fee is 48 pounds for a full plot.\n\nDogs must be kept on a lead.\n"
)
MANUAL = "# 手册\n\n## 保养\n\n滤芯的使用寿命约为 12 个月。\n\n## 售后\n\n整机保修期为 2 年。\n"
FEE = "The annual fee is 48 pounds for a full plot."


@dataclass(frozen=True)
class Served:
    """A server that runs: its address, the client it works on, and a client over HTTP."""

    url: str
    client: app.Client
    http: httpx.Client
    home: Path


@contextmanager
def running(
    settings: Settings,
    options: Options | None = None,
    change: Callable[[app.Client], None] = lambda client: None,
) -> Iterator[Served]:
    """The API on a free port of this machine until the block ends."""
    options = options or Options(port=0)
    with closing(server.bound_socket(options)) as listener, app.open_client(settings) as client:
        change(client)
        asgi = application.create(settings, options, client)
        config = uvicorn.Config(asgi, log_level="error", ws="none", lifespan="on")
        runs = uvicorn.Server(config)
        thread = threading.Thread(target=runs.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until(lambda: runs.started)
        url = server.url(listener)
        try:
            with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
                yield Served(url, client, http, settings.home)
        finally:
            runs.should_exit = True
            thread.join(10)
        assert not thread.is_alive(), "the server did not end"


def until(done: Callable[[], bool], *, limit_s: float = 10.0) -> None:
    """Wait for a condition; fail where it does not come about."""
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.005)


def fake(home: Path) -> Settings:
    """Settings of stand-ins that use no service that runs."""
    return Settings(home=home, model="fake", connect="off")


def fill(client: app.Client) -> None:
    """The base "docs" with an English and a Chinese document."""
    client.knowledge.create("docs", chunk_size=60, chunk_overlap=0)
    documents = [text_document("garden.txt", GARDEN), text_document("手册.md", MANUAL)]
    for _ in client.knowledge.add("docs", documents):
        pass


def fault(answer: httpx.Response) -> dict[str, Any]:
    """The error of a response, which has to be in OpenAI's shape and nothing else."""
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code", "template", "values"}
    found: dict[str, Any] = body["error"]
    return found
