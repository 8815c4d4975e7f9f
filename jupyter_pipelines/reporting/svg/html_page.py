"""A pipeline as a standalone HTML page: the picture, and its contents as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.pipeline.artifacts import FileSource, Input, Output, UrlSource
from jupyter_pipelines.reporting.format import in_words
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import StepStatus, style_of
from jupyter_pipelines.reporting.svg.svg import GraphHeading, draw
from jupyter_pipelines.reporting.text import detail

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.parameters import Parameter
    from jupyter_pipelines.pipeline.step import Step

_STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#57606a;--rim:#d0d7de;--page:#fff;--head:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--ink:#f0f6fc;--soft:#a0a8b1;--rim:#3d444d;--page:#0d1117;--head:#161b22}}
body{margin:2rem auto;max-width:90rem;padding:0 1.5rem;background:var(--page);color:var(--ink);
font:15px/1.5 -apple-system,BlinkMacSystemFont,"Segoe UI","Noto Sans",Helvetica,Arial,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.25rem 0 1.25rem;color:var(--soft)}
.graph,.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem;border-bottom:1px solid var(--rim)}
th{font-weight:600;background:var(--head);white-space:nowrap}code{font:13px ui-monospace,Menlo,Consolas,monospace}
td small,td span{color:var(--soft)}.number{text-align:right;white-space:nowrap}
"""
# Nothing may be loaded or executed, whatever names of other users contain: a second barrier behind the escaping.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write_page(
    pipeline: Pipeline,
    statuses: Mapping[str, StepStatus] | None = None,
    *,
    heading: GraphHeading | None = None,
    values: Mapping[str, Any] | None = None,
) -> str:
    """Return a pipeline as HTML.

    Parameters
    ----------
    pipeline : Pipeline
        What to show.
    statuses : Mapping of str to StepStatus or None
        What to say of its steps, by name.
    heading : GraphHeading or None
        What to write above it; by default the notebook's name.
    values : Mapping or None
        Values of the parameters; by default their defaults.
    """
    heading = heading or GraphHeading(title=pipeline.name)
    title, summary = escape(clean(heading.title)), escape(clean(heading.summary))
    body = [
        f"<h1>{title}</h1><p>{summary or escape(_counted(pipeline))}</p>",
        f'<div class="graph">{draw(pipeline, statuses, heading=GraphHeading(title=""))}</div>',
        _steps(pipeline, statuses or {}),
        _parameters(pipeline, values or {}),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _counted(pipeline: Pipeline) -> str:
    return f"{len(pipeline.steps)} steps, {len(pipeline.parameters)} parameters"


def _steps(pipeline: Pipeline, statuses: Mapping[str, StepStatus]) -> str:
    heads = ["step", "state", "why", "took", "takes", "makes", "parameters", "cells"]
    rows = (list(_step(pipeline[name], statuses.get(name))) for name in pipeline.order())
    return f"<h2>Steps</h2>{_table(heads, rows, numbers={3})}"


def _step(step: Step, status: StepStatus | None) -> Iterator[str]:
    yield f"<b>{escape(clean(step.name))}</b>"
    yield from _status_cells(status)
    yield _section_cell(step, "inputs", map(_input, step.inputs))
    yield _section_cell(step, "outputs", map(_output, step.outputs))
    yield _section_cell(step, "parameters", map(_code, step.parameters))
    yield escape(", ".join(str(cell.number) for cell in step.cells))


def _status_cells(status: StepStatus | None) -> Iterator[str]:
    if status is None:
        yield from ("", "", "")
        return
    notes = "".join(f"<br><small>{escape(clean(note))}</small>" for note in status.notes[:8])
    yield escape(f"{style_of(status.state).sign} {style_of(status.state).word}")
    yield escape(clean(detail(status), 1000)) + notes
    yield escape(in_words(status.seconds)) if status.seconds is not None else ""


def _section_cell(step: Step, section: str, items: Iterable[str]) -> str:
    names = " ".join(items)
    return f"{names} <small>inferred</small>" if names and section in step.inferred else names


def _input(step_input: Input) -> str:
    source = (
        ""
        if str(step_input.source).rpartition(".")[2] == step_input.name
        else f" <span>from {escape(clean(step_input.source))}</span>"
    )
    is_file, is_url = (isinstance(step_input.source, kind) for kind in (FileSource, UrlSource))
    kind = " <span>(file)</span>" if is_file else " <span>(URL)</span>" if is_url else ""
    return _code(step_input.name) + source + kind + (" <span>(optional)</span>" if step_input.optional else "")


def _output(output: Output) -> str:
    kind = output.format or (output.kind if output.kind != "value" else "")
    return _code(output.name) + (f" <span>({escape(clean(kind))})</span>" if kind else "")


def _code(text: object) -> str:
    return f"<code>{escape(clean(text))}</code>"


def _parameters(pipeline: Pipeline, values: Mapping[str, Any]) -> str:
    if not pipeline.parameters:
        return ""
    rows = ([_code(parameter.name), _value(parameter, values), *_about(parameter)] for parameter in pipeline.parameters)
    return f"<h2>Parameters</h2>{_table(['name', 'value', 'takes', 'meaning'], rows)}"


def _value(parameter: Parameter, values: Mapping[str, Any]) -> str:
    if parameter.name in values:
        return _code(repr(values[parameter.name]))
    return (
        "<span>to be given</span>" if parameter.required else f"{_code(repr(parameter.default))} <small>default</small>"
    )


def _about(parameter: Parameter) -> Iterator[str]:
    limits = ", ".join(f"{name} {bound}" for name, bound in parameter.limits.items())
    yield escape(clean(parameter.expected() + (f" ({limits})" if limits else "")))
    yield escape(clean(parameter.description, 500))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Return a table; its cells are HTML already, and columns in which nothing stands are left out."""
    filled = list(rows)
    visible = [column for column in range(len(heads)) if any(row[column] for row in filled)]
    marks = {column: ' class="number"' if column in set(numbers) else "" for column in visible}
    head = "".join(f'<th scope="col"{marks[column]}>{heads[column]}</th>' for column in visible)
    lines = ("".join(f"<td{marks[column]}>{row[column]}</td>" for column in visible) for row in filled)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'
