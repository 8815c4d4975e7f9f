"""External effects of steps: files that they read, and order dependencies that no name shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from jupyter_pipelines.notebook.code.file_reads import files_read
from jupyter_pipelines.notebook.converting.cell_survey import CellSurvey, SurveyedCell
from jupyter_pipelines.notebook.converting.converted_interfaces import StepCandidate

MAX_FILES = 12
"""Most files that a header names individually."""

# Only paths that a header can hold without escapes.
_PLAIN = re.compile(r"[\w./ ()+@%~#&!-]+")
_LANGUAGES = frozenset("bash sh script system perl ruby pypy python2 cmd powershell".split())


def order_by_effects(parts: Sequence[StepCandidate]) -> dict[int, list[int]]:
    """Return the steps that each step has to wait for although it takes nothing from them.

    A program may read and change anything: a step that starts one waits for all steps before it, and all later steps
    wait for it. A folder is created before something is put into it, and a file is written before it is read.
    """
    waits_for: dict[int, list[int]] = {}
    before: dict[int, set[int]] = {}
    last: int | None = None
    for part in parts:
        waits = {
            other.at for other in parts[: part.at] if _creates_folder_for(other, part) or _writes_file_for(other, part)
        }
        if last is not None:
            waits.add(last)
        if _runs_programs(part):
            waits |= set(range(last or 0, part.at))
            last = part.at
        implied = {position for source in part.sources.values() for position in (source, *before[source])}
        implied |= {position for earlier in waits for position in before[earlier]}
        # Without the order that follows from other dependencies: headers name only what adds to it.
        waits_for[part.at] = sorted(waits - implied)
        before[part.at] = implied | waits
    return {position: waits for position, waits in waits_for.items() if waits}


def _runs_programs(part: StepCandidate) -> bool:
    return any(unit.observed.programs or _starts_program(unit) for unit in part.units)


def _starts_program(unit: SurveyedCell) -> bool:
    return bool(unit.cut.code.opaque in _LANGUAGES or any("!" in magic for magic in unit.cut.code.magics))


def _creates_folder_for(creator: StepCandidate, user: StepCandidate) -> bool:
    """Return whether a step makes a folder that another step uses."""
    created = {f"{path}/" for unit in creator.units for path in unit.observed.wrote}
    used = {path for unit in user.units for path in (*unit.observed.wrote, *unit.observed.read)}
    return any(path.startswith(folder) for path in used for folder in created)


def _writes_file_for(writer: StepCandidate, reader: StepCandidate) -> bool:
    """Return whether a step writes a file that another step reads."""
    written = {path for unit in writer.units for path in unit.observed.wrote}
    return any(path in written for unit in reader.units for path in unit.observed.read)


class StepFileReads:
    """The files that steps read under names that their code does not show.

    Parameters
    ----------
    survey : CellSurvey
        The notebook.
    """

    def __init__(self, survey: CellSurvey) -> None:
        self._shared = [chunk.text for unit in survey.units for chunk in (*unit.shared, *unit.tuned)]
        self._written = {PurePosixPath(path).name for unit in survey.units for path in unit.observed.wrote}
        self._names = {name for unit in survey.units for chunk in unit.cut.chunks
                       for name in (*chunk.names.binds, *chunk.names.reads, *chunk.names.later.reads)}  # fmt: skip

    def read_by(self, part: StepCandidate) -> Mapping[str, str] | None:
        """Return the files that have to be declared, by the names for them; None when they cannot be."""
        texts = [chunk.text for unit in part.units for chunk in unit.rest]
        # Files under plain names are in the key of the step without being declared.
        plain = {str(PurePosixPath(path)) for path in files_read([*self._shared, *texts]).paths}
        undeclared = sorted({path for unit in part.units for path in unit.observed.given} - plain)
        paths = _collapse_to_folders([path for path in undeclared if PurePosixPath(path).name not in self._written])
        if paths is None or not all(_PLAIN.fullmatch(path) for path in paths):
            return None
        return dict(self._named(paths))

    def _named(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        used_names = set(self._names)
        for path in paths:
            start = "file_" + re.sub(r"\W+", "_", PurePosixPath(path).stem).strip("_").lower()
            name = next(
                candidate
                for candidate in (start, *(f"{start}_{n}" for n in range(2, 1000)))
                if candidate not in used_names
            )
            used_names.add(name)
            yield name, path


def _collapse_to_folders(paths: Sequence[str]) -> list[str] | None:
    """Return paths, or the folders around them when there are many; None when that is where the notebook is."""
    if len(paths) <= MAX_FILES:
        return list(paths)
    folders = sorted({str(PurePosixPath(path).parent) for path in paths})
    enclosing = [folder for folder in folders if folder == "." or set(PurePosixPath(folder).parts) == {".."}]
    return None if enclosing or len(folders) > MAX_FILES else folders


def file_input(name: str, path: str) -> str:
    """Return how a header declares a file."""
    return f'"{name}={path}"' if " " in path else f"{name}={path}"
