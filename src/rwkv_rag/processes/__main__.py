"""`python -m rwkv_rag.processes`: a child of `rwkv-rag up`, told on stdin what to be.

It ends in order when stdin closes, whatever closed it: its supervisor that stops it, or the kernel
when the supervisor was killed. SIGTERM does the same. What cannot end in time is ended.
"""

from __future__ import annotations

import logging
import sys

from rwkv_rag.errors import RagError
from rwkv_rag.processes import orders, roles
from rwkv_rag.processes.ending import Ending

USER_ERROR = 2


def main() -> int:
    """Read the order and carry it out; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    ending = Ending()
    if not (line := ending.first_line()):
        return 0  # its supervisor died before it could say anything
    try:
        roles.carry_out(orders.from_line(line), ending)
    except RagError as error:
        sys.stderr.write(f"{orders.error_line(error)}\n")
        return USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
