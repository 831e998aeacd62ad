"""How many cores the compiled loops and torch use, and that one caller has them at a time.

torch is imported before numba starts its threads, so on Linux both share one pool of OpenMP
threads; two pools would wait in each other's way.
"""

from __future__ import annotations

import threading

import numba
import torch

# Two callers would fight for the same cores, and numba's fallback threading layer ends the
# process when it is entered twice.
exclusive = threading.RLock()

# Fewer operations than this are done sooner by one core than two cores meet, above all where
# another program wants one of them.
WORTH_SPREADING = 1 << 19

_cores: int = vars(numba.config)["NUMBA_NUM_THREADS"]
_limit = {"threads": _cores}


def limit_threads(count: int | None = None) -> int:
    """Set the threads of kernels and of torch; all cores without `count`. Returns what was set."""
    count = _cores if count is None else max(1, min(count, _cores))
    _limit["threads"] = count
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return count


def spread(operations: int) -> None:
    """Let the kernel called next use all allowed threads, or one where the work is small."""
    numba.set_num_threads(_limit["threads"] if operations >= WORTH_SPREADING else 1)
