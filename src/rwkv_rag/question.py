"""What may be asked: a question that is neither empty nor a document. Knows nothing of answers."""

from __future__ import annotations

from rwkv_rag.errors import InputError

LONGEST_QUESTION = 8_000
"""Characters; a longer text is a document, not a question."""


def checked_question(question: str) -> str:
    """The question without white space around it. Raises InputError when empty or too long."""
    question = question.strip()
    if not question:
        raise InputError("the question is empty; type what you want to know")
    if len(question) > LONGEST_QUESTION:
        raise InputError(
            "the question has {question:,} characters; the limit is "
            "{longest_question:,}: shorten it, or index the long text as a document",
            question=len(question),
            longest_question=LONGEST_QUESTION,
        )
    return question.encode(errors="replace").decode()  # lone surrogates mean nothing to anyone
