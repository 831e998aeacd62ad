"""What is stored: whether every index holds what the documents say, whether jobs can be listed."""

from __future__ import annotations

from collections.abc import Iterator

from rwkv_rag.diagnosis.finding import Finding, fail, ok
from rwkv_rag.errors import RagError
from rwkv_rag.interfaces import Embedder, Knowledge, Tuner

NOTHING = "no knowledge base yet"


def bases(knowledge: Knowledge, embedder: Embedder) -> Iterator[Finding]:
    """Each knowledge base: index = truth, and the model that made its vectors is the one in use."""
    known = knowledge.bases()
    if not known:
        yield ok("knowledge", NOTHING)
    for base in known:
        try:
            problems = knowledge.verify(base.name)
        except RagError as error:
            yield fail("knowledge", "{name}: {why}", name=base.name, why=error)
            continue
        for problem in problems:
            mend = "rwkv-rag kb rebuild {name}"
            yield fail("knowledge", "{name}: {why}", mend, name=base.name, why=problem)
        if not problems:
            counts = {"documents": base.documents, "passages": base.chunks}
            said = "{name}: the indexes hold its {documents} documents, {passages} passages"
            yield ok("knowledge", said, name=base.name, **counts)
        if base.embedding_model != (now := embedder.model.id):
            said = "{name} was made with the embedding model {model}, and now {now} is in use"
            mend = "go back to that model, or index the documents into a new base"
            yield fail("knowledge", said, mend, name=base.name, model=base.embedding_model, now=now)


def jobs(tuner: Tuner) -> Iterator[Finding]:
    """The fine-tunings: how many, and those that did not come to an end."""
    known = tuner.jobs()
    broken = [job.id for job in known if job.status in ("failed", "interrupted")]
    if broken:
        said = "{count} fine-tunings, {broken} not finished"
        mend = "rwkv-rag tune show {id}"
        yield Finding(
            "tuning", "ok", said, mend,
            {"count": len(known), "broken": len(broken), "id": broken[0]},
        )  # fmt: skip
    else:
        yield ok("tuning", "{count} fine-tunings", count=len(known))
