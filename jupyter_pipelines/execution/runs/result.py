"""Result of a run: a value that can be printed, compared and stored as a document, and that loads outputs on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import (
    Diagnostic,
    ExecutorLost,
    KernelDied,
    RunCancelled,
    RunError,
    SourceLocation,
    StepFailed,
    StepTimedOut,
    closest_name,
)
from jupyter_pipelines.pipeline.amounts import in_words
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.planning.reasons import DecisionReason

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.storage.store import Store

SCHEMA = "jupyter-pipelines/run/1"
_ERRORS: Mapping[str, type[RunError]] = {
    "JP301": KernelDied,
    "JP302": KernelDied,
    "JP304": StepTimedOut,
    "JP305": KernelDied,
    "JP306": RunCancelled,
    "JP308": ExecutorLost,
}


class StepOutputs(Mapping[str, Any]):
    """The outputs of a step by name; each is loaded on access, after it was checked against its digest.

    Parameters
    ----------
    step : str
        The step that produced them.
    artifacts : Mapping of str to Artifact
        The stored artifacts.
    store : Store or None
        The store; without one no output can be loaded.
    """

    def __init__(self, step: str, artifacts: Mapping[str, Artifact], store: Store | None) -> None:
        self._step = step
        self._artifacts = artifacts
        self._store = store

    def __getitem__(self, name: str) -> Any:
        if name not in self._artifacts:
            raise KeyError(_unknown(f"output of step `{self._step}`", name, self._artifacts))
        if self._store is None:
            raise KeyError(f"`{self._step}.{name}` cannot be loaded: this run was read without its store")
        # Imported late: results are printed and compared without the serializers and their packages.
        from jupyter_pipelines.storage.loading import load_value

        return load_value(self._store, self._artifacts[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._artifacts)

    def __len__(self) -> int:
        return len(self._artifacts)

    def __repr__(self) -> str:
        return f"<outputs of {self._step}: {', '.join(self._artifacts) or 'none'}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOrigin:
    """The run that computed a result.

    Parameters
    ----------
    run : str
        Id of the run.
    created : str
        Time of the result, ISO 8601 in UTC.
    seconds : float
        Duration of the step in that run.
    """

    run: str
    created: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the origin as a JSON-serializable document."""
        return {"run": self.run, "created": self.created, "seconds": self.seconds}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ResultOrigin:
        """Return the origin for a document made by :meth:`to_dict`; further fields are ignored."""
        return cls(run=str(document["run"]), created=str(document["created"]), seconds=float(document["seconds"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """The result of one step in a run.

    Parameters
    ----------
    name : str
        Name of the step.
    state : str
        ``succeeded``, ``reused``, ``failed``, ``blocked``, ``skipped`` or ``cancelled``; during the run also
        ``pending``, ``deciding``, ``ready``, ``waiting``, ``running`` or ``retrying``.
    key : str or None
        Digest of code, parameters, inputs and packages; None as long as it is not known.
    decision : str
        ``run``, ``reuse``, ``maybe``, ``blocked`` or ``skip``.
    reason : DecisionReason
        Reason of the decision.
    seconds : float
        Duration of all attempts together; 0 if it did not run.
    attempts : int
        Number of attempts.
    notebook, log : str or None
        Paths of the executed notebook and the log, from the run that computed the result.
    artifacts : Mapping of str to Artifact
        The stored outputs by name.
    fault : Diagnostic or None
        Why it failed.
    error_type : str or None
        Name of the exception class that its code raised.
    origin : ResultOrigin or None
        The run that computed a reused result.
    previous : ResultOrigin or None
        The run that computed the step's result before this one.
    warnings : tuple of Diagnostic
        Warnings about the step.
    store : Store or None
        The store with the artifacts.
    items : Mapping of str to object
        For an item of a ``--foreach`` step, ``item``: `of` which step it is, and its `values`. For the step that
        gathers them, ``items``: their number.
    """

    name: str
    state: str
    key: str | None
    decision: str
    reason: DecisionReason
    seconds: float = 0.0
    attempts: int = 0
    notebook: str | None = None
    log: str | None = None
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    fault: Diagnostic | None = None
    error_type: str | None = None
    origin: ResultOrigin | None = None
    previous: ResultOrigin | None = None
    warnings: tuple[Diagnostic, ...] = ()
    store: Store | None = field(default=None, repr=False, compare=False)
    items: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> StepOutputs:
        """The values of the outputs, each loaded on access."""
        return StepOutputs(self.name, self.artifacts, self.store)

    @property
    def saved(self) -> float:
        """Seconds that reusing the result saved: its duration when it was computed; 0 if it was not reused."""
        return self.origin.seconds if self.origin and self.state == "reused" else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the step as an entry of the ``run`` document."""
        return {
            "name": self.name,
            "state": self.state,
            "key": self.key,
            "decision": self.decision,
            "reason": self.reason.to_dict(),
            "seconds": round(self.seconds, 3),
            "attempts": self.attempts,
            "notebook": self.notebook,
            "log": self.log,
            "outputs": {name: artifact.to_dict() for name, artifact in self.artifacts.items()},
            "error": error_to_dict(self.fault, self.error_type) if self.fault else None,
            "origin": self.origin.to_dict() if self.origin else None,
            "previous": self.previous.to_dict() if self.previous else None,
            "saved": round(self.saved, 3),
            "warnings": [error_to_dict(fault) for fault in self.warnings],
            **self.items,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], store: Store | None = None) -> StepRun:
        """Return the step for a document made by :meth:`to_dict`; fields that older versions lack have defaults."""
        error = document["error"]
        same = ("name", "state", "key", "decision", "seconds", "attempts", "notebook")
        return cls(
            **{name: document[name] for name in same},
            reason=_reason(document["reason"]),
            log=document.get("log"),
            artifacts={name: Artifact.from_dict(artifact) for name, artifact in document["outputs"].items()},
            fault=error_from_dict(error) if error else None,
            error_type=error["type"] if error else None,
            origin=_origin(document.get("origin")),
            previous=_origin(document.get("previous")),
            warnings=tuple(error_from_dict(warning) for warning in document.get("warnings", ())),
            store=store,
            items={name: document[name] for name in ("item", "items") if name in document},
        )

    def __repr__(self) -> str:
        return f"<StepRun {self.name}: {self.state} after {in_words(self.seconds)}>"

    def __str__(self) -> str:
        words = [self.state, *self._more()]
        return f"{self.name}: {', '.join(words)}" + (f"\n{self.fault}" if self.fault else "")

    def _more(self) -> Iterator[str]:
        if self.seconds:
            yield in_words(self.seconds)
        if self.attempts > 1:
            yield f"{self.attempts} attempts"
        if self.origin:
            yield f"from run {self.origin.run}"
        if self.state in ("blocked", "skipped") and self.reason.text:
            yield self.reason.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The result of a run.

    Parameters
    ----------
    id : str
        Id of the run.
    state : str
        ``succeeded``, ``failed`` or ``cancelled``; in a document also ``running``, or ``lost`` if its process is gone.
    seconds : float
        Duration of the run.
    parameters : Mapping
        Values by name.
    steps : Mapping of str to StepRun
        The steps by name, in the order of the plan.
    notebook : str or None
        Path of the notebook from the project's root.
    started, finished : str
        Times, ISO 8601 in UTC; `finished` is empty while it runs.
    warnings : tuple of Diagnostic
        Warnings about the run as a whole.
    pipeline : Pipeline or None
        The pipeline; None in a run that was read from its document.

    Examples
    --------
    >>> run["train"].outputs["model"]          # doctest: +SKIP
    """

    id: str
    state: str
    seconds: float
    parameters: Mapping[str, Any]
    steps: Mapping[str, StepRun]
    notebook: str | None = None
    started: str = ""
    finished: str = ""
    warnings: tuple[Diagnostic, ...] = ()
    pipeline: Pipeline | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, step: str) -> StepRun:
        if step not in self.steps:
            raise KeyError(_unknown("step", step, self.steps))
        return self.steps[step]

    @property
    def saved(self) -> float:
        """Seconds that reused results saved."""
        return sum(step.saved for step in self.steps.values())

    def raise_for_state(self) -> Run:
        """Return the run itself if it succeeded; raise otherwise.

        Raises
        ------
        StepFailed, StepTimedOut, KernelDied, ExecutorLost, RunError
            Steps did not succeed. The exception has the diagnostics of all of them, and the class for the first.
        RunCancelled
            The run was cancelled.
        """
        if self.state == "succeeded":
            return self
        if self.state == "cancelled":
            raise RunCancelled(_cancelled(self))
        faults = [step.fault for step in self.steps.values() if step.fault and step.state == "failed"]
        # Steps may be blocked although none failed: by the selection (`--only`), or by a missing result before them.
        if not faults:
            raise RunError(_incomplete(self))
        raise _ERRORS.get(faults[0].code, StepFailed)(*faults)

    def to_dict(self) -> dict[str, Any]:
        """Return the ``run`` document."""
        return {
            "schema": SCHEMA,
            "run": self.id,
            "state": self.state,
            "notebook": self.notebook,
            "started": self.started,
            "finished": self.finished or None,
            "seconds": round(self.seconds, 3),
            "saved": round(self.saved, 3),
            "parameters": dict(self.parameters),
            "steps": [step.to_dict() for step in self.steps.values()],
            "warnings": [error_to_dict(fault) for fault in self.warnings],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], store: Store | None = None) -> Run:
        """Return the run for a document made by :meth:`to_dict`.

        Raises
        ------
        ValueError
            The document is no run, or has another format version.
        """
        if document.get("schema") != SCHEMA:
            raise ValueError(f"expected a document of format {SCHEMA}, got {document.get('schema')!r}")
        steps = [StepRun.from_dict(step, store) for step in document["steps"]]
        return cls(
            id=document["run"],
            state=document["state"],
            seconds=document["seconds"],
            parameters=document["parameters"],
            steps={step.name: step for step in steps},
            notebook=document.get("notebook"),
            started=document.get("started") or "",
            finished=document.get("finished") or "",
            warnings=tuple(error_from_dict(warning) for warning in document.get("warnings", ())),
        )

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.state} after {in_words(self.seconds)}, {len(self.steps)} steps>"

    def __str__(self) -> str:
        return "\n".join([self._headline(), *(f"  {step}" for step in self.steps.values())])

    def _headline(self) -> str:
        reused = sum(step.state == "reused" for step in self.steps.values())
        words = f"run {self.id}: {self.state} after {in_words(self.seconds)}"
        if reused:
            words += f", {reused} of {len(self.steps)} steps reused, about {in_words(self.saved)} saved"
        return words


def _reason(document: Mapping[str, Any]) -> DecisionReason:
    return DecisionReason(code=document["code"], text=document["text"], details=tuple(document["details"]))


def error_to_dict(fault: Diagnostic, error_type: str | None = None) -> dict[str, Any]:
    """Return a diagnostic in the flat form of the ``run`` document, with the exception class of the step's code."""
    # Without a location, cell 0: cells are counted from 1.
    place = fault.place or SourceLocation(cell=0, line=0)
    more = {"text": place.text, "length": place.length, "label": fault.label, "notebook": fault.notebook}
    return fault.to_dict() | {"type": error_type} | more


def error_from_dict(document: Mapping[str, Any]) -> Diagnostic:
    """Return the diagnostic for a document made by :func:`error_to_dict`; cell 0 means no location."""
    return Diagnostic(
        code=document["code"],
        message=document["message"],
        suggestion=document.get("suggestion", ""),
        severity=document.get("severity", "error"),
        notebook=document.get("notebook"),
        step=document.get("step"),
        place=_place(document) if document.get("cell") else None,
        label=document.get("label", ""),
        notes=tuple(document.get("notes", ())),
    )


def _place(document: Mapping[str, Any]) -> SourceLocation:
    return SourceLocation(
        cell=document["cell"],
        line=document["line"],
        column=document.get("column") or 0,
        length=document.get("length") or 0,
        text=document.get("text") or "",
    )


def _origin(document: Mapping[str, Any] | None) -> ResultOrigin | None:
    return ResultOrigin.from_dict(document) if document else None


def _cancelled(run: Run) -> Diagnostic:
    unfinished = [step.name for step in run.steps.values() if step.state == "cancelled"]
    return Diagnostic(
        code="JP306",
        message=f"the run was cancelled; not finished: {', '.join(unfinished)}",
        suggestion="run it again: what was finished is reused",
        notebook=run.notebook,
    )


def _incomplete(run: Run) -> Diagnostic:
    first = next((step for step in run.steps.values() if step.state == "blocked"), None)
    return Diagnostic(
        code="JP405",
        message=f"step `{first.name}` is blocked: {first.reason.text}" if first else f"the run is {run.state}",
        suggestion="run the whole pipeline, without --to, --from and --only" if first else "run it again",
        notebook=run.notebook,
        step=first.name if first else None,
    )


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    near = closest_name(name, known)
    return f"there is no {what} called `{name}`; " + (f"write `{near}`" if near else f"known: {', '.join(known)}")
