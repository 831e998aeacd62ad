"""Names of models in requests: who writes, with what tuned, from which knowledge base.

MODEL            a model that writes, as `/v1/models` lists it; "default": the one in use
MODEL:TUNED      with a tuned state or adapter
MODEL@KB         answers from a knowledge base; MODEL:TUNED@KB both
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rwkv_rag.api.faults import Refused
from rwkv_rag.app import Client
from rwkv_rag.errors import CorruptData, InputError, NotFound
from rwkv_rag.types import Writer

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who writes, and the knowledge base, if any."""

    writer: Writer
    kb: str = ""


def chosen(parts: Client, name: str, knowledge_base: str | None = None) -> Chosen:
    """What `name` means; `knowledge_base` says the base apart from it. Raises Refused (404)."""
    found = _found(parts, name)
    if knowledge_base:
        if found.kb not in ("", knowledge_base):
            error = InputError(
                "the model names the knowledge base {kb!r} and knowledge_base another, "
                "{knowledge_base!r}; name one",
                kb=found.kb,
                knowledge_base=knowledge_base,
            )
            raise Refused(error, param="knowledge_base")
        found = replace(found, kb=knowledge_base)
    return found


def names(parts: Client) -> Iterator[tuple[str, Literal["chat", "knowledge"]]]:
    """What `/v1/models` lists of those who write, and whether they write from documents."""
    bases = parts.knowledge.bases()
    for number, writer in enumerate(parts.models.writers()):
        if writer.writes:
            yield writer.name, "chat"
        if not number:
            for base in bases:
                yield f"{writer.name}@{base.name}", "knowledge"
        for tuned in _tuned(parts, writer):
            yield f"{writer.name}:{tuned}", "chat"


def _tuned(parts: Client, writer: Writer) -> list[str]:
    try:
        return [tuned.name for tuned in parts.models.tuned(writer.model)]
    except CorruptData:  # what cannot be read is not offered
        return []


def _found(parts: Client, name: str) -> Chosen:
    writers = {writer.name: writer for writer in parts.models.writers()}
    rest, kb = _split(name, "@", writers)
    first, tuned = _split(rest, ":", writers)
    if first == DEFAULT and first not in writers:
        return Chosen(_writer(parts, "", tuned), kb)
    if first not in writers:
        listed = ", ".join([DEFAULT, *writers])
        error = NotFound(
            "there is no model {first!r}; there are: {listed}", first=first, listed=listed
        )
        raise Refused(error, param="model", code="model_not_found")
    writer = writers[first]
    return Chosen(_writer(parts, writer.model, tuned) if tuned else writer, kb)


def _writer(parts: Client, model: str, tuned: str) -> Writer:
    try:
        return parts.writer(model, tuned)
    except NotFound as error:
        raise Refused(error, param="model", code="model_not_found") from error


def _split(name: str, mark: str, whole: dict[str, Writer]) -> tuple[str, str]:
    """The parts around the last `mark`, unless the name as it stands is a writer's."""
    if name in whole or mark not in name:
        return name, ""
    first, _, second = name.rpartition(mark)
    return first, second
