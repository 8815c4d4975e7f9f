"""Log which hosts a step connects to, from Python's audit events and from what native clients leave behind.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing import process_sockets

NATIVE_CLIENTS = {
    "psycopg2._psycopg": "psycopg2",
    "psycopg.pq": "psycopg",
    "pyodbc": "pyodbc",
    "MySQLdb._mysql": "mysqlclient",
    "_mysql_connector": "mysql-connector-python",
    "mariadb": "mariadb",
    "cx_Oracle": "cx_Oracle",
    "ibm_db": "ibm_db",
    "pymssql._pymssql": "pymssql",
    "teradatasql": "teradatasql",
    "hdbcli": "hdbcli",
    "connectorx": "connectorx",
    "adbc_driver_postgresql": "adbc-driver-postgresql",
    "adbc_driver_flightsql": "adbc-driver-flightsql",
    "adbc_driver_snowflake": "adbc-driver-snowflake",
    "pycurl": "pycurl",
    "curl_cffi": "curl_cffi",
    "uvloop": "uvloop",
    "confluent_kafka": "confluent-kafka",
    "rpy2.rinterface": "rpy2",
}
"""By module: distributions whose purpose is to connect, without Python's socket module; to load one is enough."""
URL_READERS = {
    "pyarrow": "pyarrow",
    "polars": "polars",
    "duckdb": "duckdb",
    "deltalake": "deltalake",
    "netCDF4": "netCDF4",
    "h5py": "h5py",
    "rasterio": "rasterio",
    "fiona": "fiona",
    "pyogrio": "pyogrio",
    "osgeo": "gdal",
    "grpc": "grpcio",
    "tensorflow": "tensorflow",
}
"""By module: distributions that mostly read files, and can also read URLs without Python's socket module."""
_EXTENSIONS = ("httpfs.duckdb_extension", "postgres_scanner.duckdb_extension", "mysql_scanner.duckdb_extension")
_TRANSPORTS = ("socket.py", "ssl.py", "/asyncio/", "/tornado/", "/selectors.py", "/concurrent/")
"""Files of frames between a connection and the code that asks for it."""
_WORKERS = ("/multiprocessing/", "/loky/", "-packages/distributed/", "-packages/zmq/", "-packages/jupyter_client/")
"""Packages that connect to processes of their own."""
_LOCAL_SERVICES = (
    *("/tmp/.X11-unix", "/run/dbus", "/var/run/dbus", "/run/user", "/dev/log", "/run/systemd", "/run/nscd"),  # noqa: S108
    *("/var/run/nscd", "/tmp/ssh-", "/tmp/pymp-", "/tmp/.ICE-unix"),  # noqa: S108
)
"""Sockets of the system that hold no data."""


class ConnectionLog:
    """The hosts that a step connected to.

    Attributes
    ----------
    hosts : dict of str to None
        The hosts, in order.
    resolved : bool
        Python code resolved a host name; further lookups by native libraries cannot be told apart from it.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, None] = {}
        self.resolved = False
        self._names: dict[int | None, str] = {}
        self._worker_ports: set[int] = set()
        self._own_names = {"", "localhost", "localhost.localdomain", "ip6-localhost"}
        self._opened = process_sockets.opened_connections()
        self._tracking: tuple[str, int | None] | None = None
        self._kernel_sockets: set[str] = set()

    def begin(self) -> None:
        """Start logging for a step: take the counter of opened connections, the names and sockets of this kernel."""
        self._opened = process_sockets.opened_connections()
        self._kernel_sockets = set(process_sockets.sockets_of())
        with contextlib.suppress(OSError):
            self._own_names |= {socket.gethostname().lower()}
        self._tracking = _tracking_server()

    def on_connect(self, arguments: tuple[Any, ...], frame: Any) -> str | None:
        """Record a connection, and return its host if it counts."""
        connection, address = arguments
        if connection.family == getattr(socket, "AF_UNIX", None):
            return self._note(_local_service(address))
        if not isinstance(address, tuple) or connection.type & 0xF == socket.SOCK_DGRAM:
            return None  # connecting a datagram socket sends nothing
        return self._note(self._host_of(str(address[0]), int(address[1]), frame))

    def on_message(self, arguments: tuple[Any, ...], frame: Any) -> str | None:
        """Record a datagram that is sent to an address, and return its host if it counts."""
        address = arguments[1]
        if not isinstance(address, tuple):
            return None
        return self._note(self._host_of(str(address[0]), int(address[1]), frame))

    def on_resolve(self, arguments: tuple[Any, ...]) -> str | None:
        """Record a host name that is resolved, and return it if it counts."""
        host, *rest = arguments
        name = os.fsdecode(host).lower() if isinstance(host, str | bytes) else ""
        port = rest[0] if rest and isinstance(rest[0], int) else None
        self.resolved = True
        if name in self._own_names or _is_address(name):
            return None
        self._names[port] = name
        return None if self._is_tracking(name, port) else self._note(name)

    def _note(self, host: str | None) -> str | None:
        if host:
            self.hosts.setdefault(host)
        return host or None

    def _host_of(self, host: str, port: int, frame: Any) -> str | None:
        """Return the name under which a host is recorded; None if a connection to it does not count."""
        if self._is_tracking(host, port):
            return None
        if not _is_loopback(host):
            # Connections come with addresses: the name resolved last for this port says more, and stays the same when a
            # service has many addresses.
            return self._names.get(port, host)
        if _is_between_workers(frame):
            self._worker_ports.add(port)
            return None
        return None if process_sockets.listens_here(port) else f"{host}:{port}"

    def _is_tracking(self, host: str, port: int | None) -> bool:
        if self._tracking is None:
            return False
        name, tracking_port = self._tracking
        same = host in (name, self._names.get(port)) or (_is_loopback(host) and _is_loopback(name))
        known = name == self._names.get(port) and not _is_loopback(host)
        return (same or known) and port in (tracking_port, None)

    def document(self, *, looked_up: bool) -> dict[str, Any]:
        """Return the log as a JSON-serializable document.

        Parameters
        ----------
        looked_up : bool
            This process was seen to look up a host.
        """
        return {"hosts": [*self.hosts, *self._native(looked_up=looked_up)], "url_readers": self._url_readers()}

    def _native(self, *, looked_up: bool) -> list[str]:
        """Return hosts that native code connected to, and libraries that may have connected where no host is known."""
        clients = [name for module, name in NATIVE_CLIENTS.items() if module in sys.modules]
        if "duckdb" in sys.modules:
            clients += process_sockets.mapped_libraries(_EXTENSIONS)
        if looked_up and not self.resolved and not clients:
            clients.append("a library that is not written in Python")
        return [*self._native_hosts(), *(f"unknown host ({client})" for client in clients)]

    def _native_hosts(self) -> list[str]:
        """Return the hosts of connections that are open at the moment and that Python's audit events did not show."""
        own = {
            inode: descriptor
            for inode, descriptor in process_sockets.sockets_of().items()
            if inode not in self._kernel_sockets
        }
        if not process_sockets.has_tcp_socket(own.values()):
            return []
        entries = list(process_sockets.tcp_sockets())
        listening = {entry.port for entry in entries if not entry.host}
        hosts = []
        for entry in entries:
            # A local port that is listened on means an accepted connection: the step is the server.
            if not entry.host or entry.inode not in own or entry.port in listening:
                continue
            if self._is_tracking(entry.host, entry.remote_port) or entry.remote_port in self._worker_ports:
                continue
            if not _is_loopback(entry.host):
                hosts.append(self._names.get(entry.remote_port, entry.host))
            elif not process_sockets.listens_here(entry.remote_port):
                hosts.append(f"{entry.host}:{entry.remote_port}")
        return list(dict.fromkeys(host for host in hosts if host not in self.hosts))

    def _url_readers(self) -> list[str]:
        """Return the loaded libraries that may have read a URL; none if this machine opened no connection meanwhile."""
        # Linux counts for the whole network namespace: other programs can add a doubt, but hide no connection.
        opened = process_sockets.opened_connections()
        if opened is not None and opened == self._opened:
            return []
        return [name for module, name in URL_READERS.items() if module in sys.modules]


def _tracking_server() -> tuple[str, int | None] | None:
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address:
        return None
    from urllib.parse import urlsplit

    with contextlib.suppress(ValueError):
        url = urlsplit(address)
        if url.scheme in ("http", "https") and url.hostname:
            return url.hostname.lower(), url.port or (443 if url.scheme == "https" else 80)
    return None


def _local_service(address: Any) -> str | None:
    """Return the path of a Unix socket that may serve data; None for sockets of the system, workers and Jupyter."""
    path = os.fsdecode(address) if isinstance(address, str | bytes) else ""
    if not path.startswith("/") or path.startswith(_LOCAL_SERVICES) or "/pymp-" in path or _is_of_jupyter(path):
        return None
    return path


def _is_of_jupyter(path: str) -> bool:
    """Tell whether a Unix socket is in a folder in which Jupyter keeps its kernels' sockets."""
    folders = (os.environ.get("JUPYTER_RUNTIME_DIR"), os.path.expanduser("~/.local/share/jupyter/runtime"))
    return path.startswith((*(f"{folder}/" for folder in folders if folder), f"{tempfile.gettempdir()}/jupyter-"))


def _is_between_workers(frame: Any) -> bool:
    """Tell whether a package for parallel work opens a connection to one of its own worker processes."""
    while frame is not None and any(part in frame.f_code.co_filename for part in _TRANSPORTS):
        frame = frame.f_back
    return frame is not None and any(part in frame.f_code.co_filename for part in _WORKERS)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1", "0.0.0.0", "::") or host.startswith("127.")  # noqa: S104


def _is_address(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, name.partition("%")[0])
            return True
    return False
