"""The door that nobody stands at: ``python -m jupyter_pipelines.interfaces.runner STORE RUN`` carries out an order.

Started by :meth:`jupyter_pipelines.project.Project.detach`. The process forks at once and its first half ends, so that
what runs the pipeline is a child of nobody. It says one line on its standard output: that the run has begun, or why
not.
"""

from __future__ import annotations

import os
import signal
import sys


def main(store: str, run: str) -> None:
    """Carry out the order for a run, and tell on standard output how it begins.

    Parameters
    ----------
    store : str
        The store.
    run : str
        Id of the run.
    """
    from jupyter_pipelines.errors import PipelinesError
    from jupyter_pipelines.project import Project

    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        Project(store).carry_out(run, said)
    except PipelinesError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    # A terminal that goes away is none of its business; an interrupt counts even if its caller ignored interrupts.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(*sys.argv[1:])
