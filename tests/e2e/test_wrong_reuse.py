"""Edits after which an earlier version served a stale result: now each comes to what a fresh store comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.pipeline.changing_variables import READ_BY_PYTHON
from tests.e2e.notebook_project import NotebookProject


def ran(book: NotebookProject, *options: str) -> dict[str, str]:
    """Run, and return what became of each step."""
    answer = book.run(*options)
    assert answer.code == 0, answer.err
    return answer.steps("state")


def same_as_fresh(book: NotebookProject, folder: Path, *names: str) -> list[object]:
    """Return the values of outputs, which have to be those of a fresh store."""
    fresh = ("--store", str(folder))
    ran(book, *fresh)
    values = [book.value(name) for name in names]
    assert values == [book.value(name, *fresh) for name in names]
    return values


def write_module(book: NotebookProject, name: str, text: str) -> None:
    (book.folder / f"{name}.py").write_text(text)


def move_cell(book: NotebookProject, old: int, new: int) -> None:
    document = book.read()
    document["cells"].insert(new, document["cells"].pop(old))
    book.save(document)


MODEL = "class M:\n    def __init__(self):\n        self.a = 2\n    def predict(self):\n        return self.a * {}\n"


def test_what_a_class_of_the_project_does_is_part_of_its_objects(book: NotebookProject, tmp_path: Path) -> None:
    write_module(book, "models", MODEL.format(10))
    book.write(
        "import models",
        "%%step train -o obj\nobj = models.M()",
        "%%step wrap -i obj -o box\nbox = [obj]",
        "%%step evaluate -i obj -o score\nscore = obj.predict()",
        "%%step far -i box -o mark\nmark = box[0].predict()",
        "%%step after -i mark -o seen\nseen = mark + 1",
        "%%step apart -o other\nother = 1",
    )
    ran(book)
    assert set(ran(book).values()) == {"reused"}
    write_module(book, "models", "# a comment\n" + MODEL.format(10))
    assert set(ran(book).values()) == {"reused"}
    write_module(book, "models", MODEL.format(100))
    answer = book.run()
    done = {name for name, state in answer.steps("state").items() if state == "succeeded"}
    assert done == {"train", "wrap", "evaluate", "far", "after"}
    assert same_as_fresh(book, tmp_path / "fresh", "evaluate.score", "far.mark") == [200, 200]
    write_module(book, "models", MODEL.replace("self.a * {}", "200"))
    assert ran(book)["after"] == "reused"  # early cut-off, behind plain data


def test_what_a_function_of_the_project_does_is_part_of_it_as_an_output(book: NotebookProject, tmp_path: Path) -> None:
    write_module(book, "tools", "def tool(x):\n    return x + 1\n")
    book.write(
        "from tools import tool",
        "%%step make -o chosen\nchosen = tool",
        "%%step use -i chosen -o y\ny = chosen(1)",
    )
    ran(book)
    write_module(book, "tools", "def tool(x):\n    return x + 2\n")
    assert ran(book)["use"] == "succeeded"
    assert same_as_fresh(book, tmp_path / "fresh", "use.y") == [3]


def test_the_order_of_shared_cells_counts_where_it_matters(book: NotebookProject, tmp_path: Path) -> None:
    book.write(
        "import math",
        "lo, hi = 0, 10",
        "hi, st = 20, 2",
        "def f(x):\n    return math.floor(x)",
        "%%step a -o y\ny = list(range(f(lo), hi, st))",
    )
    ran(book)
    move_cell(book, 3, 0)
    assert set(ran(book).values()) == {"reused"}
    move_cell(book, 2, 3)
    answer = book.plan()
    assert answer.steps("decision") == {"a": "run"}
    assert answer.reasons == {"a": "shared-code"}
    ran(book)
    assert same_as_fresh(book, tmp_path / "fresh", "a.y") == [[0, 2, 4, 6, 8]]


def test_an_absent_default_is_not_a_default_of_nothing(book: NotebookProject) -> None:
    book.write(
        "b = {'x': 1}",
        "%%step a -o y\ny = len({**b, 'z': 1, 'u': 2})",
    )
    ran(book)
    book.edit("{**b, 'z'", "{None: b, 'z'")
    book.edit("b = {'x': 1}", "b = {'x': 1, 'v': 2}")
    book.run()
    assert book.value("a.y") == 3
    book.edit("{None: b, 'z'", "{**b, 'z'")
    assert ran(book) == {"a": "succeeded"}
    assert book.value("a.y") == 4


def test_a_docstring_that_is_read_counts(book: NotebookProject, tmp_path: Path) -> None:
    book.write('def f():\n    """One."""\n    return 1', "%%step a -o y\ny = f.__doc__", "%%step b -o z\nz = f()")
    ran(book)
    book.edit("One.", "Two.")
    assert ran(book) == {"a": "succeeded", "b": "reused"}
    assert same_as_fresh(book, tmp_path / "fresh", "a.y") == ["Two."]


def test_magics_that_only_measure_do_not_count(book: NotebookProject) -> None:
    book.write("%%step a -o y\ny = 1", "%%step b -i y -o z\nz = y + 1")
    before = book.plan().steps("key")["a"]
    book.edit("%%step a -o y\n", "%%step a -o y\n%%time\n")
    assert book.plan().steps("key")["a"] == before
    book.edit("%%time\ny = 1", "%time y = 1")
    assert book.plan().steps("key")["a"] == before
    ran(book)
    assert book.value("b.z") == 2


def test_a_part_that_is_empty_is_refused_and_a_part_that_is_old_says_so(book: NotebookProject) -> None:
    book.write("%%step a -o x\nx = 1", "%%step b -i x -o y\ny = x + 1")
    ran(book)
    refused = book.call("plan", "--to", "a", "--from", "b")
    assert refused.code != 0
    assert "JP604" in refused.err
    book.edit("x = 1", "x = 5")
    for options in (("--only", "b"), ("--from", "b")):
        for command in ("plan", "run"):
            answer = book.call(command, *options, "--json")
            assert "it is made from an older `a`: cell 1 changed" in answer.steps("reason")["b"]["details"]
            assert [warning["code"] for warning in answer.document["warnings"]] == ["JP313"]
            assert "warning[JP313]: `b` is made from an older `a`: cell 1 changed\n" in answer.err
            assert f"help: run it without `{' '.join(options)}`: what comes before is run or reused" in answer.err
    assert "JP313" not in book.run("--to", "b").err  # both are new now
    assert "JP313" not in book.run("--only", "b").err


def test_edit_run_undo_run_is_the_same_as_a_fresh_store(book: NotebookProject, tmp_path: Path) -> None:
    write_module(book, "models", MODEL.format(10))
    book.write(
        "import models",
        "LIMIT = 3",
        "def cut(x, most=LIMIT):\n    return min(x, most)",
        "%%params\nfactor: int = 2",
        "%%step train -o obj\nobj = models.M()",
        "%%step score -i obj -o s -p factor\ns = obj.predict() * factor",
        "%%step end -i s -o e\ne = cut(s) + s",
    )
    names = ("score.s", "end.e")
    ran(book)
    first = same_as_fresh(book, tmp_path / "fresh0", *names)
    edits = (("LIMIT = 3", "LIMIT = 7"), ("factor: int = 2", "factor: int = 4"), ("cut(s) + s", "cut(s) - s"))
    for number, (old, new) in enumerate(edits, start=1):
        book.edit(old, new)
        ran(book)
        assert same_as_fresh(book, tmp_path / f"fresh{number}", *names) != first
        book.edit(new, old)
        assert set(ran(book).values()) == {"reused"}
        assert [book.value(name) for name in names] == first
    write_module(book, "models", MODEL.format(11))
    ran(book)
    assert same_as_fresh(book, tmp_path / "fresh9", *names) != first
    write_module(book, "models", MODEL.format(10))
    assert set(ran(book).values()) == {"reused"}
    assert [book.value(name) for name in names] == first


ASKING = (
    "%%step listed -o names\nimport os\nnames = sorted(os.listdir('.'))",
    "%%step looked -o there\nimport os\nthere = os.path.exists('flag')",
    "%%step measured -o size\nimport os\nsize = os.path.getsize('data.txt')",
    "%%step shown -o lines\nshown = !cat data.txt\nlines = list(shown)",
    "%%step loaded -o loaded_value\nimport importlib\nloaded_value = importlib.import_module('hel' + 'per').X",
    "%%step named -o absolute\nimport os\nabsolute = os.path.abspath('data.txt')",
    "%%step plain -o total\nimport math\ntotal = math.prod([2, 3])",
)
ASKED = ["listed.names", "looked.there", "measured.size", "shown.lines", "loaded.loaded_value", "named.absolute"]


def test_the_same_cells_in_another_folder_ask_for_other_files(book: NotebookProject, tmp_path: Path) -> None:
    (book.folder / "pyproject.toml").touch()
    books = [NotebookProject(book.folder / name, environment=book.environment).write(*ASKING) for name in ("a", "b")]
    for number, other in enumerate(books, 1):
        (other.folder / "data.txt").write_text("x" * number)
        write_module(other, "helper", f"X = {number}\n")
    (books[1].folder / "flag").touch()
    shared = ("--store", str(tmp_path / "shared"))
    ran(books[0], *shared)
    answer = books[1].run(*shared)
    assert answer.steps("state") == {name.split(".")[0]: "succeeded" for name in ASKED} | {"plain": "reused"}
    assert "the notebook is in `b` now" in str(answer.steps("reason"))
    ran(books[1], "--store", str(tmp_path / "fresh"))
    for name in ASKED:
        assert books[1].value(name, *shared) == books[1].value(name, "--store", str(tmp_path / "fresh"))
    assert set(ran(books[0], *shared).values()) == set(ran(books[1], *shared).values()) == {"reused"}


def test_files_of_others_in_a_folder_that_the_step_made_count(book: NotebookProject, tmp_path: Path) -> None:
    book.write(
        "%%step bare -o names\nimport os\nos.makedirs('inbox', exist_ok=True)\nnames = sorted(os.listdir('inbox'))",
        "%%step own -o kept\nfrom pathlib import Path\nbox = Path('outbox')\nbox.mkdir(exist_ok=True)\n"
        "(box / 'mine').write_text('1')\nkept = sorted(path.name for path in box.iterdir())",
        "%%step passing -o left\nimport os, tempfile\nwith tempfile.TemporaryDirectory(dir='.') as folder:\n"
        "    left = os.listdir(folder)",
    )
    ran(book)
    assert set(ran(book).values()) == {"reused"}
    for folder in ("inbox", "outbox"):
        (book.folder / folder / "theirs").touch()
    assert ran(book) == {"bare": "succeeded", "own": "succeeded", "passing": "reused"}
    assert same_as_fresh(book, tmp_path / "fresh", "bare.names", "own.kept") == [["theirs"], ["mine", "theirs"]]


def test_settings_of_matplotlib_in_the_users_home_count(book: NotebookProject, tmp_path: Path) -> None:
    settings = tmp_path / "home/.config/matplotlib/matplotlibrc"
    settings.parent.mkdir(parents=True)
    settings.write_text("lines.linewidth: 1\n")
    book.environment |= {"HOME": str(tmp_path / "home")}
    book.write(*(f"%%step {name} -o {name}_w\nimport matplotlib\n{name}_w = matplotlib.rcParams['lines.linewidth']"
                 for name in "ab"))  # fmt: skip
    ran(book)
    assert set(ran(book).values()) == {"reused"}
    settings.write_text("lines.linewidth: 5\n")
    ran(book)
    assert same_as_fresh(book, tmp_path / "fresh", "a.a_w", "b.b_w") == [5, 5]


def test_variables_that_python_and_kernels_read_themselves_count(
    book: NotebookProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defaults of steps and kernels do not count as set by the user."""
    for name in ("MPLBACKEND", *READ_BY_PYTHON):
        monkeypatch.delenv(name, raising=False)
    book.write(
        "%%step started -o order digits\nimport sys\norder = ''.join({'a', 'b', 'c', 'd', 'e', 'f'})\n"
        "digits = sys.get_int_max_str_digits()",
        "%%step drawn -o kind\nimport matplotlib\nkind = matplotlib.get_backend()",
    )
    ran(book)
    assert book.plan().steps("decision") == {"started": "reuse", "drawn": "reuse"}
    for name in ("PYTHONOPTIMIZE", "PYTHONHASHSEED"):
        monkeypatch.setenv(name, "1")
        assert book.plan().steps("decision") == {"started": "run", "drawn": "run"}, name
        monkeypatch.delenv(name)
    monkeypatch.setenv("MPLBACKEND", "svg")
    assert ran(book) == {"started": "reused", "drawn": "succeeded"}
    book.environment |= {"PYTHONHASHSEED": "2", "PYTHONINTMAXSTRDIGITS": "700"}
    ran(book)
    assert book.plan().steps("decision") == {"started": "reuse", "drawn": "reuse"}
    assert same_as_fresh(book, tmp_path / "fresh", "started.order", "started.digits", "drawn.kind")[1:] == [700, "svg"]
