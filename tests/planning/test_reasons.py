"""The reason is the first cause, in plain words, with the old value and the new."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning import reasons
from jupyter_pipelines.planning.keys.environment import PythonEnvironment
from jupyter_pipelines.planning.keys.fingerprint import parts
from jupyter_pipelines.planning.reasons import DecisionReason, explain_difference
from tests.planning.planning_fakes import PYTHON, module, shared, step

A, B = "sha256:" + "a1" * 32, "sha256:" + "b2" * 32
C = "blake3:" + "c3" * 32
SEED = shared("cell 3", "seed(1)", 3, "setup")
CLEAN = shared("clean", "def clean(): return 1", 2)
STEP = step(
    "train",
    "rows=load.rows raw=data/raw.csv",
    "model",
    "a()",
    "b()",
    "c()",
    cells=(5, 6, 8),
    parameters="trees depth",
    packages="pandas sklearn",
    shared=(CLEAN, shared("scale", "scale = 1", 4, "constant"), SEED),
    modules=(module("helpers", "x = 1"), module("helpers.deep", "y = 1")),
)
INPUTS = {"rows": f"{A} arrow", "raw": A}
VALUES = {"trees": 100, "depth": 3}


def parts_of(step: Step = STEP, environment: PythonEnvironment = PYTHON, **changes: object) -> dict[str, str]:
    values = VALUES | {name: value for name, value in changes.items() if name in VALUES}
    inputs = INPUTS | {name: str(value) for name, value in changes.items() if name in INPUTS}
    return parts(step, values=values, inputs=inputs, environment=environment)


def cells(*texts: str, numbers: tuple[int, ...]) -> Step:
    return replace(STEP, cells=step("train", "", "", *texts, cells=numbers).cells)


def python(minor: str = "3.11", **versions: str) -> PythonEnvironment:
    return PythonEnvironment.fixed(minor, {"pandas": "2.2.0", "sklearn": "1.9.0"} | versions)


def difference(
    step: Step = STEP, environment: PythonEnvironment = PYTHON, before: dict[str, str] | None = None, **changes: object
) -> DecisionReason:
    reason = explain_difference(parts_of(step, environment, **changes), parts_of() if before is None else before, step)
    assert reason is not None
    return reason


def test_equal_parts_differ_in_nothing() -> None:
    assert explain_difference(parts_of(), parts_of(), STEP) is None


CASES = {
    "cell": (difference(cells("a()", "b(1)", "c()", numbers=(5, 6, 8))), "code", "cell 6 changed", ()),
    "two cells": (difference(cells("a(1)", "b(1)", "c()", numbers=(5, 6, 8))), "code", "cells 5 and 6 changed", ()),
    "apart": (
        difference(cells("a(1)", "b()", "c(1)", numbers=(5, 6, 8))),
        "code",
        "cell 5 changed, cell 8 changed",
        (),
    ),
    "cell between": (
        difference(cells("a()", "n()", "b()", "c()", numbers=(5, 6, 7, 9))),
        "code",
        "cell 6 is new to it",
        (),
    ),
    "cells at the end": (
        difference(cells("a()", "b()", "c()", "d()", "e()", numbers=(5, 6, 8, 10, 11))),
        "code",
        "cells 10 and 11 are new to it",
        (),
    ),
    "cell less": (difference(cells("a()", "c()", numbers=(5, 8))), "code", "a cell was taken out", ()),
    "cells less": (difference(cells("c()", numbers=(5,))), "code", "2 cells were taken out", ()),
    "outputs": (
        difference(replace(STEP, outputs=step("x", "", "model score").outputs)),
        "code",
        "its outputs are now `model score`",
        ("they were `model`",),
    ),
    "unknown": (difference(replace(STEP, unknown=("exec",))), "code", "what is not known of its code changed", ()),
    "helper": (
        difference(replace(STEP, shared=(replace(CLEAN, source="def clean(): return 2"), *STEP.shared[1:]))),
        "shared-code",
        "shared code `clean` (cell 2) changed",
        (),
    ),
    "new helper": (
        difference(replace(STEP, shared=(*STEP.shared, shared("more", "more = 1", 9)))),
        "shared-code",
        "shared code `more` (cell 9) is new to it",
        (),
    ),
    "no helper": (
        difference(replace(STEP, shared=(CLEAN, SEED))),
        "shared-code",
        "shared code `scale` is no longer used",
        (),
    ),
    "setup": (
        difference(replace(STEP, shared=(*STEP.shared[:2], replace(SEED, source="seed(2)")))),
        "shared-code",
        "setup in cell 3 changed",
        (),
    ),
    "no setup": (difference(replace(STEP, shared=STEP.shared[:2])), "shared-code", "a setup cell was taken out", ()),
    "module": (
        difference(replace(STEP, modules=(module("helpers", "x = 2"), STEP.modules[1]))),
        "module",
        "module `helpers` changed",
        ("/project/helpers.py",),
    ),
    "new module": (
        difference(replace(STEP, modules=(*STEP.modules, module("more", "z = 1")))),
        "module",
        "module `more` is new to it",
        (),
    ),
    "parameter": (difference(trees=200), "parameter", "trees: 100 -> 200", ()),
    "parameters": (difference(trees=200, depth=4), "parameter", "trees: 100 -> 200, depth: 3 -> 4", ()),
    "parameter's type": (difference(trees=100.0), "parameter", "trees: 100 -> 100.0", ()),
    "no parameter": (
        difference(replace(STEP, parameters=("trees",))),
        "parameter",
        "parameter `depth` is no longer used",
        (),
    ),
    "input": (
        difference(rows=f"{B} arrow"),
        "input",
        "input `rows` changed",
        ("input rows: sha256 a1a1a1a1… arrow -> b2b2b2b2… arrow (made by `load`)",),
    ),
    "input's format": (
        difference(rows=f"{A} parquet"),
        "input",
        "input `rows` changed",
        ("input rows: sha256 a1a1a1a1… arrow -> a1a1a1a1… parquet (made by `load`)",),
    ),
    "input gone": (difference(rows="missing"), "input", "input `rows` is missing now", ()),
    "input come": (difference(before=parts_of(rows="missing")), "input", "input `rows` is there now", ()),
    "file": (
        difference(raw=B),
        "input",
        "input file `raw` (data/raw.csv) changed",
        ("input raw: sha256 a1a1a1a1… -> b2b2b2b2…",),
    ),
    "file, of another algorithm": (
        difference(raw=C),
        "input",
        "input file `raw` (data/raw.csv) changed",
        ("input raw: sha256 a1a1a1a1… -> blake3 c3c3c3c3…",),
    ),
    "file renamed": (
        difference(replace(STEP, inputs=step("x", "rows=load.rows raw=data/new.csv").inputs)),
        "input",
        "input file `raw` has another name: raw.csv -> new.csv",
        (),
    ),
    "no file": (difference(replace(STEP, inputs=STEP.inputs[:1])), "input", "input file `raw` is no longer used", ()),
    "package": (difference(environment=python(pandas="2.3.1")), "package", "pandas 2.2.0 -> 2.3.1", ()),
    "package gone": (
        difference(environment=python(pandas="not installed")),
        "package",
        "pandas 2.2.0 -> not installed",
        (),
    ),
    "package edited": (
        difference(environment=python(pandas="sources 12"), before=parts_of(environment=python(pandas="sources 34"))),
        "package",
        "the files of package `pandas` changed",
        ("pandas: sources 34 -> sources 12",),
    ),
    "package with files": (
        difference(
            environment=python(pandas="2 (files 12)"), before=parts_of(environment=python(pandas="1 (files 34)"))
        ),
        "package",
        "pandas 1 -> 2",
        (),
    ),
    "files of a package": (
        difference(
            environment=python(pandas="2 (files 12)"), before=parts_of(environment=python(pandas="2 (files 34)"))
        ),
        "package",
        "the files of package `pandas` changed",
        ("pandas: 2 (files 34) -> 2 (files 12)",),
    ),
    "no package": (
        difference(replace(STEP, packages=("pandas",))),
        "package",
        "package `sklearn` is no longer used",
        (),
    ),
    "python": (difference(environment=python("3.12")), "python", "Python 3.11 -> 3.12", ()),
    "kernel": (difference(replace(STEP, kernel="other")), "python", "kernel of the notebook -> other", ()),
}


@pytest.mark.parametrize(("reason", "code", "text", "details"), CASES.values(), ids=CASES)
def test_a_change_is_told(reason: DecisionReason, code: str, text: str, details: tuple[str, ...]) -> None:
    assert reason == DecisionReason(code=code, text=text, details=details)  # type: ignore[arg-type]


def test_of_several_causes_the_first_is_the_reason_and_the_others_are_told_with_their_evidence() -> None:
    changed = replace(
        cells("a()", "b(1)", "c()", numbers=(5, 6, 8)),
        shared=(replace(CLEAN, source="def clean(): return 2"), *STEP.shared[1:]),
        modules=(module("helpers", "x = 2"), STEP.modules[1]),
    )
    before = parts_of()
    everything = {"trees": 200, "rows": f"{B} arrow"}
    reason = difference(changed, python("3.12", pandas="2.3.1"), before, **everything)
    assert reason == DecisionReason(
        code="code",
        text="cell 6 changed",
        details=(
            "shared code `clean` (cell 2) changed",
            "module `helpers` changed (/project/helpers.py)",
            "trees: 100 -> 200",
            "input `rows` changed (input rows: sha256 a1a1a1a1… arrow -> b2b2b2b2… arrow (made by `load`))",
            "pandas 2.2.0 -> 2.3.1",
            "Python 3.11 -> 3.12",
        ),
    )


def test_many_changes_of_one_kind_are_not_all_said_at_once() -> None:
    many = tuple(shared(f"f{number}", f"x = {number}", number) for number in range(6))
    reason = difference(replace(STEP, shared=(*STEP.shared, *many)))
    assert reason.text.endswith("shared code `f2` (cell 2) is new to it, and 3 more")
    assert reason.details == tuple(f"shared code `f{number}` (cell {number}) is new to it" for number in (3, 4, 5))


def test_a_reason_is_a_document() -> None:
    reason = DecisionReason(code="code", text="cell 6 changed", details=("more",))
    assert reason.to_dict() == {"code": "code", "text": "cell 6 changed", "details": ["more"]}
    assert str(reason) == "cell 6 changed"


def test_the_codes_are_those_of_the_documents() -> None:
    changes = "never-run code shared-code module parameter input package python"
    others = "forced no-cache upstream output-missing output-corrupt untrusted unchanged"
    of_traces = "file environment-variable network program unwatched untraced"
    assert list(get_args(reasons.Code)) == f"{changes} {others} {of_traces}".split()
