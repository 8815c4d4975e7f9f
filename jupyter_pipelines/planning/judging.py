"""One step: is it reused, does it run, and why. What is before it has been decided already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.carrying import Carrier
from jupyter_pipelines.planning.deciding import Decision, Parts, Reason, why
from jupyter_pipelines.planning.fingerprint import MISSING
from jupyter_pipelines.planning.gathering import Cause, Gathered, Gatherer, Glance, Standing, stored_with
from jupyter_pipelines.planning.keying import Keying

if TYPE_CHECKING:
    from jupyter_pipelines.storing.records import StepRecord

_NEVER_RUN = Reason(code="never-run", text="never run")
_OTHER_KEYS = Reason(code="never-run", text="never run by this version of jupyter-pipelines")
_SPOILT = Reason(code="output-corrupt", text="its stored record is damaged")
_FORCED = Reason(code="forced", text="forced")
_NO_CACHE = Reason(code="no-cache", text="declared with `--no-cache`")
_INPUTS = ("input", "file", "file-name")
_DAMAGED = ("corrupt", "missing", "unknown")
_WOULD: Mapping[Decision, str] = {
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
        What a run would do. ``maybe``: something before it runs first, and it is reused if that comes to the same.
    reason : Reason
        Why.
    key : str or None
        Digest over everything the result depends on; None as long as an input is not known.
    parts : Mapping of str to str
        What the key is made of, see :mod:`jupyter_pipelines.planning.fingerprint`; without a key what is known of it.
        ``parts["file:NAME"]`` is the digest of an input file, or ``missing``.
    outputs : Mapping of str to Artifact
        What is stored, of a step that is reused or skipped.
    origin : StepRecord or None
        The step run that `outputs` come from.
    previous : StepRecord or None
        The newest step run of that name, of a step that runs or may run.
    items : Mapping of str to object
        ``item`` of a step that is one of many items: `of` which step, and its `values`. ``items`` of a step that stands
        for them: how many there are.
    """

    name: str
    decision: Decision
    reason: Reason
    key: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    origin: StepRecord | None = None
    previous: StepRecord | None = None
    items: Mapping[str, Any] = field(default_factory=dict)

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
        }


class Verdict(NamedTuple):
    """A decision, and what those that come after have to know of it."""

    planned: PlannedStep
    standing: Standing


class Judge:
    """Decides on the steps of a pipeline, one after the other.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps.
    view : Glance
        What is stored.
    carrier : Carrier
        Knows what comes along with the outputs of the steps before.
    keying : Keying
        Knows what the results of steps depend on.
    forced : frozenset of str
        Steps to compute again.
    left_out_by : str
        The options that leave steps out, if any do.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        view: Glance,
        carrier: Carrier,
        keying: Keying,
        forced: frozenset[str],
        left_out_by: str = "",
    ) -> None:
        self._carrier = carrier
        self._keying = keying
        self._view = view
        self._forced = forced
        self._left_out_by = left_out_by
        self._gatherer = Gatherer(pipeline, view, left_out_by)

    def judge(self, step: Step, standings: Mapping[str, Standing], *, selected: bool = True) -> Verdict:
        """Decide on `step`.

        Parameters
        ----------
        step : Step
            The step.
        standings : Mapping of str to Standing
            The steps it waits for; one that is not there has no outputs.
        selected : bool
            False for a step that is left out: it is skipped, and it is said what would be otherwise.
        """
        found = self._gatherer.gather(step, standings, selected=selected)
        step = self._carrier.widened(step, {name for name, value in found.known.items() if value != MISSING})
        keyed = self._keying.of(step, found.known)
        key = keyed.key if found.complete else None
        draft = PlannedStep(
            name=step.name, decision="run", reason=_NEVER_RUN, key=key, parts=keyed.parts, items=step.items
        )
        planned = self._decided(step, found, draft, forced=selected and step.name in self._forced)
        cause = _first_cause(planned, found)
        if not selected:
            planned = self._left_out(step, planned)
        elif found.notes:
            planned = replace(planned, reason=_with_details(planned.reason, found.notes))
        return Verdict(planned, Standing(decision=planned.decision, outputs=planned.outputs, cause=cause))

    def _decided(self, step: Step, found: Gathered, draft: PlannedStep, *, forced: bool) -> PlannedStep:
        if found.lacking:
            others = [reason.text for reason in found.lacking[1:]]
            return replace(draft, decision="blocked", reason=_with_details(found.lacking[0], others))
        must = _FORCED if forced else _never_reused(step)
        if must is not None:
            return replace(draft, reason=must, previous=self._view.latest(step.name))
        return self._with_open_inputs(step, found, draft) if found.open else self._by_key(step, draft)

    def _with_open_inputs(self, step: Step, found: Gathered, draft: PlannedStep) -> PlannedStep:
        """Decide while something before the step is still to run: if something of its own changed, it runs, too."""
        latest = self._view.latest(step.name)
        own = _NEVER_RUN if latest is None else why(draft.parts, _without(latest.parts, found.open, draft.parts), step)
        if own is not None:
            return replace(draft, reason=own, previous=latest)
        return replace(draft, decision="maybe", reason=_follows(found.causes), previous=latest)

    def _by_key(self, step: Step, draft: PlannedStep) -> PlannedStep:
        record = self._view.record(str(draft.key))
        if record is None:
            latest = self._view.latest(step.name)
            return replace(draft, reason=self._why_none(step, draft, latest), previous=latest)
        damage = self._damage(step, record)
        if damage is not None:
            return replace(draft, reason=damage, previous=record)
        return PlannedStep(
            name=step.name,
            decision="reuse",
            reason=_unchanged(step, record),
            key=draft.key,
            parts=draft.parts,
            outputs=_declared(step, record),
            origin=record,
            items=draft.items,
        )

    def _why_none(self, step: Step, draft: PlannedStep, latest: StepRecord | None) -> Reason:
        """Return why there is no record to be reused."""
        refused = self._view.refused(str(draft.key))
        if refused:
            return _untrusted(refused)
        if self._view.damaged(str(draft.key)):
            return _SPOILT
        return _NEVER_RUN if latest is None else why(draft.parts, latest.parts, step) or _OTHER_KEYS

    def _damage(self, step: Step, record: StepRecord) -> Reason | None:
        """Return what is wrong with the stored outputs; what has to be put aside before what is just not there."""
        said: dict[str, list[Reason]] = {condition: [] for condition in _DAMAGED}
        for output in step.outputs:
            artifact = record.outputs.get(output.name)
            condition = "missing" if artifact is None else self._view.intact(artifact)
            if condition != "ok":
                said[condition].append(_damaged(output.name, condition, artifact))
        reasons = [reason for found in said.values() for reason in found]
        return _with_details(reasons[0], [reason.text for reason in reasons[1:]]) if reasons else None

    def _left_out(self, step: Step, planned: PlannedStep) -> PlannedStep:
        """Turn what would be without the selection into what is: the step is taken from the store as it is."""
        record = planned.origin or planned.previous or self._view.latest(step.name)
        return replace(
            planned,
            decision="skip",
            reason=Reason(
                code=planned.reason.code,
                text=f"left out by `{self._left_out_by}`",
                details=(_WOULD[planned.decision].format(planned.reason.text), *planned.reason.details),
            ),
            outputs=_declared(step, record) if record else {},
            origin=record,
            previous=None,
        )


def _never_reused(step: Step) -> Reason | None:
    if not step.cache:
        return _NO_CACHE
    if step.unknown:
        return Reason(code="no-cache", text=step.unknown[0].rstrip("."), details=step.unknown[1:])
    return None


def _first_cause(planned: PlannedStep, found: Gathered) -> Cause | None:
    if planned.decision == "run":
        return Cause(step=planned.name, reason=planned.reason)
    return next(iter(found.causes.values()), None) if planned.decision == "maybe" else None


def _follows(causes: Mapping[str, Cause]) -> Reason:
    first, *others = causes.values()
    details = (*first.reason.details, *(f"and {cause}" for cause in others))
    return Reason(code="upstream", text=f"follows {first}", details=details)


def _without(found: Parts, inputs: set[str], now: Parts) -> Parts:
    """Return parts of an earlier step run without those of `inputs`, which are not known now, and of code they name."""
    dropped = {f"{kind}:{name}" for kind in _INPUTS for name in inputs}
    carried = {name for name in found if name.startswith(("module:", "package:")) and name not in now}
    return {name: part for name, part in found.items() if name not in dropped | carried}


def _unchanged(step: Step, record: StepRecord) -> Reason:
    name = "" if record.step == step.name else f" as `{record.step}`"
    details = (f"computed{name} in run {record.run} at {record.created}, in {record.seconds:.1f} s",)
    return Reason(code="unchanged", text="nothing it depends on has changed", details=details)


def _declared(step: Step, record: StepRecord) -> dict[str, Artifact]:
    return {one.name: record.outputs[one.name] for one in step.outputs if one.name in record.outputs}


def _damaged(output: str, condition: str, artifact: Artifact | None) -> Reason:
    if condition == "corrupt":
        return Reason(code="output-corrupt", text=f"its stored output `{output}` is damaged")
    if condition == "unknown" and artifact is not None:
        algorithm = artifact.digest.partition(":")[0]
        return Reason(code="output-missing", text=f"its output `{output}` {stored_with(algorithm)}")
    return Reason(code="output-missing", text=f"its output `{output}` is no longer in the store")


def _untrusted(why: str) -> Reason:
    return Reason(code="untrusted", text="its stored result is not signed by anybody you trust", details=(why,))


def _with_details(reason: Reason, details: list[str]) -> Reason:
    return replace(reason, details=(*reason.details, *details))


def _step_run(record: StepRecord | None) -> dict[str, Any] | None:
    return {"run": record.run, "created": record.created, "seconds": record.seconds} if record else None
