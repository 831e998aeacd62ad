"""Reads and writes `ragq.yml`. Errors are one line: the key, the value, what is allowed.

Knows nothing of what the values are for.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from rwkv_rag.config import FILE_NAME
from rwkv_rag.config.ragq import Ragq
from rwkv_rag.errors import InputError, Message, message, system_reason
from rwkv_rag.i18n import N_

MAX_BYTES = 1 << 16
MISPLACED_COLON = N_("mapping values are not allowed here")  # by the YAML parser

_INSIDE = message("leave it out: Chroma runs inside the index service, see index.chroma_path")
RENAMED: dict[str, Message] = {
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
"""What to write instead of the predecessor's keys; by the whole key, or by its last name where it
means the same in every section."""


def read(path: Path) -> Ragq:
    """The file's values over the defaults; an empty file is all defaults. Raises InputError."""
    given = _parsed(path, _text(path))
    if given is not None and not isinstance(given, dict):
        raise InputError(
            "{path}: the file holds {given} where a map of sections belongs; begin with "
            "a line like llm:",
            path=path,
            given=_kind(given),
        )
    ragq = _validated(path, given or {})
    if ragq.index.chunk_overlap * 2 >= ragq.index.chunk_size:
        raise InputError(
            "{path}: index.chunk_overlap is {chunk_overlap}; it must be less than half "
            "of index.chunk_size, {chunk_size}",
            path=path,
            chunk_overlap=ragq.index.chunk_overlap,
            chunk_size=ragq.index.chunk_size,
        )
    check_ports(path, ragq)
    return ragq


def written(ragq: Ragq) -> str:
    """`ragq` as YAML that `read` takes again."""
    values = ragq.model_dump(mode="json", exclude_none=True)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except IsADirectoryError as error:
        raise InputError("{path} is a directory; --config takes a file", path=path) from error
    except OSError as error:
        raise InputError(
            "{path} cannot be read ({reason})", path=path, reason=system_reason(error)
        ) from error
    if len(content) > MAX_BYTES:
        raise InputError(
            "{path} has {content} bytes; a configuration has at most {limit}",
            path=path,
            content=len(content),
            limit=MAX_BYTES,
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            "{path}: line {line} is not UTF-8; save the file as UTF-8", path=path, line=line
        ) from error


class _NotAllowed(yaml.MarkedYAMLError):
    """YAML that is not accepted here although the parser would."""

    def __init__(self, text: Message, mark: Any) -> None:
        super().__init__(None, None, str(text), mark)
        self.text = text


class _Loader(yaml.SafeLoader):
    """YAML's safe types, without references; a key that stands twice in one map is refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        events: Any = self  # its methods have no types
        if events.check_event(yaml.AliasEvent):
            text = message("references (*name) are not taken here")
            raise _NotAllowed(text, events.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                text = message("the key {key!r} stands here twice", key=key.value)
                raise _NotAllowed(text, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parsed(path: Path, text: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error if isinstance(error, _NotAllowed) else error.problem or error.context
        if not mark:
            raise InputError(
                "{path}: the file is not YAML: {reason}", path=path, reason=_flat(problem)
            ) from error
        raise InputError(
            "{path}: line {line} is not YAML: {reason}",
            path=path,
            line=mark.line + 1,
            reason=_flat(problem),
        ) from error
    except yaml.reader.ReaderError as error:
        raise InputError(
            "{path}: line {line} is not YAML: a control character",
            path=path,
            line=text.count("\n", 0, error.position) + 1,
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            "{path}: the file is not YAML: {reason}", path=path, reason=_flat(error)
        ) from error


def _flat(problem: object) -> Message:
    """A problem on one line."""
    if isinstance(problem, _NotAllowed):
        return problem.text
    return Message(" ".join(str(problem).split())[:200])


def _validated(path: Path, given: dict[Any, Any]) -> Ragq:
    try:
        return Ragq.model_validate(given, context={"folder": path.absolute().parent})
    except ValidationError as error:
        # A wrong key first: it often explains what else is wrong.
        order = ("invalid_key", "extra_forbidden")
        first = min(error.errors(), key=lambda each: each["type"] not in order)
        if first["type"] == "invalid_key":
            key = _short(first["input"])
            raise InputError(
                "{path}: {key} is no key; keys are words", path=path, key=key
            ) from error
        raise InputError("{path}: {problem}", path=path, problem=_explained(first)) from error


def _explained(problem: Any) -> Message:
    names = [str(each) for each in problem["loc"]]
    key = ".".join(names)
    section, field = _find(names)
    if problem["type"] == "extra_forbidden":
        return _unknown(key, names, section)
    allowed = message(field.description if field else N_("a map"))
    if problem["type"] in ("model_type", "dict_type", "model_attributes_type"):
        allowed = message("a map of {keys}", keys=", ".join(section.model_fields))
    return message(
        "{key} is {value}; allowed: {allowed}",
        key=key,
        value=_short(problem["input"]),
        allowed=allowed,
    )


def _find(names: list[str]) -> tuple[type[BaseModel], Any]:
    """The section that holds the last name (or is it), and its field there."""
    section: type[BaseModel] = Ragq
    field = None
    for name in names:
        field = section.model_fields.get(name)
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            section = inner
    return section, field


def _unknown(key: str, names: list[str], section: type[BaseModel]) -> Message:
    if instead := RENAMED.get(key) or RENAMED.get(names[-1]):
        return message("{key} is a key of the predecessor; {instead}", key=key, instead=instead)
    near = difflib.get_close_matches(names[-1], section.model_fields, n=1)
    if near:
        return message(
            "there is no key {key}; did you mean {near}?",
            key=key,
            near=".".join([*names[:-1], *near]),
        )
    keys = ", ".join(section.model_fields)
    return message("there is no key {key}; the keys there are {keys}", key=key, keys=keys)


def check_ports(path: Path | None, ragq: Ragq) -> None:
    """Raise InputError where two listen at one port."""
    taken: dict[int, str] = {}
    for key, _, port in ragq.listens():
        if port in taken:
            raise InputError(
                "{path}: {taken} and {key} are both {port}; give each a port of its own",
                path=path or FILE_NAME,
                taken=f"{taken[port]}.port",
                key=f"{key}.port",
                port=port,
            )
        taken[port] = key


def _kind(value: object) -> Message:
    if isinstance(value, list):
        return message("a list")
    return message("a text") if isinstance(value, str) else message("a single value")


def _short(value: object) -> str:
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 80
    return shown.repr(value)
