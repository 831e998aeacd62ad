"""The demonstration runs, proves what it says, and fails when a citation does not hold."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rwkv_rag.cli import demo
from rwkv_rag.rag.pipeline import Pipeline
from rwkv_rag.types import Answer

from .conftest import Cli


def test_the_demonstration_runs_and_its_citations_check_out(cli: Cli, tmp_path: Path) -> None:
    ran = cli("demo")
    assert ran.code == 0, ran.out + ran.err
    assert all(question in ran.out for question in demo.QUESTIONS)
    [verdict] = re.findall(
        r"(\d+) answered, (\d+) refused; (\d+) of (\d+) citations check out", ran.out
    )
    answered, refused, good, cited = map(int, verdict)
    assert answered + refused == len(demo.QUESTIONS)
    assert answered >= 1 and refused >= 1 and good == cited >= answered
    assert not (tmp_path / "home").exists()  # it works in a home of its own


def test_the_demonstration_fails_when_a_quote_is_not_in_its_document(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Pipeline.answer

    def shifted(self: Pipeline, *arguments: object, **options: object) -> object:
        for event in answered(self, *arguments, **options):  # type: ignore[arg-type]
            if isinstance(event, Answer):
                moved = tuple(replace(each, start=each.start + 1) for each in event.citations)
                event = replace(event, citations=moved)
            yield event

    monkeypatch.setattr(Pipeline, "answer", shifted)
    assert cli("demo").code == 1


def test_the_documents_are_of_three_kinds_and_two_languages(cli: Cli, tmp_path: Path) -> None:
    assert cli("demo", "--home", tmp_path / "kept").code == 0
    shown = cli("kb", "show", "demo", "--json", "--home", tmp_path / "kept").json
    kinds = {document["media_type"] for document in shown["documents"]}
    assert "application/pdf" in kinds and len(kinds) == 3
    assert len(shown["documents"]) == len(list(demo.DOCUMENTS.iterdir()))


def test_every_follow_up_follows_a_question() -> None:
    assert set(demo.QUESTIONS) > demo.FOLLOW_UPS
    assert demo.QUESTIONS[0] not in demo.FOLLOW_UPS
