"""The session of a live kernel: its executed cells with their texts, and its notebook."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.interfaces.jupyter.first_item import as_gathered, bind_first_item
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.parameters.params_cell import parameters_of_text
from jupyter_pipelines.notebook.source.document import NotebookDocument, read_document
from jupyter_pipelines.notebook.source.read_result import NotebookPaths, project_root
from jupyter_pipelines.pipeline.artifacts import Input, StepOutputRef
from jupyter_pipelines.pipeline.foreach import GatheredResults
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.identifiers import file_stem
from jupyter_pipelines.pipeline.secrets import Secret, SecretNotFound, is_reference, reveal
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.project import Project

if TYPE_CHECKING:
    from jupyter_pipelines.interfaces.jupyter.notebook_widgets import NotebookWidgets

NOTEBOOK_VARIABLE = "JUPYTER_PIPELINES_NOTEBOOK"
LIVE_FOLDER = "live"
Outcome = Literal["running", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedCell:
    """The last execution of a cell.

    Parameters
    ----------
    text : str
        Text of the cell.
    step : str or None
        The step it belongs to.
    when : float
        Time of execution in seconds since the epoch.
    outcome : {"running", "done", "failed"}
        Its result.
    """

    text: str
    step: str | None
    when: float
    outcome: Outcome = "running"


class KernelSession:
    """The cells executed in one kernel.

    Parameters
    ----------
    shell : InteractiveShell
        The kernel's shell.
    project : Project or None
        The project; by default that of the current folder.
    """

    def __init__(self, shell: Any, project: Project | None = None) -> None:
        self.shell = shell
        self.project = project or Project()
        self.executed: dict[str, ExecutedCell] = {}
        self.stage: NotebookWidgets | None = None
        self._home: tuple[tuple[Path, int], NotebookPaths] | None = None
        self._current: str | None = None
        self._watching: list[Callable[[], None]] = []

    @property
    def notebook(self) -> Path | None:
        """Path of the notebook file; None if the front end does not report it."""
        # No protocol message names the notebook: Jupyter's server sets JPY_SESSION_NAME, VS Code a variable.
        names = (os.environ.get(NOTEBOOK_VARIABLE), self.shell.user_ns.get("__vsc_ipynb_file__"))
        for name in (*names, os.environ.get("JPY_SESSION_NAME")):
            for path in (Path(name), Path.cwd() / Path(name).name) if name else ():
                if path.is_file():
                    return path
        return None

    def before_cell(self, info: Any) -> None:
        """Record a cell before its execution, and bind the inputs and output paths of its step."""
        split = split_cell(info.raw_cell, 0)
        step = split.header.name if split.header and split.header.kind == "step" else None
        self._current = _cell_key(info, step, len(self.executed))
        self.executed[self._current] = ExecutedCell(text=info.raw_cell, step=step, when=time.time())
        if split.header and split.header.kind == "params":
            _bind_annotations(self.shell.user_ns, info.raw_cell)
        if step is not None:
            self._bind_interface(step)

    def after_cell(self, result: Any) -> None:
        """Record the outcome of a cell, and update displays."""
        key, self._current = self._current, None
        if key is not None:
            outcome: Outcome = "done" if result.success else "failed"
            self.executed[key] = replace(self.executed[key], outcome=outcome)
            self._reveal_secrets(self.executed[key].text)
            if self.executed[key].step:
                self.refresh()

    def watch(self, redraw: Callable[[], None]) -> None:
        """Call `redraw` whenever the state of a step may have changed; only the last four callbacks are kept."""
        self._watching = [*self._watching[-3:], redraw]

    def refresh(self) -> None:
        """Update pictures and widgets after the execution of a cell."""
        self.redraw()
        if self.stage is not None:
            self.stage.refresh()

    def redraw(self) -> None:
        """Update pictures after a run; widgets have followed the run themselves."""
        for redraw in self._watching:
            # A notebook that is being edited may have errors for a while; the picture then keeps its last state.
            with suppress(PipelinesError):
                redraw()

    def newer_texts(self) -> Mapping[str, str]:
        """Return, by cell id, the text of the cells that were executed after the notebook was saved."""
        path = self.notebook
        # Jupyter writes the file on save only: a cell executed later may have a text that the file lacks.
        saved = path.stat().st_mtime if path else 0.0
        return {key: cell.text for key, cell in self.executed.items() if cell.when > saved}

    def unsaved(self) -> frozenset[str]:
        """Return the ids of cells whose executed text counts although the notebook was saved with another text."""
        if self.notebook is None:
            return frozenset()
        saved = {cell.id: cell.source for cell in read_document(self.notebook).cells}
        newer = self.newer_texts()
        return frozenset(key for key, text in newer.items() if saved.get(key, text).rstrip() != text.rstrip())

    def source(self) -> Path | NotebookDocument:
        """Return the saved notebook; if it is unknown, a document of the executed cells."""
        return self.notebook or NotebookDocument.of_texts([(key, cell.text) for key, cell in self.executed.items()])

    def home(self) -> NotebookPaths:
        """Return the paths of the notebook and its project; works with errors in its cells, too."""
        path = self.notebook
        if path is None:
            return NotebookPaths(notebook=None, root=project_root(Path.cwd()))
        # Called every second while a widget is open, and a notebook may be large.
        signature = (path, path.stat().st_mtime_ns)
        if self._home is None or self._home[0] != signature:
            self._home = signature, self.project.home(path)
        return self._home[1]

    def read(self) -> Pipeline:
        """Return the pipeline of the notebook, with the texts of cells that were executed after it was saved.

        Raises
        ------
        NotebookError, PipelineError
            It cannot be read, or is faulty.
        """
        return self.project.read(self.source(), texts=self.newer_texts())

    def outcome(self, step: Step) -> Outcome | Literal["edited"] | None:
        """Return the outcome of `step` in this session; None if not all of its cells were executed."""
        ran = self._cells(step)
        if len(ran) < len(step.cells):
            return None
        # By text, as ids of cells stay when their text is edited.
        if any(executed.text != cell.text for executed, cell in zip(ran, step.cells, strict=True)):
            return "edited"
        return next((executed.outcome for executed in ran if executed.outcome != "done"), "done")

    def when(self, step: Step) -> float | None:
        """Return the last execution time of `step` in this session, in seconds since the epoch."""
        return max((cell.when for cell in self._cells(step)), default=None)

    def _cells(self, step: Step) -> list[ExecutedCell]:
        executed = [self.executed.get(cell.id or "") or self.executed.get(f"step:{step.name}") for cell in step.cells]
        return [cell for cell in executed if cell is not None]

    def _bind_interface(self, name: str) -> None:
        try:
            pipeline = self.read()
        except PipelinesError:
            return  # the cell itself is fine; faults elsewhere are reported by `%pipeline check`
        if name not in pipeline:
            return
        step = pipeline[name]
        for step_input in step.inputs:
            self._bind_input(pipeline, step, step_input)
        if step.foreach:
            bind_first_item(pipeline, step, self.shell.user_ns)
        for output in step.outputs:
            if output.kind != "value":
                self._bind_path(pipeline, step.name, output.name, folder=output.kind == "folder")

    def _reveal_secrets(self, text: str) -> None:
        """Replace references to secrets by their values, as steps get them."""
        # Cheap test first: this runs after every cell.
        if "Secret" not in text:
            return
        names = self.shell.user_ns
        for parameter in parameters_of_text(text):
            reference = names.get(parameter.name)
            if parameter.kind == "secret" and is_reference(reference):
                try:
                    names[parameter.name] = reveal(reference, Path.cwd())
                except SecretNotFound as error:
                    print(f"the secret `{parameter.name}` cannot be had: {error.why}; {error.instead}")

    def _bind_input(self, pipeline: Pipeline, step: Step, step_input: Input) -> None:
        names = self.shell.user_ns
        if not isinstance(step_input.source, StepOutputRef):
            try:
                names[step_input.name] = self.project.input_path(pipeline, step, step_input)
            except PipelinesError as error:
                # Not the path of before either: the cell would read what is no longer there.
                names.pop(step_input.name, None)
                print(f"`{step_input.name}` is not there: {error.faults[0].message}")
        elif pipeline[step_input.source.step].foreach and not isinstance(names.get(step_input.name), GatheredResults):
            self._bind_list(pipeline, step_input, step_input.source)
        elif self._renamed_here(pipeline, step_input, step_input.source):
            names[step_input.name] = names[step_input.source.output]
        # A value that the user has in the kernel wins over the store: cells may have been run by hand.
        elif step_input.name not in names:
            self._load(pipeline, step_input, step_input.source)

    def _bind_list(self, pipeline: Pipeline, step_input: Input, source: StepOutputRef) -> None:
        """Bind the output of a ``--foreach`` step: the stored list, else the value of the item that ran here."""
        names, step = self.shell.user_ns, pipeline[source.step]
        try:
            names[step_input.name] = self.project.load(pipeline, str(source))
        except PipelinesError:
            if source.output not in names or self.outcome(step) != "done":
                self._load(pipeline, step_input, source)
                return
            names[step_input.name] = as_gathered(pipeline, step, names[source.output], names)
            print(f"`{step_input.name}` is a list of the one item that ran here; all: `%pipeline run {step.name}`")
        else:
            print(f"`{step_input.name}` loaded from the store (all items of step `{step.name}`)")

    def _renamed_here(self, pipeline: Pipeline, step_input: Input, source: StepOutputRef) -> bool:
        if step_input.name == source.output or source.output not in self.shell.user_ns:
            return False
        return self.outcome(pipeline[source.step]) == "done"

    def _load(self, pipeline: Pipeline, step_input: Input, source: StepOutputRef) -> None:
        try:
            self.shell.user_ns[step_input.name] = self.project.load(pipeline, str(source))
        except PipelinesError as error:
            if step_input.optional:
                self.shell.user_ns[step_input.name] = None
            else:
                print(f"`{step_input.name}` is not loaded: {error.faults[0].message}")
        else:
            print(f"`{step_input.name}` loaded from the store (output of step `{source.step}`)")

    def _bind_path(self, pipeline: Pipeline, step: str, output: str, *, folder: bool) -> None:
        path = self.project.store_for(pipeline).root / LIVE_FOLDER / file_stem(step) / output
        (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
        self.shell.user_ns[output] = path


def _cell_key(info: Any, step: str | None, count: int) -> str:
    cell_id = getattr(info, "cell_id", None)
    return cell_id or (f"step:{step}" if step else f"cell:{count}")


def _bind_annotations(names: dict[str, Any], text: str) -> None:
    """Bind the names used in annotations of a ``%%params`` cell, which Python evaluates when the cell runs."""
    import typing

    import annotated_types

    # setdefault and not assignment: the user may have a name `Secret`.
    if "Secret" in text:
        names.setdefault("Secret", Secret)
    for module in (typing, annotated_types):
        # Only names that occur and are free: the namespace belongs to the user.
        for word in ("Annotated", "Literal", "Optional", *annotated_types.__all__):
            if word in text and word not in names and hasattr(module, word):
                names[word] = getattr(module, word)
