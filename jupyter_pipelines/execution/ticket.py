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
    """Where the kernel finds an input.

    ``artifact`` has `digest` and `format`; ``file`` (or folder) has `path`, absolute or relative to the ticket's `cwd`,
    and `digest`; ``missing`` has nothing and binds the name to ``None``. ``gathered`` has what each of many items
    made (`items`), the values of these items (`keys`), and those of items that failed. Where an artifact shares parts
    with others of the same step, `later` has which of them are taken by steps after this one, each with the step.
    """

    kind: Literal["artifact", "file", "missing", "gathered"]
    digest: NotRequired[str]
    format: NotRequired[str]
    path: NotRequired[str]
    items: NotRequired[list[InputSpec]]
    keys: NotRequired[list[dict[str, Any]]]
    failed: NotRequired[list[dict[str, Any]]]
    later: NotRequired[list[tuple[str, str]]]


class OutputSpec(TypedDict):
    """What an output is to be stored as."""

    kind: OutputKind
    format: str | None


class SourceFile(TypedDict):
    """A file that a step's code reaches: what a worker elsewhere has to have, at the same place in the project.

    ``text`` and ``name`` are given for one of the project's own modules; without them it is a file that code reads.
    """

    path: str
    text: NotRequired[str]
    name: NotRequired[str]


class KernelPreimports(TypedDict):
    """What may be imported before a step's kernel is needed: nothing but what the step imports itself.

    ``shared`` is imported once for several steps, in this order, and ``own`` for this step alone.
    """

    shared: Sequence[str]
    own: Sequence[str]


NOTHING: KernelPreimports = {"shared": (), "own": ()}
"""What a kernel may have imported when nothing is known of its step."""


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
        The file in which the step's kernel finds this ticket: what the rendered notebook hands to ``open_step``. The
        worker writes it.
    cwd : str
        Where the step runs: the folder of the user's notebook.
    store : str
        URL or path of the store.
    parameters : Mapping
        The values that `notebook` was rendered with.
    secrets : Mapping of str to str
        Of the parameters that are secrets: where each one is.
    inputs, outputs : Mapping
        The interface: where each input is, and what each output is to be stored as.
    timeout : float or None
        Seconds that the step's code may take; None for no limit.
    kernel : str or None
        Name of the kernelspec; None for the kernel of the interpreter that runs the worker.
    environment : Mapping of str to str
        Added to the kernel's environment.
    start : str
        Where its kernel starts, to go to `cwd` when it has the step: a folder without anything that could be imported,
        so that kernels are alike. Empty for `cwd`.
    late : Mapping of str to str
        Added to the environment when the kernel has the step.
    warm : KernelPreimports or None
        What its kernel may have imported when it starts; None when nothing is known.
    following : sequence of KernelPreimports
        The same for the steps that are likely to start next.
    root : str
        The project's folder.
    sources : sequence of SourceFile
        The project's own modules that it reaches, and files that it reads by a name in its code.
    publish : PublishPaths
        Where the executed notebook and the log go, whatever happens.
    ignored : sequence of str
        Paths and patterns of files of the project that do not count.
    traced : bool
        Watch what it reads in the project's folder: it runs on the machine on which it was planned.
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

    def to_dict(self, *, notebook: bool = True) -> dict[str, Any]:
        """Return the ticket as JSON holds it, on request without the notebook."""
        left_out = set() if notebook else {"notebook"}
        return {"schema": TICKET} | _values(self, left_out)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StepTicket:
        """Return the ticket that :meth:`to_dict` described.

        Raises
        ------
        ValueError
            The document is something else, or of another format version.
        """
        _require(document, TICKET)
        return cls(**{"notebook": {}} | _known(cls, document))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What became of a ticket.

    Parameters
    ----------
    ticket : str
        Id of the ticket.
    state : {"succeeded", "failed", "timed-out", "died", "cancelled"}
        ``succeeded`` means that every cell ran to its end and every declared output is in the store.
    outputs : Mapping of str to Artifact
        Empty unless the step succeeded.
    fault : Diagnostic or None
        Why it did not succeed.
    error_type : str or None
        Name of the exception class, if the step's code raised one.
    warnings : tuple of Diagnostic
        What is doubtful but stopped nothing.
    seconds : float
        From the start of the attempt to its end, the kernel's start included.
    started : str
        ISO 8601, UTC; empty when it never started.
    log, notebook : str or None
        Paths of what was published.
    trace : Mapping of str to str or None
        What the step asked of files and of the environment, see :mod:`jupyter_pipelines.planning.keys.traces`; None
        where that was not watched.
    changed : tuple of str
        Inputs that the step changed, of those that share parts with others.
    appended : tuple of str
        Files that the step only appended to, as traces name them.
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
        """Return the outcome as JSON holds it."""
        return {"schema": OUTCOME} | _values(self, {"outputs", "fault", "warnings"}) | {
            "outputs": {name: artifact.to_dict() for name, artifact in self.outputs.items()},
            "fault": asdict(self.fault) if self.fault else None,
            "warnings": [asdict(fault) for fault in self.warnings],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StepOutcome:
        """Return the outcome that :meth:`to_dict` described.

        Raises
        ------
        ValueError
            The document is something else, or of another format version.
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
        Which code cell of the rendered notebook runs, counted from 1; None while its kernel starts.
    cells : int or None
        How many code cells it has.
    text : str
        The last line it printed, or what it is doing.
    """

    ticket: str
    cell: int | None = None
    cells: int | None = None
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TicketProgress:
        """Return the report that :meth:`to_dict` described."""
        return cls(**_known(cls, document))


def fault_from_dict(document: Mapping[str, Any]) -> Diagnostic:
    """Return the fault that :func:`dataclasses.asdict` described."""
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
