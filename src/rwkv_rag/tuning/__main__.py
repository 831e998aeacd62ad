"""The process of one job: `python -m rwkv_rag.tuning FOLDER`. Started by `jobs`, not by people.

Takes its lock before anything heavy is loaded, waits for its turn, trains, and says in the ledger
how it ended. With several devices Lightning starts this program again for each further one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rwkv_rag.tuning.process import run

if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
