"""An S3 server on loopback, spoken to by HTTP, in a process of its own.

Run as a program, this is the server: it prints its URL, goes away and comes back, with all that it has, as it
is told on standard input, and ends with it.
"""

import logging
import subprocess
import sys
import threading
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

    def new_bucket(self, kind: str = "bucket") -> str:
        """Create an empty bucket and give its name; one that is ``plain`` has no conditional copies."""
        name = f"{kind}-{self._name}-{next(self._numbers)}"
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
    # Only the server needs it, and it takes a while.
    from moto.s3.responses import S3Response  # noqa: PLC0415
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    S3Response.copy_object = _conditional(S3Response.copy_object)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(HOST, port, verbose=False)
    server.start()
    return server


def _conditional(copy):
    """Let copies have the conditions that Amazon's have; moto knows those of uploads only."""
    from moto.s3.exceptions import PreconditionFailed  # noqa: PLC0415

    if hasattr(copy, "lock"):
        return copy

    def conditional(self):
        if self.bucket_name.startswith("plain-"):
            return copy(self)
        with conditional.lock:
            there = self.backend.get_object(self.bucket_name, self.parse_key_name())
            if self.headers.get("If-None-Match") == "*" and there is not None:
                raise PreconditionFailed("If-None-Match")
            if (tag := self.headers.get("If-Match")) and (there is None or tag != there.etag):
                raise PreconditionFailed("If-Match")
            return copy(self)

    conditional.lock = threading.Lock()
    return conditional


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
