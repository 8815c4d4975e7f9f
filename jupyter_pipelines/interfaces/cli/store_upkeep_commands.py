"""The commands ``store``: what a store holds, its format, and copies of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import click

from jupyter_pipelines.errors import COMMAND_LINE, shell_path
from jupyter_pipelines.interfaces.cli.command import CONTEXT, is_colourful, report_faults, write
from jupyter_pipelines.interfaces.strict_json import as_json

if TYPE_CHECKING:
    from jupyter_pipelines.project.store_upkeep import CopyReport, StoreSummary, UpgradeReport

_STORE = click.option(
    "--store",
    metavar="URL",
    help="Which store. [default: $JUPYTER_PIPELINES_STORE, or .pipelines of the project of the current folder]",
)
_JSON = click.option("--json", "as_document", is_flag=True, help="One JSON document on stdout, all else on stderr.")
_KINDS = {
    "folder": "a folder of your own",
    "shared-folder": "a folder that others can write to",
    "bucket": "a bucket",
}
_SIGNERS = {
    "you": "by you",
    "trusted": "by those you trust",
    "unknown": "with a key you do not trust",
    "unsigned": "not signed",
}
_MAX_LISTED = 20
# In logs of scheduled jobs a line for each record would be too much.
_SECONDS_BETWEEN_LINES = 10.0


@click.group(
    invoke_without_command=True,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  jupyter pipelines store info\n"
    "  jupyter pipelines store upgrade --store /srv/results\n"
    "  jupyter pipelines store move s3://team/churn",
)
@click.pass_context
def store(ctx: click.Context) -> None:
    """Say what a store holds, bring it to the newest format, or copy it to another address."""
    if ctx.invoked_subcommand is None:
        write(ctx.get_help())


def _subcommand(work: Callable[..., Any]) -> click.Command:
    return store.command(context_settings=CONTEXT)(_STORE(_JSON(work)))


@_subcommand
def info(*, store: str | None, as_document: bool) -> int:
    """Say what a store holds; nothing in it is changed, and none is made.

    The exit code is 0, and 2 when there is no store or a newer version of jupyter-pipelines is needed.
    """
    from jupyter_pipelines.project import store_upkeep

    summary = store_upkeep.describe(store)
    write(as_json(summary.to_dict()) if as_document else _summary_text(summary))
    # After the summary: it can be shown for a newer format, too.
    error = store_upkeep.newer_error(summary)
    report_faults(error.faults if error else ())
    return 2 if error else 0


@_subcommand
def upgrade(*, store: str | None, as_document: bool) -> None:
    """Bring a store to the newest format, in place; what it holds stays as it is."""
    from jupyter_pipelines.project import store_upkeep

    report = store_upkeep.upgrade(store)
    write(as_json(report.to_dict()) if as_document else _upgrade_text(report))


@_subcommand
@click.argument("destination")
@click.option("--remove", "removes", is_flag=True, help="Remove the source when all of it has arrived.")
def move(destination: str, *, store: str | None, removes: bool, as_document: bool) -> int:
    """Copy a store to DESTINATION, a folder or URL, with everything checked; calling it again goes on.

    The source stays, unless `--remove` is given. The exit code is 0 when all is at DESTINATION, and 1 when something
    was left out because it is damaged or not trusted.
    """
    from jupyter_pipelines.project import store_upkeep

    with _copy_progress(sys.stderr) as show:
        report = store_upkeep.move(store, destination, removes=removes, on_progress=show)
    write(as_json(report.to_dict()) if as_document else _copy_text(report))
    return 1 if report.left_out else 0


@contextlib.contextmanager
def _copy_progress(stream: TextIO) -> Iterator[Callable[[CopyReport], None]]:
    """Return a context manager with a callback for the progress of a copy: a bar on a terminal, else lines."""
    if not is_colourful(stream):
        yield _CopyLines(stream)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("copying", total=None)
        yield lambda report: bar.update(
            task, total=report.total, completed=report.seen, description=_progress_text(report)
        )


class _CopyLines:
    """Progress as a line every 10 seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = time.monotonic()

    def __call__(self, report: CopyReport) -> None:
        if time.monotonic() - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            write(f"[{report.seen}/{report.total}] {_progress_text(report)}", self._stream)


def _progress_text(report: CopyReport) -> str:
    from jupyter_pipelines.reporting.format import plural, size_in_words

    return f"{plural(report.artifacts, 'output')} copied, {size_in_words(report.bytes)}"


def _summary_text(summary: StoreSummary) -> str:
    from jupyter_pipelines.project.store_upkeep import COLLECT_AGE_DAYS, FORMAT
    from jupyter_pipelines.reporting.format import plural, size_in_words
    from jupyter_pipelines.reporting.sanitize import clean

    records = summary.records
    kinds = [
        (records.traced, "with traces"),
        (records.untraced, "without: their steps run once more"),
        (records.unreadable, "that cannot be read"),
    ]
    formats = [f"{count} of record format {schema}" for schema, count in records.schemas.items()]
    signers = [f"{count} {_SIGNERS[signer]}" for signer, count in records.signed.items()]
    rows = [
        ("store", f"{clean(summary.location.address, 300)}: {_KINDS[summary.location.kind]}"),
        ("database", "the team's, in JUPYTER_PIPELINES_INDEX" if summary.database else ""),
        ("format", _format_text(summary, FORMAT)),
        ("records", f"{records.files.count}, {size_in_words(records.files.bytes)}"),
        ("", ", ".join(f"{count} {words}" for count, words in kinds if count)),
        ("", ", ".join(formats)),
        ("signed", ", ".join(signers)),
        ("outputs", f"{summary.artifacts.count}, {size_in_words(summary.artifacts.bytes)}"),
        ("runs", f"{summary.runs.count}, {size_in_words(summary.runs.bytes)}"),
        ("leftovers", _leftovers_text(summary)),
        (
            "gc",
            f"would free {size_in_words(summary.collectable)} older than {plural(COLLECT_AGE_DAYS, 'day')}"
            if summary.collectable
            else "",
        ),
    ]
    return "\n".join(f"{name:<10} {text}" for name, text in rows if text)


def _format_text(summary: StoreSummary, newest: int) -> str:
    from jupyter_pipelines.reporting.sanitize import clean

    if summary.format is None:
        return "not marked: the next run marks it"
    state = "read and written by this version" if summary.writable else "only read here"
    if summary.is_newer:
        state = f"this version reads up to {newest}"
    elif summary.needs_upgrade:
        command = f"{COMMAND_LINE} store upgrade --store {shell_path(summary.location.address)}"
        state += f"; the newest is {newest}: `{command}`"
    return f"{summary.format}, written by {clean(summary.writer, 50)}; {state}"


def _leftovers_text(summary: StoreSummary) -> str:
    from jupyter_pipelines.reporting.format import plural, size_in_words

    parts = []
    if summary.temporary.count:
        parts.append(f"{plural(summary.temporary.count, 'temporary file')}, {size_in_words(summary.temporary.bytes)}")
    if summary.quarantined.count:
        parts.append(
            f"{plural(summary.quarantined.count, 'damaged file')} put aside, {size_in_words(summary.quarantined.bytes)}"
        )
    return "; ".join(parts)


def _upgrade_text(report: UpgradeReport) -> str:
    from jupyter_pipelines.project.store_upkeep import FORMAT
    from jupyter_pipelines.reporting.format import plural
    from jupyter_pipelines.reporting.sanitize import clean

    address, records = clean(report.store, 300), report.records
    if report.is_changed:
        before = "without a mark" if report.before is None else f"of format {report.before}"
        lines = [f"{address} was {before}, and is of format {FORMAT} now"]
    else:
        lines = [f"{address} is of format {FORMAT} already: nothing to do"]
    if records.untraced:
        lines.append(
            f"{plural(records.untraced, 'record')} of {records.files.count} without traces: their steps run once more"
        )
    if records.unreadable:
        command = f"{COMMAND_LINE} fsck NOTEBOOK --store {shell_path(report.store)}"
        lines.append(f"{plural(records.unreadable, 'record')} cannot be read: `{command}` says more")
    return "\n".join(lines)


def _copy_text(report: CopyReport) -> str:
    from jupyter_pipelines.reporting.format import plural, size_in_words
    from jupyter_pipelines.reporting.sanitize import clean

    there = f"{report.already} were there already, " if report.already else ""
    replaced = f"{report.replaced} took the place of others, " if report.replaced else ""
    outputs = f"{plural(report.artifacts, 'output')} ({size_in_words(report.bytes)})"
    lines = [
        f"{clean(report.source, 300)} -> {clean(report.destination, 300)}",
        f"{plural(report.copied, 'record')} copied, {there}{replaced}{outputs}, {plural(report.runs, 'run')}; checked",
    ]
    for words, records in (("left out", report.left_out), ("kept", report.kept)):
        lines += [
            clean(f"{words}: {record.step or 'a record'} {record.key[:12]}: {record.why}", 300)
            for record in records[:_MAX_LISTED]
        ]
        if len(records) > _MAX_LISTED:
            lines.append(f"... and {len(records) - _MAX_LISTED} more {words} (all of them: --json)")
    lines += [f"note: {clean(note, 300)}" for note in report.notes]
    lines.append("the source is removed" if report.removed else "the source is as it was")
    return "\n".join(lines)
