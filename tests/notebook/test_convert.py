"""Conversion without running anything: what becomes of cells, where steps begin, and what flows between them."""

from __future__ import annotations

from jupyter_pipelines.notebook.converting.conversion_types import ConvertedNotebook, ConvertOptions, RepairHints
from jupyter_pipelines.notebook.converting.convert import convert
from jupyter_pipelines.notebook.converting.global_settings import setting_statements
from jupyter_pipelines.notebook.converting.observation import CellTrace
from jupyter_pipelines.notebook.converting.preconditions import refusals
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import NotebookCell, NotebookDocument


def book(*texts: str) -> NotebookDocument:
    """Return a notebook; a text that begins with ``# `` and has one line is a heading."""
    kinds = ["markdown" if text.startswith("#") and "\n" not in text else "code" for text in texts]
    cells = zip(kinds, texts, strict=True)
    return NotebookDocument(
        path=None,
        cells=tuple(NotebookCell(number=n, kind=kind, source=text) for n, (kind, text) in enumerate(cells, 1)),  # type: ignore[arg-type]
    )


def observed(document: NotebookDocument, **cells: dict[str, object]) -> dict[int, CellTrace]:
    """Return what cells did; ``c3={"changed": …}`` is cell 3, and the others did nothing that code does not show."""
    numbers = [cell.number for cell in document.cells if cell.kind == "code"]
    traces = {}
    for number in numbers:
        trace = {"shows": False} | cells.get(f"c{number}", {})
        traces[number] = CellTrace(**{k: frozenset(v) if isinstance(v, set) else v for k, v in trace.items()})  # type: ignore[arg-type]
    return traces


def texts(conversion: ConvertedNotebook) -> list[str]:
    return [cell["source"] for cell in conversion.notebook["cells"]]


def flow(conversion: ConvertedNotebook) -> dict[str, tuple[list[str], list[str]]]:
    return {step.name: (list(step.inputs), list(step.outputs)) for step in conversion.steps}


THREE = (
    "# Load",
    "rows = sorted([3, 1, 2])",
    "# Double",
    "twice = [2 * row for row in rows]",
    "# Show",
    "print(sum(twice))",
)


def test_headings_make_steps_and_only_what_is_needed_is_handed_on() -> None:
    document = book(*THREE)
    conversion = convert(document, seen=observed(document, c2={"bound": {"rows"}}, c4={"bound": {"twice"}}))
    assert flow(conversion) == {"load": ([], ["rows"]), "double": (["rows"], ["twice"]), "show": (["twice"], [])}
    assert "%%step double -i rows -o twice\ntwice = [2 * row for row in rows]" in texts(conversion)
    assert [cell["source"] for cell in conversion.notebook["cells"] if cell["cell_type"] == "markdown"] == list(
        THREE[::2]
    )


def test_what_is_made_is_a_pipeline_without_faults() -> None:
    document = book(*THREE)
    conversion = convert(document, seen=observed(document))
    cells = [
        NotebookCell(number=n, source=text) for n, text in enumerate(texts(conversion), 1) if not text.startswith("# ")
    ]
    reading = read(NotebookDocument(path=None, cells=tuple(cells)))
    assert [diagnostic for diagnostic in reading.faults if diagnostic.severity == "error"] == []
    assert reading.pipeline is not None


def test_definitions_become_shared_code_and_tuned_values_typed_parameters() -> None:
    document = book(
        "import math\nDATA = 'data/rows.csv'\ntest_size = 0.25  # share of rows",
        "# Use",
        "def area(r):\n    return math.pi * r * r\narea(test_size)",
        "# Again",
        "print(area(2), DATA)",
    )
    conversion = convert(document, seen=observed(document))
    assert "%%params\nDATA: str = 'data/rows.csv'\ntest_size: float = 0.25  # share of rows" in texts(conversion)
    assert "import math" in texts(conversion)
    assert "def area(r):\n    return math.pi * r * r" in texts(conversion)
    assert {name for name, _, _ in conversion.parameters} == {"DATA", "test_size"}


def test_a_value_that_changes_is_no_constant_and_no_parameter() -> None:
    document = book("# A", "size = 3", "# B", "size += 1", "# C", "print(size)")
    conversion = convert(document, seen=observed(document))
    assert conversion.parameters == ()
    assert flow(conversion) == {"a": ([], ["size"]), "b": (["size"], ["size"]), "c": (["size"], [])}


def test_the_last_to_change_an_object_hands_it_on() -> None:
    document = book(
        "# A", "rows = make()", "# B", "grow(rows)", "# C", "print(rows)", "# Define", "def make():\n    return []"
    )
    conversion = convert(document, seen=observed(document, c4={"changed": {"rows"}, "kinds": {"rows": "value"}}))
    assert flow(conversion)["b"] == (["rows"], ["rows"])


def test_a_name_made_afresh_gets_a_version() -> None:
    document = book("# A", "x = sorted('ba')", "# B", "print(x)", "# C", "x = sorted('dc')", "# D", "print(x)")
    conversion = convert(document, seen=observed(document))
    assert "%%step c -o x_2\nx = sorted('dc')" in texts(conversion)
    assert "%%step d -i x=c.x_2\nprint(x)" in texts(conversion)


def test_settings_in_front_become_setup_and_later_ones_are_said_again() -> None:
    document = book(
        "import pandas as pd\npd.set_option('display.width', 90)",
        "# A",
        "frame = pd.DataFrame()",
        "# B",
        "print(frame)\npd.set_option('display.precision', 3)",
        "# C",
        "frame",
    )
    converted = texts(convert(document, seen=observed(document)))
    assert "%%setup\npd.set_option('display.width', 90)" in converted
    assert any(text.startswith("%%setup\n# settings of the step b") and "precision" in text for text in converted)


def test_what_was_seen_to_be_set_is_said_again_even_if_no_code_shows_it() -> None:
    document = book("# A", "prepare()", "# B", "x = 1\nprint(x)", "# C", "def prepare():\n    pass")
    seen = observed(document, c2={"settings": {"recursion": {"limit": 5000}}})
    assert any("sys.setrecursionlimit(5000)" in text for text in texts(convert(document, seen=seen)))


def test_what_cannot_be_handed_on_keeps_its_users_in_one_step() -> None:
    document = book("# A", "file = open('x')", "# B", "print(file.read())", "# C", "print(3)")
    seen = observed(document, c2={"bound": {"file"}, "stuck": {"file": "is an open file"}})
    conversion = convert(document, seen=seen)
    assert [step.cells for step in conversion.steps] == [(2, 4), (6,)]
    assert conversion.steps[0].why == ("`file` cannot be handed on: it is an open file",)
    assert [step.cells for step in convert(document).steps] == [(2, 4), (6,)]  # not observed: guessed from `open`


def test_two_names_for_one_object_that_changes_stay_together() -> None:
    document = book("# A", "a = [1]\nb = a", "# B", "a.append(2)", "# C", "print(b)")
    both = {"shared": {("a", "b")}, "kinds": {"a": "value", "b": "value"}}
    seen = observed(document, c2={"bound": {"a", "b"}, **both}, c4={"changed": {"a", "b"}, **both})
    assert [step.cells for step in convert(document, seen=seen).steps] == [(2, 4), (6,)]


def test_a_file_that_is_written_and_read_keeps_both_in_one_step() -> None:
    document = book("# A", "save()", "# B", "print(1)", "# C", "load()", "# D", "print(2)")
    seen = observed(document, c2={"wrote": {"/x/y.csv"}}, c6={"read": {"/x/y.csv"}})
    conversion = convert(document, seen=seen)
    assert conversion.steps[0].cells == (2, 4, 6)
    assert "the file `y.csv` is written and used again" in conversion.steps[0].why


def test_random_states_are_handed_on_once_a_seed_is_set() -> None:
    document = book(
        "# A",
        "import random\nrandom.seed(1)\nprint(1)",
        "# B",
        "print(random.random())",
        "# C",
        "print(random.random())",
    )
    seen = observed(document, c2={"drew": {"random"}, "shows": True}, c4={"drew": {"random"}}, c6={"drew": {"random"}})
    conversion = convert(document, seen=seen)
    assert flow(conversion)["b"] == (["python_random_state"], ["python_random_state"])
    assert "%%step c -i python_random_state\n" in "\n".join(texts(conversion))


def test_the_user_decides_names_and_cuts() -> None:
    document = book(*THREE)
    conversion = convert(document, seen=observed(document), options=ConvertOptions(names={2: "first", 6: "last"}))
    assert [(step.name, step.cells) for step in conversion.steps] == [("first", (2, 4)), ("last", (6,))]


def test_cells_that_only_show_something_can_be_left_out() -> None:
    document = book("# A", "rows = sorted('ba')", "rows", "# B", "print(len(rows))")
    conversion = convert(
        document, seen=observed(document, c2={"bound": {"rows"}}), options=ConvertOptions(drop_display=True)
    )
    assert conversion.dropped == (3, 5)
    assert "rows" in texts(conversion)
    assert [step.cells for step in conversion.steps] == [(2,)]


def test_lessons_join_steps_and_force_outputs() -> None:
    document = book(*THREE)
    joined = convert(document, seen=observed(document), hints=RepairHints(joins=((2, 4, "they differ"),)))
    assert [step.cells for step in joined.steps] == [(2, 4), (6,)]
    forced = convert(document, seen=observed(document), hints=RepairHints(forced={4: frozenset({"rows"})}))
    assert flow(forced)["double"][1] == ["rows", "twice"]


def test_cells_in_other_languages_and_errors_on_purpose_are_rewritten() -> None:
    document = book("# A", "%%html\n<b>x</b>", "# B", "print(1)\n1 / 0")
    converted = texts(convert(document, seen=observed(document), raises=frozenset({4})))
    assert any("display(HTML(" in text for text in converted)
    assert any(text.startswith("%%step b\ntry:\n    print(1)") and "showtraceback" in text for text in converted)


def test_a_refusal_names_the_cell_and_the_way_out() -> None:
    for text, word in (("Out[1] + 1", "Out"), ("x = input('?')", "input"), ("_3 + 1", "_3")):
        diagnostics = refusals(book("1 + 1", text))
        assert [diagnostic.code for diagnostic in diagnostics] == ["JP701"]
        assert word in diagnostics[0].message
        assert diagnostics[0].place is not None
        assert diagnostics[0].place.cell == 2
    assert refusals(book("1 + 1", "_ + 1")) == ()
    assert refusals(book("# only text"))[0].message == "the notebook has no code"
    assert "steps already" in refusals(book("%%step a\nx = 1"))[0].message


def test_files_under_names_that_code_does_not_show_are_declared() -> None:
    document = book("# Load", "rows = read(folder())", "# Show", "print(open('b.csv').read(), rows)")
    given = frozenset({"data/a b.csv", "b.csv"})
    conversion = convert(
        document, seen=observed(document, c2={"bound": {"rows"}, "given": given}, c4={"given": frozenset({"b.csv"})})
    )
    assert '%%step load -i file_b=b.csv "file_a_b=data/a b.csv" -o rows\nrows = read(folder())' in texts(conversion)
    assert "%%step show -i rows\nprint(open('b.csv').read(), rows)" in texts(conversion)


def test_many_files_are_declared_by_their_folder() -> None:
    document = book("# Load", "rows = read(folder())", "# Show", "print(rows)")
    inside = frozenset(f"data/{number}.csv" for number in range(40))
    around = frozenset(f"{number}.csv" for number in range(40))
    conversion = convert(document, seen=observed(document, c2={"bound": {"rows"}, "given": inside}))
    assert texts(conversion)[2].startswith("%%step load -i file_data=data -o rows\n")
    conversion = convert(document, seen=observed(document, c2={"bound": {"rows"}, "given": around}))
    assert texts(conversion)[2].startswith("%%step load -o rows --no-cache\n")


def test_programs_run_in_the_order_of_the_notebook() -> None:
    document = book("# A", "a = f()", "# B", "!ls", "# C", "c = f()", "# D", "print(c)")
    conversion = convert(document, seen=observed(document, c4={"programs": 1}, c6={"bound": {"c"}}))
    headers = [text.split("\n")[0] for text in texts(conversion) if text.startswith("%%step")]
    assert headers == ["%%step a", "%%step b --after a", "%%step c -o c --after b", "%%step d -i c"]


def test_a_value_is_not_shown_because_what_followed_it_stands_elsewhere() -> None:
    document = book("# A", "len(rows)  # how many\nlimit = 3", "# B", "print(limit)", "# C", "print(limit + 1)")
    conversion = convert(document, seen=observed(document))
    assert "%%step a\nlen(rows);  # how many" in texts(conversion)


def test_a_function_stays_where_its_decorator_may_note_it_down() -> None:
    note = "known = []\ndef note(function):\n    known.append(function)\n    return function"
    mild = "from functools import cache\n\n@cache\ndef two():\n    return 2"
    document = book("# A", note, "# B", "@note\ndef one():\n    return 1", "# C", mild, "# D", "print(two())")
    conversion = convert(document, seen=observed(document))
    assert any(text.startswith("%%step b") and "@note" in text for text in texts(conversion))
    assert any("@cache" in text and not text.startswith("%%step") for text in texts(conversion))


def test_imports_that_say_something_stay_in_their_cell_too() -> None:
    document = book("# A", "import noisy", "# B", "print(noisy.V)", "# C", "print(noisy.W)")
    lessons = RepairHints(spoken=frozenset({2}))
    converted = texts(convert(document, seen=observed(document), hints=lessons))
    assert "import noisy" in converted
    assert "%%step a\nimport noisy" in converted


def test_forgetting_all_names_is_refused_where_there_are_any() -> None:
    assert refusals(book("x = 1", "%reset -f\ny = 2"))[0].suggestion
    assert refusals(book("import os\nx = 1\nget_ipython().magic('reset -sf')"))
    assert not refusals(book("# of course\n%load_ext autoreload\n%reset -f\nx = 1", "x"))


def test_secrets_of_the_environment_are_not_written_down() -> None:
    secrets = {"MY_API_KEY": "s-1", "PGPASSWORD": "s-2", "DB": "postgres://me:s-3@host/db", "GITHUB_PAT": "s-4"}
    values = {**secrets, "STORE": "AccountName=a;AccountKey=s-5", "MODE": "fast", "URL": "http://host:80/a@b"}
    text = "\n".join(setting_statements({"environment": values}))
    assert "s-" not in text
    assert "os.environ['MODE'] = 'fast'" in text
    assert "os.environ['URL']" in text
    assert "# `MY_API_KEY` is a secret" in text
