"""Values of parameters: what is given, what it becomes, and every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jupyter_pipelines.errors import Diagnostic, PlanError, SourceLocation
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.planning.parameter_values import faults_of, resolve

PLACE = SourceLocation(cell=2, line=3, text="trees: int = 100", length=5)
PARAMETERS = (
    Parameter(name="trees", kind="int", default=100, limits={"ge": 1, "le": 500}, place=PLACE, description="how many"),
    Parameter(name="share", kind="float", default=0.25, limits={"gt": 0, "lt": 1}),
    Parameter(name="kind", kind="str", default="rf", choices=("rf", "gbm")),
    Parameter(name="depth", kind="int", default=None, nullable=True),
    Parameter(name="level", kind="int", default=1, choices=(1, 2)),
    Parameter(name="verbose", kind="bool", default=False),
    Parameter(name="columns", kind="list", items="str", default=["a"]),
    Parameter(name="labels", kind="dict", default={}),
    Parameter(name="title", kind="str", default=None, nullable=True),
    Parameter(name="extra", kind="any", default=None),
    Parameter(name="name", kind="str", required=True, limits={"min_length": 2}),
)
PIPELINE = Pipeline(notebook=None, folder=Path(), root=Path(), steps=(), parameters=PARAMETERS)
DEFAULTS = {
    "trees": 100, "share": 0.25, "kind": "rf", "depth": None, "level": 1, "verbose": False, "columns": ["a"],
    "labels": {}, "title": None, "extra": None, "name": "xy",
}  # fmt: skip


def same(actual: Any, expected: Any) -> bool:
    return repr(actual) == repr(expected)


def only_diagnostic(values: Mapping[str, Any] | None = None, texts: Mapping[str, str] | None = None) -> Diagnostic:
    (diagnostic,) = faults_of(PIPELINE, {"name": "xy"} | dict(values or {}), texts)
    return diagnostic


def test_defaults_fill_what_is_not_given_in_the_order_of_declaration() -> None:
    assert same(resolve(PIPELINE, {"name": "xy"}), DEFAULTS)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("trees", "200", 200),
        ("share", "0.5", 0.5),
        ("share", "5e-1", 0.5),
        ("kind", "gbm", "gbm"),
        ("depth", "None", None),
        ("depth", "3", 3),
        ("level", "2", 2),
        ("verbose", "yes", True),
        ("verbose", "False", False),
        ("columns", '["a", "b"]', ["a", "b"]),
        ("columns", "['a', 'b']", ["a", "b"]),
        ("columns", "('a', \"it's\",)", ["a", "it's"]),
        ("columns", " [] ", []),
        ("labels", '{"a": [true, null]}', {"a": [True, None]}),
        ("labels", "{'a': [True, None]}", {"a": [True, None]}),
        ("title", "None", None),
        ("title", "null", "null"),
        ("extra", "{'größe': (1, 2)}", {"größe": [1, 2]}),
        ("extra", "{'a'}", "{'a'}"),
        ("extra", "[a]", "[a]"),
        ("extra", "[1] * 3", "[1] * 3"),
        ("extra", "1", 1),
        ("extra", "some text", "some text"),
        ("name", "12", "12"),
        ("name", "a=b c", "a=b c"),
    ],
)
def test_a_text_is_read_by_the_type_of_the_parameter(name: str, text: str, value: Any) -> None:
    assert same(resolve(PIPELINE, {"name": "xy"}, {name: text})[name], value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("share", np.float32(0.5), 0.5),
        ("verbose", np.bool_(False), False),
        ("trees", np.int64(7), 7),
        ("columns", ("a", "b"), ["a", "b"]),
        ("extra", {"a": [1, 2.5, None]}, {"a": [1, 2.5, None]}),
    ],
)
def test_a_value_becomes_plain_python(name: str, value: Any, expected: Any) -> None:
    assert same(resolve(PIPELINE, {"name": "xy", name: value})[name], expected)


def test_a_text_wins_over_a_value() -> None:
    assert resolve(PIPELINE, {"name": "xy", "trees": 7}, {"trees": "8"})["trees"] == 8


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("values", "texts", "code", "words"),
    [
        ({"tree": 1}, {}, "JP501", "there is no parameter `tree`"),
        ({}, {"tree": "1"}, "JP501", "there is no parameter `tree`"),
        ({"trees": "200"}, {}, "JP502", "`trees`: expected an integer, got '200'"),
        ({"trees": 1.5}, {}, "JP502", "got 1.5"),
        ({"trees": True}, {}, "JP502", "got True"),
        ({"trees": None}, {}, "JP502", "got None"),
        ({}, {"trees": "many"}, "JP502", "got 'many'"),
        ({}, {"verbose": "perhaps"}, "JP502", "expected true or false"),
        ({}, {"columns": "a,b"}, "JP502", "as JSON or Python writes it"),
        ({}, {"columns": "[a]"}, "JP502", "as JSON or Python writes it"),
        ({}, {"columns": "__import__('os').listdir()"}, "JP502", "as JSON or Python writes it"),
        ({}, {"columns": "[" * 9000 + "]" * 9000}, "JP502", "as JSON or Python writes it"),
        ({"columns": ENDLESS}, {}, "JP502", "nested too deeply, or contains itself"),
        ({}, {"labels": "dict(a=1)"}, "JP502", "as JSON or Python writes it"),
        ({}, {"labels": "{'a': 1, 'a': 2}"}, "JP502", "the key 'a' is there twice"),
        ({}, {"labels": '{"b": {"a": 1, "a": 2}}'}, "JP502", "the key 'a' is there twice"),
        ({"columns": [1]}, {}, "JP502", "a list of a text"),
        ({"extra": object()}, {}, "JP502", "got object"),
        ({"trees": 0}, {}, "JP503", "at least 1, got 0"),
        ({}, {"share": "1.5"}, "JP503", "less than 1, got 1.5"),
        ({"share": float("nan")}, {}, "JP503", "got nan"),
        ({"name": "x"}, {}, "JP503", "length"),
        ({"kind": "xgb"}, {}, "JP504", "one of 'rf', 'gbm', got 'xgb'"),
        ({}, {"kind": "xgb"}, "JP504", "got 'xgb'"),
        ({"level": 3}, {}, "JP504", "one of 1, 2, got 3"),
        ({}, {"level": "3"}, "JP504", "one of 1, 2, got '3'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(
    values: dict[str, Any], texts: dict[str, str], code: str, words: str
) -> None:
    diagnostic = only_diagnostic(values, texts)
    assert diagnostic.code == code
    assert words in diagnostic.message
    assert diagnostic.severity == "error"


def test_a_fault_shows_the_declaration_and_the_way_out() -> None:
    diagnostic = only_diagnostic({"trees": 0})
    assert diagnostic.place == PLACE
    assert diagnostic.suggestion == "give an integer (>= 1, <= 500), for instance its default: `-p trees=100`"
    assert "how many" in str(diagnostic)
    assert "trees: int = 100" in str(diagnostic)


def test_a_misspelt_name_is_corrected_and_a_strange_one_is_told_what_there_is() -> None:
    assert only_diagnostic({"tress": 1}).suggestion == "write `trees`"
    assert only_diagnostic({"tress": 1}).place == PLACE
    assert only_diagnostic({"zzzz": 1}).suggestion.startswith("use one of: trees, share")


def test_without_parameters_the_way_out_is_to_declare_one() -> None:
    empty = Pipeline(notebook=None, folder=Path(), root=Path(), steps=())
    (diagnostic,) = faults_of(empty, {"trees": 1})
    assert "%%params" in diagnostic.suggestion
    assert resolve(empty) == {}


@pytest.mark.parametrize(
    ("bound", "value", "fits"),
    [
        (3, 9, True), (3, 10, False), (0.1, 0.3, True), (0.1, 0.35, False), (0, 0, True), (0, 3, False),
        (2, float("inf"), False), (2, float("nan"), False), (0.5, 10**400, False), (3, 3 * 10**400, True),
        ("a", 3, False),
    ],
)  # fmt: skip
def test_multiples(bound: Any, value: Any, fits: bool) -> None:
    kind = "int" if isinstance(value, int) else "float"
    parameter = Parameter(name="step", kind="any" if isinstance(bound, str) else kind, limits={"multiple_of": bound})
    pipeline = Pipeline(notebook=None, folder=Path(), root=Path(), steps=(), parameters=(parameter,))
    assert [diagnostic.code for diagnostic in faults_of(pipeline, {"step": value})] == ([] if fits else ["JP503"])


def test_the_choices_are_named() -> None:
    assert only_diagnostic({"kind": "xgb"}).suggestion == "write `-p kind=rf` or `-p kind=gbm`"


def test_a_parameter_without_value_is_asked_for() -> None:
    (diagnostic,) = faults_of(PIPELINE)
    assert diagnostic.code == "JP506"
    assert "`name`" in diagnostic.message
    assert "-p name=" in diagnostic.suggestion


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        resolve(PIPELINE, {"trees": 0, "tree": 1, "share": "x"}, {"kind": "xgb", "other": "1"})
    assert sorted(diagnostic.code for diagnostic in caught.value.faults) == [
        "JP501",
        "JP501",
        "JP502",
        "JP503",
        "JP504",
        "JP506",
    ]
