"""All sessions share one set of parts; a chat goes on while another session indexes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rwkv_rag import app
from rwkv_rag.errors import InputError
from rwkv_rag.ui import parts

from .conftest import parts as _parts  # noqa: F401  (skips this file without streamlit)


def test_every_session_gets_the_same_parts(shared: app.Parts) -> None:
    assert parts.shared() is shared


def test_questions_are_answered_while_another_thread_indexes(
    shared: app.Parts, base: str, tmp_path: Path
) -> None:
    paths = []
    for number in range(20):
        paths.append(tmp_path / f"{number}.txt")
        paths[-1].write_text(f"Plot {number} belongs to member {number}.\n" * 20)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in shared.knowledge.index(base, paths):
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    answers = 0
    while thread.is_alive():
        answers += bool(shared.knowledge.search(base, "annual fee"))
    thread.join()
    assert failures == [] and answers >= 10  # of about 40 steps, taken in turns
    assert len(shared.knowledge.documents(base)) == 21


def test_nothing_tuned_goes_with_the_stand_ins(shared: app.Parts) -> None:
    with pytest.raises(InputError, match="stand-ins"):
        shared.pipeline(tuned="poet")
