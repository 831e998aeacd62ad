"""One engine serves all sessions: one caller at a time, and long jobs let others in between."""

from __future__ import annotations

import threading
from pathlib import Path

from rwkv_rag.ui import engine

from .conftest import engine as _engine  # noqa: F401  (skips this file without streamlit)


def test_every_session_gets_the_same_engine(shared: engine.Engine) -> None:
    assert engine.shared() is shared


def test_a_long_job_lets_others_work_between_its_steps(shared: engine.Engine) -> None:
    steps = shared.steps(lambda: iter(range(3)))
    assert next(steps) == 0
    with shared.turn():  # would wait for ever if the job kept the engine
        pass
    assert list(steps) == [1, 2]


def test_a_step_waits_for_its_turn(shared: engine.Engine) -> None:
    done = threading.Event()

    def work() -> None:
        next(shared.steps(lambda: iter([1])))
        done.set()

    with shared.turn():
        thread = threading.Thread(target=work)
        thread.start()
        assert not done.wait(0.1)
    thread.join(5)
    assert done.is_set()


def test_questions_are_answered_while_another_thread_indexes(
    shared: engine.Engine, base: str, tmp_path: Path
) -> None:
    paths = []
    for number in range(20):
        paths.append(tmp_path / f"{number}.txt")
        paths[-1].write_text(f"Plot {number} belongs to member {number}.\n" * 20)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in shared.steps(lambda: shared.library.index(base, paths)):
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    answers = 0
    while thread.is_alive():
        with shared.turn():
            answers += bool(shared.library.search(base, "annual fee"))
    thread.join()
    assert failures == [] and answers >= 10  # of about 40 steps, taken in turns
    assert len(shared.library.documents(base)) == 21
