"""What the log of a kernel holds after a piece of code: run in a process of its own, since a hook stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.pipeline.changing_variables import READ_BY_PYTHON

PROGRAM = """
import json, os, sys
from pathlib import Path
from jupyter_pipelines.execution.kernel_side.tracing import step_trace
root = os.getcwd()
step_trace.begin({"root": root, "left_out": [root + "/store"], "outside": sys.argv[1:]})
CODE
step_trace.finish(Path(root))
"""


def logged(
    folder: Path, code: str, *outside: str, watch: str = "fanotify", script: Path | None = None
) -> dict[str, Any]:
    """Return the log of `code`, with paths relative to the folder."""
    script = script or folder.parent / "program.py"
    script.write_text(PROGRAM.replace("CODE", textwrap.dedent(code)))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder.parent / "home"), "JUPYTER_PIPELINES_WATCH": watch}
    command = [sys.executable, str(script), *outside]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=120)
    text = (folder / "trace.json").read_text().replace(f"{folder}/", "").replace(str(folder), ".")
    return dict(json.loads(text))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "store").mkdir()
    (folder / "data" / "a.csv").write_text("1")
    (folder / "store" / "blob").write_text("1")
    return folder


@pytest.mark.parametrize(
    ("code", "field", "expected"),
    [
        ("open('data/a.csv').read()", "read", ["data/a.csv"]),
        ("os.close(os.open('data/a.csv', os.O_RDONLY))", "read", ["data/a.csv"]),
        ("os.chdir('data'); open('a.csv').read()", "read", ["data/a.csv"]),
        ("open(b'data/a.csv').read()", "read", ["data/a.csv"]),
        ("import enum\nclass F(str, enum.Enum): A = 'data/a.csv'\nopen(F.A).read()", "read", ["data/a.csv"]),
        ("d = os.open('data', os.O_RDONLY); os.close(os.open('a.csv', os.O_RDONLY, dir_fd=d))", "read", ["data/a.csv"]),
        ("import sqlite3; sqlite3.connect('file:data/a.csv?mode=ro', uri=True)", "read", ["data/a.csv"]),
        ("import contextlib\nwith contextlib.suppress(OSError): open('none')", "read", ["none"]),
        ("open('store/blob').read()", "read", []),
        ("open('new', 'w').write('1'); open('new').read()", "read", []),
        ("open('log', 'a').write('1')", "read", []),
        ("open('new', 'w').write('1')", "written", ["new"]),
        ("os.mkdir('out'); os.listdir('out')", "written", ["out"]),
        ("os.replace('data/a.csv', 'b.csv')", "written", ["data/a.csv", "b.csv"]),
        ("os.listdir('data')", "listed", ["data"]),
        ("list(os.scandir('data'))", "listed", ["data"]),
        ("list(Path('data').iterdir())", "listed", ["data"]),
        ("list(os.walk('data'))", "listed", ["data"]),
        ("next(os.scandir('data')).name", "asked", []),
        ("[os.fspath(entry) for entry in os.scandir('data') if isinstance(entry, os.DirEntry)]", "listed", ["data"]),
        ("os.access('data/a.csv', os.X_OK); os.access('none', os.F_OK)", "rights", [["data/a.csv", os.X_OK]]),
        ("os.access('data/a.csv', os.X_OK); os.access('none', os.F_OK)", "asked", ["none"]),
        ("import importlib.util, sys; sys.path[:0] = ['']; importlib.util.find_spec('none')", "searched", ["."]),
        ("import pkgutil; list(pkgutil.iter_modules())", "listed", []),
        ("import importlib.metadata; importlib.metadata.version('pip')", "listed", []),
        ("os.path.exists('none')", "asked", ["none"]),
        ("Path('none').exists()", "asked", ["none"]),
        ("os.makedirs('data', exist_ok=True); os.listdir('data')", "listed", ["data"]),
        ("os.path.exists('store/none')", "asked", []),
        (
            "import shutil; shutil.copytree('data', 'out'); shutil.rmtree('out'); open('data/a.csv').read()",
            "read",
            ["data/a.csv"],
        ),
        ("import glob; glob.glob('*.csv', root_dir='data')", "globbed", [["glob", "*.csv", "data", ""]]),
        ("os.rename('data/a.csv', 'b.csv')", "problems", ["rewritten\0data/a.csv"]),
        ("Path('link').symlink_to('data'); Path('link').resolve()", "links", []),
        (
            "import contextlib\nwith contextlib.suppress(OSError): open('data/a.csv', 'x')\nopen('data/a.csv').read()",
            "read",
            ["data/a.csv"],
        ),
        ("import shutil; shutil.rmtree('data')", "problems", []),
    ],
)
def test_what_is_logged(folder: Path, code: str, field: str, expected: Any) -> None:
    log = logged(folder, code)
    assert list(log[field]) == expected


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("os.path.exists('data/a.csv')", "kind"),
        ("Path('data/a.csv').is_file()", "kind"),
        ("os.path.getsize('data/a.csv')", "size"),
        ("os.path.getmtime('data/a.csv')", "times"),
        ("Path('data/a.csv').stat()", "status"),
        ("os.stat('data/a.csv')", "status"),
        ("import filecmp; filecmp.cmp('data/a.csv', 'data/a.csv', shallow=True)", "status"),
        ("next(os.scandir('data')).stat()", "status"),
        ("next(os.scandir('data')).is_file()", "kind"),
        ("[entry.is_dir() for entry in os.scandir('data')]", "kind"),
        ("file = open('data/a.csv'); os.fstat(file.fileno())", "status"),
        ("file = open('data/a.csv'); os.stat(file.fileno())", "status"),
        ("os.path.getmtime(os.open('data/a.csv', os.O_RDONLY))", "times"),
        ("os.path.samefile('data/a.csv', 'data')", "kind"),
    ],
)
def test_what_is_asked_of_a_file(folder: Path, code: str, kind: str) -> None:
    """Where the user's own code asks; the program lies in the project for that."""
    assert logged(folder, code, script=folder / "program.py")["asked"]["data/a.csv"][0] == kind


def test_a_link_that_is_followed(folder: Path) -> None:
    (folder / "latest").symlink_to("data")
    assert logged(folder, "Path('latest').resolve()")["links"] == ["latest"]
    assert logged(folder, "open('latest/a.csv').read()")["links"] == ["latest"]


@pytest.mark.parametrize("code", ["os.path.samefile('latest/b.csv', 'data')", "Path('latest/b.csv').samefile('data')"])
def test_links_of_a_file_that_is_compared_with_another_count(folder: Path, code: str) -> None:
    (folder / "latest").symlink_to("data")
    (folder / "data" / "b.csv").symlink_to("a.csv")
    assert set(logged(folder, code)["links"]) == {"latest", "latest/b.csv"}


def test_an_open_file_of_the_step_s_own_and_one_that_a_library_asks_about(folder: Path) -> None:
    files = "open('new', 'w'), open('log', 'a'), open('store/blob')"
    assert logged(folder, f"for f in ({files}): os.fstat(f.fileno())", script=folder / "program.py")["asked"] == {}
    assert logged(folder, "file = open('data/a.csv'); os.fstat(file.fileno())")["asked"] == {}


@pytest.mark.parametrize(
    "number", ["os.pipe()[0]", "(file := tempfile.TemporaryFile()).fileno()", "os.memfd_create('m')"]
)
def test_an_open_file_without_a_path_is_no_dependency(folder: Path, number: str) -> None:
    code = f"import tempfile\nos.fstat({number}); os.stat({number})"
    assert logged(folder, code, script=folder / "program.py")["asked"] == {}


def test_the_log_leaves_sockets_as_they_are(folder: Path) -> None:
    code = """
        import socket
        left, right = socket.socketpair()
        socket.setdefaulttimeout(5)
        step_trace.finish(Path(root))
        Path("blocks").write_text(str([os.get_blocking(end.fileno()) for end in (left, right)]))
        step_trace.note(on=True)
    """
    logged(folder, code)
    assert (folder / "blocks").read_text() == "[True, True]"


def test_a_folder_that_a_link_leads_to_is_watched(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.csv").write_text("1")
    (folder / "linked").symlink_to(elsewhere)
    code = "import ctypes; ctypes.CDLL(None).fopen(b'linked/b.csv', b'r')"
    assert list(logged(folder, code)["read"]) == ["linked/b.csv"]


def test_c_code_that_reads_a_file_which_python_then_writes(folder: Path) -> None:
    code = "import ctypes; ctypes.CDLL(None).fopen(b'data/a.csv', b'r'); open('data/a.csv', 'w').write('2')"
    assert logged(folder, code)["problems"] == ["rewritten\0data/a.csv"]


def test_a_file_that_is_read_and_then_written_is_a_problem(folder: Path) -> None:
    code = "text = open('data/a.csv').read()\nopen('data/a.csv', 'w').write(text)"
    assert logged(folder, code)["problems"] == ["rewritten\0data/a.csv"]
    (folder / "data" / "a.csv").write_text("1")
    assert logged(folder, "open('data/a.csv', 'r+').read()")["problems"] == ["rewritten\0data/a.csv"]


@pytest.mark.parametrize("watch", ["fanotify", "inotify"])
def test_what_c_code_opens_is_seen(folder: Path, watch: str) -> None:
    code = """
    import ctypes
    libc = ctypes.CDLL(None)
    libc.fclose.argtypes = [ctypes.c_void_p]
    libc.fopen.restype = ctypes.c_void_p
    libc.fclose(libc.fopen(b"data/a.csv", b"r"))
    libc.closedir.argtypes = [ctypes.c_void_p]
    libc.opendir.restype = ctypes.c_void_p
    libc.closedir(libc.opendir(b"data"))
    """
    log = logged(folder, code, watch=watch)
    assert (list(log["read"]), list(log["listed"])) == (["data/a.csv"], ["data"])
    assert log["unwatched"] == ""
    assert list(logged(folder, code, watch="none")["read"]) == []


def test_what_c_code_opens_elsewhere_is_seen_where_it_is_named(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.csv").write_text("1")
    code = f"""
    import ctypes
    libc = ctypes.CDLL(None)
    libc.fopen({str(elsewhere / "b.csv")!r}.encode(), b"r")
    """
    assert list(logged(folder, code, str(elsewhere / "b.csv"))["read"]) == [str(elsewhere / "b.csv")]
    assert list(logged(folder, code, str(elsewhere))["read"]) == [str(elsewhere / "b.csv")]


def test_children_count_only_if_there_are_any(folder: Path) -> None:
    code = "import subprocess; subprocess.run(['cat', 'data/a.csv'])"
    assert list(logged(folder, code)["read"]) == ["data/a.csv"]


def test_variables_count_with_the_value_that_was_there_first(folder: Path) -> None:
    code = """
    os.environ["SET"] = "1"
    os.environ["SET"], os.environ.get("NONE"), "ASKED" in os.environ, os.getenv("LIST"), os.environ.get("JPY_X")
    os.environ["NONE"] = "1"
    """
    variables = logged(folder, code)["environment"]
    always = ["LC_ALL", "LC_COLLATE", "LC_NUMERIC", "LC_TIME", "TZ", *READ_BY_PYTHON]
    assert variables == dict.fromkeys([*always, "NONE", "ASKED", "LIST"])


def test_the_backend_counts_where_matplotlib_is_loaded(folder: Path) -> None:
    """It is read as matplotlib is imported, which may have been before the step."""
    assert "MPLBACKEND" not in logged(folder, "")["environment"]
    assert logged(folder, "sys.modules['matplotlib'] = sys")["environment"]["MPLBACKEND"] is None


def test_the_functions_of_os_are_what_they_were(folder: Path) -> None:
    code = """
    import pickle, shutil
    assert os.stat("data", follow_symlinks=False).st_mode and os.stat(path="data")
    assert os.access("data", os.R_OK) and os.access(path="data", mode=os.R_OK)
    assert os.stat in os.supports_dir_fd and os.open in os.supports_dir_fd and os.stat in os.supports_follow_symlinks
    os.close(os.open(path="data/a.csv", flags=os.O_RDONLY))
    assert dict(os.environ) == os.environ.copy() and (os.environ | {"A": "1"})["A"] == "1"
    assert list(os.environ) == list(os.environ.keys()) and os.environb[b"HOME"]
    try:
        os.environ["NONE"]
    except KeyError as error:
        assert error.args == ("NONE",)
    shutil.copytree("data", "copy")
    shutil.rmtree("copy")
    assert not os.path.exists("copy")
    """
    assert logged(folder, code)["problems"] == []


SEARCH = """
import sys, threading
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
def search():
    FileFinder(root, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec("none")
"""


def test_what_other_threads_list_to_find_modules_does_not_count(folder: Path) -> None:
    code = f"""{SEARCH}
sys.setswitchinterval(1e-6)
def search_on():
    while not ended:
        search()
ended = []
threads = [threading.Thread(target=search_on) for _ in range(2)]
for thread in threads:
    thread.start()
for number in range(2000):
    open(f"{{root}}/new{{number % 7}}", "w").close()
ended.append(True)
for thread in threads:
    thread.join()
"""
    assert logged(folder, code)["listed"] == {}


def test_a_child_lists_a_folder_in_which_modules_were_looked_for(folder: Path) -> None:
    code = f"""{SEARCH}
import subprocess
subprocess.run(["true"])
search()
subprocess.run([sys.executable, "-c", "import os; os.listdir('.')"])
"""
    assert list(logged(folder, code)["listed"]) == ["."]
