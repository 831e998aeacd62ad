"""Many answers at once: each as if it were alone, whatever becomes of the others."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rwkv_rag.errors import Busy, CorruptData, InputError, ModelMismatch, NotFound
from rwkv_rag.interfaces import Generator
from rwkv_rag.rwkv import scheduler
from rwkv_rag.rwkv.adapter import Adapter
from rwkv_rag.rwkv.checkpoint import from_tensors
from rwkv_rag.rwkv.engine import Engine
from rwkv_rag.rwkv.kernels.threads import exclusive
from rwkv_rag.rwkv.random_weights import random_tensors
from rwkv_rag.rwkv.scheduler import Scheduler
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.rwkv.tuned import FILES, Tuned, TunedStore
from rwkv_rag.rwkv.x070 import X070
from rwkv_rag.types import GREEDY, Sampling

from .one_by_one import OneByOne

BASE = "ab" * 32
TOKENIZER = Tokenizer([b"", *(bytes([i]) for i in range(256))])
CHECKPOINT = from_tensors(random_tensors(2, 128, 257, seed=6))
VIVID = Sampling(temperature=1.0, top_p=0.9, seed=5, presence_penalty=0.3)


@pytest.fixture(scope="module")
def model() -> X070:
    return X070(CHECKPOINT, dtype="fp32")


@pytest.fixture
def store(tmp_path: Path) -> TunedStore:
    return TunedStore(tmp_path)


@pytest.fixture
def engine(model: X070, store: TunedStore) -> Iterator[Engine]:
    opened = Engine(model, TOKENIZER, name="tiny", base_sha256=lambda: BASE, store=store)
    yield opened
    opened.close()


def put(
    store: TunedStore, name: str, tensors: dict[str, torch.Tensor], kind: Any, base: str
) -> None:
    store.path(name).mkdir(parents=True, exist_ok=True)
    Tuned(name, kind, base, "tiny", "import").write(store.path(name))
    save_file(tensors, store.path(name) / FILES[kind])


def put_state(
    store: TunedStore, name: str, seed: int, base: str = BASE, scale: float = 1.0
) -> State:
    draw = torch.Generator().manual_seed(seed)
    state = State.zeros(CHECKPOINT.shape)
    state.wkv[:] = torch.randn(state.wkv.shape, generator=draw) * scale
    put(store, name, state.to_time_state(), "state", base)
    return state


def put_adapter(store: TunedStore, name: str, seed: int) -> Adapter:
    draw = torch.Generator().manual_seed(seed)
    target = "blocks.1.ffn.key.weight"
    tensors = {
        f"{target}.lora_A": torch.randn(4, 128, generator=draw) * 0.3,
        f"{target}.lora_B": torch.randn(512, 4, generator=draw) * 0.3,
    }
    put(store, name, tensors, "adapter", BASE)
    return Adapter.of(tensors, CHECKPOINT.shape)


def text(generator: Generator, prompt: str, sampling: Sampling = GREEDY, tokens: int = 30) -> str:
    pieces = list(generator.generate(prompt, sampling=sampling, max_tokens=tokens))
    assert [piece.finish for piece in pieces[:-1]] == [""] * (len(pieces) - 1)
    assert pieces[-1].finish in ("stop", "length")
    return "".join(piece.text for piece in pieces)


def alone(model: X070, prompt: str, sampling: Sampling = GREEDY, state: State | None = None) -> str:
    return text(OneByOne(model, TOKENIZER, name="", initial_state=state), prompt, sampling)


@dataclass
class Together:
    """Runs calls in threads of their own, none begun by the model before all are submitted."""

    submitted: threading.Semaphore

    def __call__(self, *calls: Callable[[], object]) -> list[object]:
        results: list[object] = [None] * len(calls)

        def run(number: int) -> None:
            try:
                results[number] = calls[number]()
            except Exception as error:
                results[number] = error

        threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
        with exclusive:
            for thread in threads:
                thread.start()
                assert self.submitted.acquire(timeout=10)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        return results


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Together:
    submitted, submit = threading.Semaphore(0), Scheduler._submit

    def counted(self: Scheduler, request: scheduler.Request) -> None:
        try:
            submit(self, request)
        finally:
            submitted.release()

    monkeypatch.setattr(Scheduler, "_submit", counted)
    return Together(submitted)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What the model is asked: ("step", sequences) and ("forward", tokens)."""
    made: list[tuple[str, int]] = []
    step, forward = X070.step, X070.forward

    def counted_step(self: X070, tokens: Any, state: Any) -> Any:
        made.append(("step", len(tokens)))
        return step(self, tokens, state)

    def counted_forward(self: X070, tokens: Any, *rest: Any, **named: Any) -> Any:
        made.append(("forward", sum(map(len, tokens))))
        return forward(self, tokens, *rest, **named)

    monkeypatch.setattr(X070, "step", counted_step)
    monkeypatch.setattr(X070, "forward", counted_forward)
    return made


def eventually(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come true within 5 s")


@pytest.mark.parametrize("sampling", [GREEDY, VIVID])
def test_several_at_once_write_what_each_writes_alone(
    model: X070,
    engine: Engine,
    together: Together,
    calls: list[tuple[str, int]],
    sampling: Sampling,
) -> None:
    prompts = [f"{number} prompt" * (1 + number * 7) for number in range(6)]
    wanted = [alone(model, prompt, sampling) for prompt in prompts]
    calls.clear()
    found = together(*(lambda p=p: text(engine.generator(), p, sampling) for p in prompts))
    assert found == wanted and len(set(wanted)) > 3
    assert max(size for kind, size in calls if kind == "step") >= 5


def test_two_states_write_in_one_batch_each_its_own(
    model: X070, engine: Engine, store: TunedStore, together: Together, calls: list[tuple[str, int]]
) -> None:
    states = {name: put_state(store, name, seed) for seed, name in enumerate(["one", "two"])}
    wanted = [alone(model, "Hello", state=states[name]) for name in states]
    wanted.append(alone(model, "Hello"))
    calls.clear()
    names = [*states, ""]
    found = together(*(lambda n=n: text(engine.generator(n), "Hello") for n in names))
    assert found == wanted and len(set(wanted)) == 3
    steps = [size for kind, size in calls if kind == "step"]
    assert steps.count(3) >= 20 and len(steps) <= 35  # one after another would take 87


def test_different_adapters_take_turns_and_do_not_mix(
    model: X070, engine: Engine, store: TunedStore, together: Together, calls: list[tuple[str, int]]
) -> None:
    adapters = {name: put_adapter(store, name, seed) for seed, name in enumerate(["one", "two"])}
    wanted = [alone(model.adapted(adapters[name]), "Hello") for name in ("one", "two", "one")]
    wanted.append(alone(model, "Hello"))
    calls.clear()
    names = ["one", "two", "one", ""]
    found = together(*(lambda n=n: text(engine.generator(n), "Hello") for n in names))
    assert found == wanted and len(set(wanted)) == 3
    assert max(size for kind, size in calls if kind == "step") == 2  # the two with one adapter


def test_grounded_and_free_answers_share_a_batch(
    model: X070, engine: Engine, together: Together
) -> None:
    sources = ["The gate opens at nine.", "The gate closes at ten in the evening."]

    def grounded(generator: Generator) -> object:
        stream = generator.generate(
            "When?", sampling=GREEDY, max_tokens=40, sources=sources, refusal="No."
        )
        return list(stream)

    wanted = grounded(OneByOne(model, TOKENIZER, name=""))
    found = together(
        lambda: grounded(engine.generator()), lambda: text(engine.generator(), "Hello")
    )
    assert found == [wanted, alone(model, "Hello")]


def test_a_long_prompt_is_read_between_the_steps_of_others(
    model: X070,
    engine: Engine,
    together: Together,
    calls: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "CHUNK_TOKENS", 16)
    long = "long prompt " * 30
    wanted = [alone(model, "Hello"), alone(model, long)]
    calls.clear()
    found = together(
        lambda: text(engine.generator(), "Hello"), lambda: text(engine.generator(), long)
    )
    assert found == wanted
    reads = [number for number, (kind, _) in enumerate(calls) if kind == "forward"]
    assert len(reads) == 1 + -(-len(long) // 16)
    between = [calls[a + 1 : b] for a, b in pairwise(reads[1:])]
    assert len(between) > 15 and all(("step", 1) in steps for steps in between)


def test_a_short_prompt_need_not_wait_for_a_long_one(
    engine: Engine,
    together: Together,
    calls: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "CHUNK_TOKENS", 16)
    monkeypatch.setattr(scheduler, "LONE_CHUNK_TOKENS", 16)
    together(
        lambda: text(engine.generator(), "x" * 800, tokens=1),
        lambda: text(engine.generator(), "short", tokens=1),
    )
    assert ("forward", 5) in calls[:3]


def test_an_abandoned_stream_makes_room_at_once(
    engine: Engine, calls: list[tuple[str, int]]
) -> None:
    stream = engine.generator().generate("Hello", sampling=VIVID, max_tokens=100_000)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    eventually(lambda: not engine._scheduler._batches)
    assert len(calls) < 5_000
    assert list(stream) == []


def test_a_stream_that_nobody_holds_any_more_is_abandoned_too(engine: Engine) -> None:
    for _ in engine.generator().generate("Hello", sampling=VIVID, max_tokens=100_000):
        break
    eventually(lambda: not engine._scheduler._batches)


def test_a_damaged_state_fails_its_own_request_and_no_other(
    model: X070, engine: Engine, store: TunedStore, together: Together
) -> None:
    numbers = put_state(store, "broken", 1).to_time_state()  # finite, but not for long
    put(
        store, "broken", {name: 3e38 * each.sign() for name, each in numbers.items()}, "state", BASE
    )
    found = together(
        lambda: text(engine.generator("broken"), "Hello"),
        lambda: text(engine.generator(), "Hello"),
    )
    assert isinstance(found[0], CorruptData) and found[1] == alone(model, "Hello")


def test_a_failing_step_reaches_those_in_it_and_the_engine_goes_on(
    model: X070, engine: Engine, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(X070, "step", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
        found = together(*[lambda: text(engine.generator(), "Hello")] * 2)
    assert [type(each) for each in found] == [MemoryError] * 2
    assert text(engine.generator(), "Hello") == alone(model, "Hello")


def test_too_many_are_told_to_come_back(
    engine: Engine, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "MAX_WAITING", 2)
    monkeypatch.setattr(scheduler, "MAX_ACTIVE", 1)
    found = together(*[lambda: text(engine.generator(), "Hello", tokens=3)] * 9)
    refused = [each for each in found if isinstance(each, Busy)]
    assert len(refused) in (6, 7) and len({str(each) for each in found}) == 2


def test_no_more_are_written_at_once_than_there_are_places(
    engine: Engine,
    together: Together,
    calls: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "MAX_ACTIVE", 2)
    found = together(*[lambda: text(engine.generator(), "Hello")] * 5)
    assert len(set(map(str, found))) == 1
    assert max(size for kind, size in calls if kind == "step") == 2


def test_nothing_is_asked_of_the_model_before_the_first_delta(
    engine: Engine, calls: list[tuple[str, int]]
) -> None:
    engine.generator().generate("Hello", sampling=GREEDY, max_tokens=3)
    assert calls == [] and engine._scheduler._thread is None


def test_arguments_are_checked_at_once(engine: Engine) -> None:
    with pytest.raises(InputError, match="max_tokens"):
        engine.generator().generate("Hello", sampling=GREEDY, max_tokens=0)


def test_without_text_in_the_sources_the_model_is_not_asked(
    engine: Engine, calls: list[tuple[str, int]]
) -> None:
    stream = engine.generator().generate(
        "Hello", sampling=GREEDY, max_tokens=9, sources=[" "], refusal="No."
    )
    assert [piece.finish for piece in stream] == ["refusal"] and calls == []


def test_the_thread_ends_without_work_and_starts_anew(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "IDLE_S", 0.05)
    with exclusive:  # its thread waits for the model
        stream = engine.generator().generate("Hello", sampling=GREEDY, max_tokens=30)
        reader = threading.Thread(target=list, args=(stream,))
        reader.start()
        eventually(lambda: engine._scheduler._thread is not None)
        thread = engine._scheduler._thread
    reader.join(10)
    eventually(lambda: engine._scheduler._thread is None)
    thread.join(5)
    assert not thread.is_alive()
    first = text(engine.generator(), "Hello")
    assert text(engine.generator(), "Hello") == first


def test_closing_fails_what_is_under_way(engine: Engine) -> None:
    stream = engine.generator().generate("Hello", sampling=VIVID, max_tokens=100_000)
    next(stream)
    engine.close()
    with pytest.raises(Busy, match="ending"):
        list(stream)


def test_python_can_end_in_the_middle_of_an_answer() -> None:
    program = """
from rwkv_rag import models
from rwkv_rag.types import GREEDY, Writer
from pathlib import Path
generator = models.open_generator(Path("nowhere"), Writer("builtin", "builtin"))
stream = generator.generate("Hello", sampling=GREEDY, max_tokens=10_000)
print(len(next(stream).text) > 0)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "True\n", "")


def test_the_name_says_what_writes(engine: Engine, store: TunedStore) -> None:
    put_state(store, "poet", 1)
    assert engine.generator().name == "tiny"
    assert engine.generator("poet").name == "tiny + poet"
    assert engine.generator().count_tokens("Hello") == 5


def test_a_state_of_another_base_is_refused_by_its_hash(engine: Engine, store: TunedStore) -> None:
    put_state(store, "foreign", 1, base="cd" * 32)
    with pytest.raises(ModelMismatch, match=r"'foreign' was tuned on tiny \(cdcd"):
        engine.generator("foreign")


def test_what_is_not_there_is_named_and_a_whole_model_is_refused(
    engine: Engine, store: TunedStore
) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        engine.generator("nobody")
    put(store, "whole", {"emb.weight": torch.zeros(2, 2)}, "model", BASE)
    with pytest.raises(InputError, match="'whole' is a whole model"):
        engine.generator("whole")


def test_a_damaged_file_is_refused(engine: Engine, store: TunedStore) -> None:
    put_adapter(store, "cut", 1)
    file = store.tensors("cut")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CorruptData, match="cut"):
        engine.generator("cut")
    put_state(store, "torn", 1)
    file = store.tensors("torn")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CorruptData, match="torn"):
        engine.generator("torn")
    put_state(store, "endless", 1, scale=float("inf"))
    with pytest.raises(CorruptData, match="endless"):
        engine.generator("endless")


def test_a_result_is_used_at_once_when_it_is_written_anew(
    model: X070, engine: Engine, store: TunedStore
) -> None:
    generator = engine.generator(put_state(store, "poet", 1) and "poet")
    first = text(generator, "Hello")
    newer = put_state(store, "poet", 2)
    assert text(generator, "Hello") == alone(model, "Hello", state=newer) != first


def test_a_file_is_read_once_while_it_stays_as_it_is(
    engine: Engine, store: TunedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_adapter(store, "poet", 1)
    loads = []
    load = Adapter.load
    monkeypatch.setattr(
        Adapter, "load", classmethod(lambda _, *given: loads.append(given) or load(*given))
    )
    for _ in range(3):
        text(engine.generator("poet"), "Hello", tokens=1)
    assert len(loads) == 1


def test_a_base_with_a_state_of_its_own_begins_from_it(model: X070, store: TunedStore) -> None:
    start = put_state(store, "unused", 3)
    engine = Engine(model, TOKENIZER, name="", base_sha256=lambda: BASE, store=store, state=start)
    assert text(engine.generator(), "Hello") == alone(model, "Hello", state=start)
    engine.close()
