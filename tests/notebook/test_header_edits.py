"""Headers that are written, renamed, connected, completed and explained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.errors import PlanError
from jupyter_pipelines.notebook.editing.completion import complete, explain
from jupyter_pipelines.notebook.editing.connect import connect
from jupyter_pipelines.notebook.editing.header_text import HeaderFields, header_fields, with_header
from jupyter_pipelines.notebook.editing.rename import rename_output, rename_step
from jupyter_pipelines.notebook.editing.write_header import freeze, remove_header, suggest, write_header
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.source.document import NotebookDocument


def book(*texts: str) -> NotebookDocument:
    return NotebookDocument.of_texts([(f"c{number}", text) for number, text in enumerate(texts)])


LOAD = "%%step load -o rows\nrows = [1, 2, 3]"
FIT = "%%step fit -i rows -o model --retries 2\nmodel = sum(rows)"
USE = "%%step use -i m=fit.model --after load\nprint(m)"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("x = 1", "%%step load -o x --retries 2\nx = 1"),
        ("%%time\nx = 1", "%%step load -o x --retries 2\n%%time\nx = 1"),
        ("%%step old -i a \\\n  b --no-cache\n\nx = 1\n", "%%step load -o x --retries 2\n\nx = 1\n"),
        ("#| step: old\n#| in: a\nx = 1", "#| step: load\n#| out: x\n#| retries: 2\nx = 1"),
        ("# note\n%%step old\nx = 1", "# note\n%%step load -o x --retries 2\nx = 1"),
    ],
)
def test_a_header_is_written_and_the_rest_of_the_cell_stays(cell: str, written: str) -> None:
    written_header = write_header(book(cell), "c0", "load", {"out": ["x"], "retries": ["2"], "in": None})
    assert written_header.cells == {"c0": written}
    assert [diagnostic for diagnostic in written_header.faults if diagnostic.severity == "error"] == []


def test_a_header_that_is_wrong_is_written_and_told() -> None:
    written_header = write_header(book("x = 1"), "c0", "no name", {"out": ["y"]})
    assert [diagnostic.code for diagnostic in written_header.faults] == ["JP103"]
    written_header = write_header(book("x = 1"), "c0", "load", {"out": ["y"]})
    assert [diagnostic.code for diagnostic in written_header.faults] == ["JP203"]
    with pytest.raises(PlanError, match="no such cell"):
        write_header(book("x = 1"), "c9", "load", {})


def test_a_header_is_taken_away() -> None:
    assert remove_header(book(LOAD), "c0").cells == {"c0": "rows = [1, 2, 3]"}
    assert remove_header(book("#| step: a\n#| out: x\nx = 1"), "c0").cells == {"c0": "x = 1"}


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
PATHS = st.text(alphabet="ab/._- '\"é", min_size=1, max_size=12).map(lambda text: f"data/{text}x")
ITEMS = st.one_of(NAMES, st.tuples(NAMES, PATHS).map("=".join))


@given(
    name=NAMES,
    options=st.fixed_dictionaries(
        {},
        optional={
            "in": st.lists(ITEMS, max_size=4, unique_by=lambda item: item.partition("=")[0]),
            "out": st.lists(NAMES, max_size=12, unique=True),
            "param": st.lists(NAMES, max_size=3, unique=True),
            "after": st.lists(NAMES, min_size=1, max_size=3, unique=True),
            "retries": st.integers(0, 9).map(lambda number: [str(number)]),
            "no-cache": st.just([]),
            "memory": st.just(["8G"]),
        },
    ),
    form=st.sampled_from(["magic", "comment"]),
    body=st.sampled_from(["x = 1", "%%time\nx = 1", "\n\nx = 1\n", "# about it\nx = 1", ""]),
)
def test_what_is_written_is_what_is_read(name: str, options: dict[str, list[str]], form: str, body: str) -> None:
    fields = HeaderFields(name=name, options=options, form=form)  # type: ignore[arg-type]
    text = with_header(body, fields)
    header = split_cell(text).header
    assert header is not None
    assert header.name == name
    items = {"in": header.inputs, "out": header.outputs, "param": header.parameters}
    for key, specs in items.items():
        spelled = (
            None
            if specs is None
            else [spec.name if spec.locator is None else f"{spec.name}={spec.locator}" for spec in specs]
        )
        assert spelled == options.get(key)
    assert [spec.name for spec in header.after] == options.get("after", [])
    assert (header.retries, header.cache) == (
        int(options["retries"][0]) if "retries" in options else None, False if "no-cache" in options else None
    )  # fmt: skip
    assert with_header(text, fields) == text


@pytest.mark.parametrize("header", ["%%step a --ignore 'a,b.txt' c", "#| step: a\n#| ignore: 'a,b.txt' c"])
def test_a_comma_in_quotes_belongs_to_the_path(header: str) -> None:
    fields = header_fields(f"{header}\nx = 1")
    assert fields is not None
    assert fields.options == {"ignore": ["a,b.txt", "c"]}
    written = split_cell(with_header("x = 1", fields)).header
    assert written is not None
    assert written.ignore == ("a,b.txt", "c")


@given(text=st.text(alphabet="%#|step -io=\"'\\\n\tabc:", max_size=60))
def test_no_cell_is_too_odd(text: str) -> None:
    header_fields(text)
    written = with_header(text, HeaderFields(name="a", options={"out": ["b"]}))
    assert "%%step a -o b" in written or "#| step: a" in written
    document = book(text, LOAD)
    for line in range(4):
        complete(document, "c0", line, 3)
        explain(document, "c0", line, 3)


def test_a_step_is_renamed_wherever_it_is_named() -> None:
    document = book(LOAD, FIT, USE, "%pipeline run fit\nprint('fit')", "# fit is a step")
    renamed = rename_step(document, "fit", "train")
    assert renamed.cells == {
        "c1": FIT.replace("step fit", "step train"),
        "c2": "%%step use -i m=train.model --after load\nprint(m)",
        "c3": "%pipeline run train\nprint('fit')",
    }
    assert rename_step(document, "load", "read").cells["c2"] == "%%step use -i m=fit.model --after read\nprint(m)"


def test_renaming_there_and_back_changes_nothing() -> None:
    document = book(LOAD, FIT, USE, "#| step: more\n#| in: rows\n#| after: fit, load\nprint(rows)")
    there = document.with_texts(rename_step(document, "fit", "train").cells)
    assert there.with_texts(rename_step(there, "train", "fit").cells) == document
    there = document.with_texts(rename_output(document, "load", "rows", "lines").cells)
    assert there != document
    assert there.with_texts(rename_output(there, "load", "lines", "rows").cells) == document


def test_an_output_is_renamed_in_headers_and_code() -> None:
    document = book(LOAD, FIT, "%%step two -i r=load.rows -o n\nn = len(r)")
    assert rename_output(document, "load", "rows", "lines").cells == {
        "c0": "%%step load -o lines\nlines = [1, 2, 3]",
        "c1": "%%step fit -i lines -o model --retries 2\nmodel = sum(lines)",
        "c2": "%%step two -i r=load.lines -o n\nn = len(r)",
    }


@pytest.mark.parametrize(
    "cell",
    [
        "%%step fit -i rows -o m\nm = [rows for rows in rows]",
        "%%step fit -i rows -o m\ndef f(rows):\n    return rows\nm = f(rows)",
        "%%step fit -i rows -o m\nm = eval('rows')\nm = rows",
        "%%step fit -i rows -o m\nm = f'{rows}'",
        "%%step fit -i rows -o m\nlines = 1\nm = rows, lines",
        "rows.sort()",
        "%%step fit -i rows -o m\nm = len(rows)\n!echo {rows}",
        "%%step fit -i rows -o m\nm = len(rows)\n!wc -l $rows",
        "%%step fit -i rows -o m\nm = !ls {rows}\nm = m, rows",
        "%%step fit -i rows -o m\nm = 1\n%timeit rows",
        "%%step fit -i rows -o m\n%time m = rows",
        "%%step fit -i rows -o m\nm = len(rows)\nrows?",
    ],
)
def test_a_name_that_may_mean_something_else_is_not_renamed(cell: str) -> None:
    with pytest.raises(PlanError, match="is not renamed"):
        rename_output(book(LOAD, cell), "load", "rows", "lines")


def test_a_rename_that_makes_faults_is_refused() -> None:
    with pytest.raises(PlanError):
        rename_step(book(LOAD, FIT), "fit", "Load")
    with pytest.raises(PlanError, match="there is no"):
        rename_step(book(LOAD), "laod", "x")
    with pytest.raises(PlanError, match="would become one"):
        rename_step(book(LOAD, FIT), "fit", "load")


def test_words_that_a_header_cannot_hold_are_refused() -> None:
    for name, options in (("a\n%%evil", {}), ("a", {"in": ["x\nimport os"]}), ("a", {"nonsense": ["1"]})):
        with pytest.raises(PlanError):
            write_header(book("x = 1"), "c0", name, options)


def test_an_output_is_connected() -> None:
    document = book(LOAD, FIT, "%%step more -o n\nn = 1")
    assert connect(document, "load.rows", "more").cells == {"c2": "%%step more -i rows -o n\nn = 1"}
    inferred = book(LOAD, FIT, "%%step more -o n\nn = len(rows)")
    assert connect(inferred, "fit.model", "more").cells == {"c2": "%%step more -i rows model -o n\nn = len(rows)"}


def test_what_cannot_be_connected_is_refused() -> None:
    document = book(LOAD, FIT)
    for source, target, message in (
        ("load.rows", "fit", "already"), ("load.none", "fit", "no output"),
        ("fit.model", "load", "wait for each other"),
    ):  # fmt: skip
        with pytest.raises(PlanError, match=message):
            connect(document, source, target)


def test_inferred_interfaces_of_unsaved_cells_are_written() -> None:
    document = book("%%step load\nrows = [1]", "%%step fit\nmodel = sum(rows)", "%%step use\nprint(model)")
    assert freeze(document).cells == {
        "c0": "%%step load -o rows\nrows = [1]",
        "c1": "%%step fit -i rows -o model\nmodel = sum(rows)",
        "c2": "%%step use -i model\nprint(model)",
    }


def test_a_form_begins_with_what_is_known() -> None:
    markdown = NotebookDocument.of_texts(
        [("c0", LOAD), ("c1", "model = sum(rows)"), ("c2", "%%step use -i model\nprint(model)")]
    )
    suggested = suggest(markdown, "c1")
    assert suggested["inferred"] == {"in": ["rows"], "out": ["model"], "param": []}
    assert (suggested["name"], suggested["step"], suggested["options"]) == ("model", False, {})
    assert suggest(book(LOAD, FIT), "c1")["options"] == {"in": ["rows"], "out": ["model"], "retries": ["2"]}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("%%", {"%%step", "%%params", "%%setup"}),
        ("%%step fit -", {"-i", "--in", "-o", "--retries", "--timeout"}),
        ("%%step fit -i ", {"rows", "-o"}),
        ("%%step fit -i ro", {"rows"}),
        ("%%step fit -i r=load.", {"r=load.rows"}),
        ("%%step fit -o ", {"model", "other"}),
        ("%%step fit -o model:", {"model:joblib", "model:json"}),
        ("%%step fit -p ", {"trees"}),
        ("%%step fit --after ", {"load"}),
        ("%%step fit --on ", {"local"}),
        ("%%step fit --kernel ", {"python3"}),
        ("#| in: ", {"rows"}),
        ("%pipeline ", {"run", "show", "plan"}),
        ("%pipeline run ", {"load", "use"}),
        ("%pipeline load lo", {"load.rows"}),
        ("%pipeline run -p ", {"trees="}),
    ],
)
def test_what_may_stand_there(line: str, wanted: set[str]) -> None:
    cells = (
        "%%params\ntrees: int = 3",
        LOAD,
        f"{line}\nmodel = other = sum(rows)",
        "%%step use -i model\nprint(model)",
    )
    completion = complete(book(*cells), "c2", 0, len(line))
    assert wanted <= {match.text for match in completion.matches}
    assert all(match.text.startswith(line[completion.start : completion.end]) for match in completion.matches)


def test_a_file_is_offered_as_a_header_has_to_write_it(tmp_path: Path) -> None:
    for name in ("sales.csv", "sales of may.csv"):
        (tmp_path / name).touch()
    path = tmp_path / "book.ipynb"
    line = "%%step fit -i rows=sa"
    completion = complete(replace(book(f"{line}\nx = rows"), path=path), "c0", 0, len(line))
    assert [match.text for match in completion.matches] == ["rows='sales of may.csv'", "rows=sales.csv"]


def test_code_is_left_to_the_kernel() -> None:
    assert complete(book("%%step a -o x\nx = lo"), "c0", 1, 6).matches == ()


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("--retries", "how often to try again"),
        ("rows", "made by step `load`"),
        ("model", "taken by use"),
        ("trees", "int"),
        ("load", "makes rows"),
        ("%%step", "inputs in, outputs out"),
    ],
)
def test_what_is_said_of_a_word(word: str, words: str) -> None:
    header = "%%step fit -i rows -o model -p trees --after load --retries 2"
    cells = (
        "%%params\ntrees: int = 3",
        LOAD,
        f"{header}\nmodel = sum(rows) + trees",
        "%%step use -i model\nprint(model)",
    )
    explanation = explain(book(*cells), "c2", 0, header.index(word) + 1)
    assert words in explanation["text"]
    assert header[explanation["from"] : explanation["to"]] == word
