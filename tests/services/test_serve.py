"""A served object answers for its Protocol, and for nothing else it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.bus.local import Local
from rwkv_rag.bus.transport import Call
from rwkv_rag.errors import BadMessage, NotFound
from rwkv_rag.services.contracts import GENERATOR, KNOWLEDGE, TUNER, methods
from rwkv_rag.services.remote import remote
from rwkv_rag.services.serve import Export, serve
from rwkv_rag.testing import CopyGenerator, MemoryKnowledge


class Secretive(MemoryKnowledge):
    """Knowledge with more to it than its Protocol."""

    home = "/secret"

    def __init__(self) -> None:
        super().__init__()
        self.touched: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "touched":
            object.__getattribute__(self, "touched").append(name)
        return super().__getattribute__(name)

    def close(self) -> None:
        raise AssertionError("nobody may call this")


NAMES = st.one_of(
    st.text(),
    st.sampled_from(
        ["home", "close", "_bases", "__class__", "__init__", "touched", "mro", "search.__call__"]
    ),
)


@given(target=NAMES, method=NAMES)
def test_nothing_but_the_protocol_can_be_reached(target: str, method: str) -> None:
    itself = Secretive()
    transport = Local(serve({"knowledge": Export(KNOWLEDGE, itself)}))
    for call in (Call("knowledge", method), Call(target, "bases"), Call(target, method)):
        if call.target == "knowledge" and call.method in methods(KNOWLEDGE.protocol):
            continue
        with pytest.raises(BadMessage) as caught:
            transport.request(call)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert itself.touched == []


def test_an_unknown_method_is_told_which_there_are() -> None:
    transport = Local(serve({"tuner": Export(TUNER, None)}))
    with pytest.raises(BadMessage, match=r"tuner has no method 'train'; it has estimate, forget"):
        transport.request(Call("tuner", "train"))
    with pytest.raises(BadMessage, match=r"this service has no 'knowledge'; it has tuner"):
        transport.request(Call("knowledge", "bases"))


@pytest.mark.parametrize("arguments", [{}, {"name": "a", "wrong": 1}, {"self": None}])
def test_arguments_are_those_of_the_signature(arguments: dict[str, Any]) -> None:
    itself = Secretive()
    transport = Local(serve({"knowledge": Export(KNOWLEDGE, itself)}))
    with pytest.raises(BadMessage):
        transport.request(Call("knowledge", "base", arguments))
    assert itself.touched == []


class Opened:
    """Opens generators by model and tuned; "broken" cannot be opened."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, model: str = "m", tuned: str = "", secret: str = "") -> CopyGenerator:
        assert not secret
        if model == "broken":
            raise NotFound("no model 'broken'")
        self.asked.append((model, tuned))
        return CopyGenerator()


@pytest.fixture
def opener() -> Opened:
    return Opened()


@pytest.fixture
def transport(opener: Opened) -> Iterator[Local]:
    export = Export(GENERATOR, opener=opener, bound=("model", "tuned"))
    with closing(Local(serve({"generator": export}))) as transport:
        yield transport


def test_a_call_opens_what_it_is_bound_to(transport: Local, opener: Opened) -> None:
    assert remote(GENERATOR, transport).name == "copy"
    assert remote(GENERATOR, transport, {"tuned": "poet"}).count_tokens("a b") == 2
    assert opener.asked == [("m", ""), ("m", "poet")]


def test_what_cannot_be_opened_is_said_by_the_call(transport: Local) -> None:
    with pytest.raises(NotFound, match="no model 'broken'"):
        _ = remote(GENERATOR, transport, {"model": "broken"}).name


@pytest.mark.parametrize("bound", [{"secret": "x"}, {"self": "x"}, {"model": 1}, {"": ""}])
def test_nothing_else_of_the_opener_can_be_set(
    transport: Local, opener: Opened, bound: dict[str, Any]
) -> None:
    with pytest.raises(BadMessage, match="generator cannot be bound to"):
        _ = remote(GENERATOR, transport, bound).name
    assert opener.asked == []


def test_a_caller_that_has_gone_is_told_to_the_object() -> None:
    gone: list[bool] = []

    class Asking(MemoryKnowledge):
        def index(self, name: str, paths: Any, *, cancelled: Any = None) -> Iterator[Any]:
            for number in range(9):
                gone.append(cancelled())
                yield number

    with closing(Local(serve({"knowledge": Export(KNOWLEDGE, Asking())}))) as transport:
        call = Call("knowledge", "index", {"name": "", "paths": []}, stream=True)
        events = transport.request(call)
        assert [next(events), next(events)] == [0, 1]
    assert gone == [False, False]
