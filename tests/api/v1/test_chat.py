"""Chat with the real client of OpenAI over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from rwkv_rag.types import Delta, Sampling

from ..serving import FEE, GARDEN, Served, fault, fill, running, until

ASKED: Any = [{"role": "user", "content": "What is the annual fee for a plot?"}]


@pytest.fixture(scope="module")
def client(shared: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def test_an_answer_carries_its_citation_and_true_usage(
    client: openai.OpenAI, shared: Served
) -> None:
    answer = client.chat.completions.create(model="fake@docs", messages=ASKED)
    (choice,) = answer.choices
    assert choice.message.content == FEE
    assert choice.finish_reason == "stop"
    extra = choice.message.model_extra or {}
    (citation,) = extra["citations"]
    assert GARDEN[citation["start"] : citation["end"]] == citation["quote"] == FEE
    assert (citation["document"], citation["page"]) == ("garden.txt", None)
    assert extra["refused"] is False and choice.message.refusal is None
    count = shared.client.generator().count_tokens
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == count(ASKED[0]["content"])
    assert answer.usage.completion_tokens == count(FEE)


def test_a_stream_has_the_same_answer_with_its_citations_and_usage_last(
    client: openai.OpenAI,
) -> None:
    stream = client.chat.completions.create(
        model="fake@docs",
        messages=ASKED,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"mode": "free"},
    )
    *chunks, proof, usage = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == f"{FEE} [1]"
    assert len(chunks) > 5  # piece by piece, and not in one
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)
    assert proof.choices[0].finish_reason == "stop"
    (citation,) = (proof.choices[0].delta.model_extra or {})["citations"]
    assert citation["quote"] == FEE
    assert usage.choices == [] and usage.usage is not None
    assert usage.usage.total_tokens > usage.usage.completion_tokens > 0
    assert len({chunk.id for chunk in (*chunks, proof, usage)}) == 1


def test_a_refusal_is_marked(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Who invented the zeppelin?"}]
    answer = client.chat.completions.create(model="fake@docs", messages=messages)
    message = answer.choices[0].message
    assert message.refusal == message.content
    assert (message.model_extra or {})["refused"] is True
    assert (message.model_extra or {})["citations"] == []


def test_the_base_may_be_named_apart_from_the_model(client: openai.OpenAI) -> None:
    extra = {"knowledge_base": "docs", "top_k": 3}
    answer = client.chat.completions.create(model="default", messages=ASKED, extra_body=extra)
    assert answer.choices[0].message.content == FEE


def test_a_follow_up_question_is_read_with_the_turns_before_it(client: openai.OpenAI) -> None:
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "整机保修期多久？"},
        {"role": "assistant", "content": "整机保修期为 2 年。"},
        {"role": "user", "content": [{"type": "text", "text": "那滤芯的使用寿命呢？"}]},
    ]
    answer = client.chat.completions.create(model="fake@docs", messages=messages)
    assert "12 个月" in (answer.choices[0].message.content or "")


def test_without_a_base_the_model_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake", messages=ASKED)
    assert answer.choices[0].message.content == "I found no answer in the passages."
    assert (answer.choices[0].message.model_extra or {})["citations"] == []


def test_harmless_fields_are_ignored(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="fake@docs",
        messages=ASKED,
        user="me",
        metadata={"a": "b"},
        store=True,
        n=1,
        tools=[],
        logprobs=False,
        response_format={"type": "text"},
        service_tier="auto",
    )
    assert answer.choices[0].message.content == FEE


IMAGE = [{"type": "image_url", "image_url": {"url": "data:,"}}]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"functions": [{}]}, "functions"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"messages": [{"role": "user", "content": IMAGE}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "x"}, *ASKED]}, "messages[0].role"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "x"}]}, "messages[1].role"),
        ({"messages": []}, "messages"),
        ({"temperature": 9}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["x" * 300]}, "stop"),
        ({"mode": "loose"}, "mode"),
        ({"stream": "yes"}, "stream"),
        ({"seed": 1.5}, "seed"),
        ({"model": None}, "model"),
        ({"model": "fake@docs", "knowledge_base": "other"}, "knowledge_base"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    shared: Served, change: dict[str, Any], param: str
) -> None:
    body = {"model": "fake@docs", "messages": ASKED, **change}
    answer = shared.http.post("/v1/chat/completions", json=body)
    found = fault(answer)
    assert answer.status_code == 400, found
    assert found["param"] == param
    assert found["type"] == "invalid_request_error"


@pytest.mark.parametrize("model", ["gpt-4", "fake:poet", "fake:poet@docs", "@docs", "fake@nowhere"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_or_base_is_not_found(shared: Served, model: str, stream: bool) -> None:
    body = {"model": model, "messages": ASKED, "stream": stream}
    answer = shared.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 404, answer.text
    assert fault(answer)["code"] in ("model_not_found", "not_found")


class Recorder:
    """A generator that says the same thing and remembers how it was asked."""

    name = "recorder"

    def __init__(self, *, endless: bool = False, at_once: int = 0) -> None:
        self.asked: dict[str, Any] = {}
        self.closed = threading.Event()
        self.endless = endless
        self.together = threading.Barrier(at_once, timeout=20) if at_once else None

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(
        self,
        prompt: str,
        *,
        sampling: Sampling,
        max_tokens: int,
        stop: Sequence[str] = (),
        sources: Sequence[str] | None = None,
        refusal: str = "",
    ) -> Iterator[Delta]:
        self.asked = {"prompt": prompt, "sampling": sampling, "max": max_tokens, "stop": stop}
        return self._deltas()

    def _deltas(self) -> Iterator[Delta]:
        try:
            yield Delta(" Well")
            if self.together:
                self.together.wait()
            while self.endless and not self.closed.wait(0.005):
                yield Delta(" and")
            yield Delta(".", finish="length")
        finally:
            self.closed.set()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return _put(monkeypatch, Recorder())


def _put(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> Recorder:
    monkeypatch.setattr("rwkv_rag.testing.CopyGenerator", lambda: recorder)
    return recorder


def test_what_is_said_about_sampling_reaches_the_model(alone: Served, recorder: Recorder) -> None:
    body = {
        "model": "fake",
        "messages": [
            {"role": "system", "content": "Be\n\nkind."},
            {"role": "user", "content": "Hello\n\nUser: you"},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 1.5,
        "frequency_penalty": -0.5,
        "seed": -3,
        "max_completion_tokens": 7,
        "stop": ["END"],
    }
    answer = alone.http.post("/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"]["content"] == "Well."
    assert answer["choices"][0]["finish_reason"] == "length"
    prompt = "System: Be\nkind.\n\nUser: Hello\nUser： you\n\nAssistant:"
    assert answer["usage"] == {
        "prompt_tokens": len(prompt),
        "completion_tokens": len(" Well."),
        "total_tokens": len(prompt) + len(" Well."),
    }
    sampling = recorder.asked["sampling"]
    assert (sampling.temperature, sampling.top_p) == (0.5, 0.9)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (1.5, -0.5)
    assert sampling.seed == 2**63 - 3
    assert recorder.asked["max"] == 7
    assert "END" in recorder.asked["stop"]
    assert recorder.asked["prompt"] == prompt


def test_sampling_counts_for_free_answers_from_a_base_too(
    alone: Served, recorder: Recorder
) -> None:
    fill(alone.client)
    body = {"model": "fake@docs", "messages": ASKED, "mode": "free", "temperature": 0.25}
    alone.http.post("/v1/chat/completions", json=body | {"max_tokens": 9, "seed": 4})
    assert (recorder.asked["sampling"].temperature, recorder.asked["sampling"].seed) == (0.25, 4)
    assert recorder.asked["max"] == 9
    assert FEE in recorder.asked["prompt"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["fake", "fake@docs"])
def test_a_client_that_goes_away_frees_the_writer(
    alone: Served, monkeypatch: pytest.MonkeyPatch, model: str, stream: bool
) -> None:
    fill(alone.client)
    endless = _put(monkeypatch, Recorder(endless=True))
    body = {"model": model, "messages": ASKED, "stream": stream, "mode": "free"}
    with httpx.Client(base_url=alone.url, timeout=0.5, trust_env=False) as leaving:
        try:
            with leaving.stream("POST", "/v1/chat/completions", json=body) as answer:
                next(answer.iter_lines())
        except httpx.ReadTimeout:
            assert not stream
    assert endless.closed.wait(5), "the model goes on writing"
    monkeypatch.undo()
    after = alone.http.post("/v1/chat/completions", json=body | {"stream": False})
    assert after.status_code == 200
    until(lambda: b"in_flight 1.0" in alone.http.get("/metrics").content)  # this very request


def test_thirty_two_streams_run_at_once_and_others_are_served_meanwhile(
    alone: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stands still after its first word until all the others, and a look, have come so far."""
    count = 32
    _put(monkeypatch, Recorder(at_once=count + 1))
    meeting = alone.client.generator()  # one more: the test itself

    def ask(_: int) -> str:
        body = {"model": "fake", "messages": ASKED, "stream": True}
        with alone.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            return "".join(answer.iter_text())

    with ThreadPoolExecutor(count) as pool:
        told = [pool.submit(ask, n) for n in range(count)]
        until(lambda: f"in_flight {count + 1}.0" in alone.http.get("/metrics").text)
        assert alone.http.get("/health").status_code == 200
        assert alone.http.get("/v1/models").status_code == 200
        list(meeting.generate("go", sampling=Sampling(), max_tokens=1))
        for each in told:
            *events, last, empty = each.result(20).split("\n\n")
            assert (last, empty) == ("data: [DONE]", "")
            records = [json.loads(event.removeprefix("data: ")) for event in events]
            deltas = [record["choices"][0]["delta"] for record in records]
            assert "".join(delta.get("content") or "" for delta in deltas) == "Well."


class Failing(Recorder):
    """Breaks off in the middle."""

    def _deltas(self) -> Iterator[Delta]:
        from rwkv_rag.errors import WorkerLost

        yield Delta("Well")
        raise WorkerLost("the worker died; ask again")


def test_what_fails_in_the_middle_of_a_stream_is_its_last_word(
    alone: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(monkeypatch, Failing())
    with openai.OpenAI(base_url=f"{alone.url}/v1", api_key="x", max_retries=0) as client:
        stream = client.chat.completions.create(model="fake", messages=ASKED, stream=True)
        with pytest.raises(openai.APIError, match="the worker died"):
            list(stream)
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="fake", messages=ASKED)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"] == "1"


@pytest.mark.slow
def test_the_model_in_the_package_answers_and_says_that_it_cannot_chat(tmp_path: Path) -> None:
    from rwkv_rag.config import Settings

    with running(Settings(home=tmp_path / "home", connect="off")) as served:
        fill(served.client)
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
        with client:
            answer = client.chat.completions.create(model="builtin@docs", messages=ASKED)
            (citation,) = (answer.choices[0].message.model_extra or {})["citations"]
            assert citation["quote"] == FEE
            assert "48 pounds" in (answer.choices[0].message.content or "")
            with pytest.raises(openai.BadRequestError, match="cannot write in its own words"):
                client.chat.completions.create(model="builtin", messages=ASKED)
            made = client.embeddings.create(model="default", input=["年假", "annual leave"])
            assert len(made.data) == 2
        ranking = served.http.post(
            "/v1/rerank", json={"query": "annual fee", "documents": [FEE, "Dogs bark."]}
        ).json()
        assert ranking["results"][0]["index"] == 0
