"""`rwkv-rag tune`: what the commands ask of the tuner and how they show what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag import builders
from rwkv_rag.cli import tune
from rwkv_rag.cli.options import TUNING
from rwkv_rag.errors import InputError, Message, NotFound, message
from rwkv_rag.services.contracts import TUNER
from rwkv_rag.services.serve import Export, serve
from rwkv_rag.types import TuneEstimate, TuneJob, TuneSettings

from .conftest import Cli, english_left


class StandIn:
    """A tuner whose jobs advance by one step whenever they are looked at."""

    def __init__(self) -> None:
        self.made: list[TuneJob] = []
        self.end: dict[str, Any] = {"status": "done", "before": 3.0, "after": 2.5}
        self.stopped: list[str] = []
        self.free = 2_000_000_000

    def estimate(self, settings: TuneSettings) -> TuneEstimate:
        self.asked = settings
        return TuneEstimate(
            3_000_000_000, self.free, 65_536, 90.0, (Message("batch 1"), Message("checkpointing"))
        )

    def start(self, settings: TuneSettings) -> TuneJob:
        if settings.steps < 1:
            raise InputError(f"steps is {settings.steps}; give a whole number from 1 to 9")
        job = TuneJob(
            f"k{len(self.made)}", settings, "waiting", "2026-01-02T03:04:05+00:00", steps=2
        )
        self.made.append(job)
        return job

    def jobs(self) -> list[TuneJob]:
        return self.made[::-1]

    def job(self, id: str) -> TuneJob:
        for at, job in enumerate(self.made):
            if job.id.startswith(id):
                self.made[at] = self._advanced(job)
                return self.made[at]
        raise NotFound(f"there is no job {id!r}; none has been started yet")

    def _advanced(self, job: TuneJob) -> TuneJob:
        if job.status not in tune.UNFINISHED:
            return job
        if job.step < job.steps:
            return replace(job, status="running", step=job.step + 1, loss=3.0 - job.step)
        return replace(job, **self.end)

    def stop(self, id: str) -> None:
        self.stopped.append(id)

    def resume(self, id: str) -> TuneJob:
        job = self.job(id)
        self.made[self.made.index(job)] = job = replace(job, status="waiting", step=0)
        return job

    def forget(self, id: str) -> None:
        self.made = [job for job in self.made if job.id != id]

    def metrics(self, id: str) -> list[Mapping[str, float]]:
        return []

    def logs(self, id: str) -> str:
        return "one\ntwo\x1b[31m\n"


@pytest.fixture(autouse=True)  # before the services are opened
def tuner(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    handler = serve({"tuner": Export(TUNER, stand_in)})
    service = builders.Service(handler, lambda: None)
    monkeypatch.setattr(builders, "tuning_service", lambda settings: service)
    monkeypatch.setattr(tune, "LOOK_S", 0.0)
    return stand_in


def test_every_setting_has_an_option_and_nothing_else_does() -> None:
    told = {"name", "data", "method", "base"}  # arguments of their own
    assert {field.name for field in fields(TuneSettings)} == {*TUNING} | told


def test_options_left_out_are_the_defaults_of_the_settings(cli: Cli, tuner: StandIn) -> None:
    cli("tune", "start", "lora", "--data", "a b.jsonl", "--detach")
    named = {"name": "a b-lora", "base": "fake"}
    assert tuner.made[0].settings == TuneSettings(
        data=Path("a b.jsonl").absolute(), method="lora", **named
    )


def test_options_reach_the_settings(cli: Cli, tuner: StandIn) -> None:
    given = "--steps 7 --lr 0.5 --lr-final 0.1 --parts att,low_rank --checkpointing --skip-bad"
    more = "--save-every 9 --wandb offline --held-out 0.3 --name cat --model m.pth --scored all"
    cli("tune", "start", "state", "--data", "d.bin", "--detach", *given.split(), *more.split())
    made = tuner.made[0].settings
    assert (made.steps, made.lr, made.lr_final, made.parts) == (7, 0.5, 0.1, ("att", "low_rank"))
    assert made.checkpointing and made.skip_bad and made.save_every_s == 9
    assert (made.wandb, made.held_out, made.name) == ("offline", 0.3, "cat")
    assert made.base == str(Path("m.pth").absolute())
    assert made.scored == "all"


def test_a_start_follows_the_job_to_its_end(cli: Cli, tuner: StandIn) -> None:
    ran = cli("tune", "start", "state", "--data", "d.jsonl")
    assert ran.code == 0
    assert ran.out == "d-state: loss 3.000 before, 2.500 after, on rows never trained on\n"
    assert ran.err == "job k0 has begun\n"


def test_a_start_says_first_what_it_needs(cli: Cli, tuner: StandIn) -> None:
    tuner.free = 4_000_000_000
    told = cli("tune", "start", "state", "--data", "d.jsonl", "--detach").err.splitlines()
    assert told[0] == "3.0 GB of memory of 4.0 GB free; 65,536 numbers train"
    assert told[1] == "about 1.5 minutes" and told[-1] == "job k0 has begun"


def test_a_detached_start_returns_at_once(cli: Cli, tuner: StandIn) -> None:
    ran = cli("tune", "start", "state", "--data", "d.jsonl", "--detach", "--json")
    assert ran.json["status"] == "waiting" and ran.json["settings"]["data"] == str(
        Path("d.jsonl").absolute()
    )
    assert ran.err == ""


def test_ctrl_c_stops_the_watching_and_not_the_job(
    cli: Cli, tuner: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rwkv_rag.cli.screen.ProgressLine.show", interrupt)
    ran = cli("tune", "start", "state", "--data", "d.jsonl")
    assert ran.code == 130
    assert "job k0 goes on; `rwkv-rag tune show k0 --follow` follows it" in ran.err
    assert tuner.stopped == []


def test_a_failed_job_ends_in_one_line_and_code_2(cli: Cli, tuner: StandIn) -> None:
    reason = message(
        "{what} at step {step}; {kept}: start again with a lower lr than {lr:g}",
        what=message("the loss is {value:g}", value=float("nan")),
        step=4,
        kept=message("nothing was learned yet"),
        lr=1.0,
    )
    tuner.end = {"status": "failed", "reason": reason}
    ran = cli("tune", "start", "state", "--data", "d.jsonl")
    assert ran.code == 2 and ran.err.endswith(f"error: job k0 failed: {reason}\n")
    chinese = cli("--lang", "zh", "tune", "resume", "k0")
    assert chinese.code == 2 and "任务 k0 失败：第 4 步" in chinese.err
    assert english_left(chinese.err) == []


def test_a_job_that_was_stopped_says_how_to_go_on(cli: Cli, tuner: StandIn) -> None:
    tuner.end = {"status": "stopped"}
    ran = cli("tune", "start", "state", "--data", "d.jsonl")
    assert ran.code == 0 and ran.out == ""
    assert "job k0 is stopped; `rwkv-rag tune resume k0` goes on" in ran.err


def test_jobs_are_listed_and_shown(cli: Cli, tuner: StandIn) -> None:
    assert "no job yet" in cli("tune", "list").err
    for name in ("cat", "dog"):
        cli("tune", "start", "state", "--data", "d.jsonl", "--name", name)
    lines = cli("tune", "list").out.splitlines()
    assert lines[1].split() == [
        *("k1", "dog", "state", "done", "2/2", "2.000", "3.000", "2.500"),
        *("2026-01-02", "03:04"),
    ]
    assert [job["id"] for job in cli("tune", "list", "--json").json] == ["k1", "k0"]
    shown = cli("tune", "show", "k0").out
    assert "cat" in shown and "weight_decay" in shown
    assert cli("tune", "show", "k0", "--json").json["settings"]["name"] == "cat"
    assert cli("tune", "show", "x").code == 2


def test_a_narrow_list_cuts_neither_ids_nor_figures(
    cli: Cli, tuner: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "a-name-of-forty-characters-or-a-bit-more-x"
    cli("tune", "start", "state", "--data", "d.jsonl", "--name", name)
    told = cli("tune", "list").out
    assert {"k0", "done", "3.000", "2.500"} <= set(told.split()) and "…" not in told
    assert re.sub(r"\s|k0|state|done|2/2|[23]\.\d00", "", "".join(told.splitlines()[1:])) == name


def test_without_held_out_rows_the_last_loss_is_told(cli: Cli, tuner: StandIn) -> None:
    tuner.end = {"status": "done"}
    ran = cli("tune", "start", "state", "--data", "d.jsonl")
    assert ran.out.startswith("d-state: loss 2.000 in the last step; no rows were held back")


def test_logs_are_printed_without_control_characters(cli: Cli, tuner: StandIn) -> None:
    cli("tune", "start", "state", "--data", "d.jsonl", "--detach")
    assert cli("tune", "logs", "k0").out == "one\ntwo[31m\n"
    assert cli("tune", "logs", "k0", "--follow").out == "one\ntwo[31m\n"


def test_stop_asks_and_says_so(cli: Cli, tuner: StandIn) -> None:
    cli("tune", "start", "state", "--data", "d.jsonl", "--detach")
    ran = cli("tune", "stop", "k")
    assert ran.out == "job k0 will stop after its step\n" and tuner.stopped == ["k0"]


def test_a_job_is_forgotten_where_the_user_says_so(
    cli: Cli, tuner: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("tune", "start", "state", "--data", "d.jsonl")
    monkeypatch.setattr(tune.typer, "confirm", lambda asked, err: False)
    assert cli("tune", "forget", "k0").code == 1 and len(tuner.made) == 1
    assert cli("tune", "forget", "k0", "--yes").out == "deleted k0\n" and tuner.made == []
    assert cli("tune", "forget", "k0", "--yes").code == 2


def test_a_log_of_which_only_the_end_is_known_is_shown_without_gaps() -> None:
    whole = "".join(f"line {number}\n" for number in range(9000))
    shown, before = "", ""
    for end in (10, 900, 60_000, 64_000, 64_001, len(whole)):
        now = whole[:end][-40_000:]
        shown, before = shown + tune.added(before, now), now
    assert shown == whole[:900] + whole[20_000:]


def test_an_estimate_names_what_would_fit(cli: Cli, tuner: StandIn) -> None:
    ran = cli("tune", "estimate", "full", "--data", "d.jsonl", "--batch", "8")
    assert tuner.asked.batch == 8 and tuner.made == []
    assert "3.0 GB of memory of 2.0 GB free; 65,536 numbers train" in ran.out
    assert "about 1.5 minutes" in ran.out and "would fit with: batch 1" in ran.out
    assert cli("tune", "estimate", "full", "--data", "d", "--json").json["fits"] is False
    chinese = cli("--lang", "zh", "tune", "estimate", "full", "--data", "d.jsonl").out
    assert "需要内存 3.0 GB" in chinese and english_left(chinese) == []


@pytest.mark.parametrize(
    "command", ["start", "list", "show", "stop", "resume", "logs", "estimate", "forget"]
)
def test_every_help_page_is_chinese_where_asked(cli: Cli, command: str) -> None:
    said = cli("--lang", "zh", "tune", command, "--help").out
    prose = [line for line in said.splitlines() if "--" not in line and "Usage" not in line]
    assert any("\u4e00" <= char <= "\u9fff" for char in said)
    assert not [line for line in prose if "default" not in line and english_left(line)]


def test_bad_values_are_refused_by_the_tuner_in_one_line(cli: Cli, tuner: StandIn) -> None:
    ran = cli("tune", "start", "state", "--data", "d.jsonl", "--steps", "0")
    assert ran.code == 2 and ran.err.startswith("error: steps is 0; give a whole number")
    assert cli("tune", "start", "prefix", "--data", "d.jsonl").code == 2
    assert cli("tune", "start", "state").code == 2
    assert json.dumps(tuner.made) == "[]"
