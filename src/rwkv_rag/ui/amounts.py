"""Bytes, durations and counts as people read them, in the session's language. Knows no page."""

from __future__ import annotations

from rwkv_rag.i18n import _


def memory(size: int) -> str:
    """ "1.4 GB", "52 MB"; a dash for nothing."""
    if not size:
        return "–"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def duration(seconds: float | None) -> str:
    """ "45 s", "3 min 20 s", "2 h 5 min"; a dash for what is not known."""
    if seconds is None or not 0 <= seconds < 1e8:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return _("{seconds} s", seconds=whole)
    if whole < 3600:
        return _("{minutes} min {seconds} s", minutes=whole // 60, seconds=whole % 60)
    return _("{hours} h {minutes} min", hours=whole // 3600, minutes=whole % 3600 // 60)


def latency(seconds: float | None) -> str:
    """ "0.4 ms", "38 ms", "1.2 s"; a dash for what is not known."""
    if seconds is None or not 0 <= seconds < 1e8:
        return "–"
    if seconds >= 1:
        return _("{seconds:.1f} s", seconds=seconds)
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.1f} ms"


def count(number: int) -> str:
    """ "12.4 M", "32,768"."""
    return f"{number / 1e6:.1f} M" if number >= 1_000_000 else f"{number:,}"


def loss(value: float | None) -> str:
    """Nats a token with three decimals."""
    return "–" if value is None else f"{value:.3f}"
