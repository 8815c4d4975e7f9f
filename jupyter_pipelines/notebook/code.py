"""The Python in a cell, with IPython's own syntax taken out, line by line."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

from jupyter_pipelines.errors import Fault, Place
from jupyter_pipelines.notebook.layout import PYTHON_MAGICS

_CELL_MAGIC = re.compile(r"\s*%%(\w[\w.]*)")
_ASSIGNED = re.compile(r"(?P<targets>[ \t]*[\w.,\s\[\]*]+?)=[ \t]*(?P<magic>[%!].*)$")
_LINE = re.compile(r"(?P<indent>[ \t]*)(?P<magic>(?:%|!|\?|,|;|/).*|.*\?{1,2})\s*$")
_TIMED = re.compile(r"%(?:time|timeit|prun|memit)\b(?:\s+-\S+)*\s+(?P<statement>\S.*)$")
# Magics that change only what is shown; whatever they do, results stay what they are.
HARMLESS = frozenset(
    "matplotlib config load_ext reload_ext autoreload time timeit prun memit who whos pdoc pinfo pinfo2 psource page "
    "precision pprint xmode colors history notebook pylab_inline qtconsole pip conda uv".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What Python sees of a cell.

    Parameters
    ----------
    tree : ast.Module or None
        None when it cannot be parsed.
    source : str
        The Python text, with as many lines as the cell's body.
    magics : tuple of str
        What is not Python, verbatim.
    unknown : tuple of str
        What of it may do anything, one sentence each.
    opaque : str or None
        Name of the cell magic when the whole cell is in another language.
    fault : Fault or None
        Why it cannot be parsed.
    """

    tree: ast.Module | None
    source: str
    magics: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    opaque: str | None = None
    fault: Fault | None = None


def parse_code(body: str, number: int = 0, offset: int = 0) -> Code:
    """Parse the body of a cell.

    Parameters
    ----------
    body : str
        What a kernel would run.
    number : int
        The cell's number, for the place of a fault.
    offset : int
        Lines that the cell has above `body`.
    """
    code = _parse(body)
    if code.fault is None or code.fault.place is None:
        return code
    place = code.fault.place
    moved = Place(cell=number, line=place.line + offset, column=place.column, length=place.length, text=place.text)
    fault = Fault(code=code.fault.code, message=code.fault.message, suggestion=code.fault.suggestion, place=moved)
    return Code(tree=None, source=code.source, magics=code.magics, unknown=code.unknown, fault=fault)


@lru_cache(maxsize=8192)
def _parse(body: str) -> Code:
    lines = body.split("\n")
    magics: list[str] = []
    for at, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _CELL_MAGIC.match(line)
        if found is None:
            break
        if found.group(1) not in PYTHON_MAGICS:
            return _opaque(body, found.group(1))
        magics.append(line.strip())
        lines[at] = ""
    return _python(lines, magics)


def _opaque(body: str, name: str) -> Code:
    sentence = f"`%%{name}` is not Python: what it reads and changes cannot be seen"
    return Code(tree=ast.Module(body=[], type_ignores=[]), source="", magics=(body,), unknown=(sentence,), opaque=name)


def _python(lines: list[str], magics: list[str]) -> Code:
    lines = _dedented(lines)
    unknown: list[str] = []
    while True:
        source = "\n".join(lines)
        try:
            return Code(tree=_tree(source), source=source, magics=tuple(magics), unknown=tuple(unknown))
        except (SyntaxError, ValueError) as error:
            at = _replaceable(lines, error)
            if at is None:
                fault = _syntax(error, lines)
                return Code(tree=None, source=source, magics=tuple(magics), unknown=tuple(unknown), fault=fault)
        text = lines[at].strip()
        magics.append(text)
        lines[at], end = _replacement(lines[at]), at
        while text.endswith("\\") and end + 1 < len(lines):
            end += 1
            text = lines[end].strip()
            magics.append(text)
            lines[end] = ""
        unknown += _meaning(magics[-1 - (end - at)])


def _tree(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and the like are shown by the kernel that runs the cell
        return ast.parse(source)


def _dedented(lines: list[str]) -> list[str]:
    """Take away the indent of the first line of code, as IPython does."""
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    indent = first[: len(first) - len(first.lstrip())]
    return [line.removeprefix(indent) for line in lines] if indent else lines


def _replaceable(lines: list[str], error: SyntaxError | ValueError) -> int | None:
    """Return the line that is IPython's and not Python's, or None."""
    at = (getattr(error, "lineno", None) or 0) - 1
    # Python sometimes finds out one line late: after a block that has only a magic in it, for instance.
    for candidate in (at, at - 1):
        if 0 <= candidate < len(lines) and _is_ipython(lines[candidate]):
            return candidate
    return None


def _is_ipython(line: str) -> bool:
    text = line.strip()
    if not text or text.startswith("#"):
        return False
    if text[0] in "%!?" or (text.endswith("?") and not text.endswith("#?")):
        return True
    return _ASSIGNED.match(line) is not None


def _replacement(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    timed = _TIMED.match(line.strip())
    if timed:
        return indent + timed.group("statement")
    assigned = _ASSIGNED.match(line)
    if assigned and line.strip()[0] not in "%!?":
        return f"{assigned.group('targets')}= None"
    return f"{indent}pass"


def _meaning(magic: str) -> list[str]:
    """Return what cannot be known because of a line."""
    assigned = _ASSIGNED.match(magic)
    text = assigned.group("magic") if assigned and magic[0] not in "%!?" else magic
    if text.startswith("?") or text.endswith("?"):
        return []
    if text.startswith("!"):
        return [f"`{_short(text)}` is a shell command: what it reads and changes cannot be seen"]
    name = re.match(r"%{1,2}(\w+)", text)
    if name and name.group(1) in HARMLESS and not assigned:
        return []
    return [f"`{_short(text)}` is a magic: what it reads and changes cannot be seen"]


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _syntax(error: SyntaxError | ValueError, lines: list[str]) -> Fault:
    line = getattr(error, "lineno", None) or 1
    column = max((getattr(error, "offset", None) or 1) - 1, 0)
    text = lines[line - 1] if line <= len(lines) else ""
    place = Place(cell=0, line=line, column=min(column, len(text)), length=1, text=text)
    return Fault(
        code="JP107",
        message=f"the code cannot be parsed: {getattr(error, 'msg', None) or error}",
        suggestion="correct the line; Python stopped reading at the caret",
        place=place,
    )
