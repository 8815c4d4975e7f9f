"""The server extension in a standalone server, without JupyterLab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def serve(folder: Path, *, port: int | None, browser: bool, root: bool = False) -> None:
    """Serve the pipelines below a folder until the process is interrupted.

    Parameters
    ----------
    folder : Path
        The server's root.
    port : int or None
        Exactly this port; the first free port from 8888 on by default.
    browser : bool
        Open a page in the browser.
    root : bool
        Serve even if the user is root.
    """
    server = create_server(folder, port=port, browser=browser, root=root)
    server.start()


def create_server(folder: Path, *, port: int | None, browser: bool, root: bool = False) -> ServerApp:
    """Return the initialized server, not yet started; see :func:`serve`."""
    from jupyter_server.serverapp import ServerApp

    server: ServerApp = ServerApp.instance(
        root_dir=str(folder.resolve()),
        default_url="/jupyter-pipelines/",
        open_browser=browser,
        **({"allow_root": True} if root else {}),
        jpserver_extensions={"jupyter_pipelines": True},
        # No retries: a port that was asked for is used in bookmarks and proxies, and must not change.
        **({"port": port, "port_retries": 0} if port is not None else {}),
    )
    # No other extension of the environment is loaded; argv=[] keeps the options of our command from traitlets.
    server.initialize(argv=[], find_extensions=False)
    return server
