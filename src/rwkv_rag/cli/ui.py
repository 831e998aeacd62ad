"""`rwkv-rag ui`: the pages in a browser, served by a process of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from rwkv_rag.cli.options import Connect, Home, Key, Model, session
from rwkv_rag.config import BUILTIN, FAKE, sharing_cores
from rwkv_rag.errors import MissingExtra, NotFound


def ui(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8501,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    model: Model = None,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Chat with your documents in the browser (this machine only)."""
    here = session(ctx, home, model, connect=connect, key=key)
    if find_spec("streamlit") is None:
        raise MissingExtra("the pages need Streamlit; install it with: pip install 'rwkv-rag[ui]'")
    settings = here.settings
    if settings.model not in (BUILTIN, FAKE) and not Path(settings.model).exists():
        raise NotFound("no such model file: {model}", model=settings.model)
    arguments = ["--home", str(settings.home), "--lang", settings.language, "--port", str(port)]
    arguments += [] if browser else ["--no-browser"]
    arguments += ["--model", settings.model] if settings.named else []
    arguments += ["--connect", settings.connect] if settings.connect else []
    arguments += ["--key", str(settings.key)] if settings.key else []
    here.screen.note("http://127.0.0.1:{port} — Ctrl-C ends it", port=port)
    # A process of its own: Streamlit takes the main thread and its signals.
    process = [sys.executable, "-m", "rwkv_rag.ui", *arguments]
    ended = subprocess.run(process, env=sharing_cores(), check=False)
    raise typer.Exit(ended.returncode)
