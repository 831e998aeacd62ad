"""Models: who can write, and what was tuned, are the same lists everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from rwkv_rag import models
from rwkv_rag.config import Settings
from rwkv_rag.errors import CorruptData, ModelMismatch, NotFound
from rwkv_rag.rwkv.checkpoint import file_sha256
from rwkv_rag.rwkv.tuned import FILES, Kind, Tuned, TunedStore
from rwkv_rag.services.contracts import MODELS

from .conftest import Reach


@pytest.fixture
def itself(tmp_path: Path) -> models.Writers:
    """A home with a state of the builtin model, a damaged one, one of another base, and a model."""
    builtin = file_sha256(models.BUILTIN_WEIGHTS)
    store(tmp_path, "诗人", "state", builtin, 2.5)
    store(tmp_path, "stranger", "adapter", "0" * 64, None)
    store(tmp_path, "whole", "model", builtin, None)
    store(tmp_path, "damaged", "state", builtin, None)
    (tmp_path / "tuned" / "damaged" / FILES["state"]).unlink()
    return models.Writers(Settings(home=tmp_path, tuned="诗人"))


def store(home: Path, name: str, kind: Kind, base: str, after: float | None) -> None:
    folder = TunedStore(home).path(name)
    folder.mkdir(parents=True)
    (folder / FILES[kind]).write_bytes(b"")
    Tuned(name, kind, base, "builtin", "state", before=3.0, after=after).write(folder)


def test_the_lists_are_the_same(reach: Reach, itself: models.Writers) -> None:
    there = reach(MODELS, itself)
    assert there.writers() == itself.writers()
    assert [writer.name for writer in there.writers()] == ["builtin", "whole"]
    for writer in itself.writers():
        assert there.tuned(writer.model) == itself.tuned(writer.model)
    assert [info.name for info in there.tuned("builtin")] == ["damaged", "诗人"]


@pytest.mark.parametrize(
    ("model", "tuned"), [("", ""), ("builtin", ""), ("builtin", "诗人"), ("", "whole")]
)
def test_who_writes_is_the_same(
    reach: Reach, itself: models.Writers, model: str, tuned: str
) -> None:
    assert reach(MODELS, itself).writer(model, tuned) == itself.writer(model, tuned)


def test_who_does_not_fit_is_refused_in_the_same_way(reach: Reach, itself: models.Writers) -> None:
    there = reach(MODELS, itself)
    with pytest.raises(ModelMismatch, match="'stranger' was tuned on"):
        there.writer("builtin", "stranger")
    with pytest.raises(CorruptData, match="is missing"):
        there.writer("", "damaged")
    with pytest.raises(NotFound, match=r"no tuned state or adapter 'x'; there are: .*诗人"):
        there.writer("", "x")
    with pytest.raises(NotFound, match="no model '/etc/passwd' here; there are: builtin, whole"):
        there.tuned("/etc/passwd")
