"""The clients of survival.py and attacks.py: what they send and get, and what follows from it."""

from __future__ import annotations

import enum
import hashlib
import random
import re
import socket
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

# Longest wait for anything the daemon or the system does, in seconds. Long, because a machine that
# compiles at the same time is slow; after this long it will never come.
PATIENCE = 60.0

# How long a client waits until it looks whether the daemon is still there, in seconds.
LOOK = 5.0

KIB = 1024
MIB = 1024 * KIB


class Broken(Exception):
    """The connection to the daemon broke."""


class Refused(Exception):
    """The daemon refused a command; the text is its reply."""


class Kind(enum.Enum):
    """The kind of a finding."""

    LOST = "lost"
    TORN = "torn"
    BACK = "came back, or was never there"
    TWICE = "twice"
    UNIQUE_ID = "unique-id"
    SIZE = "size"
    REPLY = "reply"
    CRASH = "crash"
    LEAK = "leak"
    LOG = "log"
    RESOURCES = "resources"


class Finding(Exception):
    """Something that the daemon must never do."""

    def __init__(self, kind: Kind, text: str, number: int | None = None) -> None:
        super().__init__(f"{kind.value}: {text}")
        self.kind = kind
        self.number = number


class Findings(Exception):
    """All findings of one comparison or one load."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(f"{len(findings)} findings")
        self.findings = findings


@dataclass(frozen=True)
class Letter:
    """A message as it is sent: it contains its number and a description of what it must look
    like."""

    number: int
    reverse_path: str
    content: bytes


class Letters:
    """Writes letters. Their lines are of all kinds that can be sent: empty, long, with dots."""

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
        """A new letter of about this many octets."""
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


# The trace fields that the daemon adds before a message, and the first line of every letter.
WITH_TRACE = re.compile(
    rb"Return-Path: <([^>\r\n]*)>\r\n"
    rb"Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*"
    rb"X-Test: (\d+) ([0-9a-f]{64}) (\d+)\r\n"
)


def number_of(octets: bytes, where: str) -> tuple[int, str]:
    """The letter's number and its reverse-path; or the finding that it is not a complete letter."""
    found = WITH_TRACE.match(octets)
    if found is None:
        raise Finding(Kind.TORN, f"{where}: not a letter: {len(octets)} octets, {octets[:200]!r}")
    number, rest = int(found[2]), octets[found.end() :]
    if len(rest) != int(found[4]) or hashlib.sha256(rest).hexdigest().encode() != found[3]:
        text = f"{where}: letter {number} has {len(rest)} of {int(found[4])} octets, or others"
        raise Finding(Kind.TORN, text, number)
    return number, found[1].decode()


class Fate(enum.Enum):
    """What a maildrop owes its clients about one copy of a letter."""

    OPEN = "sent, but no 250 was read: there or not"
    KEPT = "acknowledged, or seen in the maildrop: there"
    LEAVING = "QUIT was sent after DELE and no +OK read, or a program removes it: there or not"


@dataclass
class Drop:
    """What is known of one maildrop. Removed or settled letters are not in it."""

    fates: dict[int, Fate] = field(default_factory=dict)
    unique_ids: dict[int, bytes] = field(default_factory=dict)


class Ledger:
    """Everything that clients were told, and the rules that follow from it.

    - A letter whose 250 was read is in every recipient's maildrop, once, octet for octet below the
      trace header fields. So is a letter that a maildrop has shown: nothing is shown before it is
      durable.
    - A letter without a 250 is in each maildrop once or not at all, and never in part. A sender
      does not send it again, so nothing is ever duplicated.
    - A letter marked with DELE is gone for good when +OK to QUIT was read; it may or may not be
      there when QUIT was sent and no +OK read; it is there when QUIT was not sent.
    - A unique-id stays with its letter, and no other letter of the maildrop ever gets it.
    - What a maildrop shows, or does not show, after a restart is settled.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.drops: defaultdict[str, Drop] = defaultdict(Drop)
        # The letter that a unique-id was given to. Hashes, for the long run.
        self.owners: dict[int, int] = {}
        self.counts: Counter[str] = Counter()
        # What happened to each letter, to find out why.
        self.events: deque[tuple[float, int, str, str]] = deque(maxlen=400_000)

    def note(self, number: int, mailbox: str, event: str) -> None:
        """Counts and records what happened. The lock must be held."""
        self.counts[event] += 1
        self.events.append((time.monotonic(), number, mailbox, event))

    def send(self, number: int, mailboxes: list[str]) -> None:
        """The content of a letter is about to be sent; from now on it may be there."""
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
        """The letters that must be in the maildrop for a login that happens now."""
        with self.lock:
            fates = self.drops[mailbox].fates
            return {number for number, fate in fates.items() if fate is Fate.KEPT}

    def see(self, mailbox: str, unique_id: bytes, octets: bytes) -> int:
        """A maildrop has shown this message under this unique-id. Returns the letter's number."""
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
        """After a restart: compares, and settles what was open."""
        with self.lock:
            fates = self.drops[mailbox].fates
            absent = [number for number in fates if number not in there]
            lost = [number for number in absent if fates[number] is Fate.KEPT]
            for number in there & fates.keys():
                fates[number] = Fate.KEPT
        self.remove(mailbox, absent, "settled as absent")
        return [Finding(Kind.LOST, f"letter {n} is not in {mailbox}", n) for n in lost]

    def mailboxes(self) -> list[str]:
        """All maildrops that may have content."""
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


class Wire:
    """A connection to the daemon. Every wait has a deadline, and missing it is a finding."""

    # How long it waits for a reply, in seconds.
    patience = PATIENCE

    def __init__(self, port: int) -> None:
        self.received = bytearray()
        self.sent = b""
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except TimeoutError:
            raise Finding(Kind.REPLY, "the daemon accepts no connection") from None
        except OSError as error:
            raise Broken(str(error)) from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """Sends everything."""
        self.sent = octets
        try:
            self.socket.sendall(octets)
        except TimeoutError:
            raise Finding(Kind.REPLY, "the daemon does not read") from None
        except OSError as error:
            raise Broken(str(error)) from None

    def state(self) -> str:
        """What the client waits for, and how the kernel sees the connection (tcp_info(7))."""
        state, *_ = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return (
            f"to {self.sent[:100]!r} ({len(self.sent)} octets), behind which "
            f"{bytes(self.received[-100:])!r} has come; {self.socket.getsockname()} to "
            f"{self.socket.getpeername()} is in TCP state {state}"
        )

    def some(self) -> bytes:
        """What comes next. It comes late, or never, where the kernel of a daemon that was killed
        has not told this end; so the client looks whether the daemon is still there."""
        deadline = time.monotonic() + self.patience
        while True:
            self.socket.settimeout(min(PATIENCE, LOOK))
            try:
                return self.socket.recv(256 * KIB)
            except TimeoutError:
                if self.is_orphaned():
                    raise Broken("the daemon is gone, and the connection is not closed") from None
                if time.monotonic() >= deadline:
                    found = f"no reply in {self.patience:.0f} s {self.state()}"
                    raise Finding(Kind.REPLY, found) from None
            except OSError as error:
                raise Broken(str(error)) from None
            finally:
                self.socket.settimeout(PATIENCE)

    def is_orphaned(self) -> bool:
        """Whether nobody listens any more where the client has connected to."""
        try:
            socket.create_connection(self.socket.getpeername(), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False

    def until(self, mark: bytes) -> bytes:
        """Everything up to `mark`, and the mark."""
        start = 0
        while (found := self.received.find(mark, start)) < 0:
            start = max(len(self.received) - len(mark), 0)
            octets = self.some()
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
        """The next reply must be this one."""
        reply = self.reply()
        if not reply.startswith(code):
            raise Refused(reply)

    def command(self, line: str, code: str) -> None:
        """Sends `line` and expects `code`."""
        self.send(line.encode() + b"\r\n")
        self.expect(code)

    def deliver(
        self, ledger: Ledger, letter: Letter, mailboxes: list[str], rng: random.Random
    ) -> None:
        """One transaction, in one of the ways that clients use, up to its acknowledgement."""
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
        """The content by DATA; sometimes the connection ends before it does."""
        self.command("DATA", "354")
        stuffed = letter.content.replace(b"\r\n.", b"\r\n..")
        if rng.random() < 0.02:
            # Not recorded in the ledger: none of it may ever be seen.
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

    def __init__(self, port: int, mailbox: str, password: str = "any") -> None:
        super().__init__(port)
        self.ok()
        self.command(f"USER {mailbox}")
        self.command(f"PASS {password}")

    def ok(self) -> str:
        """The text of the next response, which must be +OK."""
        line = self.until(b"\r\n").decode().rstrip()
        if not line.startswith("+OK"):
            raise Refused(line)
        return line[3:].strip()

    def command(self, line: str) -> str:
        """Sends `line` and expects +OK."""
        self.send(line.encode() + b"\r\n")
        return self.ok()

    def lines(self, line: str) -> list[list[bytes]]:
        """Sends `line` and returns the words of each line of the response."""
        self.command(line)
        listed = []
        while (text := self.until(b"\r\n")) != b".\r\n":
            listed.append(text.split())
        return listed

    def listing(self) -> list[Listed]:
        """LIST, UIDL and STAT, which must agree."""
        count, octets = map(int, self.command("STAT").split()[:2])
        sizes = {int(n): int(size) for n, size in self.lines("LIST")}
        unique_ids = {int(n): unique_id for n, unique_id in self.lines("UIDL")}
        agree = (len(sizes), sum(sizes.values())) == (count, octets)
        if not agree or sizes.keys() != unique_ids.keys():
            text = f"STAT {count} {octets}, LIST of {len(sizes)}, UIDL of {len(unique_ids)}"
            raise Finding(Kind.SIZE, text)
        if len(set(unique_ids.values())) != count:
            raise Finding(Kind.UNIQUE_ID, f"two messages share one: {unique_ids}")
        return [Listed(n, sizes[n], unique_ids[n]) for n in sizes]

    def retrieve(self, listed: Listed) -> bytes:
        """RETR, which must have as many octets as LIST says."""
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
            text = f"LIST says {listed.octets} octets, RETR {said!r} and has {len(octets)}"
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
