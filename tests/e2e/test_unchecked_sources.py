"""What a step gets from the network and from programs cannot be checked, or is checked by the files they opened."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

ASK = "import urllib.request\nx = urllib.request.urlopen('http://127.0.0.1:{}/d.csv').read().decode()"

ASK_CHILD = "x = subprocess.check_output([sys.executable, '{}'])"


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Serve a folder on this machine; yield the port and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "d.csv").write_text("a\n1\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield httpd.server_port, folder
        httpd.shutdown()
        thread.join()


def reason(book: NotebookProject, step: str = "a") -> tuple[str, str]:
    """Return code and text of the reason why a step would run."""
    planned = book.plan()
    assert planned.steps("decision")[step] == "run"
    reason = planned.steps("reason")[step]
    return reason["code"], reason["text"]


def decision(book: NotebookProject) -> str:
    return str(book.plan().steps("decision")["a"])


def test_what_a_server_gave_is_asked_for_again(book: NotebookProject, server: tuple[int, Path]) -> None:
    port, folder = server
    book.write("%%step a -o x\n" + ASK.format(port))
    assert book.run().code == 0
    assert reason(book) == ("network", f"it connected to `127.0.0.1:{port}`")
    (folder / "d.csv").write_text("a\n1\n2\n")
    assert book.run().code == 0
    assert book.value("a.x") == "a\n1\n2\n"
    assert book.call("why", "a", "--dependencies", "--json").document["trace"]["hosts"] == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize("option", ["--cache-for 1d", "--cache-for forever"])
def test_a_result_is_accepted_as_long_as_declared(book: NotebookProject, server: tuple[int, Path], option: str) -> None:
    port, _ = server
    book.write(f"%%step a -o x {option}\n" + ASK.format(port))
    assert book.run().code == 0
    planned = book.plan()
    assert planned.steps("decision") == {"a": "reuse"}
    limit = "as long as nothing else changes" if "forever" in option else "until "
    assert any(f"accepted {limit}" in line for line in planned.steps("reason")["a"]["details"])


def test_a_result_is_no_longer_accepted_when_its_time_is_over(book: NotebookProject, server: tuple[int, Path]) -> None:
    port, _ = server
    book.write("%%step a -o x\n#| cache-for: 1s\n" + ASK.format(port))
    assert book.run().code == 0
    while decision(book) != "run":
        pass  # a plan takes longer than that
    code, text = reason(book)
    assert code == "network"
    assert text.startswith("its result was accepted until ")


def test_a_forked_process_connects_for_the_step(book: NotebookProject, server: tuple[int, Path]) -> None:
    port, _ = server
    book.write(
        "import multiprocessing, urllib.request",
        "def ask(url):\n    return urllib.request.urlopen(url).read().decode()",
        "%%step a -o x\nwith multiprocessing.get_context('fork').Pool(1) as pool:\n"
        f"    x = pool.map(ask, ['http://127.0.0.1:{port}/d.csv'])[0]",
    )
    assert book.run().code == 0
    assert reason(book) == ("network", f"it connected to `127.0.0.1:{port}`")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells which sockets a process has")
def test_a_connection_that_native_code_leaves_open_counts(book: NotebookProject, server: tuple[int, Path]) -> None:
    port, _ = server
    book.write(
        "import ctypes, socket, struct",
        "%%step a -o x\nc = ctypes.CDLL(None)\n"
        "s = c.socket(socket.AF_INET, socket.SOCK_STREAM, 0)\n"
        f"address = struct.pack('=H', socket.AF_INET) + struct.pack('!H', {port}) + bytes([127, 0, 0, 1]) + bytes(8)\n"
        "x = c.connect(s, address, len(address))",
    )
    assert book.run().code == 0
    assert book.value("a.x") == 0
    assert reason(book) == ("network", f"it connected to `127.0.0.1:{port}`")


@pytest.mark.parametrize(
    "code",
    [
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n    x = pool.map(abs, [-1])",
        "s = ThreadingHTTPServer(('127.0.0.1', 0), Handler)\nsocket.create_connection(s.server_address).close()\nx = 1",
        "a, b = socket.socketpair()\nx = 1",
        "try:\n    socket.create_connection(('127.0.0.1', 9)).close()\nexcept OSError:\n    pass\nx = 1",
    ],
    ids=["workers", "own server", "pair", "tracking server"],
)
def test_connections_that_do_not_count(book: NotebookProject, code: str) -> None:
    book.environment["MLFLOW_TRACKING_URI"] = "http://localhost:9"
    book.write(
        "import multiprocessing, socket",
        "from http.server import BaseHTTPRequestHandler as Handler, ThreadingHTTPServer",
        f"%%step a -o x\n{code}",
    )
    assert book.run().code == 0
    assert decision(book) == "reuse"


@pytest.fixture
def traffic(server: tuple[int, Path]) -> Iterator[None]:
    """Open connections on this machine all the time."""
    over = threading.Event()

    def connect() -> None:
        while not over.wait(0.02):
            socket.create_connection(("127.0.0.1", server[0])).close()

    thread = threading.Thread(target=connect)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize(
    ("code", "counts"),
    [
        ("# see https://docs.pola.rs/ for details\nx = pl.DataFrame({'a': [1]}).height", False),
        ('"""Cites https://docs.pola.rs/."""\nx = pl.DataFrame({"a": [1]}).height', False),
        ("def f():\n    'See https://docs.pola.rs/'\n    return 1\nx = pl.DataFrame({'a': [f()]}).height", False),
        ("url = 'https://docs.pola.rs/'\nx = pl.DataFrame({'a': [url]}).height", True),
    ],
    ids=["comment", "text", "docstring", "constant"],
)
def test_addresses_in_comments_and_docstrings_are_not_connected_to(
    book: NotebookProject, code: str, counts: bool
) -> None:
    pytest.importorskip("polars")
    book.write("import polars as pl", f"%%step a -o x\n{code}")
    assert book.run().code == 0
    if counts:
        assert reason(book) == ("network", "it may have connected to `https://docs.pola.rs`")
    else:
        assert decision(book) == "reuse", reason(book)


def test_a_socket_in_a_folder_called_jupyter(book: NotebookProject) -> None:
    (book.folder / "jupyter").mkdir()
    path = str(book.folder / "jupyter" / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        book.write(f"import socket\nPATH = {path!r}", "%%step a -o x\nx = socket.socket(socket.AF_UNIX).connect(PATH)")
        assert book.run().code == 0
    assert reason(book) == ("network", f"it connected to `{path}`")


@pytest.mark.parametrize(
    "code",
    [
        "!wc -l data.csv\nx = 1",
        "x = !cat data.csv | sort",
        "x = subprocess.check_output(['cat', 'data.csv'])",
        "x = os.system('cat data.csv > /dev/null')",
        "x = subprocess.check_output('head -1 data.csv; echo done', shell=True)",
        "x = subprocess.check_output([sys.executable, 'script.py'])",
    ],
)
def test_a_program_that_reads_files_is_checked_by_them(book: NotebookProject, code: str) -> None:
    (book.folder / "data.csv").write_text("1\n")
    (book.folder / "script.py").write_text("print(open('atad'[::-1] + '.csv').read())")
    book.write("import os, subprocess, sys", f"%%step a -o x\n{code}")
    assert book.run().code == 0
    assert decision(book) == "reuse", reason(book)
    (book.folder / "data.csv").write_text("2\n")
    assert reason(book) == ("file", "file `data.csv`, which it read, changed")
    assert book.run().code == 0
    assert decision(book) == "reuse"


@pytest.mark.parametrize(
    ("code", "program"),
    [
        ("!git --no-pager status\nx = 1", "git"),
        ("x = subprocess.run(['curl', '--version', 'x'])", "curl"),
        ("x = subprocess.check_output('cat $HOME/data.csv || true', shell=True)", "sh"),
        ("x = subprocess.check_output(['sh', 'script.sh'])", "sh"),
        ("x = subprocess.check_output([sys.executable, '-c', 'import socket'])", "python"),
        ("x = subprocess.check_output([sys.executable, 'ask.py'])", "python"),
        ("x = subprocess.check_output([sys.executable, 'system.py'])", "python"),
        ("x = subprocess.check_output([sys.executable, 'elsewhere.py'])", "python"),
        ("x = subprocess.check_output([sys.executable], input=b'print(1)')", "python"),
        ("x = !. ./env.sh", "."),
        ("x = subprocess.check_output(['bash', '-c', 'source ./env.sh'])", "source"),
        ("x = subprocess.check_output(\"eval 'echo 1'\", shell=True)", "eval"),
        ("x = subprocess.check_output(['bash', '-c', '[[ -f flag ]] || echo no'])", "[["),
        ("x = subprocess.check_output(['mytool'], env={'PATH': 'bin:/usr/bin:/bin'})", "mytool"),
        ("x = subprocess.check_output(['awk', 'BEGIN{print ENVIRON[\"RATE\"]}'])", "awk"),
        ("x = subprocess.check_output('set | grep RATE || true', shell=True)", "sh"),
        ("x = subprocess.check_output(['sed', '1e echo', 'env.sh'])", "sed"),
        ("x = subprocess.check_output(['cat', '.git/HEAD'])", "cat"),
    ],
)
def test_a_program_that_may_ask_more_runs_again(book: NotebookProject, tmp_path: Path, code: str, program: str) -> None:
    import shutil

    if program not in ("python", ".", "source", "eval", "[[", "mytool") and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    (book.folder / "script.sh").write_text("true\n")
    (book.folder / "env.sh").write_text("echo 1\n")
    (book.folder / ".git").mkdir()
    (book.folder / ".git" / "HEAD").write_text("1")
    (book.folder / "ask.py").write_text("import subprocess as s\nprint(s.check_output(['echo', '1']))\n")
    (book.folder / "system.py").write_text("import os\nos.system('echo 1')\n")
    (book.folder / "elsewhere.py").write_text(f"print(open({str(tmp_path / 'other.csv')!r}).read())\n")
    (tmp_path / "other.csv").write_text("1")
    (book.folder / "bin").mkdir()
    (book.folder / "bin" / "mytool").write_text("#!/bin/sh\necho 1\n")
    (book.folder / "bin" / "mytool").chmod(0o755)
    book.write("import subprocess, sys", f"%%step a -o x\n{code}")
    assert book.run().code == 0
    code_of_reason, text = reason(book)
    assert code_of_reason == "program"
    assert text.startswith("it started `")
    assert f"`{program}" in text


@pytest.mark.parametrize("code", ["x = !python s.py", ASK_CHILD.format("s.py")])
def test_a_file_beside_a_script_does_not_count(book: NotebookProject, code: str) -> None:
    (book.folder / "s.py").write_text("import csv, json\nprint(json.dumps(list(csv.reader(open('d.csv')))))\n")
    (book.folder / "d.csv").write_text("1\n")
    # Elsewhere `python` may be a script of pyenv's, which can list what it likes.
    book.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    book.write("import subprocess, sys", f"%%step a -o x\n{code}")
    assert book.run().code == 0
    (book.folder / "new.txt").touch()
    (book.folder / "other.py").touch()
    assert decision(book) == "reuse", reason(book)
    (book.folder / "d.csv").write_text("2\n")
    assert reason(book) == ("file", "file `d.csv`, which it read, changed")
    (book.folder / "d.csv").write_text("1\n")
    (book.folder / "json.py").write_text("def dumps(x): return 'mine'\n")
    assert reason(book) == ("module", "what is imported as `json` changed")


@pytest.mark.parametrize(
    ("before", "script"),
    [
        ("", "import json, os\nprint(json.dumps(sorted(os.listdir('.'))))"),
        ("", "import json, names\nprint(json.dumps(names.all_of()))"),
        ("os.listdir('.')", "import json\nprint(json.dumps(1))"),
        ("os.system('ls')", "import json\nprint(json.dumps(1))"),
        ("os.system('cat *.csv')", "import json\nprint(json.dumps(1))"),
        ("mp.get_context('fork').Process(target=os.listdir).start()", "import json\nprint(json.dumps(1))"),
    ],
    ids=["script", "module", "step", "tool", "shell", "worker"],
)
def test_a_script_or_a_step_that_lists_its_folder(book: NotebookProject, before: str, script: str) -> None:
    (book.folder / "s.py").write_text(script)
    (book.folder / "names.py").write_text("import os\ndef all_of():\n    return os.listdir('.')\n")
    (book.folder / "d.csv").write_text("1\n")
    code = f"{before}\n{ASK_CHILD.format('s.py')}"
    book.write("import os, subprocess, sys, multiprocessing as mp", f"%%step a -o x\n{code}")
    assert book.run().code == 0
    (book.folder / "new.csv").touch()
    assert reason(book)[0] == "file"


@pytest.mark.parametrize(
    ("words", "variable", "old", "new"),
    [(["wc", "-m", "d.csv"], "LANG", "C", "C.UTF-8"), (["gzip", "-c", "d.csv"], "GZIP", "-1", "-9")],
    ids=["language", "tool"],
)
def test_a_variable_that_a_tool_may_ask_for(
    book: NotebookProject, words: list[str], variable: str, old: str, new: str
) -> None:
    book.environment[variable] = old
    (book.folder / "d.csv").write_text("ä\n")
    book.write("import subprocess", f"%%step a -o x\nx = subprocess.check_output({words})")
    assert book.run().code == 0
    assert decision(book) == "reuse", reason(book)
    book.environment[variable] = new
    assert reason(book)[0] == "environment-variable"


def test_a_dollar_sign_in_single_quotes_is_no_variable(book: NotebookProject) -> None:
    (book.folder / "d.csv").write_text("1 2\n")
    book.write("%%step a -o x y\nx = !awk '{print $1}' d.csv\ny = !grep '2$' d.csv")
    assert book.run().code == 0
    assert decision(book) == "reuse", reason(book)
    (book.folder / "d.csv").write_text("2 2\n")
    assert reason(book)[0] == "file"


def test_a_variable_that_a_forked_worker_reads(book: NotebookProject) -> None:
    book.environment["RATE"] = "1"
    book.write(
        "import multiprocessing, os",
        "def ask(name):\n    return os.environ[name]",
        "%%step a -o x\nwith multiprocessing.get_context('fork').Pool(1) as p:\n    x = p.map(ask, ['RA' + 'TE'])",
    )
    assert book.run().code == 0
    assert decision(book) == "reuse", reason(book)
    book.environment["RATE"] = "2"
    assert reason(book) == ("environment-variable", "environment variable `RATE` changed")


def test_a_variable_that_a_worker_of_joblib_may_read(book: NotebookProject) -> None:
    pytest.importorskip("joblib")
    book.environment["RATE"] = "1"
    book.write(
        "import os\nfrom joblib import Parallel, delayed",
        "def ask(name):\n    return os.environ[name]",
        "%%step a -o x\nx = Parallel(n_jobs=2)(delayed(ask)('RA' + 'TE') for _ in range(2))",
    )
    assert book.run().code == 0
    assert decision(book) == "reuse", reason(book)
    book.environment["RATE"] = "2"
    assert reason(book)[0] == "environment-variable"


def test_a_worker_of_joblib_that_starts_a_program(book: NotebookProject) -> None:
    pytest.importorskip("joblib")
    book.write(
        "import subprocess\nfrom joblib import Parallel, delayed",
        "def ask(_):\n    return subprocess.check_output(['echo', '1'])",
        "%%step a -o x\nx = Parallel(n_jobs=2)(delayed(ask)(i) for i in range(2))",
    )
    assert book.run().code == 0
    assert reason(book) == ("program", "it started `a worker process`, and what that did is not known")


def test_probes_of_the_machine_do_not_count(book: NotebookProject) -> None:
    book.write("import subprocess", "%%step a -o x\nx = subprocess.check_output(['uname', '-a'])")
    assert book.run().code == 0
    assert decision(book) == "reuse"
    assert book.call("why", "a", "--dependencies", "--json").document["trace"]["programs"] == []


def test_a_file_that_a_program_looks_for_in_vain(book: NotebookProject) -> None:
    book.write("import os", "%%step a -o x\nx = os.system('cat data.csv')")
    assert book.run().code == 0
    assert decision(book) == "reuse"
    (book.folder / "data.csv").write_text("1")
    assert reason(book) == ("file", "file `data.csv`, which it looked for, is there now")


def test_a_variable_that_a_child_may_ask_for(book: NotebookProject) -> None:
    book.write("import subprocess, sys", "%%step a -o x\nx = subprocess.check_output([sys.executable, 's.py'])")
    (book.folder / "s.py").write_text("import os; print(os.environ.get('SPEED'))")
    assert book.run().code == 0
    assert book.call("why", "a", "--dependencies").code == 0
    assert decision(book) == "reuse"
    book.environment["SPEED"] = "fast"
    assert reason(book)[0] == "environment-variable"


def test_what_other_programs_load_and_look_up_is_not_the_child_s(book: NotebookProject) -> None:
    often = "for _ in range(30):\n    x = subprocess.check_output([sys.executable, 's.py'])"
    book.write("import subprocess, sys", f"%%step a -o x\n{often}")
    (book.folder / "s.py").write_text("print(1)")
    other = f"{sys.executable} -c 'import subprocess, socket; socket.getaddrinfo(\"localhost\", 80)'"
    with subprocess.Popen(["sh", "-c", f"while true; do {other}; done"], start_new_session=True) as noise:
        try:
            assert book.run().code == 0
        finally:
            os.killpg(noise.pid, signal.SIGKILL)
    assert decision(book) == "reuse", reason(book)


def test_a_program_outside_of_the_project_is_checked(book: NotebookProject, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.csv"
    outside.write_text("1")
    book.write("import subprocess", f"%%step a -o x\nx = subprocess.check_output(['cat', '{outside}'])")
    assert book.run().code == 0
    assert decision(book) == "reuse"
    outside.write_text("2")
    assert reason(book)[0] == "file"


@pytest.mark.parametrize(
    ("code", "edit"),
    [
        ("x = open('gol'[::-1] + 's/run.log').read()", "logs/run.log"),
        ("x = sorted(os.listdir('gol'[::-1] + 's'))", "logs/new.log"),
        ("x = sorted(os.listdir('.'))", "notes.tmp"),
        ("x = open('logs/run.log').read()", "logs/run.log"),
        ("x = sorted(glob.glob('*.t*'))", "notes.tmp"),
    ],
)
@pytest.mark.parametrize("declared", ["header", "comment", "project"])
def test_ignored_files_do_not_count(book: NotebookProject, code: str, edit: str, declared: str) -> None:
    (book.folder / "logs").mkdir()
    (book.folder / "logs" / "run.log").write_text("1")
    (book.folder / "pyproject.toml").touch()
    header = {"header": " --ignore logs/ *.tmp\n", "comment": "\n#| ignore: logs/ *.tmp\n", "project": "\n"}[declared]
    if declared == "project":
        (book.folder / "pyproject.toml").write_text('[tool.jupyter-pipelines]\nignore = ["logs/", "*.tmp"]\n')
    book.write("import glob, os", f"%%step a -o x{header}{code}")
    assert book.run().code == 0
    (book.folder / edit).write_text("2")
    assert decision(book) == "reuse"
    trace = book.call("why", "a", "--dependencies", "--json").document["trace"]
    if "open" in code:
        assert trace["ignored"] == ["logs/run.log"]


def test_a_file_that_is_ignored_later_does_not_count(book: NotebookProject) -> None:
    (book.folder / "run.log").write_text("1")
    book.write("%%step a -o x\nx = open('gol.nur'[::-1]).read()")
    assert book.run().code == 0
    (book.folder / "run.log").write_text("2")
    assert decision(book) == "run"
    book.edit("%%step a -o x", "%%step a -o x --ignore *.log")
    assert decision(book) == "reuse"


@pytest.mark.parametrize(
    "code", ["x = open('gol.nur'[::-1]).read()", "import os\nx = sorted(os.listdir('.'))"], ids=["read", "listed"]
)
def test_a_file_that_is_ignored_no_more_counts_again(book: NotebookProject, code: str) -> None:
    book.write(f"%%step a -o x --ignore *.log\n{code}")
    (book.folder / "run.log").write_text("1")
    assert book.run().code == 0
    book.edit(" --ignore *.log", "")
    assert reason(book)[0] == "file"
    assert book.run().code == 0
    book.edit("-o x", "-o x --ignore *.log")
    assert decision(book) == "reuse"


@pytest.mark.parametrize(
    "code",
    ["exec('x = 1')", "x = eval('1 + int(\"1\")')", "y = 1\nx = '{y}'.format(**locals())", "!pip --version\nx = 1"],
)
def test_code_that_cannot_be_read_is_reused_by_what_it_did(book: NotebookProject, code: str) -> None:
    book.write(f"%%step a -o x\n{code}")
    assert book.run().code == 0
    assert decision(book) == "reuse"


def test_code_that_cannot_be_read_is_not_reused_where_nothing_is_watched(book: NotebookProject) -> None:
    book.environment["JUPYTER_PIPELINES_WATCH"] = "none"
    book.write("%%step a -o x\nexec('x = 1')")
    assert book.run().code == 0
    assert reason(book) == (
        "unwatched",
        "what it read cannot be determined: cell 1: `exec()` runs code that is not written here",
    )


@pytest.mark.parametrize(
    "code",
    [
        "with mp.get_context('spawn').Pool(1) as pool:\n    x = pool.map(os.listdir, ['data'])[0]",
        "x = sorted(joblib.Parallel(2)([joblib.delayed(os.listdir)('data')])[0])",
    ],
    ids=["spawn", "loky"],
)
def test_a_folder_that_a_worker_process_lists_counts(book: NotebookProject, code: str) -> None:
    (book.folder / "data").mkdir(parents=True)
    (book.folder / "data" / "a.csv").touch()
    book.write("import joblib, os, multiprocessing as mp", f"%%step a -o x\n{code}")
    assert book.run().code == 0
    (book.folder / "new.txt").touch()
    assert decision(book) == "reuse", reason(book)
    (book.folder / "data" / "b.csv").touch()
    assert reason(book)[0] == "file"
