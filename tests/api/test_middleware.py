"""Who may use the server, how much it reads, and in which language it answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.api.middleware import accepted_language
from rwkv_rag.api.options import Options

from .serving import Served, fake, fault, running

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = Options(host="127.0.0.1", port=0, token=TOKEN, json_bytes=2000, upload_bytes=4000)
    with running(fake(tmp_path_factory.mktemp("gate") / "home"), options) as served:
        yield served


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", f"Basic {TOKEN}", "Bearer wrong", f"Bearer {TOKEN}x", "Bearer \xff"],
)
def test_without_the_token_requests_are_refused(guarded: Served, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    for path in ("/v1/models", "/api/knowledge", "/metrics", "/nothing"):
        answer = guarded.http.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert fault(answer)["type"] == "authentication_error"
        assert TOKEN not in answer.text


def test_with_the_token_everything_is_open(guarded: Served) -> None:
    headers = {"Authorization": f"bearer {TOKEN}", "Origin": "https://chat.example"}
    assert guarded.http.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json"])
def test_watchers_and_readers_need_no_token(guarded: Served, path: str) -> None:
    assert guarded.http.get(path).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8600", "10.0.0.1", "", "localhost.evil"]
)
def test_on_loopback_only_names_of_this_machine_count(shared: Served, host: str) -> None:
    answer = shared.http.get("/v1/models", headers={"Host": host})
    assert (answer.status_code, fault(answer)["code"]) == (403, "wrong_host")


@pytest.mark.parametrize(
    "host", ["localhost:8600", "LOCALHOST", "127.0.0.1", "[::1]:8600", "127.0.0.9"]
)
def test_names_of_this_machine_are_answered(shared: Served, host: str) -> None:
    assert shared.http.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_others_may_not_use_a_server_without_a_token(shared: Served, origin: str) -> None:
    body = b'{"name": "x"}'
    headers = {"Origin": origin, "Content-Type": "text/plain"}
    answer = shared.http.post("/api/knowledge", content=body, headers=headers)
    assert (answer.status_code, fault(answer)["code"]) == (403, "wrong_origin")
    assert "access-control-allow-origin" not in answer.headers
    own = {"Origin": shared.url}
    assert shared.http.get("/v1/models", headers=own).status_code == 200


def chunked(size: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(size // 100):
        yield b" " * 100


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_not_read(guarded: Served, announced: bool) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    content = b" " * 3000 if announced else chunked(3000)
    answer = guarded.http.post("/api/knowledge", content=content, headers=headers)
    assert (answer.status_code, fault(answer)["code"]) == (413, "too_large")


def test_an_upload_has_a_limit_of_its_own(guarded: Served) -> None:
    guarded.client.knowledge.create("docs")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for size, status in ((2500, 200), (5000, 413)):
        files = [("files", ("a.txt", b"a" * size))]
        answer = guarded.http.post("/api/knowledge/docs/files", files=files, headers=headers)
        assert answer.status_code == status, answer.text


def test_garbage_instead_of_a_request_leaves_the_server_alive(shared: Served) -> None:
    host, port = shared.url.removeprefix("http://").split(":")
    for garbage in (
        b"\0" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1 HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(garbage)
    assert httpx.get(f"{shared.url}/health", trust_env=False).status_code == 200


def test_no_open_address_without_a_token(tmp_path: Path) -> None:
    from rwkv_rag.errors import InputError

    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        with pytest.raises(InputError, match="without a token"):
            Options(host=host)
        with pytest.raises(InputError, match="too weak"):
            Options(host=host, token="1234")
        assert not Options(host=host, token=TOKEN).loopback
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert Options(host=host).loopback


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("zh", "zh"),
        ("zh-Hant-TW,zh;q=0.9", "zh"),
        ("fr, zh;q=0.2", "zh"),
        ("en;q=0.3,zh;q=0.4", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=nan, en;q=0.1", "en"),
        ("*", "en"),
    ],
)
def test_the_best_accepted_language_ours_counts(header: str, expected: str) -> None:
    assert accepted_language(header, "en") == expected


@given(st.text())
def test_no_header_is_too_odd(header: str) -> None:
    assert accepted_language(header, "zh") in ("zh", "en")
