"""The data directory: whether it can be written, and who can read it. Knows no store."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rwkv_rag.diagnosis.finding import Finding, fail, ok, warn
from rwkv_rag.i18n import N_

BELONGS = N_("{path} belongs to user {owner}")
SECRETS = ("server.key", "api.token")
OTHERS = N_("other users of this machine can read {path}")


def home(path: Path) -> Iterator[Finding]:
    """Whether the directory is there or can be made, is ours, and is nobody else's."""
    if not path.exists():
        above = next(each for each in path.parents if each.exists())
        as_me = os.access in os.supports_effective_ids
        if os.access(above, os.W_OK | os.X_OK, effective_ids=as_me):
            yield ok("data", N_("{path} is made when it is first needed"), path=path)
        else:
            advice = N_("choose another with --home or RWKV_RAG_HOME")
            text = N_("{path} cannot be made: {above} is not yours to write to")
            yield fail("data", text, advice, path=path, above=above)
        return
    if refused := _refused(path):
        advice = N_("chown -R $USER {path}, or choose another with --home")
        yield fail("data", N_("{path} cannot be written: {why}"), advice, path=path, why=refused)
        return
    yield ok("data", N_("{path} can be written"), path=path)
    yield from _strangers(path)


def keys(home: Path) -> Iterator[Finding]:
    """What opens the services to others: nobody but its owner may read it."""
    secrets = [path for name in SECRETS if (path := home / "keys" / name).exists()]
    if not secrets:
        yield ok("keys", N_("no keys; nothing but this machine can connect"))
    for path in secrets:
        yield _secret(path)


def _secret(path: Path) -> Finding:
    status = path.stat()
    if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return fail("keys", OTHERS, N_("chmod 600 {path}"), path=path)
    if os.name == "posix" and status.st_uid != os.geteuid():
        return fail("keys", BELONGS, N_("chown $USER {path}"), path=path, owner=_owner(path))
    return ok("keys", N_("{path} is readable by its owner only"), path=path)


def _refused(path: Path) -> str:
    """What the system says to a new file; empty where it may be written."""
    try:
        with tempfile.TemporaryFile(dir=path):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _strangers(path: Path) -> Iterator[Finding]:
    """Another owner, and other users who can get there: those who may enter all that is above."""
    if os.name != "posix":
        return
    if path.stat().st_uid != os.geteuid():
        advice = N_("chown -R $USER {path}")
        yield warn("data", BELONGS, advice, path=path, owner=_owner(path))
    if path.stat().st_mode & stat.S_IROTH and all(
        above.stat().st_mode & stat.S_IXOTH for above in path.resolve().parents
    ):
        yield warn("data", OTHERS, N_("chmod 700 {path}"), path=path)


def _owner(path: Path) -> str:
    import pwd

    number = path.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
