"""The store of tuned results: added whole or not at all, found, refused for other bases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rwkv_rag.errors import (
    AlreadyExists,
    CorruptData,
    InputError,
    ModelMismatch,
    NotFound,
    RagError,
)
from rwkv_rag.i18n import _, in_language
from rwkv_rag.rwkv.tuned import MANIFEST, Tuned, TunedStore


def chinese(error: Exception) -> str:
    """The error's message in Chinese."""
    assert isinstance(error, RagError)
    with in_language("zh"):
        return _(error)


STATE = Tuned("诗", "state", "ab" * 32, "builtin", "state", steps=200, before=2.5, after=1.25)
ADAPTER = replace(STATE, name="b", kind="adapter", method="lora", rank=16, parts=("att", "ffn"))


def put(store: TunedStore, tuned: Tuned, content: bytes = b"x") -> None:
    with store.adding(tuned) as folder:
        (folder / f"{tuned.kind}.safetensors").write_bytes(content)


@pytest.fixture
def store(tmp_path: Path) -> TunedStore:
    return TunedStore(tmp_path)


def test_what_is_added_is_found_as_it_was(store: TunedStore) -> None:
    put(store, STATE, b"tensors")
    put(store, ADAPTER)
    assert store.all() == [ADAPTER, STATE]
    assert store.find("诗") == STATE
    assert store.tensors("诗").read_bytes() == b"tensors"
    assert store.tensors("b").name == "adapter.safetensors"


def test_an_empty_home_has_an_empty_store(store: TunedStore) -> None:
    assert store.all() == []
    with pytest.raises(NotFound, match="nothing has been tuned yet"):
        store.find("a")


def test_a_name_in_use_is_not_taken_over(store: TunedStore) -> None:
    put(store, STATE, b"first")
    with pytest.raises(AlreadyExists, match="another name"):
        put(store, STATE, b"second")
    assert store.tensors("诗").read_bytes() == b"first"
    assert [path.name for path in store.folder.iterdir()] == ["诗"]


def test_of_two_that_add_one_name_the_first_to_finish_has_it(store: TunedStore) -> None:
    with pytest.raises(AlreadyExists), store.adding(STATE) as folder:
        (folder / "state.safetensors").write_bytes(b"slow")
        put(store, STATE, b"quick")
    assert store.tensors("诗").read_bytes() == b"quick"


def test_a_failure_while_writing_leaves_nothing(store: TunedStore) -> None:
    with pytest.raises(OSError, match="full"), store.adding(STATE) as folder:
        (folder / "state.safetensors").write_bytes(b"half")
        raise OSError("full")
    assert list(store.folder.iterdir()) == []


def test_a_killed_writer_leaves_nothing_in_the_store(store: TunedStore, tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from rwkv_rag.rwkv.tuned import Tuned, TunedStore\n"
        "tuned = Tuned('a', 'state', 'ab', 'builtin', 'state')\n"
        "with TunedStore(Path(sys.argv[1])).adding(tuned) as folder:\n"
        "    (folder / 'state.safetensors').write_bytes(b'half')\n"
        "    tuned.write(folder)\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
    assert store.all() == []
    put(store, replace(STATE, name="a"), b"whole")
    assert store.tensors("a").read_bytes() == b"whole"
    (left,) = store.folder.glob(".adding-*")  # it may as well be one that is still written
    os.utime(left, (0, 0))
    put(store, ADAPTER)
    assert not left.exists()


def test_what_is_removed_is_gone_and_the_rest_stays(store: TunedStore) -> None:
    put(store, STATE)
    put(store, ADAPTER)
    store.remove("诗")
    assert store.all() == [ADAPTER]
    assert [path.name for path in store.folder.iterdir()] == ["b"]
    with pytest.raises(NotFound, match="there are: b"):
        store.remove("诗")


def test_a_damaged_folder_is_left_out_and_can_be_removed(store: TunedStore) -> None:
    put(store, STATE)
    put(store, ADAPTER)
    manifest = store.path("诗") / MANIFEST
    for damage in ("", "[]", "{}", "null", '{"name": 1', manifest.read_text()[:40]):
        manifest.write_text(damage)
        assert store.all() == [ADAPTER]
        with pytest.raises(CorruptData) as caught:
            store.find("诗")
        assert "\n" not in str(caught.value)
    store.remove("诗")
    assert not store.path("诗").exists()


@pytest.mark.parametrize("name", ["", ".a", "../a", "a/b", "a\nb", "-a", "a" * 65, "~", "a b"])
def test_what_is_no_name_reaches_no_file(store: TunedStore, name: str) -> None:
    put(store, STATE)
    for action in (store.find, store.remove, store.path, store.tensors):
        with pytest.raises(InputError, match="is no name"):
            action(name)
    assert store.all() == [STATE]


def test_another_base_is_refused_by_its_hash(store: TunedStore) -> None:
    STATE.check_base("ab" * 32)
    with pytest.raises(ModelMismatch, match=r"abababababab.*cdcdcdcdcdcd"):
        STATE.check_base("cd" * 32)
    replace(STATE, kind="model").check_base("cd" * 32)  # a whole model needs no base


def test_what_goes_wrong_is_said_in_chinese(store: TunedStore) -> None:
    put(store, STATE)
    (store.path("诗") / "x").touch()
    wrong = [
        lambda: store.find("b"),
        lambda: store.path("a/b"),
        lambda: put(store, STATE),
        lambda: STATE.check_base("cd" * 32),
        lambda: TunedStore(store.folder).find("b"),
        lambda: (store.path("诗") / MANIFEST).write_text("{") and store.find("诗"),
    ]
    for action in wrong:
        with pytest.raises(RagError) as caught:
            action()
        said = chinese(caught.value)
        assert "微调" in said and said != str(caught.value), said


@pytest.mark.parametrize("change", [{"loss": "low"}, {"name": 5}, {"steps": None}, {"parts": [1]}])
def test_a_manifest_with_values_of_another_type_is_damaged(
    store: TunedStore, change: dict[str, object]
) -> None:
    put(store, STATE)
    manifest = store.folder / STATE.name / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text("utf-8")), **change}))
    assert store.all() == []
    with pytest.raises(CorruptData, match="a value of another type"):
        store.find(STATE.name)
