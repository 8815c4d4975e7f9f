"""Hand-written sample pipelines and run documents for tests of reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_pipelines.pipeline.artifacts import FileSource, Input, Output, StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.step import Step, StepCell

PAYLOADS = (
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "javascript:alert(1)",
    "</script><script>alert(1)</script>",
    "]]>",
    "&lt;b&gt;",
    "' onmouseover='alert(1)",
    "</style><style>*{display:none}",
    "</title></desc></text>",
    "--><!--",
    "<!DOCTYPE x [<!ENTITY e 'x'>]>&e;",
    'click s1 call alert()"]',
    '"]\n  click s1 "javascript:alert(1)"',
    "%%{init: {}}%%",
    "`**md**`",
    "a\u202eb\u2066c\u200fd",
    "\x1b[31m\x1b]52;c;aGk=\x07",
    "line\nfeed\rreturn\x00null\u2028",
    "\ud800",
    "漢字 größe \U0001d4ca \U0001f469\u200d\U0001f469",
    "x" * 5000,
)


def step(
    name: str,
    cell: int,
    takes: tuple[str, ...] = (),
    makes: tuple[str, ...] = (),
    **more: Any,
) -> Step:
    """Return a step; it takes ``step.output`` or ``name=path``, and makes ``name`` or ``name:kind``."""
    partitions = [output.partition(":") for output in makes]
    outputs = tuple(Output(name=output, kind=kind or "value") for output, _, kind in partitions)  # type: ignore[arg-type]
    cells = (StepCell(number=cell, id=None, text="", body=""),)
    return Step(name=name, cells=cells, inputs=tuple(map(_input, takes)), outputs=outputs, **more)


def _input(text: str) -> Input:
    if "=" in text:
        name, _, path = text.partition("=")
        return Input(name=name, source=FileSource(path=path))
    source, _, output = text.rpartition(".")
    return Input(name=output, source=StepOutputRef(step=source, output=output))


def pipeline(*steps: Step, **more: Any) -> Pipeline:
    return Pipeline(notebook=Path("churn.ipynb"), folder=Path(), root=Path(), steps=steps, **more)


def models() -> Pipeline:
    """Return six steps: two can run at once, and one output is used much later."""
    return pipeline(
        step("load", 3, ("raw=data/churn.csv",), ("rows",)),
        step("split", 5, ("load.rows",), ("train", "test"), parameters=("seed",), inferred=frozenset({"parameters"})),
        step("linear", 7, ("split.train",), ("line",)),
        step("forest", 8, ("split.train",), ("trees",), parameters=("size", "seed")),
        step("evaluate", 9, ("split.test", "linear.line", "forest.trees"), ("scores",)),
        step("report", 11, ("evaluate.scores", "forest.trees", "split.train"), ("chart:file",), after=("load",)),
        parameters=(
            Parameter(name="seed", kind="int", default=7, description="where chance starts"),
            Parameter(name="size", kind="int", required=True, limits={"ge": 1}),
        ),
    )


def run_document(**states: str) -> dict[str, Any]:
    """Return a ``run`` document; every step takes 2 s, or took 60 s when it was computed."""
    return {
        "schema": "jupyter-pipelines/run/1",
        "run": "20261122-101500-000000-3f2a91",
        "state": "failed" if "failed" in states.values() else "succeeded",
        "notebook": "churn.ipynb",
        "started": "2026-11-22T10:15:00+00:00",
        "finished": "2026-11-22T10:15:12+00:00",
        "seconds": 12.0,
        "parameters": {"seed": 7, "size": 100},
        "steps": [step_document(name, state) for name, state in states.items()],
        "warnings": [],
    }


def step_document(name: str, state: str, **more: Any) -> dict[str, Any]:
    """Return one step of a ``run`` document."""
    origin = {"run": "20261120-080000-000000-0b5e77", "created": "2026-11-20T08:00:00+00:00", "seconds": 60.0}
    failed = {"code": "JP300", "message": "KeyError: 'colum'", "type": "KeyError", "cell": 9, "line": 2}
    return {
        "name": name,
        "state": state,
        "key": "0" * 64,
        "decision": "reuse" if state == "reused" else "run",
        "reason": {"code": "unchanged", "text": "nothing changed", "details": []},
        "seconds": 0.0 if state in ("reused", "blocked", "skipped") else 2.0,
        "attempts": 0 if state in ("reused", "blocked", "skipped") else 1,
        "notebook": None,
        "log": None,
        "outputs": {},
        "error": failed if state == "failed" else None,
        "origin": origin if state == "reused" else None,
        "previous": None,
        "warnings": [],
    } | more
