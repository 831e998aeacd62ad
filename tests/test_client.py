"""Parts come from the services that run, or else from this process; a user need not know which."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from rwkv_rag import app, models, run_directory
from rwkv_rag.bus.keys import KeyStore
from rwkv_rag.bus.security import RouterSecurity
from rwkv_rag.config import Settings
from rwkv_rag.errors import Busy, InputError, NotFound, Unreachable
from rwkv_rag.knowledge.locks import FileLock
from rwkv_rag.testing import CopyGenerator
from rwkv_rag.types import Answer, Writer

from .running import services

GARDEN = "The annual fee is 48 pounds.\n\nDogs must be kept on a lead.\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", model="fake")


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    file = tmp_path / "garden.txt"
    file.write_text(GARDEN, encoding="utf-8")
    return file


@contextmanager
def up(settings: Settings, *names: str, **told: str) -> Iterator[dict[str, str]]:
    """As `rwkv-rag up` leaves a home: services that run, written down, under a lock."""
    with services(settings, *names) as fronts, ExitStack() as held:
        (settings.home / "run").mkdir(parents=True, exist_ok=True)
        lock = FileLock(run_directory.lock_file(settings.home))
        assert lock.acquire()
        held.callback(lock.release)
        written = run_directory.Running(4711, "ipc:///tmp/no-control", fronts, **told)
        run_directory.services_file(settings.home).write_text(written.json(), encoding="utf-8")
        yield fronts


def fill(parts: app.Client, file: Path) -> None:
    parts.knowledge.create("docs")
    for _ in parts.knowledge.index("docs", [file]):
        pass


def ask(parts: app.Client) -> Answer:
    *_, answer = parts.pipeline().answer("What is the annual fee?", kb="docs")
    assert isinstance(answer, Answer)
    return answer


def test_services_of_a_home_are_found_and_used(settings: Settings, garden: Path) -> None:
    with up(settings), app.open_client(settings) as parts:
        assert parts.connected and parts.supervision is not None and not parts.writes_here
        fill(parts, garden)
        there = ask(parts)
    with app.open_client(settings) as parts:
        assert not parts.connected and parts.supervision is None
        here = ask(parts)
    assert there.citations[0].quote in GARDEN
    assert replace(here, timings={}) == replace(there, timings={})


def test_what_a_killed_up_left_behind_is_not_used(settings: Settings) -> None:
    with up(settings):
        pass
    assert run_directory.read(settings.home) is not None
    with app.open_client(settings) as parts:
        assert not parts.connected and parts.knowledge.bases() == []


@pytest.mark.parametrize("service", ["llm", "index", "tuning"])
def test_any_service_leads_to_the_others(settings: Settings, garden: Path, service: str) -> None:
    elsewhere = Settings(home=settings.home.with_name("other"), model="fake")
    with services(settings) as fronts:
        with app.open_client(replace(elsewhere, connect=fronts[service])) as parts:
            assert parts.connected
            fill(parts, garden)
            assert ask(parts).citations
        assert not (elsewhere.home / "catalog.sqlite3").exists()


@pytest.mark.parametrize("names", [("llm",), ("llm", "index"), ("tuning",)])
def test_what_no_service_does_is_done_here(
    settings: Settings, garden: Path, names: tuple[str, ...]
) -> None:
    with up(settings, *names), app.open_client(settings) as parts:
        assert parts.connected
        fill(parts, garden)
        assert ask(parts).citations and parts.tuner.jobs() == []


def test_off_uses_no_service(settings: Settings, garden: Path) -> None:
    off = replace(settings, connect="off")
    with up(settings, "llm", "tuning"), app.open_client(off) as parts:
        assert not parts.connected
        fill(parts, garden)


def test_beside_an_index_service_nobody_else_changes_anything(
    settings: Settings, garden: Path
) -> None:
    with up(settings), app.open_client(settings) as there:
        fill(there, garden)
        with app.open_client(replace(settings, connect="off")) as here:
            assert here.knowledge.search("docs", "annual fee")
            assert here.knowledge.base("docs").documents == 1
            for change in (
                lambda: here.knowledge.create("more"),
                lambda: here.knowledge.delete("docs"),
                lambda: here.knowledge.remove("docs", "garden.txt"),
                lambda: here.knowledge.index("docs", [garden]),
                lambda: here.knowledge.add("docs", []),
                lambda: here.knowledge.rebuild("docs"),
            ):
                with pytest.raises(Busy, match=r"the services of process 4711 are in charge of"):
                    change()
        assert there.knowledge.base("docs").documents == 1


def test_an_address_where_nobody_is_is_said_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rwkv_rag.bus import client

    hasty = partial(client.QueueClient, connect_s=0.2)
    monkeypatch.setattr(client, "QueueClient", hasty)
    with pytest.raises(Unreachable, match=r"nobody answers at tcp://127\.0\.0\.1:9;"):
        app.open_client(replace(settings, connect="tcp://127.0.0.1:9"))


@pytest.mark.parametrize("address", ["localhost", "http://127.0.0.1:1", "tcp://1.2.3.4:7781"])
def test_an_address_that_is_none_or_open_is_refused(settings: Settings, address: str) -> None:
    with pytest.raises(InputError):
        app.open_client(replace(settings, connect=address))


def test_a_key_file_that_is_none_is_refused(settings: Settings, tmp_path: Path) -> None:
    given = replace(settings, connect="tcp://127.0.0.1:9", key=tmp_path / "none.key")
    with pytest.raises(InputError, match=r"none\.key"):
        app.open_client(given)


def test_a_model_no_service_has_writes_here(
    settings: Settings, garden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is none: but this process and not the service is who says so."""
    mine = str(garden.with_name("mine.safetensors"))
    with up(settings), app.open_client(replace(settings, model=mine)) as parts:
        assert parts.connected and parts.writes_here
        fill(parts, garden)
        assert parts.knowledge.base("docs").embedding_model == "hash-256"
        with pytest.raises(NotFound, match=r"mine\.safetensors"):
            parts.pipeline()
        opened: list[str] = []

        def stand_in(_: object, writer: Writer) -> CopyGenerator:
            opened.append(writer.model)
            return CopyGenerator()

        monkeypatch.setattr(models, "open_generator", stand_in)
        assert "generate" in ask(parts).timings
        assert set(opened) == {mine}


def test_who_names_no_model_gets_that_of_the_service(settings: Settings) -> None:
    unnamed = replace(settings, model="builtin", named=False)
    with up(settings), app.open_client(unnamed) as parts:
        assert not parts.writes_here and parts.writer().model == "fake"
    with app.open_client(unnamed) as parts:
        assert parts.writer().model == "builtin"


def test_files_are_sent_to_an_index_that_other_machines_reach(
    settings: Settings, garden: Path
) -> None:
    """Such an index has keys, and reads no files: `index` would be refused by it."""
    ring, key = KeyStore(settings.home), garden.with_name("me.key")
    ring.make()
    ring.add("me", key)
    security = RouterSecurity.load(settings.home)
    with services(settings, security=security) as fronts:
        there = replace(settings, connect=fronts["llm"], key=key)
        with app.open_client(there) as client:
            fill(client, garden)
            assert [info.name for info in client.knowledge.documents("docs")] == ["garden.txt"]


def test_threads_need_no_lock(settings: Settings, garden: Path, tmp_path: Path) -> None:
    """Indexing, asking and looking at once, in one process."""
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(f"Note {number}. {GARDEN}", encoding="utf-8")
    with app.open_client(settings) as parts:
        fill(parts, garden)
        more = threading.Thread(
            target=lambda: list(parts.knowledge.index("docs", sorted(tmp_path.glob("*.txt"))))
        )
        more.start()
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: ask(parts), range(40)))
        more.join()
        assert all(answer.citations for answer in answers)
        assert parts.knowledge.base("docs").documents == 31
        assert parts.knowledge.verify("docs") == []


def test_a_connected_question_loads_no_model_library(settings: Settings, garden: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rwkv_rag import app, config\n"
        "settings = config.Settings(home=Path(sys.argv[1]), model='fake', connect=sys.argv[2])\n"
        "with app.open_client(settings) as parts:\n"
        "    *_, answer = parts.pipeline().answer('What is the annual fee?', kb='docs')\n"
        "assert answer.citations\n"
        "assert not {'torch', 'numba', 'chromadb', 'rjieba', 'sqlite3'} & set(sys.modules)\n"
    )
    with services(settings) as fronts:
        with app.open_client(replace(settings, connect=fronts["llm"])) as parts:
            fill(parts, garden)
        run = [sys.executable, "-c", program, str(garden.parent / "other"), fronts["llm"]]
        subprocess.run(run, check=True)
