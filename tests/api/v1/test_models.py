"""What `model` may name, listed and shown."""

from __future__ import annotations

import openai
import pytest

from rwkv_rag.api.v1.models import choose_model, listed_models
from rwkv_rag.errors import NotFound
from rwkv_rag.types import TunedInfo, Writer

from ..serving import Served, fault


def test_models_and_bases_are_listed_and_every_one_can_be_shown(shared: Served) -> None:
    with openai.OpenAI(base_url=f"{shared.url}/v1", api_key="none", max_retries=0) as client:
        listed = {model.id: model for model in client.models.list()}
        assert set(listed) == {"fake", "fake@docs", "hash-256"}
        for name, model in listed.items():
            assert client.models.retrieve(name).model_extra == model.model_extra
        with pytest.raises(openai.NotFoundError, match="there are: default, fake"):
            client.models.retrieve("gpt-4")


def test_a_base_that_is_not_there_is_no_model(shared: Served) -> None:
    answer = shared.http.get("/v1/models/fake@nowhere")
    assert answer.status_code == 404
    assert "docs" in fault(answer)["message"]


class TunedStore:
    """Two models, one of an awkward name, with something tuned on the first."""

    def writers(self) -> list[Writer]:
        return [Writer("g1", "/m/g1.pth", writes=True), Writer("a@b:c", "/m/odd.pth")]

    def tuned(self, model: str) -> list[TunedInfo]:
        return [TunedInfo("poet", "state", "state")] if model == "/m/g1.pth" else []

    def writer(self, model: str, tuned: str) -> Writer:
        if tuned not in ("", "poet"):
            raise NotFound(f"there is no {tuned}")
        found = {each.model: each for each in self.writers()}[model or "/m/g1.pth"]
        return Writer(found.name, found.model, tuned, writes=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("g1", ("/m/g1.pth", "", "")),
        ("default", ("/m/g1.pth", "", "")),
        ("g1:poet", ("/m/g1.pth", "poet", "")),
        ("default:poet@docs", ("/m/g1.pth", "poet", "docs")),
        ("a@b:c", ("/m/odd.pth", "", "")),
        ("a@b:c@docs", ("/m/odd.pth", "", "docs")),
    ],
)
def test_a_name_says_model_tuned_and_base(
    shared: Served, monkeypatch: pytest.MonkeyPatch, name: str, expected: tuple[str, str, str]
) -> None:
    monkeypatch.setattr(shared.client, "models", TunedStore())
    monkeypatch.setattr(shared.client, "_default", ("", ""))
    found = choose_model(shared.client, name)
    assert (found.writer.model, found.writer.tuned, found.kb) == expected


def test_what_was_tuned_is_listed_with_its_model(
    shared: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.client, "models", TunedStore())
    listed = [name for name, _ in listed_models(shared.client)]
    assert listed == ["g1", "g1@docs", "g1:poet"]  # the other cannot write by itself
