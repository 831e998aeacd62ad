"""Knowledge bases and documents over REST: their whole life, and what is wrong with a request."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from rwkv_rag.api.options import Options

from ..serving import FEE, GARDEN, MANUAL, Served, fake, fault, running

KB = "/api/knowledge"


def test_a_base_is_made_filled_searched_checked_and_deleted(alone: Served) -> None:
    http = alone.http
    made = http.post(KB, json={"name": "手册", "chunk_size": 120, "overlap": 20})
    assert (made.status_code, made.json()["chunk_overlap"]) == (201, 20)
    assert http.post(KB, json={"name": "手册"}).status_code == 409
    texts = {"documents": [{"name": "garden.txt", "text": GARDEN}]}
    added = http.post(f"{KB}/手册/documents", json=texts).json()
    assert added["indexed"] == 1 and added["documents"][0]["document"] == "garden.txt"
    assert http.post(f"{KB}/手册/documents", json=texts).json()["unchanged"] == 1
    shown = http.get(f"{KB}/手册").json()
    assert shown["documents"] == 1 and shown["contents"][0]["characters"] == len(GARDEN)
    (listed,) = http.get(KB).json()
    assert listed["chunks"] == shown["chunks"] > 0
    for stage in ("lexical", "dense", "fused", "reranked"):
        body = {"query": "annual fee", "top_k": 2, "stage": stage}
        hits = http.post(f"{KB}/手册/search", json=body).json()["hits"]
        assert any("48 pounds" in hit["text"] for hit in hits), stage
        assert all(GARDEN[hit["start"] : hit["end"]] == hit["text"] for hit in hits)
    assert http.post(f"{KB}/手册/verify").json() == {"problems": []}
    assert http.post(f"{KB}/手册/rebuild").json()["documents"] == 1
    assert http.get(f"{KB}/手册/documents/garden.txt").json()["text"] == GARDEN
    assert http.delete(f"{KB}/手册/documents/garden.txt").status_code == 204
    assert http.get(f"{KB}/手册/documents").json() == []
    assert http.delete(f"{KB}/手册").status_code == 204
    assert http.get(f"{KB}/手册").status_code == 404


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_uploads_are_indexed_under_cleaned_names_and_leave_nothing_behind(
    alone: Served, temporary: Path
) -> None:
    alone.client.knowledge.create("docs")
    files = [
        ("files", ("../../etc/garden.txt", GARDEN.encode())),
        ("files", ("C:\\文档\\手册.md", MANUAL.encode("gb18030"))),
        ("files", ("x" * 400 + "长" * 300 + ".txt", b"A long name.")),
        ("files", ("empty.txt", b"")),
        ("files", ("picture.png", b"\x89PNG")),
    ]
    outcome = alone.http.post(f"{KB}/docs/files", files=files).json()
    assert (outcome["indexed"], outcome["skipped"]) == (3, 2)
    reasons = {each["document"]: each["reason"] for each in outcome["documents"]}
    assert "is empty" in reasons["empty.txt"]
    assert "png cannot be read" in reasons["picture.png"]
    names = [info.name for info in alone.client.knowledge.documents("docs")]
    assert {"garden.txt", "手册.md"} < set(names)
    assert alone.client.knowledge.document("docs", "手册.md").text == MANUAL
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
def test_progress_is_told_document_by_document(alone: Served, accept: str) -> None:
    alone.client.knowledge.create("docs")
    files = [("files", (f"{n}.txt", f"{GARDEN}{n}".encode())) for n in range(3)]
    headers = {"Accept": accept}
    with alone.http.stream(
        "POST", f"{KB}/docs/files", params={"stream": True}, files=files, headers=headers
    ) as answer:
        assert answer.headers["content-type"].startswith(accept)
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    *progress, last = map(json.loads, lines)
    assert {event["type"] for event in progress} == {"progress"}
    assert [e["done"] for e in progress] == sorted(e["done"] for e in progress)
    assert (last["type"], last["indexed"], len(last["documents"])) == ("done", 3, 3)


def test_an_upload_into_no_base_is_not_found_and_leaves_nothing_behind(
    alone: Served, temporary: Path
) -> None:
    answer = alone.http.post(f"{KB}/nowhere/files", files=[("files", ("a.txt", b"a"))])
    assert answer.status_code == 404
    assert list(temporary.iterdir()) == []


def test_too_many_files_are_refused(shared: Served) -> None:
    files = [("files", (f"{n}.txt", b"a")) for n in range(101)]
    answer = shared.http.post(f"{KB}/docs/files", files=files)
    assert (answer.status_code, fault(answer)["code"]) == (413, "too_large")


def test_paths_of_the_server_are_closed_but_for_the_folders_opened(tmp_path: Path) -> None:
    opened, secret = tmp_path / "open", tmp_path / "secret.txt"
    opened.mkdir()
    (opened / "garden.txt").write_text(GARDEN)
    secret.write_text("secret")
    (opened / "link.txt").symlink_to(secret)
    options = Options(port=0, folders=(opened,))
    with running(fake(tmp_path / "home"), options) as served:
        served.client.knowledge.create("docs")

        def add(*paths: object) -> httpx.Response:
            body = {"paths": [str(path) for path in paths]}
            return served.http.post(f"{KB}/docs/paths", json=body)

        assert add(opened / "garden.txt").json()["indexed"] == 1
        assert add(opened).json()["unchanged"] >= 1
        for bad in (
            secret,
            opened / ".." / "secret.txt",
            opened / "link.txt",
            "/",
            "\0",
            "a" * 500,
        ):
            refused = add(bad)
            assert (refused.status_code, fault(refused)["code"]) == (403, "paths_not_allowed")
        assert add(opened / "none.txt").status_code == 404


def test_without_open_folders_no_path_may_be_named(shared: Served) -> None:
    answer = shared.http.post(f"{KB}/docs/paths", json={"paths": ["/etc/hostname"]})
    assert answer.status_code == 403
    assert fault(answer)["param"] == "paths[0]"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("", {"name": "a/b"}, None),
        ("", {"name": ""}, "name"),
        ("", {"name": "a", "chunk_size": 1}, None),
        ("", {"name": "a", "chunk_size": 10**30}, None),
        ("", {"name": "a", "chunksize": 100}, "chunksize"),
        ("", {"name": "\ud800"}, None),
        ("", [], ""),
        ("/docs/documents", {"documents": []}, "documents"),
        ("/docs/documents", {"documents": [{"name": "\n", "text": "a"}]}, "documents[0].name"),
        ("/docs/documents", {"documents": [{"name": "a"}]}, "documents[0].text"),
        ("/docs/search", {"query": ""}, None),
        ("/docs/search", {"query": "a", "top_k": 1000}, "top_k"),
        ("/docs/search", {"query": "a", "stage": "best"}, "stage"),
        ("/docs/ask", {"question": " "}, None),
        ("/docs/ask", {"question": "x" * 9000}, None),
        ("/docs/ask", {"question": "a", "mode": "loose"}, "mode"),
        ("/docs/ask", {"question": "a", "model": "fake@docs"}, "model"),
    ],
)
def test_a_wrong_request_is_a_400_that_names_the_field(
    shared: Served, path: str, body: Any, param: str | None
) -> None:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    answer = shared.http.post(f"{KB}{path}", content=content, headers=headers)
    assert answer.status_code == 400, answer.text
    assert fault(answer)["param"] == (param or None)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[" * 100_000, b"1" * 5000, b'{"name": NaN}', b"\xff\xfe"]
)
def test_what_is_hardly_json_is_a_400(shared: Served, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shared.http.post(KB, content=content, headers=headers)
    assert answer.status_code == 400
    assert fault(answer)["message"]


def test_lone_surrogates_in_texts_become_a_mark(alone: Served) -> None:
    alone.client.knowledge.create("docs")
    content = b'{"documents": [{"name": "a\\ud800.txt", "text": "fee \\ud800 48"}]}'
    headers = {"Content-Type": "application/json"}
    outcome = alone.http.post(f"{KB}/docs/documents", content=content, headers=headers).json()
    assert outcome["indexed"] == 1
    assert alone.client.knowledge.document("docs", "a?.txt").text == "fee ? 48"


def test_an_answer_has_everything_that_is_known_of_it(shared: Served) -> None:
    body = {
        "question": "And the annual fee?",
        "history": [{"question": "When does the garden open?", "answer": "At six."}],
    }
    answer = shared.http.post(f"{KB}/docs/ask", json=body).json()
    assert answer["answer"] == FEE and answer["refused"] is False
    (citation,) = answer["citations"]
    assert GARDEN[citation["start"] : citation["end"]] == citation["quote"]
    assert answer["hits"] and answer["timings"]["total"] > 0
    assert "fee" in answer["query"]


def test_a_streamed_answer_ends_with_the_whole_of_it(shared: Served) -> None:
    body = {"question": "What is the annual fee?", "mode": "free", "stream": True}
    with shared.http.stream("POST", f"{KB}/docs/ask", json=body) as answer:
        *deltas, last = [json.loads(line) for line in answer.iter_lines()]
    assert "".join(delta["text"] for delta in deltas).strip() == last["answer"]
    assert len(deltas) > 3 and last["type"] == "answer"


def test_errors_speak_the_language_of_the_caller(shared: Served) -> None:
    for header, expected in [
        ("zh-CN,zh;q=0.9", "没有知识库"),
        ("en;q=0.9, zh;q=0.1", "there is no"),
    ]:
        answer = shared.http.get(f"{KB}/nowhere", headers={"Accept-Language": header})
        assert expected in fault(answer)["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_reasons_within_an_answer_speak_the_language_of_the_caller(
    alone: Served, stream: bool
) -> None:
    """They are translated in the thread that takes the steps."""
    alone.client.knowledge.create("docs")
    answer = alone.http.post(
        f"{KB}/docs/files",
        params={"stream": stream},
        files=[("files", ("empty.txt", b""))],
        headers={"Accept-Language": "zh"},
    )
    (document,) = json.loads(answer.text.splitlines()[-1])["documents"]
    assert "是空文件" in document["reason"]


def test_a_mistake_is_told_in_the_language_of_the_caller_and_hides_what_happened(
    alone: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bases() -> None:
        raise KeyError("secret")

    monkeypatch.setattr(alone.client.knowledge, "bases", bases, raising=False)
    for language, expected in (("zh", "程序内部错误"), ("en", "a mistake in the program")):
        headers = {"Accept-Language": language}
        answer = httpx.get(alone.url + KB, headers=headers, trust_env=False)
        assert (answer.status_code, fault(answer)["code"]) == (500, "internal")
        assert expected in fault(answer)["message"]
        assert "secret" not in answer.text
    assert "secret" in caplog.text
