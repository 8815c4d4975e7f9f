"""Run history of a project, and maintenance of its store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import PlanError, StoreError
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.project.planning_api import (
    STORE_FOLDER,
    NotebookRef,
    ProjectReader,
    notebook_name,
    require_name,
    require_step,
    split_output_name,
)

if TYPE_CHECKING:
    from jupyter_pipelines.execution.runs.events import Event
    from jupyter_pipelines.execution.runs.follow import RunFollower
    from jupyter_pipelines.execution.runs.history import RunHistory
    from jupyter_pipelines.pipeline.artifacts import Artifact
    from jupyter_pipelines.reporting.run_diff import RunDiff
    from jupyter_pipelines.storage.maintenance.fsck import FsckReport
    from jupyter_pipelines.storage.maintenance.garbage_collection import GcReport
    from jupyter_pipelines.storage.shared.resign import SigningReport
    from jupyter_pipelines.storage.step_record import StepRecord


class ProjectHistory(ProjectReader):
    """The runs of notebooks, also of other processes, and what is stored of them.

    The runs of a notebook whose cells do not make a pipeline at the moment are found by its path.
    """

    def runs(self, pipeline: NotebookRef) -> list[dict[str, Any]]:
        """Return the documents of earlier runs of this notebook, newest first."""
        return list(self._history(pipeline).documents())

    def run_document(self, pipeline: NotebookRef, name: str) -> dict[str, Any]:
        """Return the document of a run: by its id, the start or the last part of it, ``last`` or ``last~N``.

        Raises
        ------
        StoreError
            There is no such run, or there are several.
        """
        return self._history(pipeline).pick(name)

    def run_names(self, pipeline: NotebookRef) -> tuple[str, ...]:
        """Return the ids of all runs in the store of a notebook, also of other notebooks, oldest first.

        No document is read: watchers for new runs call this often.
        """
        return self.store_for(pipeline).runs.names()

    def find_run(self, pipeline: NotebookRef, run: str) -> dict[str, Any] | None:
        """Return the document of the run with exactly this id; None if this notebook has none."""
        return self._history(pipeline).find(run)

    def diff(self, pipeline: NotebookRef, first: str, second: str) -> RunDiff:
        """Compare two runs: parameters, code, inputs, outputs, durations."""
        from jupyter_pipelines.reporting.run_diff import compare

        documents = [self.run_document(pipeline, name) for name in (first, second)]
        return compare(*documents, record=self.store_for(pipeline).records.get)

    def watch(self, pipeline: NotebookRef, run: str) -> RunFollower:
        """Return a follower that gives the events of a run as they come, without waiting.

        Raises
        ------
        StoreError
            There is no such run; see :meth:`run_document`.
        """
        from jupyter_pipelines.execution.runs.follow import RunFollower

        return RunFollower(self.store_for(pipeline), self.run_document(pipeline, run)["run"])

    def follow(self, pipeline: NotebookRef, run: str) -> Iterator[dict[str, Any]]:
        """Yield the events of a run from its beginning, until it has ended or its process is gone.

        Works for any run of this notebook, also of another process, and whether or not it has ended.

        Raises
        ------
        StoreError
            There is no such run; see :meth:`run_document`.
        """
        from jupyter_pipelines.execution.runs.follow import follow

        return follow(self.store_for(pipeline), self.run_document(pipeline, run)["run"])

    def listen(self, pipeline: NotebookRef, run: str) -> Iterator[Event]:
        """Yield what :meth:`follow` yields, as the observers of the run got it."""
        from jupyter_pipelines.execution.runs.follow import listen

        return listen(self.store_for(pipeline), self.run_document(pipeline, run)["run"])

    def cancel(self, pipeline: NotebookRef, run: str, *, step: str | None = None, now: bool = False) -> str:
        """Request that a run, also of another process, or one step of it stops; repeating it changes nothing.

        Parameters
        ----------
        pipeline : Pipeline or Home
            What :meth:`read` or :meth:`home` returned.
        run : str
            The run, as :meth:`run_document` takes it.
        step : str or None
            Which step; None for the whole run.
        now : bool
            Do not wait for what is running to clean up.

        Returns
        -------
        str
            ``cancelling``, or the state that the run or the step has already reached.

        Raises
        ------
        PlanError
            The run has no such step.
        StoreError
            There is no such run, or the request cannot be written.
        """
        from jupyter_pipelines.execution.runs.follow import cancel

        document = self.run_document(pipeline, run)
        if step is not None:
            require_name(step, [step_document["name"] for step_document in document["steps"]])
        return cancel(self.store_for(pipeline), document, step=step, now=now)

    def artifact(self, pipeline: Pipeline, name: str) -> tuple[Artifact, StepRecord]:
        """Return ``STEP.NAME`` as the last run produced or reused it, and the record of the step run that computed it.

        Raises
        ------
        PlanError, StoreError
            There is no such output; nothing is stored for it.
        """
        from jupyter_pipelines.execution.runs.history import no_output, not_stored

        step, output = split_output_name(name)
        require_step(pipeline, step)
        # An item has the outputs of its step, which is the part of its name before the bracket.
        if output not in {step_output.name for step_output in pipeline[step.partition("[")[0]].outputs}:
            raise PlanError(no_output(pipeline, step, output))
        record = self._history(pipeline).last_record(step)
        if record is None or output not in record.outputs:
            self._require_item(pipeline, step)
            raise StoreError(not_stored(pipeline, name))
        return record.outputs[output], record

    def _require_item(self, pipeline: Pipeline, step: str) -> None:
        """Raise PlanError for an item that no run would have, as far as that can be determined."""
        if "[" not in step:
            return
        try:
            names = [planned.name for planned in self.plan(pipeline, look=True)]
        except PlanError:  # it takes parameters that are not given here
            return
        require_name(step, names)

    def preview(
        self, pipeline: Pipeline, name: str, *, run: str | None = None, unpickle: bool = False
    ) -> dict[str, Any]:
        """Describe ``STEP.NAME`` and show its beginning, without loading large values.

        Parameters
        ----------
        pipeline : Pipeline
            What :meth:`read` returned.
        name : str
            The output.
        run : str or None
            The run that made or reused it, as :meth:`run_document` takes it; the last such run by default.
        unpickle : bool
            Load pickles; that executes code of their authors.

        Raises
        ------
        PlanError, StoreError
            There is no such output, or nothing is stored for it.
        """
        from jupyter_pipelines.execution.runs.history import not_stored
        from jupyter_pipelines.pipeline.artifacts import Artifact
        from jupyter_pipelines.reporting.output_preview import preview

        step, output = split_output_name(name)
        if run is None:
            artifact, outdated = self.artifact(pipeline, name)[0], self.outdated(pipeline, step)
        else:
            outputs = {
                step_document["name"]: step_document["outputs"]
                for step_document in self.run_document(pipeline, run)["steps"]
            }
            if output not in outputs.get(step, {}):
                raise StoreError(not_stored(pipeline, name))
            artifact, outdated = Artifact.from_dict(outputs[step][output]), ""
        return preview(self.store_for(pipeline), artifact, name, outdated=outdated, unpickle=unpickle)

    def dependencies(self, pipeline: Pipeline, step: str) -> list[str]:
        """Return what the result of the last run of a step depends on, in a few lines; empty if nothing is stored.

        Of a step over many items, each item has its own; the step that gathers their results has none.

        Raises
        ------
        PlanError
            There is no such step.
        """
        from jupyter_pipelines.planning.dependencies import dependencies_document, dependencies_summary

        require_step(pipeline, step)
        # Looking at a notebook must not create a store beside it.
        has_own = self.has_store(pipeline) and not (step in pipeline and pipeline[step].foreach)
        record = self._history(pipeline).last_record(step) if has_own else None
        return dependencies_summary(dependencies_document(record)) if record else []

    def outdated(self, pipeline: Pipeline, step: str) -> str:
        """Return why a run with the same parameters would compute `step` again; empty when it would not."""
        _, document = next(self._history(pipeline).finished(step), (None, {}))
        known = {parameter.name for parameter in pipeline.parameters}
        # The run may be older than the notebook: parameters that are no longer declared would be refused.
        values = {name: value for name, value in document.get("parameters", {}).items() if name in known}
        try:
            planned = self.why(pipeline, step, parameters=values)
        except PlanError as error:  # the parameters have changed since
            return error.faults[0].message
        return "" if planned.decision == "reuse" else planned.reason.text

    def load(self, pipeline: Pipeline, name: str) -> Any:
        """Return the value of ``STEP.NAME`` as the last run left it, verified.

        Raises
        ------
        PlanError, StoreError
            There is no such output; nothing is stored for it; the stored bytes are damaged.
        """
        from jupyter_pipelines.storage.loading import load_value

        artifact, _ = self.artifact(pipeline, name)
        return load_value(self.store_for(pipeline), artifact)

    def collect(self, pipeline: NotebookRef, *, older_than: float, dry_run: bool = False) -> GcReport:
        """Remove what neither a kept run nor a step of a notebook needs.

        Parameters
        ----------
        pipeline : Pipeline
            Says which store.
        older_than : float
            Seconds; what is younger stays.
        dry_run : bool
            Only say what would go.
        """
        from jupyter_pipelines.storage.maintenance.garbage_collection import collect

        return collect(self.store_for(pipeline), older_than=older_than, dry_run=dry_run)

    def examine(self, pipeline: NotebookRef, *, repair: bool = False) -> FsckReport:
        """Read everything in the store of `pipeline` and report what is corrupt or suspect.

        Parameters
        ----------
        pipeline : Pipeline
            Says which store; it is not made if there is none.
        repair : bool
            Quarantine what is corrupt or may have been written by another user: it is computed again when needed.

        Raises
        ------
        StoreError, PluginError
            There is something else in its place; it cannot be written; there is no store for such a URL.
        """
        from jupyter_pipelines.storage.maintenance.fsck import examine

        # By its address: `store_for` would make a store where there is none.
        return examine(self._url or pipeline.root / STORE_FOLDER, repair=repair)

    def countersign(self, pipeline: NotebookRef) -> SigningReport:
        """Sign every record in the store of `pipeline` whose outputs are intact.

        Raises
        ------
        StoreError
            The store is not the user's own (JP413); there is no key to sign with (JP412, JP411).
        """
        from jupyter_pipelines.storage.shared.resign import sign_records

        return sign_records(self.store_for(pipeline))

    def _history(self, pipeline: NotebookRef) -> RunHistory:
        from jupyter_pipelines.execution.runs.history import RunHistory

        return RunHistory(self.store_for(pipeline), notebook_name(pipeline))
