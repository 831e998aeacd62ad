"""Where freed memory goes between the steps of a training. Knows only the C library.

glibc gives large blocks back to the system as soon as they are free. Each step of a training asks
for the same blocks again, and the system clears every page of them anew, which takes time.
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of malloc.h
_LARGEST = 32 << 20  # what glibc takes as the second; larger blocks always go back
_NEVER = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for the next step; False where that cannot be had.

    For processes that do nothing but train: what they have held once stays theirs.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    adjust = ctypes.CDLL(None).mallopt
    return bool(adjust(_MMAP_THRESHOLD, _LARGEST) and adjust(_TRIM_THRESHOLD, _NEVER))
