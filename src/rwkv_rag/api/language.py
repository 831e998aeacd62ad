"""The language a client asks for in `Accept-Language`: zh, en, or the server's own."""

from __future__ import annotations

from rwkv_rag.types import Language


def language_of(header: str | None, default: Language) -> Language:
    """The language of ours with the highest weight; `default` where none is named."""
    ours: tuple[Language, ...] = ("zh", "en")
    weighed: list[tuple[float, Language]] = []
    for part in (header or "").split(",")[:32]:
        name, _, weight = part.strip().lower().partition(";q=")
        quality = _number(weight) if weight else 1.0
        for language in ours:
            if name.split("-")[0] == language and quality > 0:
                weighed.append((quality, language))
    return max(weighed, key=lambda each: each[0], default=(0.0, default))[1]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0 <= number <= 1 else 0.0
