"""Notebook files of every version and format are read, and files that hold something else are refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.errors import NotebookError
from jupyter_pipelines.notebook.source.document import (
    NotebookCell,
    NotebookDocument,
    document_from_json,
    load_json,
    read_document,
)


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def notebook(*cells: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)} | more


def code(source: Any, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None} | more


def message_of(path: Path) -> str:
    with pytest.raises(NotebookError) as caught:
        read_document(path)
    (diagnostic,) = caught.value.faults
    assert diagnostic.code == "JP104"
    assert diagnostic.notebook == str(path)
    return f"{diagnostic.message} | {diagnostic.suggestion}"


class TestNotebooks:
    def test_cells_are_numbered_over_all_kinds(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "a.ipynb",
            notebook(
                {"cell_type": "markdown", "metadata": {}, "source": "# Title", "id": "m"},
                code(["x = 1\n", "y = 2"], id="c", metadata={"tags": ["parameters", 3]}),
                {"cell_type": "raw", "metadata": {}, "source": []},
                metadata={"kernelspec": {"name": "py311", "display_name": "P", "language": "Python"}},
            ),
        )
        assert read_document(path) == NotebookDocument(
            path=path,
            cells=(
                NotebookCell(number=1, id="m", kind="markdown", source="# Title"),
                NotebookCell(number=2, id="c", kind="code", source="x = 1\ny = 2", tags=("parameters",)),
                NotebookCell(number=3, kind="raw", source=""),
            ),
            kernel="py311",
            language="python",
        )

    @pytest.mark.parametrize("minor", range(6))
    def test_every_nbformat_4(self, tmp_path: Path, minor: int) -> None:
        content = notebook(code("x = 1"), nbformat_minor=minor)
        assert read_document(write(tmp_path / "a.ipynb", content)).cells[0].source == "x = 1"

    @pytest.mark.parametrize("version", [2, 3])
    def test_old_formats(self, tmp_path: Path, version: int) -> None:
        v4: Any = nbformat.v4
        new = v4.new_notebook(cells=[v4.new_markdown_cell("hi"), v4.new_code_cell("%%step a\nx = 1")])
        older: Any = nbformat.convert(new, 3)  # type: ignore[no-untyped-call]
        old = json.loads(json.dumps(older)) | {"nbformat": version}
        cells = read_document(write(tmp_path / "a.ipynb", old)).cells
        assert [(cell.kind, cell.source) for cell in cells] == [("markdown", "hi"), ("code", "%%step a\nx = 1")]

    def test_headings_of_nbformat_3_are_markdown(self, tmp_path: Path) -> None:
        sheet = {"cells": [{"cell_type": "heading", "level": 1, "source": "A"}]}
        content = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [sheet, sheet]}
        cells = read_document(write(tmp_path / "a.ipynb", content)).cells
        assert [(cell.number, cell.kind) for cell in cells] == [(1, "markdown"), (2, "markdown")]

    def test_what_is_missing_is_made_up_for(self, tmp_path: Path) -> None:
        content = {"nbformat": 4, "cells": [{"cell_type": "code"}, {"cell_type": "code", "id": 7, "metadata": None}]}
        document = read_document(write(tmp_path / "a.ipynb", content))
        assert [cell.source for cell in document.cells] == ["", ""]
        assert [cell.id for cell in document.cells] == [None, None]
        assert (document.kernel, document.language) == (None, "python")

    def test_an_id_that_stands_twice_names_the_first(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.ipynb", notebook(code("x", id="a"), code("y", id="a"), code("z", id="b")))
        assert [cell.id for cell in read_document(path).cells] == ["a", None, "b"]

    @pytest.mark.parametrize("text", ["a\r\nb\rc\n", ["a\r\n", "b\r", "c\n"]])
    def test_line_ends(self, tmp_path: Path, text: Any) -> None:
        assert read_document(write(tmp_path / "a.ipynb", notebook(code(text)))).cells[0].source == "a\nb\nc\n"

    def test_byte_order_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ipynb"
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(notebook(code("x = 'ü'"))).encode())
        assert read_document(path).cells[0].source == "x = 'ü'"

    def test_reading_leaves_the_file_alone(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.ipynb", notebook(code("x")))
        before = path.read_bytes(), path.stat().st_mtime_ns
        read_document(path)
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before


class TestTexts:
    def test_newer_texts(self) -> None:
        document = NotebookDocument.of_texts([("a", "x = 1\r\n"), (None, "y"), ("b", "z")])
        assert [(cell.number, cell.source) for cell in document.cells] == [(1, "x = 1\n"), (2, "y"), (3, "z")]
        newer = document.with_texts({"b": "zz\r\n", "unknown": "w"})
        assert [cell.source for cell in newer.cells] == ["x = 1\n", "y", "zz\n"]
        assert document.cells[2].source == "z"


PERCENT = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Title

# %% tags=["parameters"]
x: int = 1

# %%
# %%step load -o rows
rows = 1

# %%
#| step: train
y = rows

# %%
# %%time
# %%step last -i y
z = y
"""


class TestScripts:
    def test_percent(self, tmp_path: Path) -> None:
        path = tmp_path / "a.py"
        path.write_text(PERCENT)
        document = read_document(path)
        assert [cell.source for cell in document.cells] == [
            "# Title",
            "x: int = 1",
            "%%step load -o rows\nrows = 1",
            "#| step: train\ny = rows",
            "%%time\n%%step last -i y\nz = y",
        ]
        assert document.cells[1].tags == ("parameters",)
        assert {cell.id for cell in document.cells} == {None}
        assert document.kernel == "python3"

    def test_carriage_returns_and_byte_order_mark(self, tmp_path: Path) -> None:
        plain, windows = tmp_path / "a.py", tmp_path / "b.py"
        plain.write_bytes(PERCENT.encode())
        windows.write_bytes(b"\xef\xbb\xbf" + PERCENT.replace("\n", "\r\n").encode())
        assert read_document(plain).cells == read_document(windows).cells

    def test_markdown(self, tmp_path: Path) -> None:
        path = tmp_path / "a.md"
        path.write_text("# Title\n\n```python\n%%step a\nx = 1\n```\n")
        assert [cell.source for cell in read_document(path).cells] == ["# Title", "%%step a\nx = 1"]

    def test_what_jupytext_cannot_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.md"
        path.write_text("---\nauthor: [a\n---\n\n```{code-cell}\nx = 1\n```\n")
        message = message_of(path)
        assert "jupytext cannot read it" in message
        assert "\n" not in message


class TestUnreadable:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "it is empty"),
            (b" \n\t", "it is empty"),
            (b'{"cells": [,]}', "line 1, column 12"),
            (b'{\n "cells": [\n', "line 3, column 1"),
            (b'{"nbformat": 4, "cells": [\n<<<<<<< HEAD\n]}', "conflict marks of git in line 2"),
            (b'{"nbformat": 4,\n "x": "\xe9"}', "byte 0xe9 in line 2, column 8"),
            ('{"nbformat": 4}'.encode("utf-16"), "byte 0xff in line 1, column 1"),
            (b"[]", "not a notebook"),
            (b"3", "not a notebook"),
            (b"{}", "`nbformat` is missing"),
            (b'{"nbformat": "4"}', "`nbformat` is missing"),
            (b'{"nbformat": 5, "cells": []}', "its format is 5"),
            (b'{"nbformat": 1, "cells": []}', "its format is 1"),
            (b'{"nbformat": 4}', "no list of cells"),
            (b'{"nbformat": 4, "cells": {}}', "no list of cells"),
            (b'{"nbformat": 3, "cells": []}', "no list of cells"),
            (b'{"nbformat": 3, "worksheets": [{}]}', "no list of cells"),
            (b'{"nbformat": 4, "cells": [3]}', "cell 1 is not an object"),
            (b'{"nbformat": 4, "cells": [{"source": "x"}]}', "cell 1 is of the kind `None`"),
            (b'{"nbformat": 4, "cells": [{"cell_type": ["code"]}]}', "cell 1 is of the kind"),
            (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 3}]}', "cell 1 has a source that is no text"),
            (
                b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": [3]}]}',
                "cell 1 has a source that is no text",
            ),
            (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "\\ud800"}]}', "half a character, U+D800"),
            (b'{"nbformat": 4, "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
            (b'{"nbformat": 4, "x": ' + b"1" * 5000 + b"}", "a number too long"),
        ],
        ids=range(25),
    )
    def test_content(self, tmp_path: Path, content: bytes, words: str) -> None:
        path = tmp_path / "a.ipynb"
        path.write_bytes(content)
        assert words in message_of(path)

    def test_no_file(self, tmp_path: Path) -> None:
        assert "there is no such file" in message_of(tmp_path / "a.ipynb")

    def test_a_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ipynb"
        path.mkdir()
        assert "it is a folder" in message_of(path)

    def test_another_kind_of_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("x")
        assert "`.txt`" in message_of(path)

    JSON = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["cells", "source", "cell_type", "metadata", "tags", "id", "worksheets", "kernelspec"])
                | st.text(max_size=3),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )

    @given(st.dictionaries(st.sampled_from(["cells", "metadata", "worksheets"]), JSON), st.sampled_from([2, 3, 4]))
    def test_any_json_is_read_or_refused(self, content: dict[str, Any], version: int) -> None:
        text = json.dumps(content | {"nbformat": version})
        codes = {"JP104"}
        try:
            document_from_json(load_json(text, Path("a.ipynb")), Path("a.ipynb"))
        except NotebookError as error:
            codes.add(error.code)
        assert codes == {"JP104"}
