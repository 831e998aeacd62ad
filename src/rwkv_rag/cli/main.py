"""The commands together, and what becomes of errors: one line and exit code 2.

Knows the commands' names, not their work.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from rwkv_rag.cli import ask, bases, demo, doctor, evaluate, index, keys, servers, tune, up
from rwkv_rag.cli.screen import printable
from rwkv_rag.cli.usage import Commands, UsageError, misused
from rwkv_rag.config import user_language
from rwkv_rag.errors import InputError, RagError
from rwkv_rag.i18n import _, set_language
from rwkv_rag.types import Language

USER_ERROR = 2


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. Errors of the user end here as one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of another alphabet gets a "?"
        sys.stdout.reconfigure(errors="replace")
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on; what is left must not be tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(arguments: Sequence[str]) -> int:
    set_language("en")  # for an error in the choice of the language
    try:
        language, rest = split_language(arguments)
        set_language(language)
        code = commands()(rest, prog_name="rwkv-rag", standalone_mode=False)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except typer.Abort:  # a question without an answer
        sys.stderr.write("\n" + _("interrupted") + "\n")
        return 1
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its text is the help page
            error.show()
            return USER_ERROR
        return _failed(misused(error))
    except RagError as error:
        return _failed(error)
    return code if isinstance(code, int) else 0


def _failed(error: RagError) -> int:
    sys.stderr.write(_("error") + f": {printable(_(error))}\n")
    return USER_ERROR


def split_language(arguments: Sequence[str]) -> tuple[Language, list[str]]:
    """The language of `--lang`, wherever it stands before `--`, and the other arguments."""
    rest = list(arguments)
    stop = rest.index("--") if "--" in rest else len(rest)
    for at, argument in enumerate(rest[:stop]):
        if argument in ("--lang=zh", "--lang=en"):
            return _language(argument[-2:]), rest[:at] + rest[at + 1 :]
        if argument == "--lang" and rest[at + 1 : at + 2] in (["zh"], ["en"]):
            return _language(rest[at + 1]), rest[:at] + rest[at + 2 :]
    return user_language(), rest


def commands() -> Any:
    """The whole command tree, with its help texts in the current language."""
    app = Commands(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Ask your own documents, on your own machine, and check every quoted source.",
    )
    app.callback()(_root)
    app.command("index")(index.index)
    app.command("ask")(ask.ask)
    app.command("search")(ask.search)
    app.add_typer(bases.app, name="kb", help="Knowledge bases: list, show, create, delete.")
    app.add_typer(tune.app, name="tune", help="Fine-tuning: prepare rows, start and follow jobs.")
    app.add_typer(keys.app, name="keys", help="Keys of machines that may reach the services.")
    app.command("demo")(demo.demo)
    app.command("ui")(servers.ui)
    app.command("api")(servers.api)
    for name in ("up", "status", "down", "restart", "worker", "config"):
        app.command(name)(getattr(up, name))
    app.command("doctor")(doctor.doctor)
    app.command("eval")(evaluate.evaluate)
    app.command("bench")(evaluate.bench)
    tree = get_command(app)
    _translate_help(tree)
    return tree


def _version(wanted: bool) -> None:
    if wanted:
        from rwkv_rag import __version__

        sys.stdout.write(f"rwkv-rag {__version__}\n")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = False,
    lang: Annotated[str, typer.Option(help="Language of messages: zh or en.")] = "",
) -> None:
    """Ask your own documents, on your own machine, and check every quoted source."""
    if lang:  # a good value never comes here: `split_language` took it out
        raise InputError("the language {lang!r} is not zh or en", lang=lang)


def _language(value: str) -> Language:
    return "zh" if value == "zh" else "en"


def _translate_help(tree: Any) -> None:
    """Replace help texts in place; typer has no other way to choose a language at run time."""
    for item in (tree, *tree.params):
        if getattr(item, "help", None):
            item.help = _(item.help)
    for child in getattr(tree, "commands", {}).values():
        _translate_help(child)
