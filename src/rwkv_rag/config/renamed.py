"""Keys of the predecessor's file that mean nothing here, each with what takes its place.

One table for the errors and for the documentation. Knows no file.
"""

from __future__ import annotations

_INSIDE = "leave it out: Chroma runs inside the index service, see index.chroma_path"
BETTER: dict[str, str] = {
    "llm.base_model_path": "write llm.base_model_file",
    "llm.bgem3_path": "write llm.embedding_path: builtin",
    "llm.reranker_path": "write llm.rerank_path: builtin",
    "index.sqlite_db_path": "write index.sqlite_path",
    "index.chroma_host": _INSIDE,
    "index.chroma_port": _INSIDE,
    "index.llm_front_end_url": "leave it out: services find each other",
    "service_module": "leave it out: the section says which service it is",
    "spawn_method": "leave it out: every worker is a process of its own",
    "socket_type": "leave it out: the queue chooses its sockets",
    "docker": "leave it out: nothing depends on it",
    "base": "write home",
    "base.knowledge_base_path": "write home",
    "base_model_path": "write llm.base_model_file",
    "embedding_path": "write llm.embedding_path: builtin",
    "reranker_path": "write llm.rerank_path: builtin",
    "knowledge_base_path": "write home",
    "vectordb_path": "write index.chroma_path",
    "vectordb_name": _INSIDE,
    "vectordb_host": _INSIDE,
    "vectordb_port": _INSIDE,
    "strategy": "write llm.device",
    "is_init": "leave it out: nothing has to be set up",
    "ui.host": "leave it out: the pages are for this machine only",
}
"""By the whole key, or by its last word where it means the same in every section."""


def better(key: str) -> str:
    """What to write instead of `key`, "" for a key nobody ever knew."""
    return BETTER.get(key) or BETTER.get(key.rpartition(".")[2], "")
