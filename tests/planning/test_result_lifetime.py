"""How long a result is accepted."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.keys.traces import question
from jupyter_pipelines.planning.result_lifetime import acceptance, unaccepted_result
from jupyter_pipelines.storage.step_record import StepRecord

PLAIN = StepRecord(
    key="0" * 64, step="a", notebook=None, run="r", created="2026-03-01T12:00:00Z", seconds=1.0, trace={}
)
PERHAPS = replace(PLAIN, trace={question("network", "https://db.example", "perhaps"): "connected"})
NETWORK = replace(PLAIN, trace={question("network", "db.example"): "connected"})
PROGRAM = replace(PLAIN, trace={question("program", "curl"): "started"})
BEFORE = datetime(2026, 3, 2, 11, 59, 59, tzinfo=UTC)
AFTER = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)


def step(cache_for: float | None) -> Step:
    return Step(name="a", cells=(), cache_for=cache_for)


@pytest.mark.parametrize(
    ("record", "cache_for", "now", "code", "text"),
    [
        (PLAIN, None, AFTER, "", ""),
        (NETWORK, None, BEFORE, "network", "it connected to `db.example`"),
        (PERHAPS, None, BEFORE, "network", "it may have connected to `https://db.example`"),
        (PROGRAM, None, BEFORE, "program", "it started `curl`, and what that did is not known"),
        (NETWORK, 86400, BEFORE, "", ""),
        (NETWORK, 86400, AFTER, "network", "its result was accepted until 2026-03-02 12:00:00 UTC"),
        (PROGRAM, 86400, AFTER, "program", "its result was accepted until 2026-03-02 12:00:00 UTC"),
        (PLAIN, 86400, BEFORE, "", ""),
        (PLAIN, 86400, AFTER, "no-cache", "its result was accepted until 2026-03-02 12:00:00 UTC"),
        (NETWORK, math.inf, AFTER, "", ""),
        (NETWORK, 1e15, AFTER, "", ""),
    ],
)
def test_acceptance(record: StepRecord, cache_for: float | None, now: datetime, code: str, text: str) -> None:
    reason = unaccepted_result(record, step(cache_for), now)
    assert (reason.code, reason.text) == (code, text) if reason else not code


def test_the_ways_out_are_told() -> None:
    reason = unaccepted_result(NETWORK, step(None), BEFORE)
    assert reason is not None
    assert "--cache-for 1d" in " ".join(reason.details)
    assert acceptance(NETWORK, step(86400)) == (
        "accepted until 2026-03-02 12:00:00 UTC, though it connected to `db.example`",
    )
    assert acceptance(NETWORK, step(math.inf))[0].startswith("accepted as long as nothing else changes")
    assert acceptance(NETWORK, step(None)) == ()
