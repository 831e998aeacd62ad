"""What the requests and responses of both protocols are made of: texts, base classes.

Texts from outside are made valid Unicode; names have nothing that cannot be shown.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
)

from rwkv_rag.errors import message
from rwkv_rag.validation import FieldError

MAX_NAME = 512


def _valid_unicode(text: Any) -> Any:
    """Lone surrogates, which JSON can write and nothing can store, become a question mark."""
    if isinstance(text, str) and not text.isascii():
        return text.encode(errors="replace").decode()
    return text


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise FieldError(message("the name is empty or has characters that cannot be shown"))
    return text


Text = Annotated[str, BeforeValidator(_valid_unicode)]
Name = Annotated[Text, Field(min_length=1, max_length=MAX_NAME)]
PrintableName = Annotated[Name, AfterValidator(_printable)]


class Request(BaseModel):
    """The body of a request: no value is converted ("1" is no number), no unknown field taken."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def example(**fields: Any) -> ConfigDict:
    """A model's configuration with an example for the description."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Reply(BaseModel):
    """The body of a response; fields may be added in later versions."""

    model_config = ConfigDict(extra="allow")


Model = TypeVar("Model", bound=BaseModel)


def model_of(values: type, base: type[Model], name: str, **changes: Any) -> type[Model]:
    """A model called `name` with the fields of a dataclass; in a response all are required.

    Fields of `base` and of `changes` take the place of the dataclass's, or are added.
    """
    hints = get_type_hints(values)
    found = {
        field.name: (
            Text if hints[field.name] is str else hints[field.name],
            ... if issubclass(base, Reply) or field.default is MISSING else field.default,
        )
        for field in fields(values)
        if field.name not in base.model_fields
    }
    doc = (base if base.model_fields else values).__doc__
    return create_model(name, __base__=base, __doc__=doc, **{**found, **changes})
