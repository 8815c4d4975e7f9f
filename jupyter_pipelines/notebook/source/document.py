"""A notebook as a file holds it, whatever the file's format: cells with their sources, and nothing executed."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jupyter_pipelines.errors import Diagnostic, NotebookError, SourceLocation

CellKind = Literal["code", "markdown", "raw"]

NOTEBOOK_SUFFIX = ".ipynb"
SCRIPT_SUFFIXES = (".py", ".md", ".markdown", ".Rmd", ".qmd")
OLDEST_FORMAT, NEWEST_FORMAT = 2, 4

# Endings are compared regardless of case; jupytext needs them as listed.
_SUFFIXES = {suffix.lower(): suffix for suffix in SCRIPT_SUFFIXES}
_NEEDED_PROGRAM = re.compile(r"requires '(?P<name>\w+)>=(?P<version>[\w.]+)'")
_INSTALL = {
    # That package downloads the program from GitHub while it is installed.
    "quarto": "`pip install quarto-cli` where GitHub can be reached, or see https://quarto.org/docs/download",
    "pandoc": "`conda install -c conda-forge pandoc`, or see https://pandoc.org/installing.html",
    "marimo": "`pip install marimo`",
}
_QUARTO_SUFFIX = ".qmd"
# Metadata of cells that are no options: Jupyter's own, and tags, which Quarto keeps where notebooks have them.
_NO_OPTIONS = frozenset("tags id collapsed scrolled jupyter slideshow editable deletable".split())
# `validate` is replaced in a module of nbformat, for the whole process: by one thread at a time.
_NO_VALIDATION = threading.Lock()
# The same for `print` in a module of jupytext.
_QUIET = threading.Lock()
_KINDS: Mapping[str, CellKind] = {"code": "code", "raw": "raw", "markdown": "markdown", "heading": "markdown"}
_CONFLICT = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookCell:
    """A cell.

    Parameters
    ----------
    number : int
        Counted from 1 over all cells of the notebook.
    id : str or None
        Its id, if the file has one for it.
    kind : {"code", "markdown", "raw"}
        What it is; headings of old notebooks are Markdown.
    source : str
        Its text; lines end in a line feed.
    tags : tuple of str
        Its tags.
    """

    number: int
    id: str | None = None
    kind: CellKind = "code"
    source: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookDocument:
    """A notebook.

    Parameters
    ----------
    path : Path or None
        Its file; None for the cells of a session.
    cells : tuple of NotebookCell
        All cells, in order.
    kernel : str or None
        Name of the kernelspec it asks for.
    language : str
        In lower case; ``python`` where the file does not say.
    folder : str or None
        Where its steps run, if that is not its own folder: relative to that, or absolute.
    """

    path: Path | None
    cells: tuple[NotebookCell, ...]
    kernel: str | None = None
    language: str = "python"
    folder: str | None = None

    def with_texts(self, texts: Mapping[str, str]) -> NotebookDocument:
        """Return the document with the texts of cells replaced, by cell id; other cells keep theirs."""
        cells = (
            replace(c, source=normalize_newlines(texts[c.id])) if c.id and c.id in texts else c for c in self.cells
        )
        return replace(self, cells=tuple(cells))

    @classmethod
    def of_texts(cls, texts: Iterable[tuple[str | None, str]]) -> NotebookDocument:
        """Return a document of code cells, given as pairs of id and text, that has no file."""
        cells = [
            NotebookCell(number=n, id=key, source=normalize_newlines(text))
            for n, (key, text) in enumerate(texts, start=1)
        ]
        return cls(path=None, cells=_with_unique_ids(cells))

    def to_dict(self) -> dict[str, Any]:
        """Return the document as an object for JSON."""
        path = str(self.path.absolute()) if self.path else None
        attributes = {"kernel": self.kernel, "language": self.language, "folder": self.folder}
        return {"path": path, **attributes, "cells": [asdict(cell) for cell in self.cells]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> NotebookDocument:
        """Return the document that :meth:`to_dict` described."""
        cells = tuple(NotebookCell(**{**cell, "tags": tuple(cell["tags"])}) for cell in document["cells"])
        path = Path(document["path"]) if document["path"] else None
        attributes = {name: document[name] for name in ("kernel", "language", "folder")}
        return cls(path=path, cells=cells, **attributes)


def read_document(path: str | Path) -> NotebookDocument:
    """Read a notebook (nbformat 2 to 4.5), or a script or Markdown file that jupytext reads as a notebook.

    Raises
    ------
    NotebookError
        The file is missing or holds something else (JP104).
    """
    path = Path(path)
    shown = str(path.absolute()).encode("utf-8", "backslashreplace").decode()
    if shown != str(path.absolute()):
        # Records and reports are UTF-8, and hold the path.
        raise _unreadable(Path(shown), "its path is not UTF-8", "rename the file or the folder")
    text = _text(path)
    suffix = path.suffix.lower()
    if suffix == NOTEBOOK_SUFFIX:
        return document_from_json(load_json(text, path), path)
    if suffix in _SUFFIXES:
        return document_from_script(text, path)
    kinds = ", ".join((NOTEBOOK_SUFFIX, *SCRIPT_SUFFIXES))
    reason = f"files of the kind `{path.suffix}` are not read" if path.suffix else "its name has no ending"
    raise _unreadable(path, reason, f"name one of: {kinds}")


def load_json(text: str, path: Path) -> dict[str, Any]:
    """Return the notebook in `text` as JSON holds it.

    Raises
    ------
    NotebookError
        It is not JSON, or not a notebook.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise _no_json(path, text, error) from None
    # `json` passes on what `int` raises for a number with thousands of digits: a plain ValueError.
    except (RecursionError, ValueError):
        raise _unreadable(path, "its JSON is nested too deeply or holds a number too long", _SAVE_AGAIN) from None
    if not isinstance(content, dict) or not isinstance(content.get("nbformat"), int):
        raise _unreadable(path, "it is JSON, but not a notebook: `nbformat` is missing", _SAVE_AGAIN)
    if not OLDEST_FORMAT <= content["nbformat"] <= NEWEST_FORMAT:
        message = f"its format is {content['nbformat']}, and formats {OLDEST_FORMAT} to {NEWEST_FORMAT} are read"
        raise _unreadable(path, message, f"save it as nbformat {NEWEST_FORMAT}: File, Save and Export Notebook As")
    return content


def raw_cells(content: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook as JSON holds them, in order.

    Raises
    ------
    NotebookError
        There are none where they belong.
    """
    sheets = [content] if content["nbformat"] == NEWEST_FORMAT else content.get("worksheets")
    lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)] if isinstance(sheets, list) else [None]
    if not all(isinstance(cells, list) for cells in lists):
        raise _unreadable(path, "it has no list of cells", _SAVE_AGAIN)
    cells = [cell for cells in lists for cell in cells or ()]
    for number, cell in enumerate(cells, start=1):
        if not isinstance(cell, dict):
            raise _broken_cell(path, number, "is not an object")
    return cells


def document_from_json(content: Mapping[str, Any], path: Path | None) -> NotebookDocument:
    """Return the document that a notebook's JSON describes.

    Raises
    ------
    NotebookError
        A cell is not what a cell must be.
    """
    shown_path = path or Path("notebook")
    cells = [_cell(cell, number, shown_path) for number, cell in enumerate(raw_cells(content, shown_path), start=1)]
    kernel, language = _kernel(content.get("metadata"))
    folder = _part(content.get("metadata"), "jupyter_pipelines").get("folder")
    working_folder = folder if isinstance(folder, str) and folder else None
    return NotebookDocument(
        path=path, cells=_with_unique_ids(cells), kernel=kernel, language=language, folder=working_folder
    )


def normalize_newlines(text: str) -> str:
    """Return `text` with a line feed at the end of every line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _cell(cell: Mapping[str, Any], number: int, path: Path) -> NotebookCell:
    kind = _KINDS.get(str(cell.get("cell_type")))
    if kind is None:
        raise _broken_cell(path, number, f"is of the kind `{cell.get('cell_type')}`, which does not exist")
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise _broken_cell(path, number, "has a source that is no text")
    # JSON can hold half of a surrogate pair; UTF-8 cannot, so no kernel, hash or file would take the text.
    if half := _LONE_SURROGATE.search(source):
        raise _broken_cell(path, number, f"holds half a character, U+{ord(half[0]):X}, which cannot be stored")
    cell_id = cell.get("id")
    key = cell_id if isinstance(cell_id, str) and cell_id else None
    return NotebookCell(
        number=number, id=key, kind=kind, source=normalize_newlines(source), tags=_tags(cell.get("metadata"))
    )


def _tags(metadata: Any) -> tuple[str, ...]:
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    if isinstance(tags, str):  # `:tags: parameters`, as YAML reads it
        return tuple(tags.replace(",", " ").split())
    return tuple(text for tag in tags for text in _tag_texts(tag)) if isinstance(tags, list) else ()


def _tag_texts(tag: Any) -> Iterator[str]:
    if isinstance(tag, str):
        yield tag
    # `[block: train, prev: load]`, as YAML reads a tag with a space behind its colon.
    elif isinstance(tag, dict):
        for key, value in tag.items():
            yield f"{key}:{'' if value is None else value}"


def _kernel(metadata: Any) -> tuple[str | None, str]:
    """Return the kernel's name and its language."""
    kernelspec, info = _part(metadata, "kernelspec"), _part(metadata, "language_info")
    written = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    name = written if isinstance(written, str) else kernelspec.get("name")
    language = kernelspec.get("language") or info.get("name")
    language_name = language.lower() if isinstance(language, str) else "python"
    return name if isinstance(name, str) else None, language_name if language_name != "ipython" else "python"


def _part(metadata: Any, key: str) -> Mapping[str, Any]:
    part = metadata.get(key) if isinstance(metadata, dict) else None
    return part if isinstance(part, dict) else {}


def _with_unique_ids(cells: Iterable[NotebookCell]) -> tuple[NotebookCell, ...]:
    """Drop the ids of cells that repeat the id of an earlier cell: they do not identify it."""
    seen: set[str] = set()
    kept = []
    for cell in cells:
        kept.append(replace(cell, id=None) if cell.id in seen else cell)
        seen.update([cell.id] if cell.id else [])
    return tuple(kept)


def document_from_script(text: str, path: Path) -> NotebookDocument:
    """Return the document that jupytext reads from `text`, the content of a script or Markdown file called `path`.

    Raises
    ------
    NotebookError
        jupytext cannot read it.
    """
    try:
        content = _read_by_jupytext(normalize_newlines(text), _SUFFIXES.get(path.suffix.lower(), path.suffix))
    except Exception as error:  # jupytext and its readers raise whatever they run into
        raise _unreadable_script(path, error) from error
    if path.suffix.lower() == _QUARTO_SUFFIX:
        content = {**content, "cells": [_with_option_lines(cell) for cell in content["cells"]]}
    document = document_from_json(content, path)
    # jupytext generates ids, other ones each time it reads.
    return replace(document, cells=tuple(replace(cell, id=None) for cell in document.cells))


def _with_option_lines(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a cell with the ``#|`` lines that Quarto took out of its code: all whose names are not Quarto's own.

    ``#| step: train`` is an option to Quarto as to this package, and stands in the metadata after the conversion.
    """
    options = {name: value for name, value in cell["metadata"].items() if name not in _NO_OPTIONS}
    if cell["cell_type"] != "code" or not options:
        return cell
    lines = [f"#| {name}: {_option_text(value)}".rstrip() for name, value in options.items()]
    return {**cell, "source": "\n".join([*lines, cell["source"]])}


def _option_text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_option_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else " ".join(str(value).split())


def _read_by_jupytext(text: str, suffix: str) -> Mapping[str, Any]:
    """Return what jupytext reads, even if it violates the schema of nbformat.

    nbformat requires a display name for a kernelspec, for instance, which headers written by hand do not have and
    reading does not need; the cells are checked afterwards.
    """
    import jupytext
    from nbformat import ValidationError

    with _without_warning() if suffix == _QUARTO_SUFFIX else contextlib.nullcontext():
        try:
            return jupytext.reads(text, fmt={"extension": suffix})  # type: ignore[no-any-return]
        except ValidationError:
            with _without_validation():
                return jupytext.reads(text, fmt={"extension": suffix})  # type: ignore[no-any-return]


@contextlib.contextmanager
def _without_warning() -> Iterator[None]:
    """Suspend what jupytext prints for every Quarto file that has a title: that its header is not the kernel's."""
    from jupytext import quarto

    with _QUIET:
        quarto.print = lambda *_, **__: None
        try:
            yield
        finally:
            del quarto.print


@contextlib.contextmanager
def _without_validation() -> Iterator[None]:
    """Suspend nbformat's validation in this thread, so that it makes notebooks that violate its schema."""
    from nbformat.v4 import nbbase

    thread = threading.get_ident()
    with _NO_VALIDATION:
        validate = nbbase.validate

        # Other threads go on validating.
        def validate_elsewhere(*arguments: Any, **options: Any) -> Any:
            return None if threading.get_ident() == thread else validate(*arguments, **options)  # type: ignore[no-untyped-call]

        nbbase.validate = validate_elsewhere
        try:
            yield
        finally:
            nbbase.validate = validate


# Errors of files that cannot be read

_SAVE_AGAIN = "open it in Jupyter and save it again, or take an earlier version of the file"


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file", "check the path") from None
    except OSError as error:
        reason = "it is a folder" if path.is_dir() else f"{error.strerror or error}"
        raise _unreadable(path, reason, "name a notebook that you may read") from None
    if not content.strip():
        raise _unreadable(path, "it is empty", _SAVE_AGAIN)
    try:
        # A byte order mark is no part of the JSON; editors on Windows write it.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_utf8(path, content, error) from None


def _no_utf8(path: Path, content: bytes, error: UnicodeDecodeError) -> NotebookError:
    before = content[: error.start]
    line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
    message = f"it is not UTF-8: byte 0x{content[error.start]:02x} in line {line}, column {column}"
    return _unreadable(path, message, "save it as UTF-8")


def _no_json(path: Path, text: str, error: json.JSONDecodeError) -> NotebookError:
    conflict = _CONFLICT.search(text)
    if conflict:
        line = text.count("\n", 0, conflict.start()) + 1
        return _unreadable(path, f"it holds conflict marks of git in line {line}", "resolve the conflict: nbdime helps")
    message = f"it is not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}"
    return _unreadable(path, message, _SAVE_AGAIN)


def _unreadable_script(path: Path, error: Exception) -> NotebookError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    program = _NEEDED_PROGRAM.search(reason)
    if program is None:
        return _unreadable(path, f"jupytext cannot read it: {reason}", "mend its YAML header and cell marks")
    name, version = program["name"], program["version"]
    state = "is not installed" if "not found" in reason else f"is older than {version}"
    suggestion = f"install {name}: {_INSTALL.get(name, f'version {version} or newer')}"
    return _unreadable(path, f"files of this kind are read by {name}, which {state}", suggestion)


def _broken_cell(path: Path, number: int, problem: str) -> NotebookError:
    place = SourceLocation(cell=number, line=1)
    return NotebookError(
        Diagnostic(
            code="JP104", message=f"cell {number} {problem}", suggestion=_SAVE_AGAIN, notebook=str(path), place=place
        )
    )


def _unreadable(path: Path, reason: str, suggestion: str) -> NotebookError:
    message = f"`{path.name}` cannot be read: {reason}"
    return NotebookError(Diagnostic(code="JP104", message=message, suggestion=suggestion, notebook=str(path)))
