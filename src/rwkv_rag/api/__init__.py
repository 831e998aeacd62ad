"""The HTTP API: OpenAI's protocol, and REST for everything else, over `client.Client`.

    application  ─ middleware (language, access, sizes) ─ metrics ─▶ v1 | rest | health | docs page
    v1           what OpenAI's clients speak: models, chat, embeddings; and reranking
    rest         knowledge bases, documents, questions, fine-tuning, services

Endpoints are plain functions that run in threads; streamed responses take one step after the other
from an iterator (`responses`). Knows no model, no store and no queue.
"""
