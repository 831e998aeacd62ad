"""The shelf: things come whole or not at all, are found, refused for other bases, and go."""

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
from rwkv_rag.rwkv.tuned import MANIFEST, Shelf, Tuned


def chinese(error: Exception) -> str:
    """The error's message in Chinese."""
    assert isinstance(error, RagError)
    with in_language("zh"):
        return _(error)


STATE = Tuned("诗", "state", "ab" * 32, "builtin", "state", steps=200, before=2.5, after=1.25)
ADAPTER = replace(STATE, name="b", kind="adapter", method="lora", rank=16, parts=("att", "ffn"))


def put(shelf: Shelf, tuned: Tuned, content: bytes = b"x") -> None:
    with shelf.adding(tuned) as folder:
        (folder / f"{tuned.kind}.safetensors").write_bytes(content)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_what_is_added_is_found_as_it_was(shelf: Shelf) -> None:
    put(shelf, STATE, b"tensors")
    put(shelf, ADAPTER)
    assert shelf.all() == [ADAPTER, STATE]
    assert shelf.find("诗") == STATE
    assert shelf.tensors("诗").read_bytes() == b"tensors"
    assert shelf.tensors("b").name == "adapter.safetensors"


def test_an_empty_home_has_an_empty_shelf(shelf: Shelf) -> None:
    assert shelf.all() == []
    with pytest.raises(NotFound, match="nothing has been tuned yet"):
        shelf.find("a")


def test_a_name_in_use_is_not_taken_over(shelf: Shelf) -> None:
    put(shelf, STATE, b"first")
    with pytest.raises(AlreadyExists, match="another name"):
        put(shelf, STATE, b"second")
    assert shelf.tensors("诗").read_bytes() == b"first"
    assert [path.name for path in shelf.folder.iterdir()] == ["诗"]


def test_of_two_that_add_one_name_the_first_to_finish_has_it(shelf: Shelf) -> None:
    with pytest.raises(AlreadyExists), shelf.adding(STATE) as folder:
        (folder / "state.safetensors").write_bytes(b"slow")
        put(shelf, STATE, b"quick")
    assert shelf.tensors("诗").read_bytes() == b"quick"


def test_a_failure_while_writing_leaves_nothing(shelf: Shelf) -> None:
    with pytest.raises(OSError, match="full"), shelf.adding(STATE) as folder:
        (folder / "state.safetensors").write_bytes(b"half")
        raise OSError("full")
    assert list(shelf.folder.iterdir()) == []


def test_a_killed_writer_leaves_nothing_on_the_shelf(shelf: Shelf, tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from rwkv_rag.rwkv.tuned import Shelf, Tuned\n"
        "tuned = Tuned('a', 'state', 'ab', 'builtin', 'state')\n"
        "with Shelf(Path(sys.argv[1])).adding(tuned) as folder:\n"
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
    assert shelf.all() == []
    put(shelf, replace(STATE, name="a"), b"whole")
    assert shelf.tensors("a").read_bytes() == b"whole"
    (left,) = shelf.folder.glob(".adding-*")  # it may as well be one that is still written
    os.utime(left, (0, 0))
    put(shelf, ADAPTER)
    assert not left.exists()


def test_what_is_removed_is_gone_and_the_rest_stays(shelf: Shelf) -> None:
    put(shelf, STATE)
    put(shelf, ADAPTER)
    shelf.remove("诗")
    assert shelf.all() == [ADAPTER]
    assert [path.name for path in shelf.folder.iterdir()] == ["b"]
    with pytest.raises(NotFound, match="there are: b"):
        shelf.remove("诗")


def test_a_damaged_folder_is_left_out_and_can_be_removed(shelf: Shelf) -> None:
    put(shelf, STATE)
    put(shelf, ADAPTER)
    manifest = shelf.path("诗") / MANIFEST
    for damage in ("", "[]", "{}", "null", '{"name": 1', manifest.read_text()[:40]):
        manifest.write_text(damage)
        assert shelf.all() == [ADAPTER]
        with pytest.raises(CorruptData) as caught:
            shelf.find("诗")
        assert "\n" not in str(caught.value)
    shelf.remove("诗")
    assert not shelf.path("诗").exists()


@pytest.mark.parametrize("name", ["", ".a", "../a", "a/b", "a\nb", "-a", "a" * 65, "~", "a b"])
def test_what_is_no_name_reaches_no_file(shelf: Shelf, name: str) -> None:
    put(shelf, STATE)
    for action in (shelf.find, shelf.remove, shelf.path, shelf.tensors):
        with pytest.raises(InputError, match="is no name"):
            action(name)
    assert shelf.all() == [STATE]


def test_another_base_is_refused_by_its_hash(shelf: Shelf) -> None:
    STATE.check_base("ab" * 32)
    with pytest.raises(ModelMismatch, match=r"abababababab.*cdcdcdcdcdcd"):
        STATE.check_base("cd" * 32)
    replace(STATE, kind="model").check_base("cd" * 32)  # a whole model needs no base


def test_what_goes_wrong_is_said_in_chinese(shelf: Shelf) -> None:
    put(shelf, STATE)
    (shelf.path("诗") / "x").touch()
    wrong = [
        lambda: shelf.find("b"),
        lambda: shelf.path("a/b"),
        lambda: put(shelf, STATE),
        lambda: STATE.check_base("cd" * 32),
        lambda: Shelf(shelf.folder).find("b"),
        lambda: (shelf.path("诗") / MANIFEST).write_text("{") and shelf.find("诗"),
    ]
    for action in wrong:
        with pytest.raises(RagError) as caught:
            action()
        said = chinese(caught.value)
        assert "微调" in said and said != str(caught.value), said


@pytest.mark.parametrize("change", [{"loss": "low"}, {"name": 5}, {"steps": None}, {"parts": [1]}])
def test_a_manifest_with_values_of_another_type_is_damaged(
    shelf: Shelf, change: dict[str, object]
) -> None:
    put(shelf, STATE)
    manifest = shelf.folder / STATE.name / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text("utf-8")), **change}))
    assert shelf.all() == []
    with pytest.raises(CorruptData, match="a value of another type"):
        shelf.find(STATE.name)
