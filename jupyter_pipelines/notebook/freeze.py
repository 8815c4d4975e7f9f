"""Write inferred interfaces into the headers of a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from jupyter_pipelines.errors import Diagnostic, NotebookError
from jupyter_pipelines.notebook.headers.cell_layout import MAGICS, CellLayout, RawHeader, read_layout
from jupyter_pipelines.notebook.headers.lexer import HeaderToken, SourceLine, read_words
from jupyter_pipelines.notebook.headers.options import BY_KEY, BY_SPELLING, HeaderOption
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.source.document import NotebookCell, read_document
from jupyter_pipelines.notebook.source.write_cells import write_sources
from jupyter_pipelines.pipeline.artifacts import Input, StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Section, Step

_SECTIONS: Mapping[Section, HeaderOption] = {
    "inputs": BY_KEY["in"],
    "outputs": BY_KEY["out"],
    "parameters": BY_KEY["param"],
}
_MAX_LINE_LENGTH = 100


def freeze(path: str | Path, pipeline: Pipeline) -> list[int]:
    """Write what was inferred into the headers of a notebook, and return the numbers of the cells that changed.

    The form of each header is kept. What was inferred to be empty is left out, as it reads the same. Everything else in
    the file stays as it is, byte for byte; the file is replaced in one go or not at all.

    Parameters
    ----------
    path : str or Path
        The notebook, or a script or Markdown file that jupytext reads.
    pipeline : Pipeline
        What it was read into.

    Raises
    ------
    NotebookError
        It cannot be read, or has changed since it was read (JP104).
    """
    path = Path(path)
    cells = {cell.number: cell for cell in read_document(path).cells}
    changes: dict[int, str] = {}
    for step in pipeline:
        options = inferred_options(step)
        cell = cells.get(step.cells[0].number)
        if not options:
            continue
        if cell is None or not _starts_step(cell, step):
            # The notebook may have been saved between reading and writing: headers must not get into other cells.
            raise NotebookError(_notebook_changed(path, step))
        changes[cell.number] = with_options(cell, step, options)
    if changes:
        write_sources(path, changes)
    return sorted(changes)


def inferred_options(step: Step) -> dict[str, str]:
    """Return, by option name, the items of `step` that were inferred, as a header spells them; none that are empty."""
    spelled: dict[Section, Iterable[str]] = {
        "inputs": map(_spelled_input, step.inputs),
        "outputs": (
            output.name if output.format is None else f"{output.name}:{output.format}" for output in step.outputs
        ),
        "parameters": step.parameters,
    }
    items_by_option = {
        _SECTIONS[section].name: " ".join(spelled[section]) for section in _SECTIONS if section in step.inferred
    }
    return {name: items for name, items in items_by_option.items() if items}


def _spelled_input(step_input: Input) -> str:
    is_same_name = isinstance(step_input.source, StepOutputRef) and step_input.source.output == step_input.name
    return step_input.name if is_same_name else f"{step_input.name}={step_input.source}"


def _starts_step(cell: NotebookCell, step: Step) -> bool:
    """Return whether `step` still begins in `cell`."""
    header = split_cell(cell.source, cell.number, cell.tags).header
    return header is not None and header.kind == "step" and header.name == step.name


def with_options(cell: NotebookCell, step: Step, options: Mapping[str, str]) -> str:
    """Return the text of `cell`, the first of `step`, with `options` in its header."""
    layout = read_layout(cell.source, cell.number)
    if not layout.marks:
        return _with_new_header(layout, step, options)
    raw_header = layout.marks[0]
    insert = _into_magic if raw_header.form == "magic" else _into_comments
    lines = [line.text for line in layout.lines]
    insertions = insert(layout, raw_header, options)
    # From the bottom up, so that positions above stay valid.
    for (line, column), texts in sorted(insertions.items(), reverse=True):
        text = lines[line - 1]
        lines[line - 1] = text[:column] + _joined(texts, len(text)) + text[column:]
    return "\n".join(lines)


def _joined(texts: list[str], width: int) -> str:
    """Return options that go to one place, in further lines where a line gets too long."""
    joined = ""
    for text in texts:
        width += len(text)
        if width > _MAX_LINE_LENGTH and not text.startswith("\n"):
            joined, width = f"{joined} \\\n   ", len(text) + 3
        joined += text
    return joined


_Places = dict[tuple[int, int], list[str]]


def _into_magic(layout: CellLayout, raw_header: RawHeader, options: Mapping[str, str]) -> _Places:
    """Insert each option after those that usually precede it."""
    words = [word for word in raw_header.words if layout.roles[word.place.line - 1] == "header"]
    insertions: _Places = {}
    for name, items in options.items():
        place = _preceding_word(name, words).place
        position = (place.line, place.column + place.length)
        insertions.setdefault(position, []).append(f" {BY_KEY[name].short} {items}")
    return insertions


def _into_comments(layout: CellLayout, raw_header: RawHeader, options: Mapping[str, str]) -> _Places:
    """Insert each option as a line of its own, below those that usually precede it."""
    insertions: _Places = {}
    for name, items in options.items():
        line = layout.lines[_preceding_word(name, list(raw_header.words)).place.line - 1]
        # An option ends with the last of its continuation lines.
        while _goes_on(line) and layout.roles[line.number : line.number + 1] == ["option"]:
            line = layout.lines[line.number]
        lead = line.text[: line.text.index("#|")]
        # A backslash without a continuation line stays last: it would continue into the inserted line.
        end = len(line.text.rstrip()[:-1].rstrip()) if _goes_on(line) else len(line.text)
        insertions.setdefault((line.number, end), []).append(f"\n{lead}#| {name}: {items}")
    return insertions


def _goes_on(line: SourceLine) -> bool:
    return read_words(line, line.text.index("#|") + 2).continues


def _with_new_header(layout: CellLayout, step: Step, options: Mapping[str, str]) -> str:
    """Return a cell that is a step by its tags alone, with a header that says the same and has the options."""
    lines = [f"#| step: {step.name}", *(f"#| {name}: {items}" for name, items in options.items())]
    if step.after:
        lines.append(f"#| after: {' '.join(step.after)}")
    magics = max((number for number, role in enumerate(layout.roles, start=1) if role in MAGICS), default=0)
    texts = [line.text for line in layout.lines]
    return "\n".join([*texts[:magics], *lines, *texts[magics:]])


def _rank(name: str) -> int:
    return [option.name for option in _SECTIONS.values()].index(name)


def _preceding_word(name: str, words: list[HeaderToken]) -> HeaderToken:
    """Return the last word of the name and of the options that usually stand before `name`."""
    current, last = -1, words[0]
    for word in words:
        # A quoted word is a value even where it is spelled like an option.
        option = BY_SPELLING.get(word.text.partition("=")[0]) if word.shown[:1] not in "\"'" else None
        if option is not None:
            current = _rank(option.name) if option in _SECTIONS.values() else len(_SECTIONS)
        if current < _rank(name):
            last = word
    return last


def _notebook_changed(path: Path, step: Step) -> Diagnostic:
    return Diagnostic(
        code="JP104",
        message=f"`{path.name}` changed while it was read: step `{step.name}` no longer begins in cell "
        f"{step.cells[0].number}",
        suggestion="save the notebook, and try again",
        notebook=str(path),
        step=step.name,
    )
