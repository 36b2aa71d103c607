#!/usr/bin/env python3
"""The proof that containers reach facteur, and that nobody else does.

    cargo build --release
    python3 tests/containers.py target/release/facteur

Two network namespaces play a host and a container, with the bridge of a container engine between
them. A second network joins them with public addresses. First, facteur runs in the container with
the configuration of the image (contrib/container.toml), and the host sends and fetches mail: at the
address of the container, and at a port that is published on 127.0.0.1 of the host. Then facteur
runs on the host with the configuration that docs/guide.md shows, and a program in the container
sends and fetches. Each time a client from the public network is refused with a reply and a line in
the log, and SIGHUP with a narrower `open_to` ends the session of a client that waits.

It needs Linux, root, util-linux, iproute2 and Python 3. The namespaces end with the script.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import poplib
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

# The bridge of a container engine, and the container behind it.
HOST, CONTAINER = "172.17.0.1", "172.17.0.2"

# The same two by public addresses, which are for documentation (RFC 5737).
PUBLIC_HOST, PUBLIC_CONTAINER = "192.0.2.1", "192.0.2.2"

SMTP, POP3 = 65434, 65433

# Of sched.h; Python has unshare and setns since 3.12 only.
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

# Longest wait for anything, in seconds.
PATIENCE = 30.0

SETUP = f"""
ip link set lo up
ip link add bridge0 type bridge
ip addr add {HOST}/16 dev bridge0
ip link set bridge0 up
for number in 0 1; do
    ip link add host$number type veth peer name box$number netns $1
    ip link set host$number up
done
ip link set host0 master bridge0
ip addr add {PUBLIC_HOST}/24 dev host1
in_box="nsenter --target $1 --net"
$in_box ip link set lo up
$in_box ip link set box0 up
$in_box ip link set box1 up
$in_box ip addr add {CONTAINER}/16 dev box0
$in_box ip addr add {PUBLIC_CONTAINER}/24 dev box1
"""


class Failed(Exception):
    """A promise of the guide does not hold."""


def system_call(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"a network namespace: {errno.errorcode.get(number, number)}")


def run(*command: str) -> None:
    subprocess.run(command, check=True)


@contextlib.contextmanager
def container() -> Iterator[int]:
    """A process in a network of its own, which is connected to this one. Yields its number."""
    sleeper = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 600"]
    with subprocess.Popen(sleeper, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            run("sh", "-euc", SETUP, "sh", str(process.pid))
            yield process.pid
        finally:
            process.kill()


class Daemon:
    """facteur with this text as its configuration, in the network that `prefix` enters."""

    def __init__(self, program: Path, text: str, prefix: tuple[str, ...]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="facteur-containers-"))
        self.file = self.directory / "facteur.toml"
        self.log = self.directory / "log"
        self.file.write_text(text)
        command = [*prefix, str(program), "--config", str(self.file)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.directory, stderr=log, stdout=log)
        self.wait_for("ready")

    def wait_for(self, pattern: str) -> None:
        """Waits until the log has a line that matches."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.log.read_text()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failed(f"no {pattern!r} in the log:\n{self.log.read_text()}")
            time.sleep(0.01)

    def reload(self, text: str) -> None:
        self.file.write_text(text)
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self.process.terminate()
        if self.process.wait(PATIENCE) != 0:
            raise Failed(f"it does not stop in order:\n{self.log.read_text()}")
        shutil.rmtree(self.directory)


@contextlib.contextmanager
def published(port: int, target: tuple[str, int]) -> Iterator[None]:
    """A port on 127.0.0.1, each client of which is connected to `target`, as engines do it."""
    listener = socket.create_server(("127.0.0.1", port))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                sink.sendall(octets)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(target, PATIENCE)
                for ends in (client, server), (server, client):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def exchange(smtp: tuple[str, int], pop3: tuple[str, int], mailbox: str) -> None:
    """Sends a letter and fetches it, at these addresses."""
    with smtplib.SMTP(*smtp, timeout=PATIENCE) as sender:
        sender.sendmail("alice@example.com", [mailbox], f"Subject: to {mailbox}\r\n\r\nhello\r\n")
    reader = poplib.POP3(*pop3, timeout=PATIENCE)
    reader.user(mailbox)
    reader.pass_("any")
    letter = b"\n".join(reader.retr(1)[1])
    reader.quit()
    if f"Subject: to {mailbox}".encode() not in letter:
        raise Failed(f"another letter: {letter!r}")


def first_line(address: tuple[str, int]) -> str:
    """What the server says first, and that it says no more."""
    with socket.create_connection(address, PATIENCE) as client:
        client.settimeout(PATIENCE)
        said = b""
        while octets := client.recv(4096):
            said += octets
    return said.decode()


def check_refusals(daemon: Daemon, address: str, peer: str) -> None:
    """A client with a public address is refused, and the log names the address."""
    for port, code in (SMTP, "421 "), (POP3, "-ERR [SYS/PERM] "):
        said = first_line((address, port))
        if not said.startswith(code) or "open_to" not in said or said.count("\n") != 1:
            raise Failed(f"a client from {peer} gets {said!r}")
    daemon.wait_for(rf"turned away.*{re.escape(peer)}|{re.escape(peer)}.*turned away")


def check_narrowing(daemon: Daemon, address: str, text: str) -> None:
    """A session ends when SIGHUP takes its network out of `open_to`."""
    with socket.create_connection((address, SMTP), PATIENCE) as client:
        client.settimeout(PATIENCE)
        if not client.recv(4096).startswith(b"220 "):
            raise Failed("a client of the bridge is not greeted")
        daemon.reload(re.sub(r"open_to = .*", 'open_to = ["10.99.0.0/16"]', text))
        said = b""
        while octets := client.recv(4096):
            said += octets
    if not said.startswith(b"421 This server is no longer open "):
        raise Failed(f"after SIGHUP the session gets {said!r}")
    if not first_line((address, SMTP)).startswith("421 "):
        raise Failed("after SIGHUP the bridge is still served")
    daemon.reload(text)
    daemon.wait_for("(?s)open_to: without.*open_to: without.*open_to: without")
    with socket.create_connection((address, SMTP), PATIENCE) as client:
        client.settimeout(PATIENCE)
        if not client.recv(4096).startswith(b"220 "):
            raise Failed("after a wider open_to the bridge is not served")
        # The listeners cannot be closed, but nobody else is served.
        daemon.reload(re.sub(r"open_to = .*", "open_to = []", text))
        if not client.recv(4096).startswith(b"421 "):
            raise Failed("after an empty open_to the session goes on")


def in_container(program: Path, pid: int) -> None:
    """facteur in the container; its clients on the host."""
    text = (REPOSITORY / "contrib" / "container.toml").read_text()
    daemon = Daemon(program, text, ("nsenter", f"--net=/proc/{pid}/ns/net"))
    try:
        daemon.wait_for("open_to: without accounts, every client in 10.0.0.0/8, ")
        exchange((CONTAINER, SMTP), (CONTAINER, POP3), "bridge@example.com")
        with published(1025, (CONTAINER, SMTP)), published(1110, (CONTAINER, POP3)):
            exchange(("127.0.0.1", 1025), ("127.0.0.1", 1110), "published@example.com")
        check_refusals(daemon, PUBLIC_CONTAINER, PUBLIC_HOST)
        ready = [str(program), "--config", str(daemon.file), "check-ready"]
        run("nsenter", f"--net=/proc/{pid}/ns/net", *ready)
        check_narrowing(daemon, CONTAINER, text)
    finally:
        daemon.stop()


def on_host(program: Path, pid: int) -> None:
    """facteur on the host; its clients in the container."""
    guide = (REPOSITORY / "docs" / "guide.md").read_text()
    chapter = guide.split("## Clients in containers\n", 1)[1]
    text = re.search(r"```toml\n(.*?)```", chapter, re.DOTALL)[1]
    daemon = Daemon(program, text, ())
    try:
        with entered(pid):
            exchange((HOST, SMTP), (HOST, POP3), "inside@example.com")
            check_refusals(daemon, PUBLIC_HOST, PUBLIC_CONTAINER)
            check_narrowing(daemon, HOST, text)
        # The host itself is always served.
        exchange(("127.0.0.1", SMTP), ("127.0.0.1", POP3), "host@example.com")
    finally:
        daemon.stop()


@contextlib.contextmanager
def entered(pid: int) -> Iterator[None]:
    """This thread, in the network of the process."""
    with open("/proc/thread-self/ns/net", "rb") as own, open(f"/proc/{pid}/ns/net", "rb") as other:
        system_call(LIBC.setns(other.fileno(), CLONE_NEWNET))
        try:
            yield
        finally:
            system_call(LIBC.setns(own.fileno(), CLONE_NEWNET))


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    program = Path(sys.argv[1]).resolve()
    system_call(LIBC.unshare(CLONE_NEWNET))
    try:
        with container() as pid:
            in_container(program, pid)
            on_host(program, pid)
    except Failed as failure:
        print(f"FAILED: {failure}")
        return 1
    print("containers are served, and nobody else is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
