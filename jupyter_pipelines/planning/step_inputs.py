"""Inputs of a step, as far as they are known before anything has run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact, FileSource, Input, StepOutputRef, UrlSource
from jupyter_pipelines.pipeline.foreach import GatherSpec
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.pipeline.url_inputs import UrlAnswer, UrlContent, UrlRequest
from jupyter_pipelines.planning.keys.fingerprint import MISSING, artifact_part, read_name
from jupyter_pipelines.planning.reasons import Decision, DecisionReason
from jupyter_pipelines.planning.undeclared_files import digest_of, is_left_out
from jupyter_pipelines.planning.url_answers import UrlAnswers, problem_text

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord


class StoreReader(Protocol):
    """Read access to a store for planning, on behalf of one notebook."""

    def record(self, key: str) -> StepRecord | None:
        """Return what is stored under `key`."""

    def damaged(self, key: str) -> bool:
        """Tell whether the record under `key` was damaged and has been quarantined."""

    def refused(self, key: str) -> str:
        """Return why the record under `key` is not used; empty if there is none, or it is used."""

    def others(self, key: str) -> Iterable[StepRecord]:
        """Return the records of `key` with other traces that are kept beside it, newest first."""

    def latest(self, step: str) -> StepRecord | None:
        """Return the newest record of the step called `step`."""

    def intact(self, artifact: Artifact) -> str:
        """Return whether the bytes of `artifact` are ``ok``, ``missing`` or ``corrupt``.

        ``unknown`` are those that cannot be checked here, because the algorithm of their digest is not installed.
        """

    def digest(self, path: Path) -> str:
        """Return the digest of the content of a file or folder.

        Raises
        ------
        OSError, StoreError
            It is not there (`FileNotFoundError`), cannot be read, or is neither file nor folder.
        """

    def url_contents(self, requests: Iterable[UrlRequest]) -> Mapping[str, UrlAnswer]:
        """Return the present contents of URLs; the contents are in the store.

        Raises
        ------
        StoreError
            The store cannot be written (JP402), or is full (JP403).
        """

    def folder_contents(self, path: Path) -> tuple[str, Mapping[str, str]]:
        """Return the digest of a folder, and those of its files by path; for errors see :meth:`digest`."""

    def digest_files(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of the files with these names; what is no file, or cannot be read, is left out."""


class StoreSnapshot(StoreReader, Protocol):
    """Read access to what a store held at one moment."""

    def newest(self) -> Iterable[StepRecord]:
        """Return the newest records of the steps it was made for."""


class PlannerStore(StoreReader, Protocol):
    """Read access to a store that can also be frozen for many steps at once."""

    def at_once(self, steps: Iterable[str]) -> StoreSnapshot:
        """Return a snapshot of the store for planning these steps; what it does not hold, it looks up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunOrigin:
    """The first step of a chain of reruns: its run makes later steps run.

    Parameters
    ----------
    step : str
        Name of the step.
    reason : DecisionReason
        Why that step runs.
    """

    step: str
    reason: DecisionReason

    def __str__(self) -> str:
        return f"`{self.step}`: {self.reason.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamStatus:
    """The status of a step for the decisions on the steps after it.

    Parameters
    ----------
    decision : str
        What was decided on it.
    outputs : Mapping of str to Artifact
        Its stored outputs, by name.
    cause : RerunOrigin or None
        Why its outputs may be stale, or change in this run; None if they are final.
    """

    decision: Decision
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    cause: RerunOrigin | None = None

    def open_cause(self, *, selected: bool) -> RerunOrigin | None:
        """Return why a later step cannot know its inputs yet; None if the stored outputs are taken as they are."""
        return None if selected and self.decision == "skip" else self.cause


@dataclass(slots=True)
class StepInputs:
    """The inputs of a step: known digests, open inputs, and reasons why the step cannot run.

    Parameters
    ----------
    known : dict of str to str
        By input name, as :func:`jupyter_pipelines.planning.keys.fingerprint.parts` takes them.
    open : set of str
        Inputs that are known only after a step before it has run.
    causes : dict of str to RerunOrigin
        What has to run first, by step.
    lacking : list of DecisionReason
        Why the step cannot run.
    outdated : dict of str to RerunOrigin
        The steps whose stored outputs are taken though they would run, or might, and why.
    unasked : DecisionReason or None
        Why an open input is not known, if no step has to run for it: its server was not asked.
    """

    known: dict[str, str] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    causes: dict[str, RerunOrigin] = field(default_factory=dict)
    lacking: list[DecisionReason] = field(default_factory=list)
    outdated: dict[str, RerunOrigin] = field(default_factory=dict)
    unasked: DecisionReason | None = None

    @property
    def complete(self) -> bool:
        """Tell whether every input is known."""
        return not self.open and not self.lacking


class InputResolver:
    """Determines the inputs of steps; every file is read once.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps.
    view : StoreReader
        What is stored, and what is in files.
    left_out_by : str
        The options that leave steps out, if any do.
    urls : UrlAnswers or None
        The contents of URLs; None asks their servers when a step takes one.
    """

    def __init__(
        self, pipeline: Pipeline, view: StoreReader, left_out_by: str = "", urls: UrlAnswers | None = None
    ) -> None:
        self._pipeline = pipeline
        self._urls = urls or UrlAnswers(pipeline, view)
        self._view = view
        self._left_out_by = left_out_by
        # Errors are kept as well: all steps that read a file are decided by the same answer.
        self._digests: dict[str, str | OSError | StoreError] = {}
        self._read: dict[tuple[str, tuple[str, ...]], str] = {}

    def gather(self, step: Step, statuses: Mapping[str, UpstreamStatus], *, selected: bool) -> StepInputs:
        """Return what is known of the inputs of `step`.

        Parameters
        ----------
        step : Step
            The step.
        statuses : Mapping of str to UpstreamStatus
            The steps it waits for; a step that is not in it has no outputs.
        selected : bool
            Whether the step is asked for. For a step that is not, the decision is made as if all steps were asked for.
        """
        inputs = StepInputs()
        for name in self._pipeline.before(step.name):
            cause = statuses[name].open_cause(selected=selected) if name in statuses else None
            if cause is not None:
                inputs.causes.setdefault(cause.step, cause)
        for step_input in step.inputs:
            if isinstance(step_input.source, StepOutputRef):
                self._take(
                    step, step_input, step_input.source, statuses.get(step_input.source.step), inputs, selected=selected
                )
            elif isinstance(step_input.source, UrlSource):
                self._add_url_input(step, step_input, step_input.source, inputs)
            else:
                self._add_file_input(step, step_input, step_input.source, inputs)
        for path in step.files:
            if not is_left_out(self._pipeline, path, step.ignore):
                inputs.known[read_name(path)] = self.read(path, step.ignore)
        _add_after_steps(step, statuses, inputs, selected=selected)
        if step.gathering and not inputs.open:
            inputs.lacking += _too_few_items(step, step.gathering, inputs)
        return inputs

    def digest(self, source: FileSource) -> str | OSError | StoreError:
        """Return the digest of a file of the user's, or why there is none."""
        if source.path not in self._digests:
            try:
                self._digests[source.path] = self._view.digest(self._pipeline.folder / source.path)
            except (OSError, StoreError) as error:
                self._digests[source.path] = error
        return self._digests[source.path]

    def read(self, path: str, ignored: tuple[str, ...] = ()) -> str:
        """Return the digest of what code reads undeclared; ``missing`` if there is nothing that counts."""
        if (path, ignored) not in self._read:
            try:
                self._read[path, ignored] = digest_of(self._pipeline, path, self._view.digest, ignored)
            except (OSError, StoreError):
                # Undeclared reads are never a reason to refuse a step: the code may cope with a file that is missing.
                self._read[path, ignored] = MISSING
        return self._read[path, ignored]

    def _take(
        self,
        step: Step,
        step_input: Input,
        source: StepOutputRef,
        status: UpstreamStatus | None,
        inputs: StepInputs,
        *,
        selected: bool,
    ) -> None:
        """Add an input that an earlier step produces."""
        if status and status.open_cause(selected=selected):
            inputs.open.add(step_input.name)
            return
        artifact, condition = self._stored(source, status)
        if artifact and condition == "ok":
            inputs.known[step_input.name] = artifact_part(artifact.digest, artifact.format)
            if status and status.cause:
                inputs.outdated[source.step] = status.cause
        elif step.always or (step_input.optional and not _never_tried(step, status)):
            inputs.known[step_input.name] = MISSING
        else:
            inputs.lacking.append(self._absent(source, status, condition, artifact))

    def _stored(self, source: StepOutputRef, status: UpstreamStatus | None) -> tuple[Artifact | None, str]:
        artifact = status.outputs.get(source.output) if status else None
        if artifact is None:
            return None, "missing"
        # What was reused has been checked already, and what ran has just been written.
        checked = status is None or status.decision != "skip"
        return artifact, "ok" if checked else self._view.intact(artifact)

    def _absent(
        self, source: StepOutputRef, status: UpstreamStatus | None, condition: str, artifact: Artifact | None
    ) -> DecisionReason:
        if status and status.decision == "blocked":
            return _blocked_upstream(source.step)
        left_out = f", and `{source.step}` is left out by `{self._left_out_by}`" if self._left_out_by else ""
        if condition == "corrupt":
            return DecisionReason(code="output-corrupt", text=f"`{source}` is damaged in the store{left_out}")
        if condition == "unknown" and artifact is not None:
            words = algorithm_not_installed(artifact.digest.partition(":")[0])
            return DecisionReason(code="output-missing", text=f"`{source}` {words}{left_out}")
        return DecisionReason(code="output-missing", text=f"`{source}` is not in the store{left_out}")

    def _add_url_input(self, step: Step, step_input: Input, source: UrlSource, inputs: StepInputs) -> None:
        """Add an input that is the content of a URL."""
        answer = self._urls.of(source)
        if isinstance(answer, UrlContent):
            inputs.known[step_input.name] = answer.digest
        # Only where the server says so: one that cannot be reached may have the content.
        elif answer.absent and (step_input.optional or step.always):
            inputs.known[step_input.name] = MISSING
        elif answer.unasked:
            inputs.open.add(step_input.name)
            inputs.unasked = DecisionReason(code="input", text=problem_text(step_input, answer))
        else:
            inputs.lacking.append(DecisionReason(code="input", text=problem_text(step_input, answer)))

    def _add_file_input(self, step: Step, step_input: Input, source: FileSource, inputs: StepInputs) -> None:
        """Add an input that is one of the user's files."""
        digest = self.digest(source)
        absent = isinstance(digest, FileNotFoundError | NotADirectoryError)
        if isinstance(digest, str):
            inputs.known[step_input.name] = digest
        elif absent and (step_input.optional or step.always):
            inputs.known[step_input.name] = MISSING
        elif absent and inputs.causes:
            inputs.open.add(step_input.name)  # what runs before may write it
        else:
            inputs.lacking.append(_unreadable(source, digest))


def _add_after_steps(step: Step, statuses: Mapping[str, UpstreamStatus], inputs: StepInputs, *, selected: bool) -> None:
    """Take into account the steps of ``--after``: such a step may write the files that this step reads."""
    files = {step_input.name for step_input in step.inputs if isinstance(step_input.source, FileSource)}
    files |= {read_name(path) for path in step.files}
    for status, name in ((statuses[name], name) for name in step.after if name in statuses):
        if status.decision == "blocked" and not step.always:
            inputs.lacking.append(_blocked_upstream(name))
        if status.open_cause(selected=selected):
            # The digests are of the files before that step runs: keys made of them would be of the wrong content.
            inputs.open |= files
            inputs.known = {
                input_name: digest for input_name, digest in inputs.known.items() if input_name not in files
            }


def _too_few_items(step: Step, gathering: GatherSpec, inputs: StepInputs) -> Iterator[DecisionReason]:
    """Yield why a step over many items has no result: more of them failed than may."""
    sources = {
        step_input.source.step
        for step_input in step.inputs
        if isinstance(step_input.source, StepOutputRef) and _is_missing(step_input, inputs)
    }
    if len(sources) > gathering.may_fail or len(sources) == len(gathering.items):
        message = f"{len(sources)} of {len(gathering.items)} items failed, and {gathering.may_fail} may"
        yield DecisionReason(code="upstream", text=message)


def _never_tried(step: Step, status: UpstreamStatus | None) -> bool:
    """Tell whether an item was not attempted: its missing result is not one of the failures that are allowed."""
    return step.gathering is not None and status is not None and status.decision in ("skip", "blocked")


def _is_missing(step_input: Input, inputs: StepInputs) -> bool:
    return inputs.known.get(step_input.name) == MISSING


def algorithm_not_installed(algorithm: str) -> str:
    """Return the text for an output that cannot be checked here."""
    return f"was stored with {algorithm}, which is not installed here"


def _blocked_upstream(name: str) -> DecisionReason:
    return DecisionReason(code="upstream", text=f"`{name}`, which it waits for, is blocked")


def _unreadable(source: FileSource, error: OSError | StoreError) -> DecisionReason:
    if isinstance(error, FileNotFoundError):
        return DecisionReason(code="input", text=f"the input file `{source}` is missing")
    if isinstance(error, StoreError):
        return DecisionReason(code="input", text=error.faults[0].message)
    return DecisionReason(code="input", text=f"the input file `{source}` cannot be read: {error.strerror or error}")
