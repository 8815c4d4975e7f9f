"""Files that a step reads without declaring them."""

from __future__ import annotations

import pytest

from tests.journeys.book import Book

pytestmark = pytest.mark.kernel


def test_a_file_that_is_read_by_its_name_counts(book: Book) -> None:
    book.write("DATA = 'data.txt'", "def load():\n    return open(DATA).read()", "%%step a -o x\nx = load()")
    (book.folder / "data.txt").write_text("1")
    assert book.run().code == 0
    assert book.plan().steps("decision") == {"a": "reuse"}
    (book.folder / "data.txt").write_text("2")
    planned = book.plan()
    assert planned.reasons == {"a": "input"}
    assert "data.txt" in planned.steps("reason")["a"]["text"]
    assert book.run().steps("state") == {"a": "succeeded"}
    assert book.value("a.x") == "2"


def test_a_file_that_is_written_does_not(book: Book) -> None:
    book.write("%%step a -o x\nwith open('log.txt', 'a') as log:\n    print('more', file=log)\nx = 1")
    assert book.run().steps("state") == {"a": "succeeded"}
    assert book.run().steps("state") == {"a": "reused"}


def test_two_notebooks_with_files_of_one_name_do_not_share_results(book: Book) -> None:
    values = []
    for name in ("one", "two"):
        other = Book(book.folder / name).write("%%step a -o x\nx = open('data.txt').read()")
        (other.folder / "data.txt").write_text(name)
        assert other.run().code == 0
        values.append(other.value("a.x"))
    assert values == ["one", "two"]
