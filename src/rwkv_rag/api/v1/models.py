"""`/v1/models`, and what a model's name in a request means.

MODEL            a model that writes, as `/v1/models` lists it; "default": the one in use
MODEL:TUNED      with a tuned state or adapter
MODEL@KB         answers from a knowledge base; MODEL:TUNED@KB both
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from fastapi import APIRouter

from rwkv_rag.api.dependencies import ClientDep
from rwkv_rag.api.problems import Problem
from rwkv_rag.api.v1.schemas import Model, ModelList
from rwkv_rag.client import Client
from rwkv_rag.errors import CorruptData, InputError, NotFound
from rwkv_rag.types import Writer

DEFAULT = "default"

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model that writes, and the knowledge base it answers from, if any."""

    writer: Writer
    kb: str = ""


@router.get("/models", summary="List the models", response_model=ModelList)
def models(client: ClientDep) -> ModelList:
    """Models that write, each with what was tuned on it (MODEL:TUNED), the knowledge bases
    (MODEL@KB), and the embedding model. Any MODEL:TUNED@KB may be asked for, listed or not."""
    found = [Model(id=name, kind=kind) for name, kind in listed_models(client)]
    embedding = Model(id=client.embedder.model.id, kind="embedding")
    return ModelList(data=[*found, embedding])


@router.get("/models/{id:path}", summary="Show one model", response_model=Model)
def model(id: str, client: ClientDep) -> Model:
    """One model by the name it has in the list."""
    try:
        choice = choose_model(client, id)
    except Problem:
        if id == client.embedder.model.id:
            return Model(id=id, kind="embedding")
        raise
    if choice.kb:
        client.knowledge.base(choice.kb)
    return Model(id=id, kind="knowledge" if choice.kb else "chat")


def choose_model(client: Client, name: str, knowledge_base: str | None = None) -> ModelChoice:
    """What `name` means; `knowledge_base` names the base apart from it. Raises Problem (404)."""
    choice = _parse(client, name)
    if knowledge_base:
        if choice.kb not in ("", knowledge_base):
            error = InputError(
                "the model names the knowledge base {kb!r} and knowledge_base another, "
                "{knowledge_base!r}; name one",
                kb=choice.kb,
                knowledge_base=knowledge_base,
            )
            raise Problem(error, param="knowledge_base")
        choice = replace(choice, kb=knowledge_base)
    return choice


def listed_models(client: Client) -> Iterator[tuple[str, Literal["chat", "knowledge"]]]:
    """The names of models that write, and whether they write from documents."""
    bases = client.knowledge.bases()
    for number, writer in enumerate(client.models.writers()):
        if writer.writes:
            yield writer.name, "chat"
        if not number:
            for base in bases:
                yield f"{writer.name}@{base.name}", "knowledge"
        for tuned in _tuned(client, writer):
            yield f"{writer.name}:{tuned}", "chat"


def _tuned(client: Client, writer: Writer) -> list[str]:
    try:
        return [tuned.name for tuned in client.models.tuned(writer.model)]
    except CorruptData:  # what cannot be read is not offered
        return []


def _parse(client: Client, name: str) -> ModelChoice:
    writers = {writer.name: writer for writer in client.models.writers()}
    rest, kb = _split(name, "@", writers)
    first, tuned = _split(rest, ":", writers)
    if first == DEFAULT and first not in writers:
        return ModelChoice(_writer(client, "", tuned), kb)
    if first not in writers:
        listed = ", ".join([DEFAULT, *writers])
        error = NotFound(
            "there is no model {first!r}; there are: {listed}", first=first, listed=listed
        )
        raise Problem(error, param="model", code="model_not_found")
    writer = writers[first]
    return ModelChoice(_writer(client, writer.model, tuned) if tuned else writer, kb)


def _writer(client: Client, model: str, tuned: str) -> Writer:
    try:
        return client.writer(model, tuned)
    except NotFound as error:
        raise Problem(error, param="model", code="model_not_found") from error


def _split(name: str, separator: str, writers: dict[str, Writer]) -> tuple[str, str]:
    """The two sides of the last separator, unless the name as it stands is a writer's."""
    if name in writers or separator not in name:
        return name, ""
    first, _, second = name.rpartition(separator)
    return first, second
