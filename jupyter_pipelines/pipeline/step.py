"""A step: one or more notebook cells under one name, with the shared code, modules, packages and files they use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from jupyter_pipelines.errors import SourceLocation
from jupyter_pipelines.pipeline.artifacts import Input, Output
from jupyter_pipelines.pipeline.foreach import ForeachItem, ForeachSpec, GatherSpec

Section = Literal["inputs", "outputs", "parameters"]
_MAX_NAMES = 8
SharedKind = Literal["import", "function", "class", "constant", "block", "setup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCell:
    """One cell of a step.

    Parameters
    ----------
    number : int
        Number of the cell in the notebook, counted from 1.
    id : str or None
        The cell's id in the notebook.
    text : str
        The cell as its author sees it.
    body : str
        What a kernel runs: `text` with its header lines turned into comments, so that line numbers stay right.
    offset : int
        Line in `text` minus line in `body`; not 0 only where the header had to be dropped above a cell magic.
    """

    number: int
    id: str | None
    text: str = field(repr=False)
    body: str = field(repr=False)
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCode:
    """A piece of shared code that a step reaches, by name.

    Parameters
    ----------
    name : str
        The name it binds; the first of them for a statement that binds several; ``cell N`` for a ``%%setup`` cell.
    kind : {"import", "function", "class", "constant", "block", "setup"}
        What it is; a block is a compound statement of imports and definitions, such as ``try: import …``.
    source : str
        Its text, decorators included.
    cell : int
        Number of the cell it stands in.
    line : int
        Its first line in that cell, counted from 1; of code from a file, the line that runs the file.
    file : str
        The file that it is from, if the cell runs one with ``%run``.
    """

    name: str
    kind: SharedKind
    source: str = field(repr=False)
    cell: int
    line: int = 1
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepModule:
    """A module of the project itself that a step reaches.

    Parameters
    ----------
    name : str
        Its dotted name as it is imported.
    path : str
        Its file.
    source : str
        Its text when the notebook was read.
    """

    name: str
    path: str
    source: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeResources:
    """The compute resources that a step requests.

    Parameters
    ----------
    cpus : int or None
        Number of cores.
    gpus : int or None
        Number of GPUs.
    memory : int or None
        Bytes.
    """

    cpus: int | None = None
    gpus: int | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A node of the pipeline.

    Parameters
    ----------
    name : str
        Its name; ASCII letters, digits, ``_`` and ``-``.
    cells : tuple of StepCell
        Its cells, in notebook order.
    inputs, outputs : tuple of Input, tuple of Output
        Its interface.
    parameters : tuple of str
        Names of the parameters it uses.
    inferred : frozenset of {"inputs", "outputs", "parameters"}
        Which parts of the interface were not declared.
    after : tuple of str
        Steps that it waits for without taking anything from them.
    shared : tuple of SharedCode
        The shared code it reaches, in the order in which it has to run.
    modules : tuple of StepModule
        The project's own modules it reaches.
    packages : tuple of str
        Top-level names of the third-party packages it imports, directly or through shared code and modules.
    files : tuple of str
        Files that its code reads under a name written in it, without declaring them; their content counts. Folders
        and patterns are those in which it looks for files.
    templates : tuple of str
        The same for names that depend on parameters; see :mod:`jupyter_pipelines.pipeline.path_templates`. A step in a
        plan has none.
    unknown : tuple of str
        What the analysis could not resolve, one sentence each; if there is any, the step is reused only by the
        trace of an earlier run.
    resources : ComputeResources
        What it asks for.
    retries : int
        How often it is tried again after a failure.
    timeout : float or None
        Seconds after which an attempt is stopped.
    cache_for : float or None
        Seconds for which its result is accepted, infinite for as long as nothing else changes; None if no limit is
        declared.
    ignore : tuple of str
        Files that do not count: paths and patterns relative to the project's root.
    cache : bool
        False when its result must never be reused.
    always : bool
        True when it runs even if what is before it failed.
    on, kernel : str or None
        Where it runs, and in which kernel.
    place : SourceLocation or None
        Where its first header stands.
    foreach : ForeachSpec or None
        The ``--foreach`` option, of a step as it is written.
    item : ForeachItem or None
        Its item, of a step in a plan that runs a single item.
    gathering : GatherSpec or None
        What it gathers, of a step in a plan that stands for all items.
    """

    name: str
    cells: tuple[StepCell, ...]
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    parameters: tuple[str, ...] = ()
    inferred: frozenset[Section] = frozenset()
    after: tuple[str, ...] = ()
    shared: tuple[SharedCode, ...] = ()
    modules: tuple[StepModule, ...] = ()
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    resources: ComputeResources = field(default_factory=ComputeResources)
    retries: int = 0
    timeout: float | None = None
    cache_for: float | None = None
    ignore: tuple[str, ...] = ()
    cache: bool = True
    always: bool = False
    on: str | None = None
    kernel: str | None = None
    place: SourceLocation | None = None
    foreach: ForeachSpec | None = None
    item: ForeachItem | None = None
    gathering: GatherSpec | None = None

    def __repr__(self) -> str:
        sides = [" ".join(item.name for item in items[:_MAX_NAMES]) for items in (self.inputs, self.outputs)]
        more = [" …" if len(items) > _MAX_NAMES else "" for items in (self.inputs, self.outputs)]
        return f"<Step {self.name}: {sides[0] or '()'}{more[0]} -> {sides[1] or '()'}{more[1]}>"

    @property
    def items(self) -> dict[str, Any]:
        """Fields in documents for a step that runs an item, or stands for all items; empty for any other."""
        if self.item:
            return {"item": {"of": self.item.group, "values": dict(self.item.values)}}
        return {"items": len(self.gathering.items)} if self.gathering else {}

    def output(self, name: str) -> Output | None:
        """Return the output called `name`, or None."""
        return next((output for output in self.outputs if output.name == name), None)
