"""The table in docs/reliability.md says what the tests say."""

from __future__ import annotations

from tests.faults import docs_table


def test_the_table_is_that_of_the_tests() -> None:
    page = docs_table.PAGE.read_text(encoding="utf-8")
    assert docs_table.written(page) == page, "run: python -m tests.faults.docs_table"


def test_tests_that_are_named_exist() -> None:
    for test in docs_table.ALSO:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (docs_table.ROOT / path).read_text(encoding="utf-8"), test


def test_a_row_that_has_a_test_has_no_excuse() -> None:
    rows = docs_table.tests_by_row()
    assert [row for row in docs_table.NOT_YET if rows[row]] == []
