"""A slip in a name has consequences in several places; it is reported once, with what was meant."""

from __future__ import annotations

import pytest

from tests.notebook.notebooks import codes, diagnostics, only_diagnostic

MAKE = "%%step a -o lange\nlange = [1, 2]"
TREES = "%%params\ntrees: int = 1"
SLIPS = {
    "an input": ("JP202", "write `lange`, which the code uses", MAKE, "%%step b -i lnge -o n\nn = len(lange)"),
    "an input that is passed on": ("JP202", "write `lange`", MAKE, "%%step b -i lnge -o lange\nlange = [*lange, 1]"),
    "an input with a place": (
        "JP201", "write `lage` if that is meant", MAKE, "%%step b -i lage=a.lange -o n\nn = len(lange)",
    ),
    "an output that is taken": (
        "JP203", "write `-o lange`", "%%step a -o lnge\nlange = [1]", "%%step b -i lange -o n\nn = len(lange)",
    ),
    "an output that is inferred": (
        "JP203", "write `-o lange`", "%%step a -o lnge\nlange = [1]", "%%step b -o n\nn = len(lange)",
    ),
    "an output file": ("JP201", "write `plot`", "%%step a -o plot:file\npolt.write_text('x')"),
    "a parameter": ("JP501", "write `trees`", TREES, "%%step a -p tres -o n\nn = trees"),
    "a parameter, also in the code": ("JP501", "write `trees`", TREES, "%%step a -p tres -o n\nn = tres"),
    "a parameter in the code": ("JP201", "write `trees`", TREES, "%%step a -p trees -o n\nn = tres"),
    "a parameter in the code only": ("JP201", "write `trees`", TREES, "%%step a -o n\nn = tres"),
    "a variable": ("JP201", "write `lange`", MAKE, "%%step b -i lange -o n\nn = len(lnge)"),
    "an item": ("JP201", "assign `items` in the step", "%%step a -o n --foreach item=1,2\nn = items"),
    "a header": ("JP101", "write `%%step`", "%%stp a -o lange\nlange = [1]", "%%step b -i lange -o n\nn = len(lange)"),
    "a header of parameters": ("JP101", "write `%%params`", "%%parms\ntrees: int = 1", "%%step a -p trees\nx = trees"),
}  # fmt: skip


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_reported_once(name: str) -> None:
    code, suggestion, *cells = SLIPS[name]
    diagnostic = only_diagnostic(*cells)
    assert (diagnostic.code, diagnostic.severity) == (code, "error")
    assert diagnostic.suggestion.startswith(suggestion)


def test_two_mistakes_are_reported_twice() -> None:
    make = "%%step a -o lange breite\nlange = [1]\nbreite = 2"
    slip, missing = diagnostics(make, "%%step b -i lnge -o n\nn = len(lange) + breite")
    assert (slip.code, slip.suggestion) == ("JP202", "write `lange`, which the code uses")
    assert (missing.code, missing.suggestion) == ("JP201", "write `-i lange breite`")


def test_an_input_that_the_code_uses_is_not_taken_for_another() -> None:
    cells = (MAKE, "%%step b -i lnge -o n\nn = len(lange) + len(lnge)")
    assert codes(*cells) == ["JP202", "JP201"]


def test_a_header_that_nothing_depends_on_may_be_a_magic_of_another_extension() -> None:
    diagnostic = only_diagnostic("%%steps once\nlange = [1]", "%%step b -o n\nn = 1")
    assert (diagnostic.code, diagnostic.severity) == ("JP101", "warning")


def test_misspelt_headers_are_found_one_by_one() -> None:
    use = "%%step b -i lange -p trees -o n\nn = [*lange, trees]"
    faults = diagnostics("%%stp a -o lange\nlange = [1]", "%%parms\ntrees: int = 1", use, "%%steps x\n1")
    assert [(fault.suggestion, fault.severity) for fault in faults] == [
        ("write `%%step`", "error"),
        ("write `%%params`", "error"),
        ("write `%%step`", "warning"),
    ]
