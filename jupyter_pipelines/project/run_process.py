"""Entry point of a detached run: ``python -m jupyter_pipelines.project.run_process STORE RUN`` carries out an order.

Started by :meth:`jupyter_pipelines.project.Project.detach`. The process forks at once and the parent ends, so that
init adopts the process that runs the pipeline. It writes one line to its standard output: that the run has begun, or
why not.
"""

from __future__ import annotations

import os
import signal
import sys


def main(store: str, run: str) -> None:
    """Carry out the order for a run, and report its start on standard output.

    Parameters
    ----------
    store : str
        The store.
    run : str
        Id of the run.
    """
    from jupyter_pipelines.errors import PipelinesError
    from jupyter_pipelines.project.runnable_project import RunnableProject

    # Standard output carries one line for the process that waits: what libraries print goes to standard error.
    report_stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        RunnableProject(store).carry_out(run, report_stream)
    except PipelinesError as error:
        # Reported to the caller already: this is for the log of the run.
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from error


if __name__ == "__main__":
    # The parent ends at once, so that the run is a child of init: nothing has to wait for it, and no thread runs yet.
    if os.fork():
        os._exit(0)
    # The run outlives its terminal (SIGHUP); interrupts count even if the caller ignored them.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(*sys.argv[1:])
