"""Settings come from what the user gave, then the environment, then defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from rwkv_rag import config
from rwkv_rag.errors import InputError


def test_what_is_given_beats_the_environment(tmp_path: Path) -> None:
    environ = {"RWKV_RAG_HOME": "/elsewhere", "RWKV_RAG_MODEL": "fake", "LANG": "zh_CN.UTF-8"}
    given = config.load(home=tmp_path, model="other.pth", language="en", environ=environ)
    model = str(Path("other.pth").absolute())  # services are not where the command is
    assert (given.home, given.model, given.language) == (tmp_path, model, "en")


def test_the_environment_beats_the_defaults(tmp_path: Path) -> None:
    environ = {
        "RWKV_RAG_HOME": str(tmp_path),
        "RWKV_RAG_MODEL": "fake",
        "LC_ALL": "zh_TW",
        "LANG": "en",
    }
    read = config.load(environ=environ)
    assert (read.home, read.model, read.language) == (tmp_path, "fake", "zh")


def test_what_is_tuned_comes_from_the_user_then_the_environment() -> None:
    environ = {"RWKV_RAG_TUNED": "poet"}
    assert config.load(environ=environ).tuned == "poet"
    assert config.load(tuned="", environ=environ).tuned == ""
    assert config.load(environ={}).tuned == ""


def test_defaults_need_no_environment() -> None:
    settings = config.load(environ={})
    assert settings.home.is_absolute() and settings.home.name == "rwkv-rag"
    assert (settings.model, settings.language) == ("builtin", "en")


def test_a_tilde_in_the_home_is_the_users_directory() -> None:
    home = config.load(home=Path("~/data"), environ={}).home
    assert home == Path.home() / "data"


def test_a_file_is_no_home(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match="not a directory"):
        config.load(home=file, environ={})


@pytest.mark.parametrize("value", ["C", "POSIX", "en_GB.UTF-8", "de_DE"])
def test_other_languages_get_english(value: str) -> None:
    assert config.locale_language({"LANG": value}) == "en"


def test_our_own_variable_beats_the_locale() -> None:
    assert config.locale_language({"RWKV_RAG_LANG": "zh", "LC_ALL": "en_US.UTF-8"}) == "zh"


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    environ = {"RWKV_RAG_HOME": "", "RWKV_RAG_MODEL": "", "LC_ALL": "", "LANG": "zh_CN"}
    settings = config.load(environ=environ)
    assert settings.model == "builtin" and settings.language == "zh"
    assert settings.home == config.load(environ={}).home


def test_a_home_that_cannot_be_looked_at_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data directory \(File name too long\)"):
        config.load(home=tmp_path / ("x" * 300) / "sub", environ={})


def test_a_home_that_may_not_be_entered_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, **_: object) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", denied)
    with pytest.raises(InputError, match=r"\(Permission denied\); choose another with --home"):
        config.load(home=tmp_path / "locked" / "sub", environ={})


@pytest.mark.parametrize("model", ["", "  "])
def test_an_empty_model_is_not_the_builtin_one(model: str) -> None:
    with pytest.raises(InputError, match="the model is empty"):
        config.load(model=model, environ={"RWKV_RAG_MODEL": "fake"})


@pytest.mark.parametrize(("value", "language"), [("zh_CN", "zh"), ("EN", "en"), ("en-GB", "en")])
def test_our_own_variable_is_read_like_a_locale(value: str, language: str) -> None:
    assert config.locale_language({"RWKV_RAG_LANG": value, "LANG": "de_DE"}) == language


def test_our_own_variable_must_name_a_language_we_speak() -> None:
    with pytest.raises(InputError, match=r"'fr'; the languages are zh and en"):
        config.locale_language({"RWKV_RAG_LANG": "fr", "LANG": "zh_CN"})


def test_a_process_beside_others_waits_without_spinning_unless_the_user_says_how() -> None:
    assert config.sharing_cores({"A": "1"}) == {"A": "1", "GOMP_SPINCOUNT": "2000"}
    for own in ({"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}):
        assert config.sharing_cores(own) == own
