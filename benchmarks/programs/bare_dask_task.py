"""Time of a bare Dask task with a warm kernel: the worker keeps a kernel, and a task executes a cell in it."""

import sys
import time
from typing import Any

KERNELS: dict[str, Any] = {}


def run_cell(code: str) -> str:
    """Run a cell in this worker's kernel, and return the status of its reply."""
    if not KERNELS:
        from jupyter_client.manager import start_new_kernel

        KERNELS["manager"], KERNELS["client"] = start_new_kernel()
    reply = KERNELS["client"].execute(code, reply=True, timeout=60)
    return str(reply["content"]["status"])


def measure() -> None:
    """Submit tasks one after the other: the arguments are the address of the scheduler and the number of tasks."""
    from bare_dask_task import run_cell  # workers import the module: functions of __main__ would be sent with each task
    from distributed import Client

    address, count = sys.argv[1], int(sys.argv[2])
    with Client(address, set_as_default=False) as client:
        (worker, *_) = client.scheduler_info(n_workers=-1)["workers"]
        client.submit(run_cell, "x = 0", pure=False, workers=worker).result()
        start = time.perf_counter()
        for number in range(count):
            if client.submit(run_cell, f"x{number} = {number}", pure=False, workers=worker).result() != "ok":
                raise SystemExit("a cell has failed")
        sys.stdout.write(f"{(time.perf_counter() - start) / count}")


if __name__ == "__main__":
    measure()
