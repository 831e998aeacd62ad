"""`python -m rwkv_rag.ui`: what `rwkv-rag ui` and `rwkv-rag up` start in a process of its own.

What is not given comes from the environment and `ragq.yml`, as for every command. It ends at SIGINT
or SIGTERM, and its health is asked at `/_stcore/health`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rwkv_rag import config, i18n
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import _
from rwkv_rag.ui.server import serve


def main() -> None:
    """Read the arguments and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m rwkv_rag.ui", description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--tuned")
    parser.add_argument("--connect")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--lang", choices=("zh", "en"))
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--no-browser", action="store_true")
    given = parser.parse_args()
    try:
        settings = config.load(
            home=given.home,
            model=given.model,
            tuned=given.tuned,
            language=given.lang,
            connect=given.connect,
            key=given.key,
        )
        serve(settings, port=given.port, browser=not given.no_browser)
    except RagError as error:
        with i18n.in_language(given.lang or "en"):
            sys.stderr.write(_("error") + f": {_(error)}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
