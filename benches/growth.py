#!/usr/bin/env python3
"""How the cost of an operation grows with messages, mailboxes and connections.

    python3 benches/growth.py target/release/facteur growth.json
    python3 benches/growth.py target/release/facteur growth.json --dir /mnt --most 100000
    python3 benches/draw.py growth.json benches/growth.svg

The cost is the processor time that the daemon takes for one operation, in all its threads, so it
does not depend on how fast this client is. Each figure is the median of some repetitions. The
daemon runs on 127.0.0.1, with its mail in a directory that is removed at the end. A million
messages need 5 GB there and some minutes.

Needs Linux and Python 3.11, and no privileges.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import resource
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

READY = re.compile(rb"SMTP \S*?:(\d+).*?POP3 \S*?:(\d+)", re.S)
PATIENCE = 60.0
REPETITIONS = 5
QUIET = 4.0  # nothing is remembered of a directory that has changed a moment ago
SAMPLE = 1_000  # messages, logins or deliveries that are measured at once

CONFIG = """
[limits]
connections_per_address = 0
errors = 0
"""
LINES = b"Subject: growth\r\n\r\n" + b"A line of a message of about one KiB.\r\n" * 25
STORED = LINES.replace(b"\r\n", b"\n")

class Daemon:
    """The program that is measured."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.mail = directory / "mail"
        config = directory / "config.toml"
        config.write_text(CONFIG)
        arguments = ["--config", config, "--mail", self.mail, "--http", "off"]
        arguments += ["--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=open(directory / "log", "wb"),
        )
        # The clock of the processor time of a process (see clock_getcpuclockid).
        self.clock = (~self.process.pid << 3) | 2
        printed = b""
        while not (ports := READY.search(printed)):
            octets = os.read(self.process.stdout.fileno(), 4096)
            if not octets:
                raise SystemExit(f"{program} has not started; see {directory / 'log'}")
            printed += octets
        self.smtp, self.pop3 = int(ports[1]), int(ports[2])

    def cost(self, operations: int, of: Callable[[], None]) -> float:
        """The processor time in microseconds of each of so many operations."""
        before = time.clock_gettime(self.clock)
        of()
        return (time.clock_gettime(self.clock) - before) * 1e6 / operations

    def stop(self) -> None:
        self.process.terminate()
        if self.process.wait(PATIENCE) != 0:
            raise SystemExit("the daemon has failed; see its log")


class Client:
    """One connection, a command at a time or many."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.file = self.socket.makefile("rb")
        self.expect(b"220", b"+OK")

    def expect(self, *prefixes: bytes) -> bytes:
        line = self.file.readline()
        if not line.startswith(prefixes):
            raise SystemExit(f"expected {prefixes}, got {line!r}")
        return line

    def ask(self, command: bytes, *prefixes: bytes) -> bytes:
        self.socket.sendall(command + b"\r\n")
        return self.expect(*prefixes)

    def log_in(self, mailbox: str) -> int:
        """Returns how many messages there are."""
        self.ask(b"USER " + mailbox.encode(), b"+OK")
        self.ask(b"PASS growth", b"+OK")
        return int(self.ask(b"STAT", b"+OK").split()[1])

    def lines(self, command: bytes) -> int:
        """How many lines a reply has."""
        self.ask(command, b"+OK")
        count = 0
        while self.file.readline() != b".\r\n":
            count += 1
        return count

    def quit(self) -> None:
        self.ask(b"QUIT", b"221", b"+OK")
        self.file.close()
        self.socket.close()


def session(daemon: Daemon, mailbox: str) -> None:
    client = Client(daemon.pop3)
    client.log_in(mailbox)
    client.quit()


def send(daemon: Daemon, mailboxes: list[str]) -> None:
    """Sends a message to each of these, over one connection."""
    client = Client(daemon.smtp)
    client.ask(b"HELO growth", b"250")
    for mailbox in mailboxes:
        client.ask(b"MAIL FROM:<a@growth.test>", b"250")
        client.ask(b"RCPT TO:<" + mailbox.encode() + b">", b"250")
        client.ask(b"DATA", b"354")
        client.ask(LINES + b".", b"250")
    client.quit()


def fetch(daemon: Daemon, mailbox: str, removes: bool) -> None:
    """Fetches the newest messages, and removes them if asked for."""
    client = Client(daemon.pop3)
    count = client.log_in(mailbox)
    for number in range(count - SAMPLE + 1, count + 1):
        client.lines(b"RETR %d" % number)
        if removes:
            client.ask(b"DELE %d" % number, b"+OK")
    client.quit()


def fill(daemon: Daemon, mailbox: str, numbers: range) -> None:
    """Writes messages as another program does that gives their sizes."""
    local_part, domain = mailbox.split("@")
    maildir = daemon.mail / domain / local_part
    for name in ("tmp", "new", "cur"):
        (maildir / name).mkdir(parents=True, exist_ok=True)
    sizes = f"S={len(STORED)},W={len(LINES)}"
    for number in numbers:
        name = f"{1_600_000_000 + number // 10}.M{number}P1.growth,{sizes}"
        path = os.open(maildir / "new" / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(path, STORED)
        os.close(path)


def median_of(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(REPETITIONS))


def of_messages(daemon: Daemon, counts: list[int]) -> Iterator[tuple[int, str, float]]:
    mailbox, there = "big@growth.test", 0
    for count in counts:
        fill(daemon, mailbox, range(there, count))
        there = count
        os.sync()
        time.sleep(QUIET)
        first = daemon.cost(count, lambda: session(daemon, mailbox))
        yield count, "first login, each message", first

        def log_in() -> float:
            return daemon.cost(1, lambda: session(daemon, mailbox))

        yield count, "login", median_of(log_in)

        def list_all() -> float:
            client = Client(daemon.pop3)
            client.log_in(mailbox)
            cost = daemon.cost(count, lambda: client.lines(b"UIDL") and None)
            client.quit()
            return cost

        yield count, "UIDL, each message", median_of(list_all)
        one = [mailbox] * SAMPLE
        yield count, "accept", daemon.cost(SAMPLE, lambda: send(daemon, one))
        time.sleep(QUIET)
        session(daemon, mailbox)
        kept = daemon.cost(SAMPLE, lambda: fetch(daemon, mailbox, removes=False))
        login = daemon.cost(1, lambda: session(daemon, mailbox))
        yield count, "RETR", kept - login / SAMPLE
        gone = daemon.cost(SAMPLE, lambda: fetch(daemon, mailbox, removes=True))
        yield count, "RETR and removal", gone - login / SAMPLE


def of_mailboxes(daemon: Daemon, counts: list[int]) -> Iterator[tuple[int, str, float]]:
    for count in counts:
        mailboxes = [f"m{number}@of{count}.test" for number in range(count)]
        send(daemon, mailboxes)
        some = random.Random(count).choices(mailboxes, k=SAMPLE)
        yield count, "accept", median_of(lambda: daemon.cost(SAMPLE, lambda: send(daemon, some)))

        def log_in() -> None:
            for mailbox in some:
                session(daemon, mailbox)

        yield count, "login", median_of(lambda: daemon.cost(SAMPLE, log_in))


def of_connections(daemon: Daemon, counts: list[int]) -> Iterator[tuple[int, str, float]]:
    for count in counts:
        rounds = max(1, 4 * SAMPLE // count)
        with contextlib.ExitStack() as stack:
            clients = [Client(daemon.smtp) for _ in range(count)]
            for client in clients:
                stack.callback(client.socket.close)
                stack.callback(client.file.close)
                client.ask(b"HELO growth", b"250")
            turns = [
                b"MAIL FROM:<a@growth.test>",
                b"RCPT TO:<c%d@growth.test>",
                b"DATA",
                LINES + b".",
            ]

            def accept() -> None:
                for _ in range(rounds):
                    for turn in turns:
                        all_ask(clients, turn)

            yield count, "accept", median_of(lambda: daemon.cost(rounds * count, accept))
        with contextlib.ExitStack() as stack:
            clients = [Client(daemon.pop3) for _ in range(count)]
            for client in clients:
                stack.callback(client.socket.close)
                stack.callback(client.file.close)

            def capa() -> None:
                for _ in range(rounds):
                    all_ask(clients, b"CAPA")

            yield count, "a command", median_of(lambda: daemon.cost(rounds * count, capa))


def all_ask(clients: list[Client], command: bytes) -> None:
    """Every client sends the command, before any of them waits for its reply."""
    for number, client in enumerate(clients):
        sent = command.replace(b"%d", b"%d" % (number % 64))
        client.socket.sendall(sent + b"\r\n")
    with selectors.DefaultSelector() as waiting:
        for client in clients:
            waiting.register(client.socket, selectors.EVENT_READ, client)
        left = len(clients)
        while left:
            ready = waiting.select(PATIENCE)
            if not ready:
                raise SystemExit(f"{left} clients get no reply")
            for key, _ in ready:
                client: Client = key.data
                line = client.expect(b"250", b"354", b"+OK")
                while command == b"CAPA" and line != b".\r\n":
                    line = client.file.readline()
                waiting.unregister(client.socket)
                left -= 1


def measure(program: Path, parent: Path | None, most: int) -> dict:
    steps = {
        "Messages in the maildrop": (of_messages, [1_000, 10_000, 100_000, 1_000_000]),
        "Mailboxes": (of_mailboxes, [1, 100, 10_000]),
        "Connections": (of_connections, [16, 256, 4_096]),
    }
    panels = {}
    for axis, (steps_of, counts) in steps.items():
        directory = Path(tempfile.mkdtemp(prefix="growth.", dir=parent))
        daemon = Daemon(program, directory)
        try:
            series: dict[str, list] = {}
            for count, operation, cost in steps_of(daemon, [it for it in counts if it <= most]):
                print(f"{axis} {count}: {operation}: {cost:.2f} µs", file=sys.stderr, flush=True)
                series.setdefault(operation, []).append([count, round(cost, 2)])
            panels[axis] = series
            daemon.stop()
        finally:
            daemon.process.kill()
            shutil.rmtree(directory, ignore_errors=True)
    title = "Processor time of an operation, by messages, mailboxes and connections"
    return {"title": title, "unit": "µs", "panels": panels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("figures", type=Path, help="the file that is written")
    parser.add_argument("--dir", type=Path, help="where the mail is while it is measured")
    parser.add_argument("--most", type=int, default=1_000_000, help="leave out larger counts")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures = measure(given.program.resolve(), given.dir, given.most)
    given.figures.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
