"""The command ``serve``."""

from __future__ import annotations

from pathlib import Path

import click

from jupyter_pipelines.interfaces.cli.command import CONTEXT


@click.command(
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n  jupyter pipelines serve\n  jupyter pipelines serve notebooks --port 9000 --no-browser",
)
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", type=click.IntRange(1, 65535), help="Listen here. [default: the first free port from 8888 on]")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--allow-root", is_flag=True, help="Serve even if you are root, as in some containers.")
def serve(*, folder: Path, port: int | None, no_browser: bool, allow_root: bool) -> int:
    """Serve pages with the pipelines below FOLDER: graphs, runs, logs, and a form that starts a run.

    It listens to this machine only, and asks for the token that stands in the address it prints. Ctrl-C ends it; runs
    that it has started go on.
    """
    # jupyter_server and tornado are imported only by this command.
    from jupyter_pipelines.interfaces.server.standalone import serve as listen

    listen(folder, port=port, browser=not no_browser, root=allow_root)
    return 0
