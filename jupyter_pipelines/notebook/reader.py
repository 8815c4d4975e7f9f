"""Read a notebook into a pipeline, without executing it."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.checks.file_checks import unordered_reads
from jupyter_pipelines.notebook.checks.global_state_checks import GlobalStateLint
from jupyter_pipelines.notebook.checks.hidden_names import hidden_name_faults
from jupyter_pipelines.notebook.checks.name_checks import NameDiagnostics, UnreadableCode
from jupyter_pipelines.notebook.checks.step_checks import StepChecker
from jupyter_pipelines.notebook.code.analyze import analyse
from jupyter_pipelines.notebook.code.cell_code import CellCode, parse_code
from jupyter_pipelines.notebook.code.file_reads import files_read
from jupyter_pipelines.notebook.code.project_modules import ProjectModules
from jupyter_pipelines.notebook.code.run_magic import BoundElsewhere, MissingScript, ScriptFinder, code_of, command_of
from jupyter_pipelines.notebook.code.toplevel import top_level_statements
from jupyter_pipelines.notebook.headers.cell_layout import with_header_corrected
from jupyter_pipelines.notebook.headers.split import CellHeader, SplitCell, split_cell
from jupyter_pipelines.notebook.linking.shared_code import SharedCodeIndex
from jupyter_pipelines.notebook.linking.step_drafts import StepDraft, step_diagnostic
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface, infer_interfaces
from jupyter_pipelines.notebook.parameters.params_cell import parse_params_cell
from jupyter_pipelines.notebook.source.document import NotebookCell, NotebookDocument, read_document
from jupyter_pipelines.notebook.source.project_settings import ignored_by_project
from jupyter_pipelines.notebook.source.read_result import ReadResult, folder_of, project_root
from jupyter_pipelines.notebook.source.recorded_queries import RecordedQueries
from jupyter_pipelines.pipeline.foreach import ForeachSpec
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.step import ComputeResources, Section, Step, StepCell

_SECTIONS: tuple[Section, ...] = ("inputs", "outputs", "parameters")
_VALUES = ("retries", "timeout", "cache_for", "cpus", "gpus", "memory", "on", "kernel", "at_once", "allow_failed")
_PYTHON = frozenset({"python", "ipython", "python3"})


def read(
    source: str | Path | NotebookDocument,
    *,
    texts: Mapping[str, str] | None = None,
    recorded_queries: RecordedQueries | None = None,
) -> ReadResult:
    """Read a notebook.

    Parameters
    ----------
    source : str, Path or NotebookDocument
        The notebook.
    texts : Mapping of str to str
        Texts that count instead of the saved texts, by cell id.
    recorded_queries : RecordedQueries or None
        Looks at the files around the notebook, and records its queries with their answers.

    Raises
    ------
    NotebookError
        It cannot be read at all (JP104). A faulty pipeline raises nothing: see :attr:`ReadResult.faults`.
    """
    document = source if isinstance(source, NotebookDocument) else read_document(source)
    document = document.with_texts(texts) if texts else document
    with _garbage_collection_paused():
        return _with_misspelt_headers(_read(document, recorded_queries or RecordedQueries()))


def _read(document: NotebookDocument, recorded_queries: RecordedQueries) -> ReadResult:
    reader = _NotebookReader(document, recorded_queries)
    reader.read()
    return reader.result()


def _with_misspelt_headers(result: ReadResult) -> ReadResult:
    """Return a reading in which a misspelt header is an error instead of the errors that follow from it.

    ``%%stp`` may be a magic of another extension, so it counts as misspelt only if its correction mends something.
    """
    errors = [fault for fault in result.faults if fault.severity == "error"]
    if not errors:
        return result
    document, faults, misspelt = result.document, result.faults, []
    for fault in result.faults:
        cell = next((cell for cell in document.cells if fault.place and cell.number == fault.place.cell), None)
        source = with_header_corrected(cell.source, fault) if cell else None
        if cell is None or source is None:
            continue
        cells = tuple(replace(other, source=source) if other is cell else other for other in document.cells)
        # With queries of its own: a reading with errors is never saved.
        corrected = _read(replace(document, cells=cells), RecordedQueries())
        remaining = [other for other in corrected.faults if other.severity == "error"]
        if len(remaining) < len(errors):
            document, faults, errors = corrected.document, corrected.faults, remaining
            misspelt.append(replace(fault, severity="error", notes=()))
    if not misspelt:
        return result
    # What is wrong in a corrected cell itself would be shown with a text that the user has not written.
    cells_corrected = {fault.place.cell for fault in misspelt if fault.place}
    others = [fault for fault in faults if not (fault.place and fault.place.cell in cells_corrected)]
    return replace(result, faults=(*misspelt, *others))


@contextlib.contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Disable garbage collection: with the syntax trees of thousands of cells, it takes longer than reading."""
    # Process-wide: a reading in another thread may enable it again before this one ends, which only costs time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(slots=True)
class _SortedCells:
    """The code cells of a notebook, sorted by what they are for."""

    steps: dict[str, StepDraft] = field(default_factory=dict)
    plain: list[tuple[NotebookCell, SplitCell]] = field(default_factory=list)
    setups: list[tuple[NotebookCell, SplitCell]] = field(default_factory=list)
    declaring: list[tuple[NotebookCell, SplitCell]] = field(default_factory=list)


class _NotebookReader:
    """Reads a notebook into a pipeline."""

    def __init__(self, document: NotebookDocument, recorded_queries: RecordedQueries) -> None:
        self.document = document
        self.witness = recorded_queries
        self.folder = folder_of(document)
        self.root = project_root(self.folder)
        self.sorted = _SortedCells()
        self.parameters: dict[str, Parameter] = {}
        self.ignored, self.faults = ignored_by_project(self.root, recorded_queries)
        self.faulty: list[str] = []
        self.unreadable: list[UnreadableCode] = []
        self.faces: Mapping[str, StepInterface] = {}

    def read(self) -> None:
        if self.document.language not in _PYTHON:
            self.faults.append(_other_kernel(self.document.language))
            return
        for cell in self.document.cells:
            if cell.kind == "code":
                self._classify(cell)
        self._link()

    # Cells

    def _classify(self, cell: NotebookCell) -> None:
        split = split_cell(cell.source, cell.number, cell.tags)
        self.faults += split.faults
        kind = split.header.kind if split.header else None
        code = self._parse(cell, split, strict=kind is not None)
        if split.header is not None and kind == "step":
            self._step(cell, split, split.header, code)
        elif kind == "params":
            self._read_parameters(cell, split)
        elif kind == "setup":
            self.sorted.setups.append((cell, split))
            self.faults += [_other_language(None, cell, code.opaque)] if code.opaque else []
        else:
            self.sorted.plain.append((cell, split))

    def _parse(self, cell: NotebookCell, split: SplitCell, *, strict: bool) -> CellCode:
        """Parse a cell; a syntax error in exploration is no error, but hides the names that the cell binds."""
        code = parse_code(split.body, cell.number, split.offset)
        if code.fault is not None and strict:
            self.faulty.append(cell.source)
            self.faults.append(code.fault)
        elif code.fault is not None:
            self.unreadable.append(UnreadableCode(fault=code.fault, text=cell.source, cell=cell.number))
        return code

    def _read_parameters(self, cell: NotebookCell, split: SplitCell) -> None:
        self.sorted.declaring.append((cell, split))
        parameters, faults = parse_params_cell(cell, split.body)
        self.faults += faults
        for parameter in parameters:
            before = self.parameters.setdefault(parameter.name, parameter)
            if before is not parameter:
                self.faults.append(_declared_twice(parameter, before))

    def _step(self, cell: NotebookCell, split: SplitCell, header: CellHeader, code: CellCode) -> None:
        has_faulty_name = any(
            diagnostic.code == "JP103" and diagnostic.place == header.place for diagnostic in split.faults
        )
        # Only its text is kept, so that names which it alone binds are not reported as undefined.
        if not header.name or has_faulty_name:
            self.faulty.append(cell.source)
            return
        draft = self.sorted.steps.get(header.name)
        if draft is None:
            draft = self.sorted.steps[header.name] = StepDraft(header.name, len(self.sorted.steps))
        self.faults += _contradictions(draft, header)
        draft.headers.append(header)
        draft.cells.append(
            StepCell(number=cell.number, id=cell.id, text=cell.source, body=split.body, offset=split.offset)
        )
        draft.codes.append(code)
        self.faults += [_other_language(draft, cell, code.opaque)] if code.opaque else []

    # Everything together

    def _link(self) -> None:
        modules = ProjectModules(self.folder, self.root, self.witness)
        drafts = list(self.sorted.steps.values())
        # The index of shared code asks which names steps bind, so their analysis comes first.
        self._analyse(drafts, modules)
        index = self._index(modules)
        modules.add_search_folders(path for setup in index.setups for path in setup.names.paths if path is not None)
        names = frozenset(self.parameters)
        self.faces, producers = infer_interfaces(
            drafts, index, names, modules=modules, folder=self.folder, recorded_queries=self.witness
        )
        declared = tuple(self.parameters.values())
        checker = StepChecker(
            self.faces, producers, index, parameters=declared, folder=self.folder, recorded_queries=self.witness
        )
        self.faults += checker.faults()
        name_diagnostics = NameDiagnostics(
            self.faces,
            producers,
            index,
            parameters=names,
            texts=self._texts(),
            faulty="\n".join(self.faulty),
            unreadable=[*self.unreadable, *self._missing_scripts(index)],
        )
        self.faults += name_diagnostics.all()
        self.faults += hidden_name_faults(self.faces.values())
        setups = [split.body for _, split in self.sorted.setups]
        self.faults += unordered_reads(self.faces, self.folder, self.root, setups=setups, ignored=self.ignored)
        self.faults += GlobalStateLint(self.faces, index, self._texts()).faults()

    def _analyse(self, drafts: Sequence[StepDraft], modules: ProjectModules) -> None:
        for draft in drafts:
            draft.names = analyse(draft.codes, modules.star_names)
            if modules.add_search_folders(path for path in draft.names.paths if path is not None):
                # Once more: star imports may come from modules in the folders that the step itself adds.
                draft.names = analyse(draft.codes, modules.star_names)

    def _index(self, modules: ProjectModules) -> SharedCodeIndex:
        scripts = ScriptFinder(self.folder, self.witness, modules.star_names)
        index = SharedCodeIndex(modules.star_names, scripts, partial(self._bound_elsewhere, scripts))
        additions = [
            *((cell, split, index.add) for cell, split in self.sorted.plain),
            *((cell, split, index.add_setup) for cell, split in self.sorted.setups),
            *((cell, split, index.add_parameters) for cell, split in self.sorted.declaring),
        ]
        # In notebook order, as the index expects: the kinds of cells were collected separately.
        for cell, split, add in sorted(additions, key=lambda addition: addition[0].number):
            add(cell.number, split.body)
        # While it runs a file, IPython finds modules beside it.
        scripts_run = [definition.module.path for definition in index.definitions if definition.module]
        modules.add_search_folders(str(Path(path).parent) for path in scripts_run)
        return index

    def _bound_elsewhere(self, scripts: ScriptFinder, cell: int, line: int) -> BoundElsewhere:
        """Return the names that the notebook binds outside a line that runs a file, each with the code that does."""
        bound: dict[str, set[str]] = {name: {""} for name in self.parameters}
        for draft in self.sorted.steps.values():
            items = (item.name for section in _SECTIONS for item in draft.items(section) or ())
            for name in (*draft.names.binds, *items):
                bound.setdefault(name, set()).add("")
        for other, split in (*self.sorted.plain, *self.sorted.setups):
            for piece in top_level_statements(split.body):
                command = command_of(piece)
                if command is not None and (other.number, piece.line) == (cell, line):
                    continue
                for binding in scripts.pieces(command) if command else (piece,):
                    for name in binding.names.binds:
                        bound.setdefault(name, set()).add(code_of(binding))
        return {name: frozenset(codes) for name, codes in bound.items()}

    def _missing_scripts(self, index: SharedCodeIndex) -> Iterator[UnreadableCode]:
        texts = self._texts()
        for cell, line, script, in_setup in index.missing:
            text = texts[cell][line - 1] if line <= len(texts[cell]) else ""
            place = SourceLocation(cell=cell, line=line, length=len(text), text=text)
            fault = _missing_script(script, place, self.folder)
            yield UnreadableCode(fault=fault, text=None, cell=cell, runs_always=in_setup)

    def _texts(self) -> dict[int, list[str]]:
        return {cell.number: cell.source.split("\n") for cell in self.document.cells if cell.kind == "code"}

    # The result

    def result(self) -> ReadResult:
        """Return what was read."""
        # Only where nothing else is wrong: a header that cannot be read may be the reason that there is no step.
        if not self.sorted.steps and not any(diagnostic.severity == "error" for diagnostic in self.faults):
            self.faults.append(_no_steps())
        faults = self._located_faults()
        failed = any(diagnostic.severity == "error" for diagnostic in faults)
        pipeline = self._pipeline(faults)
        if failed:
            incomplete = pipeline if self.document.language in _PYTHON else None
            return ReadResult(document=self.document, pipeline=None, faults=faults, incomplete=incomplete)
        return ReadResult(document=self.document, pipeline=pipeline, faults=faults)

    def _located_faults(self) -> tuple[Diagnostic, ...]:
        name = str(self.document.path) if self.document.path else None
        placed = sorted(
            self.faults,
            key=lambda diagnostic: (diagnostic.place.cell, diagnostic.place.line) if diagnostic.place else (0, 0),
        )
        # Several checks may report the same fault at the same place.
        return tuple(dict.fromkeys(replace(diagnostic, notebook=diagnostic.notebook or name) for diagnostic in placed))

    def _pipeline(self, warnings: tuple[Diagnostic, ...]) -> Pipeline:
        steps = map(step_of, self.faces.values())
        return Pipeline(
            notebook=self.document.path,
            folder=self.folder,
            root=self.root,
            steps=tuple(replace(step, ignore=tuple(dict.fromkeys((*step.ignore, *self.ignored)))) for step in steps),
            parameters=tuple(self.parameters.values()),
            kernel=self.document.kernel,
            warnings=warnings,
        )


def step_of(interface: StepInterface) -> Step:
    """Return the step that an interface describes."""
    draft = interface.draft
    values = {name: _first_value(draft.headers, name) for name in _VALUES}
    files = files_read(
        [
            *(module.source for module in interface.reached.modules),
            *(definition.code.source for definition in interface.reach.definitions),
            *(cell.body for cell in draft.cells),
        ],
        [*interface.parameters, *draft.axes],
    )
    return Step(
        name=draft.name,
        cells=tuple(draft.cells),
        inputs=tuple(interface.inputs.values()),
        outputs=tuple(interface.outputs.values()),
        parameters=interface.parameters,
        inferred=frozenset(section for section in _SECTIONS if draft.items(section) is None),
        after=tuple(dict.fromkeys(item.name for item in draft.after)),
        shared=tuple(definition.code for definition in interface.reach.definitions),
        modules=interface.reached.modules,
        packages=interface.reached.packages,
        files=files.paths,
        templates=files.templates,
        unknown=interface.unknown,
        resources=ComputeResources(cpus=values["cpus"], gpus=values["gpus"], memory=values["memory"]),
        retries=values["retries"] or 0,
        timeout=values["timeout"],
        cache_for=values["cache_for"],
        ignore=tuple(dict.fromkeys(path for header in draft.headers for path in header.ignore)),
        cache=draft.cached,
        always=any(header.always for header in draft.headers),
        on=values["on"],
        kernel=values["kernel"],
        place=draft.place,
        foreach=_foreach(draft, values),
    )


def _foreach(draft: StepDraft, values: Mapping[str, Any]) -> ForeachSpec | None:
    axes = tuple(draft.axes.values())
    return ForeachSpec(axes=axes, at_once=values["at_once"], allowed=values["allow_failed"] or "") if axes else None


def _first_value(headers: Sequence[CellHeader], name: str) -> Any:
    return next((value for header in headers if (value := getattr(header, name)) is not None), None)


# What is wrong with cells


def _contradictions(draft: StepDraft, header: CellHeader) -> Iterator[Diagnostic]:
    """Yield a fault for each option to which two cells of a step give different values."""
    for name in _VALUES:
        before, now = _first_value(draft.headers, name), getattr(header, name)
        if before is not None and now is not None and before != now:
            message = f"step `{draft.name}` has two values for `--{name.replace('_', '-')}`"
            notes = (f"the first stands in cell {draft.first}",)
            yield step_diagnostic(draft, "JP106", message, "keep one of the two", header.place, notes=notes)
    for section in _SECTIONS:
        declared_items = {item.name: item for item in draft.items(section) or ()} if draft.headers else {}
        for item in getattr(header, section) or ():
            first = declared_items.get(item.name)
            if first is not None and (first.locator, first.format) != (item.locator, item.format):
                message = f"step `{draft.name}` declares `{item.name}` twice, and differently"
                yield step_diagnostic(draft, "JP106", message, "keep one of the two", item.place)


def _declared_twice(parameter: Parameter, first: Parameter) -> Diagnostic:
    cell = first.place.cell if first.place else 0
    return Diagnostic(
        code="JP106",
        message=f"parameter `{parameter.name}` is declared twice",
        suggestion="take one of the declarations away",
        place=parameter.place,
        notes=(f"the first declaration is in cell {cell}",),
    )


def _other_language(draft: StepDraft | None, cell: NotebookCell, name: str) -> Diagnostic:
    subject = f"step `{draft.name}`" if draft else "the `%%setup` cell"
    lines = cell.source.split("\n")
    line_number = next(
        (number for number, line in enumerate(lines, start=1) if line.strip().startswith(f"%%{name}")), 1
    )
    column = max(lines[line_number - 1].find("%%"), 0)
    place = SourceLocation(
        cell=cell.number, line=line_number, column=column, length=len(name) + 2, text=lines[line_number - 1]
    )
    message = f"{subject} contains `%%{name}`, which is not Python: what it reads and makes cannot be seen"
    return Diagnostic(
        code="JP108",
        message=message,
        suggestion="call the program from Python (`subprocess.run`), or leave the cell without a header",
        step=draft.name if draft else None,
        place=place,
    )


def _missing_script(script: MissingScript, place: SourceLocation, folder: Path) -> Diagnostic:
    if script.reason:
        return Diagnostic(
            code="JP107",
            message=f"the file `{script.file}`, which cell {place.cell} runs, cannot be read: {script.reason}",
            suggestion="correct the line: `%run` takes plain Python, without lines that are IPython's own",
            place=place,
        )
    shown = script.file if script.file.endswith(".py") else f"{script.file}.py"
    return Diagnostic(
        code="JP210",
        message=f"the file `{script.file}`, which cell {place.cell} runs, is missing",
        suggestion="put it there, or correct the path: relative ones start at the notebook's folder",
        place=place,
        notes=(f"looked for: {folder / shown}",),
    )


def _other_kernel(language: str) -> Diagnostic:
    return Diagnostic(
        code="JP104",
        message=f"the notebook is in {language}, and steps are Python",
        suggestion="choose a Python kernel for it, or call the program from a Python step",
    )


def _no_steps() -> Diagnostic:
    return Diagnostic(
        code="JP105",
        message="the notebook has no steps",
        suggestion="write `%%step NAME` as the first line of each cell that belongs to the pipeline",
    )
