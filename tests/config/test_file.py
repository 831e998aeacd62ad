"""ragq.yml is read whole, or refused on one line: the key, the value, what is allowed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rwkv_rag import config
from rwkv_rag.config import file, ragq
from rwkv_rag.config.file import RENAMED
from rwkv_rag.config.ragq import Ragq
from rwkv_rag.errors import InputError, RagError
from rwkv_rag.i18n import _, in_language


def chinese(error: Exception) -> str:
    """The error's message in Chinese."""
    assert isinstance(error, RagError)
    with in_language("zh"):
        return _(error)


SHIPPED = Path(__file__).parents[2] / "ragq.yml"
Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: str | bytes) -> Path:
        path = tmp_path / "ragq.yml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        file.read(path)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 700
    return said


def test_the_shipped_file_says_what_the_defaults_are() -> None:
    assert file.read(SHIPPED) == Ragq()


def test_the_shipped_file_names_every_key_but_those_it_comments_out() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    for section in (Ragq, ragq.Llm, ragq.Index, ragq.Tuning, ragq.Api, ragq.Ui, ragq.Endpoint):
        for key in section.model_fields:
            assert f"{key}:" in text, key


@pytest.mark.parametrize("content", ["", "# nothing\n", "llm:\n", "llm:\n  device:\n", "﻿"])
def test_what_is_not_said_is_as_by_default(write: Write, content: str) -> None:
    assert file.read(write(content)) == Ragq()


def test_what_is_written_is_read_back(write: Write) -> None:
    said = file.read(
        write("home: /data\nllm: {num_workers: 3, front_end: {protocol: tcp}}\nui: {port: 9000}\n")
    )
    assert (said.llm.num_workers, said.llm.front_end.port, said.ui.port) == (3, 7781, 9000)
    assert file.read(write(file.written(said))) == said


def test_relative_paths_count_from_the_file(write: Write, tmp_path: Path) -> None:
    said = file.read(write("llm: {base_model_file: m.pth}\nindex: {sqlite_path: a/b.db}\n"))
    assert said.llm.base_model_file == str(tmp_path / "m.pth")
    assert said.index.sqlite_path == tmp_path / "a/b.db"


WRONG = [
    ("llm: {num_workers: 0}", "llm.num_workers is 0; allowed: a whole number from 1 to 64"),
    ("llm: {num_workers: '2'}", "llm.num_workers is '2'; allowed: a whole number"),
    ("llm: {device: 'cuda:3'}", "llm.device is 'cuda:3'; allowed: auto or cpu"),
    ("llm: {enabled: 7}", "llm.enabled is 7; allowed: true or false"),
    ("llm: {base_model_file: [a]}", "llm.base_model_file is ['a']; allowed: builtin, fake or"),
    ("llm: {embedding_path: /models/bge}", "llm.embedding_path is '/models/bge'; allowed: builtin"),
    ("llm: {state_path: /a/b.pth}", "llm.state_path is '/a/b.pth'; allowed: the name of a tuned"),
    ("llm: {front_end: {protocol: inproc}}", "front_end.protocol is 'inproc'; allowed: ipc or tcp"),
    ("llm: {front_end: {host: 'a b'}}", "llm.front_end.host is 'a b'; allowed: a host name"),
    ("llm: {back_end: {port: 70000}}", "llm.back_end.port is 70000; allowed: a whole number from"),
    ("llm: {back_end: 7}", "llm.back_end is 7; allowed: a map of protocol, host, port"),
    ("llm: [enabled]", "llm is ['enabled']; allowed: a map of enabled, front_end"),
    ("index: {num_workers: 4}", "index.num_workers is 4; allowed: 1 (one process"),
    ("index: {chunk_size: 100}", "index.chunk_overlap is 60; it must be less than half"),
    ("ui: {port: true}", "ui.port is True; allowed: a whole number from 1 to 65535"),
    ("language: fr", "language is 'fr'; allowed: zh or en"),
    ("home: 3", "home is 3; allowed: a path"),
    ("llm: {num_wokers: 2}", "there is no key llm.num_wokers; did you mean llm.num_workers?"),
    ("lm: {}", "there is no key lm; did you mean llm?"),
    ("api: {colour: red}", "there is no key api.colour; the keys there are enabled, host, port"),
    ("- a\n- b", "the file holds a list where a map of sections belongs"),
    ("hello", "the file holds a text where"),
    ("1: 2", "1 is no key"),
    ("llm:\n  device: cpu\n  device: auto\n", "line 3 is not YAML: the key 'device' stands here"),
    ("llm:\n  - a: b: c", "line 2 is not YAML"),
    ("llm: {a", "line 1 is not YAML"),
    ("ui: &a {port: 1}\napi: *a", "line 2 is not YAML: references"),
    ("? [a]\n: b", "line 1 is not YAML"),
    ("x: !!python/object/apply:os.system ['true']", "line 1 is not YAML"),
    ("ui:\n  port: \x07", "line 2 is not YAML: a control character"),
    ("[" * 9000, "the file is not YAML"),
    ("x: " + "9" * 5000, "the file is not YAML"),
    (b"ui:\n  port: \xff", "line 2 is not UTF-8"),
    (b"#" * 70_000, "has 70000 bytes"),
    (
        "api: {port: 8501}",
        "api.port and ui.port are both 8501; give each a port of its own",
    ),
    (
        "llm: {front_end: {protocol: tcp, port: 8600}}",
        "llm.front_end.port and api.port are both 8600",
    ),
]


@pytest.mark.parametrize(("content", "said"), WRONG)
def test_what_is_wrong_names_the_key_the_value_and_what_is_allowed(
    write: Write, content: str | bytes, said: str
) -> None:
    assert said in refused(write(content))


@pytest.mark.parametrize("content", [content for content, _ in WRONG])
def test_what_is_wrong_is_said_in_chinese_too(write: Write, content: str | bytes) -> None:
    path = write(content)
    with pytest.raises(InputError) as caught:
        file.read(path)
    said = chinese(caught.value)
    assert said != str(caught.value)
    assert "allowed" not in said and " is " not in said.replace(str(path), "")


@pytest.mark.parametrize("key", RENAMED)
def test_every_key_of_the_predecessor_is_told_what_takes_its_place(write: Write, key: str) -> None:
    everywhere = key in ("service_module", "spawn_method", "socket_type", "docker")
    place = f"llm.{key}" if everywhere else key.removeprefix("base.")
    nested = "".join(f"{'  ' * n}{word}:\n" for n, word in enumerate(place.split(".")))
    said = refused(write(nested.rstrip() + " x\n"))
    assert f"{place} is a key of the predecessor; {RENAMED[key]}" in said


def test_what_takes_the_place_of_an_old_key_is_a_key() -> None:
    for instead in map(str, RENAMED.values()):
        if instead.startswith("write "):
            section: object = Ragq()
            for word in instead.removeprefix("write ").partition(":")[0].split("."):
                assert hasattr(section, word), instead
                section = getattr(section, word)


def test_ports_of_services_that_do_not_listen_are_free_for_others(write: Write) -> None:
    file.read(write("llm: {front_end: {protocol: ipc, port: 8501}}\n"))
    file.read(write("ui: {enabled: false}\napi: {port: 8501}\n"))


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path} is a directory; --config takes a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(write: Write) -> None:
    path = write("")
    path.chmod(0)
    assert refused(path) == f"{path} cannot be read (Permission denied)"


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200) | st.text("llmindexui: []{}\n-&*!#'\"0x9\t", max_size=60))
def test_no_content_does_more_than_be_refused(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "any.yml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        assert isinstance(file.read(path), Ragq)
    except InputError as error:
        assert str(path) in str(error)


def test_the_file_is_looked_for_in_four_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home):
        folder.mkdir()
    monkeypatch.chdir(here)
    assert config.configuration_file(None, home=home, environ={}) is None
    for path in (home / "ragq.yml", here / "ragq.yml", tmp_path / "b.yml", tmp_path / "a.yml"):
        path.write_text("")
    variable = {"RWKV_RAG_CONFIG": str(tmp_path / "b.yml")}
    assert (
        config.configuration_file(tmp_path / "a.yml", home=home, environ=variable)
        == tmp_path / "a.yml"
    )
    assert config.configuration_file(None, home=home, environ=variable) == tmp_path / "b.yml"
    assert config.configuration_file(None, home=home, environ={}) == here / "ragq.yml"
    (here / "ragq.yml").unlink()
    assert config.configuration_file(None, home=home, environ={}) == home / "ragq.yml"


@pytest.mark.parametrize("how", ["--config", "RWKV_RAG_CONFIG"])
def test_a_file_that_was_named_must_be_there(tmp_path: Path, how: str) -> None:
    missing = tmp_path / "no.yml"
    given = missing if how == "--config" else None
    with pytest.raises(InputError, match=f"no such configuration file: {missing}; check {how}"):
        config.configuration_file(given, home=tmp_path, environ={"RWKV_RAG_CONFIG": str(missing)})


@pytest.mark.parametrize(
    ("content", "language"),
    [
        ("language: zh\n", "zh"),
        ("a: 1\nlanguage: 'en' # x\n", "en"),
        ("language: fr", ""),
        ("", ""),
    ],
)
def test_the_language_is_seen_without_reading_the_file(
    write: Write, content: str, language: str
) -> None:
    assert config._language_in(write(content)) == language
