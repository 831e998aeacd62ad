"""All sessions share one client; a chat goes on while another session indexes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rwkv_rag import app
from rwkv_rag.errors import InputError
from rwkv_rag.ui import backend

from .conftest import backend as _backend  # noqa: F401  (skips this file without streamlit)


def test_every_session_gets_the_same_client(client: app.Client) -> None:
    assert backend.client() is client


def test_questions_are_answered_while_another_thread_indexes(
    client: app.Client, base: str, tmp_path: Path
) -> None:
    paths = []
    for number in range(20):
        paths.append(tmp_path / f"{number}.txt")
        paths[-1].write_text(f"Plot {number} belongs to member {number}.\n" * 20)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in client.knowledge.index(base, paths):
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    answers = 0
    while thread.is_alive():
        answers += bool(client.knowledge.search(base, "annual fee"))
    thread.join()
    assert failures == [] and answers >= 10  # of about 40 steps, taken in turns
    assert len(client.knowledge.documents(base)) == 21


def test_nothing_tuned_goes_with_the_stand_ins(client: app.Client) -> None:
    with pytest.raises(InputError, match="stand-ins"):
        client.pipeline(client.writer(tuned="poet"))


def test_pages_that_are_connected_load_no_model_and_no_torch(tmp_path: Path) -> None:
    """A process with services to ask opens every page and stays small."""
    program = """
import sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
from rwkv_rag import app
from rwkv_rag.client import Client
from rwkv_rag.bus.local import Local
from rwkv_rag.config import Settings
from rwkv_rag.types import Writer
from rwkv_rag.ui import backend

VALUES = {"bases": [], "jobs": [], "tuned": [], "name": "builtin", "status": []}
BUILTIN = Writer("builtin", "builtin")

def far(incoming):  # what a service elsewhere would say
    if incoming.method in ("writer", "writers"):
        return BUILTIN if incoming.method == "writer" else [BUILTIN]
    return VALUES[incoming.method]

settings = Settings(home=Path(sys.argv[1]), named=False)
transport = Local(far)
connected = Client(llm=transport, index=transport, tuning=transport, connected=True)
app.open_client = lambda _: connected
backend.configure(settings)
for page in ("chat", "knowledge", "tuning", "services"):
    script = f"from rwkv_rag.ui import {page}; {page}.page()"
    drawn = AppTest.from_string(script, default_timeout=20).run()
    assert not drawn.exception and not drawn.error, page
print(*sorted({"torch", "numba", "chromadb", "safetensors"} & set(sys.modules)))
"""
    run = [sys.executable, "-c", program, str(tmp_path)]
    ran = subprocess.run(run, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == ""
