"""Writer of the converted notebook, cell by cell: Markdown stays, code gets step headers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jupyter_pipelines.notebook.converting.cell_survey import CellSurvey, SurveyedCell
from jupyter_pipelines.notebook.converting.chunks import CodeChunk
from jupyter_pipelines.notebook.converting.conversion_types import ConvertOptions
from jupyter_pipelines.notebook.converting.converted_interfaces import GENERATORS, StepCandidate
from jupyter_pipelines.notebook.converting.external_effects import StepFileReads, file_input, order_by_effects
from jupyter_pipelines.notebook.converting.global_settings import repeated_settings
from jupyter_pipelines.notebook.converting.rewrites import text_of
from jupyter_pipelines.notebook.converting.statement_features import changes_folder
from jupyter_pipelines.notebook.step_notebook import NAMESPACE, encode_literal

_MAX_LINE = 110
_WORD = re.compile(r'"[^"]*"|\S+')
# Under aliases: in the notebook, `random` may be NumPy's module or Python's.
_RANDOM_STATE_CODE: Mapping[str, tuple[str, str, str]] = {
    "numpy": ("from numpy import random as numpy_random", "numpy_random.get_state()", "numpy_random.set_state"),
    "random": ("import random as python_random", "python_random.getstate()", "python_random.setstate"),
}
_TYPES = {bool: "bool", int: "int", float: "float", str: "str"}


class PipelineNotebookComposer:
    """Writes the converted notebook.

    Parameters
    ----------
    survey : CellSurvey
        The original.
    parts : sequence of StepCandidate
        Its steps.
    names : sequence of str
        Their names.
    raises : frozenset of int
        Cells whose exceptions are part of what the notebook shows.
    options : ConvertOptions
        Options that the user gave.
    imports_everywhere : bool
        Turn all imports into setup.
    wavering : Mapping of int to str
        By number of the first cell: steps whose outputs differ between equal runs, with the reason.
    """

    def __init__(
        self,
        survey: CellSurvey,
        parts: Sequence[StepCandidate],
        names: Sequence[str],
        *,
        raises: frozenset[int],
        options: ConvertOptions,
        imports_everywhere: bool = False,
        wavering: Mapping[int, str] | None = None,
    ) -> None:
        self.survey = survey
        self.parts = parts
        self.names = names
        self.raises = raises
        self.wishes = options
        self.imports_everywhere = imports_everywhere
        self.cells: list[dict[str, Any]] = []
        self.part_of = {unit.at: part for part in parts for unit in part.units}
        self.unit_of = {unit.cell.number: unit for unit in survey.units}
        self.versions = _versions(parts)
        self.settings: list[int] = []
        self.dropped: list[int] = []
        self.moved: set[int] = self._moved()
        self.files = StepFileReads(survey)
        self.uncached = self._uncached(wavering or {})
        self.order = order_by_effects(parts)

    def compose(self) -> list[dict[str, Any]]:
        """Return the cells."""
        self._add("%load_ext jupyter_pipelines")
        self._parameters()
        self._generators()
        for cell in self.survey.document.cells:
            if cell.kind == "code":
                self._code(self.unit_of[cell.number])
            else:
                self._keep(cell.kind, cell.source, cell.number)
        return self.cells

    # Cells

    def _add(self, text: str, origin: int | None = None, role: str = "added") -> None:
        metadata = {NAMESPACE: {"origin": origin, "role": role}}
        cell: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": metadata, "outputs": []}
        self.cells.append({**cell, "source": text, "id": f"cell-{len(self.cells) + 1}"})

    def _keep(self, kind: str, text: str, number: int) -> None:
        metadata = {NAMESPACE: {"origin": number, "role": "kept"}}
        self.cells.append(
            {"cell_type": kind, "metadata": metadata, "source": text, "id": f"cell-{len(self.cells) + 1}"}
        )

    def _parameters(self) -> None:
        lines = [_typed(chunk) for unit in self.survey.units for chunk in unit.tuned]
        if lines:
            self._add("%%params\n" + "\n".join(lines), role="parameters")

    def _generators(self) -> None:
        carried = {name for part in self.parts for name in part.outputs} & set(GENERATORS.values())
        lines = [_RANDOM_STATE_CODE[generator][0] for generator, name in GENERATORS.items() if name in carried]
        if lines:
            self._add("\n".join(lines))

    def _code(self, unit: SurveyedCell) -> None:
        self._shared(unit)
        if unit.moved:
            self.settings.append(unit.cell.number)
            self._add("%%setup\n" + _joined(unit.moved), unit.cell.number, "setup")
        part = self.part_of.get(unit.at)
        if unit.dropped:
            self.dropped.append(unit.cell.number)
            self._add("\n".join(chunk.text for chunk in unit.rest).strip("\n"), unit.cell.number, "display")
        if part is None:
            return
        if unit is part.units[0]:
            self._enter(part)
        self._add(f"{self._header(part, unit)}\n{self._own(unit)}", unit.cell.number, "step")
        if unit is part.units[-1]:
            self._leave(part)

    def _own(self, unit: SurveyedCell) -> str:
        return text_of(unit, raises=unit.cell.number in self.raises)

    def _shared(self, unit: SurveyedCell) -> None:
        effects = [chunk for chunk in unit.shared if self._for_effect(chunk)]
        named = [chunk for chunk in unit.shared if chunk not in effects]
        # Comments of a cell that becomes no step have no other place.
        comments = (
            [] if unit.dropped or unit.at in self.part_of else [chunk for chunk in unit.rest if chunk.text.strip()]
        )
        # Shared code runs only in steps that use one of its names; an import for its effect would never run.
        if effects:
            self._add("%%setup\n" + _joined(effects), unit.cell.number, "setup")
        if named or comments:
            self._add(_joined([*named, *comments]), unit.cell.number, "shared")

    def _for_effect(self, chunk: CodeChunk) -> bool:
        """Return whether an import is there for what importing does: no code uses its names."""
        if chunk.kind != "import" or any(imported.module == "__future__" for imported in chunk.names.imports):
            return False
        return self.imports_everywhere or not any(self._is_used(name) for name in chunk.names.binds)

    def _is_used(self, name: str) -> bool:
        chunks = (chunk for unit in self.survey.units for chunk in unit.cut.chunks)
        return any(name in self.survey.needs(chunk.names, chunk.body) for chunk in chunks)

    # Interfaces of steps

    def _header(self, part: StepCandidate, unit: SurveyedCell) -> str:
        name = self.names[part.at]
        if self._first_cell_of(part) != ("own", unit.at):
            return f"%%step {name}"
        return self._full_header(part)

    def _first_cell_of(self, part: StepCandidate) -> tuple[str, int]:
        return ("added" if self._entering(part) else "own", part.first)

    def _full_header(self, part: StepCandidate) -> str:
        words = [f"%%step {self.names[part.at]}"]
        inputs = [self._input(part, name) for name in part.inputs]
        files = {} if part.at in self.moved else self.files.read_by(part)
        inputs += [file_input(name, path) for name, path in (files or {}).items()]
        outputs = [self.versions[part.at].get(name, name) for name in part.outputs]
        words += [f"-i {' '.join(inputs)}"] if inputs else []
        words += [f"-o {' '.join(outputs)}"] if outputs else []
        after = [self.names[position] for position in self.order.get(part.at, ())]
        words += [f"--after {' '.join(after)}"] if after else []
        words += ["--no-cache"] if part.at in self.uncached else []
        return _folded(" ".join(words))

    def _input(self, part: StepCandidate, name: str) -> str:
        source = part.sources[name]
        produced_name = self.versions[source].get(name, name)
        nearest = [other.at for other in self.parts[: part.at] if name in self._written_by(other)]
        return name if nearest[-1:] == [source] else f"{name}={self.names[source]}.{produced_name}"

    def _written_by(self, part: StepCandidate) -> list[str]:
        """Return the names of a step's outputs as its header spells them."""
        return [self.versions[part.at].get(name, name) for name in part.outputs]

    def _entering(self, part: StepCandidate) -> list[str]:
        """Return the lines that restore the state of random generators."""
        carried = [(generator, name) for generator, name in GENERATORS.items() if name in part.inputs]
        return [f"{_RANDOM_STATE_CODE[generator][2]}({name})" for generator, name in carried]

    def _enter(self, part: StepCandidate) -> None:
        lines = self._entering(part)
        if lines:
            text = "# random numbers go on where the step before left them\n" + "\n".join(lines)
            self._add(f"{self._full_header(part)}\n{text}")

    def _leave(self, part: StepCandidate) -> None:
        lines = [
            f"{name} = {_RANDOM_STATE_CODE[generator][1]}"
            for generator, name in GENERATORS.items()
            if name in part.outputs
        ]
        lines += [
            f"{version} = {name}" for name, version in self.versions[part.at].items() if name not in GENERATORS.values()
        ]
        lines += [
            f"{version} = {name}" for name, version in self.versions[part.at].items() if name in GENERATORS.values()
        ]
        if lines:
            self._add(f"%%step {self.names[part.at]}\n" + "\n".join(lines))
        settings = repeated_settings(self.survey, part.units)
        if settings and part.at + 1 < len(self.parts):
            self.settings += [unit.cell.number for unit in part.units if repeated_settings(self.survey, [unit])]
            note = f"# settings of the step {self.names[part.at]}, for the steps that follow"
            self._add("\n".join(["%%setup", note, *settings]), role="setup")

    def _uncached(self, wavering: Mapping[int, str]) -> dict[int, str]:
        """Return the steps that are never reused, with the reason."""
        reasons: dict[int, str] = {}
        for part in self.parts:
            if part.at in self.moved:
                reasons[part.at] = "it runs in another folder than that of the notebook"
            elif self.files.read_by(part) is None:
                reasons[part.at] = "it reads more files than a header can name"
            elif part.units[0].cell.number in wavering:
                reasons[part.at] = wavering[part.units[0].cell.number]
        return reasons

    def _moved(self) -> set[int]:
        """Return the steps that run in another folder than the notebook's: their files cannot be followed."""
        # The folder stays changed for all cells that follow.
        moved = False
        moved_parts: set[int] = set()
        for unit in self.survey.units:
            chunks = [*unit.moved, *unit.rest]
            moved = moved or any(changes_folder(chunk.text, chunk.body, self.survey.imported) for chunk in chunks)
            moved = moved or "folder" in unit.observed.settings
            if moved and unit.at in self.part_of:
                moved_parts.add(self.part_of[unit.at].at)
        return moved_parts


def _versions(parts: Sequence[StepCandidate]) -> dict[int, dict[str, str]]:
    """Return new names for outputs of steps whose name is already an output of an earlier step.

    A step that takes the earlier value may keep its name; any other value gets a name of its own, so that the two are
    not confused.
    """
    names_in_use = {
        name for part in parts for name in (*part.names.binds, *part.names.reads, *part.outputs, *part.needs)
    }
    versions: dict[int, dict[str, str]] = {part.at: {} for part in parts}
    produced: set[str] = set()
    for part in parts:
        for name in part.outputs:
            if name in produced and name not in part.inputs:
                number = next(
                    suffix for suffix in range(2, len(names_in_use) + 3) if f"{name}_{suffix}" not in names_in_use
                )
                versions[part.at][name] = f"{name}_{number}"
                names_in_use.add(f"{name}_{number}")
            produced.add(name)
    return versions


def _joined(chunks: Sequence[CodeChunk]) -> str:
    texts = [chunk.text.strip("\n") for chunk in chunks]
    parts: list[str] = []
    for chunk, text in zip(chunks, texts, strict=True):
        parts.append(("\n\n" if parts and chunk.kind in ("function", "class") else "") + text)
    return "\n".join(parts)


def _typed(chunk: CodeChunk) -> str:
    """Return an assignment with its type, its comment kept."""
    (statement,) = chunk.body
    if not isinstance(statement, ast.Assign):
        return chunk.text
    name = ast.unparse(statement.targets[0])
    value = ast.literal_eval(statement.value) if isinstance(statement.value, ast.Constant) else None
    kind = _TYPES.get(type(value))
    last = chunk.text.rstrip("\n").split("\n")[-1]
    if kind is None:
        return last.strip()
    comment = last.partition("#")[2].strip() if "#" in last and "#" not in encode_literal(value) else ""
    written = ast.unparse(statement.value) if not isinstance(value, str) else encode_literal(value)
    return f"{name}: {kind} = {written}" + (f"  # {comment}" if comment else "")


def _folded(header: str) -> str:
    """Return a header over several lines if it is too long for one."""
    lines = [""]
    for word in _WORD.findall(header):
        if len(lines[-1]) + len(word) > _MAX_LINE:
            lines.append("   ")
        lines[-1] += (" " if lines[-1] else "") + word
    return " \\\n".join(lines)


def names_bound(parts: Sequence[StepCandidate]) -> Iterator[str]:
    """Yield every name that steps bind to values."""
    for part in parts:
        yield from (name for name in part.binds if name not in GENERATORS.values())
