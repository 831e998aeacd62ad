"""What pydantic finds wrong with a value, as messages of ours. Imports no pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rwkv_rag.errors import Message, message
from rwkv_rag.i18n import N_

SENTENCES: Mapping[str, str] = {  # by pydantic's type of problem
    "missing": N_("this field is required"),
    "extra_forbidden": N_("there is no such field"),
    "string_type": N_("give a text"),
    "bool_type": N_("give true or false"),
    "int_type": N_("give a whole number"),
    "int_from_float": N_("give a whole number"),
    "int_parsing": N_("give a whole number"),
    "float_type": N_("give a number"),
    "float_parsing": N_("give a number"),
    "finite_number": N_("give a finite number"),
    "list_type": N_("give a list"),
    "dict_type": N_("give an object"),
    "model_type": N_("give an object"),
    "model_attributes_type": N_("give an object"),
    "none_required": N_("leave it out"),
    "literal_error": N_("give one of {expected}"),
    "greater_than_equal": N_("give at least {ge}"),
    "greater_than": N_("give more than {gt}"),
    "less_than_equal": N_("give at most {le}"),
    "less_than": N_("give less than {lt}"),
    "string_too_short": N_("give at least {min_length} characters"),
    "string_too_long": N_("give at most {max_length} characters"),
    "too_short": N_("give at least {min_length} of them"),
    "too_long": N_("give at most {max_length} of them"),
    "json_invalid": N_("the body is not JSON"),
    "value_error": "{error}",
}


class FieldError(ValueError):
    """Raised by our own validators, with a text that can be translated."""

    def __init__(self, text: Message) -> None:
        super().__init__(str(text))
        self.text = text


def problem_text(problem: Mapping[str, Any]) -> Message:
    """The text for one of `ValidationError.errors()`."""
    template = SENTENCES.get(str(problem["type"]))
    if template is None:
        return message("it cannot be used")
    values = problem.get("ctx", {})
    error = values.get("error")
    return error.text if isinstance(error, FieldError) else message(template, **values)
