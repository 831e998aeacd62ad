"""What typer does otherwise: wrong arguments are errors of ours, Ctrl-C is one line. Both are
translated like all else.

Typer brings its own copy of click, or uses the package, by version; only names and attributes that
both have are used. Knows no command.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from rwkv_rag.errors import InputError, Message, message
from rwkv_rag.i18n import _
from rwkv_rag.validation import problem_text

Function = TypeVar("Function", bound=Callable[..., Any])

INTERRUPTED = 130
UsageError: Any = typer.BadParameter.__bases__[0]
"""What typer raises for wrong arguments."""


class Commands(typer.Typer):
    """A group of commands that says what is wrong with their arguments by errors of ours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=Group, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """As typer's."""
        return super().command(name, cls=Command, **options)


class Group(TyperGroup):
    """Names a command that does not exist, and says that a command was interrupted."""

    def invoke(self, ctx: Any) -> Any:
        """As click's; Ctrl-C ends a command with exit code 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.stderr.write("\n" + _("interrupted") + "\n")
            raise typer.Exit(INTERRUPTED) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As click's."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise _error(ctx, message("there is no command {name!r}", name=args[0]))
        return super().resolve_command(ctx, args)


class Command(TyperCommand):
    """Names arguments that are too many."""

    allow_extra_args = True  # click would complain in words of its own

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As click's."""
        try:
            rest = super().parse_args(ctx, args)
        except UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        if rest and not ctx.resilient_parsing:
            extra = message("unexpected arguments: {arguments}", arguments=" ".join(rest))
            raise _error(ctx, extra)
        return rest


def misused(error: Any) -> InputError:
    """The error of ours for a usage error of typer's."""
    return _error(error.ctx, _problem(error))


def _error(ctx: Any, problem: Message) -> InputError:
    command = ctx.command_path if ctx else "rwkv-rag"
    return InputError("{problem}; see {command} --help", problem=problem, command=command)


def _problem(error: Any) -> Message:
    kind = type(error).__name__
    param = getattr(error, "param", None)
    if kind == "NoSuchOption":
        return _unknown(error.option_name, error.possibilities or ())
    if kind == "BadOptionUsage":
        return _flag(error)
    if kind == "MissingParameter" and param:
        if param.param_type_name == "argument":
            return message("the argument {name} is missing", name=_name(param))
        return message("the option {name} is missing", name=_name(param))
    if isinstance(error, typer.BadParameter) and param:
        return message(
            "the value of {name} cannot be used: {reason}", name=_name(param), reason=_value(error)
        )
    return Message(error.format_message())


def _unknown(option: str, possible: Any) -> Message:
    if possible:
        close = ", ".join(sorted(possible))
        return message("there is no option {option}; perhaps {close}?", option=option, close=close)
    return message("there is no option {option}", option=option)


def _flag(error: Any) -> Message:
    """An option without its value, or a value given to an option that takes none."""
    known = error.ctx.command.params if error.ctx else ()
    flag = any(each.is_flag for each in known if error.option_name in each.opts)
    if flag:
        return message("the option {option} takes no value", option=error.option_name)
    return message("the option {option} needs a value", option=error.option_name)


def _value(error: Any) -> Message:
    """Why a value was refused."""
    described = getattr(error.param, "type_descriptor", None) or error.param.type
    if choices := getattr(described, "choices", None):
        allowed = ", ".join(str(getattr(each, "value", each)) for each in choices)
        return message("give one of {expected}", expected=allowed)
    if hasattr(error.__cause__, "errors"):  # typer reads values by pydantic
        return problem_text(error.__cause__.errors()[0])
    return Message(" ".join(str(error.message).split()))


def _name(param: Any) -> str:
    """An option as it is typed, or an argument's name."""
    return max(param.opts, key=len)  # type: ignore[no-any-return]
