"""What a step asked of files and of the environment is watched, and asked again before its result is reused."""

from __future__ import annotations

import os
import py_compile
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject
from tests.waiting import PATIENCE

WATCHES = ["fanotify", "inotify", "none"]


def rerun_reason(book: NotebookProject, step: str = "a") -> tuple[str, str]:
    """Return code and text of the reason why a step would run."""
    planned = book.plan()
    assert planned.steps("decision")[step] == "run"
    reason = planned.steps("reason")[step]
    return reason["code"], reason["text"]


def run_twice(book: NotebookProject) -> None:
    assert book.run().code == 0
    assert set(book.run().steps("decision").values()) == {"reuse"}


def test_a_file_under_a_computed_name(book: NotebookProject) -> None:
    book.write("%%step a -o x\nx = open('atad'[::-1] + '.txt').read()")
    data = book.folder / "data.txt"
    data.write_text("1")
    run_twice(book)
    data.write_text("2")
    assert rerun_reason(book) == ("file", "file `data.txt`, which it read, changed")
    assert book.run().code == 0
    assert book.value("a.x") == "2"
    data.write_text("1")
    assert book.plan().steps("decision") == {"a": "reuse"}
    assert book.run().steps("decision") == {"a": "reuse"}
    assert book.value("a.x") == "1"
    data.unlink()
    assert rerun_reason(book) == ("file", "file `data.txt`, which it read, is missing now")


@pytest.mark.parametrize("watch", ["fanotify", "inotify"])
def test_a_file_that_is_not_opened_by_python(book: NotebookProject, watch: str) -> None:
    pytest.importorskip("pyarrow")
    book.environment["JUPYTER_PIPELINES_WATCH"] = watch
    book.write("%%step a -o x\nimport pyarrow as pa\nx = pa.memory_map('atad'[::-1] + '.txt').read().decode()")
    (book.folder / "data.txt").write_text("1")
    run_twice(book)
    (book.folder / "data.txt").write_text("2")
    assert rerun_reason(book) == ("file", "file `data.txt`, which it read, changed")


def test_a_file_that_a_child_reads(book: NotebookProject) -> None:
    book.write("%%step a -o x\nimport subprocess, sys\nx = subprocess.check_output([sys.executable, 'script.py'])")
    (book.folder / "script.py").write_text("print(open('atad'[::-1] + '.txt').read())")
    (book.folder / "data.txt").write_text("1")
    run_twice(book)
    (book.folder / "data.txt").write_text("2")
    assert rerun_reason(book) == ("file", "file `data.txt`, which it read, changed")


def test_what_others_open_is_not_the_step_s(book: NotebookProject) -> None:
    """Without child processes, no other process counts."""
    book.write(
        "%%step a -o x\nimport time\nfrom pathlib import Path\nPath('begun').touch()\n"
        "while not Path('go').exists():\n    time.sleep(0.01)\nPath('seen').touch()\nPath('seen too').touch()\nx = 1"
    )
    running = book.start("run", "--json")
    while not (book.folder / "begun").exists():
        assert running.poll() is None
    (book.folder / "notes.txt").write_text("1")
    (book.folder / "notes.txt").read_text()
    list(book.folder.iterdir())
    (book.folder / "made" / "meanwhile").mkdir(parents=True)
    (book.folder / "go").touch()
    _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    asked = book.call("why", "a", "--dependencies", "--json").document["trace"]["files"]
    assert sorted(entry["path"] for entry in asked) == ["go"]


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize(
    ("code", "change", "reason"),
    [
        (
            "x = Path('enon'[::-1] + '.txt').exists()",
            lambda folder: (folder / "none.txt").touch(),
            ("file", "file `none.txt`, which it looked for, is there now"),
        ),
        (
            "x = sorted(os.listdir('atad'[::-1]))",
            lambda folder: (folder / "data" / "b").touch(),
            ("file", "the names in folder `data`, which it listed, changed"),
        ),
        (
            "x = sorted(name for _, _, names in os.walk('atad'[::-1]) for name in names)",
            lambda folder: (folder / "data" / "a").unlink() or (folder / "data" / "a").mkdir(),
            ("file", "the names in folder `data`, which it listed, changed"),
        ),
        (
            "x = sorted(glob.glob('atad'[::-1] + '/*.csv'))",
            lambda folder: (folder / "data" / "b.csv").touch(),
            ("file", "the files that fit `data/*.csv` changed"),
        ),
        (
            "x = sorted(map(str, Path('atad'[::-1]).glob('*.csv')))",
            lambda folder: (folder / "data" / "b.csv").touch(),
            ("file", "the files that fit `data/*.csv` changed"),
        ),
        (
            "x = os.path.getsize('atad'[::-1] + '/a')",
            lambda folder: (folder / "data" / "a").write_text("longer"),
            ("file", "size or time of file `data/a`, which it asked for, changed"),
        ),
        (
            "x = os.access('atad'[::-1] + '/a', os.X_OK)",
            lambda folder: (folder / "data" / "a").chmod(0o755),
            ("file", "the permissions of `data/a`, which it asked for, changed"),
        ),
        (
            "x = os.stat('atad'[::-1] + '/a').st_mode",
            lambda folder: (folder / "data" / "a").chmod(0o755),
            ("file", "the permissions of `data/a`, which it asked for, changed"),
        ),
        (
            "x = [entry.stat().st_size for entry in os.scandir('atad'[::-1])]",
            lambda folder: (folder / "data" / "a").write_text("longer"),
            ("file", "size or time of file `data/a`, which it asked for, changed"),
        ),
        (
            "x = [entry.is_dir() for entry in os.scandir('atad'[::-1])]",
            lambda folder: (folder / "data" / "a").unlink() or (folder / "data" / "a").mkdir(),
            (
                "file",
                "the names in folder `data`, which it listed, changed, `data/a`, which it looked at, is a folder now",
            ),
        ),
        (
            "x = importlib.util.find_spec('repleh'[::-1] + '_2') is not None",
            lambda folder: (folder / "helper_2.py").touch(),
            ("module", "what is imported as `helper_2` changed"),
        ),
        (
            "sys.path[:0] = ['first']\nx = pkgutil.resolve_name('repleh'[::-1] + ':VALUE')",
            lambda folder: (folder / "first").mkdir() or (folder / "first" / "helper.py").write_text("VALUE = 2"),
            ("file", "folder `first`, which it looked for, is there now"),
        ),
        (
            "x = pkgutil.resolve_name('repleh'[::-1] + ':VALUE')",
            lambda folder: (folder / "helper.py").write_text("VALUE = 2"),
            ("module", "module file `helper.py`, which it imported, changed"),
        ),
    ],
)
def test_what_is_asked_of_files(
    book: NotebookProject, watch: str, code: str, change: object, reason: tuple[str, str]
) -> None:
    book.environment["JUPYTER_PIPELINES_WATCH"] = watch
    book.write("import glob, importlib.util, os, pkgutil, sys\nfrom pathlib import Path", f"%%step a -o x\n{code}")
    (book.folder / "data").mkdir()
    (book.folder / "data" / "a").write_text("a")
    (book.folder / "helper.py").write_text("VALUE = 1")
    run_twice(book)
    assert callable(change)
    change(book.folder)
    assert rerun_reason(book) == reason
    assert book.run().code == 0
    assert set(book.run().steps("decision").values()) == {"reuse"}


def test_a_glob_counts_what_fits_it(book: NotebookProject) -> None:
    book.write("import glob", "%%step a -o x\nx = sorted(glob.glob('atad'[::-1] + '/*.csv'))")
    (book.folder / "data").mkdir()
    run_twice(book)
    (book.folder / "data" / "notes.txt").touch()
    assert book.plan().steps("decision") == {"a": "reuse"}


def test_an_environment_variable(book: NotebookProject) -> None:
    book.write("%%step a -o x\nimport os\nx = os.environ.get('SPEED')")
    run_twice(book)
    book.environment["SPEED"] = "fast"
    assert rerun_reason(book) == ("environment-variable", "environment variable `SPEED` is set now")
    run_twice(book)
    book.environment["SPEED"] = "slow"
    assert rerun_reason(book) == ("environment-variable", "environment variable `SPEED` changed")
    stored = [path.read_text() for path in (book.folder / ".pipelines" / "records").rglob("*.json")]
    assert [text for text in stored if "fast" in text] == []
    book.environment["SPEED"] = "fast"
    assert book.plan().steps("decision") == {"a": "reuse"}


@pytest.mark.parametrize("code", ["dict(os.environ).get('SPEED')", "os.environ.copy().get('SPEED')", "settings.SPEED"])
def test_a_variable_among_all(book: NotebookProject, code: str) -> None:
    """The folder has a name that begins like those of packages that start programs."""
    project = NotebookProject(book.folder / "jupyter" / "git", environment={"SPEED": "slow"})
    project.write("import os, settings", f"%%step a -o x\nx = {code}")
    (project.folder / "settings.py").write_text("import os\nSPEED = {**os.environ}.get('SPEED')\n")
    assert project.run().code == 0
    project.environment["SPEED"] = "fast"
    code_of_reason, text = rerun_reason(project)
    assert (code_of_reason, text) == ("environment-variable", "environment variable `SPEED` changed")


def test_the_names_of_all_variables(book: NotebookProject) -> None:
    book.write("import os", "%%step a -o x\nx = sorted(name for name in os.environ if name.startswith('SPEED'))")
    run_twice(book)
    book.environment["JPY_NEW"] = book.environment["SSH_NEW"] = "1"
    assert book.plan().steps("decision") == {"a": "reuse"}
    book.environment["SPEED_LIMIT"] = "1"
    text = "other environment variables are set, and it asked for the names of all"
    assert rerun_reason(book) == ("environment-variable", text)


def test_a_variable_that_the_step_sets_is_its_own(book: NotebookProject) -> None:
    book.write("%%step a -o x\nimport os\nos.environ['SPEED'] = 'fast'\nx = os.environ['SPEED']")
    run_twice(book)
    book.environment["SPEED"] = "slow"
    assert book.plan().steps("decision") == {"a": "reuse"}


def test_a_file_that_the_step_writes_first_is_no_input(book: NotebookProject) -> None:
    book.write("%%step a -o x\nname = 'hctarcs'[::-1] + '.txt'\nopen(name, 'w').write('1')\nx = open(name).read()")
    run_twice(book)
    (book.folder / "scratch.txt").write_text("2")
    assert rerun_reason(book) == ("output-missing", "file `scratch.txt`, which it wrote, is not what it wrote any more")
    assert book.run().steps("state") == {"a": "succeeded"}
    assert book.plan().steps("decision") == {"a": "reuse"}


def test_a_file_that_the_step_reads_and_rewrites_is_never_reused(book: NotebookProject) -> None:
    book.write(
        "%%step a -o x\nname = 'tnuoc'[::-1] + '.txt'\nx = int(open(name).read())\nopen(name, 'w').write(str(x + 1))"
    )
    (book.folder / "count.txt").write_text("1")
    assert book.run().code == 0
    code, text = rerun_reason(book)
    assert code == "unwatched"
    assert text == "what it read cannot be determined: it wrote to `count.txt`, which it had read"
    assert book.run().code == 0
    assert book.value("a.x") == 2


def test_a_file_that_changes_while_the_step_runs_makes_no_trace(book: NotebookProject) -> None:
    book.write(
        "%%step a -o x\nimport time\nfrom pathlib import Path\nx = Path('atad'[::-1] + '.txt').read_text()\n"
        "Path('begun').touch()\nwhile not Path('go').exists():\n    time.sleep(0.01)"
    )
    (book.folder / "data.txt").write_text("1")
    running = book.start("run", "--json")
    while not (book.folder / "begun").exists():
        assert running.poll() is None
    (book.folder / "data.txt").write_text("2")
    (book.folder / "go").touch()
    _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    code, text = rerun_reason(book)
    assert code == "unwatched"
    assert text == "what it read cannot be determined: file `data.txt` changed while the step ran"


def test_a_module_that_was_edited_within_a_second_and_keeps_its_size(book: NotebookProject) -> None:
    """Python would run the code that it compiled before."""
    book.write("import helper", "%%step a -o x\nx = helper.VALUE")
    for value in range(10):
        path = book.folder / "helper.py"
        path.write_text(f"VALUE = {value}")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        assert book.run().code == 0
        assert book.value("a.x") == value
    assert not (book.folder / "__pycache__").exists()


LOADED_ELSEWHERE = {
    "script": "import subprocess, sys\nX = int(subprocess.check_output([sys.executable, 'script.py']))",
    "module": "import subprocess, sys\nX = int(subprocess.check_output([sys.executable, '-m', 'main']))",
    "spawned": "import multiprocessing as mp, worker\nwith mp.get_context('spawn').Pool(1) as p:\n"
    "    X, = p.map(worker.work, [0])",
    "spec": "from importlib.util import module_from_spec, spec_from_file_location\n"
    "s = spec_from_file_location('of_spec', 'of_spec.py')\nm = module_from_spec(s)\ns.loader.exec_module(m)\n"
    "X = m.VALUE",
    "loader": "from importlib.machinery import SourceFileLoader\n"
    "X = SourceFileLoader('of_loader', 'of_loader.py').load_module().VALUE",
}
"""Ways to load a module past the kernel's own import."""


def loading_step(step: str) -> str:
    return f"%%step {step} -o of_{step}\n{LOADED_ELSEWHERE[step].replace('X', f'of_{step}')}"


def write_modules(book: NotebookProject, value: int) -> None:
    """Write a module for each step; neither the size nor the time of modification depends on the value."""
    for step in LOADED_ELSEWHERE:
        path = book.folder / f"of_{step}.py"
        path.write_text(f"VALUE = {value}\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))


def values_elsewhere(book: NotebookProject) -> set[int]:
    return {book.value(f"{step}.of_{step}") for step in LOADED_ELSEWHERE}


def write_loading_steps(book: NotebookProject) -> None:
    """Write the notebook, a module for each step, and compile the modules."""
    book.environment["PYTHONDONTWRITEBYTECODE"] = ""
    book.write(*(loading_step(step) for step in LOADED_ELSEWHERE))
    (book.folder / "script.py").write_text("import of_script\nprint(of_script.VALUE)")
    (book.folder / "main.py").write_text("import of_module\nprint(of_module.VALUE)")
    (book.folder / "worker.py").write_text(
        "from importlib import import_module\ndef work(_):\n    return import_module('denwaps_fo'[::-1]).VALUE"
    )
    write_modules(book, 1)
    compile_modules(book)


def compile_modules(book: NotebookProject) -> None:
    for step in LOADED_ELSEWHERE:
        py_compile.compile(str(book.folder / f"of_{step}.py"), doraise=True)


@pytest.mark.parametrize("watch", ["fanotify", "none"])
def test_a_compiled_copy_never_stands_for_an_edited_module(book: NotebookProject, watch: str) -> None:
    """Neither in child processes nor for loaders that are called by name."""
    book.environment["JUPYTER_PIPELINES_WATCH"] = watch
    write_loading_steps(book)
    assert book.run().code == 0
    assert values_elsewhere(book) == {1}
    compile_modules(book)  # a kernel that starts right after the edit of a module drops what children compiled
    copies = {f"of_{step}" for step in LOADED_ELSEWHERE}
    assert {path.name.partition(".")[0] for path in book.folder.glob("__pycache__/*.pyc")} >= copies
    write_modules(book, 2)
    planned = book.plan()
    assert set(planned.steps("decision").values()) == {"run"}
    if watch == "fanotify":
        reasons = dict.fromkeys(LOADED_ELSEWHERE, "file") | {"spec": "module", "loader": "module"}
        assert planned.reasons == reasons
    assert book.run().code == 0
    assert values_elsewhere(book) == {2}
    again = book.run()
    assert again.code == 0
    if watch == "fanotify":
        assert again.steps("decision") == dict.fromkeys(LOADED_ELSEWHERE, "reuse") | {"module": "run"}
    assert values_elsewhere(book) == {2}


def test_a_module_that_is_compiled_and_edited_while_the_step_runs(book: NotebookProject) -> None:
    """The step may have run the old code: its result is not reused, and the next run has the new value."""
    book.environment["PYTHONDONTWRITEBYTECODE"] = ""
    waiting = "import time\nfrom pathlib import Path\nPath('begun').touch()\nwhile not Path('go').exists():\n"
    step, _, code = loading_step("spec").partition("\n")
    book.write(f"{step}\n{waiting}    time.sleep(0.01)\n{code}")
    write_modules(book, 1)
    running = book.start("run", "--json")
    while not (book.folder / "begun").exists():
        assert running.poll() is None
    py_compile.compile(str(book.folder / "of_spec.py"), doraise=True)
    write_modules(book, 2)
    (book.folder / "go").touch()
    _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    assert book.value("spec.of_spec") == 1
    code, text = rerun_reason(book, "spec")
    assert code == "unwatched"
    assert text.endswith("Python has compiled `of_spec.py`, and does not notice that it was edited since")
    assert book.run().code == 0
    assert book.value("spec.of_spec") == 2


def test_a_link_counts_with_what_it_leads_to(book: NotebookProject, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data.txt").write_text("1")
    book.write("%%step a -o x\nimport pyarrow as pa\nx = pa.memory_map('knil'[::-1] + '.txt').read().decode()")
    (book.folder / "link.txt").symlink_to(elsewhere / "data.txt")
    run_twice(book)
    (elsewhere / "data.txt").write_text("2")
    assert rerun_reason(book) == ("file", "file `link.txt`, which it read, changed")


def test_a_record_without_a_trace_runs_once_more(book: NotebookProject) -> None:
    book.write("%%step a -o x\nx = 1")
    assert book.run().code == 0
    from jupyter_pipelines.storage.opening import open_store

    store = open_store(book.folder / ".pipelines")
    from dataclasses import replace

    (key,) = store.records.all_keys()
    record = store.records.get(key)
    assert record is not None
    store.records.put(replace(record, trace=None))
    assert rerun_reason(book) == ("untraced", "what it reads is not known yet: its stored result is older than traces")
    run_twice(book)


@pytest.mark.parametrize(
    ("ask", "edit"),
    [
        ("os.path.exists('new.txt')", "new.txt"),
        ("os.path.getsize('data.txt')", "data.txt"),
        ("os.access('new.txt', os.F_OK)", "new.txt"),
        ("os.access('new.txt', os.R_OK)", "new.txt"),
        ("open(os.path.dirname(os.getcwd()) + '/out' + 'side.txt').read()", "../outside.txt"),
        ("sum(entry.stat().st_size for entry in os.scandir('atad'[::-1]))", "data/a.txt"),
    ],
)
def test_what_a_forked_worker_asks_counts(book: NotebookProject, ask: str, edit: str) -> None:
    """But what it makes itself is no question."""
    (book.folder / "data").mkdir(parents=True)
    for name in ("data.txt", "data/a.txt", "../outside.txt"):
        (book.folder / name).write_text("1")
    work = "os.path.exists('made.txt') or open('made.txt', 'w').write('1')\n"
    work += "    with tempfile.TemporaryDirectory() as folder:\n"
    work += "        open(f'{folder}/a', 'w').write('1'); shutil.copy(f'{folder}/a', f'{folder}/b')\n"
    work += "        os.makedirs(f'{folder}/deep/er'); os.path.getsize(f'{folder}/b')\n"
    work += (
        "    os.makedirs('out/0/deep', exist_ok=True); open('out/0/deep/x', 'w').write('1'); os.stat('out/0/deep/x')"
    )
    code = f"def ask(_):\n    {work}\n    return {ask}\n"
    code += "with mp.get_context('fork').Pool(2) as pool, mp.Manager():\n    x = pool.map(ask, [1])"
    book.write("import os, shutil, tempfile, multiprocessing as mp", f"%%step a -o x\n{code}")
    run_twice(book)
    (book.folder / edit).write_text("12345")
    assert rerun_reason(book)[0] == "file"


def test_a_file_that_is_opened_to_append_and_read(book: NotebookProject) -> None:
    (book.folder / "data.txt").write_text("1")
    code = "name = 'atad'[::-1] + '.txt'\nfile = open(name, 'a+'); file.seek(0); x = file.read()"
    book.write(f"%%step a -o x\n{code}")
    run_twice(book)
    (book.folder / "data.txt").write_text("2")
    assert rerun_reason(book)[0] == "file"


def test_a_file_that_is_read_through_a_new_link(book: NotebookProject, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    code = "folder = os.path.dirname(os.getcwd()) + '/elsewhere/'\n"
    for name, source in (("plain", "folder + 'plain'"), ("near", "os.path.relpath(folder + 'near')")):
        (tmp_path / "elsewhere" / name).write_text("1")
        code += f"os.symlink({source}, '{name}.link'); {name} = open('{name}.link').read(); os.remove('{name}.link')\n"
    book.write("import os", f"%%step a -o plain near\n{code}")
    run_twice(book)
    for number, name in enumerate(("plain", "near"), start=2):
        (tmp_path / "elsewhere" / name).write_text(str(number))
        assert rerun_reason(book)[0] == "file"
        assert book.run().code == 0
        assert book.value(f"a.{name}") == str(number)


def test_a_file_that_is_read_by_a_second_name(book: NotebookProject) -> None:
    """A new link changes the status of the file, so the step runs every time."""
    (book.folder / "data.txt").write_text("1")
    code = "name = 'atad'[::-1] + '.txt'\nos.link(name, 'same.txt'); x = open('same.txt').read(); os.remove('same.txt')"
    book.write("import os", f"%%step a -o x\n{code}")
    assert book.run().code == 0
    assert rerun_reason(book)[0] == "unwatched"
