"""`rwkv-rag api`: the HTTP API alone, served by a process of its own; `rwkv-rag up` has it too."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from rwkv_rag.cli.options import Connect, Home, Key, Model, Tuned, session
from rwkv_rag.config import BUILTIN, FAKE, sharing_cores
from rwkv_rag.errors import MissingExtra, NotFound

NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def api(
    ctx: typer.Context,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than 127.0.0.1 need the token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8600,
    require_token: Annotated[
        bool, typer.Option("--require-token", help="Ask for the token on 127.0.0.1 too.")
    ] = False,
    folder: Annotated[
        list[Path] | None,
        typer.Option(help="Directory whose files requests may name; may be given several times."),
    ] = None,
    model: Model = None,
    tuned: Tuned = None,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Serve the HTTP API (OpenAI's protocol, and REST); Ctrl-C ends it."""
    here = session(ctx, home, model, tuned, connect=connect, key=key)
    if not all(find_spec(name) for name in NEEDED):
        raise MissingExtra("the API needs FastAPI; install it with: pip install 'rwkv-rag[api]'")
    settings = here.settings
    if settings.model not in (BUILTIN, FAKE) and not Path(settings.model).exists():
        raise NotFound("no such model file: {model}", model=settings.model)
    arguments = ["--home", str(settings.home), "--lang", settings.language]
    arguments += ["--host", host, "--port", str(port), "--connect", settings.connect]
    if settings.named:
        arguments += ["--model", settings.model]
    if settings.tuned:
        arguments += ["--tuned", settings.tuned]
    if settings.key:
        arguments += ["--key", str(settings.key)]
    arguments += ["--require-token"] if require_token else []
    arguments += [part for each in folder or () for part in ("--folder", str(each.absolute()))]
    raise typer.Exit(_served(arguments))


def _served(arguments: list[str]) -> int:
    """The server takes this process's place, so that no signal misses it and none outlives it."""
    process = [sys.executable, "-m", "rwkv_rag.api", *arguments]
    if os.name == "posix":
        os.execve(sys.executable, process, sharing_cores())
    return subprocess.run(process, env=sharing_cores(), check=False).returncode
