"""`/v1/models`: everything that `model` may name."""

from __future__ import annotations

from fastapi import APIRouter

from rwkv_rag.api.context import Here
from rwkv_rag.api.faults import Refused
from rwkv_rag.api.v1.naming import chosen, names
from rwkv_rag.api.v1.shapes import Model, ModelList

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.get("/models", summary="List the models", response_model=ModelList)
def models(here: Here) -> ModelList:
    """Models that write, each with what was tuned on it (MODEL:TUNED), the knowledge bases
    (MODEL@KB), and the embedding model. Any MODEL:TUNED@KB may be asked for, listed or not."""
    found = [Model(id=name, kind=kind) for name, kind in names(here.parts)]
    return ModelList(data=[*found, Model(id=here.parts.embedder.model.id, kind="embedding")])


@router.get("/models/{id:path}", summary="Show one model", response_model=Model)
def model(id: str, here: Here) -> Model:
    """One model by the name it has in the list."""
    try:
        who = chosen(here.parts, id)
    except Refused:
        if id == here.parts.embedder.model.id:
            return Model(id=id, kind="embedding")
        raise
    if who.kb:
        here.parts.knowledge.base(who.kb)
    return Model(id=id, kind="knowledge" if who.kb else "chat")
