"""What is known of a shipped model beside its weights. Knows no tensors: reading it is quick."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rwkv_rag.errors import CorruptData, NotFound
from rwkv_rag.types import Language

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reading head counts beside the linear score of spans, in one language.

    span                    its log-probabilities of a span's start and end, beside the span's score
    outside                 how far below the best linear score the head's own spans begin, which
                            the linear score does not know; None: they are not looked at
    bias, linear, head      the margin of a passage: bias + linear x the sentence's margin + head x
                            the head's; above 0 the answer is there
    """

    span: float = 0.0
    outside: float | None = None
    bias: float = 0.0
    linear: float = 1.0
    head: float = 0.0

    @property
    def asks(self) -> bool:
        """Whether the head is asked at all."""
        return self.span != 0 or self.head != 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """Numbers that `training/calibrate.py` measured on questions never trained on.

    fusion_weight       of the cosine beside the lexical score (at most 1)
    rerank_weight       of the reranker's score beside the fused one; 0: reranking does not help
    reranks_by          "sentence": the share of the question that a text's best sentence holds;
                        "answer": that and the reading head
    similarity_floor    cosine that unrelated texts seldom exceed
    relevance           a best hit less relevant than this is no hit
    reading             by language: what the reading head counts beside the linear score of spans
    read_margin         a reading of the head alone with a margin below this is a refusal
    rank_weight         what a reading's margin loses for every place its passage stands below the
                        first
    writes              whether the base writes sentences worth reading
    """

    name: str
    fusion_weight: float = 0.0
    rerank_weight: float = 0.0
    reranks_by: Literal["sentence", "answer"] = "sentence"
    similarity_floor: float = 1.0
    relevance: float = 0.0
    reading: Mapping[Language, Reading] = field(default_factory=dict)
    read_margin: float = 0.0
    rank_weight: float = 0.0
    writes: bool = False

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a model folder. NotFound or CorruptData."""
        path = folder / MANIFEST
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            values["reading"] = {n: Reading(**v) for n, v in values.get("reading", {}).items()}
            return cls(**values)
        except FileNotFoundError:
            raise NotFound("no manifest at {path}; install rwkv-rag again", path=path) from None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CorruptData(
                "{path} is damaged ({reason}); install rwkv-rag again", path=path, reason=error
            ) from error

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")
