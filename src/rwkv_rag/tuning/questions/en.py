"""English questions: the verb goes before the subject, and the question word before both."""

from __future__ import annotations

import re
from collections.abc import Callable

Match = re.Match[str]

_NUMBER = (
    r"(?:\d[\d,]*(?:\.\d+)?|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|"
    r"fourteen|fifteen|sixteen|eighteen|twenty|thirty|forty|fifty|sixty|ninety|hundreds?)"
)
_ABOUT = r"(?:(?:about|around|nearly|almost|over|up to|at least|at most|approximately) )?"
_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
)
_WHEN = (
    r"(?:on|in|at|from|until|before|after|by|during|since|between|every)\s[\w' -]*?"
    rf"(?:\d{{4}}|{_MONTH}|\w+days?|morning|evening|afternoon|noon|midnight|spring|summer|autumn|"
    r"winter)\b"
)
_MODAL = r"(?:must|may|can|should|will|shall|could)"
_BE = r"(?:is|are|was|were)"
_NO_START = (
    r"(?!(?i:it|they|he|she|we|you|i|this|that|these|those|there|here|if|when|while|because|from|"
    r"during|in|on|at|for|to|since|as|but|and|or|so|such|what|who|which|how|nothing|none)\b)"
)
_WORD = rf"(?!(?:that|who|which|where|when|one|not|{_BE[3:-1]}|{_MODAL[3:-1]})\b)[\w'’-]+"
_SUBJECT = rf"(?P<s>{_NO_START}(?:{_WORD}(?:, {_WORD})+ and {_WORD}|(?:{_WORD} ){{0,7}}?{_WORD}))"
_HAVING = (
    "collects|gives|has|holds|covers|takes|costs|contains|weighs|needs|requires|receives|produces|"
    "lasts|uses|offers|serves|includes|employs|pays|earns|owns|provides|supports|measures|stores"
)
_DOING = "grow|bring|wear|use|take|pay|keep|carry|provide|submit|include|do|contain|hold"
_PLAIN = {"higher": "high", "longer": "long", "later": "late", "larger": "large", "older": "old"}
_KEPT_UPPER = re.compile(
    r"^(?:[A-Z]{2,}|[A-Z]\w*[\dA-Z]|(?:Mr|Mrs|Ms|Dr|Prof|St)\b|[A-Z][\w'’-]* [A-Z])"
)
_LOWERED = re.compile(r"^(?:The|A|An|All|Any|Each|Every|Most|Some|Both|Many|Our|Your|No|Only)\b")
_NEXT = re.compile(r"[,;:(]| because | so that | unless | and (?:is|are|was|were|may|must|can) ")
_LATER = re.compile(r"(?:, (?:and|but|so)|;) (?=(?:the|a|an|each|every|all|no) )")


def questions(text: str) -> list[str]:
    """Questions to one sentence without its full stop, the best first."""
    found = []
    for clause in dict.fromkeys([text, *_LATER.split(text)]):
        for pattern, make in _RULES:
            match = pattern.match(clause)
            if match and (asked := make(match)):
                found.append(_tidied(asked))
    return found


def _tidied(asked: str) -> str:
    asked = re.sub(r"\s+", " ", asked).strip(" ,;:")
    return asked[:1].upper() + asked[1:] + "?"


def _low(subject: str) -> str:
    """The subject inside a sentence: names keep their capital, other words lose it."""
    if _LOWERED.match(subject) or not _KEPT_UPPER.match(subject):
        return subject[:1].lower() + subject[1:]
    return subject


def _cut(rest: str, limit: int = 70) -> str:
    """What stands before the next clause; a question need not repeat all that is told."""
    rest = _NEXT.split(rest)[0]
    return rest if len(rest) <= limit else rest[:limit].rsplit(" ", 1)[0]


def _entry(m: Match) -> str:
    return f"what does {m['x']} stand for" if re.search(r"\d|^[A-Z]+$", m["x"]) else ""


def _why(m: Match) -> str:
    return f"why {m['a']} {_low(m['s'])} {m['r']}"


def _how_many_there(m: Match) -> str:
    return f"how many {m['n']} {m['a']} there{_cut(m['r'])}"


def _how_many(m: Match) -> str:
    return f"how many {_cut(m['r'])}"


def _when(m: Match) -> str:
    return f"when {m['a']} {_low(m['s'])} {m['v']}"


def _how_far(m: Match) -> str:
    return f"how {_PLAIN[m['c']]} {m['a']} {_low(m['s'])} be{_cut(m['r'])}"


def _within(m: Match) -> str:
    if m["m"].startswith("not "):
        return ""
    return f"{m['p']} how many {m['u']} {m['a']} {_low(m['s'])} {m['m']}"


def _how_many_has(m: Match) -> str:
    verb = "have" if m["v"] == "has" else m["v"][:-1]
    return f"how many {m['n']} does {_low(m['s'])} {verb} {_cut(m['r'])}"


def _what_number(m: Match) -> str:
    return f"what {m['a']} {_low(m['s'])}{m['r']}"


def _who(m: Match) -> str:
    return f"who {m['a']} {_cut(m['r'])}"


def _by_whom(m: Match) -> str:
    return f"by whom {m['a']} {_low(m['s'])} {m['m']}"


def _what_do(m: Match) -> str:
    return f"what {m['a']} {_low(m['s'])} {m['v']}"


def _what(m: Match) -> str:
    return f"what {m['a']} {_low(m['s'])}"


def _whether(m: Match) -> str:
    """A question for yes or no; "must not" is asked as "may"."""
    aux, rest = m["a"], m["r"]
    if rest.startswith(("not ", "never ")):
        rest = rest.split(" ", 1)[1]
        aux = "may" if aux in ("must", "may", "can", "should") else aux
    return f"{aux} {_low(m['s'])} {_cut(rest)}"


_MADE = r"\w+(?:ed|built|held|made|born|set up|opened|written|sold)"
_DONE = r"(?:be )?(?:used|permitted|allowed|held|due|open|closed|\w+ed)"
_RULES: tuple[tuple[re.Pattern[str], Callable[[Match], str]], ...] = (
    (re.compile(r"(?P<x>[A-Z][\w./-]{0,30}): .{10,}"), _entry),
    (re.compile(rf"{_SUBJECT} (?P<a>{_MODAL}|{_BE}) (?P<r>.{{4,}}?),? because .{{4,}}"), _why),
    (
        re.compile(
            rf"There (?P<a>{_BE}) {_ABOUT}{_NUMBER} (?P<n>[\w' -]*?s)"
            r"(?P<r>(?: (?:in|on|at|behind|of|for|near|between)\b.*)?)$"
        ),
        _how_many_there,
    ),
    (re.compile(rf"(?i:{_NUMBER}) (?P<r>(?:[\w'-]+ )?[\w'-]+s (?!of\b).{{6,}})"), _how_many),
    (
        re.compile(
            rf"{_SUBJECT} (?P<a>was|were) (?P<v>{_MADE}) .*?"
            rf"\b(?:in|on|since) (?:{_MONTH} |the )?.{{0,12}}\d{{4}}\b"
        ),
        _when,
    ),
    (
        re.compile(rf"{_SUBJECT} (?P<a>{_BE}|{_MODAL}) (?P<v>(?!not\b){_DONE}) (?:only )?{_WHEN}"),
        _when,
    ),
    (
        re.compile(
            rf"{_SUBJECT} (?P<a>{_MODAL}) be (?:no|not) (?P<c>{'|'.join(_PLAIN)}) than {_NUMBER} "
            r"\w+(?P<r>.*)"
        ),
        _how_far,
    ),
    (
        re.compile(
            rf"{_SUBJECT} (?P<a>{_MODAL}) (?P<m>[\w' -]*?) ?"
            rf"(?P<p>within|after|before|for|up to|at least) {_NUMBER} (?P<u>\w+s)\b"
        ),
        _within,
    ),
    (
        re.compile(
            rf"{_SUBJECT} (?P<v>{_HAVING}) {_ABOUT}{_NUMBER} "
            r"(?P<n>[\w'-]+ of (?:common )?\w+|\w+ \w+s|\w+)(?P<r>\b.*)"
        ),
        _how_many_has,
    ),
    (
        re.compile(
            rf"{_SUBJECT} (?P<a>{_BE}) {_ABOUT}(?:[£$€]\d[\d.,]*|{_NUMBER}\b)(?: [\w']+)?"
            r"(?P<r>(?: (?:for|in|of|per|on|a) [^,;:]+?)?)(?: and .*|[,;:].*)?$"
        ),
        _what_number,
    ),
    (
        re.compile(r"(?:Anyone|Everyone|Those) who [\w' -]+? (?P<a>may|can|must) (?P<r>.{6,})"),
        _who,
    ),
    (
        re.compile(
            rf"{_SUBJECT} (?P<a>{_MODAL}|{_BE}) (?P<m>(?:be )?\w+(?:ed|en|wn|ght)) "
            r"(?:only )?by [^,;]{4,}"
        ),
        _by_whom,
    ),
    (re.compile(rf"{_SUBJECT} (?P<a>{_MODAL}) (?P<v>{_DOING}) .{{6,}}"), _what_do),
    (re.compile(rf"{_SUBJECT} (?P<a>is|are) (?:a|an|the) .{{10,}}"), _what),
    (
        re.compile(
            rf"{_SUBJECT} (?P<a>{_MODAL}|{_BE}) (?P<r>(?:not |never )?(?:be )?(?!no\b)\w.{{8,}})"
        ),
        _whether,
    ),
)
