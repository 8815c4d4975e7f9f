"""Time ``%pipeline run`` in a running kernel, with everything computed: ``live_kernel.py NOTEBOOK``."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

import psutil
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

TIMES = 9
TIMEOUT = 120


def execute(client: BlockingKernelClient, code: str) -> tuple[float, str]:
    """Execute `code` and return the seconds that it took, and its output."""
    shown: list[str] = []
    start = time.perf_counter()
    reply = client.execute_interactive(
        code, timeout=TIMEOUT, output_hook=lambda message: shown.append(json.dumps(message["content"]))
    )
    seconds = time.perf_counter() - start
    if reply["content"]["status"] != "ok":
        raise RuntimeError("\n".join(reply["content"].get("traceback", ())))
    return seconds, "\n".join(shown)


def no_op(client: BlockingKernelClient) -> float:
    """Return the seconds of a run that has nothing to do."""
    seconds, shown = execute(client, "%pipeline run")
    if "reused" not in shown:
        raise RuntimeError(f"it did not reuse everything: {shown[-2000:]}")
    return seconds


os.environ["JUPYTER_PIPELINES_NOTEBOOK"] = str(Path(sys.argv[1]).absolute())
manager, client = start_new_kernel(cwd=str(Path.cwd()))
try:
    load, _ = execute(client, "%load_ext jupyter_pipelines")
    first = no_op(client)
    kernel = psutil.Process(manager.provisioner.pid)
    before = sum(kernel.cpu_times())
    times = [no_op(client) for _ in range(TIMES)]
    cpu = (sum(kernel.cpu_times()) - before) / TIMES
finally:
    client.stop_channels()
    manager.shutdown_kernel()
figures = {"load": load, "first": first, "wall": statistics.median(times), "slowest": max(times), "cpu": cpu}
Path("figures.json").write_text(json.dumps(figures), encoding="utf-8")
