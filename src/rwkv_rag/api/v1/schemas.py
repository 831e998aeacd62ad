"""The requests and responses of `/v1`, as OpenAI names their fields, and what we add to them.

Unknown fields of requests are ignored, because OpenAI's clients send new ones all the time; known
ones that we cannot honour are refused by name (`chat_request.check_supported`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from rwkv_rag.api import schemas
from rwkv_rag.api.schemas import Name, Reply, Text, example


class Request(schemas.Request):
    """A request whose unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Marks a field that cannot be honoured, with the values that ask for nothing, as None does."""

    harmless: tuple[Any, ...] = (False, 0, "", [], {})

    def allows(self, value: Any) -> bool:
        return value is None or value in self.harmless


NotSupported = Annotated[JsonValue, Unsupported(), Field(description="Not supported.")]
NoTools = Annotated[JsonValue, Unsupported(("none", "auto")), Field(description="Not supported.")]


class Part(Request):
    """A part of a message's content; only text can be read."""

    type: Text = Field(examples=["text"])
    text: Text | None = None


class Message(Request):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | list[Part] | None = None


class StreamOptions(Request):
    """What else a stream tells."""

    include_usage: bool | None = None


class ChatRequest(Request):
    """A conversation that ends with a question."""

    model_config = example(
        model="default@handbook",
        messages=[{"role": "user", "content": "How many days of leave are there?"}],
    )

    model: Name = Field(description="MODEL, MODEL:TUNED, MODEL@KB")
    messages: list[Message] = Field(min_length=1, max_length=1000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    stop: Text | list[Text] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    n: Annotated[int | None, Unsupported((1,))] = Field(None, ge=1, le=128, description="1")
    knowledge_base: Name | None = Field(None, description="Ours: answer from this knowledge base.")
    mode: Literal["strict", "free"] | None = Field(
        None, description="Ours: quote word for word (strict), or write (free)."
    )
    top_k: int | None = Field(None, ge=1, le=100, description="Ours: how many passages are read.")
    tools: NotSupported = None
    tool_choice: NoTools = None
    functions: NotSupported = None
    function_call: NoTools = None
    logprobs: NotSupported = None
    top_logprobs: NotSupported = None
    logit_bias: NotSupported = None
    response_format: Annotated[JsonValue, Unsupported(({"type": "text"},))] = Field(
        None, description="Only the type text."
    )
    modalities: Annotated[JsonValue, Unsupported((["text"],))] = Field(
        None, description="Only text."
    )
    audio: NotSupported = None
    prediction: NotSupported = None
    web_search_options: Annotated[JsonValue, Unsupported(())] = Field(  # {} asks for a search
        None, description="Not supported."
    )


class CitationOut(Reply):
    """A checked place: `quote` is exactly the document's characters `start:end`."""

    document: str
    page: int | None
    start: int
    end: int
    quote: str


class InputUsage(Reply):
    """Tokens that were read, as the model's tokenizer counts them."""

    prompt_tokens: int
    total_tokens: int


class Usage(InputUsage):
    """Tokens that were read and written."""

    completion_tokens: int


class AnswerMessage(Reply):
    """The reply. `refusal` holds its text where the documents do not answer; the rest is ours."""

    role: Literal["assistant"]
    content: str
    refusal: str | None = None
    refused: bool = False
    citations: list[CitationOut] = Field(default=[])
    note: str = ""


class Choice(Reply):
    """The only choice."""

    index: int
    message: AnswerMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class Completion(Reply):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Model(Reply):
    """Something that `model` may name; `kind` is ours."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "rwkv-rag"
    kind: Literal["chat", "knowledge", "embedding"] = "chat"


class ModelList(Reply):
    """Everything that `model` may name."""

    object: Literal["list"] = "list"
    data: list[Model]


class EmbeddingRequest(Request):
    """Texts that are to become vectors."""

    model_config = example(model="default", input=["公司年假有几天？"])

    model: Name
    input: Text | list[Text] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1)
    input_type: Literal["document", "query"] | None = Field(
        None, description="Ours: queries and documents have vectors of their own."
    )


class EmbeddingOut(Reply):
    """One vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Embeddings(Reply):
    """The vectors in the order of the inputs."""

    object: Literal["list"] = "list"
    data: list[EmbeddingOut]
    model: str
    usage: InputUsage


class RerankText(Request):
    """A document as an object."""

    text: Text


class RerankRequest(Request):
    """A query, and documents to be ordered by how well they answer it."""

    model_config = example(
        query="How long is the warranty?",
        documents=["The warranty is two years.", "Water the plants."],
        top_n=1,
    )

    model: Name | None = None
    query: Text
    documents: list[Text | RerankText] = Field(min_length=1, max_length=1000)
    top_n: int | None = Field(None, ge=1)
    return_documents: bool | None = None


class Ranked(Reply):
    """One document: its place in the request, and how well it answers (0..1)."""

    index: int
    relevance_score: float
    document: dict[str, Any] | None = None


class Ranking(Reply):
    """The documents, best first."""

    id: str
    model: str
    results: list[Ranked]
    usage: InputUsage
