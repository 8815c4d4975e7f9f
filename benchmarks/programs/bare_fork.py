"""Fork children that end at once, from a process with some imports: ``bare_fork.py MODULES COUNT``.

This is the lower bound for runners with a process per step.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # a process that forks has no threads


def seconds_of_cpu() -> float:
    """Return the CPU seconds of this process and its children."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def fork_once() -> float:
    """Return the seconds from fork to the end of the child."""
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return time.perf_counter() - start


modules, count = sys.argv[1].split(","), int(sys.argv[2])
for module in modules:
    importlib.import_module(module)
fork_once()
before = seconds_of_cpu()
times = [fork_once() for _ in range(count)]
cpu = (seconds_of_cpu() - before) / count
Path("figures.json").write_text(json.dumps({"wall": statistics.median(times), "cpu": cpu}), encoding="utf-8")
