"""Monitoring: alive, ready, figures; and the page that describes the API."""

from __future__ import annotations

import re
import threading

import pytest

from rwkv_rag.api import monitoring
from rwkv_rag.errors import Unreachable

from .serving import Served, fault


def test_ready_says_which_service_does_not_answer_and_why(
    alone: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert alone.http.get("/ready").json()["services"] == dict.fromkeys(
        ("llm", "index", "tuning"), "ok"
    )

    class Gone:
        def bases(self) -> list[object]:
            raise Unreachable("nobody answers at ipc:///index; start it with `rwkv-rag up`")

    monkeypatch.setattr(alone.client, "knowledge", Gone())
    monkeypatch.setattr(monitoring, "READY_CACHED_S", 0.0)
    answer = alone.http.get("/ready")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    body = answer.json()
    assert body["ready"] is False and body["services"]["llm"] == "ok"
    assert "nobody answers" in body["services"]["index"]
    assert alone.http.get("/health").json() == {"status": "ok"}


def test_a_service_that_hangs_is_asked_once_and_not_waited_for(
    alone: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = [], threading.Event()

    class Hanging:
        def bases(self) -> list[object]:
            asked.append(1)
            go_on.wait(20)
            return []

    monkeypatch.setattr(alone.client, "knowledge", Hanging())
    monkeypatch.setattr(monitoring, "READY_CACHED_S", 0.0)
    monkeypatch.setattr(monitoring, "READY_TIMEOUT_S", 0.1)
    try:
        for _ in range(3):
            answer = alone.http.get("/ready", headers={"Accept-Language": "zh"})
            assert answer.json()["services"]["index"] == "还没有回应"
        assert len(asked) == 1
    finally:
        go_on.set()


def test_figures_name_routes_and_never_addresses(alone: Served) -> None:
    alone.http.get("/api/knowledge/secret-name")
    alone.http.get("/nothing/at/all")
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello there"}]}
    usage = alone.http.post("/v1/chat/completions", json=body).json()["usage"]
    figures = alone.http.get("/metrics").text
    assert 'method="GET",route="/api/knowledge/{kb}",status="404"} 1.0' in figures
    assert 'route="none",status="404"} 1.0' in figures
    assert 'rwkv_rag_request_seconds_count{route="/v1/chat/completions"} 1.0' in figures
    assert "secret-name" not in figures and "nothing" not in figures
    for kind in ("prompt", "completion"):
        assert f'rwkv_rag_tokens_total{{kind="{kind}"}} {usage[f"{kind}_tokens"]}.0' in figures


def test_the_page_needs_neither_scripts_nor_the_network(shared: Served) -> None:
    page = shared.http.get("/", follow_redirects=True)
    assert page.status_code == 200 and page.url.path == "/docs"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"<script|src=|https?://", page.text)
    for text in ("/v1/chat/completions", "Upload files", "default@handbook"):
        assert text in page.text


def test_the_description_covers_every_address(shared: Served) -> None:
    document = shared.http.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"] and operation["description"], (method, path)
            assert operation["tags"], path
            assert "default" in operation["responses"] and "422" not in operation["responses"]


def test_unknown_addresses_and_methods_are_errors_in_the_same_shape(shared: Served) -> None:
    for method, path, status in (
        ("GET", "/x", 404),
        ("PATCH", "/v1/models", 405),
        ("GET", "/v1", 404),
    ):
        answer = shared.http.request(method, path)
        assert answer.status_code == status
        assert fault(answer)["message"]
    body = shared.http.post(
        "/v1/embeddings", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert fault(body)["message"] == "the body is not JSON"
    assert fault(shared.http.post("/v1/embeddings"))["message"] == "the body is missing"
