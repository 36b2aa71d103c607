"""The hostile clients of soak.py. They have their own addresses, so the log identifies them."""

from __future__ import annotations

import base64
import contextlib
import random
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from survival_clients import KIB, MIB, Finding, Kind

# Hostile clients come from 127.66.*.*, and well-behaved ones from 127.0.0.1.
HOSTILE = "127.66."
FLOODING = f"{HOSTILE}0.1"

# The recipients and victims of hostile clients. Nobody compares their mail.
VICTIM = "victim@soak.test"
# The owner of the one large letter that is fetched by clients that do not read.
GLUTTON = "glutton@soak.test"

# Longest time in seconds until a client must have been cut off by a limit. The limits of soak.py
# are far below it, and the machine may be slow.
TO_BE_CUT_IN = 300.0


@dataclass(frozen=True)
class Doors:
    """The ports of the daemon."""

    smtp: int
    pop3: int
    smtps: int
    pop3s: int
    submission: int

    def any(self, rng: random.Random) -> int:
        """One of them."""
        return rng.choice([self.smtp, self.pop3, self.smtps, self.pop3s, self.submission])


class Raw:
    """A connection of a client that ignores the answers."""

    def __init__(self, port: int, rng: random.Random, room: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(10)
        if room:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.bind((f"{HOSTILE}{rng.randrange(1, 256)}.{rng.randrange(1, 255)}", 0))
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """Sends everything."""
        self.socket.sendall(octets)

    def hear(self) -> bytes:
        """Part of what comes, or nothing."""
        with contextlib.suppress(TimeoutError):
            return self.socket.recv(64 * KIB)
        return b""

    def say(self, *lines: str) -> bytes:
        """Lines one after another, each with part of its answer. Returns the last answer."""
        heard = b""
        for line in lines:
            self.send(line.encode() + b"\r\n")
            heard = self.hear()
        return heard

    def hear_all(self) -> None:
        """Reads until the daemon closes."""
        while self.hear():
            pass

    def reset(self) -> None:
        """Breaks the connection off."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def encrypt(self) -> None:
        """Begins TLS, and accepts any certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)


ENVELOPE = ["EHLO evil.test", "MAIL FROM:<evil@evil.test>", f"RCPT TO:<{VICTIM}>"]


def plain(user: str, password: str) -> str:
    """The response of AUTH PLAIN."""
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


class Hostile:
    """Threads of hostile clients that continue until they are stopped.

    The brisk ones do something and leave. The slow ones hold a session until a limit ends it; if
    none does, that is a finding.
    """

    def __init__(self, doors: Doors, chance: Callable[[str], random.Random], pace: float) -> None:
        self.doors = doors
        self.pace = pace
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.brisk = [
            self.vanish, self.reset_smtp, self.reset_smtp, self.reset_pop3, self.reset_tls,
            self.half_command, self.garbage, self.garbage, self.http, self.long_command,
            self.long_content_line, self.bare_line_feeds, self.bare_line_feeds, self.wrong_smtp,
            self.wrong_smtp, self.wrong_pop3, self.wrong_pop3, self.recipients, self.strangers,
            self.chunks, self.too_large, self.injection, self.no_numbers, self.nonsense,
            self.plain_at_tls, self.replies_unread,
        ]  # fmt: skip
        self.slow = [
            self.silent, self.slow_command, self.slow_content, self.stopped_content,
            self.fetch_unread, self.pipeline_unread, self.half_handshake,
        ]  # fmt: skip
        works = [self.be_brisk] * 2 + [self.be_slow] * 8 + [self.be_many]
        self.threads = [
            threading.Thread(target=self.guard, args=(work, chance(f"hostile {n}")), daemon=True)
            for n, work in enumerate(works)
        ]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Ends all of them."""
        self.over.set()
        for thread in self.threads:
            thread.join(60)
            if thread.is_alive():
                self.findings.append(Finding(Kind.REPLY, "a hostile client hangs"))

    def guard(self, work: Callable[[random.Random], None], rng: random.Random) -> None:
        try:
            work(rng)
        except Finding as finding:
            self.findings.append(finding)
        except Exception as error:  # an error in this script must not look like a quiet client
            self.findings.append(Finding(Kind.CRASH, f"in a hostile client: {error!r}"))

    def act(self, act: Callable[[random.Random], None], rng: random.Random) -> None:
        """One act. Whatever happens to its connection is its own fault."""
        with contextlib.suppress(OSError, ValueError):
            act(rng)
        with self.lock:
            self.counts[act.__name__] += 1

    def be_brisk(self, rng: random.Random) -> None:
        while not self.over.wait(min(rng.expovariate(self.pace / 4), 20)):
            self.act(rng.choice(self.brisk), rng)

    def be_slow(self, rng: random.Random) -> None:
        while not self.over.wait(rng.uniform(1, 4)):
            self.act(rng.choice(self.slow), rng)

    def be_many(self, rng: random.Random) -> None:
        while not self.over.wait(rng.uniform(10, 40)):
            self.act(self.flood, rng)

    # ------------------------------------------------------------------------------------- brisk

    def vanish(self, rng: random.Random) -> None:
        with Raw(self.doors.any(rng), rng) as raw:
            if rng.random() < 0.5:
                raw.reset()

    def reset_smtp(self, rng: random.Random) -> None:
        """A reset at a random moment of a transaction."""
        with Raw(self.doors.smtp, rng) as raw:
            chunk = rng.random() < 0.3
            content = "BDAT 100000" if chunk else "DATA"
            lines = [*ENVELOPE, content]
            lines = lines[: rng.randrange(1, 5)]
            if rng.random() < 0.5:
                raw.say(*lines)
            else:
                raw.send("".join(line + "\r\n" for line in lines).encode())
            if len(lines) == 4:
                raw.send(b"Subject: x\r\n\r\n" + rng.randbytes(rng.randrange(90_000)))
            raw.reset()

    def reset_pop3(self, rng: random.Random) -> None:
        """A reset at a random moment of a retrieval."""
        with Raw(self.doors.pop3, rng, rng.choice([0, 4096])) as raw:
            user = rng.choice([VICTIM, GLUTTON])
            lines = [f"USER {user}", "PASS any", "LIST", "RETR 1", "DELE 1", "QUIT"]
            raw.say(*lines[: rng.randrange(1, 5 if user == GLUTTON else 7)])
            raw.reset()

    def reset_tls(self, rng: random.Random) -> None:
        """A reset below TLS."""
        port = rng.choice([self.doors.smtps, self.doors.pop3s])
        with Raw(port, rng) as raw:
            raw.encrypt()
            raw.say(*rng.choice([[], ENVELOPE[:2], ["USER x"]]))
            raw.reset()

    def half_command(self, rng: random.Random) -> None:
        with Raw(rng.choice([self.doors.smtp, self.doors.pop3]), rng) as raw:
            line = rng.choice([b"EHLO evil.test\r", b"MAIL FROM:<ev", b"USER vic", b"R", b"\r"])
            raw.send(line)
            if rng.random() < 0.5:
                raw.socket.shutdown(socket.SHUT_WR)
                raw.hear_all()

    def garbage(self, rng: random.Random) -> None:
        with Raw(self.doors.any(rng), rng) as raw:
            for _ in range(rng.randrange(1, 6)):
                raw.send(rng.randbytes(rng.randrange(1, 20_000)))
            raw.socket.settimeout(1)
            raw.hear()

    def http(self, rng: random.Random) -> None:
        with Raw(self.doors.any(rng), rng) as raw:
            path = rng.choice(["/", "/mail?to=bob", "/" + "x" * 3000])
            method = rng.choice(["GET", "POST", "OPTIONS", "PRI"])
            raw.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            raw.hear_all()

    def long_command(self, rng: random.Random) -> None:
        with Raw(rng.choice([self.doors.smtp, self.doors.pop3]), rng) as raw:
            raw.hear()
            raw.send(rng.choice([b"NOOP ", b"USER ", b"\0"]) * rng.randrange(5000, MIB) + b"\r\n")
            raw.hear()

    def long_content_line(self, rng: random.Random) -> None:
        """One line that does not end for some MiB, and is accepted."""
        with Raw(self.doors.smtp, rng) as raw:
            raw.hear()
            raw.say(*ENVELOPE, "DATA")
            raw.send(b"x" * rng.randrange(MIB, 3 * MIB))
            raw.say("\r\n.", "QUIT")

    def bare_line_feeds(self, rng: random.Random) -> None:
        """The parts of SMTP smuggling."""
        with Raw(self.doors.smtp, rng) as raw:
            raw.hear()
            raw.say(*ENVELOPE, "DATA")
            end = rng.choice([b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n"])
            raw.send(b"Subject: x\r\n\r\nhello" + end + b"MAIL FROM:<smuggled@evil.test>\r\n")
            raw.say(f"RCPT TO:<{VICTIM}>", ".", "QUIT")

    def wrong_smtp(self, rng: random.Random) -> None:
        """Wrong passwords, users and responses."""
        user = rng.choice([VICTIM, "nobody@soak.test", "root", "x" * 2000])
        door = rng.choice([self.doors.smtp, self.doors.submission])
        tries = [
            [f"AUTH PLAIN {plain(user, 'wrong')}"],
            ["AUTH PLAIN", plain(user, "wrong")],
            ["AUTH LOGIN", base64.b64encode(user.encode()).decode(), "d3Jvbmc="],
            ["AUTH PLAIN", "*"],
            ["AUTH PLAIN ====", "AUTH NTLM"],
        ]
        with Raw(door, rng) as raw:
            raw.hear()
            raw.say("EHLO evil.test")
            for _ in range(rng.randrange(1, 5)):
                if raw.say(*rng.choice(tries)).startswith(b"235"):
                    raise Finding(Kind.REPLY, f"a wrong password of {user} was accepted")

    def wrong_pop3(self, rng: random.Random) -> None:
        """The same for maildrops."""
        user = rng.choice([VICTIM, "nobody@soak.test", "root", "../../etc/passwd"])
        with Raw(self.doors.pop3, rng) as raw:
            raw.hear()
            for _ in range(rng.randrange(1, 5)):
                if raw.say(f"USER {user}", "PASS wrong").startswith(b"+OK Maildrop"):
                    raise Finding(Kind.REPLY, f"a wrong password of {user} was accepted")

    def recipients(self, rng: random.Random) -> None:
        """More recipients than a message may have."""
        with Raw(self.doors.smtp, rng) as raw:
            raw.hear()
            raw.say(*ENVELOPE[:2])
            raw.send(f"{ENVELOPE[2]}\r\n".encode() * rng.randrange(101, 1000))
            raw.say("DATA", "x\r\n.", "QUIT")

    def strangers(self, rng: random.Random) -> None:
        """Recipients that do not exist."""
        with Raw(self.doors.smtp, rng) as raw:
            raw.hear()
            raw.say(*ENVELOPE[:2])
            domain = rng.choice(["soak.test", "else.test"])
            raw.say(*[f"RCPT TO:<stranger@{domain}>"] * 15)

    def chunks(self, rng: random.Random) -> None:
        """BDAT that is wrong, ends early, or never."""
        with Raw(self.doors.smtp, rng) as raw:
            raw.hear()
            size = rng.choice(["9" * 30, "-1", "x", "1 LAST LAST", "17000000", "9"])
            raw.say(*ENVELOPE[: rng.randrange(1, 4)], f"BDAT {size}")
            raw.send(b"x" * rng.randrange(100_000))

    def too_large(self, rng: random.Random) -> None:
        """A message over the limit: refused at MAIL, or in the content."""
        with Raw(self.doors.smtp, rng) as raw:
            raw.hear()
            if rng.random() < 0.8:
                raw.say(ENVELOPE[0], f"{ENVELOPE[1]} SIZE=17000000", "QUIT")
                return
            raw.say(*ENVELOPE, "DATA")
            for _ in range(17):
                raw.send((b"x" * 1022 + b"\r\n") * KIB)
            raw.say(".", "QUIT")

    def injection(self, rng: random.Random) -> None:
        """Commands after STARTTLS and STLS, sent without TLS."""
        smtp = rng.random() < 0.5
        with Raw(self.doors.smtp if smtp else self.doors.pop3, rng) as raw:
            raw.hear()
            if smtp:
                raw.say("EHLO evil.test")
            begin = "STARTTLS" if smtp else "STLS"
            raw.send(f"{begin}\r\nNOOP\r\n{ENVELOPE[1]}\r\n".encode())
            raw.encrypt()
            raw.say("NOOP")

    def no_numbers(self, rng: random.Random) -> None:
        """Invalid message numbers."""
        with Raw(self.doors.pop3, rng) as raw:
            raw.hear()
            raw.say(f"USER {VICTIM}", "PASS any")
            for _ in range(rng.randrange(1, 9)):
                command = rng.choice(["RETR", "DELE", "TOP", "LIST", "UIDL"])
                raw.say(f"{command} {rng.choice(['0', '-1', '9' * 40, 'x', '', '1 ' * 1000])}")

    def nonsense(self, rng: random.Random) -> None:
        """Invalid commands, until the daemon closes."""
        with Raw(rng.choice([self.doors.smtp, self.doors.pop3]), rng) as raw:
            raw.hear()
            raw.say(*(rng.randbytes(8).hex() for _ in range(12)))

    def plain_at_tls(self, rng: random.Random) -> None:
        """Plain text when TLS begins."""
        with Raw(rng.choice([self.doors.smtps, self.doors.pop3s]), rng) as raw:
            raw.send(rng.choice([b"EHLO evil.test\r\n", b"\x16\x03\x01\xff\xff" + bytes(999)]))
            raw.hear_all()

    def replies_unread(self, rng: random.Random) -> None:
        """A long pipeline, whose client leaves without reading."""
        with Raw(rng.choice([self.doors.smtp, self.doors.pop3]), rng) as raw:
            raw.send(b"NOOP\r\n" * rng.randrange(1000, 20_000))

    # -------------------------------------------------------------------------------------- slow

    def wait_to_be_cut(
        self, raw: Raw, what: str, rng: random.Random, trickle: bytes = b""
    ) -> None:
        """Waits until the daemon closes, sending an octet now and then."""
        raw.socket.settimeout(1)
        deadline = time.monotonic() + TO_BE_CUT_IN
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                if not raw.socket.recv(64 * KIB):
                    return
            if trickle:
                raw.send(rng.choice(trickle).to_bytes(1, "big"))
            if time.monotonic() > deadline:
                raise Finding(Kind.REPLY, f"{what}: not cut after {TO_BE_CUT_IN:.0f} s")

    def silent(self, rng: random.Random) -> None:
        with Raw(rng.choice([self.doors.smtp, self.doors.pop3]), rng) as raw:
            self.wait_to_be_cut(raw, "silent", rng)

    def slow_command(self, rng: random.Random) -> None:
        with Raw(rng.choice([self.doors.smtp, self.doors.pop3]), rng) as raw:
            raw.hear()
            raw.send(b"NOOP ")
            self.wait_to_be_cut(raw, "slow command", rng, b"x")

    def slow_content(self, rng: random.Random) -> None:
        with Raw(self.doors.smtp, rng) as raw:
            raw.hear()
            raw.say(*ENVELOPE, "DATA")
            self.wait_to_be_cut(raw, "slow content", rng, b"abcdef")

    def stopped_content(self, rng: random.Random) -> None:
        with Raw(self.doors.smtp, rng) as raw:
            raw.hear()
            raw.say(*ENVELOPE, rng.choice(["DATA", "BDAT 500000"]))
            raw.send(b"x" * rng.randrange(300_000))
            self.wait_to_be_cut(raw, "stopped content", rng)

    def fetch_unread(self, rng: random.Random) -> None:
        """A large message that is requested, but not read."""
        with Raw(self.doors.pop3, rng, 4096) as raw:
            raw.hear()
            if raw.say(f"USER {GLUTTON}", "PASS any").startswith(b"+OK"):
                raw.send(b"RETR 1\r\n")
                self.over.wait(rng.uniform(65, 90))

    def pipeline_unread(self, rng: random.Random) -> None:
        """Endless commands, whose replies are not read."""
        with Raw(self.doors.smtp, rng, 4096) as raw:
            deadline = time.monotonic() + TO_BE_CUT_IN
            raw.socket.settimeout(1)
            while not self.over.is_set():
                # Once the buffers are full, the pieces no longer end with lines: no matter.
                with contextlib.suppress(TimeoutError):
                    raw.socket.send(b"HELP\r\n" * 1000)
                    self.over.wait(0.05)
                if time.monotonic() > deadline:
                    raise Finding(Kind.REPLY, "pipeline without reading: not cut")

    def half_handshake(self, rng: random.Random) -> None:
        with Raw(rng.choice([self.doors.smtps, self.doors.pop3s]), rng) as raw:
            raw.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            self.wait_to_be_cut(raw, "half a handshake", rng)

    # -------------------------------------------------------------------------------------- many

    def flood(self, rng: random.Random) -> None:
        """More sessions than one address may have."""
        sockets: list[socket.socket] = []
        try:
            for _ in range(rng.randrange(70, 150)):
                port = rng.choice([self.doors.smtp, self.doors.pop3])
                one = socket.create_connection(("127.0.0.1", port), 10, (FLOODING, 0))
                sockets.append(one)
            self.over.wait(rng.uniform(0, 3))
        finally:
            for one in sockets:
                one.close()
