"""Commands run in this process, with the stand-ins for models, in a home of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag.cli.main import run
from rwkv_rag.config import Settings
from rwkv_rag.i18n import in_language

from ..running import services

GARDEN = (
    "The garden opens at six in the morning.\n\n"
    "The annual fee is 48 pounds for a full plot.\n\nDogs must be kept on a lead.\n"
)
MANUAL = "# 手册\n\n## 保养\n\n滤芯的使用寿命约为 12 个月。\n\n## 售后\n\n整机保修期为 2 年。\n"


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Ran]

QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|rwkv-rag [a-z -]+--help")
ENGLISH = re.compile(r"[A-Za-z]{2,}(?:[ ,;:()]+[A-Za-z]{1,}){2,}")


def english_left(said: str) -> list[str]:
    """Three or more English words in a row that are no quoted value: a hole in a translation."""
    return ENGLISH.findall(QUOTED.sub("", said))


BOTH_WAYS = ("test_ask", "test_bases", "test_index", "test_tune", "test_tune_data")
"""Whose commands do the same with services that run as without."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    module = metafunc.module.__name__.rpartition(".")[2]
    if "cli" in metafunc.fixturenames and module in BOTH_WAYS:
        metafunc.parametrize("cli", ["here", "services"], indirect=True)


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Commands set the language of the context they run in; the next test begins in English."""
    with in_language("en"):
        yield


@pytest.fixture
def cli(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Cli]:
    """Runs a command as `rwkv-rag` would, with stand-ins instead of models.

    With "services" as its parameter, services run on the home and the commands find them.
    """
    for name in ("LC_ALL", "LC_MESSAGES", "RWKV_RAG_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("RWKV_RAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RWKV_RAG_MODEL", "fake")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    if getattr(request, "param", "here") == "here":
        yield call
        return
    with services(Settings(home=tmp_path / "home", model="fake")) as fronts:
        monkeypatch.setenv("RWKV_RAG_CONNECT", fronts["index"])
        yield call


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A directory with an English and a Chinese document."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "garden.txt").write_text(GARDEN, encoding="utf-8")
    (folder / "手册.md").write_text(MANUAL, encoding="utf-8")
    return folder


@pytest.fixture
def indexed(cli: Cli, documents: Path) -> Cli:
    """The commands, with both documents in the base "docs"."""
    ran = cli("index", documents, "--kb", "docs", "--chunk-size", "60", "--chunk-overlap", "0")
    assert ran.code == 0, ran.err
    return cli
