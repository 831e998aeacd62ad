"""The HTTP API: OpenAI's protocol, and REST for everything else, over `app.Client`.

    application  ─ gate (host, origin, token, sizes) ─ measures ─▶ v1 | rest | health | pages
    v1           what OpenAI's clients speak: models, chat, embeddings; and rerank
    rest         knowledge bases, documents, asking, fine-tuning, services

Endpoints are plain functions that run in threads; what streams is pulled step by step from its
iterator (`flow`). Knows no model, no store and no bus.
"""
