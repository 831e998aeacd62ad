"""What kind of thing a question asks for, and what such things look like. Knows patterns only."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rwkv_rag.rag.language import detect
from rwkv_rag.types import Language

ASKS: Mapping[Language, Mapping[str, re.Pattern[str]]] = {
    "zh": {
        "number": re.compile("多少|[几幾](?!乎)|多[大高长長久远遠]|人数|人數|金额|金額|数额"),
        "time": re.compile("何[时時年]|哪一?[年天]|[时時][候间間]|日期|[几幾]年"),
        "person": re.compile("[谁誰]|何人|哪一?位|姓名|叫什么"),
        "place": re.compile(
            "哪[里裡裏儿]|何[处處地]|哪一?[个個]?(?:国|國|城|省|市|州|地)|地[点點]|位[于於]"
        ),
        "reason": re.compile("[为為]什[么麼]|[为為]何|原因|目的"),
        "account": re.compile(
            "怎|如何|什[么麼][样樣]|哪些|是什[么麼]|[介简簡][绍紹述]|[结結]果|[内內]容|理由"
        ),
    },
    "en": {
        "number": re.compile(r"\b(?:how (?:many|much|long|old|far|tall|high)|number of|percent)\b"),
        "time": re.compile(r"\bwhen\b|\bwh(?:at|ich) (?:year|date|day|month|century)\b"),
        "person": re.compile(r"\bwho(?:m|se)?\b"),
        "place": re.compile(r"\bwhere\b|\bwh(?:at|ich) (?:country|city|state|place|town)\b"),
        "reason": re.compile(r"\bwhy\b|\breason\b"),
        "account": re.compile(r"\b(?:how|describe|explain|definition)\b"),
    },
}
LOOKS: Mapping[str, re.Pattern[str]] = {
    "number": re.compile(
        r"\d|[一二三四五六七八九十百千万萬两兩]|\b(?:one|two|three|four|five|six|seven|ten)\b"
    ),
    "digit": re.compile(r"\d"),
    "time": re.compile(
        r"\d{3,4}|\d[月日年]|年|\b(?:January|February|March|April|May|June|July|August|September|"
        r"October|November|December)\b"
    ),
    "place": re.compile(r"[省市县縣区區国國州岛島镇鎮村路街]"),
    "cause": re.compile(r"因|由[于於]|所以|\bbecause\b|\bdue to\b"),
}


def asked_for(question: str) -> str:
    """One of "number", "time", "person", "place", "reason", "account", or else "thing"."""
    kinds = ASKS[detect(question)].items()
    lower = question.lower()
    return next((kind for kind, pattern in kinds if pattern.search(lower)), "thing")


def looks_asked(kind: str, text: str) -> bool:
    """Whether `text` holds what looks like a thing of this kind; False for kinds without a look."""
    look = LOOKS.get("cause" if kind == "reason" else kind)
    return look is not None and look.search(text) is not None
