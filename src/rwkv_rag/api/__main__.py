"""`python -m rwkv_rag.api`: the API in a process of its own, for `rwkv-rag api` and `rwkv-rag up`.

    --home DIR --model M --tuned T --lang zh|en --connect ADDRESS --key FILE    as every command
    --host HOST --port PORT    where to listen; port 0 takes a free one
    --require-token            ask for the token on loopback too; elsewhere it is always asked for
    --token-file FILE          holds the token; if not given, HOME/keys/api.token, made if missing
    --folder DIR               files of this machine below it may be named in requests; repeatable
    --name NAME                another name this server is reached by on loopback; repeatable

SIGINT or SIGTERM ends it in order. An error is one line on stderr and exit code 2. When it listens
it writes `listening on URL` as a line to stderr; `GET URL/ready` says whether it can answer.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from rwkv_rag import config, i18n
from rwkv_rag.api.options import Options, home_token, is_loopback, read_token
from rwkv_rag.api.server import serve
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import _

USER_ERROR = 2


def main() -> None:
    """Read the arguments and serve until interrupted."""
    given = _arguments(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        settings = config.load(
            home=given.home,
            model=given.model,
            tuned=given.tuned,
            language=given.lang,
            connect=given.connect,
            key=given.key,
        )
        serve(settings, _options(given, settings.home))
    except RagError as error:
        with i18n.in_language(given.lang or "en"):
            sys.stderr.write(_("error") + f": {_(error)}\n")
        sys.exit(USER_ERROR)


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rwkv_rag.api")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--tuned")
    parser.add_argument("--lang", choices=("zh", "en"))
    parser.add_argument("--connect")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8600)
    parser.add_argument("--require-token", action="store_true")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--folder", type=Path, action="append", default=[])
    parser.add_argument("--name", action="append", default=[])
    return parser.parse_args(arguments)


def _options(given: argparse.Namespace, home: Path) -> Options:
    token = ""
    if given.token_file:
        token = read_token(given.token_file)
    elif given.require_token or not is_loopback(given.host):
        token = home_token(home)
    return Options(
        host=given.host,
        port=given.port,
        token=token,
        hosts=tuple(name.lower() for name in given.name),
        folders=tuple(given.folder),
    )


if __name__ == "__main__":
    main()
