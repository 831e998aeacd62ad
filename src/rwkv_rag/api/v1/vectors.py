"""`/v1/embeddings` and `/v1/rerank`: the models that retrieval uses, for other programs."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter

from rwkv_rag.api.dependencies import Context, ContextDep
from rwkv_rag.api.problems import Problem
from rwkv_rag.api.v1.models import DEFAULT
from rwkv_rag.api.v1.schemas import (
    EmbeddingOut,
    EmbeddingRequest,
    Embeddings,
    InputUsage,
    Ranked,
    Ranking,
    RerankRequest,
)
from rwkv_rag.errors import InputError, NotFound
from rwkv_rag.question import checked_question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_INPUTS = 2048
MAX_INPUT = 100_000
"""Characters of one text."""
RERANKER = "reranker"

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.post("/embeddings", summary="Texts to vectors", response_model=Embeddings)
def embeddings(body: EmbeddingRequest, context: ContextDep) -> Embeddings:
    """Unit-length vectors. `input_type` says whether the texts are passages (`document`, the
    default) or questions (`query`): the model reads the two differently."""
    model = context.client.embedder.model
    if body.model not in (DEFAULT, model.id):
        error = NotFound(
            "there is no embedding model {model!r}; there are: {default}, {id}",
            model=body.model,
            default=DEFAULT,
            id=model.id,
        )
        raise Problem(error, param="model", code="model_not_found")
    if body.dimensions not in (None, model.dimension):
        wrong = InputError(
            "dimensions is {dimensions}, but the vectors of {id} have {dimension} "
            "numbers; leave it out",
            dimensions=body.dimensions,
            id=model.id,
            dimension=model.dimension,
        )
        raise Problem(wrong, param="dimensions")
    texts = _texts(body)
    embedder = context.client.embedder
    embed = embedder.embed_queries if body.input_type == "query" else embedder.embed_documents
    data = [
        EmbeddingOut(index=n, embedding=_encoded(vector, body.encoding_format))
        for n, vector in enumerate(embed(texts))
    ]
    return Embeddings(data=data, model=model.id, usage=_usage(context, texts))


@router.post("/rerank", summary="Order texts by how well they answer", response_model=Ranking)
def rerank(body: RerankRequest, context: ContextDep) -> Ranking:
    """The documents with their scores (0..1), best first, in the shape of Jina's and Cohere's."""
    if body.model not in (None, DEFAULT, RERANKER):
        error = NotFound(
            "there is no reranking model {model!r}; there are: {default}, {reranker}",
            model=body.model,
            default=DEFAULT,
            reranker=RERANKER,
        )
        raise Problem(error, param="model", code="model_not_found")
    query = checked_question(body.query)
    given = [each if isinstance(each, str) else each.text for each in body.documents]
    texts = _checked(given, "documents")
    scores = context.client.reranker.rerank(query, texts)
    order = sorted(range(len(texts)), key=lambda n: -scores[n])[: body.top_n]
    results = [
        Ranked(
            index=n,
            relevance_score=scores[n],
            document={"text": texts[n]} if body.return_documents else None,
        )
        for n in order
    ]
    usage = _usage(context, [query, *texts])
    return Ranking(
        id=f"rerank-{secrets.token_hex(12)}", model=RERANKER, results=results, usage=usage
    )


def _texts(body: EmbeddingRequest) -> list[str]:
    """The texts that are to become vectors. Raises Problem for token ids and too much."""
    given = [body.input] if isinstance(body.input, str) else body.input
    if not given or len(given) > MAX_INPUTS:
        error = InputError(
            "input has {given} texts; give from 1 to {most_inputs:,}",
            given=len(given),
            most_inputs=MAX_INPUTS,
        )
        raise Problem(error, param="input")
    texts = [each for each in given if isinstance(each, str)]
    if len(texts) < len(given):
        error = InputError("input has token ids, which belong to another model; send texts")
        raise Problem(error, param="input", code="unsupported_parameter")
    return _checked(texts, "input")


def _checked(texts: Sequence[str], param: str) -> list[str]:
    """Texts that a model can read. Raises Problem, naming the place, for the first that is not."""
    for n, text in enumerate(texts):
        if not text.strip():
            error = InputError("text {n} is empty; leave it out", n=n)
            raise Problem(error, param=f"{param}[{n}]")
        if len(text) > MAX_INPUT:
            error = InputError(
                "text {n} has {text:,} characters; the limit is {longest_input:,}: split it",
                n=n,
                text=len(text),
                longest_input=MAX_INPUT,
            )
            raise Problem(error, param=f"{param}[{n}]")
    return list(texts)


def _encoded(vector: NDArray[np.float32], encoding: str | None) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


def _usage(context: Context, texts: Sequence[str]) -> InputUsage:
    tokens = sum(map(context.client.generator().count_tokens, texts))
    context.metrics.count_tokens(tokens)
    return InputUsage(prompt_tokens=tokens, total_tokens=tokens)
