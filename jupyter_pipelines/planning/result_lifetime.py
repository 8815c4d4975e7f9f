"""How long a result is accepted: what a network or a program would answer at another time cannot be determined."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jupyter_pipelines.pipeline.artifacts import UrlSource
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.keys.traces import PERHAPS, details_of
from jupyter_pipelines.planning.reasons import Code, DecisionReason

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord

_HELP = (
    "help: `--cache-for 1d` in its header accepts the result for a day, `--cache-for forever` until its code changes; "
    "of a file that it downloads, `-i raw=https://…` is checked when a plan is made"
)
_MAX_SHOWN = 3


def unaccepted_result(record: StepRecord, step: Step, now: datetime) -> DecisionReason | None:
    """Return why a result is not accepted though nothing that can be checked has changed; None if it is accepted.

    Parameters
    ----------
    record : StepRecord
        The result.
    step : Step
        The step as it is now: `cache_for` counts from when the result was computed.
    now : datetime
        The time of the plan, with a time zone.
    """
    hosts, programs = _named(record, "network"), _named(record, "program")
    if step.cache_for is None and not hosts and not programs:
        return None
    code, cause = _cause(record)
    if step.cache_for is None:
        also = (_started(programs),) if hosts and programs else ()
        # Without a declared lifetime, the result of code that asked the network or a program is never reused.
        return DecisionReason(code=code, text=cause, details=(*also, _HELP))
    until = _end(record, step.cache_for)
    if until is None or now < until or _only_urls(step, hosts, programs):
        return None
    evidence = (cause or "declared with `--cache-for`", f"computed at {record.created}")
    return DecisionReason(code=code, text=f"its result was accepted until {_shown(until)}", details=evidence)


def acceptance(record: StepRecord, step: Step) -> tuple[str, ...]:
    """Return until when a result is accepted, as a line; nothing if it does not depend on the time."""
    if step.cache_for is None or _only_urls(step, _named(record, "network"), _named(record, "program")):
        return ()
    until = _end(record, step.cache_for)
    cause = _cause(record)[1]
    reason = f", though {cause}" if cause else ""
    limit = f"until {_shown(until)}" if until else "as long as nothing else changes"
    return (f"accepted {limit}{reason}",)


def asked_elsewhere(record: StepRecord) -> bool:
    """Tell whether a result depends on a network or a program: without a declared lifetime it is never reused."""
    return bool(_named(record, "network") or _named(record, "program"))


def _only_urls(step: Step, hosts: list[str], programs: list[str]) -> bool:
    """Tell whether a limit concerns nothing but URLs that are inputs: once it is over, their servers are asked."""
    return not hosts and not programs and any(isinstance(step_input.source, UrlSource) for step_input in step.inputs)


def _end(record: StepRecord, seconds: float) -> datetime | None:
    """Return when a result is no longer accepted; None if never."""
    if seconds == math.inf:
        return None
    try:
        return datetime.fromisoformat(record.created).astimezone(UTC) + timedelta(seconds=seconds)
    except OverflowError:  # later than any date
        return None


def _named(record: StepRecord, kind: str) -> list[str]:
    start = f'["{kind}"'
    return sorted(str(details_of(text)[1]) for text in record.trace or () if text.startswith(start))


def _cause(record: StepRecord) -> tuple[Code, str]:
    hosts, programs = _named(record, "network"), _named(record, "program")
    if hosts:
        perhaps = all(PERHAPS in details_of(text) for text in record.trace or () if text.startswith('["network"'))
        return "network", f"it {'may have ' if perhaps else ''}connected to {_joined(hosts)}"
    return ("program", _started(programs)) if programs else ("no-cache", "")


def _started(programs: list[str]) -> str:
    return f"it started {_joined(programs)}, and what that did is not known"


def _joined(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_MAX_SHOWN])
    return f"{shown} and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else shown


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
