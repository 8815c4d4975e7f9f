"""Kernels that tests talk to through files: another process may take a free TCP port before it is used."""

from __future__ import annotations

import tempfile
from typing import Any

from jupyter_client.manager import AsyncKernelManager, KernelManager


def kernel_manager(**options: Any) -> KernelManager:
    """Return a manager for one kernel."""
    return KernelManager(**_connection_options(), **options)


def async_kernel_manager(**options: Any) -> AsyncKernelManager:
    """Return an asynchronous manager for one kernel."""
    return AsyncKernelManager(**_connection_options(), **options)


def _connection_options() -> dict[str, Any]:
    # The name of a socket is at most about 100 characters long; pytest's folders can have longer ones.
    return {"transport": "ipc", "ip": f"{tempfile.mkdtemp(prefix='jp-')}/k"}
