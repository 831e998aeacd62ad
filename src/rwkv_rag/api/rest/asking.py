"""`/api/knowledge/{kb}/ask`: a question, and everything that is known of its answer.

{"type": "delta", "text": …}     as it is made
{"type": "answer", "answer": …, "refused": …, "citations": …, "hits": …, "timings": …}
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Response

from rwkv_rag.api.context import Here
from rwkv_rag.api.faults import Refused
from rwkv_rag.api.flow import Step, close
from rwkv_rag.api.rest.documents import STREAMS, Accept, form_of
from rwkv_rag.api.rest.shapes import AnswerOut, AskRequest, answer_record
from rwkv_rag.api.v1.naming import chosen
from rwkv_rag.api.v1.reply import citation_record
from rwkv_rag.errors import InputError
from rwkv_rag.types import Answer, Delta, Turn

router = APIRouter(prefix="/api/knowledge/{kb}", tags=["Asking"])


@router.post("/ask", summary="Ask a question", response_model=AnswerOut, responses=STREAMS)
def ask(kb: str, asked: AskRequest, here: Here, accept: Accept = "") -> Response:
    """An answer with its checked citations. `strict` quotes the documents word for word, `free`
    lets the model write where it can; with `stream` the answer comes as it is made."""
    who = chosen(here.parts, asked.model)
    if who.kb:
        error = InputError("the model names a knowledge base, {kb!r}; leave it out here", kb=who.kb)
        raise Refused(error, param="model")
    here.parts.knowledge.base(kb)
    history = [Turn(turn.question, turn.answer) for turn in asked.history]
    pipeline = here.parts.pipeline(who.writer)
    events = pipeline.answer(
        asked.question, kb=kb, mode=asked.mode, history=history, top_k=asked.top_k
    )
    steps = _steps(events, streamed=asked.stream)
    return here.flow(steps, form_of(accept, streamed=asked.stream))


def _steps(events: Iterator[Delta | Answer], *, streamed: bool) -> Iterator[Step]:
    try:
        for event in events:
            if isinstance(event, Delta):
                yield {"type": "delta", "text": event.text} if streamed else None
                continue
            record = answer_record(event, [citation_record(each) for each in event.citations])
            yield {"type": "answer", **record} if streamed else record
    finally:
        close(events)
