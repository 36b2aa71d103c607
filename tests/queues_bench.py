"""What queues.py uses between a mail server and the daemon: a recorder of every session, awkward
letters, and the comparison of what came out with what went in."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from foreign_programs import X_TEST
from survival_clients import KIB, MIB, PATIENCE, Finding, Kind, Pop3

# The fields that the daemon adds before a message, with either line ending.
TRACE = re.compile(
    rb"Return-Path: <[^>\r\n]*>\r?\nReceived: [^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*"
)

# The number of recipients of the letter with many.
MANY = 50


# --------------------------------------------------------------------------------------- recorder


@dataclass
class Transaction:
    """A transaction as it was on the wire."""

    reverse_path: str
    parameters: str
    # The recipients that were accepted.
    recipients: list[str] = field(default_factory=list)
    content: bytes = b""
    # The reply to the content, or the first one that ended it before; none if none came.
    reply: str | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether its 250 was sent: from then on the daemon is responsible."""
        return bool(self.recipients) and (self.reply or "").startswith("250")

    @property
    def number(self) -> int | None:
        """The letter that it has, or that it is about."""
        found = X_TEST.search(self.content)
        return int(found[1]) if found else None


def replies_in(server: bytes) -> Iterator[str]:
    """The last lines of the replies, as far as they are complete."""
    for line in server.split(b"\r\n")[:-1]:
        if line[3:4] != b"-":
            yield line.decode(errors="replace")


class Session:
    """A session: what both sides have sent."""

    def __init__(self) -> None:
        self.client = bytearray()
        self.server = bytearray()
        self.read_of = (-1, -1)
        self.transactions: list[Transaction] = []
        # Whether it continued in TLS, so that nothing more is known.
        self.is_tls = False
        # Every refusal.
        self.refusals: list[str] = []
        self.is_logged_in = False

    def read(self) -> None:
        """Reads it, if anything is new."""
        lengths = len(self.client), len(self.server)
        if lengths == self.read_of:
            return
        self.read_of = lengths
        self.transactions, self.refusals = [], []
        client = bytes(self.client)
        if client[:1] == b"\x16":
            self.is_tls = True
            return
        replies = replies_in(bytes(self.server))
        next(replies, None)
        current: Transaction | None = None
        position = 0
        while (end := client.find(b"\n", position)) >= 0:
            line = client[position:end].rstrip(b"\r").decode(errors="surrogateescape")
            position = end + 1
            verb = line[:4].upper()
            if verb == "BDAT":
                size, is_last = int(line.split()[1]), line.upper().endswith("LAST")
                chunk, position = client[position : position + size], position + size
            reply = next(replies, None)
            if reply is not None and reply[0] in "45":
                self.refusals.append(reply)
            is_good = reply is not None and reply[0] == "2"
            if verb == "MAIL":
                path, parameters = path_of(line)
                current = Transaction(path, parameters)
                self.transactions.append(current)
                if not is_good:
                    current.reply = reply
            elif verb == "AUTH":
                while reply is not None and reply.startswith("334"):
                    position = client.find(b"\n", position) + 1
                    reply = next(replies, None)
                self.is_logged_in = reply is not None and reply.startswith("235")
                if reply is not None and reply[0] in "45":
                    self.refusals.append(reply)
            elif verb == "STAR" and is_good:
                self.is_tls = True
                return
            elif current is None:
                continue
            elif verb == "RCPT" and is_good:
                current.recipients.append(path_of(line)[0])
            elif verb == "DATA":
                if reply is None or not reply.startswith("354"):
                    current.reply = reply
                    continue
                found = re.compile(rb"(?:\A|(?<=\r\n))\.\r\n").search(client[position:])
                if not found:
                    return
                content = client[position : position + found.start()]
                position += found.end()
                current.content = (b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:]
                current.reply = next(replies, None)
                if current.reply is not None and current.reply[0] in "45":
                    self.refusals.append(current.reply)
                current = None
            elif verb == "BDAT":
                current.content += chunk
                if is_last or not is_good:
                    current.reply = reply
                    current = None
            elif verb in ("RSET", "EHLO", "HELO", "QUIT"):
                current = None


def path_of(line: str) -> tuple[str, str]:
    """The address of a MAIL or RCPT, and what follows it."""
    found = re.match(r'[^<]*<((?:"(?:\\.|[^"\\])*"|[^">])*)>(.*)', line)
    return (found[1], found[2].strip()) if found else (line, "")


class Recorder:
    """Stands between a mail server and the daemon, and records what they send to each other."""

    def __init__(self, port: int, target: int) -> None:
        self.target = target
        self.sessions: list[Session] = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        """Accepts clients until it is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target), PATIENCE)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                session = Session()
                with self.lock:
                    self.sessions.append(session)
                for source, sink, kept in (
                    (client, server, session.client),
                    (server, client, session.server),
                ):
                    sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    way = threading.Thread(target=self.pass_on, args=(source, sink, kept))
                    way.daemon = True
                    way.start()

    def pass_on(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        """One direction of a session. Octets are recorded before they are forwarded."""
        with contextlib.suppress(OSError):
            while octets := source.recv(256 * KIB):
                with self.lock:
                    kept += octets
                sink.sendall(octets)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def read(self) -> list[Session]:
        """All sessions, read as far as they have come."""
        with self.lock:
            for session in self.sessions:
                session.read()
            return list(self.sessions)

    def transactions(self) -> list[Transaction]:
        """All transactions that it could read."""
        return [t for session in self.read() for t in session.transactions]

    def refusals(self) -> Counter[str]:
        """Every refusal."""
        return Counter(reply for session in self.read() for reply in session.refusals)

    def is_blind(self) -> bool:
        """Whether a session continued in TLS."""
        return any(session.is_tls for session in self.read())

    def close(self) -> None:
        """Accepts no more clients."""
        # This wakes the thread that waits for one; only closing the socket does not.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


# ---------------------------------------------------------------------------------------- letters


@dataclass(frozen=True)
class Awkward:
    """An awkward letter, as it is given to a mail server."""

    number: int
    kind: str
    sender: str
    recipients: tuple[str, ...]
    octets: bytes


class Post:
    """Writes them. All go to `main`, which the readers fetch, and some also to others."""

    def __init__(self, rng: random.Random, main: str, others: list[str]) -> None:
        self.rng = rng
        self.main = main
        self.others = others
        self.n_written = 0

    def text(self, lines: int = 5) -> bytes:
        """Some lines of text that no other letter has."""
        return b"".join(b"%s\n" % self.rng.randbytes(30).hex().encode() for _ in range(lines))

    def letter(
        self,
        kind: str,
        header: bytes = b"",
        body: bytes | None = None,
        to: tuple[str, ...] = (),
        sender: str | None = None,
    ) -> Awkward:
        """A letter of this kind; the header section has what is needed, and `header`."""
        self.n_written += 1
        number = self.n_written
        top = b"X-Test: %d of a mail server\nFrom: <%s>\n" % (number, self.main.encode())
        if not re.search(rb"^Subject:", header, re.MULTILINE):
            top += b"Subject: letter %d, %s\n" % (number, kind.encode())
        octets = top + header + b"\n" + (self.text() if body is None else body)
        sender = self.main if sender is None else sender
        return Awkward(number, kind, sender, (self.main, *to), octets)

    def many(self, knows_smtputf8: bool, knows_nobody: bool) -> Iterator[Awkward]:
        """One of each kind, endlessly: with new contents each time."""
        rng, text = self.rng, self.text
        yield self.letter("5 MiB", body=text(MIB * 5 // 61))
        yield self.letter("50 recipients", to=tuple(self.others[: MANY - 1]))
        while True:
            yield self.letter("plain")
            yield self.letter("8-bit header", b"Subject: Gr\xfc\xdfe \xa4 \xff\n")
            utf8 = "Subject: Grüße aus Kraków, 日本語 🐌\nTo: Jürgen <{}>\n".format(self.main)
            yield self.letter("UTF-8 header", utf8.encode())
            if knows_smtputf8:
                to = ("jürgen@example.com", "δοκιμή@παράδειγμα.example.com")
                yield self.letter("SMTPUTF8", utf8.encode(), to=to)
            yield self.letter("8-bit body", body=bytes(range(128, 256)) + b"\n" + text())
            yield self.letter("bare CR", body=text() + b"one\rtwo\r\rthree\n" + text())
            yield self.letter("bare CR at the end of lines", body=b"one\r\r\ntwo\r\n\r\n" + text())
            yield self.letter("CRLF", body=text().replace(b"\n", b"\r\n"))
            yield self.letter("NUL", body=b"a\0b\n\0\n" + text())
            yield self.letter("controls", body=bytes(c for c in range(1, 32) if c not in (10, 13)))
            for octets in 76, 998, 999, 1000, 2048, rng.randrange(4000, 20_000), 200_000:
                line = rng.randbytes(octets // 2 + 1).hex().encode()[:octets]
                yield self.letter(f"line of {octets}", body=text(1) + line + b"\n" + text(1))
            dots = b".\n..\n...\n.a\n..b\n. \n.\t\n.\n.\n"
            yield self.letter("dots", body=dots + text(1) + b".\n")
            yield self.letter("dot first", body=b".")
            yield self.letter("line of dots", body=b"." * rng.randrange(900, 2100) + b"\n" + text())
            yield self.letter("no body", body=b"")
            yield self.letter("empty lines", body=b"\n" * rng.randrange(1, 30))
            yield self.letter("no newline at the end", body=text() + b"the end")
            yield self.letter("blanks", body=b"  \n\t\n \t x \t \n" + text() + b"\t \n\n")
            yield self.letter("From lines", body=b"From me\n>From you\n\nFrom a b c\n" + text())
            folded = b"".join(b"\t%s\n" % text(1).strip() for _ in range(rng.randrange(2, 60)))
            yield self.letter("folded header", b"X-Folded: a\n" + folded)
            long = rng.randbytes(rng.randrange(400, 450)).hex().encode()
            yield self.letter("long header line", b"X-Long: " + long + b"\n")
            longer = b" ".join(rng.randbytes(30).hex().encode() for _ in range(100))
            yield self.letter("longer header line", b"X-Longer: " + longer + b"\n")
            fields = b"".join(b"X-%d: %s" % (number, text(1)) for number in range(200))
            yield self.letter("many fields", fields)
            passed = b"Return-Path: <%s>\n" % self.main.encode()
            passed += b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\n" * 10
            yield self.letter("passed on", passed)
            mime = b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n'
            parts = b"--b\n\n.\n--b\nContent-Transfer-Encoding: base64\n\n" + b"QUJD" * 19
            yield self.letter("multipart", mime, parts + b"\n--b--\nafter\n")
            kind = b'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: 8bit\n'
            yield self.letter("declared 8-bit", b"MIME-Version: 1.0\n" + kind, "Grüße\n".encode())
            status = b"Status: RO\nX-Status: A\nContent-Length: 5\nLines: 1\nX-UID: 7\n"
            yield self.letter("fields of mailboxes", status)
            if knows_nobody:
                yield self.letter("from nobody", sender="")
            name, _, domain = self.main.partition("@")
            yield self.letter("sub-address", to=(f"{name}+news@{domain}",))
            yield self.letter("upper case", to=(self.main.upper(),))
            yield self.letter("two recipients", to=tuple(self.others[:1]))


# ------------------------------------------------------------------------------------- comparison


def mailbox_of(address: str) -> str:
    """The mailbox in which the daemon puts mail for this address."""
    local_part, _, domain = address.rpartition("@")
    return f"{local_part.partition('+')[0]}@{domain}".lower()


def without_trace(octets: bytes, where: str) -> bytes:
    """The part below the daemon's own fields."""
    found = TRACE.match(octets)
    if found is None:
        raise Finding(Kind.TORN, f"{where}: a message begins with {octets[:200]!r}")
    return octets[found.end() :]


def retrieved(port: int, mailbox: str, password: str) -> list[bytes]:
    """What the daemon itself returns, without its fields."""
    with Pop3(port, mailbox, password) as pop3:
        found = [without_trace(pop3.retrieve(listed), mailbox) for listed in pop3.listing()]
        pop3.command("QUIT")
        return found


def expected(transactions: list[Transaction]) -> dict[str, list[bytes]]:
    """What must be in each mailbox: a letter once for each transaction that names it."""
    mailboxes: dict[str, list[bytes]] = {}
    for transaction in transactions:
        if transaction.is_accepted:
            for mailbox in {mailbox_of(address) for address in transaction.recipients}:
                mailboxes.setdefault(mailbox, []).append(transaction.content)
    return mailboxes


def what_is(octets: bytes) -> str:
    """A name for a message in reports."""
    found = X_TEST.search(octets)
    return f"letter {int(found[1])}" if found else f"a message of {len(octets)} octets"


def first_difference(wanted: bytes, got: bytes) -> str:
    """The place where two contents begin to differ."""
    at = next((n for n, (a, b) in enumerate(zip(wanted, got)) if a != b), None)
    at = min(len(wanted), len(got)) if at is None else at
    begin = max(at - 40, 0)
    return f"at octet {at}: {wanted[begin : at + 40]!r} has become {got[begin : at + 40]!r}"


def differences(where: str, wanted: list[bytes], got: list[bytes]) -> list[Finding]:
    """The differences, message for message. The order may be different."""
    missing = list((Counter(wanted) - Counter(got)).elements())
    left_over = list((Counter(got) - Counter(wanted)).elements())
    findings = []
    for octets in missing:
        twin = next((other for other in left_over if what_is(other) == what_is(octets)), None)
        name = f"{where}: {what_is(octets)}"
        if twin is None:
            findings.append(Finding(Kind.LOST, f"{name} is not there"))
        else:
            left_over.remove(twin)
            findings.append(Finding(Kind.TORN, f"{name} {first_difference(octets, twin)}"))
    for octets in left_over:
        kind = Kind.TWICE if octets in wanted else Kind.BACK
        findings.append(Finding(kind, f"{where}: {what_is(octets)} is there, but should not be"))
    return findings
