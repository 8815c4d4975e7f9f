"""Completions at the caret of a header or a ``%pipeline`` line, each with a line of help."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_pipelines import plugins
from jupyter_pipelines.notebook.editing.header_text import HeaderFields, bound_names, header_fields, with_header
from jupyter_pipelines.notebook.headers.io_spec import split_item
from jupyter_pipelines.notebook.headers.lexer import header_word
from jupyter_pipelines.notebook.headers.options import BY_KEY, BY_SPELLING, KINDS, OPTIONS, HeaderOption
from jupyter_pipelines.notebook.parameters.params_cell import parameters_of_text
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import NotebookCell, NotebookDocument
from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS, FileSource, StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.identifiers import normal_name
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.step import Step

MAX_COMPLETIONS = 200
_WORD = re.compile(r"[^\s,]*$")
# A valid name that no step has: without a name, the rest of a half-written header could not be read.
_PLACEHOLDER_NAME = "a-step-of-this-name-there-is-not"
_KINDS = {"step": "cells under one name: inputs in, outputs out", "params": "typed values set from outside",
          "setup": "statements that every step after it needs"}  # fmt: skip
SUBCOMMANDS: Mapping[str, str] = {
    "show": "the graph, live", "run": "run the pipeline", "plan": "what would run, and why",
    "why": "why a step would run", "check": "every fault at once",
    "load": "a stored output into the namespace",
    "debug": "the inputs of a failed step into the namespace", "runs": "earlier runs", "diff": "two runs side by side",
    "freeze": "write inferred interfaces into the headers", "attach": "see how a run gets on", "cancel": "stop a run",
    "convert": "a pipeline of an exploratory notebook", "explain": "what an error code means",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionItem:
    """A completion: a text that may stand at the caret."""

    text: str
    kind: str
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionList:
    """All completions for the text between two columns of a line."""

    start: int
    end: int
    matches: tuple[CompletionItem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the list as an object for JSON."""
        return asdict(self) | {"matches": [asdict(candidate) for candidate in self.matches]}


def complete(document: NotebookDocument, cell_id: str, line: int, column: int) -> CompletionList:
    """Return the completions at the caret.

    Parameters
    ----------
    document : NotebookDocument
        The notebook.
    cell_id : str
        Id of the cell.
    line, column : int
        Where the caret is, both counted from 0.
    """
    cell = next((cell for cell in document.cells if cell.id == cell_id), None)
    lines = cell.source.split("\n") if cell else []
    before = lines[line][:column] if cell and 0 <= line < len(lines) else ""
    word = _WORD.search(before)
    start = word.start() if word else column
    part = before[start:]
    if cell is None or not before.strip():
        return CompletionList(start=start, end=column)
    context = _CompletionContext(document, cell)
    if before.lstrip().startswith("%pipeline"):
        candidates = context.magic(before[:start])
    elif re.match(r"\s*%%\w*$", before):
        candidates = (CompletionItem(text=f"%%{kind}", kind="option", help=_KINDS[kind]) for kind in KINDS)
    elif _is_header(lines, line):
        candidates = context.header(_logical_line(lines, line, before[:start]), part)
    else:
        return CompletionList(start=start, end=column)
    parts = (part, normal_name(part))
    matches = tuple(
        dict.fromkeys(
            candidate for candidate in candidates if candidate.text.startswith(parts) and candidate.text != part
        )
    )
    return CompletionList(start=start, end=column, matches=tuple(map(_as_written, matches[:MAX_COMPLETIONS])))


def _as_written(candidate: CompletionItem) -> CompletionItem:
    return replace(candidate, text=header_word(candidate.text)) if candidate.kind == "file" else candidate


def _is_header(lines: Sequence[str], line: int) -> bool:
    """Return whether the line belongs to a header: its first line, a continuation, or a ``#|`` line at the top."""
    if lines[line].lstrip().startswith("#|"):
        return True
    while line > 0 and lines[line - 1].rstrip().endswith("\\"):
        line -= 1
    return bool(re.match(r"\s*%%step\b", lines[line]))


def _logical_line(lines: Sequence[str], line: int, before: str) -> str:
    """Return the header up to the caret as one line, spelt as a magic."""
    if lines[line].lstrip().startswith("#|"):
        cell_id, colon, values = before.partition("#|")[2].partition(":")
        name = cell_id.strip()
        return (
            f"%%step {values}" if name == "step" and colon else f"%%step x --{name} {values}" if colon else "%%step x "
        )
    start = line
    while start > 0 and lines[start - 1].rstrip().endswith("\\"):
        start -= 1
    return " ".join([*(header_line.rstrip().rstrip("\\") for header_line in lines[start:line]), before])


class _CompletionContext:
    """The steps and parameters of the notebook whose header the user edits."""

    def __init__(self, document: NotebookDocument, cell: NotebookCell) -> None:
        self.document = document
        self.cell = cell
        header = header_fields(cell.source)
        self.name = normal_name(header.name) if header else ""
        # The header as it stands is half written; without its options the notebook can be read.
        bare = HeaderFields(name=self.name or _PLACEHOLDER_NAME, form=header.form if header else "magic")
        texts = {cell.id: with_header(cell.source, bare)} if cell.id and header else {}
        self.pipeline: Pipeline | None = read(document.with_texts(texts)).pipeline
        self.steps = list(_steps(document, self.pipeline))
        self.own: Step | None = next(
            (step for step in self.pipeline or () if any(step_cell.id == cell.id for step_cell in step.cells)), None
        )

    def header(self, before: str, part: str) -> Iterable[CompletionItem]:
        words = before.split()
        if len(words) <= 1:
            return self._step_names("goes on with this step")
        option = next((BY_SPELLING[word] for word in reversed(words) if word in BY_SPELLING), None)
        if part.startswith("-") or option is None or option.takes == "nothing":
            return self._options(words)
        return [*self._values(option, part), *(self._options(words) if not part else ())]

    def _options(self, words: Sequence[str]) -> Iterator[CompletionItem]:
        used = {BY_SPELLING[word].name for word in words if word in BY_SPELLING}
        for option in OPTIONS:
            if option.many or option.name not in used:
                for spelling in (option.short, option.long):
                    if spelling:
                        yield CompletionItem(text=spelling, kind="option", help=f"{option.usage}: {option.help}")

    def _values(self, option: HeaderOption, part: str) -> Iterable[CompletionItem]:
        if option.name == "foreach":
            return self._axes(part)
        if "=" in part and option.name in ("in", "out"):
            return self._locators(option, part)
        if ":" in part and option.name in ("in", "out"):
            return self._formats(part)
        table: dict[str, Callable[[], Iterable[CompletionItem]]] = {
            "in": self._inputs,
            "out": self._outputs,
            "param": self._parameters,
            "optional": self._inputs,
            "after": partial(self._step_names, "wait for it"),
            "kernel": _kernels,
            "on": _executors,
            "cache-for": _lifetimes,
        }
        provider = table.get(option.name)
        return provider() if provider else ()

    def _step_names(self, why: str) -> Iterator[CompletionItem]:
        for step in self.steps:
            if step.name not in (self.name, _PLACEHOLDER_NAME):
                yield CompletionItem(text=step.name, kind="step", help=why)

    def _inputs(self) -> Iterator[CompletionItem]:
        own_inputs = {step_input.name for step_input in self.own.inputs} if self.own else set()
        for step in self.steps:
            if step.cell < self.cell.number:
                for name in sorted(step.outputs, key=lambda output_name: output_name not in own_inputs):
                    yield CompletionItem(text=name, kind="output", help=f"output of step `{step.name}`")

    def _outputs(self) -> Iterator[CompletionItem]:
        names = [output.name for output in self.own.outputs] if self.own else []
        bound = [name for name in bound_names(self.cell.source) if name not in names]
        for name in (*names, *bound):
            yield CompletionItem(
                text=name, kind="output", help="a later step takes it" if name in names else "bound in this cell"
            )

    def _parameters(self) -> Iterator[CompletionItem]:
        parameters = self.pipeline.parameters if self.pipeline else _parameters(self.document)
        for parameter in parameters:
            yield CompletionItem(
                text=parameter.name,
                kind="parameter",
                help=parameter.description or parameter.annotation or parameter.kind,
            )

    def _axes(self, part: str) -> Iterator[CompletionItem]:
        name, equals, source = part.partition("=")
        if not equals:
            return
        for parameter in self.pipeline.parameters if self.pipeline else _parameters(self.document):
            if parameter.kind in ("list", "any"):
                yield CompletionItem(
                    text=f"{name}={parameter.name}", kind="parameter", help="an item for each of its values"
                )
        for path in _files(self.document.path.parent if self.document.path else None, source):
            if path.endswith("/"):
                yield CompletionItem(text=f"{name}={path}", kind="file", help="an item for each file")

    def _locators(self, option: HeaderOption, part: str) -> Iterator[CompletionItem]:
        name, _, locator = part.partition("=")
        for step in self.steps if option.name == "in" else ():
            if step.name != self.name:
                for output in step.outputs:
                    yield CompletionItem(
                        text=f"{name}={step.name}.{output}", kind="output", help=f"output of `{step.name}`"
                    )
        for path in _files(self.document.path.parent if self.document.path else None, locator):
            yield CompletionItem(text=f"{name}={path}", kind="file", help="a file; its content counts")

    def _formats(self, part: str) -> Iterator[CompletionItem]:
        head = part.rpartition(":")[0]
        for name in (*plugins.names("serializers"), *PATH_FORMATS):
            yield CompletionItem(text=f"{head}:{name}", kind="format", help="how it is stored")

    def magic(self, before: str) -> Iterable[CompletionItem]:
        words = before.split()
        if len(words) <= 1:
            return (CompletionItem(text=name, kind="option", help=text) for name, text in SUBCOMMANDS.items())
        if words[1] == "load":
            return (
                CompletionItem(text=f"{step.name}.{output}", kind="output")
                for step in self.steps
                for output in step.outputs
            )
        if words[-1] == "-p":
            return (
                CompletionItem(text=f"{candidate.text}=", kind=candidate.kind, help=candidate.help)
                for candidate in self._parameters()
            )
        return self._step_names("")


class _KnownStep(NamedTuple):
    """A step as far as it is known while the notebook has errors."""

    name: str
    outputs: list[str]
    cell: int


def _steps(document: NotebookDocument, pipeline: Pipeline | None) -> Iterator[_KnownStep]:
    if pipeline is not None:
        for step in pipeline:
            yield _KnownStep(step.name, [output.name for output in step.outputs], step.cells[0].number)
        return
    for cell in document.cells:
        header = header_fields(cell.source) if cell.kind == "code" else None
        if header is not None and header.name:
            outputs = [normal_name(split_item(io_spec)[0]) for io_spec in header.options.get("out", ())]
            yield _KnownStep(normal_name(header.name), outputs, cell.number)


def _parameters(document: NotebookDocument) -> Iterator[Parameter]:
    for cell in document.cells:
        if cell.kind == "code" and "%%params" in cell.source:
            yield from parameters_of_text(cell.source)


def _files(folder: Path | None, part: str) -> Iterator[str]:
    if folder is None or part.startswith(("/", "~", "..")):
        return
    subfolder, _, start = part.rpartition("/")
    try:
        paths = sorted((folder / subfolder).iterdir())
    except OSError:
        return
    # Completion is asked for at every keystroke: a large folder must not slow it down.
    for path in paths[:2000]:
        if path.name.startswith(start) and not path.name.startswith("."):
            yield (f"{subfolder}/" if subfolder else "") + path.name + ("/" if path.is_dir() else "")


def _lifetimes() -> Iterator[CompletionItem]:
    for text, meaning in (("1h", "an hour"), ("1d", "a day"), ("forever", "until something else changes")):
        yield CompletionItem(text=text, kind="value", help=f"accept the result for {meaning}")


def _executors() -> Iterator[CompletionItem]:
    for name in plugins.names("executors"):
        yield CompletionItem(text=name, kind="value", help="an executor")


def _kernels() -> Iterator[CompletionItem]:
    from jupyter_core.paths import jupyter_path

    for folder in jupyter_path("kernels"):
        try:
            names = sorted(path.name for path in Path(folder).iterdir() if (path / "kernel.json").is_file())
        except OSError:
            continue
        yield from (CompletionItem(text=name, kind="value", help="an installed kernel") for name in names)


# Hover


def explain(document: NotebookDocument, cell_id: str, line: int, column: int) -> dict[str, Any]:
    """Return the help for the word at the caret of a header, and the columns of the word."""
    cell = next((cell for cell in document.cells if cell.id == cell_id), None)
    lines = cell.source.split("\n") if cell else []
    if cell is None or not 0 <= line < len(lines) or not _is_header(lines, line):
        return {"text": None, "from": column, "to": column}
    word = next(
        (match for match in re.finditer(r"[^\s,]+", lines[line]) if match.start() <= column <= match.end()), None
    )
    if word is None:
        return {"text": None, "from": column, "to": column}
    text = _help_for(document, cell, normal_name(word[0].strip("\"'")))
    return {"text": text, "from": word.start(), "to": word.end()}


def _help_for(document: NotebookDocument, cell: NotebookCell, word: str) -> str | None:
    option = BY_SPELLING.get(word) or BY_KEY.get(word.rstrip(":"))
    if option is not None:
        return f"{option.usage}\n{option.help}"
    if word.removeprefix("%%") in _KINDS and word.startswith("%%"):
        return f"{word}: {_KINDS[word.removeprefix('%%')]}"
    pipeline = read(document).pipeline
    if pipeline is None:
        return None
    name = word.partition("=")[0].partition(":")[0]
    own_step = next((step for step in pipeline if any(step_cell.id == cell.id for step_cell in step.cells)), None)
    return (
        _input_help(own_step, name)
        or _output_help(pipeline, own_step, name)
        or _parameter_help(pipeline, name)
        or _step_help(pipeline, word)
    )


def _input_help(own_step: Step | None, name: str) -> str | None:
    for step_input in own_step.inputs if own_step else ():
        if step_input.name == name:
            source = step_input.source
            if isinstance(source, StepOutputRef):
                return f"input `{name}`, made by step `{source.step}`"
            return f"input `{name}`: the {'file' if isinstance(source, FileSource) else 'content of'} {source}"
    return None


def _output_help(pipeline: Pipeline, own_step: Step | None, name: str) -> str | None:
    if own_step is None or name not in {output.name for output in own_step.outputs}:
        return None
    consumers = [
        step.name
        for step in pipeline
        if any(str(step_input.source) == f"{own_step.name}.{name}" for step_input in step.inputs)
    ]
    return f"output `{name}`, " + (f"taken by {', '.join(consumers)}" if consumers else "taken by no step")


def _parameter_help(pipeline: Pipeline, name: str) -> str | None:
    parameter = next((declared for declared in pipeline.parameters if declared.name == name), None)
    return (
        f"parameter `{name}`: {parameter.annotation or parameter.kind}\n{parameter.description}".rstrip()
        if parameter
        else None
    )


def _step_help(pipeline: Pipeline, name: str) -> str | None:
    if name not in pipeline:
        return None
    step = pipeline[name]
    takes = ", ".join(step_input.name for step_input in step.inputs) or "nothing"
    makes = ", ".join(output.name for output in step.outputs) or "nothing"
    return f"step `{name}`\ntakes {takes}\nmakes {makes}"
