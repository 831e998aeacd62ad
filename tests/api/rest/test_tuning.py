"""Fine-tuning over REST: settings field by field, rows kept, jobs followed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag.api.rest.tuning import TuneRequest
from rwkv_rag.types import TuneSettings

from ..serving import Served, fake, fault, running
from ..stand_in import StandInTuner

JOBS = "/api/tuning/jobs"
ROWS = [{"question": "谁？", "answer": "我。"}]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    tuner = StandInTuner()
    home = tmp_path_factory.mktemp("tuning") / "home"
    with running(fake(home), change=lambda client: setattr(client, "tuner", tuner)) as opened:
        yield opened


def test_a_request_has_the_settings_of_a_fine_tuning_with_their_defaults() -> None:
    asked = {name: field.default for name, field in TuneRequest.model_fields.items()}
    ours = {field.name: field.default for field in fields(TuneSettings)}
    assert set(asked) == {*ours, "rows"}
    for name in set(ours) - {"name", "data"}:
        wanted = list(ours[name]) if isinstance(ours[name], tuple) else ours[name]
        assert asked[name] == wanted, name


def test_a_job_is_started_followed_stopped_resumed_and_forgotten(served: Served) -> None:
    http = served.http
    body = {"name": "poet", "rows": ROWS, "base": "fake", "steps": 7, "parts": ["att"]}
    started = http.post(JOBS, json=body)
    job = started.json()
    assert started.status_code == 201 and job["loss"] is None  # not a number, in JSON
    assert job["settings"]["parts"] == ["att"] and job["settings"]["steps"] == 7
    data = Path(job["settings"]["data"])
    assert data.parent == served.home / "rows"
    assert data.read_text(encoding="utf-8") == '{"question": "谁？", "answer": "我。"}\n'
    again = http.post(JOBS, json=body).json()
    assert Path(again["settings"]["data"]) == data and len(list(data.parent.iterdir())) == 1
    one = f"{JOBS}/{job['id']}"
    assert http.delete(one).status_code == 400
    assert http.post(f"{one}/stop").json()["status"] == "stopped"
    assert http.post(f"{one}/resume").json()["status"] == "running"
    assert http.post(f"{one}/stop").json()["status"] == "stopped"
    assert http.get(f"{one}/metrics").json()["steps"][1] == {"step": 2, "loss": None}
    assert http.get(f"{one}/logs").json() == {"log": f"log of {job['id']}"}
    assert http.delete(one).status_code == 204
    assert http.get(one).status_code == 404
    assert job["id"] not in [each["id"] for each in http.get(JOBS).json()]


def test_an_estimate_says_whether_it_fits(served: Served) -> None:
    needs = served.http.post("/api/tuning/estimate", json={"name": "a", "rows": ROWS}).json()
    assert needs["fits"] is True and needs["cheaper"] == ["batch 2"]


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"rows": None}, 400, "rows"),
        ({"rows": []}, 400, "rows"),
        ({"data": "/etc/passwd"}, 400, "rows"),
        ({"rows": None, "data": "/etc/passwd"}, 403, "data"),
        ({"base": "/etc/passwd"}, 404, "base"),
        ({"method": "magic"}, 400, "method"),
        ({"lr": "1"}, 400, "lr"),
        ({"learning_rate": 1}, 400, "learning_rate"),
        ({"wandb": "online"}, 400, "wandb"),
    ],
)
def test_what_cannot_be_tuned_is_refused_by_name(
    served: Served, change: dict[str, Any], status: int, param: str
) -> None:
    answer = served.http.post(JOBS, json={"name": "a", "rows": ROWS, **change})
    assert (answer.status_code, fault(answer)["param"]) == (status, param)


def test_the_real_tuner_says_what_is_wrong_with_rows(alone: Served) -> None:
    body = {"name": "a", "rows": [{"no": "row"}]}
    answer = alone.http.post(JOBS, json=body, headers={"Accept-Language": "zh"})
    assert answer.status_code == 400
    assert "第 1 行" in fault(answer)["message"]


def test_what_was_tuned_is_listed(served: Served) -> None:
    assert served.http.get("/api/tuned").json() == []
