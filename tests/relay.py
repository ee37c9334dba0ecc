"""A way by TCP to a server that listens on a socket file only.

Run as a program, this is the relay: it listens at an address and a port, tells which port that is, and takes
whatever comes to the socket, until it is killed.
"""

import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress

__all__ = ["Relay"]


class Relay:
    """A relay in a process of its own.

    Parameters
    ----------
    target : `str`
        The socket file.
    address : `str`, optional
        Where it listens.
    port : `int`, optional
        The port; 0 for one that is free.
    """

    def __init__(self, target: str, address: str = "127.0.0.1", port: int = 0) -> None:
        command = [sys.executable, "-S", __file__, target, address, str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 (ourselves)
        assert self._process.stdout is not None
        with self._process.stdout as told:
            self.port = int(told.readline())

    def close(self) -> None:
        """Cut all connections, and listen no more."""
        self._process.kill()
        self._process.wait()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    how = socket.SHUT_WR
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        # Who was cut off at one end is to learn of it at the other.
        how = socket.SHUT_RDWR
        with suppress(OSError):
            source.shutdown(how)
    with suppress(OSError):
        sink.shutdown(how)


def _serve(target: str, address: str, port: str) -> None:
    listener = socket.create_server((address, int(port)))
    print(listener.getsockname()[1], flush=True)  # noqa: T201 (its answer)
    while True:
        client, _ = listener.accept()
        # Whoever is cut off when this process is killed hears nothing of it later: no farewell is repeated.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server = socket.socket(socket.AF_UNIX)
        server.connect(target)
        for ends in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=ends, daemon=True).start()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
