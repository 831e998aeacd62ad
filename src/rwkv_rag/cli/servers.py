"""`rwkv-rag ui` and `rwkv-rag api`: the pages or the HTTP API alone, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from rwkv_rag.cli.options import SERVICES, Browser, Session, with_session
from rwkv_rag.config import BUILTIN, FAKE, Settings, sharing_cores
from rwkv_rag.errors import MissingExtra, NotFound

API_NEEDS = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


@with_session("model", *SERVICES)
def ui(
    here: Session,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8501,
    browser: Browser = True,
) -> None:
    """Chat with your documents in the browser (this machine only)."""
    if find_spec("streamlit") is None:
        raise MissingExtra("the pages need Streamlit; install it with: pip install 'rwkv-rag[ui]'")
    arguments = [*_arguments(here.settings), "--port", str(port)]
    arguments += [] if browser else ["--no-browser"]
    here.screen.note("http://127.0.0.1:{port} — Ctrl-C ends it", port=port)
    # Not in this one's place: Streamlit takes the main thread and its signals.
    process = [sys.executable, "-m", "rwkv_rag.ui", *arguments]
    raise typer.Exit(subprocess.run(process, env=sharing_cores(), check=False).returncode)


@with_session("model", "tuned", *SERVICES)
def api(
    here: Session,
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
) -> None:
    """Serve the HTTP API (OpenAI's protocol, and REST); Ctrl-C ends it."""
    if not all(find_spec(name) for name in API_NEEDS):
        raise MissingExtra("the API needs FastAPI; install it with: pip install 'rwkv-rag[api]'")
    arguments = [*_arguments(here.settings), "--host", host, "--port", str(port)]
    arguments += ["--require-token"] if require_token else []
    arguments += [part for each in folder or () for part in ("--folder", str(each.absolute()))]
    process = [sys.executable, "-m", "rwkv_rag.api", *arguments]
    if os.name == "posix":  # in this process's place: no signal misses it and it outlives nothing
        os.execve(sys.executable, process, sharing_cores())
    raise typer.Exit(subprocess.run(process, env=sharing_cores(), check=False).returncode)


def _arguments(settings: Settings) -> list[str]:
    """The settings as arguments of either program. Raises NotFound where the model is missing."""
    if settings.model not in (BUILTIN, FAKE) and not Path(settings.model).exists():
        raise NotFound("no such model file: {model}", model=settings.model)
    arguments = ["--home", str(settings.home), "--lang", settings.language]
    arguments += ["--connect", settings.connect]  # empty as well: the choice is made here
    arguments += ["--model", settings.model] if settings.named else []
    arguments += ["--tuned", settings.tuned] if settings.tuned else []
    arguments += ["--key", str(settings.key)] if settings.key else []
    return arguments
