"""``jupyter pipelines``: the command line.

Exit codes: 0 everything asked for is there; 1 a step failed; 2 the notebook, the parameters or the options are wrong
and nothing ran; 130 interrupted (143 and 129 when the process was asked to end or its terminal went away); 70 a bug of
ours.

Asking for help or for the version imports click and nothing else that takes time.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, NoReturn

import click

from jupyter_pipelines import __version__
from jupyter_pipelines.errors import Diagnostic, PipelinesError, RunError

PROGRAM = "jupyter pipelines"
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "run": ("run", "Run the pipeline; what is stored already is reused."),
        "attach": ("attach", "Show how a run gets on that goes on elsewhere."),
        "cancel": ("attach", "Ask a run, or one step of it, to stop."),
        "plan": ("run", "Say for every step what a run would do, and why."),
        "why": ("run", "Say why a step would run or be reused, with old and new."),
        "check": ("show", "List every fault at once; executes nothing."),
        "show": ("show", "Show the graph as text, Mermaid, SVG, HTML, JSON, GraphML or DOT."),
        "freeze": ("show", "Write inferred interfaces into the notebook's headers."),
        "runs": ("store_commands", "List earlier runs, newest first."),
        "diff": ("store_commands", "Compare two runs side by side."),
        "output": ("store_commands", "Show a stored output, or write it to a file."),
        "convert": ("convert", "Make a pipeline of an exploratory notebook, and prove it."),
        "test": ("test", "Test every step on its own, with recorded inputs."),
        "serve": ("serve", "Serve pages with the pipelines of a folder."),
        "explain": ("explain", "Say what an error code means, and what to do."),
        "gc": ("store_commands", "Remove what no kept run needs."),
        "keys": ("keys", "Sign results, and say whose are trusted in a shared store."),
        "fsck": ("fsck", "Read everything stored, and say what is damaged."),
        "store": ("store_upkeep_commands", "Say what a store holds, upgrade its format, or copy it."),
    }
)
"""Module and short help of every command; `--help` lists commands without importing their modules."""
_DEBUG = "JP_DEBUG"
_GC_THRESHOLD = 200_000
_TERMINATION_SIGNALS = ("SIGTERM", "SIGHUP")


class LazyCommandGroup(click.Group):
    """The commands, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command called `cmd_name`, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"jupyter_pipelines.interfaces.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyCommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n"
    "  jupyter pipelines run churn.ipynb -p trees=300\n"
    "  jupyter pipelines plan churn.ipynb --to train\n"
    "  jupyter pipelines output churn.ipynb train.scores\n"
    "\n`jupyter pipelines COMMAND --help` shows the options of a command.",
)
@click.version_option(__version__, "--version", prog_name=PROGRAM)
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Turn the marked cells of a notebook into a cached pipeline, and run it with papermill."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Execute a command line and exit with its exit code."""
    # A short-lived process allocates much and frees little: garbage collections at the usual rate would find nothing.
    gc.set_threshold(_GC_THRESHOLD)
    code = call(sys.argv[1:] if arguments is None else arguments)
    gc.freeze()  # the collection at exit would visit every object, only to free memory that goes with the process
    sys.exit(code)


def call(arguments: Sequence[str]) -> int:
    """Execute a command line and return its exit code; errors are reported, not raised."""
    # A character that the terminal cannot show must not end a command with UnicodeEncodeError.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    _fix_search_path()
    with _signals_as_interrupts() as ended:
        code = _exit_code_of(list(arguments))
    return 128 + ended[0] if ended else code


def _fix_search_path() -> None:
    """Make relative folders in ``PYTHONPATH`` absolute: kernels start in other folders, and would not find them."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if any(folders):
        os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(folder).absolute()) if folder else "" for folder in folders)


def _exit_code_of(arguments: list[str]) -> int:
    try:
        return int(commands.main(arguments, prog_name=PROGRAM, standalone_mode=False) or 0)
    except click.ClickException as error:
        from jupyter_pipelines.interfaces.usage_errors import as_fault

        return _report_error(arguments, [as_fault(error)], 2)
    except PipelinesError as error:
        return _report_error(arguments, error.faults, 1 if isinstance(error, RunError) else 2)
    except (KeyboardInterrupt, click.Abort):
        return _report_error(arguments, [_interrupted()], 130)
    except SystemExit:  # how click leaves when the reader of our output has gone: `jupyter pipelines runs … | head`
        return 128 + 13
    except Exception as error:  # noqa: BLE001
        return _report_error(arguments, [_bug(error)], 70)


def _report_error(arguments: Sequence[str], faults: Sequence[Diagnostic], code: int) -> int:
    """Report faults: as text on standard error, and with ``--json`` as a document on standard output."""
    from jupyter_pipelines.interfaces.cli.command import check_document, report_faults, write
    from jupyter_pipelines.interfaces.strict_json import as_json

    # A traceback of library code tells a user nothing; it is for bug reports.
    if os.environ.get(_DEBUG):
        traceback.print_exc()
    report_faults(faults)
    if "--json" in arguments:
        write(as_json(check_document(faults)))
    return code


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[list[int]]:
    """Treat SIGTERM and SIGHUP like Ctrl-C: the run is cancelled and reported before the process ends."""
    ended: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        # SIGINT takes the path of Ctrl-C, which cancels running steps; the number is kept for the exit code.
        ended.append(number)
        signal.raise_signal(signal.SIGINT)

    before: dict[Any, Any] = {}
    with contextlib.suppress(ValueError):  # only the main thread may set signal handlers
        for name in _TERMINATION_SIGNALS:
            number = getattr(signal, name, None)
            # Only default handlers are replaced: `nohup` has SIGHUP ignored, and an embedding program may have its own.
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupted() -> Diagnostic:
    return Diagnostic(code="JP306", message="interrupted", suggestion="run it again: what was finished is reused")


def _bug(error: Exception) -> Diagnostic:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return Diagnostic(
        code="JP901",
        message=f"{type(error).__name__}: {error}",
        suggestion=f"this is a bug of jupyter-pipelines, not of your notebook: report it with what `{_DEBUG}=1` in the "
        "environment shows when you call the command again",
        notes=(f"in `{frame.name}`, line {frame.lineno} of {os.path.basename(frame.filename)}",),  # noqa: PTH119
    )
