"""An S3 server on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.request import urlopen

from tests.browser.places import free_port

_KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class Server:
    """A server that speaks S3."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> Mapping[str, str]:
        """What lets anybody reach it."""
        return {**_KEYS, "AWS_ENDPOINT_URL": self.address, "AWS_EC2_METADATA_DISABLED": "true"}

    def make(self, bucket: str) -> str:
        """Make a bucket and return its URL."""
        import s3fs

        s3fs.S3FileSystem(endpoint_url=self.address, key="tests", secret="tests").mkdir(bucket)
        return f"s3://{bucket}"


@contextmanager
def s3() -> Iterator[Server]:
    """Start the server, and end it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env={**os.environ, **_KEYS}, **quiet)
    try:
        made = Server(f"http://127.0.0.1:{port}", process)
        _await(made)
        yield made
    finally:
        process.kill()
        process.wait()


def _await(server: Server) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.process.poll() is None:
        try:
            urlopen(server.address, timeout=5).close()
        except OSError:
            time.sleep(0.05)  # a server that starts has nothing that one could wait for
        else:
            return
    raise AssertionError("the S3 server does not start")
