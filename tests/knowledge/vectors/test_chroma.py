from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rwkv_rag.errors import CorruptData
from rwkv_rag.knowledge.vectors.chroma import ChromaStore

WRITE_AND_DIE = """
import os, sys
from pathlib import Path
import numpy as np
from rwkv_rag.knowledge.vectors.chroma import ChromaStore
store = ChromaStore(Path(sys.argv[1]))
store.create("kb-1", 16)
vectors = np.random.default_rng(0).standard_normal((2500, 16)).astype(np.float32)
store.upsert("kb-1", range(2500), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
store.delete("kb-1", range(100))
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_more_than_a_thousand_vectors_survive_a_killed_process(tmp_path: Path) -> None:
    """Chroma moves its index to disk every 1000 changes; both parts have to come back."""
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(tmp_path / "chroma")], check=False)
    store = ChromaStore(tmp_path / "chroma")
    vectors = np.random.default_rng(0).standard_normal((2500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert store.ids("kb-1") == set(range(100, 2500))
    for wanted in (100, 999, 1000, 1500, 2001, 2499):
        best, score = store.query("kb-1", vectors[wanted], 1)[0]
        assert (best, round(score, 4)) == (wanted, 1.0)
    store.close()


def test_a_damaged_directory_is_named_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "chroma").mkdir()
    (tmp_path / "chroma" / "chroma.sqlite3").write_bytes(b"no database" * 500)
    with pytest.raises(CorruptData, match="delete that directory and it is built again"):
        ChromaStore(tmp_path / "chroma")
