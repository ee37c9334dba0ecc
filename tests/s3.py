"""An S3 server on loopback, spoken to by HTTP, in a process of its own.

Run as a program, this is the server: it prints its URL, goes away and comes back, with all that it has, as it
is told on standard input, and ends with it.
"""

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from uuid import uuid4

import boto3
from botocore.config import Config

__all__ = ["S3Server", "s3_server", "serving"]

HOST = "127.0.0.1"


class S3Server:
    """A running server, and buckets in it.

    Parameters
    ----------
    url : `str`
        Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._name = uuid4().hex[:12]
        self._numbers = count(1)
        self.client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="tester",
            aws_secret_access_key="secret",  # noqa: S106 (any will do)
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to know to find it, and nothing that the machine has to say of another."""
        return {
            "S3_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": HOST,
            "no_proxy": HOST,
        }

    def new_bucket(self) -> str:
        """Create an empty bucket and give its name."""
        name = f"bucket-{self._name}-{next(self._numbers)}"
        self.client.create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Get all that is in a bucket, by key."""
        keys = self.tags(bucket)
        return {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def tags(self, bucket: str) -> dict[str, str]:
        """Get the tags of all that is in a bucket, by key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", ())}


class OwnServer(S3Server):
    """A server that a test has for itself: it can go away, and come back with all that it had.

    Parameters
    ----------
    process : `subprocess.Popen`
        It.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        super().__init__(self._answer())

    def stop(self) -> None:
        """Refuse every connection from now on."""
        self._tell("stop")

    def start(self) -> None:
        """Listen again."""
        self._tell("start")

    def _tell(self, what: str) -> None:
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        assert answer, "the S3 server died"
        return answer


@contextmanager
def s3_server() -> Iterator[OwnServer]:
    """Run a server."""
    with subprocess.Popen(  # noqa: S603 (ourselves)
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield OwnServer(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def serving() -> Iterator[str]:
    """Serve in this process; give the address."""
    server = _listening(0)
    try:
        yield _url(server)
    finally:
        server.stop()


def _listening(port: int):
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (only the server needs it, and it takes a while)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(HOST, port, verbose=False)
    server.start()
    return server


def _url(server) -> str:
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def _obey() -> None:
    server = _listening(0)
    _, port = server.get_host_and_port()
    print(_url(server), flush=True)  # noqa: T201 (its answer)
    for line in sys.stdin:
        if line.strip() == "stop":
            server.stop()
        else:
            server = _listening(port)
        print("done", flush=True)  # noqa: T201 (its answer)


if __name__ == "__main__":
    _obey()
