"""Start Jupyter Server with this extension as a process, and send requests to it."""

from __future__ import annotations

import http.cookiejar
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.waiting import PATIENCE

TOKEN = "owner"
PREFIX = "/jupyter-pipelines/api/"


@dataclass(frozen=True, kw_only=True)
class ServerReply:
    """Response of the server."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def document(self) -> dict[str, Any]:
        """The answer as JSON."""
        return json.loads(self.text)

    @property
    def codes(self) -> list[str]:
        """Codes of the faults."""
        return [fault["code"] for fault in self.document["faults"]]


@dataclass(frozen=True, kw_only=True)
class JupyterServer:
    """Running server process, with methods for requests."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    cookies: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = TOKEN, **headers: str
    ) -> ServerReply:
        """Ask as a program does: with a token, no cookies."""
        return self._ask(urllib.request.build_opener(), method, path, body, token, headers)

    def browse(self, method: str, path: str, body: object = None, **headers: str) -> ServerReply:
        """Ask as a page in a browser does: with the cookies of a logged-in user."""
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        return self._ask(opener, method, path, body, None, headers)

    def log_in(self) -> None:
        """Get the cookies that a browser gets."""
        self.browse("GET", "/login")
        assert self.browse("GET", f"/login?token={TOKEN}&next=%2Fapi%2Fme").status == 200
        assert {cookie.name for cookie in self.cookies} >= {"_xsrf"}

    def register(self, name: str = "book.ipynb") -> str:
        """Register a notebook with the server, and return the prefix of its routes."""
        return f"notebooks/{self.ask('POST', 'notebooks', {'path': name}).document['id']}"

    def kill(self) -> None:
        """Kill the server as the out-of-memory killer does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def _ask(
        self,
        opener: urllib.request.OpenerDirector,
        method: str,
        path: str,
        body: object,
        token: str | None,
        headers: Mapping[str, str],
    ) -> ServerReply:
        address = self.address + (path if path.startswith("/") else PREFIX + path)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Content-Type": "application/json"} if content is not None and "Content-Type" not in sent else {}
        sent |= {"Authorization": f"token {token}"} if token else {}
        request = urllib.request.Request(address, data=content, method=method, headers=sent)
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                return ServerReply(status=answer.status, headers=answer.headers, text=answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return ServerReply(status=error.code, headers=error.headers, text=error.read().decode())


@contextmanager
def running_server(folder: Path, private: Path, *options: str, app: str = "server") -> Iterator[JupyterServer]:
    """Start a server in `folder`; `private` takes its settings and its log."""
    private.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), private / "server.log"
    command = [sys.executable, "-m", "jupyter", app, "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", *options]
    command += ['--ServerApp.jpserver_extensions={"jupyter_pipelines": True}']
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command, cwd=folder, stdout=stream, stderr=stream, env=environment(private), start_new_session=True
        )
    try:
        server = JupyterServer(folder=folder, port=port, process=process, log=log)
        await_server(server)
        yield server
    finally:
        end(process)


def environment(private: Path) -> dict[str, str]:
    """Return the environment of a server that does not use the settings of the user."""
    apart = {"JUPYTER_CONFIG_DIR": str(private / "config"), "JUPYTER_RUNTIME_DIR": str(private / "runtime")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "JUPYTER_PIPELINES_S"))}
    return kept | apart | {"JUPYTER_PLATFORM_DIRS": "1", "PYTHONPATH": str(private)}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_server(server: JupyterServer) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if server.ask("GET", "me").status != 404:
                return
        except OSError:
            time.sleep(0.1)  # a starting server offers no event to wait for
    raise AssertionError(server.log.read_text(errors="replace")[-4000:])
