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
from jupyter_pipelines.pipeline.identifiers import NAME_LETTER, normal_name, only_names

Edit = tuple[int, int, int, str]
"""Line counted from 1, column, length, and the text that goes there."""

_STEP, _NAME = rf"(?P<step>(?:{NAME_LETTER}|-)+)", rf"(?P<name>{NAME_LETTER}+)"
_WAITED_FOR = re.compile(rf"(?P<name>(?:{NAME_LETTER}|-)+)")
_UPSTREAM_STEP = re.compile(rf"(?<==)(?P<name>(?:{NAME_LETTER}|-)+)(?=\.)")
_UPSTREAM_OUTPUT = re.compile(rf"(?<==){_STEP}\.{_NAME}")
_OWN_NAME = re.compile(rf"(?:(?<=^)|(?<=,)){_NAME}(?=$|[,:=])")
_NAMED = re.compile(rf"(?<!\.)(?<!{NAME_LETTER}){_STEP}(?:\.{_NAME})?")
_WORD = re.compile(rf"(?P<dot>\.?)(?<!{NAME_LETTER}){_NAME}")


def rename_step(document: NotebookDocument, old: str, new: str) -> EditResult:
    """Return the cells in which the step `old` is renamed to `new`: in headers, and in ``%pipeline`` lines.

    Raises
    ------
    PlanError
        There is no such step (JP603), or the notebook would be faulty (every fault).
    """
    pipeline = _pipeline(document)
    old, new = normal_name(old), normal_name(new)
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
    step, old, new = map(normal_name, (step, old, new))
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
        elif cell.kind == "code" and not own and _mentions(cell.source, old, attributes=False):
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
    if raw_header.words and normal_name(raw_header.words[0].text) == old:
        yield _edit(raw_header.words[0], new)
    for option, words in options_with_words(raw_header.words[1:]):
        for word in words:
            if option.name == "after":
                yield from _replacements(word, _WAITED_FOR, old, new)
            elif option.name == "in":
                yield from _replacements(word, _UPSTREAM_STEP, old, new)


def _output_edits(cell: NotebookCell, step: str, old: str, new: str, is_affected: bool) -> Iterator[Edit]:
    raw_header = _raw_header(cell)
    for option, words in options_with_words(raw_header.words[1:]) if raw_header else ():
        for word in words:
            if option.name == "in":
                yield from _replacements(word, _UPSTREAM_OUTPUT, old, new, step)
            if is_affected and option.name in ("in", "out", "optional"):
                yield from _replacements(word, _OWN_NAME, old, new)


def _raw_header(cell: NotebookCell) -> RawHeader | None:
    layout = read_layout(cell.source, cell.number) if cell.kind == "code" else None
    raw_header = layout.marks[0] if layout and layout.marks else None
    return raw_header if raw_header is not None and raw_header.kind == "step" else None


def _edit(word: HeaderToken, new: str) -> Edit:
    start = word.shown.find(word.text)
    return word.place.line, word.place.column + max(start, 0), len(word.text), new


def _replacements(word: HeaderToken, pattern: re.Pattern[str], old: str, new: str, step: str = "") -> Iterator[Edit]:
    """Yield where the name stands in a word, in whichever spelling, behind the name of a step if one is given."""
    for match in pattern.finditer(only_names(word.shown)):
        if normal_name(match["name"]) == old and (not step or normal_name(match["step"]) == step):
            start, end = match.span("name")
            yield word.place.line, word.place.column + start, end - start, new


def _in_magics(text: str, old: str, new: str) -> str:
    """Return the text with the name replaced in lines of ``%pipeline``."""
    lines = text.split("\n")
    return "\n".join(_in_magic(line, old, new) if line.lstrip().startswith("%pipeline ") else line for line in lines)


def _in_magic(line: str, old: str, new: str) -> str:
    group: str | int = 0 if "." in old else "step"
    for match in reversed([*_NAMED.finditer(only_names(line))]):
        if normal_name(match[group]) == old:
            line = line[: match.start(group)] + new + line[match.end(group) :]
    return line


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
    for line, as_written in zip(lines, written, strict=False):
        # Translated `!` and `%` lines have their names in other columns than the text.
        # What IPython makes of `!` and `%` lines stands elsewhere than what was written.
        if line != as_written and line.lstrip()[:1] != "#" and _mentions(as_written, old):
            raise PlanError(_refused(old, f"a line of cell {cell.number} that is not Python uses it: {as_written}"))
    edits = [_name_edit(node, lines, split.offset, new) for node in names if node.id == old]
    source_lines = cell.source.split("\n")
    shown = (source_lines[line - 1][column : column + length] for line, column, length, _ in edits)
    if any(normal_name(text) != old for text in shown):
        raise PlanError(_refused(old, f"cell {cell.number} has it where it cannot be found again"))
    return edits


def _name_edit(node: ast.Name, lines: list[str], offset: int, new: str) -> Edit:
    start, end = (
        len(lines[node.lineno - 1].encode()[:position].decode(errors="ignore"))
        for position in (node.col_offset, node.end_col_offset)
    )
    return node.lineno + offset, start, end - start, new


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
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    formatted = (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr))
    in_formatted = any(
        isinstance(child, ast.Name) and child.id == name for node in formatted for child in ast.walk(node)
    )
    return in_formatted or any(_mentions(text, name) for text in texts)


def _mentions(text: str, name: str, *, attributes: bool = True) -> bool:
    words = _WORD.finditer(only_names(text))
    return any(normal_name(word["name"]) == name and (attributes or not word["dot"]) for word in words)


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
