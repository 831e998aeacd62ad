"""What is known of a shipped model beside its weights. Knows no tensors: reading it is quick."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rwkv_rag.errors import CorruptData, NotFound
from rwkv_rag.types import Language

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Numbers that `training/calibrate.py` measured on questions never trained on.

    fusion_weight       of the dense ranking beside the lexical one (1)
    rerank_weight       of the reranker's score beside the fused one; 0: reranking does not help
    similarity_floor    cosine that unrelated texts seldom exceed
    relevance           a best hit less relevant than this is no hit
    head_weight         by language: what the reading head counts beside the linear score of spans;
                        0: it is not asked
    read_margin         a reading of the head alone with a margin below this is a refusal
    writes              whether the base writes sentences worth reading
    """

    name: str
    fusion_weight: float = 0.0
    rerank_weight: float = 0.0
    similarity_floor: float = 1.0
    relevance: float = 0.0
    head_weight: Mapping[Language, float] = field(default_factory=dict)
    read_margin: float = 0.0
    writes: bool = False

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a model folder. NotFound or CorruptData."""
        path = folder / MANIFEST
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(**values)
        except FileNotFoundError:
            raise NotFound(f"no manifest at {path}; install rwkv-rag again") from None
        except (OSError, ValueError, TypeError) as error:
            raise CorruptData(f"{path} is damaged ({error}); install rwkv-rag again") from error

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")
