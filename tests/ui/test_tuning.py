"""The tuning page: rows are chosen and edited, a method is estimated, runs are watched and used."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag import app
from rwkv_rag.errors import InputError, message
from rwkv_rag.rwkv.tuned import TunedStore
from rwkv_rag.tuning.from_knowledge import RowEvent
from rwkv_rag.types import TuneSettings
from rwkv_rag.ui import backend, method, rows

from .conftest import backend as _backend  # noqa: F401  (skips this file without streamlit)
from .stand_in import StandInTuner

from streamlit.testing.v1 import AppTest  # isort: skip


@pytest.fixture
def bench(client: app.Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInTuner]:
    """The tuner behind the pages of this test."""
    stand_in = StandInTuner()
    monkeypatch.setattr(client, "tuner", stand_in)
    yield stand_in


def script() -> None:
    import streamlit as st

    from rwkv_rag.ui import chat, session, tuning

    session.use_language()
    pages = [
        st.Page(tuning.page, url_path="tuning", default=True),
        st.Page(chat.page, url_path="chat"),
    ]
    st.navigation(pages).run()


def opened(language: str = "en") -> AppTest:
    page = AppTest.from_function(script, default_timeout=20)
    page.session_state["language"] = language
    return page.run()


def button(page: AppTest, label: str) -> Any:
    return next(button for button in page.button if button.label == label)


def click(page: AppTest, label: str) -> AppTest:
    page = button(page, label).click().run()
    assert not page.exception
    return page


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def lines(count: int) -> list[dict[str, Any]]:
    return [{"question": f"Question {n}?", "answer": f"Answer {n}."} for n in range(count)]


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return path


def read_file(page: AppTest, path: Path) -> AppTest:
    page.radio(key="tune_source").set_value("file").run()
    page.text_input(key="tune_path").set_value(str(path)).run()
    return click(page, "Read")


def at_method(path: Path) -> AppTest:
    return click(read_file(opened(), path), "Use these rows")


def started(bench: StandInTuner, tmp_path: Path, name: str = "garden-state") -> str:
    return bench.start(TuneSettings(name=name, data=tmp_path / "r.jsonl", steps=40)).id


def event(row: dict[str, Any] | None, tried: int) -> RowEvent:
    return RowEvent(tried, 2, tried, 0, "rules", row)


def test_rows_of_a_file_are_used_where_they_lie(bench: StandInTuner, tmp_path: Path) -> None:
    file = write(tmp_path / "garden.jsonl", lines(5))
    page = at_method(file)
    click(page, "Start")
    job = bench.jobs()[0]
    assert job.settings.data == file and job.settings.name == "garden-state"
    assert job.settings.method == "state"
    assert "Started garden" in page.success[0].value
    assert not list(backend.settings().home.rglob("*.jsonl"))


def test_a_bad_line_blocks_until_it_is_skipped(bench: StandInTuner, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", [*lines(2), {"question": "and?"}, *lines(1)])
    page = read_file(opened(), file)
    assert "line 3" in page.warning[0].value and "answer" in page.warning[0].value
    assert button(page, "Use these rows").disabled
    page.checkbox(key="tune_skip").check().run()
    page = click(click(page, "Use these rows"), "Start")
    assert bench.jobs()[0].settings.skip_bad


def test_a_bad_line_is_explained_in_chinese(bench: StandInTuner, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "a", "answer": "b"}\n{"question": "c"}\n', encoding="utf-8")
    page = opened("zh")
    page.radio(key="tune_source").set_value("file").run()
    page.text_input(key="tune_path").set_value(str(file)).run()
    page = click(page, "读取")
    assert "第 2 行" in page.warning[0].value and "缺少" in page.warning[0].value


def test_an_empty_file_is_told(bench: StandInTuner, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_bytes(b"\n\n")
    page = read_file(opened(), tmp_path / "none.jsonl")
    assert "is empty" in page.error[0].value and "Use these rows" not in labels(page)


def test_a_missing_file_is_told(bench: StandInTuner, tmp_path: Path) -> None:
    page = read_file(opened(), tmp_path / "none.jsonl")
    assert "does not exist" in page.error[0].value


@pytest.mark.parametrize("path", ["/dev/zero", "/etc/hostname", "/dev/zero.jsonl", "/tmp"])
def test_only_files_of_rows_are_read(bench: StandInTuner, path: str) -> None:
    page = read_file(opened(), Path(path))
    assert len(page.error) == 1 and "Use these rows" not in labels(page)


def test_an_upload_that_cannot_be_read_is_not_kept(bench: StandInTuner, client: app.Client) -> None:
    page = opened()
    page.radio(key="tune_source").set_value("upload").run()
    page.file_uploader[0].upload("mine.jsonl.xz", b"no archive", "application/json").run()
    assert "damaged" in page.error[0].value
    assert not list(backend.settings().home.rglob("mine*"))


@given(st.text(max_size=100))
def test_a_result_may_be_named_after_any_file(name: str) -> None:
    wanted = method.free_name(f"{method.result_name(name)}-state", set())
    TunedStore(Path("home")).path(wanted)


def test_a_binidx_file_is_used_as_it_is(bench: StandInTuner, tmp_path: Path) -> None:
    page = read_file(opened(), tmp_path / "corpus.bin")
    click(page, "Start")
    assert bench.jobs()[0].settings.data == tmp_path / "corpus.bin"


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.xz"])
def test_an_upload_lands_in_the_home(bench: StandInTuner, client: app.Client, ending: str) -> None:
    content = "".join(json.dumps(each) + "\n" for each in lines(300)).encode()
    page = opened()
    page.radio(key="tune_source").set_value("upload").run()
    data = lzma.compress(content) if ending.endswith("xz") else content
    page.file_uploader[0].upload(f"mine.{ending}", data, "application/json").run()
    assert not page.exception
    assert any("100 more" in caption.value for caption in page.caption)
    click(click(page, "Use these rows"), "Start")
    path = bench.jobs()[0].settings.data
    assert path == backend.settings().home / "rows" / f"mine.{ending}"
    assert path.read_bytes() == data


def test_rows_come_from_a_knowledge_base(
    bench: StandInTuner, client: app.Client, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"question": "The fee?", "answer": "48.", "kind": "answer", "passages": ["The fee: 48."]}
    events = [event(None, 1), event(row, 1), event(row, 2)]
    monkeypatch.setattr(client, "training_rows", lambda *_, **__: iter(events))
    click(click(click(opened(), "Make rows"), "Use these rows"), "Start")
    path = bench.jobs()[0].settings.data
    assert path == backend.settings().home / "rows" / "docs.jsonl"
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [row, row]


def test_rows_made_before_an_error_are_kept(
    bench: StandInTuner, client: app.Client, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Iterator[RowEvent]:
        yield event(lines(1)[0], 1)
        raise InputError("the model went away")

    monkeypatch.setattr(client, "training_rows", broken)
    page = click(opened(), "Make rows")
    assert "went away" in page.error[0].value
    assert "Use these rows" in labels(page)


def test_without_a_base_the_page_says_where_to_make_one(bench: StandInTuner) -> None:
    assert "Knowledge page" in opened().info[0].value


def test_a_method_needs_rows_first(bench: StandInTuner) -> None:
    page = opened()
    page.segmented_control(key="tune_step").set_value("method").run()
    assert "Choose rows first" in page.info[0].value


def test_what_does_not_fit_cannot_be_started(bench: StandInTuner, tmp_path: Path) -> None:
    page = at_method(write(tmp_path / "r.jsonl", lines(3)))
    assert not page.warning and not button(page, "Start").disabled
    page.number_input(key="tune_context").set_value(2048).run()
    assert "batch 1" in page.warning[0].value
    assert button(page, "Start").disabled
    page.number_input(key="tune_batch").set_value(1).run()
    assert not page.warning and not button(page, "Start").disabled


def test_settings_that_cannot_be_run_are_told(bench: StandInTuner, tmp_path: Path) -> None:
    page = at_method(write(tmp_path / "r.jsonl", lines(3)))
    name = next(box for box in page.text_input if box.label == "Name of the result")
    name.set_value("").run()
    assert "is no name" in page.error[0].value and button(page, "Start").disabled


def test_the_options_reach_the_tuner(bench: StandInTuner, tmp_path: Path) -> None:
    page = at_method(write(tmp_path / "r.jsonl", lines(3)))
    page.radio(key="tune_method").set_value("lora").run()
    page.number_input(key="tune_rank").set_value(8).run()
    page.number_input(key="tune_lr").set_value(2e-4).run()
    page.number_input(key="tune_steps").set_value(10).run()
    page.multiselect(key="tune_parts").set_value(["att"]).run()
    page.checkbox(key="tune_checkpointing").check().run()
    page.radio(key="tune_scored").set_value("all").run()
    click(page, "Start")
    settings = bench.jobs()[0].settings
    assert (settings.method, settings.rank, settings.lr, settings.steps) == ("lora", 8, 2e-4, 10)
    assert (settings.parts, settings.checkpointing, settings.scored) == (("att",), True, "all")
    assert settings.lr_final is None and settings.name == "r-lora"


def test_entries_outlive_a_look_at_another_step(bench: StandInTuner, tmp_path: Path) -> None:
    page = at_method(write(tmp_path / "r.jsonl", lines(3)))
    page.number_input(key="tune_steps").set_value(77).run()
    page.segmented_control(key="tune_step").set_value("rows").run()
    page.segmented_control(key="tune_step").set_value("method").run()
    assert page.number_input(key="tune_steps").value == 77


def test_a_result_gets_a_name_nobody_has(bench: StandInTuner, tmp_path: Path) -> None:
    file = write(tmp_path / "garden.jsonl", lines(3))
    started(bench, tmp_path, "garden-state")
    (backend.settings().home / "tuned" / "garden-state-2").mkdir(parents=True)
    page = opened()
    page.segmented_control(key="tune_step").set_value("rows").run()
    page = click(read_file(page, file), "Use these rows")
    name = next(box for box in page.text_input if box.label == "Name of the result")
    assert name.value == "garden-state-3"


def test_a_live_run_is_found_again(bench: StandInTuner, tmp_path: Path) -> None:
    bench.run(started(bench, tmp_path), 10)
    page = opened()
    assert page.segmented_control(key="tune_step").value == "runs"
    assert "Stop" in labels(page)
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown["Time left"] == "9 s" and shown["Tokens/s"] == "500"
    assert shown["Memory"] == "1.2 GB"


def test_a_run_is_stopped_and_resumed(bench: StandInTuner, tmp_path: Path) -> None:
    id = started(bench, tmp_path)
    bench.run(id, 10)
    page = click(click(opened(), "Stop"), "Resume")
    assert bench.asked == [f"stop {id}", f"resume {id}"]
    assert "Stop" in labels(page)


def test_a_run_is_forgotten_after_a_second_click(bench: StandInTuner, tmp_path: Path) -> None:
    id = started(bench, tmp_path)
    assert "Forget this run" not in labels(opened())  # it runs
    bench.change(id, status="stopped")
    page = opened()
    page.segmented_control(key="tune_step").set_value("runs").run()
    page = click(click(page, "Forget this run"), "Cancel")
    assert bench.asked == [] and "Yes, forget" not in labels(page)
    page = click(click(page, "Forget this run"), "Yes, forget")
    assert bench.asked == [f"forget {id}"] and "No run yet" in page.info[0].value


def test_a_stop_is_asked_for_once(bench: StandInTuner, tmp_path: Path) -> None:
    id = started(bench, tmp_path)
    bench.stop = lambda id: None  # type: ignore[method-assign]  # takes its time
    page = click(opened(), "Stop")
    assert button(page, "Stopping …").disabled
    bench.change(id, status="stopped")
    assert "Resume" in labels(page.run())


@pytest.mark.parametrize(("language", "said"), [("en", "/tmp/x.bin is empty"), ("zh", "是空文件")])
def test_a_failed_run_says_why(
    bench: StandInTuner, tmp_path: Path, language: str, said: str
) -> None:
    reason = message("{path} is empty", path="/tmp/x.bin")
    bench.change(started(bench, tmp_path), status="failed", reason=reason)
    page = opened(language)
    page.segmented_control(key="tune_step").set_value("runs").run()
    assert said in page.error[0].value.replace("\\", "")


def test_an_interrupted_run_can_go_on(bench: StandInTuner, tmp_path: Path) -> None:
    bench.change(started(bench, tmp_path), status="interrupted")
    page = opened()
    page.segmented_control(key="tune_step").set_value("runs").run()
    assert "last checkpoint" in page.warning[0].value and "Resume" in labels(page)


def test_an_error_of_the_tuner_is_one_line(bench: StandInTuner, tmp_path: Path) -> None:
    def refuse(id: str) -> None:
        raise InputError("the base is gone")

    bench.change(started(bench, tmp_path), status="stopped")
    bench.resume = refuse  # type: ignore[method-assign, assignment]
    page = opened()
    page.segmented_control(key="tune_step").set_value("runs").run()
    page = click(page, "Resume")
    assert "the base is gone" in page.error[0].value and len(page.dataframe) == 1


def chart(page: AppTest) -> tuple[dict[str, Any], Any]:
    """The chart's spec and the names of the runs in it."""
    proto = page.get("vega_lite_chart")[0].proto
    spec = json.loads(proto.spec)
    return spec, spec["layer"][0]["encoding"]["color"]["scale"]["domain"]


def test_two_runs_are_compared_in_one_chart(bench: StandInTuner, tmp_path: Path) -> None:
    first, second = started(bench, tmp_path, "first"), started(bench, tmp_path, "second")
    bench.run(first, 40)
    bench.run(second, 20)
    page = opened()
    assert chart(page)[1] == ["second"]
    page.selectbox(key="tune_other").set_value(first).run()
    assert not page.exception
    assert chart(page)[1] == ["second", "first"]


def test_the_table_tells_of_every_run(bench: StandInTuner, tmp_path: Path) -> None:
    bench.run(started(bench, tmp_path, "first"), 40)
    bench.run(started(bench, tmp_path, "second"), 20)
    table = opened().dataframe[0].value
    assert table["name"].tolist() == ["second", "first"]
    assert table["status"].tolist() == ["running", "done"]
    assert table["progress"].tolist() == [0.5, 1.0]


def test_a_finished_run_is_used_in_the_chat(bench: StandInTuner, base: str, tmp_path: Path) -> None:
    bench.run(started(bench, tmp_path, "mine"), 40)
    page = opened()
    page.segmented_control(key="tune_step").set_value("runs").run()
    page = click(page, "Use in chat")
    assert page.session_state["tuned"] == "mine" and page.session_state["mode"] == "free"
    assert len(page.chat_input) == 1


def test_the_log_is_shown(bench: StandInTuner, tmp_path: Path) -> None:
    bench.run(started(bench, tmp_path), 3)
    assert page_code(opened()) == "step 1\nstep 2\nstep 3"


def page_code(page: AppTest) -> str:
    return str(page.code[0].value)


@pytest.mark.parametrize("step", ["rows", "method", "runs"])
def test_every_step_speaks_chinese(
    bench: StandInTuner, base: str, tmp_path: Path, step: str
) -> None:
    bench.run(started(bench, tmp_path), 10)
    page = opened("zh")
    page.session_state["tune_rows"] = rows.Chosen(tmp_path / "r.jsonl", "r", 3, False)
    page.segmented_control(key="tune_step").set_value(step).run()
    assert not page.exception
    shown = [*labels(page), *(each.label for each in page.metric if each.label)]
    assert shown and all(any(char > "\u4e00" for char in each) for each in shown)


def test_no_run_yet_is_told(bench: StandInTuner) -> None:
    page = opened()
    page.segmented_control(key="tune_step").set_value("runs").run()
    assert "No run yet" in page.info[0].value
