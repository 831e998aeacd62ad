"""The command line. `main` is the entry point; everything behind it is loaded when a command runs."""

from __future__ import annotations


def main() -> None:
    """Run `rwkv-rag` with the arguments of this process."""
    from rwkv_rag.cli.main import run

    run()
