"""The model in the package and the user's own: whether the files are whole and compute."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from rwkv_rag import models
from rwkv_rag.config import BUILTIN, FAKE, Settings
from rwkv_rag.diagnosis.finding import Finding, fail, ok

REINSTALL = "pip install --force-reinstall --no-deps rwkv-rag"
SENTENCE = "The gate closes at nine. 大门九点关闭。"


def model(settings: Settings) -> Iterator[Finding]:
    """The model in the package always, and the one that writes where it is another."""
    if settings.model == FAKE:
        yield ok("model", "stand-ins take the place of models (RWKV_RAG_MODEL=fake)")
        return
    yield _builtin()
    if settings.model != BUILTIN:
        yield _own(settings)


def _builtin() -> Finding:
    from rwkv_rag.encoders.embedder import RwkvEmbedder

    for path in (models.BUILTIN_WEIGHTS, models.BUILTIN_VOCABULARY):
        if not path.is_file():
            return fail("model", "{path} is missing", REINSTALL, path=path)
        if _recorded(path) not in ("", _digest(path)):
            return fail("model", "{path} is not the file that was installed", REINSTALL, path=path)
    vectors = RwkvEmbedder(models.builtin()).embed_queries([SENTENCE])
    length = float((vectors**2).sum()) ** 0.5
    if not abs(length - 1) < 1e-3:  # also where it is no number
        return fail(
            "model", "the model in the package computes {length}, not 1", REINSTALL, length=length
        )
    digest = hashlib.sha256(models.BUILTIN_WEIGHTS.read_bytes()).hexdigest()[:12]
    return ok("model", "builtin: loads and computes (sha256 {digest}…)", digest=digest)


def _own(settings: Settings) -> Finding:
    from rwkv_rag.rwkv.checkpoint import load_checkpoint

    files = models.base_files(models.model_in_use(settings))
    shape = load_checkpoint(files.model).shape
    return ok(
        "model",
        "{file}: RWKV-7, {layers} layers of width {width}",
        file=files.model,
        layers=shape.layers,
        width=shape.width,
    )


def _recorded(path: Path) -> str:
    """The hash that the installer wrote down; empty for an installation from a working tree."""
    try:
        files = metadata.files("rwkv-rag") or []
    except metadata.PackageNotFoundError:
        files = []
    known = {Path(str(file.locate())): file.hash.value for file in files if file.hash}
    return known.get(path, "")


def _digest(path: Path) -> str:
    """As installers write it: sha256 in base64 for URLs, without padding."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
