"""`/v1/embeddings` and `/v1/rerank`: the two models that retrieval uses, for other programs."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter

from rwkv_rag.api.context import Context, Here
from rwkv_rag.api.faults import Refused
from rwkv_rag.api.v1.naming import DEFAULT
from rwkv_rag.api.v1.shapes import (
    EmbeddingOut,
    EmbeddingRequest,
    Embeddings,
    EmbeddingUsage,
    Ranked,
    Ranking,
    RerankRequest,
)
from rwkv_rag.errors import InputError, NotFound
from rwkv_rag.question import checked_question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_INPUTS = 2048
LONGEST_INPUT = 100_000
"""Characters of one text."""
RERANKER = "reranker"

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.post("/embeddings", summary="Texts to vectors", response_model=Embeddings)
def embeddings(asked: EmbeddingRequest, here: Here) -> Embeddings:
    """Unit-length vectors. `input_type` says whether the texts are passages (`document`, the
    default) or questions (`query`): the model reads the two differently."""
    model = here.parts.embedder.model
    if asked.model not in (DEFAULT, model.id):
        error = NotFound(
            "there is no embedding model {model!r}; there are: {default}, {id}",
            model=asked.model,
            default=DEFAULT,
            id=model.id,
        )
        raise Refused(error, param="model", code="model_not_found")
    if asked.dimensions not in (None, model.dimension):
        error_ = InputError(
            "dimensions is {dimensions}, but the vectors of {id} have {dimension} "
            "numbers; leave it out",
            dimensions=asked.dimensions,
            id=model.id,
            dimension=model.dimension,
        )
        raise Refused(error_, param="dimensions")
    texts = _texts(asked)
    embed = here.parts.embedder.embed_documents
    if asked.input_type == "query":
        embed = here.parts.embedder.embed_queries
    vectors = embed(texts)
    base64_wanted = asked.encoding_format == "base64"
    data = [
        EmbeddingOut(index=n, embedding=_base64(vector) if base64_wanted else vector.tolist())
        for n, vector in enumerate(vectors)
    ]
    return Embeddings(data=data, model=model.id, usage=_usage(here, texts))


@router.post("/rerank", summary="Order texts by how well they answer", response_model=Ranking)
def rerank(asked: RerankRequest, here: Here) -> Ranking:
    """The documents with their scores (0..1), best first, in the shape of Jina's and Cohere's."""
    if asked.model not in (None, DEFAULT, RERANKER):
        error = NotFound(
            "there is no reranking model {model!r}; there are: {default}, {reranker}",
            model=asked.model,
            default=DEFAULT,
            reranker=RERANKER,
        )
        raise Refused(error, param="model", code="model_not_found")
    query = checked_question(asked.query)
    given = [each if isinstance(each, str) else each.text for each in asked.documents]
    texts = _checked(given, "documents")
    scores = here.parts.reranker.rerank(query, texts)
    order = sorted(range(len(texts)), key=lambda n: -scores[n])[: asked.top_n]
    results = [
        Ranked(
            index=n,
            relevance_score=scores[n],
            document={"text": texts[n]} if asked.return_documents else None,
        )
        for n in order
    ]
    usage = _usage(here, [query, *texts])
    return Ranking(
        id=f"rerank-{secrets.token_hex(12)}", model=RERANKER, results=results, usage=usage
    )


def _texts(asked: EmbeddingRequest) -> list[str]:
    """The texts that are to become vectors. Raises Refused for token ids and too much."""
    given = [asked.input] if isinstance(asked.input, str) else asked.input
    if not given or len(given) > MOST_INPUTS:
        raise Refused(
            InputError(
                "input has {given} texts; give from 1 to {most_inputs:,}",
                given=len(given),
                most_inputs=MOST_INPUTS,
            ),
            param="input",
        )
    texts = [each for each in given if isinstance(each, str)]
    if len(texts) < len(given):
        error = InputError("input has token ids, which belong to another model; send texts")
        raise Refused(error, param="input", code="unsupported_parameter")
    return _checked(texts, "input")


def _checked(texts: Sequence[str], param: str) -> list[str]:
    """Texts that a model can read. Raises Refused, naming the place, for the first that is not."""
    for n, text in enumerate(texts):
        if not text.strip():
            error = InputError("text {n} is empty; leave it out", n=n)
            raise Refused(error, param=f"{param}[{n}]")
        if len(text) > LONGEST_INPUT:
            error = InputError(
                "text {n} has {text:,} characters; the limit is {longest_input:,}: split it",
                n=n,
                text=len(text),
                longest_input=LONGEST_INPUT,
            )
            raise Refused(error, param=f"{param}[{n}]")
    return list(texts)


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _usage(here: Context, texts: Sequence[str]) -> EmbeddingUsage:
    tokens = sum(map(here.parts.generator().count_tokens, texts))
    here.measures.count_tokens(tokens)
    return EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens)
