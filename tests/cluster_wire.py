"""The little of PostgreSQL's protocol that cluster.py needs, and a proxy that cuts connections."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable


class Lost(Exception):
    """The connection was lost, or took too long: the outcome is unknown."""


class Failed(Exception):
    """The server has refused the statement; the text begins with the code of the error."""


class Database:
    """A connection as the user postgres, without a password."""

    def __init__(self, address: tuple[str, int], seconds: float) -> None:
        self.seconds = seconds
        # The warnings that came with the last answer, and its tag.
        self.warnings: list[str] = []
        self.tag = ""
        self.received = b""
        try:
            self.socket = socket.create_connection(address, timeout=seconds)
        except OSError as error:
            raise Lost(str(error)) from None
        words = b"user\0postgres\0database\0postgres\0\0"
        self.send(struct.pack(">ii", 8 + len(words), 3 << 16) + words)
        try:
            self.answer()
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        try:
            self.socket.sendall(octets)
        except OSError as error:
            raise Lost(str(error)) from None

    def take(self, count: int, deadline: float) -> bytes:
        while len(self.received) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Lost(f"no answer within {self.seconds:.0f} s")
            self.socket.settimeout(left)
            try:
                some = self.socket.recv(65536)
            except OSError as error:
                raise Lost(str(error)) from None
            if not some:
                raise Lost("closed by the server")
            self.received += some
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def answer(self) -> list[list[str | None]]:
        """The rows of an answer, to the end of which it reads."""
        deadline = time.monotonic() + self.seconds
        rows: list[list[str | None]] = []
        error = ""
        self.warnings, self.tag = [], ""
        while True:
            head = self.take(5, deadline)
            body = self.take(struct.unpack(">i", head[1:])[0] - 4, deadline)
            match head[:1]:
                case b"Z":
                    if error:
                        raise Failed(error)
                    return rows
                case b"E":
                    error = fields(body)
                    if error.startswith(("08", "57P", "40003")):
                        raise Lost(error)
                case b"N":
                    self.warnings.append(fields(body))
                case b"C":
                    self.tag = body.rstrip(b"\0").decode()
                case b"D":
                    rows.append(columns(body))

    def ask(self, statement: str) -> list[list[str | None]]:
        self.send(packet(statement))
        return self.answer()


def packet(statement: str) -> bytes:
    octets = statement.encode() + b"\0"
    return b"Q" + struct.pack(">i", 4 + len(octets)) + octets


def fields(body: bytes) -> str:
    """The code and the text of an error or a notice."""
    parts = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0") if field}
    return f"{parts.get(b'C', '')} {parts.get(b'M', '')}"


def columns(body: bytes) -> list[str | None]:
    row: list[str | None] = []
    (count,) = struct.unpack_from(">h", body)
    place = 2
    for _ in range(count):
        (length,) = struct.unpack_from(">i", body, place)
        place += 4
        row.append(body[place : place + length].decode() if length >= 0 else None)
        place += max(length, 0)
    return row


class Proxy:
    """Between clients on this machine and one server. While it is asked to, it cuts connections
    after a client has sent something: at once, a little later, or when the answer comes, which it
    keeps to itself. All in its threads are where its listener was made."""

    def __init__(self, target: tuple[str, int], rng: random.Random) -> None:
        self.target, self.rng = target, rng
        self.lock = threading.Lock()
        self.chance = 0.0
        self.n_cut = 0
        # What is held back until it may go on, and how many connections wait for that.
        self.held: bytes | None = None
        self.n_held = 0
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        # Set by whoever knows where its threads belong.
        self.thread: Callable[[Callable[[], None]], threading.Thread]

    def serve(self) -> None:
        """Until its listener is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                if self.listener.fileno() < 0:
                    return
                with contextlib.suppress(NameError, UnboundLocalError):
                    client.close()
                continue
            server.settimeout(None)
            for sock in client, server:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Set when the next octet of the server is to be the end.
            is_over = threading.Event()
            self.thread(lambda c=client, s=server, o=is_over: self.up(c, s, o)).start()
            self.thread(lambda c=client, s=server, o=is_over: self.down(c, s, o)).start()

    def up(self, client: socket.socket, server: socket.socket, is_over: threading.Event) -> None:
        """What the client sends. A statement begins with Q, P or B."""
        with contextlib.suppress(OSError):
            while octets := client.recv(65536):
                with self.lock:
                    is_cut = octets[:1] in b"QPB" and self.rng.random() < self.chance
                    how, pause = self.rng.randrange(3), self.rng.random() * 0.02
                    self.n_cut += is_cut
                if is_cut and how == 0:
                    is_over.set()
                self.wait_if_held(octets)
                server.sendall(octets)
                if is_cut and how > 0:
                    time.sleep(pause * (how - 1))
                    break
        close(client, server)

    def hold(self, octets: bytes | None) -> None:
        """From now on, what clients send is held back if it has these octets in it. With `None` it
        goes on."""
        with self.changed:
            self.held = octets
            self.changed.notify_all()

    def wait_if_held(self, octets: bytes) -> None:
        with self.changed:
            if self.held is not None and self.held in octets:
                self.n_held += 1
                self.changed.wait_for(lambda: self.held is None)
                self.n_held -= 1

    def down(self, client: socket.socket, server: socket.socket, is_over: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (octets := server.recv(65536)) and not is_over.is_set():
                client.sendall(octets)
        close(client, server)

    def close(self) -> None:
        self.listener.close()


def close(*sockets: socket.socket) -> None:
    for sock in sockets:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
