"""Errors become one line and exit code 2; help, language and interruption work everywhere."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rwkv_rag import app
from rwkv_rag.cli import main
from rwkv_rag.cli.main import commands, run, split_language
from rwkv_rag.i18n import in_language

from .conftest import Cli, english_left

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

    monkeypatch.setattr(app, "open_client", broken)
    with pytest.raises(ZeroDivisionError):
        cli("kb", "list")


def test_an_interruption_is_one_line_and_exit_code_130(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "open_client", interrupted)
    ran = cli("kb", "list")
    assert ran.code == 130
    assert ran.err.strip() == "interrupted"


USAGE = (
    (("ask",), "question", "缺少参数"),
    (("ask", "q", "--fro"), "--fro", "没有选项"),
    (("nonsense",), "'nonsense'", "没有命令"),
    (("kb", "lost"), "'lost'", "没有命令"),
    (("kb", "list", "a", "b"), "a b", "多余的参数"),
    (("ask", "q", "--kb"), "--kb", "需要一个值"),
    (("ask", "q", "--json=1"), "--json", "不带值"),
    (("eval", "x", "--mode", "foo"), "rag, gold", "rag, gold"),
    (("search", "q", "--top-k", "x"), "--top-k", "整数"),
    (("search", "q", "--top-k", "100000"), "--top-k", "100"),
    (("ask", "q", "--top-k", "0"), "--top-k", "1"),
    (("ui", "--port", "99999"), "--port", "65535"),
    (("ui", "--port", "-1"), "--port", "1"),
)


@pytest.mark.parametrize(("given", "named", "chinese"), USAGE)
def test_a_usage_error_is_one_line_in_the_users_language(
    cli: Cli, given: tuple[str, ...], named: str, chinese: str
) -> None:
    english, translated = cli(*given), cli("--lang", "zh", *given)
    assert english.code == translated.code == 2 and english.out == translated.out == ""
    assert english.err.startswith("error: ") and translated.err.startswith("错误: ")
    assert english.err.count("\n") == translated.err.count("\n") == 1
    assert named in english.err and "--help" in english.err
    assert chinese in translated.err and english_left(translated.err) == [], translated.err


def test_a_language_we_do_not_speak_is_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = cli("kb", "list", "--lang", "xx")
    assert ran.code == 2 and ran.err.count("\n") == 1
    monkeypatch.setenv("RWKV_RAG_LANG", "fr")
    ran = cli("kb", "list")
    assert ran.code == 2 and "'fr'" in ran.err and "zh and en" in ran.err
    assert cli("kb", "list", "--lang", "zh").code == 0  # what is typed beats the environment


def test_no_command_shows_the_help(cli: Cli) -> None:
    ran = cli("kb")
    assert "create" in ran.out + ran.err and "error:" not in ran.err


def test_a_model_that_is_not_there_is_refused_before_the_pages_are_served(cli: Cli) -> None:
    ran = cli("ui", "--model", "nope.pth", "--no-browser")
    model = Path("nope.pth").absolute()
    assert ran.code == 2 and ran.err == f"error: no such model file: {model}\n"


def test_an_empty_model_is_refused(cli: Cli) -> None:
    ran = cli("ask", "q", "--model", "")
    assert ran.code == 2 and "the model is empty" in ran.err


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
    monkeypatch.setattr(main, "user_language", lambda: "en")
    assert split_language(given) == (language, rest)


def test_every_help_text_has_a_translation() -> None:
    def texts(tree: object) -> list[str]:
        own = [getattr(item, "help", None) for item in (tree, *tree.params)]  # type: ignore[attr-defined]
        below = [texts(child) for child in getattr(tree, "commands", {}).values()]
        return [text for text in own if text] + [text for texts in below for text in texts]

    with in_language("en"):
        english = texts(commands())
    with in_language("zh"):
        chinese = texts(commands())
    same = [a for a, b in zip(english, chinese, strict=True) if a == b]
    assert same == []


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rwkv-rag ")


def test_a_reader_that_goes_away_is_no_error(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    for number in range(20):
        text = "\n\n".join(f"The gate {number}.{line} is open. " * 20 for line in range(10))
        (folder / f"{number}.txt").write_text(text)
    assert cli("index", folder, "--kb", "long", "--chunk-size", 1000).code == 0
    arguments = ("search", "gate", "--kb", "long", "--top-k", 100)
    assert len(cli(*arguments, "--json").out) > 2**16  # a pipe holds less
    program = "from rwkv_rag.cli import main; main()"
    search = f"'{sys.executable}' -c '{program}' {' '.join(map(str, arguments))}"
    for option, reader in (("", "true"), ("--json", "true"), ("--json", "head -n 1")):
        line = f"{search} {option} | {reader}"
        ran = subprocess.run(["bash", "-c", line], capture_output=True, check=False)
        assert ran.stderr == b"", ran.stderr


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "latin-1", "utf-8"])
def test_any_terminal_can_be_written_to_and_json_stays_json(
    indexed: Cli, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(*options: str) -> bytes:
        terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", terminal)
        assert run(["search", "滤芯", "--kb", "docs", *options]) == 0
        return terminal.buffer.getvalue()  # type: ignore[attr-defined, no-any-return]

    assert shown().count(b"[1]") == 1
    [hit, *_] = json.loads(shown("--json").decode("utf-8" if encoding == "utf-8" else "ascii"))
    assert hit["document"] == "手册.md" and "滤芯" in hit["text"]
