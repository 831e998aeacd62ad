"""A reader for each language of questions. Knows no reader itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rwkv_rag.interfaces import Reader
from rwkv_rag.rag.language import detect
from rwkv_rag.types import Language, Reading


class ByLanguage:
    """A Reader that hands every question to the reader of its language."""

    def __init__(self, readers: Mapping[Language, Reader]) -> None:
        self._readers = readers

    def read(self, question: str, passages: Sequence[str]) -> list[Reading | None]:
        return self._readers[detect(question)].read(question, passages)
