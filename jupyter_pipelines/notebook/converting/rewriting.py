"""Cells that a step cannot hold as they are: other languages, and errors that their author shows on purpose."""

from __future__ import annotations

import ast

from jupyter_pipelines.notebook.code import parse_code
from jupyter_pipelines.notebook.converting.survey import Unit

_SHOWN = {"html": "HTML", "HTML": "HTML", "latex": "Latex", "markdown": "Markdown", "svg": "SVG", "SVG": "SVG",
          "javascript": "Javascript", "js": "Javascript"}  # fmt: skip

_ON_PURPOSE = "the notebook shows this error on purpose"


def text_of(unit: Unit, *, raises: bool) -> str:
    """Return what is left of a cell as a step can hold it.

    Parameters
    ----------
    unit : Unit
        The cell.
    raises : bool
        It ends with an exception, which is part of what the notebook shows.
    """
    text = "\n".join(chunk.text for chunk in unit.rest).strip("\n")
    if unit.cut.code.opaque:
        return _other_language(text)
    if unit.cut.code.fault is not None:
        return f"get_ipython().run_cell({_quoted(text)});  # {_ON_PURPOSE}"
    return _shielded(text) if raises else text


def _other_language(text: str) -> str:
    lines = text.split("\n")
    at = next(number for number, line in enumerate(lines) if line.strip().startswith("%%"))
    name, _, rest = lines[at].strip()[2:].partition(" ")
    body = "\n".join(lines[at + 1 :])
    if name in _SHOWN and not rest.strip():
        kind = _SHOWN[name]
        return f"from IPython.display import {kind}, display\n\ndisplay({kind}({_quoted(body + chr(10))}))"
    return f"get_ipython().run_cell_magic({name!r}, {rest.strip()!r}, {_quoted(body + chr(10))})"


def _quoted(text: str) -> str:
    """Return a literal for a text of several lines that a person can read."""
    if '"""' in text or "\\" in text or text.endswith('"'):
        return (
            repr(text)
            if "\n" not in text
            else "(\n" + "".join(f"    {line!r}\n" for line in text.splitlines(True)) + ")"
        )
    return f'"""{text}"""' if "\n" in text else repr(text)


def _shielded(text: str) -> str:
    kept = _inside_texts(text)
    lines = enumerate(text.split("\n"), start=1)
    body = "\n".join(line if number in kept or not line.strip() else f"    {line}" for number, line in lines)
    return f"try:\n{body}\nexcept BaseException:  # {_ON_PURPOSE}\n    get_ipython().showtraceback()"


def _inside_texts(text: str) -> set[int]:
    """Return the lines that begin inside a literal of several lines: in front of them, a space would count."""
    tree = parse_code(text).tree
    found: set[int] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Constant | ast.JoinedStr):
            found |= set(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return found
