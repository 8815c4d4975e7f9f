"""Usage errors of click as diagnostics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

import click

from jupyter_pipelines.errors import Diagnostic, closest_name

# click has no exception class for an unknown command; quotes differ between its versions.
_SHOWN = 4
# Of the letters of an option without its dashes; `--parallel` and `--params-file` have 0.63.
_SIMILAR = 0.7
_SHORTEST = 2
# How the option is called in headers, and by papermill.
_OTHER_NAMES = {
    **dict.fromkeys(("--param", "--params", "--parameter", "--parameters", "-r"), "-p"),
    **dict.fromkeys(("-f", "--parameters_file", "--params_file"), "--params-file"),
    "-j": "--jobs",
}
_UNKNOWN_COMMAND = re.compile(r"No such command ['\"](.*)['\"]\.")


def as_fault(error: click.ClickException) -> Diagnostic:
    """Return a usage error of click as a diagnostic with a suggestion."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        message, names = f"there is no option `{error.option_name}`", _options(context)
        return _unknown(message, _option_advice(error.option_name, context), names, context)
    command = _UNKNOWN_COMMAND.match(error.message)
    if command and context is not None:
        near = closest_name(command[1], _commands(context))
        advice = f"write `{near}`" if near else _help(context)
        return _unknown(f"there is no command `{command[1]}`", advice, _commands(context), context)
    if isinstance(error, click.MissingParameter):
        return Diagnostic(code="JP605", message=_missing(error), suggestion=_help(context), notes=_usage(context))
    if isinstance(error, click.BadParameter):
        return Diagnostic(
            code="JP604", message=_sentence(error.format_message()), suggestion=_help(context), notes=_usage(context)
        )
    return Diagnostic(
        code="JP605", message=_sentence(error.format_message()), suggestion=_help(context), notes=_usage(context)
    )


def _unknown(message: str, suggestion: str, names: list[str], context: click.Context | None) -> Diagnostic:
    notes = (f"there are: {', '.join(names)}",) if names else ()
    return Diagnostic(code="JP605", message=message, suggestion=suggestion, notes=(*notes, *_usage(context)))


def _option_advice(name: str, context: click.Context | None) -> str:
    """Return what to write instead of an unknown option, or which commands have it: what is nearest to it counts."""
    if context is None:
        return _help(context)
    own = _options(context)
    commands_by_option: dict[str, list[str]] = {}
    for path, command in _all_commands(context.find_root()):
        for option in _spellings(command):
            if option not in own:
                commands_by_option.setdefault(option, []).append(path)
    near = _nearest_option(_OTHER_NAMES.get(name, name), [*own, *commands_by_option])
    if near is None:
        return _help(context)
    if near in own:
        return f"write `{near}`"
    commands = commands_by_option[near]
    listed = ", ".join(f"`{path}`" for path in commands[:_SHOWN]) + (" and others" if len(commands) > _SHOWN else "")
    if isinstance(context.command, click.Group):
        return f"write it behind the command: `{near}` is an option of {listed}"
    return f"leave it out: `{near}` is an option of {listed}"


def _nearest_option(name: str, options: list[str]) -> str | None:
    """Return the option that `name` is, or is similar to; the first of equals.

    Dashes do not make options similar, and neither does a letter: a wrong guess misleads more than none.
    """
    if name in options:
        return name
    bare = {option: option.lstrip("-") for option in options if option.startswith("--")}
    word = name.lstrip("-")
    if not name.startswith("--") or len(word) < _SHORTEST:
        return None
    beginnings = [option for option, text in bare.items() if text.startswith(word)]
    ratios = {option: SequenceMatcher(None, word, text).ratio() for option, text in bare.items()}
    nearest = max(ratios, key=ratios.__getitem__, default=None)
    if nearest is not None and ratios[nearest] >= _SIMILAR:
        return nearest
    return beginnings[0] if beginnings else None


def _all_commands(root: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Yield all commands with what is written to call them, and the program itself."""
    waiting = [(root.info_name or "", root.command)]
    while waiting:
        path, command = waiting.pop(0)
        yield path, command
        if isinstance(command, click.Group):
            start = "" if command is root.command else f"{path} "
            inner_commands = ((name, command.get_command(root, name)) for name in command.list_commands(root))
            waiting += [(start + name, inner) for name, inner in inner_commands if inner is not None]


def _spellings(command: click.Command) -> list[str]:
    return [
        spelling
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for spelling in parameter.opts
    ]


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
