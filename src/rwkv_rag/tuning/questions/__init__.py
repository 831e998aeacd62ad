"""Questions made from sentences by rule, where no model can write them. Knows patterns, no meaning.

A rule keeps the words of the sentence and leaves out what it tells: "整机保修期为 2 年" becomes
"整机保修期为多少年？" and "A lost key must be reported within two days" "Within how many days must
a lost key be reported?". What no rule fits, or what only the sentence before explains, gives none.
"""

from __future__ import annotations

import re

from rwkv_rag.rag.language import detect
from rwkv_rag.rag.rewrite import points_back
from rwkv_rag.rag.terms import content_runs, terms
from rwkv_rag.tuning.questions import en, zh
from rwkv_rag.types import Language

LONGEST = {"zh": 48, "en": 130}  # characters of a question; a longer one repeats the sentence
_FEWEST = {"zh": 4, "en": 2}  # Han characters, or English words, that carry meaning
_NUMBERING = re.compile(
    r"^\s*(?:[-*+•·]\s+|#+\s+|[（(]?[一二三四五六七八九十\d]{1,3}[)）]、?|[一二三四五六七八九十]+、|"
    r"\d{1,2}[.、]\s+|第[一二三四五六七八九十百零\d]+[章节条回]\s*)"
)
_OF_HEADING = re.compile(
    r"更换|清洁|清洗|连接|安装|申请|使用|设置|办理|启动|关闭|添加|删除|注册|登录"
)
_POLITE = re.compile(r"感谢|欢迎|Thank|Welcome|Dear")
_GENERAL = re.compile(r"总则|附则|一般规定|概述|简介|前言|目录|其他|说明|第.+回")


def question(sentence: str) -> str:
    """A question that `sentence` answers, to be understood without it; "" if there is none."""
    language = detect(sentence)
    text = _flat(sentence, language)
    made = (zh if language == "zh" else en).questions(text)
    return next((each for each in made if _sensible(each, text, language)), "")


def of_heading(heading: str, sentence: str) -> str:
    """The question that the first sentence below a heading answers, if it speaks of the heading.

    A weak one, for want of others; "" if there is none.
    """
    language = detect(sentence)
    leaf = _NUMBERING.sub("", heading.rsplit(" > ", 1)[-1])
    leaf = re.sub(r"^\d+(?:\.\d+)*\.?\s*", "", leaf).strip()
    shared = {term for term in terms(leaf) if len(term) > 1} & set(terms(sentence))
    if (
        not 2 <= len(leaf) <= 40
        or detect(leaf) != language
        or not shared
        or _GENERAL.search(leaf)
        or _POLITE.match(sentence)
    ):
        return ""
    if language == "zh":
        return f"怎样{leaf}？" if _OF_HEADING.match(leaf) else f"关于{leaf}，资料是怎么说的？"
    return f"What do the documents say about {leaf[0].lower() + leaf[1:]}?"


def _flat(sentence: str, language: Language) -> str:
    """The sentence on one line, without its numbering and its full stop."""
    text = re.sub(r"\s*\n\s*", "" if language == "zh" else " ", sentence.strip())
    return _NUMBERING.sub("", text).strip().rstrip("。；;.！!").strip()


def _sensible(asked: str, sentence: str, language: Language) -> bool:
    """Whether a question stands by itself, is short, and does not simply repeat the sentence."""
    core = asked.rstrip("？?")
    enough = content_runs(core)
    size = sum(map(len, enough)) if language == "zh" else len(enough)
    return (
        size >= _FEWEST[language]
        and len(asked) <= LONGEST[language]
        and core != sentence
        and not points_back(asked)
        and asked.count("“") == asked.count("”")
        and asked.count('"') % 2 == 0
    )
