"""Cells that a step cannot hold as they are: other languages, and errors that the notebook shows on purpose."""

from __future__ import annotations

import ast
import re

from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.converting.cell_survey import SurveyedCell

_SHOWN = {"html": "HTML", "HTML": "HTML", "latex": "Latex", "markdown": "Markdown", "svg": "SVG", "SVG": "SVG",
          "javascript": "Javascript", "js": "Javascript"}  # fmt: skip

RESET = re.compile(r"^([ \t]*)(%reset\b.*|get_ipython\(\)\.(?:run_line_)?magic\(\s*['\"]%?reset\b.*)$", re.MULTILINE)
"""Lines that reset the namespace."""

_ON_PURPOSE = "the notebook shows this error on purpose"


def text_of(unit: SurveyedCell, *, raises: bool) -> str:
    """Return what remains of a cell for a step, rewritten so that a step can hold it.

    Parameters
    ----------
    unit : SurveyedCell
        The cell.
    raises : bool
        It ends with an exception, which is part of what the notebook shows.
    """
    text = _without_shown_value(unit, "\n".join(chunk.text for chunk in unit.rest).strip("\n"))
    text = RESET.sub(r"\1# \2: a step begins with nothing", text)
    if unit.cut.code.opaque:
        return _other_language(text)
    # As code of a step it could not be parsed; IPython reports the same error again.
    if unit.cut.code.fault is not None:
        return f"get_ipython().run_cell({_quoted(text)});  # {_ON_PURPOSE}"
    return _wrapped_in_try(text) if raises else text


def _without_shown_value(unit: SurveyedCell, text: str) -> str:
    """Return the text with a `;` after a value that would be shown only because the code after it has been moved."""
    last = next((chunk for chunk in reversed(unit.cut.chunks) if chunk.body), None)
    remaining = [chunk for chunk in unit.rest if chunk.body]
    if last is None or last in remaining or not remaining or not isinstance(remaining[-1].body[-1], ast.Expr):
        return text
    tree = parse_code(text).tree
    lines = text.split("\n")
    node = tree.body[-1] if tree and tree.body else None
    if isinstance(node, ast.Expr) and node.end_lineno is not None:
        # `end_col_offset` counts bytes.
        line = lines[node.end_lineno - 1].encode()
        lines[node.end_lineno - 1] = (line[: node.end_col_offset] + b";" + line[node.end_col_offset :]).decode()
    return "\n".join(lines)


def _other_language(text: str) -> str:
    lines = text.split("\n")
    index = next(number for number, line in enumerate(lines) if line.strip().startswith("%%"))
    name, _, arguments = lines[index].strip()[2:].partition(" ")
    body = "\n".join(lines[index + 1 :])
    if name in _SHOWN and not arguments.strip():
        kind = _SHOWN[name]
        return f"from IPython.display import {kind}, display\n\ndisplay({kind}({_quoted(body + chr(10))}))"
    return f"get_ipython().run_cell_magic({name!r}, {arguments.strip()!r}, {_quoted(body + chr(10))})"


def _quoted(text: str) -> str:
    """Return a literal for a text, over several lines if it has several."""
    if '"""' in text or "\\" in text or text.endswith('"'):
        return (
            repr(text)
            if "\n" not in text
            else "(\n" + "".join(f"    {line!r}\n" for line in text.splitlines(True)) + ")"
        )
    return f'"""{text}"""' if "\n" in text else repr(text)


def _wrapped_in_try(text: str) -> str:
    kept = _inside_texts(text)
    lines = enumerate(text.split("\n"), start=1)
    body = "\n".join(line if number in kept or not line.strip() else f"    {line}" for number, line in lines)
    return f"try:\n{body}\nexcept BaseException:  # {_ON_PURPOSE}\n    get_ipython().showtraceback()"


def _inside_texts(text: str) -> set[int]:
    """Return the lines that begin inside a literal of several lines, where an indent would be part of the text."""
    tree = parse_code(text).tree
    lines: set[int] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Constant | ast.JoinedStr):
            lines |= set(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return lines
