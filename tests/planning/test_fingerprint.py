"""What goes into a step's key, and what does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.pipeline.step import ComputeResources, Step
from jupyter_pipelines.planning.keys.canonical_code import canonical
from jupyter_pipelines.planning.keys.environment import PythonEnvironment
from jupyter_pipelines.planning.keys.fingerprint import key, parts, value_repr
from tests.planning.planning_fakes import PYTHON, module, shared, step

INPUTS = {"rows": "sha256:aa arrow", "raw": "sha256:bb"}
VALUES = {"trees": 100, "depth": 3}
PANDAS = shared("pd", "import pandas as pd", 1, "import")
CLEAN = shared("clean", "def clean(x):\n    return x", 2)
SEED = shared("cell 3", "seed(1)", 3, "setup")
LAST = "scores = score(model)"
STEP = step(
    "train",
    "rows=load.rows raw=data/raw.csv",
    "model scores:parquet report:file",
    "model = fit(rows)",
    LAST,
    cells=(5, 6),
    parameters="trees",
    packages="pandas",
    shared=(PANDAS, CLEAN, SEED),
    modules=(module("helpers", "x = 1"),),
)


def parts_of(
    step: Step, *, values: Mapping[str, Any] = VALUES, environment: PythonEnvironment = PYTHON
) -> dict[str, str]:
    return parts(step, values=values, inputs=INPUTS, environment=environment)


def test_every_part_has_a_name_of_its_own() -> None:
    step_parts = parts_of(STEP)
    assert set(step_parts) == {
        "code:1", "code:2", "outputs", "shared:pd", "shared:clean", "setup:1", "shared-order", "module:helpers",
        "parameter:trees", "input:rows", "file:raw", "file-name:raw", "package:pandas", "python",
    }  # fmt: skip
    assert step_parts["parameter:trees"] == "100"
    assert step_parts["package:pandas"] == "2.2.0"
    assert step_parts["python"] == "3.11"
    assert step_parts["outputs"] == "model report:file scores:parquet"
    assert step_parts["input:rows"] == INPUTS["rows"]
    assert step_parts["file:raw"] == INPUTS["raw"]
    assert step_parts["file-name:raw"] == "raw.csv"
    assert step_parts["code:1"] == canonical("model = fit(rows)")
    assert all(isinstance(value, str) for value in step_parts.values())


def moved(step: Step) -> Step:
    """Return the same step in another notebook, further down, with other ids and under another name."""
    cells = tuple(
        replace(cell, number=cell.number + 9, id="other", text="%%step x\n" + cell.text) for cell in step.cells
    )
    pieces = tuple(replace(piece, cell=piece.cell + 9) for piece in step.shared)
    return replace(step, name="fit", cells=cells, shared=pieces)


SAME = {
    "moved and renamed": moved(STEP),
    "comment": replace(STEP, cells=step("x", "", "", "# why\nmodel = fit( rows )", LAST).cells),
    "cell of comments": replace(STEP, cells=step("x", "", "", "# a", *[cell.body for cell in STEP.cells], "").cells),
    "module reformatted": replace(STEP, modules=(module("helpers", "x=1 # one\r\n", "/elsewhere/helpers.py"),)),
    "docstring": replace(
        STEP, shared=(STEP.shared[0], shared("clean", 'def clean(x):\n  """It."""\n  return x'), STEP.shared[2])
    ),
    "order of imports and functions": replace(STEP, shared=(CLEAN, PANDAS, SEED)),
    "order of inputs and outputs": replace(STEP, inputs=STEP.inputs[::-1], outputs=STEP.outputs[::-1]),
    "how it runs": replace(
        STEP, retries=3, timeout=1.0, resources=ComputeResources(cpus=2), on="dask", cache=False, always=True
    ),
    "where an input comes from": replace(STEP, inputs=step("x", "rows=other.y raw=elsewhere/raw.csv").inputs),
    "optional": replace(STEP, inputs=step("x", "rows=load.rows raw=data/raw.csv", optional="raw").inputs),
    "order of steps": replace(STEP, after=("load",)),
}
DIFFERENT = {
    "code": ("code:1", replace(STEP, cells=step("x", "", "", "model = fit(rows, 1)", LAST).cells)),
    "magic": ("code:1", replace(STEP, cells=step("x", "", "", "%env A=1\nmodel = fit(rows)", LAST).cells)),
    "order of cells": ("code:1", replace(STEP, cells=STEP.cells[::-1])),
    "shared code": ("shared:clean", replace(STEP, shared=(PANDAS, replace(CLEAN, source="def clean(): pass"), SEED))),
    "setup": ("setup:1", replace(STEP, shared=(*STEP.shared[:2], shared("cell 3", "seed(2)", 3, "setup")))),
    "setup before an import": ("shared-order", replace(STEP, shared=(SEED, PANDAS, CLEAN))),
    "module": ("module:helpers", replace(STEP, modules=(module("helpers", "x = 2"),))),
    "a file's ending": ("file-name:raw", replace(STEP, inputs=step("x", "rows=load.rows raw=data/raw.csv.gz").inputs)),
    "an output's format": ("outputs", replace(STEP, outputs=step("x", "", "model scores report:file").outputs)),
    "an output's kind": ("outputs", replace(STEP, outputs=step("x", "", "model scores:parquet report:folder").outputs)),
    "kernel": ("kernel", replace(STEP, kernel="other")),
    "what is unknown": ("unknown", replace(STEP, unknown=("cell 5 calls exec",))),
}  # fmt: skip


@pytest.mark.parametrize("other", SAME.values(), ids=SAME)
def test_what_does_not_count(other: Step) -> None:
    assert other != STEP
    assert parts_of(other) == parts_of(STEP)


@pytest.mark.parametrize(("part", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_counts(part: str, other: Step) -> None:
    assert parts_of(other).get(part) != parts_of(STEP).get(part)
    assert key(parts_of(other)) != key(parts_of(STEP))


@pytest.mark.parametrize("name", ["raw", "rows"])
def test_an_input_counts_under_the_name_that_the_code_uses(name: str) -> None:
    source = next(declared for declared in STEP.inputs if declared.name == name)
    renamed = replace(STEP, inputs=(replace(source, name="other"),))
    step_parts = parts(renamed, values=VALUES, inputs={"other": INPUTS[name]}, environment=PYTHON)
    assert INPUTS[name] in step_parts.values()
    assert key(step_parts) != key(
        parts(replace(STEP, inputs=(source,)), values=VALUES, inputs=INPUTS, environment=PYTHON)
    )


def test_only_parameters_that_the_step_uses_count() -> None:
    assert parts_of(STEP, values={"trees": 100, "depth": 4}) == parts_of(STEP)
    assert parts_of(STEP, values={"trees": 101, "depth": 3}) != parts_of(STEP)


def test_only_packages_that_the_step_imports_count() -> None:
    other = PythonEnvironment.fixed("3.11", {"pandas": "2.2.0", "sklearn": "99"})
    newer = PythonEnvironment.fixed("3.11", {"pandas": "2.3.0", "sklearn": "1.9.0"})
    assert parts_of(STEP, environment=other) == parts_of(STEP)
    assert parts_of(STEP, environment=newer)["package:pandas"] == "2.3.0"


def test_an_input_that_is_not_known_yet_is_left_out() -> None:
    step_parts = parts(STEP, values=VALUES, inputs={"raw": "missing"}, environment=PYTHON)
    assert "input:rows" not in step_parts
    assert step_parts["file:raw"] == "missing"


def test_a_name_bound_twice_has_two_parts() -> None:
    rebound = replace(STEP, shared=(shared("limit", "limit = 1"), shared("limit", "limit = 2")))
    step_parts = parts_of(rebound)
    assert step_parts["shared:limit"] == canonical("limit = 1")
    assert step_parts["shared:limit#2"] == canonical("limit = 2")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(plain, plain)
def test_values_are_one_word_only_when_they_are_one_value(left: Any, right: Any) -> None:
    assert (value_repr(left) == value_repr(right)) == (repr(left) == repr(right))


def test_a_long_value_stays_short_and_itself() -> None:
    first, second = (value_repr("x" * 1000 + end) for end in "ab")
    assert first != second
    assert len(first) < 120


parts_found = st.dictionaries(st.text(), st.text())


@given(parts_found, parts_found)
def test_keys_are_equal_only_when_all_parts_are(left: dict[str, str], right: dict[str, str]) -> None:
    assert (key(left) == key(right)) == (left == right)
    assert key(left) == key(dict(reversed(left.items()))) == key(json.loads(json.dumps(left)))
    assert len(key(left)) == 64
