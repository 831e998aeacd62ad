"""`python -m rwkv_rag.ui`: what `rwkv-rag ui` and `rwkv-rag up` start in a process of its own.

Serves the pages by Streamlit, on this machine's address only. What is not given comes from the
environment and `ragq.yml`, as for every command. It ends at SIGINT or SIGTERM, and its health is
asked at `/_stcore/health`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rwkv_rag import config
from rwkv_rag.errors import MissingExtra, RagError
from rwkv_rag.i18n import _, set_language

SCRIPT = Path(__file__).with_name("main.py")
USER_ERROR = 2

OPTIONS: dict[str, Any] = {
    "global.developmentMode": False,
    "server.address": "127.0.0.1",  # nobody but this machine; there are no passwords here
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 200,  # MB
    "browser.gatherUsageStats": False,
    "logger.hideWelcomeMessage": True,  # the command that starts it prints the address
    "logger.level": "warning",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "theme.primaryColor": "#0f766e",
    "theme.backgroundColor": "#ffffff",
    "theme.secondaryBackgroundColor": "#f4f6f5",
    "theme.textColor": "#1c2b2a",
}


def main() -> None:
    """Read the arguments and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m rwkv_rag.ui", description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--tuned")
    parser.add_argument("--connect")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--lang", choices=("zh", "en"), dest="language")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--no-browser", action="store_false", dest="browser")
    given = vars(parser.parse_args())
    port, browser = given.pop("port"), given.pop("browser")
    set_language(given["language"] or "en")
    try:
        serve(config.load(**given), port=port, browser=browser)
    except RagError as error:
        sys.stderr.write(_("error") + f": {' '.join(_(error).split())}\n")
        sys.exit(USER_ERROR)


def serve(settings: config.Settings, *, port: int, browser: bool) -> None:
    """Serve the pages on 127.0.0.1:`port` until interrupted.

    Raises MissingExtra, and before it serves whatever is wrong with a model of the user's own.
    """
    try:
        from streamlit.web import bootstrap

        from rwkv_rag.ui import backend
    except ImportError as error:
        raise MissingExtra("the pages need Streamlit: pip install 'rwkv-rag[ui]'") from error
    options = {**OPTIONS, "server.port": port, "server.headless": not browser}
    flags = {name.replace(".", "_"): value for name, value in options.items()}
    backend.configure(settings)
    if settings.model not in (config.BUILTIN, config.FAKE):
        backend.client()  # a file that is no model ends here and not on a page
    bootstrap.load_config_options(flag_options=flags)
    try:
        bootstrap.run(str(SCRIPT), False, [], flags)
    finally:
        backend.close()


if __name__ == "__main__":
    main()
