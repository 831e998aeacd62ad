"""The command line. `main` is the entry point; everything behind it is loaded when it runs."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `rwkv-rag` with the arguments of this process."""
    from rwkv_rag.cli.main import run

    sys.exit(run(sys.argv[1:]))
