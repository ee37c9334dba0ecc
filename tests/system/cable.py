"""A host whose network can be cut."""

import os
import re
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from relay import Relay

__all__ = ["elsewhere"]


@contextmanager
def elsewhere(server):
    """Have another host, which reaches a server of PostgreSQL by a cable."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("a network of its own needs root, and iproute2")
    host = Elsewhere(server)
    host.plug()
    yield host
    host.remove()


class Elsewhere:
    """A host in a network namespace, whose only way to the server is a cable that can be pulled."""

    def __init__(self, server):
        number = os.getpid()
        self.name = f"pfs{number}"
        self.address = f"10.{number >> 8 & 255}.{number & 255}.1"
        self._socket = server.socket
        self._cable = f"{self.name}b"

    @property
    def within(self):
        """What to put before a command that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def seen_there(self, url):
        """Give the URL by which a database is reached from there."""
        before, _, after = re.fullmatch(r"(.*[?&]host=)([^&\s]*)(.*)", url).groups()
        return f"{before}{self.address}{after}"

    def plug(self):
        """Make host and cable."""
        here = f"{self.name}a"
        _ip("netns", "add", self.name)
        _ip("link", "add", here, "type", "veth", "peer", "name", self._cable, "netns", self.name)
        _ip("addr", "add", f"{self.address}/30", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", self.name, "addr", "add", f"{self.address[:-1]}2/30", "dev", self._cable)
        self.mend()

    def cut(self):
        """Pull the cable; the server notices, and the host does not."""
        _ip("-n", self.name, "link", "set", self._cable, "down")
        self._relay.close()

    def mend(self):
        _ip("-n", self.name, "link", "set", self._cable, "up")
        self._relay = Relay(self._socket, self.address, 5432)

    def remove(self):
        self._relay.close()
        _ip("netns", "del", self.name)


def _ip(*arguments):
    subprocess.run([shutil.which("ip"), *arguments], check=True, capture_output=True)  # noqa: S603 (no shell)
