"""History of runs: find a run by its id, a part of its id or ``last~N``; errors for runs and outputs not found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import COMMAND_LINE, Diagnostic, StoreError, closest_name, shell_path, shell_word
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.storage.records.run_store import is_run

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord
    from jupyter_pipelines.storage.store import Store

# At most six digits: `int` raises ValueError for thousands of them.
_BACK = re.compile(r"last(?:~([0-9]{1,6}))?")


class RunHistory:
    """The runs of one notebook in a store, read anew at each call.

    Parameters
    ----------
    store : Store
        The store.
    notebook : str or None
        Path of the notebook from the project's root, its name in the store.
    """

    def __init__(self, store: Store, notebook: str | None) -> None:
        self._store = store
        self._notebook = notebook

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the documents of all runs, newest first."""
        runs = self._store.runs
        documents = (runs.read(run) for run in runs.ids())
        yield from (document for document in documents if document.get("notebook") == self._notebook)

    def pick(self, name: str) -> dict[str, Any]:
        """Return the document of the run called `name`; see :func:`pick`."""
        # A full id needs one file; all other names need the documents of all runs.
        document = self.find(name) if is_run(name) else None
        return document or pick(list(self.documents()), name)

    def find(self, run: str) -> dict[str, Any] | None:
        """Return the document of the run with exactly this id; None if there is none, or it is of another notebook."""
        try:
            document = self._store.runs.read(run)
        except StoreError:
            return None
        return document if document.get("notebook") == self._notebook else None

    def finished(self, step: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield the entry of a step in each run that computed or reused it, and the run's document, newest first."""
        for document in self.documents():
            for step_document in document.get("steps", ()):
                if step_document["name"] == step and step_document["state"] in ("succeeded", "reused"):
                    yield step_document, document

    def last_record(self, step: str) -> StepRecord | None:
        """Return the record that the last run produced or reused for `step`; None if there is none.

        That is not always the newest record: a later run may have reused an older one.
        """
        key = next((step_document["key"] for step_document, _ in self.finished(step)), None)
        # Runs may have been removed by gc while their records remain: then the newest record is the best answer.
        records = self._store.records
        return (records.get(key) if key else None) or records.latest(step, self._notebook)


def pick(documents: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Return the run called `name`.

    Parameters
    ----------
    documents : sequence of Mapping
        Documents of runs, newest first.
    name : str
        An id, its start, its last part (as tables show it), ``last``, or ``last~N`` for the Nth run before it.

    Raises
    ------
    StoreError
        No run has that name, or several have (JP405).
    """
    match = _BACK.fullmatch(name)
    if match:
        start = int(match[1] or 0)
        candidates = list(documents[start : start + 1])
    else:
        candidates = [document for document in documents if _is_called(str(document["run"]), name)]
    if len(candidates) != 1:
        raise StoreError(
            _which(name, [str(document["run"]) for document in candidates or documents], ambiguous=bool(candidates))
        )
    return dict(candidates[0])


def _is_called(run: str, name: str) -> bool:
    return bool(name) and (run.startswith(name) or run.endswith(f"-{name}"))


def _which(name: str, runs: Sequence[str], *, ambiguous: bool) -> Diagnostic:
    return Diagnostic(
        code="JP405",
        message=f"`{name}` names more than one run" if ambiguous else f"there is no run `{name}`",
        suggestion="write one of the ids that `jupyter pipelines runs NOTEBOOK` lists, or `last`"
        if runs
        else "run it first: `jupyter pipelines run NOTEBOOK`",
        notes=(f"runs: {', '.join(runs[:5]) or 'none yet'}",),
    )


def no_output(pipeline: Pipeline, step: str, output: str) -> Diagnostic:
    """Return the error for an output that a step does not have."""
    names = [step_output.name for step_output in pipeline[step.partition("[")[0]].outputs]
    near = closest_name(output, names)
    return Diagnostic(
        code="JP405",
        message=f"step `{step}` has no output `{output}`" if output else f"`{step}` is a step, and no output of one",
        suggestion=f"write `{shell_word(f'{step}.{near or names[0]}')}`"
        if names
        else f"add `-o {output or 'NAME'}` to it, and run it",
        step=step,
        notes=(f"its outputs are: {', '.join(names) or 'none'}",),
    )


def not_stored(pipeline: Pipeline, name: str) -> Diagnostic:
    """Return the error for an output that no run has stored."""
    step = name.rpartition(".")[0] or name
    notebook = shell_path(str(pipeline.notebook)) if pipeline.notebook else "NOTEBOOK"
    return Diagnostic(
        code="JP405",
        message=f"`{name}` is not in the store",
        suggestion=f"run it first: `{COMMAND_LINE} run {notebook} --to {shell_word(step)}`",
        step=step,
    )
