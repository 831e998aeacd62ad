"""`/api/tuning` and `/api/tuned`: fine-tuning jobs, and what came out of them.

Rows come with the request, and are kept under the home for a job to go on from; paths of the
server's own machine only below its open folders.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response

from rwkv_rag.api.context import Context, Here
from rwkv_rag.api.faults import Refused
from rwkv_rag.api.rest.documents import allowed_path
from rwkv_rag.api.rest.tuning_shapes import Estimate, Job, Log, Steps, TunedOut, TuneRequest
from rwkv_rag.errors import InputError, NotFound, system_reason
from rwkv_rag.i18n import _
from rwkv_rag.types import TuneJob, TuneSettings

router = APIRouter(prefix="/api", tags=["Fine-tuning"])


@router.post("/tuning/estimate", summary="Estimate a fine-tuning", response_model=Estimate)
def estimate(asked: TuneRequest, here: Here) -> dict[str, Any]:
    """Memory and time it would need on this machine; starts nothing."""
    needs = here.parts.tuner.estimate(_settings(asked, here))
    return {**asdict(needs), "cheaper": [*map(_, needs.cheaper)], "fits": needs.fits}


@router.get("/tuning/jobs", summary="List the jobs", response_model=list[Job])
def jobs(here: Here) -> list[dict[str, Any]]:
    """All of them, the newest first."""
    return [_record(job) for job in here.parts.tuner.jobs()]


@router.post("/tuning/jobs", summary="Start a job", response_model=Job, status_code=201)
def start(asked: TuneRequest, here: Here) -> dict[str, Any]:
    """Checks everything, then trains in a process of its own."""
    return _record(here.parts.tuner.start(_settings(asked, here)))


@router.get("/tuning/jobs/{id}", summary="Show a job", response_model=Job)
def job(id: str, here: Here) -> dict[str, Any]:
    """How far it is."""
    return _record(_job(here, id))


@router.delete("/tuning/jobs/{id}", summary="Forget a job", status_code=204)
def forget(id: str, here: Here) -> Response:
    """Removes a job that has ended; what it made stays."""
    here.parts.tuner.forget(_job(here, id).id)
    return Response(status_code=204)


@router.post("/tuning/jobs/{id}/stop", summary="Stop a job", response_model=Job)
def stop(id: str, here: Here) -> dict[str, Any]:
    """Asks it to write a checkpoint and end."""
    here.parts.tuner.stop(_job(here, id).id)
    return _record(_job(here, id))


@router.post("/tuning/jobs/{id}/resume", summary="Resume a job", response_model=Job)
def resume(id: str, here: Here) -> dict[str, Any]:
    """Goes on from the last checkpoint of a job that does not run."""
    return _record(here.parts.tuner.resume(_job(here, id).id))


@router.get("/tuning/jobs/{id}/metrics", summary="Figures of every step", response_model=Steps)
def metrics(id: str, here: Here) -> dict[str, list[Mapping[str, float]]]:
    """Step, loss, learning rate and tokens a second."""
    return {"steps": list(here.parts.tuner.metrics(_job(here, id).id))}


@router.get("/tuning/jobs/{id}/logs", summary="What a job wrote", response_model=Log)
def logs(id: str, here: Here) -> dict[str, str]:
    """The last megabyte of it."""
    return {"log": here.parts.tuner.logs(_job(here, id).id)}


@router.get("/tuned", summary="List what was tuned", response_model=list[TunedOut])
def tuned(here: Here) -> list[dict[str, Any]]:
    """States and adapters with the model each belongs to; losses in nats a token."""
    return [
        {"model": writer.name, **asdict(tuned)}
        for writer in here.parts.models.writers()
        for tuned in here.parts.models.tuned(writer.model)
    ]


def _job(here: Context, id: str) -> TuneJob:
    """The job of that id; at a command the beginning of one is enough, in an address it is not."""
    job = here.parts.tuner.job(id)
    if job.id != id:
        raise NotFound("there is no job {id!r}", id=id)
    return job


def _settings(asked: TuneRequest, here: Context) -> TuneSettings:
    given = asked.model_dump(exclude={"rows", "data", "base"})
    settings = {**given, "parts": tuple(asked.parts), "base": _base(asked.base, here)}
    return TuneSettings(**settings, data=_data(asked, here))


def _base(name: str, here: Context) -> str:
    """What the tuner knows a model by: one that is listed, or a path below an open folder."""
    writers = {writer.name: writer.model for writer in here.parts.models.writers()}
    if name in writers:
        return writers[name]
    if name == "builtin" or not here.options.folders:
        if name == "builtin":
            return name
        error = NotFound(
            "there is no model {name!r} to tune; there are: {writers}",
            name=name,
            writers=", ".join(writers),
        )
        raise Refused(error, param="base", code="model_not_found")
    return str(allowed_path(name, here.options, "base"))


def _data(asked: TuneRequest, here: Context) -> Path:
    if (asked.rows is None) == (asked.data is None):
        raise Refused(InputError("give the training rows as rows, or a file as data"), param="rows")
    if asked.data is not None:
        return allowed_path(asked.data, here.options, "data")
    return _kept_rows(asked.rows or [], here.home)


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
