"""Starts Streamlit in this process: loopback only, no telemetry, our colours. Knows no page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rwkv_rag.config import BUILTIN, FAKE, Settings
from rwkv_rag.errors import MissingExtra
from rwkv_rag.ui import parts

SCRIPT = Path(__file__).with_name("main.py")

OPTIONS: dict[str, Any] = {
    "global.developmentMode": False,
    "server.address": "127.0.0.1",  # nobody but this machine; there are no passwords here
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 200,  # MB
    "browser.gatherUsageStats": False,
    "logger.hideWelcomeMessage": True,  # who starts it says where it is
    "logger.level": "warning",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "theme.primaryColor": "#0f766e",
    "theme.backgroundColor": "#ffffff",
    "theme.secondaryBackgroundColor": "#f4f6f5",
    "theme.textColor": "#1c2b2a",
}


def serve(settings: Settings, *, port: int = 8501, browser: bool = True) -> None:
    """Serve the pages on 127.0.0.1:`port` until interrupted.

    Raises MissingExtra, and before it serves what is wrong with a model of the user's own.
    """
    try:
        from streamlit.web import bootstrap
    except ImportError as error:
        raise MissingExtra("the pages need Streamlit: pip install 'rwkv-rag[ui]'") from error
    options = {**OPTIONS, "server.port": port, "server.headless": not browser}
    flags = {name.replace(".", "_"): value for name, value in options.items()}
    parts.configure(settings)
    if settings.model not in (BUILTIN, FAKE):
        parts.shared()  # a file that is no model ends here and not on a page
    bootstrap.load_config_options(flag_options=flags)
    try:
        bootstrap.run(str(SCRIPT), False, [], flags)
    finally:
        parts.close()
