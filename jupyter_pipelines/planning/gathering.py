"""What a step would get as its inputs, as far as it is known before anything has run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.data import Artifact, FileSource, Input, Upstream
from jupyter_pipelines.pipeline.foreach import Gathering
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.deciding import Decision, Reason
from jupyter_pipelines.planning.fingerprint import MISSING, artifact_part, read_name
from jupyter_pipelines.planning.reading import digest_of

if TYPE_CHECKING:
    from jupyter_pipelines.storing.records import StepRecord


class Glance(Protocol):
    """What planning may ask of a store, on behalf of one notebook."""

    def record(self, key: str) -> StepRecord | None:
        """Return what is stored under `key`."""

    def damaged(self, key: str) -> bool:
        """Tell whether something was stored under `key` that is damaged, so that it has been put aside."""

    def refused(self, key: str) -> str:
        """Return why what is stored under `key` is not used; empty if nothing is, or it is used."""

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


class View(Glance, Protocol):
    """The same, whenever it is asked; and for a moment at what there is of many steps."""

    def at_once(self, steps: Iterable[str]) -> Glance:
        """Return what answers as the store is now, also about what is asked a little later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The first thing that makes steps run.

    Parameters
    ----------
    step : str
        Where it begins.
    reason : Reason
        Why that step runs.
    """

    step: str
    reason: Reason

    def __str__(self) -> str:
        return f"`{self.step}`: {self.reason.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What those that come after a step have to know of it.

    Parameters
    ----------
    decision : str
        What was decided on it.
    outputs : Mapping of str to Artifact
        What there is of it.
    cause : Cause or None
        Why it is open what it would come to; None when that is known.
    """

    decision: Decision
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    cause: Cause | None = None

    def opens(self, *, selected: bool) -> Cause | None:
        """Return why a step after it cannot know what it gets; a step that is left out gives what is stored of it."""
        return None if selected and self.decision == "skip" else self.cause


@dataclass(slots=True)
class Gathered:
    """What is known of a step's inputs.

    Parameters
    ----------
    known : dict of str to str
        By input name, as :func:`jupyter_pipelines.planning.fingerprint.parts` takes them.
    open : set of str
        Inputs that are known only when something before the step has run.
    causes : dict of str to Cause
        What has to run first, by step.
    lacking : list of Reason
        Why the step cannot run.
    notes : list of str
        What a person should know of the inputs.
    """

    known: dict[str, str] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    causes: dict[str, Cause] = field(default_factory=dict)
    lacking: list[Reason] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Every input is known."""
        return not self.open and not self.lacking


class Gatherer:
    """Looks for the inputs of steps; every file is looked at once.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps.
    view : Glance
        What is stored, and what is in files.
    left_out_by : str
        The options that leave steps out, if any do.
    """

    def __init__(self, pipeline: Pipeline, view: Glance, left_out_by: str = "") -> None:
        self._pipeline = pipeline
        self._view = view
        self._left_out_by = left_out_by
        self._digests: dict[str, str | OSError | StoreError] = {}
        self._read: dict[str, str] = {}

    def gather(self, step: Step, standings: Mapping[str, Standing], *, selected: bool) -> Gathered:
        """Return what is known of the inputs of `step`.

        Parameters
        ----------
        step : Step
            The step.
        standings : Mapping of str to Standing
            The steps it waits for; one that is not there has no outputs.
        selected : bool
            Whether the step is asked for. Steps that are not are never taken as they are: what would be is told.
        """
        found = Gathered()
        for name in self._pipeline.before(step.name):
            cause = standings[name].opens(selected=selected) if name in standings else None
            if cause is not None:
                found.causes.setdefault(cause.step, cause)
        for one in step.inputs:
            if isinstance(one.source, Upstream):
                self._take(step, one, one.source, standings.get(one.source.step), found, selected=selected)
            else:
                self._look_at(step, one, one.source, found)
        for path in step.files:
            found.known[read_name(path)] = self.read(path)
        _wait(step, standings, found, selected=selected)
        if step.gathering and not found.open:
            found.lacking += _too_few(step, step.gathering, found)
        return found

    def digest(self, source: FileSource) -> str | OSError | StoreError:
        """Return the digest of a file of the user's, or why there is none."""
        if source.path not in self._digests:
            try:
                self._digests[source.path] = self._view.digest(self._pipeline.folder / source.path)
            except (OSError, StoreError) as error:
                self._digests[source.path] = error
        return self._digests[source.path]

    def read(self, path: str) -> str:
        """Return the digest of what code reads without declaring it; ``missing`` if there is nothing to be read."""
        if path not in self._read:
            try:
                self._read[path] = digest_of(self._pipeline, path, self._view.digest)
            except (OSError, StoreError):
                self._read[path] = MISSING
        return self._read[path]

    def _take(
        self, step: Step, one: Input, source: Upstream, standing: Standing | None, found: Gathered, *, selected: bool
    ) -> None:
        """Take an input from the step that makes it."""
        if standing and standing.opens(selected=selected):
            found.open.add(one.name)
            return
        artifact, condition = self._stored(source, standing)
        if artifact and condition == "ok":
            found.known[one.name] = artifact_part(artifact.digest, artifact.format)
            found.notes += _outdated(source, standing)
        elif step.always or (one.optional and not _never_tried(step, standing)):
            found.known[one.name] = MISSING
        else:
            found.lacking.append(self._absent(source, standing, condition, artifact))

    def _stored(self, source: Upstream, standing: Standing | None) -> tuple[Artifact | None, str]:
        artifact = standing.outputs.get(source.output) if standing else None
        if artifact is None:
            return None, "missing"
        # What was reused has been checked already, and what ran has just been written.
        checked = standing is None or standing.decision != "skip"
        return artifact, "ok" if checked else self._view.intact(artifact)

    def _absent(self, source: Upstream, standing: Standing | None, condition: str, artifact: Artifact | None) -> Reason:
        if standing and standing.decision == "blocked":
            return _waits(source.step)
        left_out = f", and `{source.step}` is left out by `{self._left_out_by}`" if self._left_out_by else ""
        if condition == "corrupt":
            return Reason(code="output-corrupt", text=f"`{source}` is damaged in the store{left_out}")
        if condition == "unknown" and artifact is not None:
            words = stored_with(artifact.digest.partition(":")[0])
            return Reason(code="output-missing", text=f"`{source}` {words}{left_out}")
        return Reason(code="output-missing", text=f"`{source}` is not in the store{left_out}")

    def _look_at(self, step: Step, one: Input, source: FileSource, found: Gathered) -> None:
        """Take an input that is a file of the user's."""
        digest = self.digest(source)
        absent = isinstance(digest, FileNotFoundError | NotADirectoryError)
        if isinstance(digest, str):
            found.known[one.name] = digest
        elif absent and (one.optional or step.always):
            found.known[one.name] = MISSING
        elif absent and found.causes:
            found.open.add(one.name)  # what runs before may write it
        else:
            found.lacking.append(_unreadable(source, digest))


def _wait(step: Step, standings: Mapping[str, Standing], found: Gathered, *, selected: bool) -> None:
    """Take into account the steps before it that give it nothing: one that runs may be what writes its files."""
    files = {one.name for one in step.inputs if isinstance(one.source, FileSource)}
    for standing, name in ((standings[name], name) for name in step.after if name in standings):
        if standing.decision == "blocked" and not step.always:
            found.lacking.append(_waits(name))
        if standing.opens(selected=selected):
            found.open |= files
            found.known = {one: digest for one, digest in found.known.items() if one not in files}


def _too_few(step: Step, gathering: Gathering, found: Gathered) -> Iterator[Reason]:
    """Yield why a step over many items has no result: more of them failed than may."""
    sources = {one.source.step for one in step.inputs if isinstance(one.source, Upstream) and _is_gone(one, found)}
    if len(sources) > gathering.may_fail or len(sources) == len(gathering.items):
        few = f"{len(sources)} of {len(gathering.items)} items failed, and {gathering.may_fail} may"
        yield Reason(code="upstream", text=few)


def _never_tried(step: Step, standing: Standing | None) -> bool:
    """Tell whether an item lacks for another reason than that it failed: no list is made without such items."""
    return step.gathering is not None and standing is not None and standing.decision in ("skip", "blocked")


def _is_gone(one: Input, found: Gathered) -> bool:
    return found.known.get(one.name) == MISSING


def stored_with(algorithm: str) -> str:
    """Return what is to be said of an output that cannot be checked here."""
    return f"was stored with {algorithm}, which is not installed here"


def _waits(name: str) -> Reason:
    return Reason(code="upstream", text=f"`{name}`, which it waits for, is blocked")


def _outdated(source: Upstream, standing: Standing | None) -> list[str]:
    if standing is None or standing.cause is None:
        return []
    return [f"`{source}` is taken as it is stored, and may be out of date: {standing.cause}"]


def _unreadable(source: FileSource, error: OSError | StoreError) -> Reason:
    if isinstance(error, FileNotFoundError):
        return Reason(code="input", text=f"the input file `{source}` is missing")
    if isinstance(error, StoreError):
        return Reason(code="input", text=error.faults[0].message)
    return Reason(code="input", text=f"the input file `{source}` cannot be read: {error.strerror or error}")
