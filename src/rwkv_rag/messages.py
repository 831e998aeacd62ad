"""What our errors say in Chinese. Knows messages by pattern; what it does not know stays English.

The library speaks English; the edges (cli, ui) translate on the way to the user.
"""

from __future__ import annotations

import re

from rwkv_rag.errors import RagError
from rwkv_rag.types import Language

CHINESE: tuple[tuple[str, str], ...] = (
    (r"no file or directory (.+)", "没有这个文件或目录：{0}"),
    (r"the question is empty; type one", "问题是空的，请输入问题"),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), chinese) for pattern, chinese in CHINESE)


def explain(error: RagError, language: Language) -> str:
    """The error's message on one line, in `language` where we know it."""
    return explain_reason(str(error), language)


def explain_reason(message: str, language: Language) -> str:
    """A message of ours on one line, in `language` where we know it."""
    message = " ".join(message.split())
    if language == "zh":
        for pattern, chinese in _PATTERNS:
            if match := pattern.fullmatch(message):
                return chinese.format(*(group or "" for group in match.groups()))
    return message
