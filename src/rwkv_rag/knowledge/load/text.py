"""Plain text of any encoding common in China and the West. Knows nothing of file names' meaning.

Order: byte order mark, UTF-8, UTF-16 by its zero bytes, then GB18030 or Big5 (whichever reads as
everyday Chinese), then charset-normalizer. GB18030 accepts most byte pairs, so that a decoding
succeeds proves little; the share of everyday characters decides.
"""

from __future__ import annotations

import codecs

from rwkv_rag.errors import UnreadableDocument
from rwkv_rag.knowledge.load import Parsed

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES = 64 * 1024
# Lead bytes of the rows that hold everyday characters, and the trail bytes they pair with.
EVERYDAY = {"gb18030": (0xB0, 0xD7, 0xA1), "big5": (0xA4, 0xC6, 0x40)}
PLAUSIBLE = 0.6
ORDINARY = 0.9
MAX_CONTROL_SHARE = 0.01


def read(data: bytes, name: str) -> Parsed:
    """Decode `data`; refuse what is not text."""
    return Parsed(text=normalised(decode(data, name)), media_type="text/plain")


def decode(data: bytes, name: str) -> str:
    """The text of `data`. Raises UnreadableDocument for binary data."""
    text = _marked(data, name)
    if text is None:
        text = _unmarked(data)
    if text is None or _binary(text):
        raise UnreadableDocument("{name} is a binary file, not text", name=name)
    return text


def normalised(text: str) -> str:
    """Line ends as `\\n`, no byte order mark."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")


def _marked(data: bytes, name: str) -> str | None:
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            text = _strict(data, encoding)
            if text is None:
                raise UnreadableDocument(
                    "{name} is marked as {encoding} but is damaged", name=name, encoding=encoding
                )
            return text
    return None


def _unmarked(data: bytes) -> str | None:
    if b"\0" in data:
        return _zero_bytes(data)
    text = _strict(data, "utf-8")
    return text if text is not None else _legacy(data)


def _zero_bytes(data: bytes) -> str | None:
    """UTF-16 without a mark: the byte order that makes the more everyday text, if one does."""
    candidates = [text for order in ("le", "be") if (text := _strict(data, f"utf-16-{order}"))]
    best = max(candidates, key=_ordinary_share, default="")
    return best if best and _ordinary_share(best) >= ORDINARY else None


def _ordinary_share(text: str) -> float:
    """Which part of the beginning is ASCII text, Chinese, or their punctuation."""
    sample = text[:SAMPLE_BYTES]
    return sum(map(_ordinary, sample)) / len(sample)


def _ordinary(character: str) -> bool:
    return (
        " " <= character <= "~"
        or character in "\t\n\r\f"
        or "\u3400" <= character <= "\u9fff"
        or "\u3000" <= character <= "\u303f"
        or "\uff00" <= character <= "\uffef"
        or "\u2010" <= character <= "\u2026"
    )


def _legacy(data: bytes) -> str | None:
    candidates = [
        (_everyday_share(text, encoding), text)
        for encoding in EVERYDAY
        if (text := _strict(data, encoding)) is not None
    ]
    share, text = max(candidates, key=lambda pair: pair[0], default=(0.0, ""))
    return text if share >= PLAUSIBLE else (_guessed(data) or text or None)


def _everyday_share(text: str, encoding: str) -> float:
    """Which part of the non-ASCII characters is everyday Chinese in `encoding`, or punctuation."""
    low, high, trail = EVERYDAY[encoding]
    foreign = [c for c in text[:SAMPLE_BYTES] if c >= "\x80"]
    if not foreign:
        return 1.0
    everyday = 0
    for character in foreign:
        code = character.encode(encoding)
        everyday += len(code) == 2 and low <= code[0] <= high and code[1] >= trail
        everyday += character in "，。！？；：、“”‘’《》（）「」『』…—　·"
    return everyday / len(foreign)


def _guessed(data: bytes) -> str | None:
    import charset_normalizer

    best = charset_normalizer.from_bytes(data[:SAMPLE_BYTES]).best()
    return None if best is None else _strict(data, best.encoding)


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeError:
        return None


def _binary(text: str) -> bool:
    sample = text[:SAMPLE_BYTES]
    control = sum((c < " " and c not in "\t\n\r\f\x1b") or "\x7f" <= c < "\xa0" for c in sample)
    return "\0" in text or control > MAX_CONTROL_SHARE * len(sample)
