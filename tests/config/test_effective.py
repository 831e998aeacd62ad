"""What counts in the end: options over the environment over ragq.yml over the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from rwkv_rag import config
from rwkv_rag.config import effective, file
from rwkv_rag.errors import InputError


@pytest.fixture
def ragq(tmp_path: Path) -> Path:
    path = tmp_path / "my.yml"
    path.write_text(
        "home: data\nlanguage: zh\nllm: {base_model_file: fake, state_path: poet}\n"
        "index: {top_k: 7, sqlite_path: a.db}\n"
    )
    return path


def test_every_command_takes_its_settings_from_the_file(ragq: Path) -> None:
    found = config.load(file=ragq, environ={"LANG": "en_GB"})
    assert found.home == ragq.parent / "data"
    assert (found.model, found.tuned, found.language) == ("fake", "poet", "zh")
    assert (found.top_k, found.catalog) == (7, ragq.parent / "a.db")


def test_a_model_of_the_file_is_not_one_the_user_asked_for(ragq: Path) -> None:
    """Services that run have the file's model already; what they write with is up to them."""
    assert not config.load(file=ragq, environ={}).named
    assert config.load(file=ragq, model="fake", environ={}).named


def test_the_environment_beats_the_file_and_options_beat_both(ragq: Path, tmp_path: Path) -> None:
    environ = {"RWKV_RAG_HOME": str(tmp_path / "other"), "RWKV_RAG_LANG": "en"}
    assert config.load(file=ragq, environ=environ).home == tmp_path / "other"
    found = config.load(file=ragq, home=tmp_path / "given", model="builtin", environ=environ)
    assert (found.home, found.model, found.language) == (tmp_path / "given", "builtin", "en")


def test_what_counts_says_where_it_came_from_and_can_be_read_again(
    ragq: Path, tmp_path: Path
) -> None:
    environ = {"RWKV_RAG_MODEL": "builtin", "LANG": "zh_CN"}
    found = effective.load(file=ragq, home=tmp_path / "h", environ=environ)
    text = found.yaml()
    assert text.startswith(f"# {ragq}\n# home: --home\n# model: RWKV_RAG_MODEL\n")
    again = tmp_path / "again.yml"
    again.write_text(text, encoding="utf-8")
    assert file.read(again) == found.ragq
    assert effective.load(file=again, environ={}).settings.home == tmp_path / "h"


def test_defaults_need_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = effective.load(home=tmp_path, environ={})
    assert found.file is None and found.ragq.llm.enabled
    assert found.yaml().startswith("# defaults")


def test_ports_that_are_given_are_checked_like_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = effective.load(home=tmp_path, environ={})
    assert found.with_ports(ui=9000, api=None).ragq.ui.port == 9000
    with pytest.raises(InputError, match=r"api\.port and ui\.port are both 9000"):
        found.with_ports(ui=9000, api=9000)


def test_a_child_loads_the_settings_of_its_parent(ragq: Path) -> None:
    settings = config.load(file=ragq, language="zh", environ={})
    environ = config.child_environment(settings, file=ragq, threads=3, environ={})
    again = config.load(environ=environ)
    assert (again.home, again.model, again.tuned, again.language) == (
        *(settings.home, settings.model, settings.tuned, settings.language),
    )
    assert environ["OMP_NUM_THREADS"] == "3"
    own = config.child_environment(settings, threads=3, environ={"OMP_NUM_THREADS": "9"})
    assert own["OMP_NUM_THREADS"] == "9"


def test_the_language_of_the_file_beats_the_locale_and_not_the_variable(ragq: Path) -> None:
    assert config.user_language({"LANG": "en_GB"}, ragq) == "zh"
    assert config.user_language({"RWKV_RAG_LANG": "en"}, ragq) == "en"
    missing = {"RWKV_RAG_CONFIG": "/nowhere/at.all", "LANG": "zh_CN"}
    assert config.user_language(missing) == "zh"
