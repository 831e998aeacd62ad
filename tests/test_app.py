"""The composition root puts together what the settings ask for, and nothing heavier."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from rwkv_rag import app
from rwkv_rag.config import Settings
from rwkv_rag.errors import InputError, NotFound, UnsupportedModel
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.types import Answer

TEXT = "The annual fee is 48 pounds.\n\nDogs must be kept on a lead.\n"


def filled(settings: Settings, folder: Path) -> Knowledge:
    file = folder / "garden.txt"
    file.write_text(TEXT, encoding="utf-8")
    library = app.open_library(settings)
    library.create("docs")
    for _ in library.index("docs", [file]):
        pass
    return library


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of random weights over a vocabulary of the 256 bytes."""
    from rwkv_rag.rwkv.checkpoint import save_checkpoint
    from rwkv_rag.rwkv.random_weights import random_tensors
    from rwkv_rag.rwkv.tokenizer import write_vocabulary

    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, random_tensors(2, 64, 257))
    write_vocabulary(tmp_path / "vocab.txt", [b"", *(bytes([byte]) for byte in range(256))])
    return path


def test_listing_bases_loads_no_model(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rwkv_rag import app, config\n"
        f"library = app.open_library(config.Settings(home=Path({str(tmp_path)!r})))\n"
        "assert library.bases() == []; library.close()\n"
        "assert not {'torch', 'chromadb', 'numba'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_checkpoint_of_ones_own_answers_with_a_span_of_the_source(
    tmp_path: Path, checkpoint: Path
) -> None:
    settings = Settings(home=tmp_path / "home", model="fake")
    with closing(filled(settings, tmp_path)) as library:  # type: ignore[type-var]
        mine = Settings(home=tmp_path / "home", model=str(checkpoint))
        *_, answer = app.open_pipeline(mine, library).answer("What is the annual fee?", kb="docs")
    assert isinstance(answer, Answer)
    assert answer.refused or answer.text in TEXT  # random weights choose, but cannot invent
    assert "generate" in answer.timings


def test_a_checkpoint_smaller_than_its_vocabulary_is_refused(
    tmp_path: Path, checkpoint: Path
) -> None:
    (tmp_path / "vocab.txt").unlink()  # the World vocabulary takes its place
    with pytest.raises(UnsupportedModel, match=r"257 tokens.*vocab\.txt"):
        app.open_answerer(Settings(home=tmp_path, model=str(checkpoint)))


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"not a model")
    with pytest.raises(UnsupportedModel, match=r"model\.pth"):
        app.open_answerer(Settings(home=tmp_path, model=str(tmp_path / "model.pth")))
    with pytest.raises(NotFound):
        app.open_answerer(Settings(home=tmp_path, model=str(tmp_path / "missing.pth")))


def test_speed_is_measured_on_the_model_given(tmp_path: Path, checkpoint: Path) -> None:
    stages: list[str] = []
    measures = app.measure(Settings(home=tmp_path, model=str(checkpoint)), stages.append)
    assert set(measures) == {
        "prefill_tokens_per_s",
        "decode_tokens_per_s",
        "decode_batch8_tokens_per_s",
        "weights_bytes",
        "stream_bytes_per_s",
        "peak_rss_bytes",
        "dtype",
        "threads",
    }
    assert measures["decode_tokens_per_s"] > 0 and len(stages) > 3


def test_stand_ins_have_no_speed(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        app.measure(Settings(home=tmp_path, model="fake"), lambda stage: None)
