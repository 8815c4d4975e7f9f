"""HTML page with original and pipeline side by side, a row for each cell of the original."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from jupyter_pipelines.notebook.converting.conversion_types import ConvertedNotebook
from jupyter_pipelines.notebook.step_notebook import NAMESPACE
from jupyter_pipelines.verification.results import CellResult, VerificationResult

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
td, th { vertical-align: top; border-top: 1px solid #ddd; padding: .5rem; text-align: left; }
th:first-child, td:first-child { width: 7rem; color: #666; }
pre { margin: 0 0 .5rem; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.4 ui-monospace, monospace; }
pre.step { border-left: 3px solid #2a7; padding-left: .6rem; }
pre.shared, pre.setup, pre.parameters { border-left: 3px solid #57c; padding-left: .6rem; }
pre.added { border-left: 3px solid #ca4; padding-left: .6rem; }
span.step, span.shared, span.added { border-left: 3px solid; padding: 0 1rem 0 .4rem; color: #666; }
span.step { border-color: #2a7; } span.shared { border-color: #57c; } span.added { border-color: #ca4; }
.differs { background: #fde8e6; } .unstable, .cut { background: #fdf6e0; }
@media (prefers-color-scheme: dark) { body { background: #1b1b1b; color: #ddd; } td, th { border-color: #444; }
.differs { background: #4a2320; } .unstable, .cut { background: #453b1c; } }
"""

_LEGEND = (
    '<p><span class="step">step</span><span class="shared">parameters, shared code, setup</span>'
    '<span class="added">added</span></p>'
)


def side_by_side(result: VerificationResult, notebook: Path) -> str:
    """Return the page of a conversion."""
    rows = "".join(_rows(result, result.conversion)) if result.conversion else ""
    title = escape(notebook.name)
    head = f'<meta charset="utf-8"><title>{title} as a pipeline</title><style>{_STYLE}</style>'
    columns = "<tr><th>cell</th><th>original</th><th>pipeline</th></tr>"
    summary = f"<h1>{title}</h1><p><strong>{escape(result.verdict)}</strong></p>{_why(result)}"
    body = f"{summary}{_LEGEND}<table>{columns}{rows}</table>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _why(result: VerificationResult) -> str:
    steps = result.conversion.steps if result.conversion else ()
    reasons = [f"{step.name}: {why}" for step in steps for why in step.why] + list(result.joined)
    reasons += [f"{step.name}: --no-cache: {step.uncached}" for step in steps if step.uncached]
    reasons += [fault.message for fault in result.faults]
    return (
        "<ul>" + "".join(f"<li>{escape(reason)}</li>" for reason in dict.fromkeys(reasons)) + "</ul>" if reasons else ""
    )


def _rows(result: VerificationResult, conversion: ConvertedNotebook) -> Iterator[str]:
    states = {cell.cell: cell for cell in result.cells}
    waiting: list[dict[str, Any]] = []
    cells = list(conversion.notebook["cells"])
    for original in result.original.cells if result.original else ():
        # Cells of the pipeline without an origin (parameters, setup) are shown in front of the cell that follows them.
        while cells and cells[0]["metadata"][NAMESPACE]["origin"] in (None, original.number):
            waiting.append(cells.pop(0))
        yield _row(original.number, original.source, waiting, states.get(original.number))
        waiting = []
    if cells:
        yield _row(0, "", cells, None)


def _row(number: int, source: str, cells: list[dict[str, Any]], state: CellResult | None) -> str:
    label = f"{number or ''} {state.state if state else ''}".strip()
    after = "".join(_cell(cell) for cell in cells)
    shown = f"<p>shows:</p><pre>{escape(state.before)}</pre>" if state and state.state == "differs" else ""
    other = f"<p>shows:</p><pre>{escape(state.after)}</pre>" if state and state.state == "differs" else ""
    kind = state.state if state else ""
    return f'<tr class="{kind}"><td>{label}</td><td><pre>{escape(source)}</pre>{shown}</td><td>{after}{other}</td></tr>'


def _cell(cell: dict[str, Any]) -> str:
    return f'<pre class="{cell["metadata"][NAMESPACE]["role"]}">{escape(cell["source"])}</pre>'
