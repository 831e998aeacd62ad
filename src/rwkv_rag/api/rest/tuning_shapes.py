"""The requests and responses of fine-tuning; the settings are `types.TuneSettings` field by field.

The ranges of the numbers are checked where they are known, in `tuning/settings`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from rwkv_rag.api.rest.shapes import Request
from rwkv_rag.api.text import Name, Text
from rwkv_rag.api.v1.shapes import Reply
from rwkv_rag.types import JobStatus, TuneMethod


class TuneRequest(Request):
    """A fine-tuning as the user asks for it: `rows` in the request, or a file of the server."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "poet",
                    "method": "state",
                    "steps": 100,
                    "rows": [{"question": "Who are you?", "answer": "A gardener."}],
                }
            ]
        }
    )

    name: Name = Field(description="What the result is called.")
    rows: list[dict[str, Any]] | None = Field(None, min_length=1, max_length=200_000)
    data: Name | None = Field(None, description="A .jsonl file below an open folder.")
    method: TuneMethod = "state"
    base: Name = Field("builtin", description="A model that /v1/models lists.")
    scored: Literal["answers", "all"] = "answers"
    skip_bad: bool = False
    steps: int = 200
    epochs: float = 0.0
    batch: int = 4
    accumulate: int = 1
    context: int = 512
    chunk: int = 0
    lr: float | None = None
    lr_final: float | None = None
    schedule: Literal["cosine", "wsd"] = "cosine"
    warmup: int = 10
    weight_decay: float = 0.0
    clip: float = 1.0
    rank: int = 16
    alpha: float | None = None
    parts: list[Text] = Field(default=["att", "ffn"], max_length=16)
    held_out: float = 0.1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    quantization: Literal["none", "int8", "nf4"] = "none"
    checkpointing: bool = False
    device: Text = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: Text = "auto"
    seed: int = 0
    save_every_s: float = 60.0
    wandb: Literal["off", "offline"] = "off"
    wandb_project: Text = "rwkv-rag"


class Estimate(Reply):
    """What a fine-tuning is expected to need; `cheaper` names settings that would fit."""

    memory_bytes: int
    available_bytes: int
    trainable: int
    seconds: float | None
    cheaper: list[str]
    fits: bool


class Job(Reply):
    """A fine-tuning and how far it is."""

    id: str
    settings: dict[str, Any]
    status: JobStatus
    created: str
    step: int
    steps: int
    loss: float | None
    tokens_per_s: float | None
    eta_s: float | None
    lr: float | None
    memory_bytes: int
    reason: str
    before: float | None
    after: float | None


class Steps(Reply):
    """Figures of every step; a number that is none is null."""

    steps: list[dict[str, float | None]]


class Log(Reply):
    """What a job's process wrote."""

    log: str


class TunedOut(Reply):
    """A tuned state or adapter and the model it belongs to."""

    model: str
    name: str
    kind: Literal["state", "adapter", "model"]
    method: str
    before: float | None
    after: float | None
