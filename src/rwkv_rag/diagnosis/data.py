"""The data directory: who can read and write it, and whether what is stored in it is whole."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rwkv_rag.diagnosis.finding import Finding, fail, ok, warn
from rwkv_rag.errors import Message, RagError, system_reason
from rwkv_rag.i18n import N_
from rwkv_rag.interfaces import Embedder, Knowledge, Tuner

BELONGS = N_("{path} belongs to user {owner}")
READABLE = N_("other users of this machine can read {path}")
SECRETS = ("server.key", "api.token")
NO_BASE = ok("knowledge", "no knowledge base yet")


def home(path: Path) -> Iterator[Finding]:
    """Whether the directory is there or can be made, is ours, and is nobody else's."""
    if not path.exists():
        yield _new(path)
    elif reason := _refused(path):
        yield fail(
            "data",
            "{path} cannot be written: {why}",
            N_("chown -R $USER {path}, or choose another with --home"),
            path=path,
            why=reason,
        )
    else:
        yield ok("data", "{path} can be written", path=path)
        if os.name == "posix":
            yield from _other_users(path)


def _new(path: Path) -> Finding:
    above = next(each for each in path.parents if each.exists())
    effective = os.access in os.supports_effective_ids
    if os.access(above, os.W_OK | os.X_OK, effective_ids=effective):
        return ok("data", "{path} is made when it is first needed", path=path)
    return fail(
        "data",
        "{path} cannot be made: {above} is not yours to write to",
        N_("choose another with --home or RWKV_RAG_HOME"),
        path=path,
        above=above,
    )


def _refused(path: Path) -> Message | None:
    """What the system says against a new file."""
    try:
        with tempfile.TemporaryFile(dir=path):
            return None
    except OSError as error:
        return system_reason(error)


def _other_users(path: Path) -> Iterator[Finding]:
    """Another owner, and other users who can read: those who may enter all directories above."""
    status = path.stat()
    if status.st_uid != os.geteuid():
        yield warn("data", BELONGS, "chown -R $USER {path}", path=path, owner=_owner(path))
    if status.st_mode & stat.S_IROTH and all(
        above.stat().st_mode & stat.S_IXOTH for above in path.resolve().parents
    ):
        yield warn("data", READABLE, "chmod 700 {path}", path=path)


def keys(home: Path) -> Iterator[Finding]:
    """The secrets that open the services to others: nobody but their owner may read them."""
    secrets = [path for name in SECRETS if (path := home / "keys" / name).exists()]
    if not secrets:
        yield ok("keys", "no keys; nothing but this machine can connect")
    for path in secrets:
        status = path.stat()
        if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield fail("keys", READABLE, "chmod 600 {path}", path=path)
        elif os.name == "posix" and status.st_uid != os.geteuid():
            yield fail("keys", BELONGS, "chown $USER {path}", path=path, owner=_owner(path))
        else:
            yield ok("keys", "{path} is readable by its owner only", path=path)


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return str(path.stat().st_uid)


def bases(knowledge: Knowledge, embedder: Embedder) -> Iterator[Finding]:
    """Whether each index holds what the documents say, made by the embedding model in use."""
    known = knowledge.bases()
    if not known:
        yield NO_BASE
    for base in known:
        try:
            problems = knowledge.verify(base.name)
        except RagError as error:
            yield fail("knowledge", "{name}: {why}", name=base.name, why=error)
            continue
        for problem in problems:
            rebuild = "rwkv-rag kb rebuild {name}"
            yield fail("knowledge", "{name}: {why}", rebuild, name=base.name, why=problem)
        if not problems:
            yield ok(
                "knowledge",
                "{name}: the indexes hold its {documents} documents, {passages} passages",
                name=base.name,
                documents=base.documents,
                passages=base.chunks,
            )
        if base.embedding_model != (now := embedder.model.id):
            yield fail(
                "knowledge",
                "{name} was made with the embedding model {model}, and now {now} is in use",
                N_("go back to that model, or index the documents into a new base"),
                name=base.name,
                model=base.embedding_model,
                now=now,
            )


def jobs(tuner: Tuner) -> Iterator[Finding]:
    """The fine-tunings: how many, and those that did not come to an end."""
    known = tuner.jobs()
    broken = [job.id for job in known if job.status in ("failed", "interrupted")]
    if not broken:
        yield ok("tuning", "{count} fine-tunings", count=len(known))
        return
    yield ok(
        "tuning",
        "{count} fine-tunings, {broken} not finished",
        "rwkv-rag tune show {id}",
        count=len(known),
        broken=len(broken),
        id=broken[0],
    )
