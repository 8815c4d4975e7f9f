"""Options and result of a conversion: the pipeline notebook, with the reasons for its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_pipelines.notebook.step_notebook import NAMESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """Options that the user gave.

    Parameters
    ----------
    names : Mapping of int to str
        By number of a cell: name of the step that begins with it. Empty: headings and data flow decide.
    drop_display : bool
        Leave out cells that only show something.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    drop_display: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairHints:
    """Findings from runs of earlier conversions of the same notebook, applied to the next conversion.

    Parameters
    ----------
    joins : tuple of (int, int, str)
        Stretches of cells, by number, that have to be one step, with the reason.
    forced : Mapping of int to frozenset of str
        By number of a cell: names that its step has to make.
    whole : frozenset of int
        Cells that have to stay whole.
    spoken : frozenset of int
        Cells whose outputs show what their imports and settings print: these stay in the step, too.
    imports_everywhere : bool
        Every step begins with all imports.
    wavering : Mapping of int to str
        By number of the first cell: steps whose outputs differ between runs with equal inputs, with the reason.
    """

    joins: tuple[tuple[int, int, str], ...] = ()
    forced: Mapping[int, frozenset[str]] = field(default_factory=dict)
    whole: frozenset[int] = frozenset()
    spoken: frozenset[int] = frozenset()
    imports_everywhere: bool = False
    wavering: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedStep:
    """A step of the converted notebook.

    Parameters
    ----------
    name : str
        Its name.
    cells : tuple of int
        Numbers of the original cells.
    inputs, outputs : tuple of str
        Names as in the notebook's code.
    sources : Mapping of str to str
        By input: the step that makes it.
    why : tuple of str
        Why cells were joined that headings separate.
    uncached : str
        Why its header has ``--no-cache``; empty if it does not.
    """

    name: str
    cells: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sources: Mapping[str, str]
    why: tuple[str, ...] = ()
    uncached: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedNotebook:
    """A converted notebook.

    Parameters
    ----------
    notebook : dict
        As nbformat 4.5 has it. Every code cell says in ``metadata.jupyter_pipelines.origin`` which cell it was.
    steps : tuple of ConvertedStep
        Its steps.
    parameters : tuple of (str, object, int)
        Name, value and original cell of what became a parameter.
    shared : Mapping of int to tuple of str
        By number of the cell: names that became shared code.
    settings : tuple of int
        Cells whose settings became setup.
    bound : int
        How many names the notebook binds to values.
    dropped : tuple of int
        Cells that were left out because they only show something.
    """

    notebook: dict[str, Any]
    steps: tuple[ConvertedStep, ...]
    parameters: tuple[tuple[str, object, int], ...] = ()
    shared: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    settings: tuple[int, ...] = ()
    bound: int = 0
    dropped: tuple[int, ...] = ()

    @property
    def passed(self) -> int:
        """How many names are passed between steps."""
        names = {name for step in self.steps for name in step.inputs}
        return len({name for name in names if not name.endswith("_random_state")})

    def step_of(self, cell: int) -> ConvertedStep | None:
        """Return the step that an original cell is part of."""
        return next((step for step in self.steps if cell in step.cells), None)


def with_folder(notebook: Mapping[str, Any], folder: Path, **metadata: Any) -> dict[str, Any]:
    """Return a converted notebook that records in which folder its steps run.

    Parameters
    ----------
    notebook : Mapping
        As nbformat has it.
    folder : Path
        The folder.
    metadata : Any
        Further metadata.
    """
    return {**notebook, "metadata": {**notebook["metadata"], NAMESPACE: {**metadata, "folder": str(folder)}}}
