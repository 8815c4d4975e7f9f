"""The command ``fsck``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from jupyter_pipelines.interfaces.desk import Desk, command

if TYPE_CHECKING:
    from jupyter_pipelines.storing.examining import Examined

_SHOWN = 50
_WIDTH = 300


@command(examples="fsck churn.ipynb\nfsck churn.ipynb --repair\nfsck churn.ipynb --json")
@click.option("--repair", is_flag=True, help="Put aside what is wrong; it is computed again when needed.")
def fsck(desk: Desk, *, repair: bool) -> int:
    """Read every byte in the store of NOTEBOOK, and say what is not as it should be.

    Nothing has to be repaired for a run to be right: what is damaged is noticed and computed again wherever it is met.
    The exit code is 0 when all is well, else the sum of 1 (something is damaged), 2 (something may have been written
    by somebody else) and 4 (something cannot be checked here), without what has been repaired.
    """
    found = desk.project.examine(desk.home(), repair=repair)
    desk.answer(found.to_dict(), lambda: _told(found, repair))
    return found.code


def _told(found: Examined, repair: bool) -> str:
    from jupyter_pipelines.reporting.visible import clean
    from jupyter_pipelines.reporting.wording import plural

    lines = [
        clean(f"{'repaired' if one.repaired else one.kind}: {one.path or found.store}: {one.why}", _WIDTH)
        for one in found.findings[:_SHOWN]
    ]
    if len(found.findings) > _SHOWN:
        lines.append(f"... and {len(found.findings) - _SHOWN} more (all of them: --json)")
    looked = f"{plural(found.blobs, 'output')}, {plural(found.records, 'record')} and {plural(found.runs, 'run')}"
    left = sum(not one.repaired for one in found.findings)
    lines.append(
        f"{looked} looked at: " + (f"{plural(left, 'thing')} wrong ({_kinds(found)})" if left else "all is well")
    )
    if left and not repair:
        lines.append("what is damaged is computed again when it is needed; `fsck --repair` puts it aside now")
    return "\n".join(lines)


def _kinds(found: Examined) -> str:
    """Return how many things are wrong in which way."""
    left = Counter(one.kind for one in found.findings if not one.repaired)
    return ", ".join(f"{number} {kind}" for kind, number in left.items())
