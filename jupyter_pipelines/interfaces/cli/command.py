"""Shared base of the CLI commands: notebook, project and output."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TextIO

import click

from jupyter_pipelines.errors import COMMAND_LINE, Diagnostic, PipelinesError, shell_path, shell_word
from jupyter_pipelines.interfaces.strict_json import as_json

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_pipelines.notebook.source.read_result import NotebookPaths
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.project import Project

CHECK_SCHEMA = "jupyter-pipelines/check/1"
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """The context of one CLI command.

    Parameters
    ----------
    notebook : str
        Path of the notebook as given by the user.
    store : str or None
        URL of the store as given by the user.
    as_json : bool
        Write the answer as a single JSON document.
    project : Project
        The project that carries out the command.
    """

    notebook: str
    store: str | None
    as_json: bool
    project: Project = field(repr=False)

    def pipeline(self, *, warn: bool = True) -> Pipeline:
        """Return the pipeline, and report its warnings on standard error.

        Parameters
        ----------
        warn : bool
            False for commands about earlier runs.

        Raises
        ------
        NotebookError, PipelineError
            It cannot be read; its steps do not make a pipeline.
        """
        pipeline = self.project.read(self.notebook)
        report_faults(pipeline.warnings if warn else ())
        return pipeline

    def command_line(self, name: str, *arguments: str) -> str:
        """Return a command for the same notebook and store, as it can be pasted into a shell."""
        store = ["--store", shell_word(self.store)] if self.store else []
        return " ".join([COMMAND_LINE, name, shell_path(self.notebook), *map(shell_word, arguments), *store])

    def home(self) -> NotebookPaths:
        """Return the paths of the notebook and its project; works for notebooks that cannot be read as pipelines, too.

        Raises
        ------
        NotebookError
            There is no such file.
        """
        return self.project.home(self.notebook)

    def answer(self, document: Mapping[str, Any], text: Callable[[], str] | str) -> None:
        """Write the answer of a command to standard output, as a document or as text."""
        write(as_json(document) if self.as_json else text() if callable(text) else text)


def command(*, examples: str) -> Callable[[Callable[..., int | None]], click.Command]:
    """Return a decorator that makes a click command of a function with a context, options and an exit code (None: 0).

    Parameters
    ----------
    examples : str
        Examples for the end of its help, one a line.
    """

    def make(work: Callable[..., int | None]) -> click.Command:
        def call(*, notebook: str, store: str | None, as_json: bool, **options: Any) -> int:
            from jupyter_pipelines.project import Project

            # project is imported in the function: `--help` of a command must not wait for planning and execution.
            desk = CommandContext(notebook=notebook, store=store, as_json=as_json, project=Project(store))
            try:
                return work(desk, **options) or 0
            except PipelinesError as error:
                raise _for_store(error, notebook, store) from error

        update_wrapper(call, work)
        decorated = click.argument("notebook")(_STORE(_JSON(call)))
        epilog = "\b\nExamples:\n" + "\n".join(f"  jupyter pipelines {line}" for line in examples.splitlines())
        return click.command(cls=ForceCommand, context_settings=CONTEXT, epilog=epilog)(decorated)

    return make


_STORE = click.option(
    "--store", metavar="URL", help="Where results are. [default: $JUPYTER_PIPELINES_STORE or .pipelines]"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, all else on stderr.")


class ForceCommand(click.Command):
    """A command whose option ``--force`` has an optional value, also in front of the notebook argument."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        if any("--force" in option.opts for option in self.params):
            args = [
                # Always with "=": click would take the notebook as the value of the option.
                f"{arg}={_value(args, position)}" if arg == "--force" else arg
                for position, arg in _without_force_values(args)
            ]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click's parser leaves it out for some errors
            raise


def _without_force_values(args: list[str]) -> list[tuple[int, str]]:
    """Return the arguments with their positions, without the values of ``--force``."""
    taken = {position + 1 for position, arg in enumerate(args) if arg == "--force" and _value(args, position)}
    return [(position, arg) for position, arg in enumerate(args) if position not in taken]


def _value(args: list[str], position: int) -> str:
    """Return the step after the ``--force`` at `position`; empty if a notebook, an option or nothing follows.

    A step's name has no dot and no slash, but in the brackets of an item; a notebook's path always has a dot.
    """
    following = args[position + 1] if position + 1 < len(args) else "-"
    is_item = following.endswith("]") and "[" in following
    is_step = not following.startswith("-") and (is_item or not set(following) & set("./\\"))
    return following if is_step else ""


def write(text: str, stream: TextIO | None = None) -> None:
    """Write lines to standard output, or to another stream."""
    # Flushed: stdout to a pipe is buffered, and would come after later lines on stderr.
    print(text, file=stream or sys.stdout, flush=True)


def write_file(path: Path, text: str) -> None:
    """Write the answer of a command to a file.

    Raises
    ------
    PipelinesError
        The file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PipelinesError(cannot_write(path, error)) from error


def _for_store(error: PipelinesError, notebook: str, store: str | None) -> PipelinesError:
    """Return an error whose help lines name the notebook, and the store that the user named."""
    known = error.within(notebook)
    if store is None:
        return known
    text = re.compile(rf"`({COMMAND_LINE} \w+ {re.escape(shell_path(notebook))}(?= |`)[^`]*)`")
    option = f"--store {shell_word(store)}"
    faults = (
        replace(fault, suggestion=text.sub(lambda match: f"`{match[1]} {option}`", fault.suggestion))
        for fault in known.faults
    )
    return type(known)(*faults)


def cannot_write(path: Path, error: OSError) -> Diagnostic:
    """Return the diagnostic for an output file that cannot be written."""
    reason = (error.strerror or str(error)).lower()
    return Diagnostic(
        code="JP604", message=f"`{path}` cannot be written: {reason}", suggestion="give another file with `-o`"
    )


def check_document(faults: Iterable[Diagnostic]) -> dict[str, Any]:
    """Return the ``check`` document."""
    return {"schema": CHECK_SCHEMA, "faults": [fault.to_dict() for fault in faults]}


def report_faults(faults: Iterable[Diagnostic]) -> None:
    """Write faults to standard error, with an empty line behind each."""
    for fault in faults:
        write(format_fault(fault, sys.stderr) + "\n", sys.stderr)


def format_fault(fault: Diagnostic, stream: TextIO) -> str:
    """Return a diagnostic for a terminal, in colour and without control characters."""
    from jupyter_pipelines.reporting.sanitize import clean

    # Notebooks of others can put escape sequences into error messages, which a terminal would execute.
    first, *others = (clean(line, 1000) for line in str(fault).splitlines())
    head, colon, message = first.partition(": ")
    tone = "red" if fault.severity == "error" else "yellow"
    bold = (
        click.style(head, fg=tone, bold=True) + colon + click.style(message, bold=True)
        if is_colourful(stream)
        else first
    )
    return "\n".join([bold, *others])


def painter(stream: TextIO) -> Callable[[str, str], str]:
    """Return a function that colours texts for `stream`; without colours it returns them unchanged."""
    if not is_colourful(stream):
        return lambda _, text: text
    return lambda colour, text: click.style(text, fg=colour)


def width(stream: TextIO) -> int:
    """Return the number of columns of a terminal; 0, for no limit, if `stream` is not a terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else 0


def is_colourful(stream: TextIO) -> bool:
    """Tell whether `stream` is a terminal whose user wants colours."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def is_plain(stream: TextIO) -> bool:
    """Tell whether the encoding of `stream` lacks the signs of graphs, so that ASCII has to be used."""
    try:
        "●│↻✓".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
