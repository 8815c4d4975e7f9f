"""What a bare Dask task with a warm kernel takes: the worker keeps a kernel, a task runs one cell in it."""

import sys
import time
from typing import Any

KERNELS: dict[str, Any] = {}


def cell(code: str) -> str:
    """Run a cell in this worker's kernel, and return the status of its reply."""
    if not KERNELS:
        from jupyter_client.manager import start_new_kernel

        KERNELS["manager"], KERNELS["client"] = start_new_kernel()
    reply = KERNELS["client"].execute(code, reply=True, timeout=60)
    return str(reply["content"]["status"])


def measure() -> None:
    """Submit one after the other to the scheduler at the first argument, as often as the second says."""
    from bare_submit import cell  # as a module that workers import: what is in __main__ travels with every task
    from distributed import Client

    address, count = sys.argv[1], int(sys.argv[2])
    with Client(address, set_as_default=False) as client:
        (worker, *_) = client.scheduler_info(n_workers=-1)["workers"]
        client.submit(cell, "x = 0", pure=False, workers=worker).result()
        begun = time.perf_counter()
        for number in range(count):
            if client.submit(cell, f"x{number} = {number}", pure=False, workers=worker).result() != "ok":
                raise SystemExit("a cell has failed")
        sys.stdout.write(f"{(time.perf_counter() - begun) / count}")


if __name__ == "__main__":
    measure()
