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

_KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "us-east-1"}
_ADMIN = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests", "region_name": "us-east-1"}
_READS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}],
}


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
    def reader(self, bucket: str) -> Iterator[Mapping[str, str]]:
        """For a while nobody may do anything, but for somebody who may read this bucket; yield what makes one them."""
        import boto3

        admin = boto3.client("iam", endpoint_url=self.address, **_ADMIN)
        name = bucket.removeprefix("s3://")
        admin.create_user(UserName=name)
        admin.put_user_policy(UserName=name, PolicyName="reads", PolicyDocument=json.dumps(_READS))
        key = admin.create_access_key(UserName=name)["AccessKey"]
        self._ask_for_rights("0")
        try:
            yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        finally:
            self._ask_for_rights("inf")

    def _ask_for_rights(self, after: str) -> None:
        plain = {"Content-Type": "text/plain"}
        request = Request(f"{self.address}/moto-api/reset-auth", data=after.encode(), headers=plain)
        urlopen(request, timeout=60).close()


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
