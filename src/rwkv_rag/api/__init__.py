"""The HTTP API: OpenAI's shapes for models, chat, vectors and ranking; REST for the rest."""
