"""`keys`: made once, given to others by name, taken away again; secrets stay secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rwkv_rag.bus.security import PeerSecurity, RouterSecurity
from rwkv_rag.errors import InputError

from .conftest import Cli, english_left

POSIX = pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_key_of_the_services_is_made_once(cli: Cli) -> None:
    first = cli("keys", "--json").json
    assert len(first["public_key"]) == 40 and first["allowed"] == []
    assert cli("keys", "show", "--json").json == first
    assert first["public_key"] in cli("keys").out


def test_a_key_lets_its_owner_in_until_it_is_removed(cli: Cli, here: Path) -> None:
    made = cli("keys", "add", "laptop", "--json").json
    peer, router = PeerSecurity.load(here / made["file"]), RouterSecurity.load(here / "home")
    assert peer.server == router.public and peer.public.decode() == made["public_key"]
    assert router.allows(peer.public)
    [allowed] = cli("keys", "--json").json["allowed"]
    assert allowed == {"name": "laptop", "public_key": made["public_key"]}
    assert "laptop" in cli("keys").out
    assert "laptop" in cli("keys", "remove", "laptop").out
    assert not router.allows(peer.public)
    assert cli("keys", "--json").json["allowed"] == []


def test_no_secret_is_shown(cli: Cli, here: Path) -> None:
    cli("keys", "add", "laptop")
    peer, router = PeerSecurity.load(here / "laptop.key"), RouterSecurity.load(here / "home")
    said = "".join(cli("keys", *more).out for more in ((), ("--json",)))
    for secret in (peer.secret, router.secret):
        assert secret.decode() not in said + repr(peer) + repr(router)


@POSIX
def test_secrets_are_for_their_owner_alone(cli: Cli, here: Path) -> None:
    previous = os.umask(0)
    try:
        cli("keys", "add", "laptop")
    finally:
        os.umask(previous)
    for file in (here / "laptop.key", here / "home" / "keys" / "server.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((here / "home" / "keys").stat().st_mode) == 0o700


@POSIX
def test_a_secret_that_others_can_read_is_not_used(cli: Cli, here: Path) -> None:
    cli("keys", "add", "laptop")
    for file in (here / "laptop.key", here / "home" / "keys" / "server.key"):
        file.chmod(0o640)
    with pytest.raises(InputError, match=r"chmod 600 .*laptop\.key"):
        PeerSecurity.load(here / "laptop.key")
    ran = cli("keys")
    assert ran.code == 2 and "chmod 600" in ran.err and ran.out == ""


def test_no_file_is_written_over(cli: Cli, here: Path) -> None:
    (here / "mine.txt").write_text("precious")
    ran = cli("keys", "add", "laptop", "--out", "mine.txt")
    assert ran.code == 2 and "--out" in ran.err and (here / "mine.txt").read_text() == "precious"
    assert cli("keys", "--json").json["allowed"] == []


def test_a_damaged_public_key_shuts_out_nobody_else(cli: Cli, here: Path) -> None:
    cli("keys", "add", "laptop")
    (here / "home" / "keys" / "allowed" / "broken.key").write_bytes(b"\xff\0")
    (here / "home" / "keys" / "allowed" / "folder.key").mkdir()
    peer, router = PeerSecurity.load(here / "laptop.key"), RouterSecurity.load(here / "home")
    assert router.allows(peer.public) and not router.allows(b"")
    assert [each["name"] for each in cli("keys", "--json").json["allowed"]] == ["laptop"]


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"public-key = ", b'curve\n public-key = "short"\n']
)
def test_a_file_that_is_no_key_is_named(here: Path, content: bytes) -> None:
    file = here / "some.key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(InputError, match=r"some\.key holds no key"):
        PeerSecurity.load(file)


def test_the_servers_own_key_is_not_for_connecting(cli: Cli, here: Path) -> None:
    cli("keys")
    with pytest.raises(InputError, match="key of no peer"):
        PeerSecurity.load(here / "home" / "keys" / "server.key")


def test_without_keys_a_router_says_how_they_are_made(here: Path) -> None:
    with pytest.raises(InputError, match="rwkv-rag keys"):
        RouterSecurity.load(here / "home")


def wrong(here: Path) -> list[tuple[object, ...]]:
    file = here / "file"
    file.write_text("x")
    return [
        ("add", "laptop"),
        ("add", "../laptop"),
        ("add", ".hidden"),
        ("add", ""),
        ("add", "x" * 65),
        ("add", "a b"),
        ("add", "other", "--out", file),
        ("add", "other", "--out", file / "x"),
        ("add", "other", "--out", here / "no" / "where"),
        ("add", "other", "--out", here),
        ("add", "other", "--home", file),
        ("add",),
        ("add", "other", "more"),
        ("remove", "nobody"),
        ("remove", "../../file"),
        ("remove", "x" * 10_000),
        ("remove", "other", "--home", here / "empty"),
        ("frobnicate",),
        ("--jsn",),
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_wrong_input_of_every_kind_gives_one_line(cli: Cli, here: Path, language: str) -> None:
    cli("keys", "add", "laptop")
    for arguments in wrong(here):
        ran = cli("keys", *arguments, "--lang", language)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), (arguments, ran)
        if language == "zh":
            assert english_left(ran.err.removeprefix("错误")) == [], ran.err
    assert [each["name"] for each in cli("keys", "--json").json["allowed"]] == ["laptop"]
