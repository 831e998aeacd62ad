"""`/api/tuning` and `/api/tuned`: fine-tuning jobs, and what came out of them.

Rows come with the request, and are kept under the home for a job to go on from; paths of the
server's own machine only below its open folders.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from rwkv_rag.api.dependencies import ClientDep, Context, ContextDep
from rwkv_rag.api.problems import Problem
from rwkv_rag.api.rest.documents import allowed_path
from rwkv_rag.api.schemas import Name, Reply, Request, Text, example, model_of
from rwkv_rag.client import Client
from rwkv_rag.config import BUILTIN
from rwkv_rag.errors import InputError, NotFound, system_reason
from rwkv_rag.i18n import _
from rwkv_rag.types import TunedInfo, TuneEstimate, TuneJob, TuneSettings

router = APIRouter(prefix="/api", tags=["Fine-tuning"])


class _TuneRequest(Request):
    """A fine-tuning: `rows` in the request, or a file of the server; and its settings."""

    model_config = example(
        name="poet",
        method="state",
        steps=100,
        rows=[{"question": "Who are you?", "answer": "A gardener."}],
    )

    name: Name = Field(description="What the result is called.")
    rows: list[dict[str, Any]] | None = Field(None, min_length=1, max_length=200_000)
    data: Name | None = Field(None, description="A .jsonl file below an open folder.")
    base: Name = Field(BUILTIN, description="A model that /v1/models lists.")
    parts: list[Text] = Field(default=["att", "ffn"], max_length=16)
    wandb: Literal["off", "offline"] = "off"


if TYPE_CHECKING:  # mypy knows no fields that are added at run time
    TuneRequest = _TuneRequest
else:
    TuneRequest = model_of(TuneSettings, _TuneRequest, "TuneRequest")

Estimate = model_of(TuneEstimate, Reply, "Estimate", cheaper=(list[str], ...), fits=(bool, ...))
Job = model_of(
    TuneJob,
    Reply,
    "Job",
    settings=(dict[str, Any], ...),
    reason=(str, ...),
    lr=(float | None, ...),  # null for what is not a number
    tokens_per_s=(float | None, ...),
)


class Steps(Reply):
    """Figures of every step; a number that is none is null."""

    steps: list[dict[str, float | None]]


class Log(Reply):
    """What a job's process wrote."""

    log: str


@dataclass(frozen=True, kw_only=True)
class TunedModel(TunedInfo):
    """A tuned state or adapter and the model it belongs to."""

    model: str


@router.post("/tuning/estimate", summary="Estimate a fine-tuning", response_model=Estimate)
def estimate(body: TuneRequest, context: ContextDep) -> dict[str, Any]:
    """Memory and time it would need on this machine; starts nothing."""
    needs = context.client.tuner.estimate(_settings(body, context))
    return {**asdict(needs), "cheaper": [*map(_, needs.cheaper)], "fits": needs.fits}


@router.get("/tuning/jobs", summary="List the jobs", response_model=list[Job])  # type: ignore[valid-type]
def jobs(client: ClientDep) -> list[dict[str, Any]]:
    """All of them, the newest first."""
    return [_record(job) for job in client.tuner.jobs()]


@router.post("/tuning/jobs", summary="Start a job", response_model=Job, status_code=201)
def start(body: TuneRequest, context: ContextDep) -> dict[str, Any]:
    """Checks everything, then trains in a process of its own."""
    return _record(context.client.tuner.start(_settings(body, context)))


@router.get("/tuning/jobs/{id}", summary="Show a job", response_model=Job)
def job(id: str, client: ClientDep) -> dict[str, Any]:
    """How far it is."""
    return _record(_job(client, id))


@router.delete("/tuning/jobs/{id}", summary="Forget a job", status_code=204)
def forget(id: str, client: ClientDep) -> None:
    """Removes a job that has ended; what it made stays."""
    client.tuner.forget(_job(client, id).id)


@router.post("/tuning/jobs/{id}/stop", summary="Stop a job", response_model=Job)
def stop(id: str, client: ClientDep) -> dict[str, Any]:
    """Asks it to write a checkpoint and end."""
    client.tuner.stop(_job(client, id).id)
    return _record(_job(client, id))


@router.post("/tuning/jobs/{id}/resume", summary="Resume a job", response_model=Job)
def resume(id: str, client: ClientDep) -> dict[str, Any]:
    """Goes on from the last checkpoint of a job that does not run."""
    return _record(client.tuner.resume(_job(client, id).id))


@router.get("/tuning/jobs/{id}/metrics", summary="Figures of every step", response_model=Steps)
def metrics(id: str, client: ClientDep) -> dict[str, list[Mapping[str, float]]]:
    """Step, loss, learning rate and tokens a second."""
    return {"steps": list(client.tuner.metrics(_job(client, id).id))}


@router.get("/tuning/jobs/{id}/logs", summary="What a job wrote", response_model=Log)
def logs(id: str, client: ClientDep) -> dict[str, str]:
    """The last megabyte of it."""
    return {"log": client.tuner.logs(_job(client, id).id)}


@router.get("/tuned", summary="List what was tuned")
def tuned(client: ClientDep) -> list[TunedModel]:
    """States and adapters with the model each belongs to; losses in nats a token."""
    return [
        TunedModel(**asdict(tuned), model=writer.name)
        for writer in client.models.writers()
        for tuned in client.models.tuned(writer.model)
    ]


def _job(client: Client, id: str) -> TuneJob:
    """The job of that id; at a command the beginning of one is enough, in an address it is not."""
    job = client.tuner.job(id)
    if job.id != id:
        raise NotFound("there is no job {id!r}", id=id)
    return job


def _settings(body: TuneRequest, context: Context) -> TuneSettings:
    fields = body.model_dump(exclude={"rows", "data", "base", "parts"})
    base, data = _base(body.base, context), _data(body, context)
    return TuneSettings(**fields, parts=tuple(body.parts), base=base, data=data)


def _base(name: str, context: Context) -> str:
    """What the tuner knows a model by: one that is listed, or a path below an open folder."""
    writers = {writer.name: writer.model for writer in context.client.models.writers()}
    if name in writers:
        return writers[name]
    if name == BUILTIN:
        return name
    if not context.options.folders:
        error = NotFound(
            "there is no model {name!r} to tune; there are: {writers}",
            name=name,
            writers=", ".join(writers),
        )
        raise Problem(error, param="base", code="model_not_found")
    return str(allowed_path(name, context.options, "base"))


def _data(body: TuneRequest, context: Context) -> Path:
    if (body.rows is None) == (body.data is None):
        raise Problem(InputError("give the training rows as rows, or a file as data"), param="rows")
    if body.data is not None:
        return allowed_path(body.data, context.options, "data")
    return _kept_rows(body.rows or [], context.home)


def _kept_rows(rows: list[dict[str, Any]], home: Path) -> Path:
    """The rows as a file named by their content: the same rows are kept once."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    content = lines.encode(errors="replace")
    path = home / "rows" / f"api-{hashlib.sha256(content).hexdigest()[:16]}.jsonl"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(content)
            part.replace(path)
    except OSError as error:
        raise InputError(
            "{path} cannot be written ({reason}); check --home",
            path=path,
            reason=system_reason(error),
        ) from error
    return path


def _record(job: TuneJob) -> dict[str, Any]:
    settings = {**asdict(job.settings), "data": str(job.settings.data)}
    return {**asdict(job), "settings": settings, "reason": _(job.reason)}
