"""Embeddings with OpenAI's client, rerank in the shape of Jina and Cohere."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import openai
import pytest

from ..serving import FEE, Served, fault


def test_vectors_are_the_embedders_own_in_either_encoding(shared: Served) -> None:
    texts = ["annual fee", "年假"]
    wanted = shared.client.embedder.embed_documents(texts)
    with openai.OpenAI(base_url=f"{shared.url}/v1", api_key="none", max_retries=0) as client:
        for encoding in ("float", "base64"):
            made = client.embeddings.create(
                model="hash-256",
                input=texts,
                encoding_format=encoding,  # type: ignore[arg-type]
            )
            rows: list[Any] = [each.embedding for each in made.data]
            if isinstance(rows[0], str):
                rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
            np.testing.assert_allclose(np.array(rows), wanted, atol=1e-7)
            count = shared.client.generator().count_tokens
            assert made.usage.prompt_tokens == sum(map(count, texts))


def test_queries_have_vectors_of_their_own(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def embed(texts: list[str]) -> Any:
        asked.append(list(texts))
        return np.ones((1, 256), np.float32)

    monkeypatch.setattr(shared.client.embedder, "embed_queries", embed, raising=False)
    body = {"model": "default", "input": "fee", "input_type": "query", "dimensions": 256}
    answer = shared.http.post("/v1/embeddings", json=body)
    assert answer.json()["data"][0]["embedding"] == [1.0] * 256
    assert asked == [["fee"]]


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "text-embedding-3-small"}, 404, "model"),
        ({"dimensions": 8}, 400, "dimensions"),
        ({"input": []}, 400, "input"),
        ({"input": ""}, 400, "input[0]"),
        ({"input": ["a", "  "]}, 400, "input[1]"),
        ({"input": [1, 2]}, 400, "input"),
        ({"input": [[1], [2]]}, 400, "input"),
        ({"input": ["x"] * 2049}, 400, "input"),
        ({"input": "x" * 100_001}, 400, "input[0]"),
        ({"input": None}, 400, "input"),
        ({"input": {"a": 1}}, 400, "input"),
        ({"encoding_format": "hex"}, 400, "encoding_format"),
    ],
)
def test_what_cannot_become_vectors_is_refused_by_name(
    shared: Served, change: dict[str, Any], status: int, param: str
) -> None:
    body = {"model": "default", "input": "a", **change}
    answer = shared.http.post("/v1/embeddings", json=body)
    assert (answer.status_code, fault(answer)["param"]) == (status, param)


def test_documents_come_back_in_the_order_of_their_scores(shared: Served) -> None:
    documents = ["Dogs bark.", {"text": FEE}, "A fee is a fee."]
    body = {"query": "annual fee", "documents": documents, "return_documents": True, "top_n": 2}
    ranking = shared.http.post("/v1/rerank", json=body).json()
    assert [each["index"] for each in ranking["results"]] == [1, 2]
    scores = [each["relevance_score"] for each in ranking["results"]]
    assert scores == sorted(scores, reverse=True) and 0 <= scores[1] < scores[0] <= 1
    assert ranking["results"][0]["document"] == {"text": FEE}
    assert ranking["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    "change",
    [
        {"documents": []},
        {"documents": ["a", " "]},
        {"documents": [{"title": "a"}]},
        {"documents": [3]},
        {"query": " "},
        {"top_n": 0},
        {"model": "cohere"},
    ],
)
def test_what_cannot_be_ranked_is_refused(shared: Served, change: dict[str, Any]) -> None:
    body = {"query": "fee", "documents": ["a"], **change}
    answer = shared.http.post("/v1/rerank", json=body)
    assert answer.status_code in (400, 404)
    assert fault(answer)["message"]
