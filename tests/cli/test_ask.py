"""`ask` and `search`: results on stdout, proof that holds, JSON that is nothing but JSON."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Cli


def test_an_answer_quotes_its_place(indexed: Cli, documents: Path) -> None:
    ran = indexed("ask", "What is the annual fee for a full plot?", "--kb", "docs")
    assert ran.code == 0
    quote = "The annual fee is 48 pounds for a full plot."
    start = (documents / "garden.txt").read_text(encoding="utf-8").index(quote)
    assert ran.out.splitlines()[0] == quote
    assert f"[1] garden.txt:{start}-{start + len(quote)}" in ran.out


def test_json_is_one_object_with_citations_that_check_out(indexed: Cli, documents: Path) -> None:
    ran = indexed("ask", "滤芯的使用寿命是多久？", "--kb", "docs", "--json")
    assert ran.code == 0 and ran.err == ""
    answer = ran.json
    assert {"answer", "refused", "citations", "hits", "timings"} <= set(answer)
    assert not answer["refused"] and "12 个月" in answer["answer"]
    for citation in answer["citations"]:
        text = (documents / citation["document"]).read_text(encoding="utf-8")
        assert text[citation["start"] : citation["end"]] == citation["quote"]
    assert {"chunk", "document", "score", "text"} <= set(answer["hits"][0])
    assert answer["timings"]["total"] > 0


def test_a_question_the_documents_do_not_answer_is_refused(indexed: Cli) -> None:
    answer = indexed("ask", "谁获得了世界杯冠军？", "--kb", "docs", "--json").json
    assert answer["refused"] and answer["citations"] == []


def test_the_free_mode_asks_the_model_to_write(indexed: Cli) -> None:
    ran = indexed("ask", "What is the annual fee?", "--kb", "docs", "--free", "--json")
    assert "generate" in ran.json["timings"]


def test_stand_ins_write_with_nothing_tuned(indexed: Cli) -> None:
    ran = indexed("ask", "What is the annual fee?", "--kb", "docs", "--tuned", "poet")
    assert ran.code == 2 and ran.out == ""
    assert ran.err.count("\n") == 1 and "'poet'" in ran.err


@pytest.mark.parametrize("question", ["", " \n\t", "长" * 100_000])
@pytest.mark.parametrize("command", ["ask", "search"])
def test_a_question_nobody_can_answer_is_one_line(
    indexed: Cli, command: str, question: str
) -> None:
    ran = indexed(command, question, "--kb", "docs")
    assert ran.code == 2 and ran.out == ""
    assert ran.err.count("\n") == 1 and len(ran.err) < 400


def test_search_prints_a_list_of_hits_best_first(indexed: Cli) -> None:
    hits = indexed("search", "annual fee plot", "--kb", "docs", "--top-k", "2", "--json").json
    assert isinstance(hits, list) and 1 <= len(hits) <= 2
    assert "48 pounds" in hits[0]["text"]
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


def test_search_shows_places(indexed: Cli) -> None:
    ran = indexed("search", "annual fee", "--kb", "docs")
    assert "[1] garden.txt:" in ran.out


@pytest.mark.parametrize("command", ["ask", "search"])
def test_nonsense_for_top_k_is_refused(indexed: Cli, command: str) -> None:
    ran = indexed(command, "fee", "--kb", "docs", "--top-k", "0")
    assert ran.code == 2


def test_a_question_may_look_like_an_option(indexed: Cli) -> None:
    assert indexed("ask", "--kb", "docs", "--json", "--", "--help me").code == 0


def test_a_model_that_no_service_has_is_loaded_here_and_the_user_is_told(indexed: Cli) -> None:
    """Without services nobody else could have it, and there is nothing to tell."""
    mine = Path("mine.pth").absolute()
    told = f"the running services do not have the model {mine}; it is loaded here"
    ran = indexed("ask", "annual fee", "--kb", "docs", "--model", "mine.pth")
    assert ran.code == 2 and ran.err.endswith(f"error: no such model file: {mine}\n")
    assert (told in ran.err) == ("RWKV_RAG_CONNECT" in os.environ)
    assert told not in indexed("tune", "list", "--json").err


def test_off_uses_no_service_and_an_address_that_is_none_is_one_line(indexed: Cli) -> None:
    found = indexed("search", "annual fee", "--kb", "docs", "--connect", "off", "--json")
    assert found.json[0]["document"] == "garden.txt"
    for wrong in ("localhost", "http://127.0.0.1:8600", "tcp://192.0.2.1:7781"):
        ran = indexed("search", "fee", "--kb", "docs", "--connect", wrong)
        assert ran.code == 2 and ran.err.count("\n") == 1 and wrong in ran.err
