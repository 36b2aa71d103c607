#!/usr/bin/env python3
"""The proof on the real thing: the program loses nothing that it has acknowledged.

    python3 tests/survival.py --short target/release/facteur
    python3 tests/survival.py --long target/release/facteur
    python3 tests/survival.py --short target/release/facteur power --rounds 5 --seed 7

Clients send and fetch mail and keep a ledger of every reply that they read. Meanwhile the daemon
is killed, the power of its disk is cut, the disk is full or fails. Then the daemon is started again
and what it has is compared with the ledger (class Ledger tells the rules).

    self-test  mail is tampered with behind the daemon's back; the comparison has to notice
    kill       SIGKILL under load
    power      a power cut of an ext4 file system under load (FS_IOC_SHUTDOWN without a last flush)
    control    the same with syncing switched off: the loss has to be noticed
    full       no blocks left, and then no inodes left, under load
    eio        the disk below the file system begins to fail under load
    inject     strace makes system calls fail, or kills the daemon at one of them

Everything needs Linux; power, control, full and eio need root, loop devices and e2fsprogs; control
and inject need strace. What cannot be done here is a failure, never silence. All mail, images and
logs lie in one directory, which is removed at the end unless --keep is given.

The seed decides what is sent and when the daemon is hit. The scheduler has its say, too, so the
same seed gives the same kind of run, not the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import fcntl
import hashlib
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

# Longest wait for anything the daemon or the system does, in seconds. Long, because a machine that
# compiles at the same time is slow; whoever waits this long waits for something that never comes.
PATIENCE = 60.0

FS_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
GOING_FLAGS_NOLOGFLUSH = 2  # stop at once: neither data nor the file system's journal is written

KIB = 1024
MIB = 1024 * KIB

MAILBOXES = [f"box{n}@{domain}.test" for domain in ("one", "two", "three") for n in range(12)]


class Unable(Exception):
    """This machine cannot do what the scenario needs."""


class Broken(Exception):
    """The connection to the daemon broke."""


class Refused(Exception):
    """The daemon refused a command; the text is its reply."""


class NotStarted(Exception):
    """The daemon ended before it said where it listens."""

    def __init__(self, code: int, log: str) -> None:
        super().__init__(f"the daemon did not start (exit code {code}): {log.strip()[-500:]}")
        self.code = code
        self.log = log


class Kind(enum.Enum):
    """What a finding is about."""

    LOST = "lost"
    TORN = "torn"
    BACK = "came back, or never was there"
    TWICE = "twice"
    UNIQUE_ID = "unique-id"
    SIZE = "size"
    REPLY = "reply"
    CRASH = "crash"


class Finding(Exception):
    """Something that the daemon must never do."""

    def __init__(self, kind: Kind, text: str, number: int | None = None) -> None:
        super().__init__(f"{kind.value}: {text}")
        self.kind = kind
        self.number = number


class Findings(Exception):
    """All that one comparison or one load has found."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(f"{len(findings)} findings")
        self.findings = findings


# --------------------------------------------------------------------------------------- messages


@dataclass(frozen=True)
class Letter:
    """A message as it is sent: it says itself which one it is and what it must look like."""

    number: int
    reverse_path: str
    content: bytes


class Letters:
    """Writes letters. Their lines are of all kinds that may be sent: empty, long, with dots."""

    def __init__(self, rng: random.Random) -> None:
        lines = []
        while sum(map(len, lines)) < MIB:
            text = rng.randbytes(48).hex().encode()
            lines += [text[: rng.randrange(76)] for _ in range(20)]
            lines += [b"", b".", b"..", b"." + text, b"From " + text, b"\t" + text + b"  "]
            lines += [bytes(rng.choices(range(128, 256), k=60)), text * rng.randrange(2, 60)]
        rng.shuffle(lines)
        self.text = b"".join(line + b"\r\n" for line in lines)
        self.lock = threading.Lock()
        self.n_written = 0

    def write(self, rng: random.Random, octets: int) -> Letter:
        """A new letter of about that many octets."""
        with self.lock:
            self.n_written += 1
            number = self.n_written
        start = self.text.index(b"\r\n", rng.randrange(len(self.text) - 400 * KIB)) + 2
        end = self.text.rindex(b"\r\n", start - 2, start + max(octets - 130, 1)) + 2
        rest = b"Subject: letter %d\r\n\r\n" % number + self.text[start:end]
        digest = hashlib.sha256(rest).hexdigest().encode()
        content = b"X-Test: %d %s %d\r\n" % (number, digest, len(rest)) + rest
        return Letter(number, f"sender{number}@client.test", content)


def some_size(rng: random.Random) -> int:
    """Mostly small; some on either side of 128 KiB, where a journal may end; some large."""
    kind = rng.random()
    if kind < 0.88:
        return int(200 * 100 ** rng.random())
    if kind < 0.94:
        return rng.randrange(120 * KIB, 140 * KIB)
    if kind < 0.97:
        return 128 * KIB + rng.randrange(-1200, 200)
    return 300 * KIB


# What the daemon puts in front of a message, and the first line of every letter.
WITH_TRACE = re.compile(
    rb"Return-Path: <([^>\r\n]*)>\r\n"
    rb"Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*"
    rb"X-Test: (\d+) ([0-9a-f]{64}) (\d+)\r\n"
)


def number_of(octets: bytes, where: str) -> tuple[int, str]:
    """Which letter this is, and its reverse-path; or the finding that it is not a whole letter."""
    found = WITH_TRACE.match(octets)
    if found is None:
        raise Finding(Kind.TORN, f"{where}: not a letter: {len(octets)} octets, {octets[:200]!r}")
    number, rest = int(found[2]), octets[found.end() :]
    if len(rest) != int(found[4]) or hashlib.sha256(rest).hexdigest().encode() != found[3]:
        text = f"{where}: letter {number} has {len(rest)} of {int(found[4])} octets, or others"
        raise Finding(Kind.TORN, text, number)
    return number, found[1].decode()


# ----------------------------------------------------------------------------------------- ledger


class Fate(enum.Enum):
    """What a maildrop owes its clients about one copy of a letter."""

    OPEN = "sent, but no 250 was read: there or not"
    KEPT = "acknowledged, or seen in the maildrop: there"
    LEAVING = "QUIT was sent after DELE, but no +OK was read: there or not"


@dataclass
class Drop:
    """What is known of one maildrop. What was removed, or settled as absent, is not in it."""

    fates: dict[int, Fate] = field(default_factory=dict)
    unique_ids: dict[int, bytes] = field(default_factory=dict)


class Ledger:
    """Everything that clients were told, and the rules that follow from it.

    - A letter whose 250 was read is in every recipient's maildrop, once, octet for octet below the
      trace header fields. So is one that a maildrop has shown: nothing is shown before it is
      durable.
    - A letter without a 250 is in each maildrop once or not at all, and never in part. A sender
      does not send it again, so nothing is ever there twice.
    - What was marked with DELE is gone for good when +OK to QUIT was read; it may be either when
      QUIT was sent and no +OK read; it is there when QUIT was not sent.
    - A unique-id stays with its letter, and no other letter of the maildrop ever gets it.
    - What a maildrop shows, or does not show, after a restart is settled.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.drops: defaultdict[str, Drop] = defaultdict(Drop)
        # Which letter a unique-id was ever given to. Hashes, for the long run.
        self.owners: dict[int, int] = {}
        self.counts: Counter[str] = Counter()
        # What happened to which letter, for whoever has to find out why.
        self.events: deque[tuple[float, int, str, str]] = deque(maxlen=400_000)

    def note(self, number: int, mailbox: str, event: str) -> None:
        """Counts and keeps what happened. The lock has to be held."""
        self.counts[event] += 1
        self.events.append((time.monotonic(), number, mailbox, event))

    def send(self, number: int, mailboxes: list[str]) -> None:
        """The content of a letter is about to be sent; from here on it may be there."""
        with self.lock:
            for mailbox in mailboxes:
                self.drops[mailbox].fates[number] = Fate.OPEN
                self.note(number, mailbox, "sent")

    def acknowledge(self, number: int, mailboxes: list[str]) -> None:
        """The 250 was read."""
        with self.lock:
            for mailbox in mailboxes:
                # A reader may have seen and even removed it before the sender read its 250.
                if self.drops[mailbox].fates.get(number) is Fate.OPEN:
                    self.drops[mailbox].fates[number] = Fate.KEPT
                self.note(number, mailbox, "acknowledged")

    def kept(self, mailbox: str) -> set[int]:
        """The letters that have to be in the maildrop of whoever logs in now."""
        with self.lock:
            fates = self.drops[mailbox].fates
            return {number for number, fate in fates.items() if fate is Fate.KEPT}

    def see(self, mailbox: str, unique_id: bytes, octets: bytes) -> int:
        """A maildrop has shown this message under this unique-id. Gives the letter's number."""
        number, reverse_path = number_of(octets, f"{mailbox} {unique_id.decode()}")
        if reverse_path != f"sender{number}@client.test":
            raise Finding(Kind.TORN, f"letter {number} has Return-Path <{reverse_path}>", number)
        with self.lock:
            drop = self.drops[mailbox]
            if number not in drop.fates:
                text = f"letter {number} is in {mailbox} as {unique_id.decode()}"
                raise Finding(Kind.BACK, text, number)
            known = drop.unique_ids.setdefault(number, unique_id)
            owner = self.owners.setdefault(hash((mailbox, unique_id)), number)
            if known != unique_id or owner != number:
                text = f"letter {number} in {mailbox} was {known!r}, is now {unique_id!r}"
                if owner != number:
                    text += f", which was that of letter {owner}"
                raise Finding(Kind.UNIQUE_ID, text, number)
            if drop.fates[number] is Fate.OPEN:
                drop.fates[number] = Fate.KEPT
                self.note(number, mailbox, "seen")
        return number

    def leave(self, mailbox: str, numbers: list[int]) -> None:
        """QUIT is about to be sent with these letters marked."""
        with self.lock:
            for number in numbers:
                self.drops[mailbox].fates[number] = Fate.LEAVING
                self.note(number, mailbox, "leaving")

    def remove(self, mailbox: str, numbers: list[int], event: str = "removed") -> None:
        """+OK to QUIT was read, or a restart has settled that these are not there."""
        with self.lock:
            for number in numbers:
                del self.drops[mailbox].fates[number]
                self.drops[mailbox].unique_ids.pop(number, None)
                self.note(number, mailbox, event)

    def settle(self, mailbox: str, there: set[int]) -> list[Finding]:
        """After a restart: compares, and makes what was open certain."""
        with self.lock:
            fates = self.drops[mailbox].fates
            absent = [number for number in fates if number not in there]
            lost = [number for number in absent if fates[number] is Fate.KEPT]
            for number in there & fates.keys():
                fates[number] = Fate.KEPT
        self.remove(mailbox, absent, "settled as absent")
        return [Finding(Kind.LOST, f"letter {n} is not in {mailbox}", n) for n in lost]

    def mailboxes(self) -> list[str]:
        """All maildrops that could have something in them."""
        with self.lock:
            return [mailbox for mailbox, drop in self.drops.items() if drop.fates]

    def copies(self) -> int:
        """How many copies are, or may be, in all maildrops."""
        with self.lock:
            return sum(len(drop.fates) for drop in self.drops.values())

    def history(self, number: int) -> Iterator[str]:
        """What happened to a letter."""
        for when, its_number, mailbox, event in list(self.events):
            if its_number == number:
                yield f"{when:.6f} letter {number} {mailbox}: {event}"


# ---------------------------------------------------------------------------------------- clients


class Wire:
    """A connection to the daemon. Every wait has a deadline, and missing it is a finding."""

    def __init__(self, port: int) -> None:
        self.received = bytearray()
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except TimeoutError:
            raise Finding(Kind.REPLY, "the daemon takes no connection") from None
        except OSError as error:
            raise Broken(str(error)) from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """Sends all of them."""
        try:
            self.socket.sendall(octets)
        except TimeoutError:
            raise Finding(Kind.REPLY, "the daemon does not read") from None
        except OSError as error:
            raise Broken(str(error)) from None

    def until(self, mark: bytes) -> bytes:
        """What comes up to `mark`, and the mark."""
        start = 0
        while (found := self.received.find(mark, start)) < 0:
            start = max(len(self.received) - len(mark), 0)
            try:
                octets = self.socket.recv(256 * KIB)
            except TimeoutError:
                raise Finding(Kind.REPLY, f"no reply in {PATIENCE:.0f} s") from None
            except OSError as error:
                raise Broken(str(error)) from None
            if not octets:
                raise Broken("closed by the daemon")
            self.received += octets
        end = found + len(mark)
        octets = bytes(self.received[:end])
        del self.received[:end]
        return octets


class Smtp(Wire):
    """An SMTP session."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.expect("220")
        self.command("EHLO client.test", "250")

    def reply(self) -> str:
        """The last line of the next reply."""
        while (line := self.until(b"\r\n"))[3:4] == b"-":
            pass
        return line.decode().rstrip()

    def expect(self, code: str) -> None:
        """The next reply has to be this one."""
        reply = self.reply()
        if not reply.startswith(code):
            raise Refused(reply)

    def command(self, line: str, code: str) -> None:
        """Says `line` and expects `code`."""
        self.send(line.encode() + b"\r\n")
        self.expect(code)

    def deliver(
        self, ledger: Ledger, letter: Letter, mailboxes: list[str], rng: random.Random
    ) -> None:
        """One transaction, in one of the ways that clients have. Returns when it is acknowledged."""
        size = len(letter.content)
        lines = [f"MAIL FROM:<{letter.reverse_path}> SIZE={size} BODY=8BITMIME"]
        lines += [f"RCPT TO:<{mailbox}>" for mailbox in mailboxes]
        with_chunks = rng.random() < 0.3
        if rng.random() < 0.5:
            self.send("".join(line + "\r\n" for line in lines).encode())
            replies = [self.reply() for _ in lines]
        else:
            replies = []
            for line in lines:
                self.send(line.encode() + b"\r\n")
                replies.append(self.reply())
        if not replies[0].startswith("250"):
            raise Refused(replies[0])
        accepted = [m for m, reply in zip(mailboxes, replies[1:]) if reply.startswith("250")]
        if not accepted:
            self.command("RSET", "250")
            raise Refused(replies[1])
        if with_chunks:
            self.in_chunks(ledger, letter, accepted, rng)
        else:
            self.as_data(ledger, letter, accepted, rng)
        ledger.acknowledge(letter.number, accepted)
        if len(accepted) < len(mailboxes):
            raise Refused(next(reply for reply in replies if not reply.startswith("250")))

    def as_data(
        self, ledger: Ledger, letter: Letter, mailboxes: list[str], rng: random.Random
    ) -> None:
        """The content by DATA; now and then the connection ends before it does."""
        self.command("DATA", "354")
        stuffed = letter.content.replace(b"\r\n.", b"\r\n..")
        if rng.random() < 0.02:
            # Not noted in the ledger: nothing of it may ever be seen.
            self.send(stuffed[: rng.randrange(len(stuffed))])
            raise Refused("given up by the client")
        ledger.send(letter.number, mailboxes)
        self.send(stuffed + b".\r\n")
        self.expect("250")

    def in_chunks(
        self, ledger: Ledger, letter: Letter, mailboxes: list[str], rng: random.Random
    ) -> None:
        """The content by one to three BDAT."""
        size = len(letter.content)
        cuts = sorted(rng.randrange(size) for _ in range(rng.randrange(3)))
        ledger.send(letter.number, mailboxes)
        for begin, end in zip([0, *cuts], [*cuts, size]):
            last = " LAST" if end == size else ""
            command = f"BDAT {end - begin}{last}\r\n".encode()
            self.send(command + letter.content[begin:end])
            self.expect("250")


@dataclass(frozen=True)
class Listed:
    """A message in the listing of a POP3 session."""

    position: int
    octets: int
    unique_id: bytes


class Pop3(Wire):
    """A POP3 session."""

    def __init__(self, port: int, mailbox: str) -> None:
        super().__init__(port)
        self.ok()
        self.command(f"USER {mailbox}")
        self.command("PASS any")

    def ok(self) -> str:
        """The text of the next response, which has to be +OK."""
        line = self.until(b"\r\n").decode().rstrip()
        if not line.startswith("+OK"):
            raise Refused(line)
        return line[3:].strip()

    def command(self, line: str) -> str:
        """Says `line` and expects +OK."""
        self.send(line.encode() + b"\r\n")
        return self.ok()

    def lines(self, line: str) -> list[list[bytes]]:
        """Says `line` and gives the words of each line of the response."""
        self.command(line)
        listed = []
        while (text := self.until(b"\r\n")) != b".\r\n":
            listed.append(text.split())
        return listed

    def listing(self) -> list[Listed]:
        """LIST, UIDL and STAT, which have to agree."""
        count, octets = map(int, self.command("STAT").split()[:2])
        sizes = {int(n): int(size) for n, size in self.lines("LIST")}
        unique_ids = {int(n): unique_id for n, unique_id in self.lines("UIDL")}
        if len(sizes) != count or sum(sizes.values()) != octets or sizes.keys() != unique_ids.keys():
            text = f"STAT {count} {octets}, LIST of {len(sizes)}, UIDL of {len(unique_ids)}"
            raise Finding(Kind.SIZE, text)
        if len(set(unique_ids.values())) != count:
            raise Finding(Kind.UNIQUE_ID, f"two messages share one: {unique_ids}")
        return [Listed(n, sizes[n], unique_ids[n]) for n in sizes]

    def retrieve(self, listed: Listed) -> bytes:
        """RETR, whose octets have to be those of LIST."""
        said = self.command(f"RETR {listed.position}")
        first = self.until(b"\r\n")
        if first == b".\r\n":
            octets = b""
        else:
            # The mark may begin with the end of the first line.
            self.received[:0] = b"\r\n"
            rest = self.until(b"\r\n.\r\n")[2:-3]
            octets = (b"\r\n" + first + rest).replace(b"\r\n..", b"\r\n.")[2:]
        if len(octets) != listed.octets or str(len(octets)) != said.split()[0]:
            text = f"LIST says {listed.octets} octets, RETR {said!r} and gives {len(octets)}"
            raise Finding(Kind.SIZE, f"{listed.unique_id.decode()}: {text}")
        return octets

    def see_all(self, ledger: Ledger, mailbox: str) -> dict[int, int]:
        """Retrieves everything: the letters' numbers, and where they are in the listing."""
        seen: dict[int, int] = {}
        for listed in self.listing():
            number = ledger.see(mailbox, listed.unique_id, self.retrieve(listed))
            if number in seen:
                raise Finding(Kind.TWICE, f"letter {number} is in {mailbox} twice", number)
            seen[number] = listed.position
        return seen

    def delete(self, positions: list[int]) -> None:
        """DELE for each of them."""
        for position in positions:
            self.command(f"DELE {position}")


# ----------------------------------------------------------------------------------------- daemon


class Daemon:
    """The program under test. Always ended by `kill` or `stop`, also when something went wrong."""

    def __init__(self, bench: Bench, mail: Path, prefix: tuple[str, ...] = ()) -> None:
        self.log = bench.new_log()
        self.smtp = self.pop3 = 0
        arguments = ["--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"]
        arguments += ["--mail", str(mail), "--config", str(bench.config)]
        with open(self.log, "wb") as log:
            # A session of its own: Ctrl-C is for this script, which then ends the daemon.
            self.process = subprocess.Popen(
                [*prefix, str(bench.binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        bench.daemons.append(self)

    def wait_until_ready(self) -> None:
        """Waits for the addresses. The daemon prints them when it serves."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        printed = b""
        while not (ports := re.search(rb"SMTP \S+:(\d+)\nPOP3 \S+:(\d+)\n", printed)):
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left)[0]:
                self.kill()
                raise Finding(Kind.CRASH, f"the daemon is not ready after {PATIENCE:.0f} s")
            octets = os.read(self.process.stdout.fileno(), 4096)
            if not octets:
                code = self.process.wait(PATIENCE)
                self.process.stdout.close()
                raise NotStarted(code, self.tail())
            printed += octets
        self.smtp, self.pop3 = int(ports[1]), int(ports[2])

    def kill(self) -> None:
        """Ends it at once, if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def stop(self) -> None:
        """Asks it to end, which it has to do with exit code 0."""
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Finding(Kind.CRASH, "the daemon does not stop on SIGTERM") from None
        self.kill()
        if code != 0:
            raise Finding(Kind.CRASH, f"stopped with exit code {code}: {self.tail()}")

    def check_alive(self) -> None:
        """It must not have ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise Finding(Kind.CRASH, f"the daemon ended by itself ({code}): {self.tail()}")

    def check_log(self) -> None:
        """No thread of it may have panicked."""
        for line in self.log.read_text(errors="replace").splitlines():
            if "panicked" in line:
                raise Finding(Kind.CRASH, line)

    def tail(self, lines: int = 5) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


# ------------------------------------------------------------------------------------------ bench


class Bench:
    """What all rounds of a scenario share: the program, a directory, a ledger, chance."""

    def __init__(self, options: argparse.Namespace, scenario: str, directory: Path) -> None:
        self.binary: Path = options.binary
        self.is_long: bool = options.long
        self.scenario = scenario
        self.seed: int = options.seed
        self.directory = directory
        self.config = directory / "facteur.toml"
        self.lines: list[str] = options.config_line
        self.configure()
        self.rng = self.chance("bench")
        self.letters = Letters(self.rng)
        self.ledger = Ledger()
        self.daemons: list[Daemon] = []
        self.disks: list[Disk] = []
        self.n_logs = 0
        self.round = 0

    def configure(self, *lines: str) -> None:
        """Writes the configuration; `lines` come first."""
        limits = ["[limits]", "errors = 0", "connections_per_address = 0"]
        self.config.write_text("\n".join([*lines, *self.lines, *limits]) + "\n")

    def chance(self, name: str) -> random.Random:
        """A source of chance that depends on nothing but the seed and its name."""
        return random.Random(f"{self.seed}/{self.scenario}/{name}")

    def new_log(self) -> Path:
        """A file for the next daemon's log. Only the last ones are kept."""
        self.n_logs += 1
        old = self.directory / f"daemon-{self.n_logs - 6:05}.log"
        old.unlink(missing_ok=True)
        return self.directory / f"daemon-{self.n_logs:05}.log"

    def start(self, mail: Path, prefix: tuple[str, ...] = ()) -> Daemon:
        """Starts a daemon that serves."""
        daemon = Daemon(self, mail, prefix)
        daemon.wait_until_ready()
        # Whoever waits for the mail log wants only what is running.
        self.daemons = [other for other in self.daemons if other.process.poll() is None]
        return daemon

    def restart(self, mail: Path, rng: random.Random) -> Daemon:
        """Starts it after a crash. Sometimes it is killed while it recovers, and starts again."""
        while rng.random() < 0.3:
            daemon = Daemon(self, mail)
            time.sleep(rng.random() ** 2 * 0.1)
            daemon.kill()
        return self.start(mail)

    def clean_up(self) -> None:
        """Ends and releases everything, whatever happened."""
        for daemon in self.daemons:
            daemon.kill()
        for disk in reversed(self.disks):
            disk.release()

    def say(self, text: str) -> None:
        """One line about the round."""
        print(f"    {self.scenario} {self.round}: {text}", flush=True)


def run(*command: str | Path) -> str:
    """Runs a program of the system. Its failure means that this machine cannot do the scenario."""
    try:
        done = subprocess.run(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unable(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        raise Unable(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


class Disk:
    """An ext4 file system on a loop device on a sparse file."""

    def __init__(self, bench: Bench, image: Path, octets: int, *mkfs: str) -> None:
        if os.geteuid() != 0:
            raise Unable("only root can mount file systems")
        self.image = image
        self.device: str | None = None
        self.is_mounted = False
        self.mount_point = bench.directory / "disk"
        self.mount_point.mkdir(exist_ok=True)
        with open(image, "wb") as file:
            file.truncate(octets)
        # No blocks only for root: the daemon under test is root.
        run("mkfs.ext4", "-q", "-F", "-m", "0", *mkfs, image)
        bench.disks.append(self)

    @property
    def mail(self) -> Path:
        """Where the mail is when the disk is mounted."""
        return self.mount_point / "mail"

    def mount(self) -> None:
        """Attaches and mounts it; the file system recovers by its own journal."""
        self.device = run("losetup", "--find", "--show", self.image)
        run("mount", "-t", "ext4", self.device, self.mount_point)
        self.is_mounted = True

    def unmount(self) -> None:
        """Unmounts and detaches it. Nobody may use it any more."""
        run("umount", self.mount_point)
        self.is_mounted = False
        assert self.device is not None
        run("losetup", "--detach", self.device)
        self.device = None

    def cut_power(self) -> None:
        """From now on nothing reaches the device, and nothing that was not written ever will."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", GOING_FLAGS_NOLOGFLUSH))
        except OSError as error:
            raise Unable(f"FS_IOC_SHUTDOWN: {error}") from None
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """The file system itself has to be sound, or else nothing above it can be judged."""
        run("e2fsck", "-fn", self.image)

    def release(self) -> None:
        """Unmounts and detaches it after a failure."""
        if self.is_mounted:
            with contextlib.suppress(Unable):
                run("umount", "--lazy", self.mount_point)
            self.is_mounted = False
        if self.device is not None:
            with contextlib.suppress(Unable):
                run("losetup", "--detach", self.device)
            self.device = None


# ------------------------------------------------------------------------------------------- load


class Load:
    """Senders and readers, each a thread, that work until they are told to stop.

    Before `expect_failures` nothing may be refused, and no connection may break.
    """

    def __init__(
        self,
        bench: Bench,
        daemon: Daemon,
        senders: int = 16,
        readers: int = 4,
        letters_each: int = 100_000,
        brand_new: float = 0.1,
    ) -> None:
        self.bench = bench
        self.ledger = bench.ledger
        self.daemon = daemon
        self.letters_each = letters_each
        self.brand_new = brand_new
        self.smtp_may_fail = threading.Event()
        self.pop3_may_fail = threading.Event()
        self.over = threading.Event()
        self.changed = threading.Condition()
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.claimed: set[str] = set()
        self.mailboxes = list(MAILBOXES)
        name = f"round {bench.round}"
        self.senders = self.threads(self.send, senders, f"{name} sender")
        self.readers = self.threads(self.read, readers, f"{name} reader")
        for thread in self.senders + self.readers:
            thread.start()

    def threads(
        self, work: Callable[[random.Random], None], count: int, name: str
    ) -> list[threading.Thread]:
        def guarded(rng: random.Random) -> None:
            try:
                work(rng)
            except Finding as finding:
                self.findings.append(finding)
                self.stop()
            except Exception as error:  # a fault of this script must not look like a quiet client
                self.findings.append(Finding(Kind.CRASH, f"in the script itself: {error!r}"))
                self.stop()

        chances = [self.bench.chance(f"{name} {n}") for n in range(count)]
        return [threading.Thread(target=guarded, args=(rng,), daemon=True) for rng in chances]

    def count(self, what: str) -> None:
        """Counts something that others may wait for."""
        with self.changed:
            self.counts[what] += 1
            self.changed.notify_all()

    def wait_for(self, what: str, more: int, seconds: float = PATIENCE) -> bool:
        """Waits until `what` was counted so many times more."""
        with self.changed:
            goal = self.counts[what] + more
            self.changed.wait_for(
                lambda: self.counts[what] >= goal or self.over.is_set(), timeout=seconds
            )
            return self.counts[what] >= goal

    def expect_failures(self) -> None:
        """The daemon is about to be hit."""
        self.smtp_may_fail.set()
        self.pop3_may_fail.set()

    def stop(self) -> None:
        """No client begins anything more."""
        self.over.set()
        with self.changed:
            self.changed.notify_all()

    def wait_for_senders(self) -> None:
        """Waits until the senders have sent what they were given, or the daemon is gone."""
        for thread in self.senders:
            thread.join(PATIENCE)

    def end(self) -> None:
        """Waits for the clients to end, and raises what they have found."""
        self.stop()
        deadline = time.monotonic() + 2 * PATIENCE
        for thread in self.senders + self.readers:
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                self.findings.append(Finding(Kind.REPLY, "a client hangs"))
        if self.findings:
            raise Findings(self.findings)

    def failed(self, may_fail: threading.Event, what: str, error: Exception) -> None:
        """A refusal or a broken connection: a finding, unless it was to be expected."""
        text = str(error)
        self.count(f"{what} {text[:3] if isinstance(error, Refused) else 'broken'}")
        if isinstance(error, Refused):
            # A session that has just broken off may still have the maildrop.
            if text.startswith(("given up", "-ERR [IN-USE]")):
                return
            if text.startswith("5"):
                raise Finding(Kind.REPLY, f"{what}: {text}")
            self.count(f"{what} refused")
        if not may_fail.is_set():
            raise Finding(Kind.REPLY, f"{what}: {text}")
        # Not too eager: what fails at once can be tried very often.
        self.over.wait(0.01)

    def recipients(self, rng: random.Random) -> list[str]:
        """Mostly one; some letters have many, and some go to mailboxes that never were there."""
        kind = rng.random()
        count = 1 if kind < 0.75 else rng.randrange(2, 6) if kind < 0.96 else rng.randrange(6, 31)
        mailboxes = rng.sample(MAILBOXES, count)
        if rng.random() < self.brand_new:
            mailbox = f"new{self.bench.round}-{rng.randrange(10**9)}@fresh.test"
            mailboxes[rng.randrange(count)] = mailbox
            self.mailboxes.append(mailbox)
        return mailboxes

    def send(self, rng: random.Random) -> None:
        """A sender: several letters in a session, then another session."""
        left = self.letters_each
        while left > 0 and not self.over.is_set() and self.daemon.process.poll() is None:
            try:
                with Smtp(self.daemon.smtp) as smtp:
                    for _ in range(min(rng.randrange(1, 30), left)):
                        if self.over.is_set():
                            break
                        left -= 1
                        letter = self.bench.letters.write(rng, some_size(rng))
                        smtp.deliver(self.ledger, letter, self.recipients(rng), rng)
                        self.count("acknowledged")
                    smtp.command("QUIT", "221")
            except (Broken, Refused) as error:
                self.failed(self.smtp_may_fail, "SMTP", error)

    def read(self, rng: random.Random) -> None:
        """A reader: one maildrop after the other."""
        while not self.over.is_set() and self.daemon.process.poll() is None:
            mailbox = rng.choice(self.mailboxes)
            with self.changed:
                if mailbox in self.claimed:
                    continue
                self.claimed.add(mailbox)
            try:
                self.visit(mailbox, rng)
                self.count("visits")
            except (Broken, Refused) as error:
                self.failed(self.pop3_may_fail, "POP3", error)
            finally:
                with self.changed:
                    self.claimed.remove(mailbox)

    def visit(self, mailbox: str, rng: random.Random) -> None:
        """A session: retrieves everything, removes some, and ends in one of several ways."""
        kept = self.ledger.kept(mailbox)
        with Pop3(self.daemon.pop3, mailbox) as pop3:
            seen = pop3.see_all(self.ledger, mailbox)
            if lost := kept - seen.keys():
                text = f"{mailbox} does not show letters {sorted(lost)[:5]}"
                raise Finding(Kind.LOST, text, min(lost))
            share = 0.25 if len(seen) < 40 else 0.8
            marked = [number for number in seen if rng.random() < share]
            pop3.delete([seen[number] for number in marked])
            ending = rng.random()
            if ending < 0.05:
                return  # without QUIT: nothing is removed
            if ending < 0.1:
                pop3.command("RSET")
                marked = []
            self.ledger.leave(mailbox, marked)
            if ending > 0.95:
                pop3.send(b"QUIT\r\n")
                return  # without reading the response: removed or not
            pop3.command("QUIT")
            self.ledger.remove(mailbox, marked)
            if marked:
                self.count("removals")


# ------------------------------------------------------------------------------------- comparison


def files_of(mail: Path) -> dict[str, int]:
    """How many messages each Maildir has on disk, all of them as large as their names say."""
    counts: dict[str, int] = {}
    for domain in mail.iterdir():
        if domain.name == ".facteur":
            continue
        for maildir in domain.iterdir():
            files = [file for side in ("new", "cur") for file in (maildir / side).glob("*")]
            for file in files:
                octets = file.read_bytes()
                sizes = re.search(r",S=(\d+),W=(\d+)", file.name)
                found = (len(octets), len(octets) + octets.count(b"\n"))
                if sizes is None or (int(sizes[1]), int(sizes[2])) != found:
                    raise Finding(Kind.TORN, f"{file} has S={found[0]}, W={found[1]}")
            counts[f"{maildir.name}@{domain.name}"] = len(files)
    return counts


def compare(bench: Bench, daemon: Daemon, mail: Path, rng: random.Random) -> None:
    """After a restart: everything that is there against everything that the clients know.

    Also removes some, so that the store does not grow from round to round.
    """
    ledger = bench.ledger
    findings: list[Finding] = []
    try:
        on_disk = files_of(mail)
    except Finding as finding:
        findings.append(finding)
        on_disk = {}
    mailboxes = sorted(set(ledger.mailboxes()) | {m for m, count in on_disk.items() if count})
    rooms = {mailbox: rng.randrange(30) for mailbox in mailboxes}

    def visit(mailbox: str) -> list[Finding]:
        try:
            with Pop3(daemon.pop3, mailbox) as pop3:
                seen = pop3.see_all(ledger, mailbox)
                found = ledger.settle(mailbox, set(seen))
                if len(seen) != on_disk.get(mailbox, 0) and not findings:
                    text = f"{mailbox} has {on_disk.get(mailbox, 0)} files, shows {len(seen)}"
                    found.append(Finding(Kind.SIZE, text))
                marked = sorted(seen)[: max(len(seen) - rooms[mailbox], 0)]
                pop3.delete([seen[number] for number in marked])
                ledger.leave(mailbox, marked)
                pop3.command("QUIT")
                ledger.remove(mailbox, marked)
                return found
        except Finding as finding:
            return [finding]
        except (Broken, Refused) as error:
            return [Finding(Kind.REPLY, f"{mailbox} after the restart: {error}")]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(visit, mailboxes):
            findings += found
    daemon.check_alive()
    daemon.check_log()
    if findings:
        raise Findings(findings)


def tell(bench: Bench, load: Load) -> None:
    """One line about a round; in the long form only about every tenth."""
    if not bench.is_long or bench.round % 10 == 0:
        counts, copies = load.counts, bench.ledger.copies()
        text = f"{counts['acknowledged']} acknowledged, {counts['visits']} visits"
        bench.say(f"{text}, {counts['removals']} removals, {copies} copies stay")


# -------------------------------------------------------------------------------------- scenarios


def self_test(bench: Bench, rounds: int) -> None:
    """The comparison notices every kind of damage, and nothing where there is none."""

    def only_file(mail: Path, number: int) -> Path:
        marker = b"X-Test: %d " % number
        (file,) = (f for f in mail.glob("*/*/new/*") if marker in f.read_bytes())
        return file

    def half(octets: bytes) -> bytes:
        return octets[: octets.index(b"\n", len(octets) // 2) + 1]

    def rename_as(file: Path, octets: bytes) -> None:
        n_lines = octets.count(b"\n")
        sizes = f",S={len(octets)},W={len(octets) + n_lines}"
        file.with_name(re.sub(r",S=.*", sizes, file.name)).write_bytes(octets)
        file.unlink()

    def swap(one: Path, other: Path) -> None:
        octets, others = one.read_bytes(), other.read_bytes()
        sizes, other_sizes = (re.search(r",S=.*", file.name) for file in (one, other))
        assert sizes is not None and other_sizes is not None
        one.unlink()
        other.unlink()
        one.with_name(one.name.replace(sizes[0], other_sizes[0])).write_bytes(others)
        other.with_name(other.name.replace(other_sizes[0], sizes[0])).write_bytes(octets)

    def give_new_name(file: Path) -> None:
        file.rename(file.with_name("1" + file.name))

    def flip(file: Path) -> None:
        octets = bytearray(file.read_bytes())
        octets[-2] ^= 1
        file.write_bytes(octets)

    def copy(file: Path) -> None:
        shutil.copy(file, file.with_name("1" + file.name))

    # Letters 1 and 2 stay, 3 is removed, 4 is acknowledged and never looked at before the damage.
    damages: dict[str, tuple[set[Kind], Callable[[Path, bytes], object]]] = {
        "nothing": (set(), lambda mail, _: None),
        "lost": ({Kind.LOST}, lambda mail, _: only_file(mail, 1).unlink()),
        "lost before it was seen": ({Kind.LOST}, lambda mail, _: only_file(mail, 4).unlink()),
        "moved to cur": (
            set(),
            lambda mail, _: only_file(mail, 1).rename(
                mail / "self.test/bob/cur" / (only_file(mail, 1).name + ":2,S")
            ),
        ),
        "empty": ({Kind.TORN}, lambda mail, _: only_file(mail, 1).write_bytes(b"")),
        "cut": ({Kind.TORN}, lambda mail, _: os.truncate(only_file(mail, 1), 300)),
        "cut, with sizes that are right": (
            {Kind.TORN, Kind.LOST},
            lambda mail, _: rename_as(only_file(mail, 1), half(only_file(mail, 1).read_bytes())),
        ),
        "another octet": ({Kind.TORN, Kind.LOST}, lambda mail, _: flip(only_file(mail, 1))),
        "twice": (
            {Kind.TWICE, Kind.UNIQUE_ID},
            lambda mail, _: copy(only_file(mail, 1)),
        ),
        "in a wrong maildrop": (
            {Kind.BACK},
            lambda mail, _: shutil.copy(only_file(mail, 1), mail / "self.test/eve/new"),
        ),
        "back": (
            {Kind.BACK},
            lambda mail, removed: (mail / "self.test/bob/new/7.back").write_bytes(removed),
        ),
        "another unique-id": ({Kind.UNIQUE_ID}, lambda mail, _: give_new_name(only_file(mail, 1))),
        "unique-ids exchanged": (
            {Kind.UNIQUE_ID},
            lambda mail, _: swap(only_file(mail, 1), only_file(mail, 2)),
        ),
    }
    rng = bench.chance("clients")
    for bench.round, (name, (kinds, damage)) in enumerate(damages.items(), 1):
        bench.ledger, bench.letters = Ledger(), Letters(rng)
        ledger, mail = bench.ledger, bench.directory / f"mail-{bench.round}"
        daemon = bench.start(mail)
        with Smtp(daemon.smtp) as smtp:
            for mailboxes in ["bob"], ["bob"], ["bob"], ["eve"]:
                letter = bench.letters.write(rng, 2000)
                steady = random.Random(2)  # such that no letter is given up
                addresses = [f"{mailbox}@self.test" for mailbox in mailboxes]
                smtp.deliver(ledger, letter, addresses, steady)
        removed = only_file(mail, 3).read_bytes()
        with Pop3(daemon.pop3, "bob@self.test") as pop3:
            seen = pop3.see_all(ledger, "bob@self.test")
            pop3.delete([seen[3]])
            pop3.command("QUIT")
            ledger.remove("bob@self.test", [3])
        daemon.stop()
        damage(mail, removed)
        found: set[Kind] = set()
        daemon = bench.start(mail)
        try:
            compare(bench, daemon, mail, rng)
        except Findings as findings:
            found = {finding.kind for finding in findings.findings}
        daemon.kill()
        if bool(found) != bool(kinds) or (kinds and not found & kinds):
            wanted = " or ".join(kind.value for kind in kinds) or "nothing"
            text = f"damage {name!r}: found {[kind.value for kind in found]}, wanted {wanted}"
            raise Finding(Kind.CRASH, text)
    bench.say(f"{len(damages)} kinds of damage are told apart")


def kill(bench: Bench, rounds: int) -> None:
    """SIGKILL at a random moment under load."""
    mail = bench.directory / "mail"
    daemon = bench.start(mail)
    for bench.round in range(1, rounds + 1):
        rng = bench.chance(f"round {bench.round}")
        load = Load(bench, daemon)
        load.over.wait(rng.random() ** 2 * 3)
        load.expect_failures()
        daemon.kill()
        load.end()
        daemon.check_log()
        daemon = bench.restart(mail, rng)
        compare(bench, daemon, mail, rng)
        tell(bench, load)
    daemon.stop()


def power_round(bench: Bench, disk: Disk, daemon: Daemon, rng: random.Random) -> Load:
    """Load, a power cut at a random moment, and the disk mounted again."""
    load = Load(bench, daemon)
    load.over.wait(rng.random() ** 2 * 3)
    load.expect_failures()
    disk.cut_power()
    # What the daemon says about a disk that is gone counts like everything else it says.
    load.over.wait(rng.random() * 0.1)
    daemon.kill()
    load.end()
    daemon.check_log()
    disk.unmount()
    disk.mount()
    return load


def power(bench: Bench, rounds: int) -> None:
    """A power cut at a random moment under load."""
    disk = Disk(bench, bench.directory / "disk.ext4", 2048 * MIB, "-N", "262144")
    disk.mount()
    daemon = bench.start(disk.mail)
    for bench.round in range(1, rounds + 1):
        rng = bench.chance(f"round {bench.round}")
        load = power_round(bench, disk, daemon, rng)
        if rng.random() < 0.2:
            disk.unmount()
            disk.check()
            disk.mount()
        daemon = bench.restart(disk.mail, rng)
        compare(bench, daemon, disk.mail, rng)
        tell(bench, load)
    daemon.stop()
    disk.unmount()


SYNCS = "fsync,fdatasync,syncfs,sync,sync_file_range,msync"


def strace(*options: str) -> tuple[str, ...]:
    """What to put in front of a command line. The daemon stays a child of this script (-D)."""
    if shutil.which("strace") is None:
        raise Unable("strace is not installed")
    return ("strace", "-D", "-f", "--seccomp-bpf", *options)


def control(bench: Bench, rounds: int) -> None:
    """Without syncing the power cut loses mail: if that is not noticed, `power` proves nothing."""
    no_syncs = strace("-o", "/dev/null", "-e", f"trace={SYNCS}", "-e", f"inject={SYNCS}:retval=0")
    ways: dict[str, tuple[str, ...]] = {"no system call that syncs": no_syncs}
    bench.configure('durability = "none"')
    if subprocess.run(
        [bench.binary, "--check", "--config", bench.config], capture_output=True
    ).returncode:
        bench.say('this build has no durability = "none"; strace has to do')
    else:
        ways['durability = "none"'] = ()
    for way, prefix in ways.items():
        bench.configure(*[] if prefix else [way])
        for bench.round in range(1, rounds + 1):
            if n_lost := control_round(bench, way, prefix):
                break
        if not n_lost:
            raise Finding(Kind.CRASH, f"{way}: no loss was noticed in {rounds} power cuts")


def control_round(bench: Bench, way: str, prefix: tuple[str, ...]) -> int:
    """One power cut of a disk of its own. Gives the number of copies that were lost."""
    rng = bench.chance(f"{way} {bench.round}")
    bench.ledger = Ledger()
    disk = Disk(bench, bench.directory / "disk.ext4", 1024 * MIB)
    disk.mount()
    n_lost = 0
    try:
        load = power_round(bench, disk, bench.start(disk.mail, prefix), rng)
        daemon = bench.start(disk.mail)
        try:
            compare(bench, daemon, disk.mail, rng)
        except Findings as findings:
            n_lost = sum(finding.kind is Kind.LOST for finding in findings.findings)
        daemon.kill()
        acknowledged = load.counts["acknowledged"]
        bench.say(f"{way}: {acknowledged} acknowledged, {n_lost} copies lost, as it should be")
        disk.unmount()
    finally:
        disk.release()
    return n_lost


class Filler:
    """Takes all that is free on a disk, blocks or inodes, and gives it back."""

    def __init__(self, disk: Disk) -> None:
        self.directory = disk.mount_point / "filler"
        self.directory.mkdir(exist_ok=True)
        self.n_files = 0

    def fill(self) -> None:
        """Takes what is free now."""
        raise NotImplementedError

    def release(self) -> None:
        """Gives all of it back."""
        for file in self.directory.iterdir():
            file.unlink()

    def file(self) -> int:
        """Opens a new file."""
        self.n_files += 1
        path = self.directory / str(self.n_files)
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)


class BlockFiller(Filler):
    """Takes the blocks."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        # Made in advance, because a full disk has no block for a new directory entry.
        self.descriptor = self.file()

    def fill(self) -> None:
        end = os.fstat(self.descriptor).st_size
        step = 64 * MIB
        while step >= KIB:
            try:
                os.posix_fallocate(self.descriptor, end, step)
                end += step
            except OSError:
                step //= 2

    def release(self) -> None:
        os.truncate(self.descriptor, 0)

    def close(self) -> None:
        """Lets go of the file, so that the disk can be unmounted."""
        os.close(self.descriptor)


class InodeFiller(Filler):
    """Takes the inodes."""

    def fill(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                os.close(self.file())

    def close(self) -> None:
        """There is nothing to let go of."""


def full(bench: Bench, rounds: int) -> None:
    """A full disk: refusals, no loss, POP3 goes on, and so does SMTP as soon as there is room."""
    for what, options in ("blocks", ("-N", "65536")), ("inodes", ("-N", "1024")):
        bench.ledger = Ledger()
        disk = Disk(bench, bench.directory / "disk.ext4", 1024 * MIB, *options)
        disk.mount()
        filler = BlockFiller(disk) if what == "blocks" else InodeFiller(disk)
        daemon = bench.start(disk.mail)
        rng = bench.chance(what)
        for bench.round in range(1, rounds + 1):
            load = Load(bench, daemon)
            try:
                fill_and_release(load, filler, rng)
                if rng.random() < 0.5:
                    filler.fill()
                    load.wait_for("SMTP refused", 5)
            finally:
                load.expect_failures()
                daemon.kill()
            load.end()
            daemon.check_log()
            # The disk may still be full: the daemon has to start, and POP3 has to work.
            daemon = bench.start(disk.mail)
            compare(bench, daemon, disk.mail, rng)
            filler.release()
            n_refused = load.counts["SMTP refused"]
            bench.say(
                f"{what}: {load.counts['acknowledged']} acknowledged, {n_refused} refused, "
                f"{load.counts['removals']} removals"
            )
        daemon.stop()
        filler.close()
        disk.unmount()
        disk.release()


def fill_and_release(load: Load, filler: BlockFiller | InodeFiller, rng: random.Random) -> None:
    """A working daemon, a full disk, a working daemon."""

    def wait_for(what: str, more: int, why: str, between: Callable[[], None]) -> None:
        deadline = time.monotonic() + PATIENCE
        for _ in range(more):
            while not load.wait_for(what, 1, 0.2):
                between()
                if load.over.is_set():
                    return
                if time.monotonic() > deadline:
                    raise Finding(Kind.REPLY, why)
            between()

    wait_for("acknowledged", rng.randrange(20, 200), "nothing is acknowledged", lambda: None)
    load.smtp_may_fail.set()
    # What readers remove makes room, which has to be taken away again.
    filler.fill()
    wait_for("SMTP refused", 20, "a full disk is not noticed", filler.fill)
    wait_for("visits", 10, "no visits while the disk is full", filler.fill)
    wait_for("removals", 3, "no removals while the disk is full", filler.fill)
    for reply in ("SMTP 421", "SMTP broken"):
        if load.counts[reply]:
            raise Finding(Kind.REPLY, f"a full disk is told by {reply}")
    filler.release()
    wait_for("acknowledged", 50, "deliveries do not work again on a disk with room", lambda: None)


def eio(bench: Bench, rounds: int) -> None:
    """A disk that begins to fail: its image lies on a tmpfs that becomes too small for it."""
    if os.geteuid() != 0:
        raise Unable("only root can mount file systems")
    below = bench.directory / "below"
    below.mkdir()
    for bench.round in range(1, rounds + 1):
        run("mount", "-t", "tmpfs", "-o", "size=1500m,mode=0700", "tmpfs", below)
        try:
            eio_round(bench, below)
        finally:
            for daemon in bench.daemons:
                daemon.kill()
            for disk in bench.disks:
                disk.release()
            run("umount", below)


def eio_round(bench: Bench, below: Path) -> None:
    """The disk fails, the daemon ends, the tmpfs gets its room back, and the daemon starts."""
    rng = bench.chance(f"round {bench.round}")
    bench.ledger = Ledger()
    disk = Disk(bench, below / "disk.ext4", 2048 * MIB)
    disk.mount()
    daemon = bench.start(disk.mail)
    load = Load(bench, daemon)
    load.wait_for("acknowledged", rng.randrange(20, 300))
    load.expect_failures()
    shrink(below, rng.choice([1, 4, 16]) * MIB)
    has_failed = load.wait_for("SMTP refused", 20)
    load.over.wait(rng.random() * 2)
    daemon.check_alive()
    daemon.kill()
    load.end()
    daemon.check_log()
    disk.unmount()
    run("mount", "-o", "remount,size=1500m", below)
    disk.mount()
    daemon = bench.start(disk.mail)
    compare(bench, daemon, disk.mail, rng)
    n_refused = load.counts["SMTP refused"]
    bench.say(f"{load.counts['acknowledged']} acknowledged, {n_refused} refused")
    if not has_failed:
        raise Unable("the disk did not fail when the tmpfs below it was full")
    daemon.kill()
    disk.unmount()


def shrink(tmpfs: Path, room: int) -> None:
    """Leaves only so much room on a tmpfs. It is written to, so that takes several attempts."""
    for attempt in range(20, -1, -1):
        used = os.statvfs(tmpfs)
        octets = (used.f_blocks - used.f_bfree) * used.f_frsize + room
        try:
            run("mount", "-o", f"remount,size={octets}", tmpfs)
            return
        except Unable:
            if attempt == 0:
                raise


# System calls that are one to the daemon, and what they may fail with.
WRITING = ["EIO", "ENOSPC", "SIGKILL"]
READING = ["EIO", "ENOMEM", "SIGKILL"]
CALLS = {
    "?write,?writev": WRITING,
    "?pwrite64,?pwritev,?pwritev2": WRITING,
    "?fdatasync": WRITING,
    "?fsync": WRITING,
    "?syncfs": WRITING,
    "?openat,?open": ["EIO", "ENOSPC", "EMFILE", "SIGKILL"],
    "?rename,?renameat,?renameat2": WRITING,
    "?link,?linkat": WRITING,
    "?unlink,?unlinkat": WRITING,
    "?mkdir,?mkdirat": WRITING,
    "?getdents64": READING,
    "?statx,?newfstatat,?fstat": READING,
    "?read,?pread64": READING,
}


def inject(bench: Bench, rounds: int) -> None:
    """One system call of each thread fails, or kills the daemon: the n-th of its kind."""
    strace()
    mail = bench.directory / "mail"
    combinations = [(call, fault) for call, faults in CALLS.items() for fault in faults]
    order = bench.chance("order")
    queue: list[tuple[str, str]] = []
    outcomes: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    for bench.round in range(1, rounds + 1):
        if not queue:
            queue = order.sample(combinations, len(combinations))
        call, fault = queue.pop()
        rng = bench.chance(f"round {bench.round}")
        when = 1 + int(30 ** rng.random() - 1) if rng.random() < 0.8 else rng.randrange(1, 300)
        outcome, has_struck = inject_round(bench, mail, call, fault, when, rng)
        outcomes[outcome] += 1
        struck[call] += has_struck
        daemon = bench.start(mail)
        compare(bench, daemon, mail, rng)
        daemon.kill()
    quiet = [call.replace("?", "") for call in CALLS if not struck[call]]
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    bench.say(f"{struck.total()} of {rounds} struck: {told}; never: {' '.join(quiet) or '-'}")
    if struck.total() * 3 < rounds:
        raise Unable("strace injects too little here for a judgement")


def inject_round(
    bench: Bench, mail: Path, call: str, fault: str, when: int, rng: random.Random
) -> tuple[str, bool]:
    """Gives what became of the daemon, and whether the fault has happened."""
    kills = fault == "SIGKILL"
    trace = bench.directory / "strace.out"
    trace.unlink(missing_ok=True)
    what = f"inject={call}:{'signal' if kills else 'error'}={fault}:when={when}"
    options = ("-o", str(trace), "-e", f"trace={call}", "-e", what)
    # At the start the daemon's output would be hit, by which it says where it listens.
    from_start = "write" not in call and rng.random() < 0.3
    outcome = "served on"
    tracer: subprocess.Popen[bytes] | None = None
    if from_start:
        daemon = Daemon(bench, mail, strace(*options))
    else:
        daemon = bench.start(mail)
        tracer = attach(daemon, options)
    try:
        try:
            if from_start:
                daemon.wait_until_ready()
            load = Load(bench, daemon, senders=4, readers=2, letters_each=12, brand_new=0.4)
            load.expect_failures()
            load.wait_for_senders()
            load.wait_for("visits", 3, 2)
            load.stop()
            load.end()
            if daemon.process.poll() is not None and kills:
                outcome = "killed"
            else:
                daemon.check_alive()
        except NotStarted as error:
            outcome = "killed at the start" if kills else "did not start"
            # 127 is the dynamic loader's, which the fault has hit before the program.
            is_told = error.code in (1, 127) and error.log.strip()
            if not (is_told or kills and error.code == -signal.SIGKILL):
                raise Finding(Kind.CRASH, str(error)) from None
    except (Finding, Findings):
        bench.say(f"{what}, {'from the start' if from_start else 'while it runs'}")
        raise
    finally:
        daemon.kill()
        if tracer is not None:
            tracer.communicate(timeout=PATIENCE)
    daemon.check_log()
    return outcome, "killed" in outcome or b"(INJECTED)" in trace.read_bytes()


def attach(daemon: Daemon, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Lets strace follow a daemon that runs, and waits until it does."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(daemon.process.pid), *options],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert tracer.stderr is not None
    ready = select.select([tracer.stderr], [], [], PATIENCE)[0]
    said = os.read(tracer.stderr.fileno(), 4096) if ready else b"nothing"
    if b"attached" not in said:
        daemon.kill()
        tracer.kill()
        tracer.communicate()
        raise Unable(f"strace cannot follow the daemon: {said.decode(errors='replace').strip()}")
    return tracer


# ------------------------------------------------------------------------------------------- main

# Each scenario with its rounds in the short and in the long form.
SCENARIOS: dict[str, tuple[Callable[[Bench, int], None], int, int]] = {
    "self-test": (self_test, 1, 1),
    "kill": (kill, 20, 1000),
    "power": (power, 20, 500),
    "control": (control, 5, 20),
    "full": (full, 2, 50),
    "eio": (eio, 3, 100),
    "inject": (inject, 40, 4000),
}


def report(bench: Bench, findings: list[Finding]) -> None:
    """Everything one needs to look into it."""
    for finding in findings[:10]:
        print(f"    {finding}")
    if len(findings) > 10:
        print(f"    and {len(findings) - 10} more")
    for number in sorted({f.number for f in findings[:5] if f.number is not None}):
        for line in list(bench.ledger.history(number))[:40]:
            print(f"      {line}")
    for log in sorted(bench.directory.glob("daemon-*.log"))[-2:]:
        print(f"    the end of {log.name}:")
        for line in log.read_text(errors="replace").splitlines()[-20:]:
            print(f"      {line[:300]}")


def run_scenario(options: argparse.Namespace, name: str, directory: Path) -> bool:
    """Runs one scenario and says how it ended."""
    work, short, long = SCENARIOS[name]
    rounds = options.rounds or (long if options.long else short)
    print(f"{name}: {rounds} rounds, seed {options.seed}", flush=True)
    begin = time.monotonic()
    directory.mkdir()
    bench = Bench(options, name, directory)
    findings: list[Finding] = []
    try:
        work(bench, rounds)
    except Finding as finding:
        findings = [finding]
    except Findings as several:
        findings = several.findings
    except NotStarted as error:
        findings = [Finding(Kind.CRASH, str(error))]
    except Unable as reason:
        print(f"{name}: FAILED in round {bench.round}: this machine cannot do it: {reason}")
        return False
    finally:
        bench.clean_up()
    seconds = time.monotonic() - begin
    if findings:
        print(f"{name}: FAILED in round {bench.round}, seed {options.seed}, {seconds:.0f} s")
        report(bench, findings)
    else:
        counts = bench.ledger.counts
        told = ", ".join(f"{counts[what]} copies {what}" for what in ("acknowledged", "removed"))
        print(f"{name}: ok, {told}, {seconds:.0f} s", flush=True)
    return not findings


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--short", action="store_true", help="some minutes")
    length.add_argument("--long", action="store_true", help="hours")
    parser.add_argument("binary", type=Path, help="the program, built with --release")
    parser.add_argument("scenario", nargs="*", help=f"{', '.join(SCENARIOS)}; all when none is given")
    parser.add_argument("--rounds", type=int, help="instead of those of the form")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--keep", action="store_true", help="keep mail, images and logs")
    parser.add_argument("--directory", type=Path, help="where to make them instead of in /tmp")
    parser.add_argument(
        "--config-line", action="append", default=[], metavar="LINE", help="for the configuration"
    )
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    names = options.scenario or list(SCENARIOS)
    if unknown := set(names) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if not os.access(options.binary, os.X_OK):
        parser.error(f"no such program: {options.binary}")
    # Ended by a signal, it still ends its children and releases its disks.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    top = Path(tempfile.mkdtemp(prefix="facteur-survival-", dir=options.directory))
    failed: list[str] = []
    try:
        failed = [name for name in names if not run_scenario(options, name, top / name)]
    except KeyboardInterrupt:
        failed = ["interrupted"]
    finally:
        if options.keep:
            print(f"kept in {top}")
        else:
            shutil.rmtree(top, ignore_errors=True)
    if failed:
        again = f"{Path(sys.argv[0])} {'--long' if options.long else '--short'} {options.binary}"
        print(f"FAILED: {', '.join(failed)}; again with: {again} {failed[0]} --seed {options.seed}")
        return 1
    print("all that was acknowledged has survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
