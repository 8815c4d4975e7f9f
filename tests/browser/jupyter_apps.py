"""Start JupyterLab and Notebook 7 as processes, each in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tests.ports import free_port
from tests.waiting import PATIENCE

BROWSER = "/usr/bin/chromium"
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
]
TOKEN = "browser"
_EXPOSED = {"lab": "LabApp", "notebook": "JupyterNotebookApp"}
_SETTINGS = {
    "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings": (
        '{"fetchNews": "false", "checkForUpdates": false}'
    ),
    # By default what is offered later than after a second is not shown: a machine may be busy.
    "settings/@jupyterlab/completer-extension/manager.jupyterlab-settings": '{"providerTimeout": 60000}',
    # Each page would have the server start node and yarn, to see whether there is something to build.
    "config/labconfig/page_config.json": '{"buildCheck": false}',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndServer:
    """Running server of JupyterLab or Notebook 7.

    Parameters
    ----------
    app : {"lab", "notebook"}
        Which front end it serves.
    folder : Path
        Where its notebooks are.
    address : str
        URL without a slash at its end.
    process : Popen
        The server.
    log : Path
        Its standard output and error.
    """

    app: str
    folder: Path
    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def url(self, notebook: str) -> str:
        """Return where the browser finds a notebook."""
        if self.app == "notebook":
            return f"{self.address}/notebooks/{notebook}?token={TOKEN}"
        # JupyterLab opens again what an earlier test had open, unless it is told to begin anew.
        return f"{self.address}/lab/tree/{notebook}?reset&token={TOKEN}"


@contextmanager
def front_end_server(app: str, folder: Path, private: Path, *, port: int | None = None) -> Iterator[FrontEndServer]:
    """Start JupyterLab (``lab``) or Notebook 7 (``notebook``) in `folder`; `private` takes settings and the log."""
    chosen = port or free_port()
    log = private / f"{app}.log"
    for name, text in _SETTINGS.items():
        settings = private / name
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(text)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            _command(app, chosen), cwd=folder, stdout=stream, stderr=stream, env=_environment(private),
            start_new_session=True,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{chosen}"
        _await(address, process, log)
        yield FrontEndServer(app=app, folder=folder, address=address, process=process, log=log)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and the kernels that it started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _command(app: str, port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "jupyter",
        app,
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        f"--{_EXPOSED[app]}.expose_app_in_browser=True",
    ]


def _environment(private: Path) -> dict[str, str]:
    apart = {
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "IPYTHONDIR": str(private / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_NO_CONFIG": "",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "JUPYTER_PIPELINES_"))}
    return kept | apart


def _await(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urlopen(f"{address}/api?token={TOKEN}", timeout=5):
                return
        except OSError:
            time.sleep(0.1)  # a starting server offers no event to wait for
    raise AssertionError(log.read_text(errors="replace")[-4000:])
