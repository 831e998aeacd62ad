"""Chinese questions: what is asked for stays where it stood, only its word changes."""

from __future__ import annotations

import re
from collections.abc import Callable

from rwkv_rag.rag.language import HAN

Match = re.Match[str]

_DIGITS = "一二两三四五六七八九十百千万零"
_COUNT = rf"(?:\d[\d,]*(?:\.\d+)?|(?<![{_DIGITS}])(?!一[^{_DIGITS}]|四周)[{_DIGITS}]+)"
_THINGS = r"种|项|个"  # counted things stand after their names, so these need a verb before them
_UNIT = (
    r"个?工作日|个?月|周岁|年|周|天|日|小时|分钟|秒|平方米|立方米每小时|立方米|厘米|毫米|公里|千米|米|"
    r"千克|公斤|克|吨|毫升|升|万元|亿元|美元|元|人|名|位|家|次|倍|页|岁|摄氏度|度|分贝|瓦|"
    r"W|kW|GHz|MHz|GB|MB|公顷|亩|里|间|层|座|棵|%|％"
)
_NUMBER = re.compile(
    rf"(?:(?<![\d第.\-\w])|(?<=[{HAN}])(?<!第)){_COUNT}(?:\s*(?:至|到|-|~|～)\s*{_COUNT})?\s*"
    rf"(?P<unit>{_UNIT}|(?<=[有共达分为]..)(?:{_THINGS}))(?![A-Za-z来多余])"
)
_DATE = re.compile(
    r"(?:公元前?)?\s*(?:\d{4}|[一二三四五六七八九〇零]{4})\s*年"
    r"(?P<day>\s*\d+\s*月(?:\s*\d+\s*日)?)?"
)
_BARE = re.compile(
    r"(?<=[于为约达到是])\s*(?:\d{3,4}(?:-\d{3,4})+|\d[\d,]*(?:\.\d+)?)(?![\d\w:%.])\s*"
)
_ROUGH = re.compile(
    r"[二两三四五六七八九]{2,}|百十|[百千万][^百千万十\d]"
)  # 三四日, 万里: a manner of speech
_LEADS_ON = re.compile(r"(?:时|后|前|的|起|如果.*|若.*|当.*)$")
_NAMED = re.compile(r"[^，。；：]{2}$|每$")  # the clause names something before the number
_NOUN = rf"[{HAN}A-Za-z0-9“”\"'《》、 ]"
_NO_TOPIC = "这那其该此它他她你我您就不都也还只便却正乃若如但而且并因所即凡又再"
_NO_SENTENCE = re.compile(r"[道曰说问笑想答叫][：:]|[：:][“「『]|下列|如下|前[款条项]|第.{1,3}款")
_UNPAIRED = re.compile(r"^[^“]*”|“[^”]*$")
_DO = {
    **dict.fromkeys(("应当", "必须", "需要"), "应当怎么做"),
    "不得": "不得做什么",
    "可以": "可以怎么做",
    "有权": "有权做什么",
}


def questions(text: str) -> list[str]:
    """Questions to one sentence without its full stop, the best first."""
    if _NO_SENTENCE.search(text) or _UNPAIRED.search(text) or text[:1] in _NO_TOPIC:
        return []
    telling, others = _ruled(text, _TELLING), _ruled(text, _OTHERS)
    return [*telling, *_asking_numbers(text), *others]


def _ruled(
    text: str, rules: tuple[tuple[re.Pattern[str], Callable[[Match], str]], ...]
) -> list[str]:
    matches = ((pattern.match(text), make) for pattern, make in rules)
    return [make(match) for match, make in matches if match]


def _asking_numbers(text: str) -> list[str]:
    """The sentence up to the end of the clause with a number, asking for the number."""
    found = []
    for pattern in (_DATE, _NUMBER, _BARE):
        for match in pattern.finditer(text):
            if match.start() == 0 or _ROUGH.match(match[0].strip()):
                continue
            before, end = text[: match.start()].rstrip(), _clause_end(text, match.end())
            if not _NAMED.search(before):
                continue
            word = _number_word(match)
            gap = "" if word[-1] > "\u2fff" else " "
            after = text[match.end() : end].lstrip()
            found.append((match.start(), f"{before}{word}{gap if after else ''}{after}？"))
    return [asked for _, asked in sorted(found)]


def _number_word(match: Match) -> str:
    groups = match.groupdict()
    if match.re is _DATE:
        return "什么时候" if groups["day"] else "哪一年"
    unit = groups.get("unit") or ""
    if len(unit) > 4 or unit in ("W", "kW", "%", "％"):
        return "多少"
    unit = unit.removeprefix("万").removeprefix("亿")
    return f"多少{unit}" if not unit.isascii() or not unit else f"多少 {unit}"


def _clause_end(text: str, position: int) -> int:
    """Where the clause around `position` ends, or the next where that only leads to it."""
    ends = [
        match.start() for match in re.finditer(r"[，；。：]", text) if match.start() >= position
    ]
    ends.append(len(text))
    clause = re.split(r"[，；。：]", text[: ends[0]])[-1]
    return ends[1] if _LEADS_ON.search(clause) and len(ends) > 1 else ends[0]


_TOPIC = rf"(?![{_NO_TOPIC}])"
_PLAIN = rf"[{HAN}A-Za-z0-9 ]"
_TELLING: tuple[tuple[re.Pattern[str], Callable[[Match], str]], ...] = (
    (
        re.compile(
            rf"(?P<x>{_TOPIC}{_NOUN}{{2,16}}?)，?(?:是指|系指|指的是)(?![定出导责挥]).{{4,}}"
        ),
        lambda m: f"什么是{m['x']}？",
    ),
    (
        re.compile(rf"(?P<x>[{HAN}A-Za-z]{{0,6}}[A-Z]\d+)[：:].{{3,}}"),
        lambda m: f"{m['x']} 是什么意思？",
    ),
    (
        re.compile(rf"(?P<x>{_TOPIC}{_NOUN}{{2,20}}?)(?:包括|包含).{{4,}}"),
        lambda m: f"{m['x']}包括哪些？",
    ),
    (
        re.compile(
            rf"(?P<x>{_TOPIC}{_NOUN}{{2,12}}?)有.+、.+(?P<n>[二两三四五六七八九十]种[{HAN}]{{1,6}})"
        ),
        lambda m: f"{m['x']}有哪{m['n']}？",
    ),
)
_OTHERS: tuple[tuple[re.Pattern[str], Callable[[Match], str]], ...] = (
    (
        re.compile(
            r"(?P<c>(?:(?!应当|必须|不得|可以)[^，。；：]){6,38}(?<!目)的)，[^，。；：]{0,14}?"
            r"(?P<v>应当|必须|不得|可以|有权)"
        ),
        lambda m: f"{m['c']}，{_DO[m['v']]}？",
    ),
    (
        re.compile(
            rf"(?:[^。]*，)?(?P<x>{_TOPIC}{_PLAIN}{{2,20}}?)由(?!于|此)[{HAN}A-Za-z0-9、 ]{{2,20}}?"
            rf"(?P<v>承担|负责|支付|制定|主管|保管|选举产生|决定)(?P<r>[{HAN}]{{0,6}})"
        ),
        lambda m: f"{m['x']}由谁{m['v']}{m['r']}？",
    ),
    (
        re.compile(rf"因.+?(?P<v>造成|引起|导致)的(?P<b>[{HAN}]{{3,20}})"),
        lambda m: f"什么原因{m['v']}的{m['b']}？",
    ),
    (
        re.compile(rf"(?:因为|由于).{{4,}}?，(?:所以|因此)?(?P<b>{_TOPIC}{_PLAIN}{{5,26}})"),
        lambda m: f"为什么{m['b']}？",
    ),
    (
        re.compile(rf"(?P<b>{_TOPIC}{_PLAIN}{{5,26}})，(?:这是)?因为.{{4,}}"),
        lambda m: f"为什么{m['b']}？",
    ),
    (
        re.compile(rf"为了?(?!此|什么|人|之).{{4,}}，(?P<b>制定[{HAN}]{{1,12}})"),
        lambda m: f"为什么{m['b']}？",
    ),
    (
        re.compile(
            rf"(?P<x>{_TOPIC}{_NOUN}{{3,24}}(?:时|后|前))，?(?P<v>应当|必须|不得|可以|需要)"
        ),
        lambda m: f"{m['x']}{_DO[m['v']]}？",
    ),
    (
        re.compile(
            rf"(?P<x>{_TOPIC}{_NOUN}{{3,24}}?)(?<![少舍恨巴免怪由了记认见])"
            rf"(?:不宜|不可|不能|不得|不予)(?P<v>[{HAN}A-Za-z ]{{2,16}})(?:，.*)?$"
        ),
        lambda m: f"{m['x']}可以{m['v']}吗？",
    ),
    (
        re.compile(
            rf"(?P<x>{_TOPIC}{_NOUN}{{2,14}}?)是(?![否不因为在被从最])(?P<y>.{{6,}})(?<!的)$"
        ),
        lambda m: f"{m['x']}是什么？",
    ),
)
