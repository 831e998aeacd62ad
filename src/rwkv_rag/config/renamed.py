"""Keys of the predecessor's file that mean nothing here, each with what takes its place.

One table for the errors and for the documentation. Knows no file.
"""

from __future__ import annotations

from rwkv_rag.errors import Message, message

_INSIDE = message("leave it out: Chroma runs inside the index service, see index.chroma_path")
BETTER: dict[str, Message] = {
    "llm.base_model_path": message("write {key}", key="llm.base_model_file"),
    "llm.bgem3_path": message("write {key}", key="llm.embedding_path: builtin"),
    "llm.reranker_path": message("write {key}", key="llm.rerank_path: builtin"),
    "index.sqlite_db_path": message("write {key}", key="index.sqlite_path"),
    "index.chroma_host": _INSIDE,
    "index.chroma_port": _INSIDE,
    "index.llm_front_end_url": message("leave it out: services find each other"),
    "service_module": message("leave it out: the section says which service it is"),
    "spawn_method": message("leave it out: every worker is a process of its own"),
    "socket_type": message("leave it out: the queue chooses its sockets"),
    "docker": message("leave it out: nothing depends on it"),
    "base": message("write {key}", key="home"),
    "base.knowledge_base_path": message("write {key}", key="home"),
    "base_model_path": message("write {key}", key="llm.base_model_file"),
    "embedding_path": message("write {key}", key="llm.embedding_path: builtin"),
    "reranker_path": message("write {key}", key="llm.rerank_path: builtin"),
    "knowledge_base_path": message("write {key}", key="home"),
    "vectordb_path": message("write {key}", key="index.chroma_path"),
    "vectordb_name": _INSIDE,
    "vectordb_host": _INSIDE,
    "vectordb_port": _INSIDE,
    "strategy": message("write {key}", key="llm.device"),
    "is_init": message("leave it out: nothing has to be set up"),
    "ui.host": message("leave it out: the pages are for this machine only"),
}
"""By the whole key, or by its last word where it means the same in every section."""


def better(key: str) -> Message | None:
    """What to write instead of `key`, None for a key that never existed."""
    return BETTER.get(key) or BETTER.get(key.rpartition(".")[2])
