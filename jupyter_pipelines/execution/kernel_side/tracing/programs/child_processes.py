"""Tell whether this process has or had child processes.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os

with contextlib.suppress(ImportError):  # not on all systems
    import resource


def had_children() -> bool:
    """Tell whether child processes of this process have ended; True where the system does not tell."""
    # Children that have ended and been reaped leave their peak memory here, and no other trace.
    try:
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0
    except NameError:
        return True


def has_children() -> bool:
    """Tell whether this process has child processes now; True where the system does not tell."""
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                if file.read().strip():
                    return True
    except OSError:
        return True
    return False
