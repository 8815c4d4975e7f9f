"""Roles of the lines at the top of a cell (header, magic, comment), and headers where they are not allowed.

The top consists of blank lines, comments, ``#|`` lines, headers with their continuation lines, and cell magics. It ends
before the first other line, or after a magic whose cell is not Python.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from jupyter_pipelines.errors import Diagnostic, SourceLocation, closest_name
from jupyter_pipelines.notebook.headers.lexer import HeaderLine, HeaderToken, SourceLine, lines_of, read_words
from jupyter_pipelines.notebook.headers.options import BY_KEY, FOREIGN, FOREIGN_PREFIXES, KINDS, Kind

Role = Literal["plain", "header", "option", "magic", "opaque"]
Form = Literal["magic", "comment", "tags"]

MAGICS: frozenset[Role] = frozenset({"magic", "opaque"})

# Magics that run the rest of their cell as Python in the user's namespace.
PYTHON_MAGICS = frozenset({"time", "timeit", "capture", "prun"})
# Magics whose cell is a text, which may contain headers as an example.
TEXT_MAGICS = frozenset({"writefile", "file", "html", "markdown", "latex", "svg", "javascript", "js", "HTML", "SVG"})

# A byte order mark at the beginning of a text is no white space for `\s`.
_HEADER = re.compile(r"[\s\ufeff]*(%%(step|params|setup))(?=\s|$)")
_MAGIC = re.compile(r"[\s\ufeff]*(%%(\w[\w.]*))")
# A space too many, a `%` too few, or the comment sign of a script left over.
_ALMOST_HEADER = re.compile(r"[\s\ufeff]*(%%\s+(?:step|params|setup)|%step|#\s*%%(?:step|params|setup))(?=\s|$)")
_OPTION = re.compile(r"[\s\ufeff]*(#\|)")
_KEY = re.compile(r"\s*([A-Za-z][\w-]*)\s*(:|$)")
_FIRST_WORD = re.compile(r"\s*([A-Za-z][\w-]*)")
_NOT_CODE = re.compile(r"[\s\ufeff]*(#|$)")
_STRAY = re.compile(r"^[ \t]*(%%(?:step|params|setup)(?=\s|$)|#\|[ \t]*(?:step[ \t]*:|(?:params|setup)[ \t]*$))", re.M)
# Comments come first: a quote in a comment opens no string. A string that is not closed ends with its line or text.
_STRINGS = re.compile(
    r"""\#[^\n]*
      | (\"{3}|'{3})(?:\\.|(?!\1).)*(?:\1|\Z)
      | "(?:\\.|[^"\\\n])*"?
      | '(?:\\.|[^'\\\n])*'?""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawHeader:
    """A header as it was written.

    Parameters
    ----------
    kind : {"step", "params", "setup"}
        Which of the headers.
    form : {"magic", "comment", "tags"}
        ``%%step``, ``#| step:``, or tags such as Kale's.
    words : tuple of HeaderToken
        What follows, spelt as in the magic form: keys of the comment form are turned into options.
    place : SourceLocation
        Where it stands.
    """

    kind: Kind
    form: Form
    words: tuple[HeaderToken, ...]
    place: SourceLocation


@dataclass(slots=True)
class CellLayout:
    """The lines of a cell, and the roles of its top lines.

    Parameters
    ----------
    lines : list of SourceLine
        All lines.
    roles : list of str
        One for each line of the top.
    marks : list of RawHeader
        Headers at the top, in order.
    faults : list of Diagnostic
        What is wrong with the lines themselves, not with the words in them.
    """

    lines: list[SourceLine]
    roles: list[Role] = field(default_factory=list)
    marks: list[RawHeader] = field(default_factory=list)
    faults: list[Diagnostic] = field(default_factory=list)

    @property
    def opaque(self) -> bool:
        """Whether the cell is in another language than Python."""
        return bool(self.roles) and self.roles[-1] == "opaque"


@dataclass(frozen=True, slots=True)
class _OptionLine:
    """A ``#|`` line: its key, and the words after it."""

    key: HeaderToken
    words: tuple[HeaderToken, ...]
    roles: slice


def read_layout(source: str, cell: int) -> CellLayout:
    """Return the layout of a cell: the roles of the lines at its top."""
    reader = _CellTopReader(CellLayout(lines_of(source, cell)))
    reader.read()
    _report_stray_headers(reader.layout, source)
    return reader.layout


class _CellTopReader:
    """Reads the top of a cell, line by line."""

    def __init__(self, layout: CellLayout) -> None:
        self.layout = layout
        self.option_lines: list[_OptionLine] = []

    def read(self) -> None:
        while len(self.layout.roles) < len(self.layout.lines) and self._read_line(self._line()):
            pass
        self._join_option_lines()

    def _line(self) -> SourceLine:
        return self.layout.lines[len(self.layout.roles)]

    def _read_line(self, line: SourceLine) -> bool:
        """Record the role of `line`, and return whether the top continues below it."""
        if header := _HEADER.match(line.text):
            return self._header(line, header)
        if magic := _MAGIC.match(line.text):
            return self._magic(line, magic)
        if option := _OPTION.match(line.text):
            return self._option(line, option.end())
        almost = _ALMOST_HEADER.match(line.text)
        if almost and not self.layout.marks and not self.option_lines:
            self.layout.faults.append(_almost_header(line.place(almost.start(1), len(almost[1])), almost[1]))
        if not _NOT_CODE.match(line.text):
            return False
        self.layout.roles.append("plain")
        return True

    def _header(self, line: SourceLine, match: re.Match[str]) -> bool:
        words = self._words("header", line, match.end(), None)
        place = line.place(match.start(1), len(match[1]))
        kind = next(kind for kind in KINDS if kind == match[2])
        self.layout.marks.append(RawHeader(kind=kind, form="magic", words=words, place=place))
        return True

    def _magic(self, line: SourceLine, match: re.Match[str]) -> bool:
        name = match[2]
        python = name in PYTHON_MAGICS
        self.layout.roles.append("magic" if python else "opaque")
        if not python:
            self._check_magic(line, name, match.start(1))
        return python

    def _check_magic(self, line: SourceLine, name: str, column: int) -> None:
        following = self._code_line()
        if _is_misspelt(name):
            self.layout.faults.append(_misspelt(line.place(column, len(name) + 2), name))
        elif name not in TEXT_MAGICS and following and (match := _HEADER.match(following.text)):
            place = following.place(match.start(1), len(match[1]))
            self.layout.faults.append(_below_magic(place, match[1], name))

    def _code_line(self) -> SourceLine | None:
        below = self.layout.lines[len(self.layout.roles) :]
        return next((line for line in below if not _NOT_CODE.match(line.text)), None)

    def _option(self, line: SourceLine, start: int) -> bool:
        match = _KEY.match(line.text, start)
        if match is None:
            self._check_colon(line, start)
            self.layout.roles.append("plain")
            return True
        first = len(self.layout.roles)
        words = self._words("plain", line, match.end(), _OPTION)
        place = line.place(match.start(1), len(match[1]))
        key = HeaderToken(match[1].replace("_", "-").lower(), match[1] + match[2], place)
        self.option_lines.append(_OptionLine(key, words, slice(first, len(self.layout.roles))))
        return True

    def _check_colon(self, line: SourceLine, start: int) -> None:
        # Words that may begin an ordinary comment (`#| in …`) are no sign of a forgotten colon.
        match = _FIRST_WORD.match(line.text, start)
        if match and match[1].lower() in {"step", *BY_KEY} - {"in", "on", "after", "always"}:
            self.layout.faults.append(_no_colon(line.place(match.start(1), len(match[1])), match[1]))

    def _words(self, role: Role, line: SourceLine, start: int, lead: re.Pattern[str] | None) -> tuple[HeaderToken, ...]:
        """Read the words of `line` and of its continuation lines; with `lead`, each of these has to start with it."""
        token_line = self._read_token_line(role, line, start)
        words = list(token_line.words)
        while token_line.continues and len(self.layout.roles) < len(self.layout.lines):
            line = self._line()
            match = lead.match(line.text) if lead else None
            if lead and not match:
                break
            token_line = self._read_token_line(role, line, match.end() if match else 0)
            words.extend(token_line.words)
        return tuple(words)

    def _read_token_line(self, role: Role, line: SourceLine, start: int) -> HeaderLine:
        token_line = read_words(line, start)
        self.layout.roles.append(role)
        self.layout.faults.extend(token_line.faults)
        return token_line

    def _join_option_lines(self) -> None:
        """Turn ``#|`` lines into headers of their own, or into options of the magic's header."""
        header_entries = [entry for entry in self.option_lines if _head_kind(entry)]
        own_entries = [entry for entry in self.option_lines if entry not in header_entries and not _is_foreign(entry)]
        self.layout.marks.extend(_comment_header(entry) for entry in header_entries)
        self.layout.marks.sort(key=lambda raw_header: (raw_header.place.line, raw_header.place.column))
        if self.layout.marks:
            self._extend_span(
                header_entries + own_entries, [word for entry in own_entries for word in _as_option(entry)]
            )
        else:
            self.layout.faults.extend(
                _option_without_step(first)
                for first in own_entries[:1]
                if {entry.key.text for entry in own_entries} & _OWN_KEYS
            )

    def _extend_span(self, entries: list[_OptionLine], words: list[HeaderToken]) -> None:
        raw_header = self.layout.marks[0]
        self.layout.marks[0] = RawHeader(
            kind=raw_header.kind, form=raw_header.form, words=(*raw_header.words, *words), place=raw_header.place
        )
        for entry in entries:
            self.layout.roles[entry.roles] = ["option"] * (entry.roles.stop - entry.roles.start)


# Keys that no other tool uses: they belong to a header even where no step is named.
_OWN_KEYS = frozenset({"in", "out", "param", "retries", "optional"})


def _head_kind(entry: _OptionLine) -> Kind | None:
    """Return the kind of header that the line is, or None: ``#| params: x`` is no header, ``#| params`` is."""
    key, words = entry.key.text, [word.text for word in entry.words]
    if key == "step":
        return "step"
    return next((kind for kind in KINDS if key == kind and words in ([], ["true"])), None)


def _comment_header(entry: _OptionLine) -> RawHeader:
    kind = _head_kind(entry) or "step"
    words = entry.words if kind == "step" else ()
    return RawHeader(kind=kind, form="comment", words=words, place=entry.key.place)


def _is_foreign(entry: _OptionLine) -> bool:
    key = entry.key.text
    return key not in BY_KEY and (key in FOREIGN or key.startswith(FOREIGN_PREFIXES))


def _as_option(entry: _OptionLine) -> Iterator[HeaderToken]:
    """Spell a ``#|`` line as the magic spells it; YAML's ``no-cache: true`` and ``cache: false`` are flags."""
    key, words = entry.key, entry.words
    name = key.text
    values = [word.text.lower() for word in words]
    if name == "cache" and values in (["true"], ["false"]):
        name, values = "no-cache", ["false" if values == ["true"] else "true"]
    takes_nothing = name in BY_KEY and BY_KEY[name].takes == "nothing"
    if takes_nothing and values == ["false"]:
        return
    yield HeaderToken(f"--{name}", key.shown, key.place)
    if not (takes_nothing and values == ["true"]):
        yield from words


def _report_stray_headers(layout: CellLayout, source: str) -> None:
    """Report headers below the top, unless they stand in a string."""
    if layout.opaque:
        return
    top = sum(len(line.text) + len(line.end) for line in layout.lines[: len(layout.roles)])
    matches = list(_STRAY.finditer(source, top))
    # Strings are looked for only if there is something to be excused.
    ends = {match.start(): match.end() for match in _STRINGS.finditer(source, top)} if matches else {}
    starts = list(ends)
    for match in matches:
        before = bisect_left(starts, match.start(1))
        if not before or ends[starts[before - 1]] <= match.start(1):
            layout.faults.append(_stray_header(layout, source, match))


def _stray_header(layout: CellLayout, source: str, match: re.Match[str]) -> Diagnostic:
    before = source[: match.start(1)]
    line = lines_of(before, 0)[-1]
    place = layout.lines[line.number - 1].place(len(line.text), len(match[1].rstrip()))
    if layout.marks:
        return second_header(place, layout.marks[0])
    return Diagnostic(
        code="JP101",
        message="a header stands at the top of its cell; this header has code above it",
        suggestion="move it to the first line of the cell, or split the cell here",
        place=place,
        label="line 1 is where it belongs",
    )


def second_header(place: SourceLocation, first: RawHeader) -> Diagnostic:
    """Return the fault for a second header in a cell."""
    return Diagnostic(
        code="JP101",
        message="a cell has one header; this is a second header",
        suggestion="split the cell here, or take one of the headers away",
        place=place,
        label=f"the first is in line {first.place.line}",
    )


def _is_misspelt(name: str) -> bool:
    closest = closest_name(name.lower(), (*KINDS, "parameters"))
    return closest is not None and (
        closest == name.lower() or sorted(closest) == sorted(name.lower()) or name.lower() in _NEAR
    )


_NEAR = frozenset("steps stepp stp sstep param parms prams paramss setups set-up set_up seup".split())


def _meant_header(name: str) -> str:
    closest = closest_name(name.lower(), (*KINDS, "parameters"))
    return "params" if closest == "parameters" else str(closest)


def with_header_corrected(source: str, fault: Diagnostic) -> str | None:
    """Return a cell with the misspelt header that `fault` reports as it was probably meant; None for other faults."""
    place = fault.place
    if place is None or not fault.message.startswith(_NO_HEADER):
        return None
    lines = source.split("\n")
    text, end = lines[place.line - 1], place.column + place.length
    name = text[place.column + 2 : end]
    lines[place.line - 1] = f"{text[: place.column]}%%{_meant_header(name)}{text[end:]}"
    return "\n".join(lines)


_NO_HEADER = "there is no header `%%"


def _almost_header(place: SourceLocation, written: str) -> Diagnostic:
    return _not_a_header(f"`{written}` is no header", re.sub("[^a-z]", "", written), place)


def _misspelt(place: SourceLocation, name: str) -> Diagnostic:
    return _not_a_header(f"{_NO_HEADER}{name}`", _meant_header(name), place)


def _not_a_header(message: str, meant: str, place: SourceLocation) -> Diagnostic:
    return Diagnostic(
        code="JP101",
        message=message,
        suggestion=f"write `%%{meant}`",
        place=place,
        severity="warning",
        notes=("without a header the cell is exploration and no part of the pipeline",),
    )


def _below_magic(place: SourceLocation, header: str, magic: str) -> Diagnostic:
    return Diagnostic(
        code="JP101",
        message=f"`{header}` stands below `%%{magic}`, which takes the whole cell for itself",
        suggestion=f"put `{header}` above `%%{magic}`, or into a cell of its own",
        place=place,
    )


def _no_colon(place: SourceLocation, key: str) -> Diagnostic:
    return Diagnostic(
        code="JP101",
        message=f"`#| {key}` lacks its colon",
        suggestion=f"write `#| {key}: …`",
        place=place,
    )


def _option_without_step(entry: _OptionLine) -> Diagnostic:
    return Diagnostic(
        code="JP101",
        message=f"`#| {entry.key.shown}` belongs to no step",
        suggestion="name the step in a line above it: `#| step: NAME`",
        place=entry.key.place,
    )
