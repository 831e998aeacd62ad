"""What the README says is so: its commands run, its files exist, its citation is where it says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rwkv_rag.cli.main import run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
DOCUMENTS = ROOT / "src" / "rwkv_rag" / "demo" / "documents"


@pytest.fixture(autouse=True)
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RWKV_RAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RWKV_RAG_MODEL", "fake")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.chdir(ROOT)


def session(text: str) -> list[list[str]]:
    """The arguments of every `$ … rwkv-rag …` line."""
    return [
        shlex.split(line)[2:] for line in text.splitlines() if re.match(r"\$ \S*rwkv-rag ", line)
    ]


@pytest.mark.parametrize("text", [README, CHINESE], ids=["en", "zh"])
def test_the_session_in_the_readme_runs(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    index, ask = session(text)
    assert (index[0], ask[0]) == ("index", "ask")
    assert run(index) == 0, capsys.readouterr().err
    assert "4 indexed" in capsys.readouterr().out
    assert run([*ask, "--json"]) == 0, capsys.readouterr().err
    answer = json.loads(capsys.readouterr().out)
    assert answer["citations"] and not answer["refused"]
    for citation in answer["citations"]:
        assert (
            stored(citation["document"])[citation["start"] : citation["end"]] == (citation["quote"])
        )


def stored(name: str) -> str:
    """A document of the demonstration as the program reads it."""
    from rwkv_rag.knowledge.load import load

    return load(DOCUMENTS / name, name=name).text


def test_the_quote_shown_in_the_readme_is_its_place_in_the_file() -> None:
    [(answer, name, start, end, quote)] = re.findall(
        r"--kb demo\n(.+)\n  \[1\] (\S+?):(\d+)-(\d+)\n      … (.+)\n", README
    )
    assert stored(name)[int(start) : int(end)] == quote
    assert answer in quote
    assert f"`{name}:{start}-{end}`" in README
    assert f"characters {start} to {end} of that\nfile" in README


@pytest.mark.parametrize("text", [README, CHINESE], ids=["en", "zh"])
def test_the_place_with_a_page_in_the_readme_is_a_sentence_on_that_page(text: str) -> None:
    from rwkv_rag.knowledge.load import load

    [(name, page, start, end)] = set(re.findall(r"`(\S+?\.pdf):(\d+):(\d+)-(\d+)`", text))
    document = load(DOCUMENTS / name, name=name)
    quote = document.text[int(start) : int(end)]
    assert quote.endswith("。") and document.text[: int(start)].rstrip()[-1] in "。：；\n"
    [number] = [each.number for each in document.pages if each.start <= int(start) < each.end]
    assert number == int(page)


@pytest.mark.parametrize("text", [README, CHINESE], ids=["en", "zh"])
def test_every_command_in_the_readme_exists(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    named = set(re.findall(r"^rwkv-rag (\w+)", text, re.MULTILINE))
    asking = {"index", "ask", "search", "kb", "tune", "ui", "eval", "bench"}
    assert named == asking | {"up", "doctor"}
    for command in named:
        assert run([command, "--help"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("name", ["tuning.md", "tuning.zh-CN.md"])
def test_every_command_of_tuning_that_is_explained_exists(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:rwkv-rag |`)tune (\w+)", text))
    assert named >= {"rows", "estimate", "start", "data", "export", "merge", "import"}
    for command in named:
        assert run(["tune", command, "--help"]) == 0
    capsys.readouterr()


def test_the_make_targets_in_the_readme_exist() -> None:
    for target in set(re.findall(r"^make (\w+)", README, re.MULTILINE)) | {"check", "bench"}:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_the_tree_in_the_readme_is_the_tree() -> None:
    tree = README.split("src/rwkv_rag/\n", 1)[1].split("\ntraining/", 1)[0]
    named = {name for line in tree.splitlines() for name in line[2:30].split()}
    source = ROOT / "src" / "rwkv_rag"
    there = {path.stem for path in source.glob("*.py") if path.stem != "__init__"}
    there |= {f"{path.name}/" for path in source.iterdir() if path.is_dir()} - {"__pycache__/"}
    assert there <= named
    assert named - there <= {"builtin/"}  # made by training/, absent while it is being made


PAGES = ("README.md", "README.zh-CN.md", "ARCHITECTURE.md", "SECURITY.md")
OF_SERVICES = ("docs/services.md", "docs/services.zh-CN.md")
OF_TUNING = ("docs/tuning.md", "docs/tuning.zh-CN.md", "examples/README.md", "benchmarks/README.md")


@pytest.mark.parametrize("name", [*PAGES, *OF_SERVICES, *OF_TUNING])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_example_runs() -> None:
    line = [
        sys.executable,
        "examples/ask.py",
        str(DOCUMENTS / "harbour-street-garden-handbook.txt"),
    ]
    ran = subprocess.run(
        [*line, "When do the gates close from April to September?"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "harbour-street-garden-handbook.txt:" in ran.stdout
