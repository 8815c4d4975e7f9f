"""Parameters as cells declare them: read, checked, described, and never run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.parameters.params_cell import parse_params_cell
from jupyter_pipelines.notebook.source.document import NotebookCell
from jupyter_pipelines.pipeline.parameters import Parameter


def declared(source: str) -> tuple[dict[str, Parameter], tuple[Diagnostic, ...]]:
    cell = NotebookCell(number=4, source=source)
    parameters, diagnostics = parse_params_cell(cell, split_cell(source, 4).body)
    return {parameter.name: parameter for parameter in parameters}, diagnostics


def only_parameter(source: str) -> Parameter:
    parameters, diagnostics = declared(source)
    assert diagnostics == (), str(diagnostics[0])
    (parameter,) = parameters.values()
    return parameter


def shape(parameter: Parameter) -> dict[str, Any]:
    """Return the fields that are not as they would be without an annotation."""
    plain = Parameter(name="x")
    fields = ("kind", "nullable", "choices", "items", "limits", "required")
    return {name: getattr(parameter, name) for name in fields if getattr(parameter, name) != getattr(plain, name)}


@pytest.mark.parametrize(
    ("source", "expected", "default"),
    [
        ("label = None # type: str", {"kind": "str", "nullable": True}, None),
        ("label = None  # type: str what it is called", {"kind": "str", "nullable": True}, None),
        ("n = None  # type: int", {"kind": "int", "nullable": True}, None),
        ("rows = None  # type: list", {"kind": "list", "nullable": True}, None),
        ("label = 'a'  # type: str", {"kind": "str"}, "a"),
    ],
)
def test_a_type_in_a_comment_is_read_as_papermill_reads_it(source: str, expected: dict[str, Any], default: Any) -> None:
    parameter = only_parameter(source)
    assert (shape(parameter), parameter.default) == (expected, default)
    given = {"str": "abc", "int": "3", "list": "['a']"}[parameter.kind]
    assert parameter.fit(parameter.parse(given)) in ("abc", 3, ["a"])
    assert parameter.parse("None") == (None if parameter.nullable else "None")


class TestAnnotations:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("x: int = 1", {"kind": "int"}),
            ("x: float = 1", {"kind": "float"}),
            ("x: str = ''", {"kind": "str"}),
            ("x: bool = True", {"kind": "bool"}),
            ("x: Any = None", {}),
            ("x: object = 1", {}),
            ("x: 'int' = 1", {"kind": "int"}),
            ("x: int", {"kind": "int", "required": True}),
            ("x: int = ...", {"kind": "int", "required": True}),
            ("x: int | None = None", {"kind": "int", "nullable": True}),
            ("x: None | int = 1", {"kind": "int", "nullable": True}),
            ("x: Optional[int] = None", {"kind": "int", "nullable": True}),
            ("x: typing.Union[int, None] = None", {"kind": "int", "nullable": True}),
            ("x: int | float = 1", {"kind": "number"}),
            ("x: int | str | None = 1", {"nullable": True}),
            ("x: Literal['a', 'b'] = 'a'", {"kind": "str", "choices": ("a", "b")}),
            ("x: typing.Literal[1, 2] = 2", {"kind": "int", "choices": (1, 2)}),
            ("x: Literal[-1, 'auto'] = -1", {"choices": (-1, "auto")}),
            ("x: Literal['a', None] = None", {"kind": "str", "choices": ("a",), "nullable": True}),
            ("x: Literal['a'] | None = None", {"kind": "str", "choices": ("a",), "nullable": True}),
            ("x: list = []", {"kind": "list"}),
            ("x: list[int] = [1]", {"kind": "list", "items": "int"}),
            ("x: List[str] = ['a']", {"kind": "list", "items": "str"}),
            ("x: tuple[float, ...] = (1, 2)", {"kind": "list", "items": "float"}),
            ("x: tuple[int, str] = (1, 'a')", {"kind": "list"}),
            ("x: list[int | None] = [1, None]", {"kind": "list"}),
            ("x: list[list[int]] = [[1]]", {"kind": "list", "items": "list"}),
            ("x: dict[str, float] = {'a': 1}", {"kind": "dict", "items": "float"}),
            ("x: Mapping[str, Any] = {}", {"kind": "dict"}),
            ("x: Annotated[int, Ge(1)] = 1", {"kind": "int", "limits": {"ge": 1}}),
            ("x: Annotated[float, at.Interval(gt=0, lt=1)] = 0.5", {"kind": "float", "limits": {"gt": 0, "lt": 1}}),
            ("x: Annotated[int, Gt(0), Le(9)] = 3", {"kind": "int", "limits": {"gt": 0, "le": 9}}),
            ("x: Annotated[int, MultipleOf(3)] = 3", {"kind": "int", "limits": {"multiple_of": 3}}),
            ("x: Annotated[str, Len(1, 3)] = 'a'", {"kind": "str", "limits": {"min_length": 1, "max_length": 3}}),
            ("x: Annotated[list[int], MinLen(1)] = [1]", {"kind": "list", "items": "int", "limits": {"min_length": 1}}),
            ("x: Annotated[int | None, Ge(-1)] = None", {"kind": "int", "nullable": True, "limits": {"ge": -1}}),
            ("x: Annotated[int, Field(ge=1, alias='y')] = 1", {"kind": "int", "limits": {"ge": 1}}),
            ("x = 1", {"kind": "number"}),
            ("x = 1.5", {"kind": "number"}),
            ("x = True", {"kind": "bool"}),
            ("x = 'a'", {"kind": "str"}),
            ("x = (1, 2)", {"kind": "list"}),
            ("x = {'a': [1]}", {"kind": "dict"}),
            ("x = None", {}),
        ],
    )  # fmt: skip
    def test_shape(self, source: str, expected: dict[str, Any]) -> None:
        assert shape(only_parameter(source)) == expected

    def test_annotation_as_written(self) -> None:
        assert only_parameter("x: Annotated[ int,Ge(1) ] = 1").annotation == "Annotated[ int,Ge(1) ]"

    @pytest.mark.parametrize(
        ("source", "default"),
        [
            ("x: float = 1", 1.0),
            ("x = 60 * 60", 3600),
            ("x = -2 ** 3 + 1.5 / 2", -7.25),
            ("x = 1_000", 1000),
            ("x = float('inf')", float("inf")),
            ("x = 'a' 'b'", "ab"),
            ("x = (1, [2, (3,)])", [1, [2, [3]]]),
            ("x: dict[str, float] = {'a': 1}", {"a": 1.0}),
        ],
    )
    def test_default(self, source: str, default: Any) -> None:
        actual = only_parameter(source).default
        assert actual == default
        assert type(actual) is type(default)


class TestCells:
    def test_a_whole_cell(self) -> None:
        parameters, diagnostics = declared(
            "%%params\n"
            '"""What can be set."""\n'
            "from typing import Annotated, Literal\n"
            "test_size: Annotated[float, Interval(gt=0, lt=1)] = 0.25    # share of rows held out\n"
            'kind: Literal["rf", "gbm"] = "rf"  # noqa: E501\n'
            "a = b = 1\n"
            "c, d = 'x', 2  # both\n"
            "e = 3  # type: int the third\n"
            "f: Annotated[int, 'how many'] = 1\n"
            "names = [\n    'a',  # inner\n    'b',\n]  # outer\n"
        )
        assert diagnostics == ()
        assert list(parameters) == ["test_size", "kind", "a", "b", "c", "d", "e", "f", "names"]
        assert {name: parameter.description for name, parameter in parameters.items() if parameter.description} == {
            "test_size": "share of rows held out",
            "c": "both",
            "d": "both",
            "e": "the third",
            "f": "how many",
            "names": "outer",
        }
        assert parameters["e"].kind == "int"
        place = parameters["test_size"].place
        assert place is not None
        assert (place.cell, place.line, place.column, place.length) == (4, 4, 0, 9)

    def test_unicode_columns(self) -> None:
        (diagnostic,) = declared("größe = 'ü'; länge: int = 'ü'")[1]
        assert diagnostic.place is not None
        assert diagnostic.place.text[diagnostic.place.column :][: diagnostic.place.length] == "'ü'"

    @pytest.mark.parametrize("source", ["x: int = ", "x = 'a", "def f(:\n", "\x00"])
    def test_what_cannot_be_parsed_is_told_elsewhere(self, source: str) -> None:
        assert declared(source) == ({}, ())

    def test_magics_are_left_alone(self) -> None:
        parameters, diagnostics = declared("%matplotlib inline\nx: int = 1\n!ls\n")
        assert diagnostics == ()
        assert list(parameters) == ["x"]


class TestFaults:
    @pytest.mark.parametrize(
        ("source", "code", "caret", "suggestion"),
        [
            ("x: int = 'a'", "JP502", "'a'", "an integer"),
            ("x: int = 1.0", "JP502", "1.0", "an integer"),
            ("x: int = True", "JP502", "True", "an integer"),
            ("x: bool = 1", "JP502", "1", "true or false"),
            ("x: int = None", "JP502", "None", "`X | None`"),
            ("x: list[int] = ['a']", "JP502", "['a']", "a list"),
            ("x = b'a'", "JP502", "b'a'", "a plain value"),
            ("x = {1: 2}", "JP502", "{1: 2}", "a dict with text keys"),
            ("x: Annotated[int, Ge(1)] = 0", "JP503", "0", "within its limits"),
            ("x: Annotated[float, Interval(gt=0, lt=1)] = 1.0", "JP503", "1.0", "within its limits"),
            ("x: Literal['a', 'b'] = 'c'", "JP504", "'c'", "one of 'a', 'b'"),
            ("x: Literal[1] = True", "JP502", "True", "one of 1"),
            ("x: lst[int] = []", "JP505", "lst", "`list[…]`"),
            ("x: integer = 1", "JP505", "integer", "`int`"),
            ("x: Path = 'a'", "JP505", "Path", "`int`"),
            ("x: Literal[f()] = 1", "JP505", "f()", "Literal"),
            ("x: dict[int, str] = {}", "JP505", "dict[int, str]", "`dict[str, …]`"),
            ("x: Annotated[int, Interval(gt=n)] = 1", "JP505", "Interval(gt=n)", "`Interval(gt=0, le=1)`"),
            ("x: Annotated[int, Interval(foo=1)] = 1", "JP505", "Interval(foo=1)", "`Interval(gt=0, le=1)`"),
            ("x: Annotated[int, Intervall(gt=0)] = 1", "JP505", "Intervall(gt=0)", "`Interval(gt=0, le=1)`"),
            ("x: Annotated[int, MultipleOf(0)] = 1", "JP505", "MultipleOf(0)", "`MultipleOf(2)`"),
            ("x: Annotated[int, Field(multiple_of=0)] = 1", "JP505", "Field(multiple_of=0)", "`MultipleOf(2)`"),
            ("x: int | Literal['a'] = 1", "JP505", "int | Literal['a']", "one type"),
            ("x = f()", "JP505", "f()", "a literal"),
            ("x = [1, y]", "JP505", "y", "a literal"),
            ("x = 10 ** 10 ** 10", "JP505", "10 ** 10 ** 10", "a literal"),
            ("x = 1 / 0", "JP505", "1 / 0", "a literal"),
            ("x = f'{1}'", "JP505", "f'{1}'", "a literal"),
            ("x += 1", "JP505", "x += 1", "`%%setup`"),
            ("print(1)", "JP505", "print(1)", "`%%setup`"),
            ("if 1:\n    x = 1", "JP505", "if 1:", "`%%setup`"),
            ("x[0] = 1", "JP505", "x[0]", "a line of its own"),
            ("x, y = f()", "JP505", "x, y", "a line of its own"),
            ("x = 1\nx = 2", "JP106", "x", "take one away"),
            ("_step = 1", "JP103", "_step", "another name"),
        ],
    )
    def test_one_fault(self, source: str, code: str, caret: str, suggestion: str) -> None:
        (diagnostic,) = declared(source)[1]
        assert diagnostic.code == code
        assert diagnostic.place is not None
        assert diagnostic.place.cell == 4
        assert diagnostic.place.text[diagnostic.place.column :][: diagnostic.place.length] == caret
        assert suggestion in diagnostic.suggestion

    def test_what_is_not_known_in_annotated_is_only_a_warning(self) -> None:
        parameters, (diagnostic,) = declared("x: Annotated[int, Unit('m'), Ge(1)] = 1")
        assert diagnostic.severity == "warning"
        assert parameters["x"].limits == {"ge": 1}

    @pytest.mark.parametrize("source", ["x: Path = 'a'", "x = f()", "x: int = 'a'"])
    def test_a_faulty_parameter_is_declared_all_the_same(self, source: str) -> None:
        assert list(declared(source)[0]) == ["x"]

    @given(
        st.lists(
            st.sampled_from(
                [
                    *("x", "y: ", "int", "list[", "]", "Annotated[", "Literal[", "Interval(", "gt=", ")", " = "),
                    *("1", "'a'", ", ", " | ", "None", "\n", "f()", "-", "**", "...", "#", " type: int", "{", "}"),
                ]
            ),
            max_size=12,
        ).map("".join)
    )
    def test_any_text(self, source: str) -> None:
        parameters, diagnostics = declared(source)
        for parameter in parameters.values():
            assert parameter.required or diagnostics or parameter.fit(parameter.default) == parameter.default
