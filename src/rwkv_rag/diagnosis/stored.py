"""What is stored: whether every index holds what the documents say, whether jobs can be listed."""

from __future__ import annotations

from collections.abc import Iterator

from rwkv_rag.diagnosis.finding import Finding, fail, ok
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import N_
from rwkv_rag.interfaces import Embedder, Knowledge, Tuner

NOTHING = N_("no knowledge base yet")


def bases(knowledge: Knowledge, embedder: Embedder) -> Iterator[Finding]:
    """Each knowledge base: index = truth, and the model that made its vectors is the one in use."""
    known = knowledge.bases()
    if not known:
        yield ok("knowledge", NOTHING)
    for base in known:
        try:
            problems = knowledge.verify(base.name)
        except RagError as error:
            yield fail("knowledge", N_("{name}: {why}"), name=base.name, why=error)
            continue
        for problem in problems:
            advice = N_("rwkv-rag kb rebuild {name}")
            yield fail("knowledge", N_("{name}: {why}"), advice, name=base.name, why=problem)
        if not problems:
            counts = {"documents": base.documents, "passages": base.chunks}
            text = N_("{name}: the indexes hold its {documents} documents, {passages} passages")
            yield ok("knowledge", text, name=base.name, **counts)
        if base.embedding_model != (now := embedder.model.id):
            text = N_("{name} was made with the embedding model {model}, and now {now} is in use")
            advice = N_("go back to that model, or index the documents into a new base")
            yield fail(
                "knowledge", text, advice, name=base.name, model=base.embedding_model, now=now
            )


def jobs(tuner: Tuner) -> Iterator[Finding]:
    """The fine-tunings: how many, and those that did not come to an end."""
    known = tuner.jobs()
    broken = [job.id for job in known if job.status in ("failed", "interrupted")]
    if broken:
        text = N_("{count} fine-tunings, {broken} not finished")
        advice = N_("rwkv-rag tune show {id}")
        yield Finding(
            "tuning", "ok", text, advice,
            {"count": len(known), "broken": len(broken), "id": broken[0]},
        )  # fmt: skip
    else:
        yield ok("tuning", N_("{count} fine-tunings"), count=len(known))
