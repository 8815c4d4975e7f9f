"""Replace the sources of cells in a notebook's file; every other byte of the file stays as it is."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from jupyter_pipelines.errors import Diagnostic, NotebookError
from jupyter_pipelines.notebook.source.document import NOTEBOOK_SUFFIX, document_from_script, load_json, raw_cells

_BOM = "\ufeff"
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def write_sources(path: Path, texts: Mapping[int, str]) -> None:
    """Replace the texts of cells, given by their number.

    Raises
    ------
    NotebookError
        The file cannot be written, or a cell of a script cannot be found in it (JP104).
    """
    path = path.resolve()
    try:
        if not os.access(path, os.W_OK):  # replacing it would not need the permission
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        content = path.read_bytes().decode("utf-8")
        bom = _BOM if content.startswith(_BOM) else ""
        patch = patched_json if path.suffix.lower() == NOTEBOOK_SUFFIX else patched_script
        _replace(path, bom + patch(content.removeprefix(_BOM), texts, path))
    except OSError as error:
        raise NotebookError(_unwritable(path, error)) from error


def _replace(path: Path, content: str) -> None:
    """Replace the content of `path` atomically, and keep its permissions."""
    # In the same folder: a rename is atomic only within one file system.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode())
            file.flush()
            # Before the rename: otherwise a crash could leave an empty file under the notebook's name.
            os.fsync(file.fileno())
        # `mkstemp` makes files that only their owner may read.
        Path(name).chmod(path.stat().st_mode)
        Path(name).replace(path)
    except BaseException:
        # Also after an interrupt: the half-written file must not stay beside the notebook.
        with suppress(OSError):
            Path(name).unlink()
        raise


# Notebooks


def patched_json(content: str, texts: Mapping[int, str], path: Path) -> str:
    """Return the JSON of a notebook with other texts in some of its cells."""
    raw_cells(load_json(content, path), path)
    spans = list(_cell_spans(content, _SPACE.match(content).end()))  # type: ignore[union-attr]
    # From the last cell to the first: positions of cells not yet replaced stay valid.
    for number in sorted(texts, reverse=True):
        members = _members(content, spans[number - 1])
        start, stop = members["source" if "source" in members else "input"]
        # Characters are escaped only in a file that escapes them, so that a diff shows nothing but the change.
        new = _source(content[start:stop], texts[number], ascii_only=content.isascii() and "\\u" in content)
        content = content[:start] + new + content[stop:]
    return content


def _cell_spans(content: str, start: int) -> Iterator[int]:
    """Yield where each cell begins; in old notebooks, cells are spread over worksheets."""
    members = _members(content, start)
    if "cells" in members:
        yield from (span[0] for span in _elements(content, members["cells"][0]))
        return
    for sheet, _ in _elements(content, members["worksheets"][0]):
        yield from (span[0] for span in _elements(content, _members(content, sheet)["cells"][0]))


def _members(content: str, start: int) -> dict[str, tuple[int, int]]:
    """Return where the value of each key of the object at `start` begins and ends."""
    spans: dict[str, tuple[int, int]] = {}
    position = _skip(content, start + 1)
    while content[position] != "}":
        key, position = _DECODER.raw_decode(content, position)
        value = _skip(content, _skip(content, position) + 1)
        spans[key] = (value, _DECODER.raw_decode(content, value)[1])
        position = _next(content, spans[key][1])
    return spans


def _elements(content: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield where each element of the list at `start` begins and ends."""
    position = _skip(content, start + 1)
    while content[position] != "]":
        stop = _DECODER.raw_decode(content, position)[1]
        yield position, stop
        position = _next(content, stop)


def _next(content: str, position: int) -> int:
    position = _skip(content, position)
    return _skip(content, position + 1) if content[position] == "," else position


def _skip(content: str, position: int) -> int:
    match = _SPACE.match(content, position)
    return match.end() if match else position


def _source(old: str, text: str, *, ascii_only: bool) -> str:
    """Return `text` as JSON in the form of `old`: a string, or a list with the same spaces between its lines."""
    if "\\r\\n" in old:
        text = text.replace("\n", "\r\n")
    if not old.startswith("["):
        return json.dumps(text, ensure_ascii=ascii_only)
    spans = list(_elements(old, 0))
    if not spans:
        return json.dumps(_ended_lines(text), ensure_ascii=ascii_only)
    # Lines that stay as they are keep the escapes that they were written with.
    encoded_lines = {json.loads(old[start:stop]): old[start:stop] for start, stop in spans}
    lines = [encoded_lines.get(line) or json.dumps(line, ensure_ascii=ascii_only) for line in _ended_lines(text)]
    lead = old[1 : spans[0][0]]
    between = old[spans[0][1] : spans[1][0]] if len(spans) > 1 else f",{lead or ' '}"
    return f"[{lead}{between.join(lines)}{old[spans[-1][1] :]}"


def _ended_lines(text: str) -> list[str]:
    return [line for line in re.split(r"(?<=\n)", text) if line]


# Scripts


def patched_script(content: str, texts: Mapping[int, str], path: Path) -> str:
    """Return a script or Markdown file with other texts in some of its cells."""
    for number in sorted(texts):
        content = _patched_cell(content, number, texts[number], path)
    return content


def _patched_cell(content: str, number: int, text: str, path: Path) -> str:
    """Replace the text of a cell: try each place where its lines may stand until jupytext reads the expected cells."""
    document = document_from_script(content, path)
    expected = [(c.kind, text if c.number == number else c.source, c.tags) for c in document.cells]
    for candidate in _candidates(content, document.cells[number - 1].source, text):
        # Formats mark cells differently, and the same lines may stand in several cells: reading back decides.
        if [(c.kind, c.source, c.tags) for c in document_from_script(candidate, path).cells] == expected:
            return candidate
    raise NotebookError(_cell_not_found(path, number))


def _candidates(content: str, old: str, new: str) -> Iterator[str]:
    """Yield `content` with the changed lines of a cell replaced, for each place where they occur."""
    before, after = _difference(old.split("\n"), new.split("\n"))
    end = "\r\n" if "\r\n" in content else "\n"
    lines = content.split(end)
    for start in range(len(lines) - len(before) + 1):
        stop = start + len(before)
        if [_plain(line) for line in lines[start:stop]] == [_plain(line) for line in before]:
            yield end.join(
                [*lines[:start], *_as_written(after, dict(zip(before, lines[start:stop], strict=True))), *lines[stop:]]
            )


def _difference(old: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines that differ, with the line above, or else the line below, for context."""
    pairs = zip(old, new, strict=False)
    head = max(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) - 1, 0)
    ending_pairs = zip(reversed(old[head:]), reversed(new[head:]), strict=False)
    tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ending_pairs))
    tail = min(tail, len(old) - head - 1, len(new) - head - 1)
    return old[head : len(old) - tail], new[head : len(new) - tail]


def _plain(line: str) -> str:
    """Return a line without the mark by which jupytext makes a magic a comment."""
    return line.removeprefix("#").strip() if not line.startswith("#|") else line.strip()


def _as_written(lines: list[str], raw_lines: Mapping[str, str]) -> list[str]:
    """Return lines as the file spells them: known lines unchanged, others as comments where magics are comments."""
    is_comment = any(raw.startswith("#") and not line.startswith("#") for line, raw in raw_lines.items())
    return [raw_lines.get(line) or (f"# {line}" if is_comment and line[:1] != "#" else line) for line in lines]


def _cell_not_found(path: Path, number: int) -> Diagnostic:
    return Diagnostic(
        code="JP104",
        message=f"the header of cell {number} cannot be found in `{path.name}`",
        suggestion="write the interface into the header by hand: `jupyter pipelines show NOTEBOOK` tells it",
        notebook=str(path),
    )


def _unwritable(path: Path, error: OSError) -> Diagnostic:
    return Diagnostic(
        code="JP104",
        message=f"`{path.name}` cannot be written: {error.strerror or error}",
        suggestion="make the file and its folder writable; nothing was changed",
        notebook=str(path),
    )
