"""Lines that are IPython's and not Python's: ``%magic``, ``!command``, ``name?``.

They are found as IPython finds them: at the beginning of a logical line, so that nothing inside a string or a bracket
is taken for such a line. Each is replaced by Python that reads and binds the same names, and keeps its line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from jupyter_pipelines.notebook.headers.cell_layout import PYTHON_MAGICS

# Magics that change what is shown, timed or reported, never what a step makes.
HARMLESS_MAGICS = frozenset(
    "autoawait autocall automagic autoreload autosave cat colors config connect_info debug dhist doctest_mode env gui "
    "hist history less load_ext logoff logon logstart logstate logstop ls lsmagic magic man matplotlib more notebook "
    "page pdb pdef pdoc pfile pinfo pinfo2 pipeline pprint precision psearch psource pwd pycat qtconsole quickref "
    "reload_ext set_env tb unload_ext watermark who who_ls whos xmode".split()
)
_TIMED = frozenset({"time", "timeit", "prun", "memit", "lprun", "mprun"})
# IPython takes these for magics without `%`, too (automagic).
_WITHOUT_PERCENT = frozenset("pip conda mamba uv ls cd cat cp mv rm mkdir rmdir less man".split())

_SPACE = re.compile(r"[ \t\f]*")
_CELL_MAGIC = re.compile(r"[ \t\f]*%%(\w[\w.]*)[ \t]*(.*)")
_ASSIGNED = re.compile(
    r"(?P<target>[\w\x80-\U0010ffff.,\s\[\]*()]+?=[ \t]*)(?P<escape>%{1,2}(?![\d\s=])\w.*|!.*)", re.DOTALL
)
_MAGIC_NAME = re.compile(r"%{1,2}([\w.]+)[ \t]*")
_HELP = re.compile(r"%{0,2}(?!\d)[\w*][\w.*\[\]'\"]*\?{1,2}[ \t]*;?[ \t]*(#.*)?")
_AUTOMATIC = re.compile(r"(\w+)[ \t]+(?![=(.\[,:]|in\b|is\b|and\b|or\b|if\b)\S")
_EXPANDED = re.compile(r"(?<!\$)\$(\w+)|\{([^{}]+)\}")
RUNS_PROGRAM = "runs a program; what it reads and changes is not known"
"""Ends the sentence on a shell line."""
_OPTIONS = re.compile(r"(?:-(?:[nrpit][ \t]*\d+|[slTDfm][ \t]*\S+|\w+)(?:[ \t]+|$))*")
_PIECE = re.compile(
    r"""(?P<comment>\#.*)
      | (?P<long>\"{3}|'{3})
      | (?P<short>"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?)
      | (?P<open>[(\[{]) | (?P<close>[)\]}])
      | [^\#"'()\[\]{}]+""",
    re.VERBOSE,
)
_ENDS = {quote: re.compile(rf"(?:\\.|[^\\])*?{quote}") for quote in ('"""', "'''")}


@dataclass(slots=True)
class TranslatedCell:
    """The Python text of a cell, and the lines of IPython's own that it had.

    Parameters
    ----------
    lines : list of str
        Python, as many lines as before.
    magics : list of str
        Lines of IPython's own that may affect results, verbatim.
    unknown : list of str
        What cannot be determined because of them, a sentence for each.
    opaque : str or None
        Name of the cell magic when the cell is in another language.
    timed : bool
        The cell runs inside a function that ``%%timeit`` makes: what it binds is lost.
    """

    lines: list[str]
    magics: list[str]
    unknown: list[str]
    opaque: str | None = None
    timed: bool = False


def translate_cell_magics(lines: list[str]) -> TranslatedCell:
    """Replace cell magics at the top of a cell; all other lines stay as they are."""
    translated = TranslatedCell(list(lines), [], [])
    for index, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _CELL_MAGIC.match(line)
        if match is None:
            break
        if match[1] not in PYTHON_MAGICS:
            translated.opaque = match[1]
            break
        translated.lines[index] = _translate_cell_magic(match[1], match[2].strip(), translated)
    return translated


def _translate_cell_magic(name: str, arguments: str, translated: TranslatedCell) -> str:
    """Return the Python that stands for a cell magic whose cell is Python."""
    if name == "timeit":
        translated.timed = True
        translated.magics.append(f"%%{name} {arguments}".rstrip())
        return _OPTIONS.sub("", arguments, count=1).strip()
    words = [word for word in arguments.split() if not word.startswith("-")]
    if name == "capture" and words and words[0].isidentifier():
        translated.magics.append(f"%%{name} {arguments}")
        return f"{words[0]} = ..."
    return f"# %%{name}"


def replace_escapes(translated: TranslatedCell) -> bool:
    """Replace IPython's lines in `translated` by Python, and return whether there were any."""
    lines = translated.lines
    before = len(translated.magics) + len(translated.unknown)
    changed = False
    # All starts before the first replacement, which changes the lines that the scanner reads.
    for index in list(_logical_starts(lines)):
        if _is_escape(lines[index]):
            changed = True
            _replace(translated, index)
    return changed or len(translated.magics) + len(translated.unknown) > before or _replace_only_line(translated)


def _logical_starts(lines: list[str]) -> Iterator[int]:
    """Yield the lines at which a logical line begins; lines that are IPython's are not looked into."""
    scanner = _LogicalLineScanner()
    for index, line in enumerate(lines):
        if scanner.between:
            yield index
            if _is_escape(line):
                scanner.continued = line.rstrip().endswith("\\")
                scanner.escaped = scanner.continued
                continue
        scanner.read(line)


class _LogicalLineScanner:
    """Tracks, line by line, whether a string or bracket is open."""

    def __init__(self) -> None:
        self.depth = 0
        self.quote = ""
        self.continued = False
        self.escaped = False

    @property
    def between(self) -> bool:
        """Whether the next line begins a logical line."""
        return not (self.depth or self.quote or self.continued)

    def read(self, line: str) -> None:
        """Read the next line."""
        position = 0
        if not self.escaped:
            while position < len(line):
                position = self._in_string(line, position) if self.quote else self._piece(line, position)
        self.continued = not self.quote and line.endswith("\\")
        self.escaped = self.escaped and self.continued

    def _in_string(self, line: str, position: int) -> int:
        end = _ENDS[self.quote].match(line, position)
        if end is None:
            return len(line)
        self.quote = ""
        return end.end()

    def _piece(self, line: str, position: int) -> int:
        match = _PIECE.match(line, position)
        if match is None:
            return len(line)
        if match.lastgroup == "long":
            self.quote = match[0]
        elif match.lastgroup == "open":
            self.depth += 1
        elif match.lastgroup == "close":
            self.depth = max(self.depth - 1, 0)
        return match.end()


def _is_escape(line: str) -> bool:
    text = line.strip()
    if not text or text[0] == "#":
        return False
    # `,` and `;` quote arguments and `/` calls a function, at the beginning of a line.
    if text[0] in "%!?,;/":
        return True
    if text.partition("#")[0].rstrip(" \t;").endswith("?") and _HELP.fullmatch(text):
        return True
    return _ASSIGNED.fullmatch(text) is not None


def _replace(translated: TranslatedCell, start: int) -> None:
    """Replace the escape that begins in line `start`, continuation lines included."""
    lines = translated.lines
    indent = _SPACE.match(lines[start])[0]  # type: ignore[index]
    end = start
    while lines[end].rstrip().endswith("\\") and end + 1 < len(lines):
        end += 1
    command = " ".join(line.strip().rstrip("\\").rstrip() for line in lines[start : end + 1]).strip()
    lines[start] = indent + _translate_escape(command, translated)
    # Blank lines keep the numbers of the lines below.
    lines[start + 1 : end + 1] = [""] * (end - start)


def _replace_only_line(translated: TranslatedCell) -> bool:
    """Replace ``pip install x`` and the like, which IPython takes for a magic if a cell has no other line."""
    code_lines = [
        index for index, line in enumerate(translated.lines) if line.strip() and not line.lstrip().startswith("#")
    ]
    match = _AUTOMATIC.match(translated.lines[code_lines[0]].strip()) if len(code_lines) == 1 else None
    if match is None or match[1] not in _WITHOUT_PERCENT:
        return False
    translated.lines[code_lines[0]] = _translate_escape(f"%{translated.lines[code_lines[0]].strip()}", translated)
    return True


def _translate_escape(text: str, translated: TranslatedCell) -> str:
    """Return the Python that stands for a line of IPython's own, and record what it may do."""
    assigned = _ASSIGNED.fullmatch(text) if text[0] not in "%!?,;/" else None
    escape = assigned["escape"] if assigned else text
    target = assigned["target"] if assigned else ""
    if text[0] == "?" or (not assigned and text.partition("#")[0].rstrip(" \t;").endswith("?")):
        return "pass"
    name = _magic_name(escape)
    if name in _TIMED:
        return _translate_timing_magic(escape, name, target, translated)
    translated.magics.append(text)
    if name == "run" and not assigned and escape.startswith("%"):
        return _run_call(escape)
    if name not in HARMLESS_MAGICS or (assigned and name not in ("env", "pwd")):
        translated.unknown.append(_sentence(escape))
    return target + (_expanded(escape) or "...") if target else _expanded(escape) or "pass"


def _magic_name(escape: str) -> str:
    match = _MAGIC_NAME.match(escape)
    return match[1] if match else ""


def _translate_timing_magic(escape: str, name: str, target: str, translated: TranslatedCell) -> str:
    """Return the statement that a magic measures; names that ``%timeit`` binds are local to it."""
    arguments = _MAGIC_NAME.sub("", escape, count=1)
    statement = arguments if name == "time" else _OPTIONS.sub("", arguments, count=1)
    statement = statement.rstrip(" ;")
    if not statement or not _parses(statement):
        return f"{target}..." if target else "pass"
    if name in ("time", "prun"):
        return target + statement
    translated.magics.append(escape)
    # `%timeit` runs the statement in a function of its own.
    if not target and not _parses(statement, "eval"):
        return f"def _timed_(): {statement}"
    return f"{target}({statement},)" if _parses(statement, "eval") else f"{target}..."


def _run_call(escape: str) -> str:
    """Return the call that ``%run`` stands for, with the Python expressions in its text as further arguments."""
    taken = _expanded(escape)
    text = repr(_MAGIC_NAME.sub("", escape, count=1))
    return f"get_ipython().run_line_magic('run', {text}{', ' if taken else ''}{taken})"


def _expanded(escape: str) -> str:
    """Return the Python expressions that IPython expands in a line (``{name}``, ``$name``) as a tuple, or nothing."""
    parts = [match[1] or match[2] for match in _EXPANDED.finditer(escape)]
    kept = [part.strip() for part in parts if _parses(part.strip(), "eval")]
    return f"({', '.join(kept)},)" if kept else ""


def _parses(text: str, mode: str = "exec") -> bool:
    try:
        ast.parse(text, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _sentence(escape: str) -> str:
    shown = escape if len(escape) <= 50 else escape[:49] + "…"
    if escape[0] == "!":
        return f"`{shown}` {RUNS_PROGRAM}"
    return f"`{shown}` is IPython's own; what it reads, changes and binds is not known"
