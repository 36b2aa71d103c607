"""The dialogues among the attacks of attacks.py: broken off, with hidden parts, or misplaced."""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import socket
import ssl
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attacks_bench import (
    CONTENT,
    TO_BOB,
    Siege,
    certificate,
    counted,
    exchange,
    fail,
    hello,
    reset,
    trusting,
)
from survival_bench import Bench
from survival_clients import KIB, PATIENCE, Broken, Finding, Kind, Pop3, Refused, Smtp, Wire

EVIL = b"MAIL FROM:<evil@evil.test>\r\nRCPT TO:<evil@evil.test>\r\nDATA\r\nevil\r\n.\r\n"


def check_no_evil(siege: Siege) -> None:
    """None of the hidden commands was executed."""
    if (siege.mail / "evil.test").exists():
        raise fail("there is mail for evil.test")


# ------------------------------------------------------------------------------ broken connections


class Resetter:
    """Clients that reset their connection in every phase.

    The ledger judges. A content whose end was sent may be there; one whose end was not sent must
    never be. Marked messages may be gone if QUIT was sent, and never otherwise.
    """

    def __init__(self, siege: Siege, context: ssl.SSLContext) -> None:
        self.siege = siege
        self.ledger = siege.bench.ledger
        self.context = context
        self.drops = [f"reset{n}@reset.test" for n in range(8)]
        self.counts: Counter[str] = Counter()

    def smtp(self, phase: str, mailbox: str, rng: random.Random) -> None:
        """One session of SMTP, up to this phase."""
        letter = self.siege.bench.letters.write(rng, rng.choice([500, 20_000, 200_000]))
        stuffed = letter.content.replace(b"\r\n.", b"\r\n..")
        part = stuffed[: rng.randrange(1, len(stuffed))]
        size = len(letter.content)
        head = f"MAIL FROM:<{letter.reverse_path}>\r\nRCPT TO:<{mailbox}>\r\n".encode()
        if "whole" in phase:
            self.ledger.send(letter.number, [mailbox])
        wire = Wire(self.siege.daemon.smtp)
        try:
            if phase == "before the greeting":
                return
            wire.until(b"\r\n")
            if phase.startswith("TLS"):
                wire.send(b"EHLO reset\r\nSTARTTLS\r\n")
                wire.until(b"220 ")
                wire.until(b"\r\n")
            if phase == "TLS, partial hello":
                wire.send(hello()[: rng.randrange(1, 200)])
            elif phase.startswith("TLS, "):
                self.through_tls(wire, phase, head, part)
            elif phase == "half a command":
                wire.send(b"EHLO reset\r\nMAIL FR")
            elif phase == "AUTH":
                wire.send(b"EHLO reset\r\nAUTH LOGIN\r\n")
                wire.until(b"334")
            elif phase == "RCPT":
                wire.send(b"EHLO reset\r\n" + head)
            elif phase.startswith("DATA"):
                wire.send(b"EHLO reset\r\n" + head + b"DATA\r\n")
                if rng.random() < 0.7:
                    wire.until(b"354")
                wire.send(stuffed + b".\r\n" if "whole" in phase else part)
            elif phase == "BDAT, whole":
                wire.send(b"EHLO reset\r\n" + head + b"BDAT %d LAST\r\n" % size + letter.content)
            elif phase == "BDAT":
                cut = rng.randrange(1, size)
                wire.send(b"EHLO reset\r\n" + head + b"BDAT %d\r\n" % cut + letter.content[:cut])
                if rng.random() < 0.5:
                    wire.send(b"BDAT %d LAST\r\n" % (size - cut) + letter.content[cut : size - 1])
            elif phase == "QUIT":
                wire.send(b"EHLO reset\r\n" + head + b"RSET\r\nQUIT\r\n")
            if rng.random() < 0.3:
                time.sleep(rng.random() * 0.02)
        finally:
            reset(wire.socket)

    def through_tls(self, wire: Wire, phase: str, head: bytes, part: bytes) -> None:
        """The handshake, and what follows it."""
        if phase == "TLS, before the hello":
            return
        tls = self.context.wrap_socket(wire.socket, do_handshake_on_connect=False)
        wire.socket = tls
        with contextlib.suppress(OSError):
            tls.do_handshake()
            tls.sendall(b"EHLO reset\r\n" + head)
            if phase == "TLS, DATA":
                tls.sendall(b"DATA\r\n" + part)

    def pop3(self, phase: str, mailbox: str, rng: random.Random) -> None:
        """One session of POP3, up to this phase. Only this client uses the maildrop."""
        if phase in ("before the greeting", "USER", "TLS, partial hello"):
            wire = Wire(self.siege.daemon.pop3)
            try:
                if phase == "USER":
                    wire.send(f"USER {mailbox}\r\nPA".encode())
                elif phase == "TLS, partial hello":
                    wire.send(b"STLS\r\n")
                    wire.until(b"\r\n")
                    wire.until(b"\r\n")
                    wire.send(hello()[: rng.randrange(1, 200)])
            finally:
                reset(wire.socket)
            return
        pop3 = self.log_in(mailbox)
        try:
            seen = pop3.see_all(self.ledger, mailbox)
            findings = self.ledger.settle(mailbox, set(seen))
            if findings:
                raise findings[0]
            if not seen:
                return
            marked = rng.sample(sorted(seen), rng.randrange(1, len(seen) + 1))
            number = seen[marked[0]]
            if phase in ("RETR", "TOP"):
                pop3.send(f"RETR {number}\r\n".encode() if phase == "RETR" else b"TOP 1 9\r\n")
                if rng.random() < 0.5:
                    pop3.until(b"\r\n")
            else:
                pop3.delete([seen[number] for number in marked])
            if phase == "QUIT":
                self.ledger.leave(mailbox, marked)
                pop3.send(b"QUIT\r\n")
                if rng.random() < 0.5:
                    time.sleep(rng.random() * 0.01)
        finally:
            reset(pop3.socket)

    def log_in(self, mailbox: str) -> Pop3:
        """A session that was reset can hold the maildrop a moment longer."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return Pop3(self.siege.daemon.pop3, mailbox)
            except Refused as error:
                if "[IN-USE]" not in str(error) or time.monotonic() > deadline:
                    raise Finding(Kind.REPLY, f"{mailbox} after a reset: {error}") from None

    def work(self, mailbox: str, count: int) -> None:
        """One client after another, at random; the maildrop is refilled when it gets empty."""
        rng = self.siege.bench.chance(mailbox)
        for _ in range(count):
            if len(self.ledger.kept(mailbox)) < 3:
                letter = self.siege.bench.letters.write(rng, rng.choice([300, 5000, 300_000]))
                with Smtp(self.siege.daemon.smtp) as smtp, contextlib.suppress(Refused):
                    smtp.deliver(self.ledger, letter, [mailbox], rng)
            protocol = rng.choice(["SMTP", "POP3"])
            phase = rng.choice(RESET_PHASES[protocol])
            # Such a content can still arrive when the next session of POP3 sees the maildrop.
            to = mailbox if protocol == "POP3" else f"late-{mailbox}"
            # A reset that crosses with octets of the daemon is a broken connection here too.
            with contextlib.suppress(Broken):
                (self.smtp if protocol == "SMTP" else self.pop3)(phase, to, rng)
            self.counts[f"{protocol} {phase}"] += 1


RESET_PHASES = {
    "SMTP": [
        "before the greeting",
        "half a command",
        "RCPT",
        "DATA",
        "DATA, whole",
        "BDAT",
        "BDAT, whole",
        "AUTH",
        "QUIT",
        "TLS, before the hello",
        "TLS, partial hello",
        "TLS, handshake",
        "TLS, DATA",
    ],
    "POP3": [
        "before the greeting",
        "USER",
        "TLS, partial hello",
        "RETR",
        "TOP",
        "DELE",
        "QUIT",
    ],
}


def resets(bench: Bench) -> None:
    """RST in every phase of SMTP, POP3 and TLS. Everything acknowledged stays; a message that was
    not acknowledged is there completely or not at all; nothing is removed unless QUIT was sent."""
    count = 1000 if bench.is_long else 60
    with Siege(bench, *certificate(bench)) as siege:
        resetter = Resetter(siege, trusting(bench))
        with ThreadPoolExecutor(len(resetter.drops)) as pool:
            list(pool.map(lambda drop: resetter.work(drop, count), resetter.drops))
        for port in siege.daemon.smtps, siege.daemon.pop3s:
            for _ in range(count // 2):
                wire = Wire(port)
                wire.send(hello()[: siege.rng.randrange(200)])
                reset(wire.socket)
        n_phases = len(resetter.counts) + 2
        siege.tell(f"{resetter.counts.total() + count} resets in {n_phases} phases")


# ------------------------------------------------------------------------------------ injections


def files_for(siege: Siege, local: str) -> list[bytes]:
    """The content of a mailbox of attack.test, once all mail in transit has arrived."""
    # A login waits for it.
    with contextlib.suppress(Refused), Pop3(siege.daemon.pop3, f"{local}@attack.test"):
        pass
    return [file.read_bytes() for file in siege.mail.glob(f"attack.test/{local}/*/*")]


def smuggling(bench: Bench) -> None:
    """All line endings around a dot, in a session of CRLF and in one of LF, by DATA; contents that
    look like dialogues, by BDAT; NUL. Only the session's own ending ends a content, so there is at
    most one message, and the commands after the dot are never executed."""
    counts: Counter[str] = Counter()
    with Siege(bench) as siege:

        def try_one(name: str, octets: bytes, most: int = 1) -> None:
            local = f"mix{counts.total()}"
            answer = exchange(siege.daemon.smtp, octets.replace(b"bob@", local.encode() + b"@"))
            stored = files_for(siege, local)
            if len(stored) > most:
                raise fail(f"{name}: {len(stored)} messages, answer {answer!r}")
            check_no_evil(siege)
            counts["stored" if stored else "refused"] += 1

        endings = [a + b for a in (b"", b"\r") for b in (b"", b"\n")]
        nul = [b"\0", b"\r\0\n", b"\n\0", b"\0\r\n"]
        dots = [a + b"." + z for a in endings for z in endings]
        dots += [a + b"." + z for a in nul for z in (b"\r\n", b"\n", *nul)]
        dots += [a + b"." + z for a in (b"\r\n", b"\n") for z in nul]
        for ending in b"\r\n", b"\n":
            begin = (b"EHLO x\r\n" + TO_BOB + b"DATA\r\n").replace(b"\r\n", ending)
            for dot, evil_ending in itertools.product(dots, (b"\r\n", b"\n")):
                if ending + b"." + ending in dot:
                    continue  # that is the end of the content
                # Its own ending, if there is one here, ends the message that it is part of.
                evil = EVIL.replace(b"\r\n", evil_ending)
                content = CONTENT.replace(b"\r\n", ending) + b"good"
                end = ending + b"." + ending
                text = begin + content + dot + evil + end
                try_one(f"{dot!r} in a session of {ending!r}", text)
        body = CONTENT + b"x\r\n.\r\n" + EVIL
        chunk = b"BDAT %d" % len(body)
        begin = b"EHLO x\r\n" + TO_BOB
        for name, text in {
            "BDAT LAST": begin + chunk + b" LAST\r\n" + body,
            "BDAT, then LAST of nothing": begin + chunk + b"\r\n" + body + b"BDAT 0 LAST\r\n",
            "BDAT, then DATA": begin + chunk + b"\r\n" + body + b"DATA\r\nx\r\n.\r\n",
            "a chunk cut in its CR": begin + b"BDAT 2\r\na\rBDAT 1\r\n\nBDAT 1 LAST\r\nb",
            "BDAT without its command's LF": begin + chunk + b" LAST\r" + body,
            "BDAT of a negative size": begin + b"BDAT -1 LAST\r\n" + body,
            "BDAT of a huge size": begin + b"BDAT 99999999999999999999 LAST\r\n" + body,
            "BDAT of two sizes": begin + chunk + b" 3 LAST\r\n" + body,
            "BDAT before MAIL": b"EHLO x\r\n" + chunk + b" LAST\r\n" + body,
            "DATA, then BDAT in it": begin + b"DATA\r\n" + CONTENT + chunk + b" LAST\r\n\r\n.\r\n",
            "NUL in a command": begin.replace(b"bob", b"bo\0b") + b"DATA\r\nx\r\n.\r\n",
        }.items():
            try_one(name, text)
        siege.tell(f"{counts.total()} mixtures: {counted(counts)}, none duplicated")


def injection(bench: Bench) -> None:
    """Commands after STARTTLS and STLS in the same write, with and without the beginning of a
    handshake, and plain-text commands within one: the connection closes and nothing is executed.
    After a handshake nothing is known of the dialogue before it."""
    with Siege(bench, *certificate(bench)) as siege:
        smtp, pop3 = siege.daemon.smtp, siege.daemon.pop3
        evil_pop3 = b"USER bob@attack.test\r\nPASS x\r\nSTAT\r\n"
        n_tried = 0
        for behind in b"", hello(), hello()[:40], b"\r\n", b"\x16\x03\x01":
            for port, command, evil in (
                (smtp, b"EHLO x\r\nSTARTTLS\r\n", b"EHLO y\r\n" + EVIL),
                (pop3, b"CAPA\r\nSTLS\r\n", evil_pop3),
            ):
                for text in command + behind + evil, command + evil + behind:
                    answer = exchange(port, text)
                    n_tried += 1
                    # A TLS alert is not an answer to a command.
                    said = answer.partition(b"250-STARTTLS")[2] if port == smtp else answer
                    executed = b"Maildrop has" in said or b"Sender OK" in said
                    if executed:
                        raise fail(f"after STARTTLS or STLS: {answer!r}")
        for part in 5, 60, 150:
            for port, command, evil in (
                (smtp, b"EHLO x\r\nSTARTTLS\r\n", EVIL),
                (pop3, b"STLS\r\n", evil_pop3),
            ):
                with Wire(port) as wire:
                    wire.send(command)
                    wire.until(b"220 2.0.0" if port == smtp else b"+OK Begin")
                    wire.until(b"\r\n")
                    with contextlib.suppress(Broken, OSError):
                        wire.send(hello()[:part] + evil)
                        # The daemon would wait for the rest of the hello.
                        wire.socket.shutdown(socket.SHUT_WR)
                        while octets := wire.socket.recv(KIB):
                            wire.received += octets
                    n_tried += 1
                    if b"OK" in wire.received:
                        raise fail(f"within a handshake: {bytes(wire.received)!r}")
        with Wire(smtp) as wire:
            wire.send(b"EHLO x\r\n" + TO_BOB + b"STARTTLS\r\n")
            wire.until(b"220 2.0.0")
            wire.until(b"\r\n")
            wire.socket = trusting(bench).wrap_socket(wire.socket)
            wire.send(b"DATA\r\n")
            if not (said := wire.until(b"\r\n")).startswith(b"503"):
                raise fail(f"an envelope from before TLS: {said!r}")
        check_no_evil(siege)
        siege.tell(f"{n_tried} injections, none executed")


def wrong_ports(bench: Bench) -> None:
    """Everything at the wrong port: HTTP, TLS at plain ports, commands at TLS ports, the other
    protocol, noise. It is refused, and none of it is executed."""
    smtp_in = b"EHLO x\r\n" + EVIL + b"QUIT\r\n"
    http = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(smtp_in)
    everywhere = {
        "GET": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + smtp_in,
        "POST": http + smtp_in,
        "POST with LF": (http + smtp_in).replace(b"\r\n", b"\n"),
        "PUT": http.replace(b"POST", b"PUT") + smtp_in,
        "CONNECT": http.replace(b"POST /", b"CONNECT localhost:25") + smtp_in,
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n" + bench.rng.randbytes(500),
        "SOCKS": b"\x05\x01\0" + smtp_in,
        "Redis": b"*1\r\n$4\r\nPING\r\n" + smtp_in,
        "SMB": b"\0\0\0\x2f\xffSMB" + smtp_in,
    }
    noise = 2000 if bench.is_long else 100
    for number in range(noise):
        everywhere[f"noise {number}"] = bench.rng.randbytes(bench.rng.randrange(1, 4000))
    pop3_dialogue = b"USER bob@attack.test\r\nPASS x\r\nSTAT\r\nQUIT\r\n"
    with Siege(bench, *certificate(bench)) as siege:
        daemon = siege.daemon
        tries = [
            (name, port, text)
            for name, text in everywhere.items()
            for port in (daemon.smtp, daemon.pop3, daemon.smtps, daemon.pop3s)
        ]
        tries += [("TLS hello", port, hello() + smtp_in) for port in (daemon.smtp, daemon.pop3)]
        tries += [("in clear", port, smtp_in) for port in (daemon.smtps, daemon.pop3s)]
        tries += [("SMTP", daemon.pop3, smtp_in), ("POP3", daemon.smtp, pop3_dialogue)]
        tries += [("POP3", port, pop3_dialogue) for port in (daemon.smtps, daemon.pop3s)]
        outcomes: Counter[str] = Counter()
        for name, port, text in tries:
            answer = exchange(port, text)
            first, _, rest = answer.partition(b"\r\n")
            is_clear = port in (daemon.smtp, daemon.pop3)
            if is_clear and not first.startswith((b"220 ", b"+OK ")):
                raise fail(f"{name}: no greeting but {first!r}")
            if is_clear and not name.startswith("noise") and name not in ("SMTP", "POP3"):
                if rest and not rest.startswith((b"421 ", b"-ERR ", b"500 ", b"501 ")):
                    raise fail(f"{name} gets {rest!r}")
            if not is_clear and answer[:1] not in (b"", b"\x15"):
                raise fail(f"{name} at a TLS port: {answer!r}")
            if b"250 2.1.0" in answer or b"250 Sender" in answer or b"Maildrop has" in answer:
                raise fail(f"{name} is executed: {answer!r}")
            said = "alert" if answer[:1] == b"\x15" else rest[:4].decode(errors="replace").strip()
            outcomes[said or "closed"] += 1
        check_no_evil(siege)
        siege.tell(f"{len(tries)} openings: {counted(outcomes)}")


# Names that would have another meaning in a path, or for a program that handles paths.
NAMES = [
    "../../outside",
    "..",
    ".",
    "...",
    ".hidden",
    ".facteur",
    ".facteur/store.lock",
    "a/b",
    "/etc/passwd",
    "//",
    "a\\b",
    "%2e%2e%2foutside",
    "%2e%2e",
    "%",
    "cur",
    "new",
    "tmp",
    "new/1.2.3",
    "a:2,S",
    "*",
    "~root",
    "$HOME",
    "`id`",
    "|id",
    "-rf",
    "con",
    "link",
    "a" * 64,
    "a" * 255,
    "/" * 64,
    "a" * 3000,
    "é",
    "ｆｕｌｌ",
    "‮gpj",
    "\u0000nul",
    "a\0b",
    "a\nb",
    'quo"ted',
    "back\\slash",
    " ",
    "",
]


def forward_paths() -> list[str]:
    """The names as local parts and as domains, bare and quoted, and texts that are not names."""
    paths = []
    for name in NAMES:
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        paths += [f"{name}@attack.test", f"{quoted}@attack.test", f"bob@{name}", f"bob@{name}.test"]
    paths += [f"bob@[{literal}]" for literal in ("127.0.0.1", "IPv6:::1", "../../x", "IPv6:/", "")]
    paths += ["bob@attack.test/../../x", "@a,@b:bob@attack.test", "bob@.", "bob@..", "bob@a..b"]
    paths += ["bob@" + "a" * 63 + ".test", "bob@" + "a." * 120 + "test", "bob@-a.test", "@", ""]
    return paths


def paths(bench: Bench) -> None:
    """Recipients and users whose names would leave the store, or match its own files. Every file
    that is created has a legal name and is in the mail directory, and no symbolic link is
    followed."""
    legal_directory = re.compile(r"(?:%|[a-z0-9%][a-z0-9%._+-]*)")
    outside = bench.directory / "outside"
    outside.mkdir()
    (outside / "passwd").write_text("root")
    links = bench.directory / "mail/attack.test"

    def everything(directory: Path) -> dict[str, int]:
        return {
            str(path): path.lstat().st_size
            for path in directory.rglob("*")
            if not path.is_relative_to(bench.directory / "mail") and path.suffix != ".log"
        }

    with Siege(bench) as siege:
        # Created in advance, as anybody who can write here could.
        links.mkdir(mode=0o700)
        (links / "link").symlink_to(outside)
        (links / "half").mkdir(mode=0o700)
        (links / "half/new").symlink_to(outside)
        before = everything(bench.directory)
        outcomes: Counter[str] = Counter()
        tried = [*forward_paths(), "half@attack.test"]
        for path in tried:
            with Smtp(siege.daemon.smtp) as smtp:
                smtp.command("MAIL FROM:<a@attack.test> SMTPUTF8", "250")
                smtp.send(f"RCPT TO:<{path}>\r\n".encode())
                try:
                    said = smtp.reply()
                    if said.startswith("250"):
                        smtp.command("DATA", "354")
                        smtp.send(CONTENT + b".\r\n")
                        said = smtp.reply()
                except Broken:
                    said = "closed"
                outcomes[said[:3]] += 1
                if path.startswith(("link@a", "half@a")) and not said.startswith("451"):
                    raise fail(f"{path} gets {said!r}")
            login = f"USER {path}\r\nPASS x\r\nSTAT\r\nQUIT\r\n".encode()
            answer = exchange(siege.daemon.pop3, login)
            outcomes["POP3 " + ("+OK" if b"\r\n+OK Maildrop" in answer else "-ERR")] += 1
        if (now := everything(bench.directory)) != before:
            changed = sorted(set(now.items()) ^ set(before.items()))
            raise fail(f"outside of the mail directory: {changed[:5]}")
        made = 0
        for domain in siege.mail.iterdir():
            for local in domain.iterdir() if domain.name != ".facteur" else ():
                made += 1
                for name in domain.name, local.name:
                    if not legal_directory.fullmatch(name) or ".." in name:
                        raise fail(f"a directory is named {domain.name!r}/{local.name!r}")
                if not local.is_symlink() and local.name != "half":
                    if {side.name for side in local.iterdir()} != {"tmp", "new", "cur"}:
                        raise fail(f"{local} is not a Maildir")
        for link in links / "link", links / "half/new":
            link.unlink()
        (links / "half").rmdir()
        siege.tell(f"{len(tried)} names: {counted(outcomes)}; {made} Maildirs")
