"""Files that steps write are noted and verified, and handed on only to steps that wait for the writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

NAME = "'vsc.naelc'[::-1]"
"""``clean.csv``, in code that does not show it."""
CLEAN = "%%step clean\nfrom pathlib import Path\nPath({}).write_text('6')"
TOTAL = "%%step total -o t{}\nt = int(open({}).read())"


def decisions(book: NotebookProject, *options: str) -> dict[str, str]:
    ran = book.run(*options)
    assert ran.code == 0, ran.err
    return ran.steps("decision")


def written(book: NotebookProject, step: str) -> list[str]:
    trace = book.call("why", step, "--dependencies", "--json").document["trace"]
    assert all(entry["digest"].partition(":")[0] in ("sha256", "blake3") for entry in trace["written"])
    return [entry["path"] for entry in trace["written"]]


def first_fault(book: NotebookProject, *options: str) -> tuple[str, str, list[str]]:
    """Return code and message of the fault of a run, and the steps that did not fail."""
    ran = book.run(*options)
    assert ran.code != 0
    (failed,) = [step for step in ran.document["steps"] if step["state"] == "failed"]
    others = [step["name"] for step in ran.document["steps"] if step["state"] != "failed"]
    return failed["error"]["code"], failed["error"]["message"], others


def warnings(book: NotebookProject, *options: str) -> list[str]:
    """Return the codes of the warnings of a run that succeeds."""
    ran = book.run(*options)
    assert ran.code == 0, ran.err
    return [warning["code"] for step in ran.document["steps"] for warning in step["warnings"]]


def test_a_written_file_is_noted_and_shown(book: NotebookProject) -> None:
    book.write(CLEAN.format(NAME))
    assert decisions(book) == {"clean": "run"}
    assert written(book, "clean") == ["clean.csv"]
    assert "  it wrote clean.csv\n" in book.call("why", "clean", "--dependencies").out


@pytest.mark.parametrize("change", ["delete", "edit"])
def test_a_step_whose_written_file_is_gone_or_different_runs_again(book: NotebookProject, change: str) -> None:
    book.write("%%step plot\nimport os\nos.makedirs('plots', exist_ok=True)\nopen('plots/fig.png', 'wb').write(b'1')")
    assert decisions(book) == {"plot": "run"}
    assert decisions(book) == {"plot": "reuse"}
    figure = book.folder / "plots" / "fig.png"
    figure.unlink() if change == "delete" else figure.write_bytes(b"2")
    reason = book.plan().steps("reason")["plot"]
    words = "is missing now" if change == "delete" else "is not what it wrote any more"
    assert (reason["code"], reason["text"]) == ("output-missing", f"file `plots/fig.png`, which it wrote, {words}")
    assert decisions(book) == {"plot": "run"}
    assert figure.read_bytes() == b"1"
    assert decisions(book) == {"plot": "reuse"}


@pytest.mark.parametrize("name", ["'clean.csv'", NAME])
def test_an_edit_of_the_writer_and_its_undo_reach_the_reader(book: NotebookProject, name: str) -> None:
    book.write(CLEAN.format(name), TOTAL.format(" --after clean", name))
    for _ in range(2):
        decisions(book)
        assert book.value("total.t") == 6
        assert set(decisions(book).values()) == {"reuse"}
        book.edit("write_text('6')", "write_text('60')")
        assert book.plan().steps("decision")["clean"] == "run"
        decisions(book)
        assert book.value("total.t") == 60
        assert set(decisions(book).values()) == {"reuse"}
        book.edit("write_text('60')", "write_text('6')")
        assert book.plan().reasons["clean"] == "output-missing"
    decisions(book)
    assert book.value("total.t") == 6


def test_what_follows_a_writer_that_runs_may_change(book: NotebookProject) -> None:
    book.write(CLEAN.format("'clean.csv'"), TOTAL.format(" --after clean", "'clean.csv'"))
    decisions(book)
    (book.folder / "clean.csv").unlink()
    assert book.plan().steps("decision") == {"clean": "run", "total": "maybe"}
    assert decisions(book) == {"clean": "run", "total": "reuse"}


def test_plain_names_without_an_edge_are_a_fault_before_the_run(book: NotebookProject) -> None:
    book.write(CLEAN.format("'clean.csv'"), TOTAL.format("", "'./clean.csv'"))
    checked = book.call("check")
    assert checked.code != 0
    assert "error[JP221]: step `total` reads `./clean.csv`, which step `clean` writes, and does not wait" in checked.out
    assert "add `--after clean` to the header of `total`" in checked.out
    assert book.run().code != 0
    assert not (book.folder / "clean.csv").exists()
    book.edit("-o t", "-o t --after clean")
    assert book.call("check").code == 0


def test_the_file_is_handed_on_as_the_help_says(book: NotebookProject) -> None:
    book.write(
        "%%step clean -o clean_csv:file\nclean_csv.write_text('6')",
        "%%step total -i clean_csv -o t\nt = int(open(clean_csv).read())",
    )
    decisions(book)
    assert book.value("total.t") == 6


@pytest.mark.parametrize(
    ("reader", "edge"),
    [
        ("%%step total -o t --after middle\nt = open('clean.csv').read()", "by another step"),
        ("%%step total -o t\nimport os\nt = 1 if os.path else open('clean.csv' if 0 else 'b.csv')", "not plain"),
        ("%%step total -o t\nopen('clean.csv', 'w').write('6')\nt = open('clean.csv').read()", "writes it itself"),
    ],
)
def test_no_fault_before_the_run(book: NotebookProject, reader: str, edge: str) -> None:
    book.write(CLEAN.format("'clean.csv'"), "%%step middle --after clean\nprint(1)", reader)
    assert book.call("check").code == 0, edge


WRITES = "import pandas as pd\npd.DataFrame({'a': [1]}).to_csv('out/data.csv')"
READS = "import pandas as pd\nn = len(pd.read_csv('out/data.csv'))"


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        ("import pandas as pd\npd.to_datetime('01/02/2024')", "import dateutil\ndateutil.parser.parse('01/02/2024')"),
        (WRITES, "import zipfile\nwith zipfile.ZipFile('raw.zip') as z:\n    z.open('out/data.csv')"),
        (WRITES, "import zipfile\nz = zipfile.ZipFile('raw.zip')\nz.open('out/data.csv').read()"),
        (f"import os\nos.chdir('sub')\n{WRITES}", READS),
        (WRITES, f"%cd sub\n{READS}"),
        (f"import contextlib\nwith contextlib.chdir('sub'):\n    pass\n{WRITES}", READS),
        (WRITES, "spec = registry.read('out/data.csv')"),
        ("queue.to_topic('out/data.csv')", READS),
        (WRITES, "import pandas as pd\nopen('out/data.csv', 'a').write('1')"),
    ],
)
def test_what_is_no_file_is_no_fault_before_the_run(book: NotebookProject, writer: str, reader: str) -> None:
    book.write(f"%%step a\n{writer}", f"%%step b -o n\n{reader}\nn = 1")
    checked = book.call("check")
    assert "JP221" not in checked.out + checked.err


@pytest.mark.parametrize("cell", ["%%setup\nimport os\nos.chdir('sub')", "%%setup\n%cd sub"])
def test_a_setup_that_changes_the_folder(book: NotebookProject, cell: str) -> None:
    book.write(cell, f"%%step a\n{WRITES}", f"%%step b -o n\n{READS}")
    assert "JP221" not in book.call("check").out


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (WRITES, READS),
        (WRITES, "from pathlib import Path\np = Path('out/data.csv')\nn = p.open().read()"),
        (WRITES, "from pathlib import Path\nn = (Path('out') / 'data.csv').read_text()"),
        (WRITES, "import gzip\nn = gzip.open('out/data.csv').read()"),
        ("import joblib\njoblib.dump(1, 'out/data.csv')", "import joblib\nn = joblib.load('out/data.csv')"),
        ("import numpy as np\nnp.save('out/data.csv', [1])", "import numpy as np\nn = len(np.load('out/data.csv'))"),
        ("import polars as pl\npl.DataFrame({'a': [1]}).write_csv('out/data.csv')", READS),
        ("from pathlib import Path\nPath('out/data.csv').open('w').write('1')", READS),
    ],
)
def test_known_functions_are_seen_before_the_run(book: NotebookProject, writer: str, reader: str) -> None:
    book.write(f"%%step a\n{writer}", f"%%step b -o n\n{reader}")
    assert "error[JP221]: step `b` reads `out/data.csv`, which step `a` writes" in book.call("check").out


@pytest.mark.parametrize("where", ["a", "b", "pyproject"])
def test_an_ignored_file_is_no_fault_before_the_run(book: NotebookProject, where: str) -> None:
    options = {name: " --ignore out/" if name == where else "" for name in "ab"}
    book.write(f"%%step a{options['a']}\n{WRITES}", f"%%step b -o n{options['b']}\n{READS}")
    if where == "pyproject":
        (book.folder / "pyproject.toml").write_text('[tool.jupyter-pipelines]\nignore = ["out/"]\n')
    assert "JP221" not in book.call("check").out


def test_ignored_files_are_no_fault_of_a_run(book: NotebookProject) -> None:
    (book.folder / "out").mkdir(parents=True)
    (book.folder / "out" / "data.csv").write_text("a")
    book.write(f"%%step b -o n --ignore out/\n{READS}", f"%%step a\n{WRITES}")
    assert book.run("--jobs", "1").code == 0


def test_hidden_names_without_an_edge_are_an_error_after_the_run(book: NotebookProject) -> None:
    book.write(CLEAN.format(NAME), TOTAL.format("", NAME))
    text = "step `total` reads `clean.csv`, which step `clean` writes, and does not wait for it"
    assert first_fault(book, "--jobs", "1") == ("JP221", text, ["clean"])
    assert first_fault(book, "--jobs", "1") == ("JP221", text, ["clean"])
    book.edit("-o t", "-o t --after clean")
    assert decisions(book)["total"] == "run"
    assert set(decisions(book).values()) == {"reuse"}


@pytest.mark.parametrize(
    "read",
    ["x = open('a' + '.csv').read()", "x = [open(name).read() for name in __import__('glob').glob('*' + '.csv')]"],
)
def test_a_writer_behind_its_reader_is_found_as_well(book: NotebookProject, read: str) -> None:
    book.write(f"%%step early -o x\n{read}", "%%step late\nopen('vsc.a'[::-1], 'w').write('2')")
    (book.folder / "a.csv").write_text("1")
    text = "step `early` reads `a.csv`, which step `late` writes, and does not wait for it"
    assert first_fault(book, "--jobs", "1") == ("JP221", text, ["early"])


def test_a_reused_reader_is_compared_with_a_writer_that_is_new(book: NotebookProject) -> None:
    book.write("%%step early -o x\nx = open('a' + '.csv').read()", "%%step late\nprint(1)")
    (book.folder / "a.csv").write_text("1")
    decisions(book)
    book.edit("print(1)", "open('vsc.a'[::-1], 'w').write('1')")
    assert first_fault(book)[0] == "JP221"


def test_two_steps_that_write_a_file_differently(book: NotebookProject) -> None:
    book.write("%%step a\nopen('x.txt', 'w').write('1')", "%%step b\nopen('x.txt', 'w').write('2')")
    text = "steps `a` and `b` both write `x.txt`, and not the same: what it holds depends on which of them ends last"
    assert first_fault(book, "--jobs", "1") == ("JP222", text, ["a"])
    book.edit("%%step b", "%%step b --after a")
    assert warnings(book) == ["JP222"]


@pytest.mark.parametrize(
    "code",
    [
        "open('same.txt', 'w').write('1')",
        "open('all.txt', 'a').write(str(id([])))",
        "import os; os.makedirs('mlruns/0', exist_ok=True); open('mlruns/0/meta.yaml', 'w').write(str(os.getpid()))",
        "import os; open(f'{os.getpid()}.part', 'w').write('1'); os.remove(f'{os.getpid()}.part')",
    ],
    ids=["equal", "append", "mlruns", "temporary"],
)
def test_files_that_steps_may_share(book: NotebookProject, code: str) -> None:
    book.write(f"%%setup\n{code}", "%%step a -o x\nx = 1", "%%step b -o y\ny = 2")
    decisions(book, "--jobs", "1")
    assert decisions(book) == {"a": "reuse", "b": "reuse"}
    assert written(book, "a") == (["same.txt"] if "same" in code else [])


def test_an_appended_file_is_neither_read_nor_verified(book: NotebookProject) -> None:
    book.write("%%step a\nwith open('runs.txt', 'a') as file:\n    file.write('run')")
    decisions(book)
    (book.folder / "runs.txt").write_text("")
    assert decisions(book) == {"a": "reuse"}


def warnings_of(book: NotebookProject) -> list[tuple[str, str]]:
    ran = book.run("--jobs", "1")
    assert ran.code == 0, ran.err
    return [(warning["code"], warning["message"]) for step in ran.document["steps"] for warning in step["warnings"]]


def test_a_line_appended_to_a_file_that_an_earlier_step_writes_is_not_lost(book: NotebookProject) -> None:
    book.write("%%step a\nopen('res.txt', 'w').write('head,')", "%%step b --after a\nopen('res.txt', 'a').write('row')")
    text = "steps `a` and `b` both write `res.txt`, and not the same: each run computes both again"
    for _ in range(3):
        assert warnings_of(book) == [("JP222", text)]
        assert (book.folder / "res.txt").read_text() == "head,row"
    assert book.plan().reasons == {"a": "output-missing", "b": "unwatched"}
    reason = book.plan().steps("reason")["b"]["text"]
    assert reason.endswith("it appends to `res.txt`, which step `a` writes")


def test_a_stored_step_that_appends_runs_again_once_an_earlier_step_writes_the_file(book: NotebookProject) -> None:
    book.write("%%step a\nprint(1)", "%%step b --after a\nopen('res.txt', 'a').write('row')")
    assert decisions(book) == {"a": "run", "b": "run"}
    assert decisions(book) == {"a": "reuse", "b": "reuse"}
    book.edit("print(1)", "open('res.txt', 'w').write('head,')")
    assert book.plan().steps("decision") == {"a": "run", "b": "maybe"}
    ran = book.run()
    assert ran.steps("decision") == {"a": "run", "b": "run"}
    reason = ran.steps("reason")["b"]
    assert (reason["code"], reason["text"]) == (
        "output-missing",
        "file `res.txt`, which it appends to, is written by step `a`",
    )
    assert (book.folder / "res.txt").read_text() == "head,row"


@pytest.mark.parametrize(("first", "second"), [("w", "a"), ("a", "w")])
def test_a_step_that_appends_to_what_another_writes_and_neither_waits(
    book: NotebookProject, first: str, second: str
) -> None:
    book.write(f"%%step a\nopen('res.txt', '{first}').write('1')", f"%%step b\nopen('res.txt', '{second}').write('2')")
    assert first_fault(book, "--jobs", "1")[0] == "JP222"
    book.edit("%%step a", "%%step a --ignore res.txt")
    assert book.run().code == 0


@pytest.mark.parametrize(
    "code",
    [
        "import os\nif not os.path.exists('made.txt'): open('made.txt', 'w').write('1')",
        "from pathlib import Path\nPath('made.txt').exists()\nPath('made.txt').write_text('1')",
        "import os\nos.path.exists('made.txt') and os.stat('made.txt')\nopen('made.txt', 'w').write('1')",
        "from joblib import Memory\n@Memory('cachedir', verbose=0).cache\ndef sq(n):\n    return n * n\nsq(3)",
        "from matplotlib.figure import Figure\nfigure = Figure()\nfigure.subplots().plot([1])\nfigure.savefig('f.png')",
    ],
    ids=["exists", "both", "stat", "joblib", "matplotlib"],
)
def test_a_look_at_a_file_is_no_reading(book: NotebookProject, code: str) -> None:
    for library in ("joblib", "matplotlib"):
        if library in code:
            pytest.importorskip(library)
    book.write(f"%%step a -o x\n{code}\nx = 1", f"%%step b -o y\n{code}\ny = 2")
    decisions(book, "--jobs", "1")
    decisions(book)
    assert decisions(book) == {"a": "reuse", "b": "reuse"}


@pytest.mark.parametrize(
    ("lists", "fault"),
    [("listdir('out')", True), ("listdir('other')", False), ("listdir('out') and os.system('true')", False)],
)
def test_a_listing_finds_what_another_step_writes(book: NotebookProject, lists: str, fault: bool) -> None:
    for name in ("out", "other"):
        (book.folder / name).mkdir(parents=True)
        (book.folder / name / "old.txt").write_text("1")
    book.write(f"%%step early -o x\nimport os\nx = os.{lists}", "%%step late\nopen('out/a.csv', 'w').write('2')")
    assert warnings(book, "--jobs", "1") == (["JP221"] if fault else [])
    book.edit("%%step late", "%%step late --after early")
    assert warnings(book) == []


def test_a_file_that_arrow_writes(book: NotebookProject) -> None:
    pytest.importorskip("pyarrow")
    book.environment["JUPYTER_PIPELINES_WATCH"] = "fanotify"
    book.write(
        f"%%step clean\nimport pyarrow as pa\nwith pa.OSFile({NAME}, 'wb') as file:\n    file.write(b'6')",
        TOTAL.format("", NAME),
    )
    assert first_fault(book, "--jobs", "1")[0] == "JP221"


def test_a_file_opened_by_an_unknown_process_is_no_conflict(book: NotebookProject, tmp_path: Path) -> None:
    # inotify does not tell which process opens a file: here it is the other step, which runs at the same time.
    book.environment["JUPYTER_PIPELINES_WATCH"] = "inotify"
    book.folder.mkdir(parents=True, exist_ok=True)
    (book.folder / "kept.txt").write_text("before")
    begun, ended = (f"''.join({list(str(tmp_path / name))!r})" for name in ("begun", "ended"))
    book.write(
        f"%%step other -o x\nimport os\nopen({begun}, 'w').close()\n"
        f"while not os.path.exists({ended}):\n    pass\nx = 1",
        f"%%step writer\nimport os\nwhile not os.path.exists({begun}):\n    pass\n"
        f"open('kept.txt', 'w').write('after')\nopen({ended}, 'w').close()",
    )
    ran = book.run("--jobs", "2")
    assert ran.code == 0, ran.err
    shown = book.call("why", "other", "--dependencies").out
    assert "kept.txt" in shown


def test_files_outside_that_the_code_names(book: NotebookProject, tmp_path: Path) -> None:
    shared = tmp_path / "elsewhere"
    shared.mkdir()
    book.write(f"%%step clean\nopen('{shared}/clean.csv', 'w').write('6')")
    decisions(book)
    assert decisions(book) == {"clean": "reuse"}
    (shared / "clean.csv").unlink()
    assert book.plan().reasons == {"clean": "output-missing"}


def test_items_are_named_by_their_step(book: NotebookProject) -> None:
    book.write(
        "%%step part --foreach n=1,2\nopen(f'part{n}.txt', 'w').write(str(n))",
        "%%step total -o t\nt = open('part' + str(1) + '.txt').read()",
    )
    ran = book.run("--jobs", "1")
    assert ran.code != 0
    assert "add `--after part` to the header of `total`" in ran.err


WRITERS = {
    "a shell line": "!echo 6 > clean.csv",
    "a program": "import subprocess\nsubprocess.run(['tee', 'clean.csv'], input=b'6')",
    "a pool": (
        "from concurrent.futures import ProcessPoolExecutor\nfrom multiprocessing import get_context\n"
        "from pathlib import Path\nwith ProcessPoolExecutor(1, get_context('fork')) as pool:\n"
        "    pool.submit(Path('clean.csv').write_text, '6').result()"
    ),
    "joblib": (
        "import joblib\nfrom pathlib import Path\n"
        "joblib.Parallel(n_jobs=2)(joblib.delayed(Path(p).write_text)('6') for p in ('clean.csv', 'other.csv'))"
    ),
    "a folder that gets its name at the end": (
        "import os, shutil\nfrom pathlib import Path\nos.makedirs('new/sub')\nPath('new/sub/x').write_text('6')\n"
        "shutil.rmtree('out', ignore_errors=True)\nos.rename('new', 'out')"
    ),
    "a log": "with open('results.log', 'w') as log:\n    log.write('6')",
    "a file of joblib's": (
        "import joblib, os\nos.makedirs('joblib', exist_ok=True)\njoblib.dump(6, 'joblib/model.joblib')"
    ),
}
WHERE = {
    "a folder that gets its name at the end": "out/sub/x",
    "a log": "results.log",
    "a file of joblib's": "joblib/model.joblib",
}


@pytest.mark.parametrize("way", WRITERS)
def test_an_undone_edit_of_a_writer_reaches_the_reader(book: NotebookProject, way: str) -> None:
    where = WHERE.get(way, "clean.csv")
    read = f"joblib.load('{where}')" if where.endswith(".joblib") else f"int(open('{where}').read())"
    total = f"%%step total -o t --after clean\nimport joblib\nt = {read}"
    for value in "676":
        book.write(f"%%step clean -o done\n{WRITERS[way].replace('6', value)}\ndone = True", total)
        decisions(book)
        assert book.value("total.t") == int(value)
    assert set(decisions(book).values()) == {"reuse"}


def test_a_file_that_a_program_wrote_is_gone(book: NotebookProject) -> None:
    book.write("%%step clean -o done\n!echo 6 > clean.csv\ndone = True")
    decisions(book)
    assert written(book, "clean") == ["clean.csv"]
    (book.folder / "clean.csv").unlink()
    text = "file `clean.csv`, which it or its programs may have written, is missing now"
    assert book.plan().steps("reason")["clean"] == {"code": "output-missing", "text": text, "details": []}
    decisions(book)
    assert (book.folder / "clean.csv").read_text() == "6\n"


def test_a_log_of_every_step_makes_none_of_them_run_again(book: NotebookProject) -> None:
    setup = "%%setup\nimport logging\nlogging.basicConfig(filename='run.log', filemode='w', level=logging.INFO)"
    book.write(setup, *(f"%%step {name} -o {name}_done\nlogging.info('{name}')\n{name}_done = 1" for name in "ab"))
    assert set(decisions(book).values()) == {"run"}
    assert set(decisions(book).values()) == {"reuse"}


def test_calls_that_joblib_remembers_stand_in_no_step_s_way(book: NotebookProject) -> None:
    setup = "%%setup\nfrom joblib import Memory\n@Memory('cache', verbose=0).cache\ndef square(x):\n    return x * x"
    book.write(setup, *(f"%%step {name} -o {name}_y\n{name}_y = square(3)" for name in "ab"))
    assert set(decisions(book).values()) == {"run"}
    assert set(decisions(book).values()) == {"reuse"}
