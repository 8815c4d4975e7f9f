"""What goes into a step's key, and what does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.pipeline.step import Resources, Step
from jupyter_pipelines.planning.canonical import canonical
from jupyter_pipelines.planning.environment import Environment
from jupyter_pipelines.planning.fingerprint import in_words, key, parts
from tests.planning.stand_ins import PYTHON, module, shared, step

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


def made(one: Step, *, values: Mapping[str, Any] = VALUES, environment: Environment = PYTHON) -> dict[str, str]:
    return parts(one, values=values, inputs=INPUTS, environment=environment)


def test_every_part_has_a_name_of_its_own() -> None:
    found = made(STEP)
    assert set(found) == {
        "code:1", "code:2", "outputs", "shared:pd", "shared:clean", "setup:1", "shared-order", "module:helpers",
        "parameter:trees", "input:rows", "file:raw", "file-name:raw", "package:pandas", "python",
    }  # fmt: skip
    assert found["parameter:trees"] == "100"
    assert found["package:pandas"] == "2.2.0"
    assert found["python"] == "3.11"
    assert found["outputs"] == "model report:file scores:parquet"
    assert found["input:rows"] == INPUTS["rows"]
    assert found["file:raw"] == INPUTS["raw"]
    assert found["file-name:raw"] == "raw.csv"
    assert found["code:1"] == canonical("model = fit(rows)")
    assert all(isinstance(value, str) for value in found.values())


def moved(one: Step) -> Step:
    """The same step in another notebook, further down, with other ids and under another name."""
    cells = tuple(
        replace(cell, number=cell.number + 9, id="other", text="%%step x\n" + cell.text) for cell in one.cells
    )
    pieces = tuple(replace(piece, cell=piece.cell + 9) for piece in one.shared)
    return replace(one, name="fit", cells=cells, shared=pieces)


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
        STEP, retries=3, timeout=1.0, resources=Resources(cpus=2), on="dask", cache=False, always=True
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
    assert made(other) == made(STEP)


@pytest.mark.parametrize(("part", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_counts(part: str, other: Step) -> None:
    assert made(other).get(part) != made(STEP).get(part)
    assert key(made(other)) != key(made(STEP))


@pytest.mark.parametrize("name", ["raw", "rows"])
def test_an_input_counts_under_the_name_that_the_code_uses(name: str) -> None:
    source = next(one for one in STEP.inputs if one.name == name)
    renamed = replace(STEP, inputs=(replace(source, name="other"),))
    found = parts(renamed, values=VALUES, inputs={"other": INPUTS[name]}, environment=PYTHON)
    assert INPUTS[name] in found.values()
    assert key(found) != key(parts(replace(STEP, inputs=(source,)), values=VALUES, inputs=INPUTS, environment=PYTHON))


def test_only_parameters_that_the_step_uses_count() -> None:
    assert made(STEP, values={"trees": 100, "depth": 4}) == made(STEP)
    assert made(STEP, values={"trees": 101, "depth": 3}) != made(STEP)


def test_only_packages_that_the_step_imports_count() -> None:
    other = Environment.fixed("3.11", {"pandas": "2.2.0", "sklearn": "99"})
    newer = Environment.fixed("3.11", {"pandas": "2.3.0", "sklearn": "1.9.0"})
    assert made(STEP, environment=other) == made(STEP)
    assert made(STEP, environment=newer)["package:pandas"] == "2.3.0"


def test_an_input_that_is_not_known_yet_is_left_out() -> None:
    found = parts(STEP, values=VALUES, inputs={"raw": "missing"}, environment=PYTHON)
    assert "input:rows" not in found
    assert found["file:raw"] == "missing"


def test_a_name_bound_twice_has_two_parts() -> None:
    one = replace(STEP, shared=(shared("limit", "limit = 1"), shared("limit", "limit = 2")))
    found = made(one)
    assert found["shared:limit"] == canonical("limit = 1")
    assert found["shared:limit#2"] == canonical("limit = 2")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(plain, plain)
def test_values_are_one_word_only_when_they_are_one_value(one: Any, other: Any) -> None:
    assert (in_words(one) == in_words(other)) == (repr(one) == repr(other))


def test_a_long_value_stays_short_and_itself() -> None:
    first, second = (in_words("x" * 1000 + end) for end in "ab")
    assert first != second
    assert len(first) < 120


parts_found = st.dictionaries(st.text(), st.text())


@given(parts_found, parts_found)
def test_keys_are_equal_only_when_all_parts_are(one: dict[str, str], other: dict[str, str]) -> None:
    assert (key(one) == key(other)) == (one == other)
    assert key(one) == key(dict(reversed(one.items()))) == key(json.loads(json.dumps(one)))
    assert len(key(one)) == 64
