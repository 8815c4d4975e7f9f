"""Kernels that tests talk to through files: a free TCP port may be another one's before it is used."""

from __future__ import annotations

import tempfile
from typing import Any

from jupyter_client.manager import AsyncKernelManager, KernelManager


def kernel_manager(**options: Any) -> KernelManager:
    """Return what starts a kernel."""
    return KernelManager(**_place(), **options)


def async_kernel_manager(**options: Any) -> AsyncKernelManager:
    """Return the same for who waits for many."""
    return AsyncKernelManager(**_place(), **options)


def _place() -> dict[str, Any]:
    # The name of a socket is at most about 100 characters long; pytest's folders can have longer ones.
    return {"transport": "ipc", "ip": f"{tempfile.mkdtemp(prefix='jp-')}/k"}
