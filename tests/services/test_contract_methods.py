"""What is read from the annotations of a Protocol."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from rwkv_rag.bus import codec
from rwkv_rag.errors import BadMessage
from rwkv_rag.interfaces import Embedder, Generator, Knowledge, Tuner
from rwkv_rag.services.contracts import methods
from rwkv_rag.types import Delta, IndexEvent, TuneJob, TuneSettings


def test_streams_are_told_from_values() -> None:
    generate, jobs = methods(Generator)["generate"], methods(Tuner)["jobs"]
    assert (generate.stream, generate.returns) == (True, Delta)
    assert (jobs.stream, jobs.returns) == (False, list[TuneJob])
    assert methods(Generator)["name"].property and not generate.property


def test_functions_do_not_travel() -> None:
    index = methods(Knowledge)["index"]
    assert index.stops == ("cancelled",) and index.returns is IndexEvent
    assert dict(index.types) == {"name": str, "paths": Sequence[Path]}


def test_arguments_have_the_defaults_of_the_signature() -> None:
    made = methods(Knowledge)["search"].arguments(name="kb", query="q")
    assert msgspec.to_builtins(made) == {
        "name": "kb",
        "query": "q",
        "top_k": 5,
        "stage": "reranked",
    }


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"name": "kb"},
        {"name": "kb", "query": 1},
        {"name": "kb", "query": "q", "top_k": "5"},
        {"name": "kb", "query": "q", "top_k": 1.5},
        {"name": "kb", "query": "q", "stage": "best"},
        {"name": "kb", "query": "q", "self": 1},
        {"name": None, "query": "q"},
    ],
)
def test_arguments_that_do_not_fit_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, methods(Knowledge)["search"].arguments)


def test_settings_are_checked_to_their_last_value() -> None:
    start = methods(Tuner)["start"]
    job = {"settings": {"name": "x", "data": "/d", "method": "lora", "steps": "many"}}
    with pytest.raises(BadMessage, match=r"settings\.steps"):
        codec.decode(codec.encode(job), start.arguments)
    assert start.types == {"settings": TuneSettings}


def test_arrays_keep_their_kind_of_number() -> None:
    assert str(np.float32).split("'")[1] in str(methods(Embedder)["embed_queries"].returns)


def test_reading_a_protocol_without_arrays_loads_no_numpy() -> None:
    program = (
        "import sys; from rwkv_rag.interfaces import Knowledge, Models\n"
        "from rwkv_rag.services.contracts import methods\n"
        "assert methods(Knowledge) and methods(Models) and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
