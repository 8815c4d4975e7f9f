"""ACCESS LOG -> TRACE: turn what the kernel logged into questions, each with the answer that the step got."""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_pipelines.execution.kernel_side.tracing.access_log import REWRITTEN, TRACE
from jupyter_pipelines.execution.kernel_side.tracing.compiled_copies import OUTDATED
from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import (
    DATABASE_LOGS,
    counts_as_written,
    is_below,
    names_digest,
)
from jupyter_pipelines.execution.ticket import StepTicket
from jupyter_pipelines.pipeline.changing_variables import FIXED, set_by_user
from jupyter_pipelines.pipeline.ignored_paths import is_ignored
from jupyter_pipelines.planning.keys.fingerprint import MISSING
from jupyter_pipelines.planning.keys.traces import (
    FOLDER,
    PERHAPS,
    UNKNOWN,
    UNREADABLE,
    TraceReader,
    depends_on_folder,
    environment_answer,
    path_in_trace,
    question,
    stat_answer,
    variable_answer,
)
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.files.stat_signature import StatSignature
from jupyter_pipelines.storage.store import Store

_NO_LOG = "its kernel has logged nothing"
_TICK_NS = 10_000_000
_LITERAL = re.compile(r"""["']((?:~/|/|\.\./)[^"'\n]{1,300})["']""")
_MAGIC_LINE = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)
_OBJECT_STORES = ("s3a?", "gs", "gcs", "az", "abfss?", "adl", "hdfs", "hf", "r2", "https?")
_WEB_READERS = frozenset({"polars", "duckdb", "netCDF4", "h5py", "rasterio", "fiona", "pyogrio", "gdal"})
_ASKS_FOR_VARIABLES = re.compile(r"environ|getenv")
_STARTS_PROGRAMS = re.compile(
    r"\b(?:subprocess|(?:os|pty|nt|posix)\.(?:system|popen|spawn|exec|posix_spawn)\w*|Popen|check_output|getoutput"
    r"|create_subprocess_\w+|pexpect|ctypes|import\s+(?:system|popen)|sh\.)"
)
"""Code that may start a program."""
_OF_PROGRAMS = ("BASH_ENV", "LANG", "LANGUAGE", "LC_CTYPE", "LC_MESSAGES", "POSIXLY_CORRECT", "PYTHONIOENCODING")
"""Variables that affect the input and output of all programs; `LC_ALL` and the like count for every step anyway."""
_TOO_WIDE = ("/", "/tmp", "/home", "/root", "/mnt", "/data", "/var", "/srv", "/opt")  # noqa: S108


def watch_document(ticket: StepTicket, store: Store, folder: Path) -> dict[str, Any]:
    """Return the settings of the access log in a step's kernel.

    Parameters
    ----------
    ticket : StepTicket
        The ticket of the step.
    store : Store
        The store; its files are no dependencies.
    folder : Path
        The folder of the attempt; its files are no dependencies either.
    """
    published = [os.path.dirname(path) for path in (ticket.publish["notebook"], ticket.publish["log"]) if path]
    return {
        "root": ticket.root or ticket.cwd,
        "left_out": [str(store.root), str(folder), ticket.path, *published],
        "outside": list(_outside(ticket)),
        "ignored": list(ticket.ignored),
        "children": str(folder / "children.log"),
    }


def _outside(ticket: StepTicket) -> Iterator[str]:
    """Yield files and folders outside of the project that code, parameters or inputs name; these are watched, too."""
    root = os.path.realpath(ticket.root or ticket.cwd)
    texts = [cell["source"] for cell in ticket.notebook.get("cells", ())]
    texts += [source["text"] for source in ticket.sources if "text" in source]
    named = [literal for text in texts for literal in _LITERAL.findall(text)]
    named += [source["path"] for source in ticket.sources]
    named += [spec["path"] for spec in ticket.inputs.values() if spec["kind"] == "file"]
    system = (sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev", "/usr", "/etc")
    real_folder = functools.cache(os.path.realpath)
    for name in dict.fromkeys(named):
        path = os.path.normpath(os.path.join(ticket.cwd, os.path.expanduser(name)))
        folder = os.path.dirname(path)
        if path.startswith(f"{root}/") and real_folder(folder) == folder and _is_plain_file(path):
            continue  # decided without following each part of the path: there may be thousands
        if not os.path.lexists(path):  # it may be the beginning of a name
            path = folder
        # Watching marks every folder below: `/tmp` or a home folder would cost more than the step.
        too_wide = path in (*_TOO_WIDE, os.path.expanduser("~")) or is_below(root, (path,))
        if not too_wide and not is_below(os.path.realpath(path), (root, *system)):
            yield path


class TraceReport(NamedTuple):
    """The trace of a step.

    Parameters
    ----------
    trace : dict of str to str
        Questions about files and environment, each with its answer.
    appended : tuple of str
        Files that the step only appended to, by their names in traces: they are not verified as results, but conflict
        with other steps that write them.
    """

    trace: dict[str, str]
    appended: tuple[str, ...] = ()


def trace_report(ticket: StepTicket, store: Store, folder: Path, placed: Sequence[str] = ()) -> TraceReport:
    """Return the trace of a step that has succeeded.

    Files are digested here, after the step. A file that has changed since the step opened it makes the trace unusable,
    which the trace records as a question of the kind ``unwatched``.

    Parameters
    ----------
    ticket : StepTicket
        The ticket of the step.
    store : Store
        Digests files, and caches digests.
    folder : Path
        The folder of the attempt.
    placed : sequence of str
        Outputs that contain the path of the project's folder.
    """
    # The log comes from the step's process, which runs the user's code: without a readable one, nothing is proven.
    try:
        log = json.loads((folder / TRACE).read_text("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return TraceReport({question("unwatched", _NO_LOG): _NO_LOG})
    writer = _TraceWriter(ticket, store, log)
    return TraceReport(writer.trace(placed), writer.appended())


def trace_of_failure(ticket: StepTicket, store: Store, folder: Path) -> dict[str, str] | None:
    """Return what a step that has failed asked for, folders included into which it tried to write; None if unknown."""
    try:
        log = json.loads((folder / TRACE).read_text("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return None
    writer = _TraceWriter(ticket, store, log)
    return writer.trace() | writer.folders()


class _TraceWriter:
    def __init__(self, ticket: StepTicket, store: Store, log: Mapping[str, Any]) -> None:
        self._log = log
        self._ticket = ticket
        self._root = ticket.root or ticket.cwd
        self._key = bytes.fromhex(ticket.trace_key) or None
        self._written = set(log["written"])
        self._results = [path for path in log["written"] if path not in log["appended"]]
        self._outside = tuple(_outside(ticket))
        self._patterns = [sorted(ticket.ignored)] if ticket.ignored else []
        self._reader = TraceReader(Path(self._root), store.digest_files, os.environ, Path(ticket.cwd))
        self._problems = [_problem(problem, self._root) for problem in log["problems"]]

    def trace(self, placed: Sequence[str] = ()) -> dict[str, str]:
        """Return the trace; `placed` are the outputs that contain the path of the project's folder."""
        log = self._log
        self._reader.prepare(question("file", self._named(path)) for path in (*log["read"], *log["imported"]))
        trace: dict[str, str] = {}
        for kind, field in (("file", "read"), ("module", "imported")):
            for path, (since, mark) in log[field].items():
                trace[question(kind, self._named(path))] = self._file(path, since, mark)
        self._add_names_and_looks(trace)
        trace |= self._written_files()
        trace |= _variables(log["environment"], self._key)
        for name, places in log["origins"].items():
            self._ask(trace, "origin", name, *map(self._named, places))
        # The planner of the run fills in the versions (`with_versions`).
        trace |= {question("package", name): UNKNOWN for name in log["packages"]}
        if log["variables"] is not None:
            self._ask(trace, "variables", log["variables"])
        self._add_programs(trace, log["programs"])
        self._add_notes(trace)
        if placed:
            self._ask(trace, "place", *placed)
        if any(map(depends_on_folder, trace)):
            self._ask(trace, "notebook-folder")
        for problem in dict.fromkeys(self._problems):
            trace[question("unwatched", problem)] = problem
        # Other systems cannot watch folders at all: steps are reused there by what Python reports, a documented limit.
        if log["unwatched"] and sys.platform == "linux":
            trace[question("partly", log["unwatched"])] = log["unwatched"]
        return trace

    def _written_files(self) -> dict[str, str]:
        """Return questions about the files that the step has written, without those that it only appended to.

        Logs, and files that a child may have written, are verified as well, but are no conflict with other steps.
        """
        paths = [path for path in (*self._results, *self._log["child_writes"]) if self._is_result(path)]
        questions = {path: question(self._kind_of_write(path), self._named(path)) for path in paths}
        self._reader.prepare(questions.values())
        trace: dict[str, str] = {}
        for path, text in questions.items():
            answer = self._reader.answer(text)
            if answer in (MISSING, FOLDER, UNREADABLE):
                continue
            trace[text] = answer
            if text.startswith('["written"') and not _is_marked(path, self._log["written"][path]):
                self._problems.append(f"`{self._named(path)}` was written by others, too, at the same time")
        return trace

    def folders(self) -> dict[str, str]:
        """Return questions about the folders of the files that the step opened for writing."""
        trace: dict[str, str] = {}
        for folder in dict.fromkeys(os.path.dirname(path) for path in self._log["written"]):
            self._ask(trace, "kind", self._named(folder))
        return trace

    def appended(self) -> tuple[str, ...]:
        """Return the names of files that the step only appended to, without ignored ones and those of tools."""
        paths = (path for path in self._log["appended"] if not path.startswith(("/dev/", "/proc/")))
        names = map(self._named, paths)
        return tuple(name for name in names if counts_as_written(name) and not is_ignored(name, self._ticket.ignored))

    def _kind_of_write(self, path: str) -> str:
        return "written" if path in self._written and not path.endswith(".log") else "left"

    def _is_result(self, path: str) -> bool:
        """Tell whether a written file lies in the project or in a watched place, and is no lock or cache of a tool."""
        named = self._named(path)
        inside = not named.startswith(("/", "~/"))
        return (inside or is_below(path, self._outside)) and counts_as_written(named if inside else path)

    def _add_names_and_looks(self, trace: dict[str, str]) -> None:
        log = self._log
        for path, names in log["listed"].items():
            if path not in self._written or os.path.isdir(path):
                self._list(trace, path, names)
        for pattern in log["globbed"]:
            self._ask(trace, *self._glob(*pattern))
        for path, (kind, status) in log["asked"].items():
            if path not in log["read"] or kind in ("times", "status"):
                self._look(trace, path, kind, status)
        for path, mode in log["rights"]:
            if path not in self._written:
                self._ask(trace, "rights", self._named(path), mode)
        for folder, names in log["searched"].items():
            self._ask(trace, "searched", self._named(folder), names)
        for path in log["links"]:
            self._ask(trace, "link", self._named(path))

    def _add_programs(self, trace: dict[str, str], programs: Mapping[str, Any]) -> None:
        """Add the programs, and the packages and variables on which Python children may depend."""
        for path in programs["executables"]:
            self._ask(trace, "executable", path)
        for folder in programs["packages"]:
            self._ask(trace, "glob", "*.dist-info", self._named(folder), False, [])
        if programs["environment"] or self._workers_may(_ASKS_FOR_VARIABLES):
            trace[question("environment")] = environment_answer(os.environ, self._key)
        if programs["executables"] or programs["unknown"] or programs["workers"]:
            names = sorted({*_OF_PROGRAMS, *programs["variables"]})
            own = set_by_user(os.environ)
            for name in set(names).intersection(own):
                trace[question("variable", name)] = variable_answer(name, own[name], self._key)
            self._ask(trace, "unset", *(name for name in names if name not in own))

    def _add_notes(self, trace: dict[str, str]) -> None:
        """Add facts that cannot be verified later: hosts, programs with unknown dependencies, ignored paths."""
        hosts = self._log["hosts"]
        programs = [*self._log["programs"]["unknown"]]
        programs += ["a worker process"] if self._workers_may(_STARTS_PROGRAMS) else []
        ignored = map(self._named, self._log["ignored"])
        unattributed = map(self._named, self._log["unattributed"])
        notes = (("network", hosts), ("program", programs), ("ignored", ignored), ("unattributed", unattributed))
        for kind, names in notes:
            for name in names:
                self._ask(trace, kind, name)
        for host in [] if hosts else self._hosts_in_urls():
            self._ask(trace, "network", host, PERHAPS)

    def _workers_may(self, pattern: re.Pattern[str]) -> bool:
        """Tell whether a pattern occurs in code that may run in worker processes that are not traced (no fork)."""
        if not self._log["programs"]["workers"]:
            return False
        texts = self._texts()
        for path in (*self._log["imported"], *(path for path in self._log["read"] if path.endswith(".py"))):
            with contextlib.suppress(OSError, ValueError):
                texts.append(Path(path).read_text("utf-8"))
        return any(map(pattern.search, texts))

    def _texts(self) -> list[str]:
        """Return the source of the step's cells and of its modules."""
        texts = [cell["source"] for cell in self._ticket.notebook.get("cells", ())]
        return texts + [source["text"] for source in self._ticket.sources if "text" in source]

    def _hosts_in_urls(self) -> list[str]:
        """Return the hosts of URLs in the code that native libraries may have read."""
        readers = self._log["url_readers"]
        schemes = _OBJECT_STORES if not _WEB_READERS.isdisjoint(readers) else _OBJECT_STORES[:-1]
        texts = map(_constants, self._texts() if readers else [])
        return list(dict.fromkeys(re.findall(rf"\b((?:{'|'.join(schemes)})://[\w.-]+)", "\n".join(texts))))

    def _ask(self, trace: dict[str, str], kind: str, *details: Any) -> None:
        text = question(kind, *details)
        trace[text] = self._reader.answer(text)

    def _named(self, path: str) -> str:
        return path_in_trace(path, self._root)

    def _file(self, path: str, since: int, mark: list[int] | None) -> str:
        """Return the answer for a file that the step opened or tried to open; record a problem if it has changed."""
        answer = self._reader.answer(question("file", self._named(path)))
        if path in self._written or (mark is None and answer == MISSING) or answer == FOLDER:
            return answer
        if mark is None or answer == MISSING or not _is_unchanged(path, since, StatSignature.from_list(mark)):
            self._problems.append(f"file `{self._named(path)}` changed while the step ran")
        return answer

    def _look(self, trace: dict[str, str], path: str, kind: str, status: list[int] | None) -> None:
        """Add the answer for a file that the step examined without opening it."""
        text = question(kind, self._named(path))
        if path.endswith(DATABASE_LOGS) and (status is None or path in self._written):
            # The kernel makes and removes it as it opens and closes the database, and may not have closed it yet.
            trace[text] = stat_answer(kind, status)
            return
        trace[text] = self._reader.answer(text)
        if path not in self._written and trace[text] != stat_answer(kind, status):
            self._problems.append(f"`{self._named(path)}` changed while the step ran")

    def _list(self, trace: dict[str, str], path: str, names: str) -> None:
        """Add the answer for a folder that the step listed."""
        # With files of its own in it, or with ignored ones, the digest taken during the step cannot be compared.
        made = self._made_in(path)
        self._ask(trace, "listing", self._named(path), made, *self._patterns)
        compared = not made and not self._patterns and path not in self._written
        if compared and names != names_digest(path):
            self._problems.append(f"the names in folder `{self._named(path)}` changed while the step ran")

    def _made_in(self, folder: str) -> list[str]:
        """Return the names in a folder that the step made itself."""
        return sorted(os.path.basename(path) for path in self._written if os.path.dirname(path) == folder)

    def _glob(self, method: str, pattern: str, folder: str, detail: str) -> tuple[Any, ...]:
        made = sorted(self._named(path) for path in self._written if path.startswith(f"{self._root}/"))
        # In another folder, or on another machine, an absolute pattern of this one would fit nothing.
        for base in (self._root, os.path.expanduser("~")):
            if pattern.startswith(f"{base}/"):
                pattern, folder = pattern.removeprefix(f"{base}/"), base
                break
        if method == "glob":
            return ("glob", pattern, self._named(folder), bool(detail), made, *self._patterns)
        return ("path-glob", pattern, self._named(folder), method.removeprefix("Path."), made, *self._patterns)


def _variables(environment: Mapping[str, str | None], key: bytes | None) -> dict[str, str]:
    """Return questions about variables whose value in the kernel equals that in the user's environment."""
    # Others were set by the worker or by the step: at the next plan they could not be compared. A default counts as a
    # variable that is not set: it changes once the user sets it.
    own = set_by_user(os.environ)
    got = set_by_user({name: value for name, value in environment.items() if value is not None})
    asked = {name: got.get(name) for name in environment if name not in FIXED and got.get(name) == own.get(name)}
    trace = {
        question("variable", name): variable_answer(name, value, key)
        for name, value in asked.items()
        if value is not None
    }
    unset = sorted(name for name, value in asked.items() if value is None)
    return trace | ({question("unset", *unset): ""} if unset else {})


def _constants(text: str) -> str:
    """Return the string constants in code, without docstrings and comments; the whole text if it is no Python."""
    # Lines of IPython are no Python: they are replaced for the parser, and added to the constants as they are.
    try:
        tree = ast.parse(_MAGIC_LINE.sub(r"\1pass", text))
    except (SyntaxError, ValueError, RecursionError):
        return text
    shown = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in shown)
    return "\n".join([*(str(node.value) for node in constants), *(match[0] for match in _MAGIC_LINE.finditer(text))])


def _problem(text: str, root: str) -> str:
    kind, _, path = text.partition("\0")
    if kind == OUTDATED:
        return f"Python has compiled `{path_in_trace(path, root)}`, and does not notice that it was edited since"
    return f"it wrote to `{path_in_trace(path, root)}`, which it had read" if kind == REWRITTEN else text


def _is_plain_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _is_marked(path: str, mark: list[int] | None) -> bool:
    """Tell whether inode, size and times of a file are those at the end of the step."""
    try:
        return mark is not None and StatSignature.of(os.stat(path)) == StatSignature.from_list(mark)
    except OSError:
        return False


def _is_unchanged(path: str, since: int, mark: StatSignature) -> bool:
    """Tell whether a file is unchanged since it was opened, judging by inode, size and times."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    if StatSignature.of(status) != mark:
        return False
    # A file changed just before it was opened may change again within one tick of the clock, with the same times.
    return mark.ctime_ns < since - _clock_margin(status.st_dev)


@functools.cache
def _clock_margin(device: int) -> int:
    """Return the nanoseconds by which file times on a device may lag behind the system clock."""
    cutoff = filesystem_features.mtime_cutoff(device)
    if cutoff.before_ns == sys.maxsize:
        return 0
    return _TICK_NS if cutoff.before_ns > cutoff.coarse_ns else filesystem_features.COARSE_MARGIN_NS
