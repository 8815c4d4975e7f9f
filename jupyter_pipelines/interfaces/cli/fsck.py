"""The command ``fsck``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from jupyter_pipelines.interfaces.cli.command import CommandContext, command

if TYPE_CHECKING:
    from jupyter_pipelines.storage.maintenance.fsck import FsckReport

# A damaged disk may give thousands; all of them are in the JSON document.
_MAX_FINDINGS = 50
_WIDTH = 300


@command(examples="fsck churn.ipynb\nfsck churn.ipynb --repair\nfsck churn.ipynb --json")
@click.option("--repair", is_flag=True, help="Put aside what is wrong; it is computed again when needed.")
def fsck(desk: CommandContext, *, repair: bool) -> int:
    """Read every byte in the store of NOTEBOOK, and say what is not as it should be.

    Nothing has to be repaired for a run to be right: what is damaged is noticed and computed again wherever it is met.
    The exit code is 0 when all is well, else the sum of 1 (something is damaged), 2 (something may have been written
    by another user) and 4 (something cannot be checked here), without what has been repaired.
    """
    report = desk.project.examine(desk.home(), repair=repair)
    desk.answer(report.to_dict(), lambda: _report_text(report, repair))
    return report.code


def _report_text(report: FsckReport, repair: bool) -> str:
    from jupyter_pipelines.reporting.format import plural
    from jupyter_pipelines.reporting.sanitize import clean

    lines = [
        clean(
            f"{'repaired' if finding.repaired else finding.kind}: {finding.path or report.store}: {finding.why}", _WIDTH
        )
        for finding in report.findings[:_MAX_FINDINGS]
    ]
    if len(report.findings) > _MAX_FINDINGS:
        lines.append(f"... and {len(report.findings) - _MAX_FINDINGS} more (all of them: --json)")
    examined = f"{plural(report.blobs, 'output')}, {plural(report.records, 'record')} and {plural(report.runs, 'run')}"
    unrepaired = sum(not finding.repaired for finding in report.findings)
    lines.append(
        f"{examined} looked at: "
        + (f"{plural(unrepaired, 'thing')} wrong ({_counts_by_kind(report)})" if unrepaired else "all is well")
    )
    if unrepaired and not repair:
        lines.append("what is damaged is computed again when it is needed; `fsck --repair` puts it aside now")
    return "\n".join(lines)


def _counts_by_kind(report: FsckReport) -> str:
    """Return the number of unrepaired findings of each kind."""
    unrepaired = Counter(finding.kind for finding in report.findings if not finding.repaired)
    return ", ".join(f"{number} {kind}" for kind, number in unrepaired.items())
