"""Inferred interfaces written into headers: nothing else in the file changes, and it is changed whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jupyter_pipelines.errors import NotebookError
from jupyter_pipelines.notebook.freeze import freeze, inferred_options, with_options
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import NotebookCell, read_document
from jupyter_pipelines.pipeline.artifacts import Input, Output, StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Section, Step, StepCell

ALL: frozenset[Section] = frozenset({"inputs", "outputs", "parameters"})


def step_of(
    name: str,
    number: int = 1,
    *,
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
    parameters: tuple[str, ...] = (),
    inferred: frozenset[Section] = ALL,
    **more: Any,
) -> Step:
    sources = (text.split("=") for text in inputs)
    return Step(
        name=name,
        cells=(StepCell(number=number, id=None, text="", body=""),),
        inputs=tuple(
            Input(
                name=name_and_source[0], source=StepOutputRef(step="s", output=name_and_source[-1].removeprefix("s."))
            )
            for name_and_source in sources
        ),
        outputs=tuple(Output(name=output) for output in outputs),
        parameters=parameters,
        inferred=inferred,
        **more,
    )


def pipeline_of(*steps: Step) -> Pipeline:
    return Pipeline(notebook=None, folder=Path(), root=Path(), steps=steps)


TRAIN = step_of("t", inputs=("X", "y"), outputs=("m",), parameters=("p",))


class TestHeaders:
    @pytest.mark.parametrize(
        ("before", "options", "after"),
        [
            ("%%step t\nx", "in out param", "%%step t -i X y -o m -p p\nx"),
            ("%%step t", "in", "%%step t -i X y"),
            ("%%step t   # why\nx", "in out", "%%step t -i X y -o m   # why\nx"),
            ("%%step t -o m\nx", "in param", "%%step t -i X y -o m -p p\nx"),
            ("%%step t -i X, y --retries 2\nx", "out", "%%step t -i X, y -o m --retries 2\nx"),
            ("%%step t --retries 2 -i X -i y\nx", "out", "%%step t --retries 2 -i X -i y -o m\nx"),
            ("%%step t --in=X,y\nx", "out", "%%step t --in=X,y -o m\nx"),
            ("%%step t -i 'X' y \\\n  -p p\nx", "out", "%%step t -i 'X' y -o m \\\n  -p p\nx"),
            ("# c\n%%time\n%%step t\nx", "in", "# c\n%%time\n%%step t -i X y\nx"),
            ("%%step t\n#| in: X y\nx", "out", "%%step t -o m\n#| in: X y\nx"),
            ("#| step: t\nx", "in out param", "#| step: t\n#| in: X y\n#| out: m\n#| param: p\nx"),
            ("#| step: t", "in", "#| step: t\n#| in: X y"),
            ("  #|step: t\n  x", "in", "  #|step: t\n  #| in: X y\n  x"),
            ("#| step: t\n#| out: m\n#| retries: 2\nx", "in", "#| step: t\n#| in: X y\n#| out: m\n#| retries: 2\nx"),
            ("#| step: t\n#| retries: 2\n#| in: X \\\n#|  y\nx", "out", None),
            ("#| step: t -i X y\nx", "out", "#| step: t -i X y\n#| out: m\nx"),
        ],
    )
    def test_where_options_go(self, before: str, options: str, after: str | None) -> None:
        given = {"in": "X y", "out": "m", "param": "p"}
        text = with_options(
            NotebookCell(number=1, source=before), TRAIN, {name: given[name] for name in options.split()}
        )
        if after is not None:
            assert text == after
        self.check(before, text, options)

    def check(self, before: str, after: str, options: str) -> None:
        """Check that the new header holds what the old header held, and the options; the body has lost nothing."""
        old, new = split_cell(before), split_cell(after)
        assert new.faults == ()
        assert old.header is not None
        assert new.header is not None
        sections = {"in": new.header.inputs, "out": new.header.outputs, "param": new.header.parameters}
        names = {name: [spec.name for spec in items or ()] for name, items in sections.items()}
        expected = {"in": ["X", "y"], "out": ["m"], "param": ["p"]}
        assert {name: names[name] for name in options.split()} == {name: expected[name] for name in options.split()}
        assert new.header.form == old.header.form
        assert new.header.retries == old.header.retries
        assert [line for line in before.split("\n") if line.startswith("x")] == [
            line for line in after.split("\n") if line.startswith("x")
        ]

    def test_long_headers_go_on_in_further_lines(self) -> None:
        names = tuple(f"a_long_name_{number}" for number in range(5))
        cell = NotebookCell(number=1, source="%%step t  # why\nx")
        text = with_options(cell, TRAIN, {"in": " ".join(names), "out": " ".join(names), "param": "p"})
        assert text == (f"%%step t -i {' '.join(names)} \\\n    -o {' '.join(names)} -p p  # why\nx")
        self.check("%%step t\nx", text.replace(" ".join(names), "X y", 1).replace(" ".join(names), "m"), "in out param")

    def test_tags_become_a_header(self) -> None:
        cell = NotebookCell(number=1, source="%%time\nx = 1", tags=("step:t", "prev:s"))
        step = step_of("t", inputs=("X", "y"), after=("s",))
        text = with_options(cell, step, {"in": "X y"})
        assert text == "%%time\n#| step: t\n#| in: X y\n#| after: s\nx = 1"


def write_notebook(path: Path, sources: Mapping[str, Any], **dump: Any) -> bytes:
    """Write a notebook of code cells with outputs, metadata and ids, and return the file's bytes."""
    output = {"output_type": "stream", "name": "stdout", "text": ["ü\n"]}
    cells = [
        {
            "cell_type": "code",
            "execution_count": 3,
            "id": key,
            "metadata": {"z": 1, "a": {"source": "%%step t"}},
            "outputs": [output],
            "source": source,
        }
        for key, source in sources.items()
    ]
    content = {"metadata": {"cells": []}, "nbformat_minor": 5, "nbformat": 4, "cells": cells}
    path.write_bytes((json.dumps(content, **dump) + "\n").encode())
    return path.read_bytes()


class TestNotebooks:
    FORMS: tuple[dict[str, Any], ...] = (
        {"indent": 1, "ensure_ascii": False},
        {"indent": 1},
        {"indent": 2, "ensure_ascii": False},
        {"indent": "\t"},
        {},
        {"separators": (",", ":")},
    )

    @pytest.mark.parametrize("dump", FORMS, ids=str)
    @pytest.mark.parametrize("as_list", [True, False])
    def test_only_the_header_changes(self, tmp_path: Path, dump: dict[str, Any], as_list: bool) -> None:
        path = tmp_path / "a.ipynb"

        def cell(text: str) -> Any:
            return text.splitlines(keepends=True) if as_list else text

        first, second = "%%step a -o rows\nrows = 'ü'\n", "# c\n%%step b\ny = rows\nz = 2"
        frozen = "# c\n%%step b -i rows -o y\ny = rows\nz = 2"
        write_notebook(path, {"m": cell("x"), "a": cell(first), "b": cell(second)}, **dump)
        expected_path = tmp_path / "expected.ipynb"
        expected = write_notebook(expected_path, {"m": cell("x"), "a": cell(first), "b": cell(frozen)}, **dump)
        a = step_of("a", 2, outputs=("rows",), inferred=frozenset({"inputs", "parameters"}))
        b = step_of("b", 3, inputs=("rows",), outputs=("y",))
        assert freeze(path, pipeline_of(a, b)) == [3]
        assert path.read_bytes() == expected

    def test_several_cells_and_renamed_inputs(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ipynb"
        write_notebook(path, {"a": ["%%step a"], "b": ["%%step b\n", "x"], "c": ["#| step: c\n", "x"]}, indent=1)
        steps = (
            step_of("a", 1, outputs=("rows",)),
            step_of("b", 2, inputs=("mine=s.rows",)),
            step_of("c", 3, inputs=("rows",), inferred=frozenset({"inputs"})),
        )
        assert freeze(path, pipeline_of(*steps)) == [1, 2, 3]
        assert [cell.source for cell in read_document(path).cells] == [
            "%%step a -o rows",
            "%%step b -i mine=s.rows\nx",
            "#| step: c\n#| in: rows\nx",
        ]
        nbformat_file = json.loads(path.read_text())
        assert nbformat_file["cells"][2]["source"] == ["#| step: c\n", "#| in: rows\n", "x"]

    def test_byte_order_mark_carriage_returns_and_no_last_line_feed(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ipynb"
        content = json.dumps(
            {"cells": [{"cell_type": "code", "source": ["%%step t\r\n", "x\r\n"]}], "nbformat": 4}, indent=1
        ).replace("\n", "\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + content.encode())
        assert freeze(path, pipeline_of(TRAIN)) == [1]
        new = content.replace("%%step t", "%%step t -i X y -o m -p p")
        assert path.read_bytes() == b"\xef\xbb\xbf" + new.encode()

    def test_old_notebooks(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ipynb"
        cells = [{"cell_type": "heading", "source": "A"}, {"cell_type": "code", "input": "%%step t\nx"}]
        content = {"nbformat": 3, "worksheets": [{"cells": cells[:1]}, {"cells": cells[1:]}], "metadata": {}}
        path.write_text(json.dumps(content))
        step = step_of("t", 2, outputs=("m",))
        assert freeze(path, pipeline_of(step)) == [2]
        assert path.read_text() == json.dumps(content).replace("%%step t", "%%step t -o m")

    def test_nothing_inferred_nothing_written(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ipynb"
        before = write_notebook(path, {"a": "%%step t -i -o m"})
        time = path.stat().st_mtime_ns
        step = step_of("t", outputs=("m",), inferred=frozenset({"parameters"}))
        assert freeze(path, pipeline_of(step)) == []
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, time)

    def test_twice_is_once(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ipynb"
        write_notebook(path, {"a": "%%step t\nx"})
        freeze(path, pipeline_of(TRAIN))
        once = path.read_bytes()
        declared = step_of("t", inputs=("X", "y"), outputs=("m",), parameters=("p",), inferred=frozenset())
        assert freeze(path, pipeline_of(declared)) == []
        assert path.read_bytes() == once

    def test_permissions_and_links_stay(self, tmp_path: Path) -> None:
        path, link = tmp_path / "a.ipynb", tmp_path / "link.ipynb"
        write_notebook(path, {"a": "%%step t\nx"})
        path.chmod(0o640)
        link.symlink_to(path)
        assert freeze(link, pipeline_of(TRAIN)) == [1]
        assert link.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert "-i X y" in path.read_text()

    def test_another_notebook_by_now(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ipynb"
        before = write_notebook(path, {"a": "%%step other\nx"})
        for step in (TRAIN, step_of("t", 2, outputs=("m",))):
            with pytest.raises(NotebookError) as caught:
                freeze(path, pipeline_of(step))
            assert caught.value.code == "JP104"
        assert path.read_bytes() == before

    def test_a_failed_write_leaves_everything(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.ipynb"
        before = write_notebook(path, {"a": "%%step t\nx"})

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(NotebookError, match="No space left"):
            freeze(path, pipeline_of(TRAIN))
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_a_file_that_may_not_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.ipynb"
        before = write_notebook(path, {"a": "%%step t\nx"})
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(NotebookError, match="Permission denied"):
            freeze(path, pipeline_of(TRAIN))
        assert path.read_bytes() == before


PERCENT = """\
# %% [markdown]
# An example:
#
#     # %%step t

# %%
# c
# %%step t \\
#   --retries 2
x  =  1   # kept as it is
# !ls

# %% id="b"
#| step: u
y = 2
"""


class TestScripts:
    STEPS = (
        step_of("t", 2, inputs=("X", "y"), outputs=("x",)),
        step_of("u", 3, inputs=("x",), outputs=("y",)),
    )

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_percent(self, tmp_path: Path, end: str) -> None:
        path = tmp_path / "a.py"
        path.write_bytes(PERCENT.replace("\n", end).encode())
        assert freeze(path, pipeline_of(*self.STEPS)) == [2, 3]
        expected = PERCENT.replace("# c\n# %%step t", "# c\n# %%step t -i X y -o x")
        expected = expected.replace("#| step: u", "#| step: u\n#| in: x\n#| out: y")
        assert path.read_bytes() == expected.replace("\n", end).encode()

    def test_magics_that_are_no_comments(self, tmp_path: Path) -> None:
        path = tmp_path / "a.md"
        text = "# T\n\n```python\n%%time\n%%step t\nx = 1\n```\n\n%%step t\n"
        path.write_text(text)
        assert freeze(path, pipeline_of(self.STEPS[0])) == [2]
        assert path.read_text() == text.replace("%%time\n%%step t", "%%time\n%%step t -i X y -o x")

    def test_further_lines_are_comments_too(self, tmp_path: Path) -> None:
        path = tmp_path / "a.py"
        path.write_text("# %%\n# %%step t\nx = 1\n")
        names = tuple(f"a_long_name_{number}" for number in range(9))
        assert freeze(path, pipeline_of(step_of("t", inputs=names, outputs=("x",)))) == [1]
        assert path.read_text() == f"# %%\n# %%step t \\\n#     -i {' '.join(names)} \\\n#     -o x\nx = 1\n"
        header = split_cell(read_document(path).cells[0].source).header
        assert header is not None
        assert [spec.name for spec in header.inputs or ()] == list(names)


WORDS = st.sampled_from(
    [
        *("-i a", "-o b", "--in=a", "--out b,c", "-p d", "--retries 2", "--no-cache", "--after s", "\\\n ", "-i", "  "),
        *(
            "# why",
            "\n#| in: a",
            "\n#| out: b \\\n#|  c",
            "\n#| retries: 2",
            "\n#| echo: no",
            "\n# c",
            "\n",
            "\n%%time",
        ),
    ]
)
HEADERS = st.tuples(
    st.sampled_from(["", "# c\n", "%%time\n", "#| in: a\n", " "]),
    st.sampled_from(["%%step t", "#| step: t", "#|step: 't'"]),
    st.lists(WORDS, max_size=6),
).map(lambda parts: parts[0] + " ".join([parts[1], *parts[2]]) + "\nx = 1\n\ny = 2")


class TestAnyHeader:
    @given(source=HEADERS, long=st.booleans())
    def test_it_says_what_it_said_and_the_options(self, source: str, *, long: bool) -> None:
        old = split_cell(source)
        assume(old.header is not None and not old.faults)
        assert old.header is not None
        declared = {"in": old.header.inputs, "out": old.header.outputs, "param": old.header.parameters}
        added = {"in": "X", "out": "m", "param": "p"}
        options = {name: added[name] * (60 if long else 1) for name in added if declared[name] is None}
        new = split_cell(with_options(NotebookCell(number=1, source=source), TRAIN, options))
        assert new.faults == ()
        assert new.header is not None
        for name, attribute in {"in": "inputs", "out": "outputs", "param": "parameters"}.items():
            items = getattr(new.header, attribute) or ()
            expected = [options[name]] if name in options else [spec.name for spec in declared[name] or ()]
            assert [spec.name for spec in items] == expected
        for name in ("name", "retries", "cache", "form", "timeout"):
            assert getattr(new.header, name) == getattr(old.header, name)
        assert [spec.name for spec in new.header.after] == [spec.name for spec in old.header.after]
        assert [line for line in new.body.split("\n") if not line.lstrip().startswith(("#", "%"))][-3:] == [
            "x = 1",
            "",
            "y = 2",
        ]


EXAMPLES = Path(__file__).parents[2] / "notebooks"


class TestExamples:
    @pytest.mark.parametrize("name", ["quickstart.ipynb", "flights.ipynb"])
    def test_what_was_taken_away_is_inferred_and_written_again(self, tmp_path: Path, name: str) -> None:
        folder = shutil.copytree(EXAMPLES, tmp_path / "notebooks")
        path = folder / name
        whole = read(path).pipeline
        # Kinds such as `chart:file` cannot be inferred: those headers stay.
        path.write_text(re.sub(r"(%%step \w+)[^:\n]*\\n", r"\1\\n", path.read_text("utf-8")), "utf-8")
        bare = read(path).pipeline
        assert whole is not None
        assert bare is not None
        numbers = freeze(path, bare)
        assert numbers == [step.cells[0].number for step in bare if inferred_options(step)]
        assert len(numbers) >= 5
        frozen = read(path).pipeline
        assert frozen is not None
        assert set(frozen.edges) == set(bare.edges) == set(whole.edges)
        assert not any(inferred_options(step) for step in frozen)
        assert {step.name: set(step.parameters) for step in frozen} == {s.name: set(s.parameters) for s in whole}
