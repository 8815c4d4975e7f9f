"""A Ray cluster as users start it: nodes are separate processes, and only clients with its token can reach it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.waiting import PATIENCE

# A Ray node ends, and `ray start` says nothing of it, when its agents have not written down their ports after 15 s; no
# setting changes that, and a busy machine needs longer. For a port that it was given it does not wait. `ray start` does
# not pass on one of the four: https://github.com/ray-project/ray/issues/65983.
AGENT_PORTS = ("dashboard-agent-grpc", "dashboard-agent-listen", "metrics-export", "runtime-env-agent")
START_PROGRAM = """
import sys
from ray._private import services
from ray.scripts.scripts import main

def start_ray_process(command, process_type, *args, **options):
    if process_type == "raylet":
        port = next(argument for argument in sys.argv if argument.startswith("--dashboard-agent-listen-port="))
        command = [*command, port.replace("-", "_").replace("__", "--", 1)]
    return original(command, process_type, *args, **options)

original, services.start_ray_process = services.start_ray_process, start_ray_process
main()
"""


class RayCluster:
    """A cluster that runs.

    Parameters
    ----------
    folder : Path
        For logs and the token.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        token = folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": str(PATIENCE),  # a busy machine takes longer than its 30 s
            "RAY_agent_register_timeout_ms": str(1000 * PATIENCE),
            "RAY_memory_monitor_refresh_ms": "0",  # it ends tasks when other programs fill the memory of the machine
            "RAY_prestart_worker_first_driver": "0",  # a process for each core, whether needed or not
            "RAY_enable_worker_prestart": "0",
            "RAY_health_check_period_ms": "500",  # a node that is killed is missed sooner
        }
        self._port = free_port()
        self.address = ""
        self.nodes: list[subprocess.Popen[bytes]] = []

    def add(self, options: str) -> subprocess.Popen[bytes]:
        """Start another node, and wait until it is there."""
        log = self._folder / f"node-{len(self.nodes)}.log"
        first = ["--head", "--port", str(self._port), "--include-dashboard=false"]
        how = ["--address", self.address] if self.nodes else first
        ports = [f"--{name}-port={free_port()}" for name in AGENT_PORTS]
        with log.open("wb") as file:
            node = subprocess.Popen(
                [sys.executable, "-c", START_PROGRAM, "start", "--block", *how, *ports, *options.split()],
                cwd=self._folder,
                env={**os.environ, **self.environment},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.nodes.append(node)
        end = time.monotonic() + PATIENCE
        while "Ray runtime started" not in log.read_text() and node.poll() is None and time.monotonic() < end:
            time.sleep(0.05)  # a starting process offers nothing to wait for
        output = log.read_text()
        assert "Ray runtime started" in output, output
        if not self.address:
            host = next(line for line in output.splitlines() if "Local node IP" in line).rpartition(" ")[2]
            self.address = f"{host}:{self._port}"
        return node

    def end(self) -> None:
        """End all nodes."""
        for node in reversed(self.nodes):
            self.kill(node)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """End a node at once, with everything that it has started."""
        import psutil

        if node.returncode is not None:  # its number may be another process's by now
            return

        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(node.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()


@contextmanager
def ray_cluster(folder: Path, *nodes: str) -> Iterator[RayCluster]:
    """Start a node for each of `nodes`: the equivalent of ``ray start``."""
    made = RayCluster(folder)
    try:
        for options in nodes:
            made.add(options)
        yield made
    finally:
        made.end()
