"""The model and its tuned memory are chosen in the chat, at any time, and the answers say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rwkv_rag import models
from rwkv_rag.config import Settings
from rwkv_rag.ui.__main__ import SCRIPT

from .conftest import opened as opened_client  # skips this file without streamlit

from streamlit.testing.v1 import AppTest  # isort: skip

QUESTION = "What is the annual fee?"
BUILTIN = models.BUILTIN_WEIGHTS


def store_found(home: Path, name: str, *, kind: str = "state", base: str = "") -> None:
    """Something tuned of the model in the package: a state of small random numbers, or itself."""
    import shutil

    import torch
    from safetensors.torch import save_file

    from rwkv_rag.rwkv.checkpoint import file_sha256
    from rwkv_rag.rwkv.tuned import FILES, Tuned, TunedStore

    store = TunedStore(home)
    store.path(name).mkdir(parents=True)
    known = Tuned(name, kind, base or file_sha256(BUILTIN), "builtin", "state", before=3, after=2.5)  # type: ignore[arg-type]
    known.write(store.path(name))
    if kind == "model":
        shutil.copy(BUILTIN, store.path(name) / FILES["model"])
        shutil.copy(models.BUILTIN_VOCABULARY, store.path(name) / "vocab.txt")
        return
    draw = torch.Generator().manual_seed(len(name))
    states = {
        f"blocks.{n}.att.time_state": torch.randn(4, 64, 64, generator=draw) / 9 for n in range(4)
    }
    save_file(states, store.path(name) / FILES["state"])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with one base, read by the model in the package."""
    file = tmp_path / "garden.md"
    file.write_text("# Garden\n\nThe annual fee is 48 pounds.\n", encoding="utf-8")
    with opened_client(Settings(home=tmp_path / "home")) as client:
        client.knowledge.create("docs")
        list(client.knowledge.index("docs", [file]))
        yield tmp_path / "home"


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(str(SCRIPT), default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def html(page: AppTest) -> str:
    return "\n".join(element.body for element in page.get("html"))


def ask_freely(page: AppTest) -> str:
    page.radio(key="mode").set_value("free").run()
    page.chat_input[0].set_value(QUESTION).run()
    assert not page.exception
    return html(page)


def boxes(page: AppTest) -> dict[str, list[str]]:
    return {box.label: box.options for box in page.selectbox}


def test_without_anything_tuned_there_is_nothing_to_choose(home: Path) -> None:
    assert set(boxes(opened())) == {"Knowledge base"}


def test_only_what_belongs_to_the_model_is_offered_with_its_figures(home: Path) -> None:
    store_found(home, "poet")
    store_found(home, "foreign", base="ab" * 32)
    page = opened()
    assert boxes(page)["Tuned memory"] == ["none", "poet"]
    assert "3\\.00 → 2\\.50" in page.selectbox(key="tuned").help


def test_the_memory_is_switched_in_the_middle_of_a_chat(home: Path) -> None:
    store_found(home, "poet")
    page = opened()
    assert "cannot write" in ask_freely(page)
    page.selectbox(key="tuned").select("poet").run()
    shown = ask_freely(page)
    assert "Written by the tuned model poet." in shown and "check it yourself" in shown
    assert len(page.chat_message) == 4


def test_strict_answers_stay_the_readers(home: Path) -> None:
    store_found(home, "poet")
    page = opened()
    page.selectbox(key="tuned").select("poet").run()
    assert any("reader" in caption.value for caption in page.caption)
    page.chat_input[0].set_value(QUESTION).run()
    assert "<mark>" in html(page) and "Written by" not in html(page)


def test_another_page_or_the_address_may_choose_the_memory(home: Path) -> None:
    store_found(home, "poet")
    assert opened(tuned="poet").selectbox(key="tuned").value == "poet"
    page = AppTest.from_file(str(SCRIPT), default_timeout=60)
    page.session_state["tuned"] = "poet"
    page.session_state["mode"] = "free"
    assert page.run().selectbox(key="tuned").value == "poet"
    assert page.radio(key="mode").value == "free"


def test_a_choice_that_does_not_fit_is_said_and_not_used(home: Path) -> None:
    store_found(home, "foreign", base="ab" * 32)
    page = opened(tuned="foreign")
    assert "foreign does not belong" in page.warning[0].value
    assert "cannot write" in ask_freely(page)


def test_a_tuned_model_is_a_model_to_choose(home: Path) -> None:
    store_found(home, "whole", kind="model")
    page = opened()
    assert boxes(page)["Model"] == ["builtin", "whole"]
    page.selectbox(key="model").select("whole").run()
    assert "Written by the tuned model whole" in ask_freely(page)
    assert opened(tuned="whole").selectbox(key="model").value == "whole"


def test_a_damaged_memory_is_one_line_in_the_chat(home: Path) -> None:
    store_found(home, "poet")
    (home / "tuned" / "poet" / "state.safetensors").write_bytes(b"nothing")
    page = opened(tuned="poet")
    page.radio(key="mode").set_value("free").run()
    page.chat_input[0].set_value(QUESTION).run()
    assert not page.exception and "state" in page.error[0].value


def test_the_choice_is_in_chinese_too(home: Path) -> None:
    store_found(home, "poet")
    page = opened()
    page.segmented_control(key="language").set_value("zh").run()
    assert boxes(page)["记忆状态"] == ["无", "poet"]
