"""Usage errors of click as diagnostics."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

from jupyter_pipelines.errors import Diagnostic, closest_name

# click has no exception class for an unknown command; quotes differ between its versions.
_UNKNOWN_COMMAND = re.compile(r"No such command ['\"](.*)['\"]\.")


def as_fault(error: click.ClickException) -> Diagnostic:
    """Return a usage error of click as a diagnostic with a suggestion."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        return _unknown(f"there is no option `{error.option_name}`", error.option_name, _options(context), context)
    command = _UNKNOWN_COMMAND.match(error.message)
    if command and context is not None:
        return _unknown(f"there is no command `{command[1]}`", command[1], _commands(context), context)
    if isinstance(error, click.MissingParameter):
        return Diagnostic(code="JP605", message=_missing(error), suggestion=_help(context), notes=_usage(context))
    if isinstance(error, click.BadParameter):
        return Diagnostic(
            code="JP604", message=_sentence(error.format_message()), suggestion=_help(context), notes=_usage(context)
        )
    return Diagnostic(
        code="JP605", message=_sentence(error.format_message()), suggestion=_help(context), notes=_usage(context)
    )


def _unknown(message: str, name: str, known: Iterable[str], context: click.Context | None) -> Diagnostic:
    names = list(known)
    near = closest_name(name, names)
    notes = (f"there are: {', '.join(names)}",) if names else ()
    return Diagnostic(
        code="JP605",
        message=message,
        suggestion=f"write `{near}`" if near else _help(context),
        notes=(*notes, *_usage(context)),
    )


def _options(context: click.Context | None) -> list[str]:
    if context is None:
        return []
    options = [
        parameter
        for parameter in context.command.get_params(context)
        if isinstance(parameter, click.Option) and not parameter.hidden
    ]
    return [option.opts[-1] for option in options]


def _commands(context: click.Context) -> list[str]:
    return context.command.list_commands(context) if isinstance(context.command, click.Group) else []


def _missing(error: click.MissingParameter) -> str:
    name = error.param.human_readable_name if error.param else error.param_hint
    path = error.ctx.command_path if error.ctx else "the command"
    what = f"the option `{error.param.opts[-1]}`" if isinstance(error.param, click.Option) else f"`{name}`"
    return f"`{path}` lacks {what}"


def _sentence(text: str) -> str:
    """Return a message of click in the style of diagnostics: lower case, no full stop, code in backticks."""
    text = text.strip().rstrip(".").replace("'", "`")
    return text[:1].lower() + text[1:]


def _help(context: click.Context | None) -> str:
    if context is None:
        return "use --help to see what can be written"
    return f"`{context.command_path} --help` shows what can be written"


def _usage(context: click.Context | None) -> tuple[str, ...]:
    """Return how the command is written; no command that could be pasted."""
    if context is None:
        return ()
    return (" ".join(context.command.get_usage(context).split()).replace("Usage:", "usage:", 1),)
