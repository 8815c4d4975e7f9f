"""Lexer of headers: the lines of a cell and the words of a header, with their places.

Words are separated by white space or commas. Quotes are removed as in a POSIX shell. Nothing is ever expanded. A
backslash is an ordinary character (paths of Windows), except before a quote, a space, a comma or a ``#``, and at the
end of a line, where the header continues in the next line. An unquoted ``#`` in front of a word starts a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.pipeline.url_inputs import hide_credentials


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of a cell.

    Parameters
    ----------
    cell, number : int
        The cell, and the line in it, both counted from 1.
    text : str
        The line without its end.
    end : str
        Its end as found; empty in the last line.
    """

    cell: int
    number: int
    text: str
    end: str

    def place(self, column: int, length: int) -> SourceLocation:
        """Return the place of `length` characters from `column` on."""
        # One space for a tab keeps carets where they belong.
        text = hide_credentials(self.text.replace("\t", " "), same_length=True)
        return SourceLocation(cell=self.cell, line=self.number, column=column, length=length, text=text)


@dataclass(frozen=True, slots=True)
class HeaderToken:
    """A word of a header.

    Parameters
    ----------
    text : str
        What it means: without quotes and escapes.
    shown : str
        As it was written; messages quote this.
    place : SourceLocation
        Where it stands.
    """

    text: str
    shown: str
    place: SourceLocation

    def rest(self, start: int) -> HeaderToken:
        """Return the word without its first `start` characters."""
        place = self.place
        cut = min(start, place.length)
        moved = SourceLocation(
            cell=place.cell,
            line=place.line,
            column=place.column + cut,
            length=max(place.length - cut, 1),
            text=place.text,
        )
        return HeaderToken(self.text[start:], self.shown[start:], moved)


@dataclass(frozen=True, slots=True)
class HeaderLine:
    """The words of a line, and whether the header continues in the next line."""

    words: tuple[HeaderToken, ...]
    faults: tuple[Diagnostic, ...]
    continues: bool


_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_CONTINUES = re.compile(r"\\\s*$")
_GAP = re.compile(r"[\s,\\]")
_PIECE = re.compile(
    r"""(?P<gap>[\s,]+)
      | '(?P<single>[^']*)'
      | "(?P<double>(?:\\"|[^"])*)"
      | \\(?P<escaped>[\s'"\#,])
      | (?P<plain>[^\s,'"\\]+|\\)""",
    re.VERBOSE,
)
_NEEDS_QUOTES = re.compile(r"[\s,#\"']")


def header_word(text: str) -> str:
    """Return `text` as one word of a header; of ``name=locator``, only what follows ``=`` gets quotes."""
    if text and not _NEEDS_QUOTES.search(text) and not text.endswith("\\"):
        return text
    name, equals, locator = text.partition("=")
    if equals and name.isidentifier() and locator:
        return f"{name}={_in_quotes(locator)}"
    return _in_quotes(text)


def _in_quotes(text: str) -> str:
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text and not text.endswith("\\"):
        return f'"{text}"'
    return "'" + text.replace("'", "'\"'\"'") + "'"


def lines_of(source: str, cell: int) -> list[SourceLine]:
    """Split a cell into lines; the concatenation of their texts and ends is the cell."""
    lines = [SourceLine(cell, number, *match.groups()) for number, match in enumerate(_LINE.finditer(source), start=1)]
    # The expression matches once more, with nothing, after a last line that has no end.
    return lines[:-1] if len(lines) > 1 and not lines[-2].end else lines


def read_words(line: SourceLine, start: int) -> HeaderLine:
    """Return the words of `line` from column `start` on."""
    reader = _HeaderLexer(line, start)
    reader.read()
    return HeaderLine(tuple(reader.words), tuple(reader.faults), reader.continues)


class _HeaderLexer:
    """Splits a line of a header into words."""

    def __init__(self, line: SourceLine, start: int) -> None:
        self.line = line
        self.position = start
        self.begin = start
        self.pieces: list[str] | None = None
        self.words: list[HeaderToken] = []
        self.faults: list[Diagnostic] = []
        self.continues = False

    def read(self) -> None:
        while self.position < len(self.line.text) and not self._at_end():
            self._read_piece()
        self._finish()

    def _at_end(self) -> bool:
        self.continues = _CONTINUES.match(self.line.text, self.position) is not None
        return self.continues or (self.pieces is None and self.line.text[self.position] == "#")

    def _read_piece(self) -> None:
        match = _PIECE.match(self.line.text, self.position)
        if match is None:
            self._unclosed()
        elif match.lastgroup == "gap":
            self._finish()
            self.position = match.end()
        else:
            text = match[match.lastgroup or 0]
            self._add(text.replace('\\"', '"') if match.lastgroup == "double" else text, match.end())

    def _add(self, piece: str, end: int) -> None:
        if self.pieces is None:
            self.pieces, self.begin = [], self.position
        self.pieces.append(piece)
        self.position = end

    def _finish(self) -> None:
        if self.pieces is not None:
            place = self.line.place(self.begin, self.position - self.begin)
            self.words.append(HeaderToken("".join(self.pieces), self.line.text[self.begin : self.position], place))
        self.pieces = None

    def _unclosed(self) -> None:
        text = self.line.text
        quote = text[self.position]
        diagnostic = Diagnostic(
            code="JP101",
            message=f"the quote `{quote}` is never closed",
            suggestion=f"close it on the same line with `{quote}`, or take it away: "
            "only names and paths with spaces, commas or `#` need quotes",
            place=self.line.place(self.position, len(text.rstrip()) - self.position),
            label="opened here",
        )
        self.faults.append(diagnostic)
        # The word up to the next space is taken for what was meant, so that no further fault follows from this one.
        self._add(_GAP.split(text[self.position + 1 :], maxsplit=1)[0], len(text))
        self._finish()
        self.continues = text.rstrip().endswith("\\")
