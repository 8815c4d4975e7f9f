"""A step run as a document: a ticket goes to a worker, an outcome comes back.

Both are plain JSON, so that a pipe, a queue or another machine can carry them. Nothing here imports anything heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NotRequired, TypedDict

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.pipeline.artifacts import Artifact, OutputKind

TICKET = "jupyter-pipelines/ticket/1"
OUTCOME = "jupyter-pipelines/outcome/1"

State = Literal["succeeded", "failed", "timed-out", "died", "cancelled"]


class InputSpec(TypedDict):
    """Kind and location of an input.

    ``artifact`` has `digest` and `format`; ``file`` (or folder) has `path`, absolute or relative to the ticket's `cwd`,
    and `digest`; ``missing`` is an optional input without a value, and binds the name to ``None``. ``gathered`` is the
    list of results of a ``--foreach`` step: one input for each item (`items`), the values of these items (`keys`), and
    the values of items that failed (`failed`). Where an artifact is stored in one file with other outputs of its step,
    `later` lists those other outputs that later steps load, as pairs of output and step. The content of a URL is an
    artifact with a `filename`, under which the step gets it.
    """

    kind: Literal["artifact", "file", "missing", "gathered"]
    digest: NotRequired[str]
    format: NotRequired[str]
    path: NotRequired[str]
    filename: NotRequired[str]
    items: NotRequired[list[InputSpec]]
    keys: NotRequired[list[dict[str, Any]]]
    failed: NotRequired[list[dict[str, Any]]]
    later: NotRequired[list[tuple[str, str]]]


class OutputSpec(TypedDict):
    """Kind and format in which an output is stored; without a format, the type of the value decides."""

    kind: OutputKind
    format: str | None


class SourceFile(TypedDict):
    """A file that a step's code refers to; a worker on another machine needs it at the same path in the project.

    A module of the project has its source in ``text`` and its import name in ``name``; a data file has neither.
    """

    path: str
    text: NotRequired[str]
    name: NotRequired[str]


class KernelPreimports(TypedDict):
    """Modules that may be imported before a step's kernel is forked: only modules that the step imports itself.

    ``shared`` is imported once for several steps, in this order, and ``own`` for this step alone.
    """

    shared: Sequence[str]
    own: Sequence[str]


NOTHING: KernelPreimports = {"shared": (), "own": ()}
"""No preimports: the default when the imports of a step are not known."""


class PublishPaths(TypedDict):
    """The paths at which the executed notebook and the log of a step run are published."""

    notebook: str
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTicket:
    """One attempt at one step.

    Parameters
    ----------
    id : str
        Unique among all attempts of all runs; used in file names, so letters, digits, ``_``, ``-`` and ``.`` only.
    run, step : str
        The run and the step it belongs to.
    attempt : int
        Counted from 1.
    notebook : dict
        The rendered notebook, nbformat 4.5.
    path : str
        The file with this ticket, written by the worker; the rendered notebook passes the path to ``open_step``.
    cwd : str
        Working directory of the step: the folder of the user's notebook.
    store : str
        URL or path of the store.
    parameters : Mapping
        The values that `notebook` was rendered with.
    secrets : Mapping of str to str
        References (``env:NAME``, ``file:PATH``) of the parameters that are secrets; never the values.
    inputs, outputs : Mapping
        The interface: location of each input, kind and format of each output.
    timeout : float or None
        Seconds that the step's code may take; None for no limit.
    kernel : str or None
        Name of the kernelspec; None for the kernel of the interpreter that runs the worker.
    environment : Mapping of str to str
        Added to the kernel's environment.
    start : str
        Working directory in which the kernel starts before it changes to `cwd` for the step: a folder without
        importable files, so that a kernel started ahead of time fits any step. Empty for `cwd`.
    late : Mapping of str to str
        Environment variables that are set only when the kernel is assigned to the step.
    warm : KernelPreimports or None
        Modules that its kernel may have imported when it starts; None when they are not known.
    following : sequence of KernelPreimports
        The same for the steps that are likely to start next.
    root : str
        The project's folder.
    sources : sequence of SourceFile
        Modules of the project that the step's code reaches, and files whose names stand in its code.
    publish : PublishPaths
        Where the executed notebook and the log go, whatever the state of the outcome.
    ignored : sequence of str
        Paths and patterns of files of the project that are no dependencies.
    traced : bool
        Trace the files that the step reads.
    trace_key : str
        Hexadecimal key of the digests of environment variables in the trace; empty for the user's own key. Tickets for
        other machines have one, and their steps are traced also if they fail.
    asked : sequence of str
        Questions of earlier traces of the step: what they are about is sent to another machine. They stay on this one.
    sent : Mapping of str to str
        Digests of the files and folders that were sent to another machine, by their places. They stay on this one, too.
    """

    id: str
    run: str
    step: str
    notebook: Mapping[str, Any]
    path: str
    cwd: str
    store: str
    publish: PublishPaths
    attempt: int = 1
    parameters: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    outputs: Mapping[str, OutputSpec] = field(default_factory=dict)
    timeout: float | None = None
    kernel: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    start: str = ""
    late: Mapping[str, str] = field(default_factory=dict)
    warm: KernelPreimports | None = None
    following: Sequence[KernelPreimports] = field(default_factory=list)
    root: str = ""
    sources: Sequence[SourceFile] = field(default_factory=list)
    ignored: Sequence[str] = field(default_factory=list)
    traced: bool = True
    trace_key: str = ""
    asked: Sequence[str] = field(default_factory=tuple)
    sent: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self, *, notebook: bool = True) -> dict[str, Any]:
        """Return the ticket as a JSON-serializable document, with or without the notebook."""
        left_out = {"asked", "sent"} if notebook else {"asked", "sent", "notebook"}
        return {"schema": TICKET} | _values(self, left_out)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StepTicket:
        """Return the ticket for a document made by :meth:`to_dict`; a left-out notebook is empty.

        Raises
        ------
        ValueError
            The document is no ticket, or has another format version.
        """
        _require(document, TICKET)
        return cls(**{"notebook": {}} | _known(cls, document))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """The result of one attempt at a step.

    Parameters
    ----------
    ticket : str
        Id of the ticket.
    state : {"succeeded", "failed", "timed-out", "died", "cancelled"}
        ``succeeded`` means that every cell ran to its end and every declared output is in the store.
    outputs : Mapping of str to Artifact
        Empty unless the step succeeded.
    fault : Diagnostic or None
        Why it did not succeed; None if it did.
    error_type : str or None
        Name of the exception class, if the step's code raised one.
    warnings : tuple of Diagnostic
        Diagnostics that did not stop the step.
    seconds : float
        Wall time of the attempt, the start of the kernel included.
    started : str
        ISO 8601, UTC; empty if the attempt never started.
    log, notebook : str or None
        Paths of the published log and executed notebook; None if they could not be published.
    trace : Mapping of str to str or None
        What the step asked of files and of the environment, see :mod:`jupyter_pipelines.planning.keys.traces`; None
        where that was not traced. Of a step that failed, only workers on other machines report it.
    changed : tuple of str
        Inputs that the step changed in place, of those stored in one file with other outputs.
    appended : tuple of str
        Files that the step only appended to, by their names in traces.
    """

    ticket: str
    state: State
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    fault: Diagnostic | None = None
    error_type: str | None = None
    warnings: tuple[Diagnostic, ...] = ()
    seconds: float = 0.0
    started: str = ""
    log: str | None = None
    notebook: str | None = None
    trace: Mapping[str, str] | None = None
    changed: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as a JSON-serializable document."""
        return {"schema": OUTCOME} | _values(self, {"outputs", "fault", "warnings"}) | {
            "outputs": {name: artifact.to_dict() for name, artifact in self.outputs.items()},
            "fault": asdict(self.fault) if self.fault else None,
            "warnings": [asdict(fault) for fault in self.warnings],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StepOutcome:
        """Return the outcome for a document made by :meth:`to_dict`.

        Raises
        ------
        ValueError
            The document is no outcome, or has another format version.
        """
        _require(document, OUTCOME)
        artifacts = {name: Artifact.from_dict(artifact) for name, artifact in document["outputs"].items()}
        fault = fault_from_dict(document["fault"]) if document["fault"] else None
        warnings = tuple(fault_from_dict(warning) for warning in document["warnings"])
        values = {
            "outputs": artifacts,
            "fault": fault,
            "warnings": warnings,
            "changed": tuple(document.get("changed", ())),
            "appended": tuple(document.get("appended", ())),
        }
        return cls(**_known(cls, document) | values)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketProgress:
    """A progress report of a running ticket.

    Parameters
    ----------
    ticket : str
        Id of the ticket.
    cell : int or None
        Number of the running code cell of the rendered notebook, counted from 1; None while its kernel starts.
    cells : int or None
        Number of code cells of the rendered notebook.
    text : str
        The last line that the step printed, or the current phase.
    """

    ticket: str
    cell: int | None = None
    cells: int | None = None
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON-serializable document."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TicketProgress:
        """Return the report for a document made by :meth:`to_dict`."""
        return cls(**_known(cls, document))


def fault_from_dict(document: Mapping[str, Any]) -> Diagnostic:
    """Return the diagnostic for a document made by :func:`dataclasses.asdict`."""
    place = document.get("place")
    values = _known(Diagnostic, document) | {"notes": tuple(document.get("notes", ()))}
    return Diagnostic(**values | {"place": SourceLocation(**place) if place else None})


def _values(document: Any, left_out: set[str]) -> dict[str, Any]:
    names = (attribute.name for attribute in fields(document) if attribute.name not in left_out)
    return {name: _plain(getattr(document, name)) for name in names}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _known(cls: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `document` that `cls` has; a newer version of the format may have added others."""
    names = {attribute.name for attribute in fields(cls)}
    return {name: value for name, value in document.items() if name in names}


def _require(document: Mapping[str, Any], schema: str) -> None:
    if document.get("schema") != schema:
        raise ValueError(f"expected a document of format {schema}, got {document.get('schema')!r}")
