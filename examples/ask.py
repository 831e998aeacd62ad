"""Index a file and ask about it from Python.

python examples/ask.py FILE "QUESTION"
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rwkv_rag import app, config
from rwkv_rag.types import Delta


def main(file: Path, question: str) -> None:
    """Answer `question` from `file`, in a home that is thrown away afterwards."""
    with tempfile.TemporaryDirectory() as home:
        settings = config.load(home=Path(home))
        with app.open_client(settings) as parts:
            parts.knowledge.create("example")
            for event in parts.knowledge.index("example", [file]):
                print(f"{event.stage:>9}  {event.document}", file=sys.stderr)
            for event in parts.pipeline().answer(question, kb="example"):
                if isinstance(event, Delta):
                    print(event.text, end="", flush=True)
                    continue
                print()
                for citation in event.citations:
                    print(f"  {citation.document}:{citation.start}-{citation.end}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
