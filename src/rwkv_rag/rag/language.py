"""Which of our two languages a text is written in. Knows nothing of what the text says."""

from __future__ import annotations

import re

from rwkv_rag.types import Language

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN = re.compile(f"[{HAN}]")
_WORD = re.compile(r"[A-Za-z]+(?:['\u2019][A-Za-z]+)*")


def detect(text: str, default: Language = "en") -> Language:
    """Chinese when there are at least as many Han characters as Latin words, else English.

    A name in Latin letters inside a Chinese question counts once, however long it is; simplified
    and traditional Chinese are both "zh". `default` answers for texts with neither, such as "42".
    """
    han = len(_HAN.findall(text))
    words = len(_WORD.findall(text))
    if han == words == 0:
        return default
    return "zh" if han >= words else "en"
