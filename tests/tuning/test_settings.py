"""What can be asked for: refused by field and value, completed by the method, written and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.errors import CorruptData, InputError
from rwkv_rag.tuning.settings import METHODS, check, from_json, to_json, with_rates
from rwkv_rag.types import TuneSettings

PLAIN = TuneSettings("x", Path("rows.jsonl"))


@pytest.mark.parametrize("method", METHODS)
def test_what_a_user_gets_without_options_can_be_run(method: Any) -> None:
    check(replace(PLAIN, method=method))


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "prefix"},
        {"scored": "questions"},
        {"steps": 0},
        {"steps": 2.5},
        {"batch": -1},
        {"context": 1},
        {"chunk": 1},
        {"chunk": 64, "method": "state"},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr_final": -1.0},
        {"epochs": float("inf")},
        {"held_out": 1.0},
        {"clip": -0.5},
        {"rank": 0},
        {"parts": ("att", "heads")},
        {"parts": ()},
        {"device": "tpu"},
        {"strategy": "horovod", "devices": 2},
        {"strategy": "ddp"},
        {"wandb": "maybe"},
        {"schedule": "linear"},
        {"quantization": "nf4", "method": "full"},
        {"precision": "bf16", "method": "full"},
    ],
)
def test_a_refusal_names_the_field_and_its_value(changes: dict[str, Any]) -> None:
    name, value = next(iter(changes.items()))
    shown = ("empty", *value)[-1] if isinstance(value, tuple) else value
    with pytest.raises(InputError) as caught:
        check(replace(PLAIN, **changes))
    said = str(caught.value)
    assert said.startswith(f"{name} is ") and str(shown) in said and "\n" not in said


def test_a_rate_may_fall_to_nothing() -> None:
    check(replace(PLAIN, lr=0.1, lr_final=0.0))
    assert with_rates(replace(PLAIN, lr=0.1, lr_final=0.0), lambda: (1.0, 0.5)).lr_final == 0


def test_an_unknown_strategy_is_told_which_there_are() -> None:
    with pytest.raises(
        InputError, match=r"choose one of auto, ddp, fsdp, deepspeed_stage_1, .*_3$"
    ):
        check(replace(PLAIN, strategy="magic", devices=2))


def test_rates_left_open_follow_the_method_and_keep_its_fall() -> None:
    usual: Callable[[], tuple[float, float]] = lambda: (1e-2, 1e-4)  # noqa: E731
    assert with_rates(PLAIN, usual).lr == 1e-2
    assert with_rates(PLAIN, usual).lr_final == 1e-4
    assert with_rates(replace(PLAIN, lr=1.0), usual).lr_final == pytest.approx(1e-2)
    assert with_rates(replace(PLAIN, lr_final=1e-3), usual).lr == 1e-2
    with pytest.raises(InputError, match=r"lr_final is 0\.5, above lr"):
        with_rates(replace(PLAIN, lr_final=0.5), usual)


@given(
    st.builds(
        TuneSettings,
        name=st.text(max_size=9),
        data=st.just(Path("/a b/行.jsonl")),
        lr=st.none() | st.floats(1e-9, 1),
        parts=st.lists(st.sampled_from(["att", "ffn"]), max_size=2).map(tuple),
        steps=st.integers(1, 10**7),
        checkpointing=st.booleans(),
    )
)
def test_settings_come_back_as_they_were_written(settings: TuneSettings) -> None:
    assert from_json(to_json(settings)) == settings


def test_fields_of_a_later_version_are_left_out_and_damage_is_named() -> None:
    text = to_json(PLAIN)
    assert from_json(text[:-1] + ', "later": 1}') == PLAIN
    for damaged in ("", "[]", "{}", text[:40]):
        with pytest.raises(CorruptData, match="job k7 cannot be read"):
            from_json(damaged, source="job k7")
