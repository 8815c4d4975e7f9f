"""Check for files that one step writes and another reads by name, without a dependency between the two."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.code.file_reads import writes_files
from jupyter_pipelines.notebook.code.plain_file_names import PlainFileUses, plain_file_uses
from jupyter_pipelines.notebook.headers.lexer import header_word
from jupyter_pipelines.notebook.headers.units import propose_identifier
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface
from jupyter_pipelines.pipeline.artifacts import FileSource, StepOutputRef
from jupyter_pipelines.pipeline.foreach import ForeachItem
from jupyter_pipelines.pipeline.ignored_paths import ignore_pattern, is_ignored
from jupyter_pipelines.pipeline.step_graph import waiting_graph


class LocatedStep(Protocol):
    """A step, or the draft of it: its name, and where its header stands."""

    @property
    def name(self) -> str:
        """Name of the step."""

    @property
    def place(self) -> SourceLocation | None:
        """Where its first header stands."""


# After a change of the working folder, the same name means another file.
_MOVING = re.compile(r"\b(?:f?chdir|pushd|popd)\b|^\s*%?cd\b|run_line_magic\(\s*['\"]cd\b", re.MULTILINE)


def unordered_reads(
    interfaces: Mapping[str, StepInterface],
    folder: Path,
    root: Path,
    *,
    setups: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> Iterator[Diagnostic]:
    """Yield a fault for each file that one step reads and another writes, if neither depends on the other.

    Only names that are plain in the code count, in a step's own cells or the shared code that it reaches, of steps that
    do not change the working folder. The others show in the traces of a run.

    Parameters
    ----------
    interfaces : Mapping of str to StepInterface
        All steps.
    folder : Path
        The notebook's folder, which relative paths start at.
    root : Path
        The project's folder.
    setups : sequence of str
        The setup cells, which run before each step.
    ignored : sequence of str
        Paths and patterns of files that count for no step.
    """
    # The cheap question first: most notebooks write no file under a plain name.
    if not any(writes_files(_sources(interface)) for interface in interfaces.values()):
        return
    if any(map(_MOVING.search, setups)):
        return
    uses = {
        name: _counted_uses(interface, folder, root, ignored)
        for name, interface in interfaces.items()
        if not any(map(_MOVING.search, (*_sources(interface), *_module_sources(interface))))
    }
    writers: dict[str, list[str]] = {}
    for name, use in uses.items():
        for path in use.writes:
            writers.setdefault(_absolute(folder, path), []).append(name)
    pairs = [
        (writer, name, path)
        for name, interface in interfaces.items()
        for path in dict.fromkeys((*(uses[name].reads if name in uses else ()), *_declared_files(interface)))
        for writer in writers.get(_absolute(folder, path), ())
        if writer != name
    ]
    for writer, name, path in _without_order(pairs, interfaces):
        yield unordered_read_fault(interfaces[name].draft, interfaces[writer].draft, path)


def _declared_files(interface: StepInterface) -> list[str]:
    sources = (step_input.source for step_input in interface.inputs.values())
    return [source.path for source in sources if isinstance(source, FileSource)]


def _without_order(
    pairs: Sequence[tuple[str, str, str]], interfaces: Mapping[str, StepInterface]
) -> Iterator[tuple[str, str, str]]:
    """Yield the pairs of steps, each with a file, of which neither depends on the other."""
    if not pairs:
        return
    # Few notebooks get here, and importing networkx takes 0.1 s.
    import networkx as nx

    graph = waiting_graph({name: _before(interface) for name, interface in interfaces.items()})
    for writer, name, path in pairs:
        if not (nx.has_path(graph, writer, name) or nx.has_path(graph, name, writer)):
            yield writer, name, path


def unordered_read_fault(reader: LocatedStep, writer: LocatedStep, path: str) -> Diagnostic:
    """Return the fault that a step reads a file that another step writes, without depending on it.

    Parameters
    ----------
    reader, writer : LocatedStep
        The two steps; items of steps are named by their step.
    path : str
        The file.
    """
    reading, writing = _header_name(reader), _header_name(writer)
    name = propose_identifier(posixpath.basename(path).strip("_.") or "file")
    hand_on = f"`-o {name}:file` in the header of `{writing}` gives it the path to write to"
    no_result = f"if it is no result of `{writing}`, such as a database or cache that steps share"
    notes = (
        f"nothing makes `{reading}` run after `{writing}`: it may get an older `{path}`, or none",
        f"{hand_on}; `-i {name}` in that of `{reading}` the path to read",
        f"{no_result}: `{ignore_option(path)}` in both",
    )
    return Diagnostic(
        code="JP221",
        message=f"step `{reader.name}` reads `{path}`, which step `{writer.name}` writes, and does not wait for it",
        suggestion=f"add `--after {writing}` to the header of `{reading}`, or hand the file on with `-o {name}:file`",
        step=reader.name,
        place=reader.place,
        notes=notes,
    )


def ignore_option(path: str) -> str:
    """Return what to write into a header so that a file does not count."""
    return f"--ignore {header_word(ignore_pattern(path))}"


def _header_name(step: LocatedStep) -> str:
    item = getattr(step, "item", None)
    return item.group if isinstance(item, ForeachItem) else step.name


def _sources(interface: StepInterface) -> list[str]:
    shared = (definition.code.source for definition in interface.reach.definitions)
    return [*shared, *(cell.body for cell in interface.draft.cells)]


def _module_sources(interface: StepInterface) -> list[str]:
    return [module.source for module in interface.reached.modules]


def _counted_uses(interface: StepInterface, folder: Path, root: Path, ignored: Sequence[str]) -> PlainFileUses:
    """Return the files that a step uses under plain names, without those that it ignores."""
    patterns = [*ignored, *(path for header in interface.draft.headers for path in header.ignore)]

    def counts(path: str) -> bool:
        absolute, base = _absolute(folder, path), f"{root.as_posix().rstrip('/')}/"
        return not (absolute.startswith(base) and is_ignored(absolute.removeprefix(base), patterns))

    uses = plain_file_uses(_sources(interface))
    return PlainFileUses(tuple(filter(counts, uses.reads)), tuple(filter(counts, uses.writes)))


def _absolute(folder: Path, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder.as_posix(), path))


def _before(interface: StepInterface) -> list[str]:
    sources = (step_input.source for step_input in interface.inputs.values())
    made = [source.step for source in sources if isinstance(source, StepOutputRef)]
    return [*made, *(item.name for item in interface.draft.after)]
