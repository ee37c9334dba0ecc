"""Notifications by a real program and to a real server: those that take them, and those that do not."""

import email
import json
import os
import socket
import socketserver
import stat
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from in_process import typed
from pfs_ingestd.adapters.notifications import by_command, by_webhook
from pfs_ingestd.ports import Delivery
from receiver import receiving

PATIENCE = timedelta(seconds=100)
"""More than anything takes that comes to its end by itself."""

MAIL = Path(__file__).parents[2] / "config" / "hooks" / "mail"
SHORT = timedelta(milliseconds=200)
TEXT = json.dumps({"version": 1, "text": "files in 星 were rejected"})


@pytest.fixture
def program(tmp_path):
    """Write programs for the shell."""

    def write(script):
        path = tmp_path / "tell"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


@pytest.fixture
def server():
    with receiving() as receiver:
        yield receiver


def outcome(courier, text=TEXT):
    courier.send(text)
    return courier.result(PATIENCE.total_seconds())


def tell(*command, timeout=PATIENCE, environ=os.environ):
    return outcome(by_command(command, timeout, environ))


def is_alive(process):
    """Say whether a process is there and not just waiting to be taken note of."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def processes():
    """Tell the parent and the command line of every process."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            yield parent, (folder / "cmdline").read_text()
        except OSError:  # it has ended in between
            continue


def test_a_program_reads_the_notification_and_its_arguments(program, tmp_path):
    """On standard input, whole; the arguments as they are, no shell in between."""
    command = program('cat > "$1"; printf "%s" "$2" > "$1.argument"')
    assert tell(command, str(tmp_path / "got"), "a $HOME; b") == Delivery()
    assert (tmp_path / "got").read_text() == TEXT
    assert (tmp_path / "got.argument").read_text() == "a $HOME; b"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("exit 0", ""),
        ("exit 3", "it ended with 3"),
        ("echo first >&2; echo no such mailbox >&2; exit 1", "no such mailbox"),
        ("echo only a remark >&2", ""),
        ("kill -9 $$", "it was killed by signal 9"),
        ("exec 2>&-; exit 4", "it ended with 4"),
        ("head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; echo the end >&2; exit 1", "the end"),
        ("echo password is postgresql://a:sesame@b >&2; exit 1", "password is postgresql://a:***@b"),
    ],
)
def test_how_a_program_ends_is_told(program, script, error):
    """By the last line that it says, or by its exit code; success needs neither."""
    assert tell(program(script)) == Delivery(error)


def test_a_program_that_cannot_be_started_is_told(tmp_path):
    """One that is not there, and one that is none."""
    dull = tmp_path / "dull"
    dull.write_text("no program")
    missing, none = tell(str(tmp_path / "missing")), tell(str(dull))
    assert missing == Delivery("it cannot be started: No such file or directory")
    assert none == Delivery("it cannot be started: Permission denied")


def test_a_program_that_hangs_is_killed_with_what_it_started(program, tmp_path):
    """Also if it minds no signal, and has left work to others."""
    command = program(f"trap '' TERM INT; sleep 1000 & echo $! $$ > {tmp_path}/started; wait; sleep 1000")
    assert tell(command, timeout=timedelta(seconds=3)) == Delivery("no end after 3 s")
    child, parent = (tmp_path / "started").read_text().split()
    deadline = time.monotonic() + 200
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)  # the kernel kills all of a group, but not in one instant
    assert (is_alive(child), is_alive(parent)) == (False, False)


def test_a_program_that_never_stops_talking_is_killed(program):
    """What it says fills neither memory nor a pipe."""
    error = tell(program("exec yes >&2"), timeout=timedelta(seconds=0.5))
    assert error == Delivery("no end after 0.5 s")


def test_work_that_a_program_leaves_behind_on_success_goes_on(program, tmp_path):
    """A program may start something long and end; nobody waits for it."""
    command = program(f"sleep 1000 & echo $! > {tmp_path}/started")
    assert tell(command) == Delivery()
    child = (tmp_path / "started").read_text().strip()
    assert is_alive(child)
    os.kill(int(child), 9)


def test_a_courier_that_is_told_to_stop_ends_its_program(program, tmp_path):
    """A daemon that ends leaves nothing behind."""
    courier = by_command(
        [program(f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; sleep 1000")],
        PATIENCE,
        os.environ,
    )
    courier.send(TEXT)
    while not (tmp_path / "pid").exists():
        time.sleep(0.01)
    courier.cancel()
    assert courier.result(PATIENCE.total_seconds()) == Delivery("it was ended, for the daemon stops")
    assert not is_alive((tmp_path / "pid").read_text().strip())


def test_a_program_does_not_get_what_is_the_daemons_own(program, tmp_path):
    """Neither systemd's socket nor settings, which may hold secrets; all else it gets."""
    environ = {
        "PATH": os.environ["PATH"],
        "NOTIFY_SOCKET": "/run/x",
        "WATCHDOG_USEC": "1",
        "PFS_INGESTD__NOTIFY__WEBHOOK": "https://chat/s3cret",
        "SMTP_HOST": "mail",
    }
    assert tell(program(f"env > {tmp_path}/env"), environ=environ) == Delivery()
    names = {line.split("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names & environ.keys() == {"PATH", "SMTP_HOST"}


class Mailbox(socketserver.StreamRequestHandler):
    """Takes one mail, by the least of SMTP."""

    def handle(self):
        self.wfile.write(b"220 here\r\n")
        said = iter(lambda: self.rfile.readline().decode().strip(), "QUIT")
        for line in said:
            self.server.heard.append(line)
            self.wfile.write(b"354 go on\r\n" if line == "data" else b"250 well\r\n")
            if line == "data":
                self.server.mail = email.message_from_bytes("\n".join(iter(lambda: next(said), ".")).encode())
                self.wfile.write(b"250 taken\r\n")


def test_the_program_for_mail_sends_mail():
    """config/hooks/mail, as docs/operations.md has it: the headline is the subject."""
    with socketserver.TCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.heard = []
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        host, port = server.server_address
        environ = os.environ | {"SMTP_HOST": host, "SMTP_PORT": str(port)}
        text = json.dumps({"text": "pfs-ingestd on ics: 2 files were rejected\n- b1 of visit 星\n- r1"})
        courier = by_command([str(MAIL), "from@ics", "a@b", "c@d"], PATIENCE, environ)
        assert outcome(courier, text) == Delivery()
        thread.join()
    assert server.mail["Subject"] == "pfs-ingestd on ics: 2 files were rejected"
    assert server.mail.get_payload(decode=True).decode().splitlines()[1:] == ["- b1 of visit 星", "- r1"]
    receivers = [line for line in server.heard if line.lower().startswith("rcpt")]
    assert [line.partition("<")[2].partition(">")[0] for line in receivers] == ["a@b", "c@d"]


def test_a_server_gets_the_notification(server):
    """As the body of a POST, in JSON."""
    courier = by_webhook(server.url, PATIENCE, os.environ)
    assert (outcome(courier), courier.to) == (Delivery(), f"http://127.0.0.1:{server.server_port}/***")
    assert server.messages == [json.loads(TEXT)]
    assert server.requests == [("/hooks/s3cret", "application/json")]


@pytest.mark.parametrize("answer", [307, 302, 404, 500])
def test_a_server_that_does_not_accept_is_told(server, answer):
    """No redirect is followed: it would end as a GET without a content, and look like success."""
    server.answer = answer
    assert outcome(by_webhook(server.url, PATIENCE, os.environ)) == Delivery(f"it answered {answer}")
    assert len(server.requests) == 1


def test_a_server_that_hangs_is_given_up(server):
    """After the time-out, whatever it waits for."""
    server.answer = None
    assert outcome(by_webhook(server.url, SHORT, os.environ)) == Delivery("no end after 0.2 s")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", "RemoteDisconnected"),
        (b"220 mail.example.org ESMTP\r\n", "BadStatusLine"),
    ],
)
def test_what_is_no_web_server_is_told_without_the_url(said, error):
    """A server of mail, or one that hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        courier = by_webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/s3cret", PATIENCE, os.environ)
        courier.send(TEXT)
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(said)
    assert courier.result(PATIENCE.total_seconds()) == Delivery(f"it did not answer as it should: {error}")


def test_a_server_that_is_not_there_is_told():
    """As the system says it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/s3cret"
    assert outcome(by_webhook(url, PATIENCE, os.environ)) == Delivery(
        "it cannot be reached: Connection refused"
    )


def test_a_test_tells_of_each_way_what_became_of_it(server, program, tmp_path):
    """`test-notify` sends the same as the daemon would, and ends with 1 if anything did not arrive."""
    config = tmp_path / "config.yaml"
    notify = {"command": [program(f"cat > {tmp_path}/got"), "x"], "webhook": server.url}
    content = {"repository": "repo", "watch": {"raw": "raw"}, "notify": notify}
    config.write_text(yaml.safe_dump(content))
    done = typed("test-notify", "-c", config)
    chat = f"webhook: http://127.0.0.1:{server.server_port}/***"
    assert (done.exit_code, done.output.splitlines()) == (
        0,
        [f"command: {tmp_path}/tell: delivered", f"{chat}: delivered"],
    )
    assert json.loads((tmp_path / "got").read_text()) == server.messages[0]
    assert server.messages[0]["kind"] == "test"

    server.answer = 500
    done = typed("test-notify", "-c", config)
    assert (done.exit_code, done.output.splitlines()[1]) == (1, f"{chat}: FAILED: it answered 500")

    config.write_text(yaml.safe_dump(content | {"notify": {}}))
    done = typed("test-notify", "-c", config)
    assert (done.exit_code, "nobody is told of anything" in done.stderr) == (78, True)


def test_the_url_is_on_no_command_line(server):
    """Other users of the host see command lines."""
    server.answer = None
    courier = by_webhook(server.url, PATIENCE, os.environ)
    courier.send(TEXT)
    while not server.requests:
        time.sleep(0.01)
    children = [command for parent, command in processes() if parent == os.getpid()]
    courier.cancel()
    (ours,) = [each for each in children if "post.py" in each]
    assert ours.startswith(sys.executable)
    assert "s3cret" not in "".join(children)
