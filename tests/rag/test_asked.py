"""What questions ask for."""

from __future__ import annotations

import pytest

from rwkv_rag.rag.asked import asked_for, looks_asked


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("岛上有多少户人家？", "number"),
        ("灯塔是哪一年建成的？", "time"),
        ("灯塔是誰設計的？", "person"),
        ("总部位于哪里？", "place"),
        ("为什么停机？", "reason"),
        ("如何打开童锁？", "account"),
        ("额定电压？", "thing"),
        ("How many plots are there?", "number"),
        ("When was it built?", "time"),
        ("Who elects the committee?", "person"),
        ("In which city is it?", "place"),
        ("Why are bamboos forbidden?", "reason"),
        ("What is compost?", "thing"),
    ],
)
def test_a_question_asks_for_a_kind_of_thing(question: str, kind: str) -> None:
    assert asked_for(question) == kind


@pytest.mark.parametrize(
    ("kind", "text", "looks"),
    [
        ("number", "共23户", True),
        ("number", "很多户", False),
        ("time", "1875年建成", True),
        ("time", "in April", True),
        ("reason", "因电机过热", True),
        ("thing", "1875", False),
        ("person", "李明远", False),
    ],
)
def test_things_are_known_by_their_looks(kind: str, text: str, looks: bool) -> None:
    assert looks_asked(kind, text) is looks
