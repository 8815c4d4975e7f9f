"""Renaming a step or an output wherever it is used; refused where it is not certain what a name means."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.editing.header_text import options_with_words
from jupyter_pipelines.notebook.editing.write_header import EditResult
from jupyter_pipelines.notebook.headers.cell_layout import RawHeader, read_layout
from jupyter_pipelines.notebook.headers.lexer import HeaderToken
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import NotebookCell, NotebookDocument
from jupyter_pipelines.pipeline.artifacts import StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline

Edit = tuple[int, int, int, str]
"""Line counted from 1, column, length, and the text that goes there."""


def rename_step(document: NotebookDocument, old: str, new: str) -> EditResult:
    """Return the cells in which the step `old` is renamed to `new`: in headers, and in ``%pipeline`` lines.

    Raises
    ------
    PlanError
        There is no such step (JP603), or the notebook would be faulty (every fault).
    """
    pipeline = _pipeline(document)
    if old not in pipeline:
        raise PlanError(_no_step(old))
    if new in pipeline:
        raise PlanError(_refused(old, f"there is a step `{new}` already, and the two would become one"))
    changes = {}
    for cell in document.cells:
        text = _patched(cell.source, _step_edits(cell, old, new))
        text = _in_magics(text, old, new)
        if text != cell.source and cell.id:
            changes[cell.id] = text
    return _edit_result(document, changes)


def rename_output(document: NotebookDocument, step: str, old: str, new: str) -> EditResult:
    """Return the cells in which the output `old` of `step` is renamed to `new`: in headers, and as a variable in steps.

    Raises
    ------
    PlanError
        There is no such output (JP603); it is not certain that a name means it (JP604); the notebook would be faulty.
    """
    pipeline = _pipeline(document)
    if step not in pipeline or old not in {output.name for output in pipeline[step].outputs}:
        raise PlanError(_no_step(f"{step}.{old}"))
    if not new.isidentifier():
        raise PlanError(_refused(old, f"`{new}` is no Python name"))
    affected = {step, *_consumers(pipeline, step, old)}
    changes = {}
    for cell in document.cells:
        header = split_cell(cell.source, cell.number, cell.tags).header
        own = header.name if header and header.kind == "step" else ""
        edits = list(_output_edits(cell, step, old, new, own in affected))
        if own in affected:
            edits += _variable_edits(cell, old, new)
        elif cell.kind == "code" and not own and _mentions(cell, old):
            raise PlanError(_refused(old, f"cell {cell.number}, which is no step, uses a name like it"))
        text = _in_magics(_patched(cell.source, edits), f"{step}.{old}", f"{step}.{new}")
        if text != cell.source and cell.id:
            changes[cell.id] = text
    return _edit_result(document, changes)


def _consumers(pipeline: Pipeline, step: str, output: str) -> Iterator[str]:
    """Yield the steps that take the output under its own name."""
    for consumer in pipeline:
        if any(
            step_input.source == StepOutputRef(step=step, output=output) and step_input.name == output
            for step_input in consumer.inputs
        ):
            yield consumer.name


# Headers


def _step_edits(cell: NotebookCell, old: str, new: str) -> Iterator[Edit]:
    raw_header = _raw_header(cell)
    if raw_header is None:
        return
    if raw_header.words and raw_header.words[0].text == old:
        yield _edit(raw_header.words[0], old, new)
    for option, words in options_with_words(raw_header.words[1:]):
        for word in words:
            if option.name == "after":
                yield from _replacements(word, rf"(?<![\w-]){re.escape(old)}(?![\w-])", new)
            elif option.name == "in":
                yield from _replacements(word, rf"(?<==){re.escape(old)}(?=\.)", new)


def _output_edits(cell: NotebookCell, step: str, old: str, new: str, is_affected: bool) -> Iterator[Edit]:
    raw_header = _raw_header(cell)
    for option, words in options_with_words(raw_header.words[1:]) if raw_header else ():
        for word in words:
            if option.name == "in":
                yield from _replacements(word, rf"(?<=={re.escape(step)}\.){re.escape(old)}(?!\w)", new)
            if is_affected and option.name in ("in", "out", "optional"):
                yield from _replacements(word, rf"(?:(?<=^)|(?<=,)){re.escape(old)}(?=$|[,:=])", new)


def _raw_header(cell: NotebookCell) -> RawHeader | None:
    layout = read_layout(cell.source, cell.number) if cell.kind == "code" else None
    raw_header = layout.marks[0] if layout and layout.marks else None
    return raw_header if raw_header is not None and raw_header.kind == "step" else None


def _edit(word: HeaderToken, old: str, new: str) -> Edit:
    start = word.shown.find(old)
    return word.place.line, word.place.column + max(start, 0), len(old), new


def _replacements(word: HeaderToken, pattern: str, new: str) -> Iterator[Edit]:
    for match in re.finditer(pattern, word.shown):
        yield word.place.line, word.place.column + match.start(), match.end() - match.start(), new


def _in_magics(text: str, old: str, new: str) -> str:
    """Return the text with the name replaced in lines of ``%pipeline``."""
    pattern = rf"(?<![\w.-]){re.escape(old)}(?![\w-])"
    lines = text.split("\n")
    return "\n".join(
        re.sub(pattern, lambda _: new, line) if line.lstrip().startswith("%pipeline ") else line for line in lines
    )


# Variables


def _variable_edits(cell: NotebookCell, old: str, new: str) -> list[Edit]:
    """Return the edits of a variable in the code of a step.

    Raises
    ------
    PlanError
        Some use of the name may be something else: a local name, a text that is code, the new name is in use.
    """
    split = split_cell(cell.source, cell.number, cell.tags)
    code = parse_code(split.body, cell.number)
    if code.tree is None:
        raise PlanError(_refused(old, f"cell {cell.number} cannot be read"))
    names = [node for node in ast.walk(code.tree) if isinstance(node, ast.Name)]
    if any(node.id == new for node in names) or new in _bound_otherwise(code.tree):
        raise PlanError(_refused(old, f"cell {cell.number} uses `{new}` already"))
    if old in _bound_otherwise(code.tree):
        raise PlanError(_refused(old, f"cell {cell.number} binds the same name in a function, class or import"))
    if _in_texts(code.tree, old):
        raise PlanError(_refused(old, f"cell {cell.number} has it in a text, which may be code"))
    lines, written = code.source.split("\n"), cell.source.split("\n")[split.offset :]
    word = re.compile(rf"\b{re.escape(old)}\b")
    for line, as_written in zip(lines, written, strict=False):
        # Translated `!` and `%` lines have their names in other columns than the text.
        if line != as_written and line.lstrip()[:1] != "#" and word.search(as_written):
            raise PlanError(_refused(old, f"a line of cell {cell.number} that is not Python uses it: {as_written}"))
    edits = [_name_edit(node, lines, split.offset, new) for node in names if node.id == old]
    source_lines = cell.source.split("\n")
    # Positions are those of the analysed text: each is checked in the text that is edited.
    if any(source_lines[line - 1][column : column + length] != old for line, column, length, _ in edits):
        raise PlanError(_refused(old, f"cell {cell.number} has it where it cannot be found again"))
    return edits


def _name_edit(node: ast.Name, lines: list[str], offset: int, new: str) -> Edit:
    column = len(lines[node.lineno - 1].encode()[: node.col_offset].decode(errors="ignore"))
    return node.lineno + offset, column, len(node.id), new


def _bound_otherwise(tree: ast.AST) -> set[str]:
    """Return the names that are bound by something else than an assignment: arguments, functions, imports, patterns."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names |= {node.name, *_locals(node)}
        elif isinstance(node, ast.comprehension):
            names |= {child.id for child in ast.walk(node.target) if isinstance(child, ast.Name)}
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            names |= set(node.names)
    return names


def _locals(node: ast.AST) -> Iterator[str]:
    return (child.id for child in ast.walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store))


def _in_texts(tree: ast.AST, name: str) -> bool:
    word = re.compile(rf"\b{re.escape(name)}\b")
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    formatted = (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr))
    in_formatted = any(
        isinstance(child, ast.Name) and child.id == name for node in formatted for child in ast.walk(node)
    )
    return in_formatted or any(word.search(text) for text in texts)


def _mentions(cell: NotebookCell, name: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", cell.source) is not None


# Cells


def _patched(source: str, edits: Iterable[Edit]) -> str:
    lines = source.split("\n")
    # From the end, so that earlier positions stay valid; as a set, because two rules may find the same place.
    for line, column, length, text in sorted(set(edits), reverse=True):
        old = lines[line - 1]
        lines[line - 1] = old[:column] + text + old[column + length :]
    return "\n".join(lines)


def _pipeline(document: NotebookDocument) -> Pipeline:
    reading = read(document)
    if reading.pipeline is None:
        raise PlanError(*(fault for fault in reading.faults if fault.severity == "error"))
    return reading.pipeline


def _edit_result(document: NotebookDocument, changes: dict[str, str]) -> EditResult:
    # The result has to be a pipeline as a whole: otherwise nothing is changed.
    reading = read(document.with_texts(changes))
    errors = [fault for fault in reading.faults if fault.severity == "error"]
    if errors:
        raise PlanError(*errors)
    return EditResult(cells=changes, faults=reading.faults)


def _no_step(name: str) -> Diagnostic:
    return Diagnostic(
        code="JP603", message=f"there is no `{name}`", suggestion="choose a step or an output of this notebook"
    )


def _refused(name: str, why: str) -> Diagnostic:
    return Diagnostic(
        code="JP604",
        message=f"`{name}` is not renamed: {why}",
        suggestion="rename it by hand where you know what it means",
    )
