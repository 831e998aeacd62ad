"""The sections and keys of `ragq.yml`, their defaults and the values they allow.

Names are those of the predecessor's file where it had them. The `description` of a key says what it
allows; errors quote it. Knows no file, no environment and no process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from rwkv_rag.config import BUILTIN, FAKE, SERVICES
from rwkv_rag.i18n import N_

DEFAULT_PROTOCOL: Literal["ipc", "tcp"] = "ipc" if os.name == "posix" else "tcp"
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}|\*")


def _host(value: Any) -> Any:
    if isinstance(value, str) and not _HOST.fullmatch(value):
        raise ValueError("no host")
    return value


def _name_not_path(value: Any) -> Any:
    if isinstance(value, str) and any(mark in value for mark in "/\\\0"):
        raise ValueError("a path")
    return value


def _path(value: Any, info: ValidationInfo) -> Any:
    """A path; a relative one counts from the folder in the validation's context."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("no path")
    return (info.context or {}).get("folder", Path()) / Path(value).expanduser()


def _model(value: str, info: ValidationInfo) -> str:
    return value if value in (BUILTIN, FAKE) else str(_path(value, info))


Host = Annotated[
    str, BeforeValidator(_host), Field(description=N_("a host name or an address of this machine"))
]
Port = Annotated[int, Field(ge=1, le=65535, description=N_("a whole number from 1 to 65535"))]
Switch = Annotated[bool, Field(description=N_("true or false"))]
File = Annotated[Path, BeforeValidator(_path), Field(description=N_("a path"))]
Only = Annotated[Literal["builtin"], Field(description=N_("builtin"))]


class Section(BaseModel):
    """A map of the file: no unknown keys, no conversions. A key without a value has its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {key: value for key, value in given.items() if value is not None}


class Endpoint(Section):
    """Where a queue is reached. `host` and `port` count for tcp; ipc lies below the home."""

    protocol: Literal["ipc", "tcp"] = Field(default=DEFAULT_PROTOCOL, description=N_("ipc or tcp"))
    host: Host = "localhost"
    port: Port


class Service(Section):
    """A queue and its workers: clients ask at `front_end`, workers fetch at `back_end`."""

    PORTS: ClassVar[tuple[int, int]]
    enabled: Switch = True
    front_end: Endpoint = Field(description=N_("a map of protocol, host and port"))
    back_end: Endpoint = Field(description=N_("a map of protocol, host and port"))

    @model_validator(mode="before")
    @classmethod
    def _with_ports(cls, given: Any) -> Any:
        """Either end may leave out its port, or may be left out itself."""
        if not isinstance(given, Mapping):
            return given
        full = dict(given)
        for end, port in zip(("front_end", "back_end"), cls.PORTS, strict=True):
            if isinstance(section := full.get(end) or {}, Mapping):
                full[end] = {"port": port, **{k: v for k, v in section.items() if v is not None}}
        return full


class Llm(Service):
    """The model: writing, reading, vectors, reranking."""

    PORTS = (7781, 7782)
    num_workers: int = Field(default=1, ge=1, le=64, description=N_("a whole number from 1 to 64"))
    device: Literal["auto", "cpu"] = Field(
        default="auto", description=N_("auto or cpu (models run on the CPU)")
    )
    base_model_file: Annotated[str, AfterValidator(_model)] = Field(
        default=BUILTIN,
        min_length=1,
        description=N_("builtin, fake or the path of an RWKV checkpoint"),
    )
    embedding_path: Only = "builtin"
    rerank_path: Only = "builtin"
    state_path: Annotated[str, BeforeValidator(_name_not_path)] = Field(
        default="",
        description=N_(
            "the name of a tuned state or adapter; "
            "put a file on the shelf with: rwkv-rag tune import"
        ),
    )


class Index(Service):
    """The knowledge bases. One worker, since one process owns the Chroma directory."""

    PORTS = (7783, 7784)
    num_workers: Literal[1] = Field(
        default=1,
        description=N_("1 (one process owns the knowledge bases and serves many callers)"),
    )
    chroma_path: File | None = Field(default=None, description=N_("a path"))
    sqlite_path: File | None = Field(default=None, description=N_("a path"))
    chunk_size: int = Field(
        default=400, ge=50, le=4000, description=N_("a whole number from 50 to 4000")
    )
    chunk_overlap: int = Field(
        default=60, ge=0, le=1000, description=N_("a whole number from 0 to 1000")
    )
    top_k: int = Field(default=5, ge=1, le=20, description=N_("a whole number from 1 to 20"))


class Tuning(Service):
    """Fine-tuning jobs; each runs in a process of its own."""

    PORTS = (7787, 7788)
    num_workers: Literal[1] = Field(
        default=1, description=N_("1 (jobs are processes of their own)")
    )


class Api(Section):
    """The HTTP API."""

    enabled: Switch = True
    host: Host = "127.0.0.1"
    port: Port = 8600


class Ui(Section):
    """The pages; on this machine only."""

    enabled: Switch = True
    port: Port = 8501


class Ragq(Section):
    """The whole file. What is None depends on the environment or the machine."""

    home: File | None = Field(default=None, description=N_("a path"))
    language: Literal["zh", "en"] | None = Field(default=None, description=N_("zh or en"))
    llm: Llm = Field(default_factory=lambda: Llm.model_validate({}))
    index: Index = Field(default_factory=lambda: Index.model_validate({}))
    tuning: Tuning = Field(default_factory=lambda: Tuning.model_validate({}))
    api: Api = Api()
    ui: Ui = Ui()

    def service(self, name: str) -> Service:
        """The section of "llm", "index" or "tuning"."""
        section: Service = getattr(self, name)
        return section

    def settings(self) -> dict[str, Any]:
        """What every command takes from the file, by the names of `config.Settings`."""
        found = {
            "home": self.home,
            "model": self.llm.base_model_file,
            "tuned": self.llm.state_path,
            "chunk_size": self.index.chunk_size,
            "chunk_overlap": self.index.chunk_overlap,
            "top_k": self.index.top_k,
            "catalog": self.index.sqlite_path,
            "chroma": self.index.chroma_path,
        }
        return {name: value for name, value in found.items() if value is not None}

    def with_settings(self, settings: Mapping[str, Any]) -> Ragq:
        """The same with the values of `config.Settings`."""
        llm = {"base_model_file": settings["model"], "state_path": settings["tuned"]}
        top = {
            "home": settings["home"],
            "language": settings["language"],
            "llm": self.llm.model_copy(update=llm),
        }
        return self.model_copy(update=top)

    def listens(self) -> Iterator[tuple[str, str, int]]:
        """Key, host and port of everything that is to listen at a port."""
        for name in SERVICES:
            service = self.service(name)
            for side, end in (("front_end", service.front_end), ("back_end", service.back_end)):
                if service.enabled and end.protocol == "tcp":
                    yield f"{name}.{side}", end.host, end.port
        if self.api.enabled:
            yield "api", self.api.host, self.api.port
        if self.ui.enabled:
            yield "ui", "127.0.0.1", self.ui.port
