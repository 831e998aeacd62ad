"""The commands together, and what becomes of errors: one line and exit code 2.

Knows the commands' names, not their work.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from rwkv_rag import i18n
from rwkv_rag.cli import api, ask, bases, demo, doctor, evaluate, index, keys, tune, ui, up
from rwkv_rag.cli.screen import printable
from rwkv_rag.config import user_language
from rwkv_rag.errors import InputError, Message, NotFound, RagError, message
from rwkv_rag.i18n import N_, _
from rwkv_rag.types import Language
from rwkv_rag.validation import SENTENCES, problem_text

INTERRUPTED = 130
USER_ERROR = 2
UsageError: Any = typer.BadParameter.__bases__[0]
"""Typer brings click along, of its own or as a package; this is the one it raises."""


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. Errors of the user end here as one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of another alphabet gets a "?"
        sys.stdout.reconfigure(errors="replace")
    try:
        language, rest = split_language(arguments)
    except RagError as error:
        i18n.set_language("en")
        return _failed(error)
    code = _run(language, rest)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on; what is left must not be tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(language: Language, arguments: list[str]) -> int:
    i18n.set_language(language)
    try:
        code = command()(arguments, prog_name="rwkv-rag", obj=language, standalone_mode=False)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except typer.Abort:
        sys.stderr.write("\n" + _("interrupted") + "\n")
        return 1
    except UsageError as error:
        return _misused(error)
    except RagError as error:
        return _failed(error)
    return code if isinstance(code, int) else 0


def _misused(error: Any) -> int:
    """What is wrong with the arguments on one line, and where to read on."""
    if type(error).__name__ == "NoArgsIsHelpError":  # its text is the help page
        error.show()
        return USER_ERROR
    where = error.ctx.command_path if error.ctx else "rwkv-rag"
    problem = _usage_problem(error)
    return _failed(message("{problem}; see {command} --help", problem=problem, command=where))


def _usage_problem(error: Any) -> Message:
    """What typer found wrong, from its exceptions' attributes: their texts are English only."""
    param, kind = getattr(error, "param", None), type(error).__name__
    is_option = getattr(param, "param_type_name", "") == "option"
    name = str(param.opts[0] if param and is_option else getattr(param, "name", ""))
    if kind == "MissingParameter" and param is not None:
        missing = N_("missing option {name!r}") if is_option else N_("missing argument {name!r}")
        return message(missing, name=name)
    if kind == "NoSuchOption":
        return message("no such option {name}", name=error.option_name)
    text = " ".join(error.message.split()).rstrip(".").removeprefix("Value error, ")
    if extra := re.fullmatch(r"Got unexpected extra arguments?(?:\(s\))? \((.+)\)", text):
        return message("there is one argument too many: {arguments}", arguments=extra[1])
    if kind == "BadOptionUsage":
        takes = N_("the option {name} takes no value")
        needs = N_("the option {name} needs a value")
        template = needs if "requires" in text else takes
        return message(template, name=error.option_name)
    if param is None:
        return Message(text[:1].lower() + text[1:])
    return message("the value of {name} cannot be used: {reason}", name=name, reason=_why(error))


def _why(error: Any) -> Message:
    """Why a value was refused; typer checks values with pydantic."""
    text = " ".join(error.message.split()).rstrip(".").removeprefix("Value error, ")
    if choice := re.fullmatch(r"(.+) is not one of (.+)", text):
        return message("give one of {expected}", expected=choice[2])
    problems: list[Any] = getattr(error.__cause__, "errors", list)()
    known = problems and problems[0]["type"] in SENTENCES and problems[0]["type"] != "value_error"
    return problem_text(problems[0]) if known else Message(text)


def _failed(problem: RagError | Message) -> int:
    text = " ".join(_(problem).split())
    sys.stderr.write(_("error") + f": {printable(text)}\n")
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


def command() -> Any:
    """The whole command tree with its help texts in the current language."""
    app = typer.Typer(
        cls=CommandGroup,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Ask your own documents, on your own machine, and check every quoted source.",
    )
    app.callback()(_root)
    app.command("index")(index.index)
    app.command("ask")(ask.ask)
    app.command("search")(ask.search)
    app.add_typer(
        bases.app, cls=CommandGroup, name="kb", help="Knowledge bases: list, show, create, delete."
    )
    app.add_typer(
        tune.app,
        cls=CommandGroup,
        name="tune",
        help="Fine-tuning: prepare rows, start and follow jobs.",
    )
    app.add_typer(
        keys.app,
        cls=CommandGroup,
        name="keys",
        help="Keys of machines that may reach the services.",
    )
    app.command("demo")(demo.demo)
    app.command("ui")(ui.ui)
    app.command("api")(api.api)
    for name in ("up", "status", "down", "restart", "worker", "config"):
        app.command(name)(getattr(up, name))
    app.command("doctor")(doctor.doctor)
    app.command("eval")(evaluate.evaluate)
    app.command("bench")(evaluate.bench)
    tree = get_command(app)
    _translate_help(tree)
    return tree


class CommandGroup(TyperGroup):
    """Commands by name. Ctrl-C ends one with one line and exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.stderr.write("\n" + _("interrupted") + "\n")
            raise typer.Exit(INTERRUPTED) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise NotFound(
                "there is no command {name!r}; see {command} --help",
                name=args[0],
                command=ctx.command_path,
            )
        return super().resolve_command(ctx, args)


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
        raise InputError("the language {language!r} is not zh or en", language=lang)


def _language(value: str) -> Language:
    return "zh" if value == "zh" else "en"


def _translate_help(tree: Any) -> None:
    """Replace help texts in place; typer has no other way to choose a language at run time."""
    for item in (tree, *tree.params):
        if getattr(item, "help", None):
            item.help = _(item.help)
    for child in getattr(tree, "commands", {}).values():
        _translate_help(child)
