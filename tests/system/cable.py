"""A host whose network can be cut."""

import os
import re
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from relay import Relay
from system.service import wait_for

__all__ = ["elsewhere"]


@contextmanager
def elsewhere(server):
    """Have another host, which reaches a server of PostgreSQL by a cable."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("a network of its own needs root, and iproute2")
    host = Elsewhere(server)
    host.plug()
    try:
        yield host
    finally:
        host.remove()


class Elsewhere:
    """A host in a network namespace, whose only way to the server is a cable that can be pulled."""

    def __init__(self, server):
        number = os.getpid()
        self.name = f"pfs{number}"
        self.address = f"10.{number >> 8 & 255}.{number & 255}.1"
        self._socket = server.socket
        self._ends = (f"{self.name}a", f"{self.name}b")

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
        here, there = self._ends
        _ip("netns", "add", self.name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
        _ip("addr", "add", f"{self.address}/30", "dev", here)
        _ip("-n", self.name, "addr", "add", f"{self.address[:-1]}2/30", "dev", there)
        self.mend()

    def cut(self):
        """Pull the cable; the server notices at once, and the host only when it looks whether it is there.

        What the host says into the void is repeated until the cable is mended, and answered then. So this
        waits for a moment at which the server has heard everything, and the host waits for an answer.
        """
        wait_for(self._is_heard, "everything to be heard")
        self._set("down")
        self._relay.close()

    def mend(self):
        self._set("up")
        self._relay = Relay(self._socket, self.address, 5432)

    def _set(self, state):
        # Both ends: with one that is up the last words of the server would wait there for the other.
        here, there = self._ends
        _ip("link", "set", here, state)
        _ip("-n", self.name, "link", "set", there, state)

    def _is_heard(self):
        told = _ip("netns", "exec", self.name, "ss", "--tcp", "--numeric", "--no-header")
        return {line.split()[2] for line in told.splitlines()} == {"0"}

    def remove(self):
        self._relay.close()
        _ip("netns", "del", self.name)


def _ip(*arguments):
    command = [shutil.which("ip"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 (no shell)
