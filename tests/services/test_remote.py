"""A remote object has the methods of its Protocol, called as its contract says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag.bus.transport import Call
from rwkv_rag.services.contracts import CONTRACTS, GENERATOR, KNOWLEDGE, TUNER, Contract, methods
from rwkv_rag.services.remote import remote
from rwkv_rag.types import GREEDY, Document, TuneSettings


class Recording:
    """A transport that answers every call with `replies` and remembers it."""

    def __init__(self, *replies: Any) -> None:
        self.calls: list[Call] = []
        self.replies = replies
        self.closed = 0

    def request(self, call: Call) -> Iterator[Any]:
        self.calls.append(call)
        return self._replies()

    def _replies(self) -> Iterator[Any]:
        try:
            yield from self.replies
        finally:
            self.closed += 1

    def close(self) -> None: ...


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.target)
def test_it_has_what_the_protocol_has_and_says_what_it_is(contract: Contract) -> None:
    twin = remote(contract, Recording(), {"model": "m"})
    public = {name for name in dir(type(twin)) if not name.startswith("_")}
    assert public == set(methods(contract.protocol))
    assert repr(twin) == f"<remote {contract.target}(model='m')>"


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.target)
def test_every_method_is_called_in_its_way(contract: Contract) -> None:
    for name, method in methods(contract.protocol).items():
        transport = Recording(None)
        twin = remote(contract, transport)
        arguments = {each: "x" for each in method.types}
        if not method.property:
            getattr(twin, name)(**arguments)
        else:
            getattr(twin, name)
        (call,) = transport.calls
        way = contract.policies[name]
        assert (call.target, call.method) == (contract.target, name)
        assert set(call.arguments) == set(method.types)
        assert (call.deadline_s, call.priority) == (way.deadline_s, way.priority)
        assert (call.repeatable, call.stream) == (way.repeatable, method.stream)
        assert call.returns == method.returns


def test_arguments_may_be_given_as_the_signature_allows() -> None:
    transport = Recording(None)
    knowledge = remote(KNOWLEDGE, transport)
    knowledge.search("kb", query="q")
    knowledge.search("kb", "q", stage="dense")
    assert [dict(call.arguments) for call in transport.calls] == [
        {"name": "kb", "query": "q"},
        {"name": "kb", "query": "q", "stage": "dense"},
    ]
    for args, kwargs in (((), {}), (("kb", "q", 5), {}), (("kb", "q"), {"k": 1})):
        with pytest.raises(TypeError):
            knowledge.search(*args, **kwargs)
    assert len(transport.calls) == 2


def test_paths_leave_the_process_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    transport = Recording(None)
    remote(KNOWLEDGE, transport).index("kb", (Path("a"), Path("/b"), Path("../c")))
    remote(TUNER, transport).start(TuneSettings("x", Path("rows.jsonl")))
    index, start = transport.calls
    assert index.arguments["paths"] == [tmp_path / "a", Path("/b"), tmp_path / "../c"]
    assert start.arguments["settings"].data == tmp_path / "rows.jsonl"


def test_other_values_leave_as_they_are() -> None:
    transport = Recording(None)
    document = Document("a", "text", "0")
    remote(KNOWLEDGE, transport).add("kb", [document])
    remote(GENERATOR, transport).generate("p", sampling=GREEDY, max_tokens=1, sources=None)
    add, generate = transport.calls
    assert add.arguments["documents"][0] is document
    assert generate.arguments["sampling"] is GREEDY and generate.arguments["sources"] is None


def test_the_callers_function_is_asked_before_each_reply() -> None:
    transport, asked = Recording(1, 2, 3, 4), list[int]()

    def cancelled() -> bool:
        asked.append(len(asked))
        return len(asked) > 2

    events = remote(KNOWLEDGE, transport).index("kb", [], cancelled=cancelled)
    assert asked == []
    assert list(events) == [1, 2] and asked == [0, 1, 2]
    assert transport.closed == 1
    assert "cancelled" not in transport.calls[0].arguments


def test_a_stream_nobody_began_can_be_closed() -> None:
    events = remote(KNOWLEDGE, Recording(1)).index("kb", [], cancelled=lambda: False)
    events.close()
    assert list(events) == []


def test_signatures_are_those_of_the_protocol() -> None:
    knowledge = remote(KNOWLEDGE, Recording())
    assert inspect.signature(knowledge.search) == inspect.signature(
        vars(KNOWLEDGE.protocol)["search"].__get__(object())
    )
