"""Which objects each service has, and how each of their methods is called. Knows no implementation.

The Protocol is the list of what may be called: what is not a method of it does not exist here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rwkv_rag import interfaces
from rwkv_rag.bus.transport import DEADLINE_S, Priority

LONG_S = 600.0  # rebuilding a base, loading a large model


@dataclass(frozen=True, slots=True)
class Way:
    """How one method is called; see `bus.transport.Call`."""

    deadline_s: float = DEADLINE_S
    priority: Priority = Priority.NORMAL
    repeatable: bool = False


LOOK = Way(repeatable=True)  # asks and changes nothing
CHANGE = Way()


@dataclass(frozen=True, slots=True)
class Contract:
    """A Protocol as a service offers it. `ways` names every method of the Protocol."""

    service: str
    target: str
    protocol: type
    ways: Mapping[str, Way] = field(default_factory=dict)


GENERATOR = Contract(
    "llm",
    "generator",
    interfaces.Generator,
    {
        "name": LOOK,
        "count_tokens": Way(priority=Priority.CHAT, repeatable=True),
        "generate": Way(deadline_s=120.0, priority=Priority.CHAT, repeatable=True),
    },
)
EMBEDDER = Contract(
    "llm",
    "embedder",
    interfaces.Embedder,
    {
        "model": LOOK,
        "embed_documents": Way(deadline_s=LONG_S, priority=Priority.BULK, repeatable=True),
        "embed_queries": Way(priority=Priority.CHAT, repeatable=True),
    },
)
RERANKER = Contract(
    "llm",
    "reranker",
    interfaces.Reranker,
    {"rerank": Way(priority=Priority.CHAT, repeatable=True)},
)
READER = Contract(
    "llm",
    "reader",
    interfaces.Reader,
    {"read": Way(priority=Priority.CHAT, repeatable=True)},
)
MODELS = Contract(
    "llm",
    "models",
    interfaces.Models,
    {"writers": LOOK, "tuned": LOOK, "writer": LOOK},
)
KNOWLEDGE = Contract(
    "index",
    "knowledge",
    interfaces.Knowledge,
    {
        "create": CHANGE,
        "delete": CHANGE,
        "bases": LOOK,
        "base": LOOK,
        "documents": LOOK,
        "document": LOOK,
        "remove": CHANGE,
        "index": Way(deadline_s=LONG_S, priority=Priority.BULK),
        "add": Way(deadline_s=LONG_S, priority=Priority.BULK),
        "search": Way(priority=Priority.CHAT, repeatable=True),
        "chunk": Way(priority=Priority.CHAT, repeatable=True),
        "verify": Way(deadline_s=LONG_S, repeatable=True),
        "rebuild": Way(deadline_s=LONG_S, priority=Priority.BULK),
    },
)
TUNER = Contract(
    "tuning",
    "tuner",
    interfaces.Tuner,
    {
        "estimate": Way(deadline_s=LONG_S, repeatable=True),
        "start": Way(deadline_s=LONG_S),
        "jobs": LOOK,
        "job": LOOK,
        "stop": CHANGE,
        "resume": Way(deadline_s=LONG_S),
        "forget": CHANGE,
        "metrics": LOOK,
        "logs": LOOK,
    },
)
SUPERVISION = Contract(
    "control",
    "supervision",
    interfaces.Supervision,
    {"status": LOOK, "restart": Way(deadline_s=LONG_S), "stop": CHANGE},
)
CONTRACTS = (GENERATOR, EMBEDDER, RERANKER, READER, MODELS, KNOWLEDGE, TUNER, SUPERVISION)
