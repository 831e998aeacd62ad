"""Errors become one line and exit code 2; help, language and interruption work everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rwkv_rag import app
from rwkv_rag.cli import main
from rwkv_rag.cli.main import command, run, split_language

from .conftest import Cli

COMMANDS = ("index", "ask", "search", "kb", "demo", "ui", "eval", "bench")


def start(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    program = "from rwkv_rag.cli import main; main()"
    line = [sys.executable, "-c", program, *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_help_lists_every_command_within_half_a_second() -> None:
    start("--help")  # the first run may have to write byte code
    took = []
    for _ in range(3):
        started = time.perf_counter()
        shown = start("--help")
        took.append(time.perf_counter() - started)
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in COMMANDS)
    assert min(took) < 0.5, took


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_in_both_languages(cli: Cli, name: str) -> None:
    english, chinese = cli(name, "--help"), cli(name, "--help", "--lang", "zh")
    assert english.code == chinese.code == 0
    assert any("\u4e00" <= char <= "\u9fff" for char in chinese.out)
    assert not any("\u4e00" <= char <= "\u9fff" for char in english.out)


def test_an_error_is_one_line_on_stderr_and_exit_code_2(cli: Cli) -> None:
    ran = cli("search", "anything", "--kb", "nowhere")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert "nowhere" in ran.err


def test_an_error_speaks_chinese_to_those_who_do(cli: Cli) -> None:
    ran = cli("ask", "  ", "--kb", "docs", "--lang", "zh")
    assert ran.code == 2
    assert ran.err == "错误: 问题是空的，请输入问题\n"


def test_a_bug_is_not_dressed_up_as_a_users_mistake(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(app, "open_library", broken)
    with pytest.raises(ZeroDivisionError):
        cli("kb", "list")


def test_an_interruption_is_one_line_and_exit_code_130(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "open_library", interrupted)
    ran = cli("kb", "list")
    assert ran.code == 130
    assert ran.err.strip() == "interrupted"


def test_usage_errors_exit_with_2(cli: Cli) -> None:
    assert cli("ask").code == 2
    assert cli("nonsense").code == 2
    assert cli("kb", "list", "--lang", "xx").code == 2


@pytest.mark.parametrize(
    ("given", "language", "rest"),
    [
        (["--lang", "zh", "kb", "list"], "zh", ["kb", "list"]),
        (["kb", "list", "--lang=zh"], "zh", ["kb", "list"]),
        (["ask", "q", "--lang", "en"], "en", ["ask", "q"]),
        (["ask", "--", "--lang=zh"], "en", ["ask", "--", "--lang=zh"]),
        (["--lang", "fr"], "en", ["--lang", "fr"]),
    ],
)
def test_the_language_is_found_wherever_it_stands(
    given: list[str], language: str, rest: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "locale_language", lambda: "en")
    assert split_language(given) == (language, rest)


def test_every_help_text_has_a_translation() -> None:
    def texts(tree: object) -> list[str]:
        own = [getattr(item, "help", None) for item in (tree, *tree.params)]  # type: ignore[attr-defined]
        below = [texts(child) for child in getattr(tree, "commands", {}).values()]
        return [text for text in own if text] + [text for texts in below for text in texts]

    english, chinese = texts(command("en")), texts(command("zh"))
    same = [a for a, b in zip(english, chinese, strict=True) if a == b]
    assert same == []


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rwkv-rag ")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    environ = {**os.environ, "RWKV_RAG_HOME": str(tmp_path), "RWKV_RAG_MODEL": "fake"}
    program = "from rwkv_rag.cli import main; main()"
    line = f"'{sys.executable}' -c '{program}' --help | true"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, env=environ, check=False)
    assert b"Traceback" not in ran.stderr and b"Exception ignored" not in ran.stderr
