"""An S3 server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.request import Request, urlopen

from tests.ports import free_port
from tests.waiting import PATIENCE

_KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "us-east-1"}
_ADMIN = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests", "region_name": "us-east-1"}
_READS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}],
}


@dataclass(frozen=True)
class S3Server:
    """A running server with the S3 interface."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the environment variables with which a process reaches the server."""
        return {**_KEYS, "AWS_ENDPOINT_URL": self.address, "AWS_EC2_METADATA_DISABLED": "true"}

    def create_bucket(self, bucket: str) -> str:
        """Create a bucket and return its URL."""
        import s3fs

        s3fs.S3FileSystem(endpoint_url=self.address, key="tests", secret="tests").mkdir(bucket)
        return f"s3://{bucket}"

    @contextmanager
    def read_only_user(self, bucket: str) -> Iterator[Mapping[str, str]]:
        """Enforce access rights and yield credentials of a read-only user, for the duration of the block."""
        import boto3

        admin = boto3.client("iam", endpoint_url=self.address, **_ADMIN)
        name = bucket.removeprefix("s3://")
        admin.create_user(UserName=name)
        admin.put_user_policy(UserName=name, PolicyName="reads", PolicyDocument=json.dumps(_READS))
        key = admin.create_access_key(UserName=name)["AccessKey"]
        self._enforce_rights("0")
        try:
            yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        finally:
            self._enforce_rights("inf")

    def _enforce_rights(self, after: str) -> None:
        plain = {"Content-Type": "text/plain"}
        request = Request(f"{self.address}/moto-api/reset-auth", data=after.encode(), headers=plain)
        urlopen(request, timeout=PATIENCE).close()


@contextmanager
def s3() -> Iterator[S3Server]:
    """Start the server, and stop it at the end."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env={**os.environ, **_KEYS}, **quiet)
    try:
        server = S3Server(f"http://127.0.0.1:{port}", process)
        _await(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _await(server: S3Server) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.process.poll() is None:
        try:
            urlopen(server.address, timeout=5).close()
        except OSError:
            time.sleep(0.05)  # the server does not signal that it is ready
        else:
            return
    raise AssertionError("the S3 server does not start")
