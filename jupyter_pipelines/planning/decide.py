"""The decision on one step: reuse or run, and why. The steps before it have been decided already."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.ignored_paths import is_ignored
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.folder_changes import changed_files
from jupyter_pipelines.planning.keys.fingerprint import MISSING, READ
from jupyter_pipelines.planning.keys.pickle_dependencies import PickleDependencies
from jupyter_pipelines.planning.keys.step_keys import PlanStepKeys
from jupyter_pipelines.planning.keys.traces import TraceReader
from jupyter_pipelines.planning.reasons import Decision, DecisionReason, Parts, explain_difference
from jupyter_pipelines.planning.result_lifetime import acceptance, unaccepted_result
from jupyter_pipelines.planning.shared_outputs import changed_behind
from jupyter_pipelines.planning.step_inputs import (
    InputResolver,
    RerunOrigin,
    StepInputs,
    StoreReader,
    UpstreamStatus,
    algorithm_not_installed,
)
from jupyter_pipelines.planning.traced_records import (
    asks_for_files,
    changed_answer,
    holding_record,
    packages_asked,
)
from jupyter_pipelines.planning.url_answers import UrlAnswers

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord

_NEVER_RUN = DecisionReason(code="never-run", text="never run")
# Records of the step exist whose parts do not differ: another version computes keys in another way.
_OTHER_KEYS = DecisionReason(code="never-run", text="never run by this version of jupyter-pipelines")
_DAMAGED_RECORD = DecisionReason(code="output-corrupt", text="its stored record is damaged")
_FORCED = DecisionReason(code="forced", text="forced")
_NO_CACHE = DecisionReason(code="no-cache", text="declared with `--no-cache`")
_INPUTS = ("input", "file", "file-name")
# In the order in which they are reported.
_DAMAGED = ("corrupt", "missing", "unknown")
_NOT_OLDER = frozenset(
    "output-missing output-corrupt untrusted no-cache network program unwatched untraced forced".split()
)
"""Reasons for which a step runs though what it stored last may be what it would make again."""
_UNUSABLE = ("untrusted", "output-corrupt")
"""Reasons for which the record of a key is not used at all."""
_DECISION_TEXTS: Mapping[Decision, str] = {
    "reuse": "its stored result is up to date",
    "run": "it would run: {}",
    "maybe": "it might run: {}",
    "blocked": "it would be blocked: {}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """The decision on one step.

    Parameters
    ----------
    name : str
        Name of the step.
    decision : {"run", "reuse", "maybe", "blocked", "skip"}
        What a run would do. ``maybe``: a step before it runs first, and it is reused if the inputs come out the same.
    reason : DecisionReason
        Why.
    key : str or None
        Digest over everything the result depends on; None as long as an input is not known.
    parts : Mapping of str to str
        What the key is made of, see :mod:`jupyter_pipelines.planning.keys.fingerprint`; without a key what is
        known of it.
        ``parts["file:NAME"]`` is the digest of an input file, or ``missing``.
    outputs : Mapping of str to Artifact
        What is stored, of a step that is reused or skipped.
    origin : StepRecord or None
        The step run that `outputs` come from.
    previous : StepRecord or None
        The newest step run of that name, of a step that runs or may run.
    outdated : Mapping of str to RerunOrigin
        The steps left out that it takes outputs from though they would run, or might, and why.
    items : Mapping of str to object
        ``item`` of a step that is one of many items: `of` which step, and its `values`. ``items`` of the step that
        gathers them: how many there are.
    urls : Mapping of str to Mapping of str to str
        What is under the URLs that it takes, by input: the URL without what it hides, digest, ETag and so on.
    """

    name: str
    decision: Decision
    reason: DecisionReason
    key: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    origin: StepRecord | None = None
    previous: StepRecord | None = None
    outdated: Mapping[str, RerunOrigin] = field(default_factory=dict)
    items: Mapping[str, Any] = field(default_factory=dict)
    urls: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<PlannedStep {self.name}: {self.decision}, {' '.join(self.reason.text.split())[:100]}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the step as the ``plan`` document shows it."""
        return {
            "name": self.name,
            "decision": self.decision,
            "reason": self.reason.to_dict(),
            "key": self.key,
            "outputs": {name: artifact.to_dict() for name, artifact in self.outputs.items()},
            "origin": _step_run(self.origin),
            "previous": _step_run(self.previous),
            **self.items,
            **({"urls": {name: dict(content) for name, content in self.urls.items()}} if self.urls else {}),
        }


class StepDecision(NamedTuple):
    """The decision on a step, and its status as the steps after it see it."""

    planned: PlannedStep
    standing: UpstreamStatus


class StepPlanner:
    """Decides on the steps of a pipeline, in order.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps.
    view : StoreReader
        What is stored.
    dependencies : PickleDependencies
        The code dependencies that come with the outputs of the steps before.
    key_cache : PlanStepKeys
        Computes the parts and keys of steps.
    traces : TraceReader
        Answers what steps asked of files and of the environment.
    forced : frozenset of str
        Steps to compute again.
    now : datetime
        The time of the plan: some results are accepted for a limited time.
    left_out_by : str
        The options that leave steps out, if any do.
    writer_of : callable
        Returns which other step of this run, known so far, wrote a file; None if none did.
    urls : UrlAnswers or None
        The contents of URLs; None asks their servers when a step takes one.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        view: StoreReader,
        dependencies: PickleDependencies,
        key_cache: PlanStepKeys,
        traces: TraceReader,
        forced: frozenset[str],
        now: datetime,
        left_out_by: str = "",
        writer_of: Callable[[str], str | None] = lambda _: None,
        urls: UrlAnswers | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._writer_of = writer_of
        self._carrier = dependencies
        self._keying = key_cache
        self._traces = traces
        self._view = view
        self._forced = forced
        self._now = now
        self._left_out_by = left_out_by
        self._urls = urls or UrlAnswers(pipeline, view, forced)
        self._gatherer = InputResolver(pipeline, view, left_out_by, self._urls)

    def plan_step(self, step: Step, statuses: Mapping[str, UpstreamStatus], *, selected: bool = True) -> StepDecision:
        """Decide on `step`.

        Parameters
        ----------
        step : Step
            The step.
        statuses : Mapping of str to UpstreamStatus
            The steps it waits for; a step that is not in it has no outputs.
        selected : bool
            False for a step that is left out: it is skipped, and the reason says what would happen otherwise.
        """
        inputs = self._gatherer.gather(step, statuses, selected=selected)
        # A pickle names classes and functions; their code is not in it, but decides what the object does when used.
        step = self._carrier.with_dependencies(step, {name for name, value in inputs.known.items() if value != MISSING})
        step_key = self._keying.of(step, inputs.known)
        key = step_key.key if inputs.complete else None
        draft = PlannedStep(
            name=step.name,
            decision="run",
            reason=_NEVER_RUN,
            key=key,
            parts=step_key.parts,
            items=step.items,
            urls=self._urls.documents(step),
        )
        planned = self._decided(step, inputs, draft, statuses, forced=selected and step.name in self._forced)
        # Taken before the decision becomes a skip: steps that take its outputs have to say why these are stale.
        cause = _first_cause(planned, inputs)
        if not selected:
            planned = self._left_out(step, planned)
        elif inputs.outdated and planned.decision != "blocked":
            notes = [f"it {made_from(name, origin)}" for name, origin in inputs.outdated.items()]
            planned = replace(planned, reason=_with_details(planned.reason, notes), outdated=inputs.outdated)
        return StepDecision(planned, UpstreamStatus(decision=planned.decision, outputs=planned.outputs, cause=cause))

    def _decided(
        self,
        step: Step,
        inputs: StepInputs,
        draft: PlannedStep,
        statuses: Mapping[str, UpstreamStatus],
        *,
        forced: bool,
    ) -> PlannedStep:
        # First of all: a step that is forced cannot run without its inputs either.
        if inputs.lacking:
            others = [reason.text for reason in inputs.lacking[1:]]
            return replace(draft, decision="blocked", reason=_with_details(inputs.lacking[0], others))
        rerun_reason = _FORCED if forced else _why_never_reused(step)
        if rerun_reason is not None:
            return replace(draft, reason=rerun_reason, previous=self._view.latest(step.name))
        if inputs.open:
            return self._with_open_inputs(step, inputs, draft)
        planned = self._by_key(step, draft, statuses)
        # All inputs are known, but a step that it waits for runs first, and may write files that the record has read.
        if planned.decision == "reuse" and inputs.causes and _depends_on_files(planned.origin):
            reason = _upstream_reason(inputs.causes)
            return replace(draft, decision="maybe", reason=reason, previous=planned.origin)
        return planned

    def _with_open_inputs(self, step: Step, inputs: StepInputs, draft: PlannedStep) -> PlannedStep:
        """Decide while something before the step is still to run: if something of its own changed, it runs, too."""
        latest = self._view.latest(step.name)
        own_change = (
            _NEVER_RUN
            if latest is None
            else self._difference(draft.parts, step, latest, open_inputs=inputs.open)
            or changed_answer(latest, self._answers_for(step, latest), step.ignore)
            or unaccepted_result(latest, step, self._now)
        )
        if own_change is not None:
            return replace(draft, reason=own_change, previous=latest)
        reason = inputs.unasked or _upstream_reason(inputs.causes)
        return replace(draft, decision="maybe", reason=reason, previous=latest)

    def _by_key(self, step: Step, draft: PlannedStep, statuses: Mapping[str, UpstreamStatus]) -> PlannedStep:
        newest = self._view.record(str(draft.key))
        latest = newest or self._view.latest(step.name)
        record = self._reusable(step, draft, newest, latest)
        if isinstance(record, DecisionReason):
            return replace(draft, reason=record, previous=latest)
        # Only outputs whose bytes are intact may be reused: later steps are decided by these digests.
        damage = self._damage(step, record) or changed_behind(
            self._pipeline, step, record, lambda name: statuses[name].outputs
        )
        damage = damage or self._lost_appendix(step, record)
        if damage is not None:
            return replace(draft, reason=damage, previous=record)
        return PlannedStep(
            name=step.name,
            decision="reuse",
            reason=_unchanged_reason(step, record, draft.urls),
            # Not the key of the draft: a record whose trace has other answers stands under a key over these answers.
            key=record.key,
            parts=draft.parts,
            outputs=_declared_outputs(step, record),
            origin=record,
            items=draft.items,
            urls=draft.urls,
        )

    def _reusable(
        self, step: Step, draft: PlannedStep, newest: StepRecord | None, latest: StepRecord | None
    ) -> StepRecord | DecisionReason:
        """Return the record under the step's key whose trace holds now, or why there is none."""
        if newest is None:
            reason = self._why_none(step, draft, latest)
            # A record that cannot be used must not hide others with the same key.
            if reason.code not in _UNUSABLE:
                return reason
        else:
            record = holding_record(newest, self._answers_for(step, newest), self._view.record, step.ignore)
            if isinstance(record, DecisionReason):
                reason = record
            elif (unaccepted := unaccepted_result(record, step, self._now)) is None:
                return record
            else:
                reason = unaccepted
        reported = newest
        for other in self._view.others(str(draft.key)):
            changed = changed_answer(other, self._answers_for(step, other), step.ignore)
            if changed is None:
                return unaccepted_result(other, step, self._now) or other
            # The reason is that of the newest record: another user may have replaced the one that this user has.
            if reported is not None and other.created > reported.created:
                reported, reason = other, changed
        return reason

    def _answers_for(self, step: Step, record: StepRecord) -> TraceReader:
        """Return the reader that answers the questions of a record, for the Python that the step runs in."""
        names = packages_asked((record.trace or (), *record.asked))
        if not names:
            return self._traces
        environment = self._keying.environment_of(step)
        environment.prepare(names)
        return self._traces.with_versions(environment.version)

    def _why_none(self, step: Step, draft: PlannedStep, latest: StepRecord | None) -> DecisionReason:
        """Return why no record under the step's key can be reused."""
        refused = self._view.refused(str(draft.key))
        if refused:
            return _untrusted_reason(refused)
        if self._view.damaged(str(draft.key)):
            return _DAMAGED_RECORD
        return _NEVER_RUN if latest is None else self._difference(draft.parts, step, latest) or _OTHER_KEYS

    def _difference(
        self, now: Parts, step: Step, latest: StepRecord, *, open_inputs: Collection[str] = ()
    ) -> DecisionReason | None:
        """Return what makes a step differ from its latest record, without inputs that are not known yet."""
        before = _without_open_inputs(latest.parts, set(open_inputs), now) if open_inputs else latest.parts
        find_changes = partial(changed_files, self._view, self._pipeline, step, latest.folders)
        return explain_difference(
            now, before, step, lambda name: self._urls.change(step, name, latest.urls) or find_changes(name)
        )

    def _damage(self, step: Step, record: StepRecord) -> DecisionReason | None:
        """Return what is wrong with the stored outputs; damaged outputs come before missing outputs."""
        reasons_by_condition: dict[str, list[DecisionReason]] = {condition: [] for condition in _DAMAGED}
        for output in step.outputs:
            artifact = record.outputs.get(output.name)
            condition = "missing" if artifact is None else self._view.intact(artifact)
            if condition != "ok":
                reasons_by_condition[condition].append(_damage_reason(output.name, condition, artifact))
        reasons = [reason for group in reasons_by_condition.values() for reason in group]
        return _with_details(reasons[0], [reason.text for reason in reasons[1:]]) if reasons else None

    def _lost_appendix(self, step: Step, record: StepRecord) -> DecisionReason | None:
        """Return why a file that a step had appended to has lost that text: another step has written the file since."""
        for path in record.appended:
            writer = self._writer_of(path)
            if writer is not None and not is_ignored(path, step.ignore):
                text = f"file `{path}`, which it appends to, is written by step `{writer}`"
                return DecisionReason(code="output-missing", text=text)
        return None

    def _left_out(self, step: Step, planned: PlannedStep) -> PlannedStep:
        """Turn a decision into a skip: the step is not selected, and its stored outputs are taken as they are."""
        record = planned.origin or planned.previous or self._view.latest(step.name)
        return replace(
            planned,
            decision="skip",
            reason=DecisionReason(
                code=planned.reason.code,
                text=f"left out by `{self._left_out_by}`",
                details=(_DECISION_TEXTS[planned.decision].format(planned.reason.text), *planned.reason.details),
            ),
            outputs=_declared_outputs(step, record) if record else {},
            origin=record,
            previous=None,
        )


def made_from(producer: str, origin: RerunOrigin, verb: str = "is") -> str:
    """Return in words that a step takes what an earlier step made before it changed.

    Parameters
    ----------
    producer : str
        The earlier step.
    origin : RerunOrigin
        Why it would run; where that follows another step, its outputs may come out the same.
    verb : {"is", "are"}
        Whether one step takes them, or more.
    """
    if origin.step != producer:
        return f"may be made from an older `{producer}`, which follows {origin}"
    if origin.reason.code in _NOT_OLDER:
        return f"may be made from an older `{producer}`: {origin.reason.text}"
    return f"{verb} made from an older `{producer}`: {origin.reason.text}"


def _depends_on_files(record: StepRecord | None) -> bool:
    """Tell whether a step that runs before the step of a record may change the files that it read or appended to."""
    return asks_for_files(record) or (record is not None and bool(record.appended))


def _why_never_reused(step: Step) -> DecisionReason | None:
    if not step.cache:
        return _NO_CACHE
    return None


def _first_cause(planned: PlannedStep, inputs: StepInputs) -> RerunOrigin | None:
    if planned.decision == "run":
        return RerunOrigin(step=planned.name, reason=planned.reason)
    if planned.decision != "maybe":
        return None
    return next(iter(inputs.causes.values()), RerunOrigin(step=planned.name, reason=planned.reason))


def _upstream_reason(causes: Mapping[str, RerunOrigin]) -> DecisionReason:
    first, *others = causes.values()
    details = (*first.reason.details, *(f"and {cause}" for cause in others))
    return DecisionReason(code="upstream", text=f"follows {first}", details=details)


def _without_open_inputs(recorded: Parts, inputs: set[str], now: Parts) -> Parts:
    """Return the parts of an earlier run without those that depend on inputs which are not known yet."""
    dropped = {f"{kind}:{name.removeprefix(READ)}" for kind in _INPUTS for name in inputs}
    # Modules and packages may be in the recorded key only because a pickle among these inputs names them.
    carried = {name for name in recorded if name.startswith(("module:", "package:")) and name not in now}
    return {name: part for name, part in recorded.items() if name not in dropped | carried}


def _unchanged_reason(step: Step, record: StepRecord, urls: Mapping[str, Mapping[str, str]]) -> DecisionReason:
    name = "" if record.step == step.name else f" as `{record.step}`"
    computed = f"computed{name} in run {record.run} at {record.created}, in {record.seconds:.1f} s"
    confirmed = (f"`{input_name}` is {url['url']}, confirmed at {url['checked']}" for input_name, url in urls.items())
    details = (computed, *acceptance(record, step), *confirmed)
    return DecisionReason(code="unchanged", text="nothing it depends on has changed", details=details)


def _declared_outputs(step: Step, record: StepRecord) -> dict[str, Artifact]:
    return {output.name: record.outputs[output.name] for output in step.outputs if output.name in record.outputs}


def _damage_reason(output: str, condition: str, artifact: Artifact | None) -> DecisionReason:
    if condition == "corrupt":
        return DecisionReason(code="output-corrupt", text=f"its stored output `{output}` is damaged")
    if condition == "unknown" and artifact is not None:
        algorithm = artifact.digest.partition(":")[0]
        return DecisionReason(code="output-missing", text=f"its output `{output}` {algorithm_not_installed(algorithm)}")
    return DecisionReason(code="output-missing", text=f"its output `{output}` is no longer in the store")


def _untrusted_reason(refusal: str) -> DecisionReason:
    return DecisionReason(
        code="untrusted", text="its stored result is not signed by a key you trust", details=(refusal,)
    )


def _with_details(reason: DecisionReason, details: list[str]) -> DecisionReason:
    return replace(reason, details=(*reason.details, *details))


def _step_run(record: StepRecord | None) -> dict[str, Any] | None:
    return {"run": record.run, "created": record.created, "seconds": record.seconds} if record else None
