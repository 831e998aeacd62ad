"""`doctor` finds what is broken, says what to do, and never breaks itself."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag import models
from rwkv_rag.diagnosis import data, extras

from .conftest import Cli, Ran, english_left

THE_MACHINE = {"memory", "disk", "temporary", "clock", "gpu"}
"""What a test cannot know of the machine it runs on."""

Doctor = Callable[..., Ran]


@pytest.fixture
def doctor(cli: Cli, tmp_path: Path) -> Doctor:
    """`rwkv-rag doctor` with ports of its own."""

    def run(*options: object) -> Ran:
        file = tmp_path / "ports.yml"
        if not file.exists():
            file.write_text(f"api: {{port: {free_port()}}}\nui: {{port: {free_port()}}}\n")
        return cli("doctor", "--config", file, *options)

    return run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def found(ran: Ran, state: str) -> dict[str, dict[str, Any]]:
    """The findings in this state by what was looked at, without those about the machine."""
    return {
        each["about"]: each
        for each in ran.json
        if each["state"] == state and each["about"] not in THE_MACHINE
    }


def damage(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "catalog.sqlite3")) as db, db:
        db.execute(statement)


def test_where_nothing_is_wrong_nothing_fails_and_nothing_is_made(
    doctor: Doctor, tmp_path: Path
) -> None:
    ran = doctor("--json")
    assert found(ran, "fail") == {} and ran.err == ""
    assert not (tmp_path / "home").exists()


def test_looking_at_an_empty_home_makes_nothing_there(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    assert found(doctor("--json"), "fail") == {}
    assert list((tmp_path / "home").iterdir()) == []


def test_every_line_has_its_state_and_the_last_one_counts_them(doctor: Doctor) -> None:
    ran = doctor()
    lines = ran.out.splitlines()
    states = [line.split()[0] for line in lines if line[0] != " "]
    *each, _ = states
    assert {*each} <= {"ok", "warn", "fail"}
    fine, look, mend = (each.count(state) for state in ("ok", "warn", "fail"))
    assert lines[-1] == f"{fine} fine, {look} to look at, {mend} to mend"


def test_a_base_whose_index_is_not_the_truth_is_to_be_rebuilt(
    indexed: Cli, doctor: Doctor, tmp_path: Path
) -> None:
    assert "2 documents" in found(doctor("--json"), "ok")["knowledge"]["said"]
    damage(tmp_path / "home", "DELETE FROM lexical_1")
    ran = doctor("--json")
    finding = found(ran, "fail")["knowledge"]
    assert ran.code == 1 and "missing from the lexical index" in finding["said"]
    assert finding["do"] == "rwkv-rag kb rebuild docs"
    assert indexed("kb", "rebuild", "docs").code == 0
    assert "knowledge" not in found(doctor("--json"), "fail")


def test_a_damaged_catalog_is_one_finding(indexed: Cli, doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "home" / "catalog.sqlite3").write_bytes(b"this was a catalog" * 1000)
    for log in (tmp_path / "home").glob("catalog.sqlite3-*"):
        log.unlink()
    ran = doctor("--json")
    assert ran.code == 1 and "catalog.sqlite3" in found(ran, "fail")["knowledge"]["said"]
    assert "broke" not in ran.out


def test_a_base_made_with_another_model_is_found(
    indexed: Cli, doctor: Doctor, tmp_path: Path
) -> None:
    damage(tmp_path / "home", "UPDATE bases SET model = 'bge-m3'")
    said = found(doctor("--json"), "fail")["knowledge"]["said"]
    assert "docs" in said and "bge-m3" in said


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("api: {port: 0}", "api.port"),
        ("lmm: {}", "lmm"),
        ("api: [", "line 1"),
        ("a\0b", "control character"),
    ],
)
def test_a_bad_ragq_yml_is_named_by_its_key(
    cli: Cli, tmp_path: Path, content: str, named: str
) -> None:
    file = tmp_path / "ragq.yml"
    file.write_text(content)
    ran = cli("doctor", "--config", file, "--json")
    assert ran.code == 1 and named in found(ran, "fail")["settings"]["said"]
    assert "python" in found(ran, "ok")  # what does not need the file is looked at


def test_a_home_that_is_a_file_is_found(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no directory")
    ran = doctor("--json")
    assert ran.code == 1 and "not a directory" in found(ran, "fail")["settings"]["said"]


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A directory that belongs to nobody, in which this process has no more rights than others."""
    with tempfile.TemporaryDirectory(prefix="rag-") as folder:
        yield from _as_nobody(Path(folder))


def _as_nobody(folder: Path) -> Iterator[Path]:
    root = os.geteuid() == 0
    folder.chmod(0o755)
    (folder / "home").mkdir()
    (folder / "home").chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield folder / "home"
    finally:
        if root:
            os.seteuid(0)
        (folder / "home").chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_home_that_cannot_be_written_is_found(cli: Cli) -> None:
    with unprivileged() as home:
        ran = cli("doctor", "--json", "--home", home)
    finding = found(ran, "fail")["data"]
    assert ran.code == 1 and "Permission denied" in finding["said"] and "chown" in finding["do"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_home_that_cannot_be_made_is_found(cli: Cli) -> None:
    with unprivileged() as home:
        ran = cli("doctor", "--json", "--home", home / "deep" / "er")
    assert ran.code == 1 and str(home) in found(ran, "fail")["data"]["said"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_home_that_strangers_can_read_is_worth_a_look(doctor: Doctor) -> None:
    with tempfile.TemporaryDirectory(prefix="rag-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        assert found(doctor("--json", "--home", folder), "warn")["data"]["do"].startswith("chmod")
        Path(folder).chmod(0o700)
        assert "data" not in found(doctor("--json", "--home", folder), "warn")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_keys_that_others_can_read_are_found(cli: Cli, doctor: Doctor, tmp_path: Path) -> None:
    assert cli("keys", "add", "laptop", "--out", tmp_path / "laptop.key").code == 0
    assert "readable by its owner only" in found(doctor("--json"), "ok")["keys"]["said"]
    server = tmp_path / "home" / "keys" / "server.key"
    server.chmod(0o644)
    ran = doctor("--json")
    assert ran.code == 1 and found(ran, "fail")["keys"]["do"] == f"chmod 600 {server}"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_keys_of_another_owner_are_found(cli: Cli, doctor: Doctor, tmp_path: Path) -> None:
    cli("keys", "add", "laptop", "--out", tmp_path / "laptop.key")
    os.chown(tmp_path / "home" / "keys" / "server.key", 65534, 65534)
    assert "belongs to user" in found(doctor("--json"), "fail")["keys"]["said"]


def test_a_used_port_is_named_with_its_program(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "ragq.yml"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file.write_text(f"ui: {{port: {port}}}\napi: {{port: {free_port()}}}\n")
        ran = cli("doctor", "--config", file, "--json")
    finding = found(ran, "fail")["ports"]
    assert ran.code == 1 and str(port) in finding["said"] and str(os.getpid()) in finding["said"]
    assert "ui.port" in finding["said"]


def test_a_missing_extra_comes_with_the_command_that_installs_it(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "_version", lambda name: "" if name == "peft" else "1.0")
    ran = doctor("--json")
    finding = found(ran, "warn")["[tune]"]
    assert finding["do"] == "pip install 'rwkv-rag[tune]'" and "peft" in finding["said"]
    assert "lightning" not in finding["said"] and found(ran, "fail") == {}


def test_without_torch_all_else_is_looked_at(
    indexed: Cli, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = doctor("--json")
    assert ran.code == 1 and "pip install" in found(ran, "fail")["torch"]["do"]
    assert "2 documents" in found(ran, "ok")["knowledge"]["said"]
    assert "broke" not in ran.out


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(
    indexed: Cli, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[Any]:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(data, "bases", broken)
    ran = doctor()
    assert ran.code == 1 and "RuntimeError: two lines" in ran.out and "Traceback" not in ran.err
    assert "to mend" in ran.out.splitlines()[-1]


def test_a_damaged_model_of_the_package_is_found(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "builtin"
    shutil.copytree(models.BUILTIN_MODEL, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1_000_000])
    monkeypatch.setattr(models, "BUILTIN_MODEL", folder)
    monkeypatch.setattr(models, "BUILTIN_WEIGHTS", weights)
    models._builtin.cache_clear()
    try:
        ran = doctor("--json", "--model", "builtin")
    finally:
        models._builtin.cache_clear()
    assert ran.code == 1 and "model.safetensors" in found(ran, "fail")["model"]["said"]


def test_the_model_of_the_package_computes(doctor: Doctor) -> None:
    assert "sha256" in found(doctor("--json", "--model", "builtin"), "ok")["model"]["said"]


def test_a_model_of_the_users_own_that_is_none_is_found(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(b"no model")
    ran = doctor("--json", "--model", tmp_path / "mine.pth")
    assert ran.code == 1 and "mine.pth" in found(ran, "fail")["model"]["said"]


def test_everything_is_said_in_chinese_too(indexed: Cli, doctor: Doctor, tmp_path: Path) -> None:
    damage(tmp_path / "home", "DELETE FROM lexical_1")
    for finding in doctor("--json", "--lang", "zh").json:
        said = finding["said"].replace(str(tmp_path), "")
        if finding["about"] != "python":  # names and numbers only
            assert english_left(said) == [], said
            assert any("\u4e00" <= char <= "\u9fff" for char in said), said
