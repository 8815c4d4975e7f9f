"""A web server for tests of URLs that are inputs: what it serves can be changed, and it counts what it is asked."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OLD = "Mon, 01 Jan 2024 10:00:00 GMT"


@dataclass
class ServedFile:
    """What is under a path: its bytes, and what the server says about them."""

    content: bytes = b"a\n1\n"
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    account: str = ""
    refuses_head: bool = False
    silent: threading.Event | None = None


@dataclass
class UrlServer:
    """The server: files by path, and the requests that came, such as ``GET /data.csv``."""

    port: int
    files: dict[str, ServedFile] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)

    def url(self, path: str, account: str = "") -> str:
        return f"http://{account}{'@' if account else ''}127.0.0.1:{self.port}{path}"

    def serve(self, path: str, content: bytes = b"a\n1\n", **headers: str) -> ServedFile:
        self.files[path] = ServedFile(content, {name.replace("_", "-"): text for name, text in headers.items()})
        return self.files[path]

    def asked(self) -> list[str]:
        """Return the requests since the last call."""
        requests, self.requests[:] = list(self.requests), []
        return requests


class _Handler(BaseHTTPRequestHandler):
    served: UrlServer

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.served.requests.append(f"{self.command} {self.path}")
        self.served.headers.append(self.headers)
        file = self.served.files.get(path, ServedFile(b"", status=404))
        if file.silent is not None:
            file.silent.wait()
        wanted = f"Basic {base64.b64encode(file.account.encode()).decode()}" if file.account else None
        status = 401 if wanted and self.headers.get("Authorization") != wanted else file.status
        self.send_response(405 if file.refuses_head and self.command == "HEAD" else status)
        for name, text in {"Content-Length": str(len(file.content)), **file.headers}.items():
            if text:
                self.send_header(name, text)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(file.content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a request that a test leaves without an answer must not keep the process alive
    block_on_close = False


@contextmanager
def url_server() -> Iterator[UrlServer]:
    """Serve on a free port of this machine."""
    handler = type("Handler", (_Handler,), {})
    with _Server(("127.0.0.1", 0), handler) as httpd:
        handler.served = UrlServer(httpd.server_port)
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield handler.served
        finally:
            httpd.shutdown()
            thread.join()
