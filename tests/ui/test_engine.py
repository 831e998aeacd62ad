"""One engine serves all sessions: one caller at a time, and long jobs let others in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rwkv_rag.errors import InputError
from rwkv_rag.types import GREEDY, Delta
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


class Slow:
    """A generator whose every delta waits until it is told to come."""

    name = "slow"

    def __init__(self) -> None:
        self.asked, self.come = threading.Event(), threading.Event()

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(self, prompt: str, **_: object) -> Iterator[Delta]:
        for number in range(2):
            self.asked.set()
            assert self.come.wait(5)
            yield Delta(str(number))
        raise InputError("it broke")


def test_while_an_answer_waits_for_its_text_others_have_the_engine(shared: engine.Engine) -> None:
    slow = Slow()
    lent = engine.Lent(slow, shared.lock)
    assert lent.name == "slow" and lent.count_tokens("abc") == 3
    came: list[str] = []

    def work() -> None:
        deltas = shared.steps(lambda: lent.generate("", sampling=GREEDY, max_tokens=9))
        with pytest.raises(InputError, match="it broke"):
            for delta in deltas:
                came.append(delta.text)
        came.append("end")

    thread = threading.Thread(target=work)
    thread.start()
    assert slow.asked.wait(5)
    with shared.turn():  # would wait for ever if the answer kept the engine
        assert came == []
    slow.come.set()
    thread.join(5)
    assert came == ["0", "1", "end"]
    with shared.turn():  # and what broke gave it back
        pass


def test_an_abandoned_answer_keeps_nothing(shared: engine.Engine) -> None:
    slow = Slow()
    slow.come.set()
    lent = engine.Lent(slow, shared.lock)
    deltas = shared.steps(lambda: lent.generate("", sampling=GREEDY, max_tokens=9))
    assert next(deltas).text == "0"
    deltas.close()
    with shared.turn():
        pass


def test_nothing_tuned_goes_with_the_stand_ins(shared: engine.Engine) -> None:
    with pytest.raises(InputError, match="stand-ins"):
        shared.pipeline(tuned="poet")
