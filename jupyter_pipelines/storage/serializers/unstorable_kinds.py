"""Kinds of objects that cannot be stored, and what a step should output instead of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class UnstorableKind(NamedTuple):
    """A kind of object that cannot be stored.

    Parameters
    ----------
    noun : str
        Noun with its article.
    instead : str
        Advice; ``{}`` stands for the object.
    """

    noun: str
    instead: str


_ITEMS = "let the step hand on the items themselves: `list({})`, or what it computes from them"
_CONNECT = "hand on what was read with it, and let each step that needs one open its own from the address or path"
_OPEN = "close it, and hand on the file's path or its contents; declared with `-o NAME:file`, the file itself is stored"
_GUARD = "make it where it is used: a lock guards objects of one process, and each step has a process of its own"
_WORKER = "wait until it has ended, and hand on its results: each step has a process of its own"
_DEFINED = "define it with `def` in a cell without a header, where it is shared code that every step has"

_KINDS: Mapping[str, UnstorableKind] = {
    **dict.fromkeys(("builtins.generator", "builtins.async_generator"), UnstorableKind("a generator", _ITEMS)),
    **dict.fromkeys(
        ("_csv.reader", "_csv.Reader", "csv.DictReader", "itertools._tee", "builtins.callable_iterator"),
        UnstorableKind("an iterator", _ITEMS),
    ),
    **dict.fromkeys(
        ("builtins.coroutine", "_asyncio.Future", "_asyncio.Task", "asyncio.futures.Future", "asyncio.tasks.Task"),
        UnstorableKind("an asynchronous call", "`await` it, and hand on its result"),
    ),
    "concurrent.futures._base.Future": UnstorableKind("a future", "hand on its result: `{}.result()`"),
    **dict.fromkeys(
        (
            "_thread.lock",
            "_thread.RLock",
            "threading._RLock",
            "threading.Event",
            "threading.Condition",
            "threading.Semaphore",
            "threading.Barrier",
            "multiprocessing.synchronize.SemLock",
        ),
        UnstorableKind("a lock", _GUARD),
    ),
    "_thread._local": UnstorableKind("a value of a single thread", "hand on what it holds"),
    "threading.Thread": UnstorableKind("a thread", _WORKER),
    **dict.fromkeys(
        ("multiprocessing.process.BaseProcess", "subprocess.Popen", "asyncio.subprocess.Process"),
        UnstorableKind("a running program", _WORKER),
    ),
    **dict.fromkeys(
        ("concurrent.futures._base.Executor", "multiprocessing.pool.Pool", "joblib.parallel.Parallel"),
        UnstorableKind("a pool of workers", "close it, and hand on the results; each step makes its own"),
    ),
    **dict.fromkeys(
        (
            "queue.Queue",
            "queue.SimpleQueue",
            "_queue.SimpleQueue",
            "multiprocessing.queues.Queue",
            "asyncio.queues.Queue",
        ),
        UnstorableKind("a queue", "take everything out of it, and hand on a list"),
    ),
    **dict.fromkeys(
        ("asyncio.events.AbstractEventLoop", "selectors.BaseSelector"), UnstorableKind("an event loop", _WORKER)
    ),
    **dict.fromkeys(
        (
            "io.IOBase",
            "_io._IOBase",
            "tempfile._TemporaryFileWrapper",
            "h5py._hl.files.File",
            "netCDF4._netCDF4.Dataset",
            "zipfile.ZipFile",
            "tarfile.TarFile",
            "mmap.mmap",
            "tables.file.File",
            "shelve.Shelf",
            "os.DirEntry",
            "posix.ScandirIterator",
            "_csv.writer",
            "_csv.Writer",
        ),
        UnstorableKind("an open file", _OPEN),
    ),
    "tempfile.TemporaryDirectory": UnstorableKind(
        "a temporary folder", "write to a folder that is an output: `-o NAME:folder`"
    ),
    **dict.fromkeys(("socket.socket", "_socket.socket", "ssl.SSLContext"), UnstorableKind("a socket", _CONNECT)),
    **dict.fromkeys(
        (
            "sqlite3.Connection",
            "sqlite3.Cursor",
            "sqlalchemy.engine.base.Engine",
            "sqlalchemy.engine.base.Connection",
            "sqlalchemy.orm.session.Session",
            "duckdb.DuckDBPyConnection",
            "_duckdb.DuckDBPyConnection",
            "psycopg.Connection",
            "psycopg2.extensions.connection",
            "psycopg2.extensions.cursor",
            "pymysql.connections.Connection",
            "pymongo.mongo_client.MongoClient",
            "pymongo.synchronous.mongo_client.MongoClient",
            "redis.client.Redis",
            "http.client.HTTPConnection",
            "http.client.HTTPResponse",
            "aiohttp.client.ClientSession",
            "httpx.Client",
            "httpx.AsyncClient",
            "paramiko.client.SSHClient",
            "smtplib.SMTP",
            "ftplib.FTP",
            "botocore.client.BaseClient",
            "boto3.resources.base.ServiceResource",
            "google.cloud.client.Client",
            "pyspark.sql.session.SparkSession",
            "pyspark.context.SparkContext",
            "distributed.client.Client",
        ),
        UnstorableKind("a connection", _CONNECT),
    ),
    "builtins.function": UnstorableKind("a function", _DEFINED),
    "builtins.module": UnstorableKind("a module", "import it in a cell without a header: it is shared code there"),
    **dict.fromkeys(
        ("builtins.frame", "builtins.traceback"),
        UnstorableKind("a state of running code", "hand on its text: `traceback.format_exc()`"),
    ),
    **dict.fromkeys(
        ("weakref.ReferenceType", "weakref.ref", "builtins.weakref", "weakref.WeakMethod", "weakref.finalize"),
        UnstorableKind("a weak reference", "hand on the object itself: `{}()`"),
    ),
    "_hashlib.HASH": UnstorableKind("a hash that is still computed", "hand on its digest: `{}.hexdigest()`"),
    **dict.fromkeys(
        ("_ctypes._CData", "_ctypes._Pointer", "ctypes.CDLL", "builtins.PyCapsule"),
        UnstorableKind("a reference to memory of another library", "hand on the values as an array or as bytes"),
    ),
    "logging.Handler": UnstorableKind(
        "a handler of a log", "set logging up in a `%%setup` cell, and take the logger by its name where it is used"
    ),
    "lxml.etree._Element": UnstorableKind("an XML element", "hand on its text: `lxml.etree.tostring({})`"),
}
"""By the full name of the class or of a base class."""

_KINDS_BELOW: Mapping[str, str] = {"_io.TextIOWrapper": "io.IOBase"}
_LAMBDA = UnstorableKind("a lambda", _DEFINED)


def kind_of(value: Any) -> UnstorableKind | None:
    """Return the kind of an object that cannot be stored; None for any other."""
    for cls in type(value).__mro__:
        kind = _KINDS.get(f"{cls.__module__}.{cls.__qualname__}")
        if kind is not None:
            return _LAMBDA if getattr(value, "__name__", "") == "<lambda>" else kind
    return None


def advice_for(name: str, class_name: str) -> str:
    """Return what to do about an output of a class that cannot be stored, by the full name of the class."""
    kind = _KINDS[_KINDS_BELOW.get(class_name, class_name)]
    return f"`{name}` is {kind.noun}: {kind.instead.format(name)}"


def advice(name: str, trail: Iterable[tuple[str, Any]]) -> str:
    """Return advice for an output that cannot be stored.

    Parameters
    ----------
    name : str
        The output.
    trail : iterable of (str, object)
        The path from the output to the part that cannot be stored, each part with its Python expression.
    """
    steps = list(trail)
    for path, part in steps:
        kind = kind_of(part)
        # A function is pickled with its variables: it is the cause only if none of them is.
        if kind is not None and not (kind.instead == _DEFINED and path != steps[-1][0] and kind is not _LAMBDA):
            subject = "" if path == name else f"; or hand on only what is needed of `{name}`"
            shown = path if " " not in path else name
            return f"`{path}` is {kind.noun}: {kind.instead.format(shown)}{subject}"
    return f"let the step put what is needed of `{name}` into plain values, arrays or data frames"
