"""How many cores the compiled loops and torch use, and that one caller has them at a time."""

from __future__ import annotations

import threading

import numba
import torch

# Two callers would fight for the same cores, and numba's fallback threading layer ends the
# process when it is entered twice.
exclusive = threading.RLock()


def limit_threads(count: int | None = None) -> int:
    """Set the threads of kernels and of torch; all cores without `count`. Returns what was set."""
    cores: int = vars(numba.config)["NUMBA_NUM_THREADS"]
    count = cores if count is None else max(1, min(count, cores))
    numba.set_num_threads(count)
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return count
