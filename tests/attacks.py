#!/usr/bin/env python3
"""Attacks on the real thing: the program is hit, and goes on serving.

    python3 tests/attacks.py --short target/release/facteur
    python3 tests/attacks.py --long target/release/facteur
    python3 tests/attacks.py --short target/release/facteur flood login-storm --seed 7

Each scenario starts a daemon, and beside the attack a regular client delivers and fetches mail and
keeps the ledger of survival.py. It must be served throughout. Where an attack starves everybody, as
a full disk does, it may be refused with 421, 451, 452 or -ERR [SYS/TEMP], and is served again
without anybody's help: the scenarios below for which that holds have a star.

Afterwards the daemon lives and no thread of it has panicked; it has as many threads and descriptors
as before the attack; it uses no processor; a fresh client is served; its memory has stayed within
64 KiB for each session and 256 MiB for all deliveries (SEC-9); it stops in order, starts again, and
nothing that was acknowledged is lost, torn, twice or back.

    slow-readers   clients that ask for much and never read
    slow-writers   clients that send commands and contents octet by octet
    flood *        connections that come and go by the thousand, within the cap and beyond it
    address-flood  one address takes all that it may have
    login-storm *  passwords are guessed, by POP3 and SMTP (only logins may be put off)
    long-lines     commands and contents that are one long line
    recipients     more recipients than a message may have, many times over
    resets         RST in every phase of SMTP, POP3 and TLS
    smuggling      line endings that others might take for the end of a content
    injection      octets behind STARTTLS and STLS
    wrong-ports    HTTP, TLS, the other protocol and noise at every port
    paths          names that would be something else in a path
    descriptors *  64 descriptors, and then none left for a daemon that runs
    tasks *        a control group of 32 tasks, and then none left for a daemon that runs
    memory         a control group of 64 MiB
    full-disk *    mail fills the disk
    idle           thousands of sessions that do nothing (NET-1, NET-2), and more than there may be

Everything needs Linux; tasks, memory and full-disk need root, control groups, loop devices and
e2fsprogs. What cannot be done here is a failure, never silence. What is printed of memory is beyond
what the daemon had before.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import random
import re
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True  # nothing is left in the source tree

import scenarios
from attacks_bench import (
    REGULARS,
    TRANSIENT,
    ControlGroup,
    Peer,
    Siege,
    certificate,
    exchange,
    hello,
    reset,
    swarm,
    trusting,
)
from survival_bench import Bench, BlockFiller, Disk, Unable
from survival_clients import KIB, MIB, PATIENCE, Broken, Finding, Kind, Pop3, Refused, Smtp, Wire

CONTENT = b"Subject: attack\r\n\r\n"
TO_BOB = b"MAIL FROM:<a@attack.test>\r\nRCPT TO:<bob@attack.test>\r\n"
EVIL = b"MAIL FROM:<evil@evil.test>\r\nRCPT TO:<evil@evil.test>\r\nDATA\r\nevil\r\n.\r\n"


def fail(text: str) -> Finding:
    """What is wrong with a reply."""
    return Finding(Kind.REPLY, text)


def check_no_evil(siege: Siege) -> None:
    """Nothing of what was hidden in something else was executed."""
    if (siege.mail / "evil.test").exists():
        raise fail("there is mail for evil.test")


def counted(counts: Counter[str]) -> str:
    """The counts in a line, the greatest first."""
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


# ----------------------------------------------------------------------------------- slow clients


def slow_readers(bench: Bench) -> None:
    """Clients ask for much and never read: the limit of the session cuts them off, and then
    neither threads nor descriptors are left of them."""
    seconds = 6
    limits = (f"session_seconds = {seconds}", "smtp_idle_seconds = 4", "pop3_idle_seconds = 4")
    each = 200 if bench.is_long else 25
    with Siege(bench, limits=limits) as siege:
        drops = [f"big{n}@attack.test" for n in range(each)]
        with Smtp(siege.daemon.smtp) as smtp:
            smtp.command("MAIL FROM:<>", "250")
            for drop in drops:
                smtp.command(f"RCPT TO:<{drop}>", "250")
            smtp.command("DATA", "354")
            smtp.send(CONTENT + b"x" * 70 + b"\r\n" * (8 * MIB // 2) + b".\r\n")
            smtp.expect("250")
        peers: list[Peer] = []

        async def fetch(number: int) -> None:
            peer = await Peer.connect(siege.daemon.pop3, window=4 * KIB)
            peers.append(peer)
            login = f"USER {drops[number]}\r\nPASS any\r\n".encode()
            await peer.send(login + b"RETR 1\r\nTOP 1 9999999\r\n" * 3)

        async def ask(number: int) -> None:
            peer = await Peer.connect(siege.daemon.smtp, window=4 * KIB)
            peers.append(peer)
            await peer.send(b"EHLO slow\r\n")
            command = b"NOOP\r\n" if number % 2 else b"HELP\r\n"
            # Until nothing more is taken.
            with contextlib.suppress(TimeoutError, Broken):
                while True:
                    async with asyncio.timeout(1):
                        await peer.send(command * 2000)

        begin = time.monotonic()

        async def either(number: int) -> None:
            await (fetch if number < each else ask)(number)

        try:
            swarm(either, 2 * each)
            siege.wait_for_sessions(0, "who never reads is not cut off", 5 * seconds)
            took = time.monotonic() - begin
        finally:
            for peer in peers:
                peer.close()
        siege.tell(f"{2 * each} clients that never read were cut off after {took:.0f} s")


def slow_writers(bench: Bench) -> None:
    """Commands and contents come octet by octet, from hundreds at once. Octets do not move the
    deadline of a command, and those of a content do not move that of the session."""
    idle, session = 3, 8
    limits = (
        f"session_seconds = {session}",
        f"smtp_idle_seconds = {idle}",
        f"pop3_idle_seconds = {idle}",
    )
    count = 1500 if bench.is_long else 300
    with Siege(bench, limits=limits) as siege:
        longest: Counter[str] = Counter()

        async def trickle(number: int) -> None:
            kind = ("SMTP command", "POP3 command", "content")[number % 3]
            port = siege.daemon.pop3 if kind == "POP3 command" else siege.daemon.smtp
            peer = await Peer.connect(port)
            begin = time.monotonic()
            await peer.line()
            if kind == "content":
                await peer.send(b"EHLO slow\r\n" + TO_BOB + b"DATA\r\n")
                while not (await peer.line()).startswith("354"):
                    pass
            listening = asyncio.create_task(peer.rest())
            with contextlib.suppress(Broken):
                while not (await asyncio.wait([listening], timeout=0.3))[0]:
                    await peer.send(b"N")
            said = await listening
            peer.close()
            took = int(time.monotonic() - begin)
            longest[kind] = max(longest[kind], took)
            # POP3 says nothing to who is too slow (RFC 1939 §3).
            if said[:4] != (b"" if kind == "POP3 command" else b"421 "):
                raise fail(f"a slow {kind} is told {said!r}")
            most = 5 * (session if kind == "content" else idle)
            if took > most:
                raise fail(f"a slow {kind} took {took} s")

        swarm(trickle, count)
        told = ", ".join(f"{what} {seconds} s" for what, seconds in sorted(longest.items()))
        siege.tell(f"{count} clients that trickle were cut off, at the latest: {told}")


# ---------------------------------------------------------------------------------------- floods


async def come_and_go(port: int, source: str, rng: random.Random) -> str:
    """One connection of a flood. Gives what became of it."""
    how = rng.choice(["close", "reset", "half", "greet", "greet"])
    try:
        peer = await Peer.connect(port, source)
    except Broken:
        return "not connected"
    try:
        if how == "reset":
            peer.reset()
            return "reset at once"
        if how == "half":
            await peer.send(b"EHLO ha")
            return "half a command"
        if how == "close":
            return "closed at once"
        greeting = await peer.line()
        if greeting.startswith(("421 ", "-ERR [SYS/TEMP]")):
            return "refused"
        if not greeting.startswith(("220 ", "+OK ")):
            raise fail(f"greeting {greeting!r}")
        await peer.send(b"QUIT\r\n")
        await peer.line()
        return "greeted"
    except Broken:
        return "broken"
    finally:
        peer.close()


def flood(bench: Bench) -> None:
    """Connections come and go as fast as they can, some at once, some with RST, some within a
    command. Within the cap everybody who waits is greeted. Beyond it most are refused with 421 or
    -ERR [SYS/TEMP], and that reaches the regular client too; it is served again by itself."""
    count = 10_000 if bench.is_long else 2_000
    for cap in 0, 30:
        limits = (f"connections = {cap}",)
        with Siege(bench, limits=limits, starving=TRANSIENT if cap else ()) as siege:
            outcomes: Counter[str] = Counter()
            rng = siege.rng
            ports = [siege.daemon.smtp, siege.daemon.pop3]
            held: list[socket.socket] = []
            for number in range(cap and cap - 5):
                held.append(socket.create_connection(("127.0.0.1", ports[number % 2])))

            async def attempt(number: int) -> None:
                source = f"127.0.{rng.randrange(1, 200)}.{rng.randrange(1, 200)}"
                outcomes[await come_and_go(ports[number % 2], source, rng)] += 1

            begin = time.monotonic()
            swarm(attempt, count, at_once=200)
            seconds = time.monotonic() - begin
            for connection in held:
                connection.close()
            if not cap and (outcomes["refused"] or outcomes["broken"]):
                raise fail(f"within the cap: {counted(outcomes)}")
            if cap and not outcomes["refused"]:
                raise fail(f"nobody is refused: {counted(outcomes)}")
            siege.tell(f"{count} attempts in {seconds:.1f} s: {counted(outcomes)}")


def address_flood(bench: Bench) -> None:
    """One address opens more sessions than it may have: those are refused, other addresses are
    served, and it is served again when it has let go."""
    share, count = 20, 2000 if bench.is_long else 400
    with Siege(bench, limits=(f"connections_per_address = {share}",)) as siege:
        greetings: Counter[str] = Counter()
        peers: list[Peer] = []

        async def come(number: int) -> None:
            port = siege.daemon.pop3 if number % 2 else siege.daemon.smtp
            peer = await Peer.connect(port, "127.0.0.2")
            peers.append(peer)
            greetings[(await peer.line())[:15]] += 1

        swarm(come, count)
        siege.wait_until_served()
        wanted = {"220", "421", "+OK", "-ERR [SYS/TEMP]"}
        n_greeted = sum(n for text, n in greetings.items() if text.startswith(("220", "+OK")))
        odd = [text for text in greetings if not text.startswith(tuple(wanted))]
        if odd or n_greeted != share:
            raise fail(f"{share} are to be greeted: {dict(greetings)}")
        for peer in peers:
            peer.close()
        siege.wait_for_sessions(0, "sessions of that address stay")
        swarm(come, share)
        n_again = sum(n for text, n in greetings.items() if text.startswith(("220", "+OK")))
        if n_again != 2 * share:
            raise fail(f"not all are greeted again: {dict(greetings)}")
        for peer in peers:
            peer.close()
        told = f"{count} attempts from one address: {n_greeted} greeted, {count - n_greeted} refused"
        siege.tell(told)


def login_storm(bench: Bench) -> None:
    """Clients guess passwords without a pause, for accounts that exist and others, by POP3 and
    SMTP, and nothing delays them but the work. Nobody gets in, and deliveries go on. Logins wait
    for their turn, and may be put off with -ERR [SYS/TEMP]."""
    done = subprocess.run(
        [bench.binary, "hash-password"], input=b"right\n", capture_output=True, check=True
    )
    accounts = [
        f'[[accounts]]\naddress = "{address}"\n{done.stdout.decode()}'
        for address in [*REGULARS, "bob@attack.test"]
    ]
    (bench.directory / "accounts.toml").write_text("\n".join(accounts))
    (bench.directory / "accounts.toml").chmod(0o600)
    bench.password = "right"
    limits = ("refused_login_seconds = 0",)
    lines = ('accounts = "accounts.toml"',)
    count, guesses = (1000, 5) if bench.is_long else (120, 3)
    with Siege(bench, *lines, limits=limits, starving=("-ERR [SYS/TEMP]",)) as siege:
        outcomes: Counter[str] = Counter()

        async def guess_pop3(peer: Peer, user: str, password: str) -> str:
            await peer.send(f"USER {user}\r\nPASS {password}\r\n".encode())
            await peer.line()
            return await peer.line()

        async def guess_smtp(peer: Peer, user: str, password: str) -> str:
            token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
            await peer.send(f"AUTH PLAIN {token}\r\n".encode())
            return await peer.line()

        async def guess(number: int) -> None:
            by_smtp = number % 2
            user = ("bob@attack.test", f"nobody{number}@attack.test")[number // 2 % 2]
            left = guesses
            while left:
                peer = await Peer.connect(
                    siege.daemon.smtp if by_smtp else siege.daemon.pop3, "127.0.0.3"
                )
                try:
                    await peer.line()
                    if by_smtp:
                        await peer.send(b"EHLO storm\r\n")
                        while (await peer.line())[3:4] == "-":
                            pass
                    while left:
                        left -= 1
                        attempt = guess_smtp if by_smtp else guess_pop3
                        said = await attempt(peer, user, f"wrong{left}")
                        outcomes[said[:15] if said.startswith("-ERR [SYS") else said[:4]] += 1
                        if said.startswith(("+OK", "2")):
                            raise fail(f"a wrong password is taken: {said}")
                except Broken:
                    pass  # after three of them
                finally:
                    peer.close()

        before = siege.regular.counts["acknowledged"]
        begin = time.monotonic()
        swarm(guess, count)
        seconds = time.monotonic() - begin
        during = siege.regular.counts["acknowledged"] - before
        if during < seconds:
            raise fail(f"only {during} letters in {seconds:.0f} s of the storm")
        told = f"{count} clients guessed for {seconds:.1f} s: {counted(outcomes)}"
        siege.tell(f"{told}; {during} letters meanwhile")


# -------------------------------------------------------------------------------- endless octets


def check_flat(siege: Siege, what: str, most: int = 24 * MIB) -> None:
    """Memory has not followed what was sent."""
    if siege.grown() > most:
        raise Finding(Kind.RESOURCES, f"{what} took {siege.grown() // KIB} KiB")


def send_much(wire: Wire, octets: int) -> None:
    """One long piece of a line."""
    piece = b"x" * MIB
    for _ in range(octets // MIB):
        wire.send(piece)


def long_lines(bench: Bench) -> None:
    """Commands and contents that are one line of a gibioctet (64 MiB in the short form). A command
    gets 500 or -ERR and the session goes on; a content is taken, and given back, where messages
    may be as large, and is refused with 552, or cut off, where not. Memory stays flat."""
    octets = 1024 * MIB if bench.is_long else 64 * MIB
    with Siege(bench, limits=("message_octets = 0",)) as siege:
        with Smtp(siege.daemon.smtp) as smtp:
            for head in b"NOOP ", b"MAIL FROM:<", b"AUTH PLAIN ":
                smtp.send(head)
                send_much(smtp, octets)
                smtp.send(b"\r\n")
                smtp.expect("500")
            smtp.command("MAIL FROM:<a@attack.test>", "250")
            smtp.command("RCPT TO:<long@attack.test>", "250")
            smtp.command("DATA", "354")
            send_much(smtp, octets)
            smtp.send(b"\r\n.\r\n")
            smtp.expect("250")
        pop3 = Wire(siege.daemon.pop3)
        with pop3:
            # Whoever begins with such a line is cut off at once (SEC-13).
            pop3.send(b"NOOP\r\n")
            pop3.until(b"\r\n")
            pop3.until(b"\r\n")
            for head in b"USER ", b"PASS ":
                pop3.send(head)
                send_much(pop3, octets)
                pop3.send(b"\r\n")
                if not (said := pop3.until(b"\r\n")).startswith(b"-ERR"):
                    raise fail(f"a long command: {said!r}")
        with Pop3(siege.daemon.pop3, "long@attack.test") as pop3:
            (listed,) = pop3.listing()
            pop3.command("RETR 1")
            left = listed.octets + len(b".\r\n") - len(pop3.received)
            end = bytes(pop3.received)[-8:]
            while left > 0:
                piece = pop3.socket.recv(MIB)
                left -= len(piece)
                end = (end + piece)[-8:]
                if not piece:
                    raise fail("the message breaks off")
            if end != b"xxx\r\n.\r\n" or listed.octets < octets:
                raise fail(f"a long line of {listed.octets} octets ends in {end!r}")
        check_flat(siege, "long lines")
        siege.tell(f"6 lines of {octets // MIB} MiB, one of which was taken and given back")
    with Siege(bench, limits=(f"message_octets = {MIB}",)) as siege:
        said = []
        for command in b"DATA\r\n", b"BDAT %d LAST\r\n" % octets:
            with Smtp(siege.daemon.smtp) as smtp:
                smtp.send(TO_BOB.replace(b"bob", b"short") + command)
                smtp.expect("250")
                smtp.expect("250")
                try:
                    if command == b"DATA\r\n":
                        smtp.expect("354")
                    send_much(smtp, octets)
                    smtp.send(b"\r\n.\r\n")
                    said.append(smtp.reply())
                except Broken:
                    said.append("cut off")
        if not all(reply.startswith(("552", "cut off")) for reply in said):
            raise fail(f"contents over the limit: {said}")
        if list(siege.mail.glob("attack.test/short/new/*")):
            raise fail("of a content over the limit something is stored")
        check_flat(siege, "contents over the limit")
        siege.tell(f"2 contents of {octets // MIB} MiB where 1 MiB is allowed: {', '.join(said)}")


def recipients(bench: Bench) -> None:
    """As many RCPT as one likes. Beyond the limit each gets 452 4.5.3, which is no mistake of the
    client; RSET begins anew; memory stays flat."""
    count = 100_000 if bench.is_long else 20_000
    limits = ("recipients = 1000", "errors = 10")
    with Siege(bench, limits=limits) as siege:

        async def pour(way: int) -> Counter[str]:
            """All in one transaction, or a thousand in each of many."""
            peer = await Peer.connect(siege.daemon.smtp)
            await peer.send(b"EHLO many\r\n")
            begin, end = b"MAIL FROM:<>\r\n", b"RSET\r\n"
            lines = [b"RCPT TO:<many%d@attack.test>\r\n" % n for n in range(count)]
            if way:
                pieces = [lines[n : n + 1000] for n in range(0, count, 1000)]
                text = b"".join(begin + b"".join(piece) + end for piece in pieces)
            else:
                text = begin + b"".join(lines) + end
            sending = asyncio.create_task(peer.send(text + b"QUIT\r\n"))
            replies: Counter[str] = Counter()
            with contextlib.suppress(Broken):
                while True:
                    replies[(await peer.line())[:9]] += 1
            await sending
            peer.close()
            return replies

        at_once, in_parts = swarm(pour, 2)
        if (at_once["250 2.1.5"], at_once["452 4.5.3"]) != (1000, count - 1000):
            raise fail(f"{count} recipients at once: {dict(at_once)}")
        if in_parts["250 2.1.5"] != count or not in_parts["221 2.0.0"]:
            raise fail(f"{count} recipients in parts: {dict(in_parts)}")
        check_flat(siege, f"{count} recipients")
        told = f"{count} recipients of one message: 1000 taken, {at_once['452 4.5.3']} refused"
        siege.tell(f"{told}; as many with RSET between the thousands: all taken")


# ------------------------------------------------------------------------------ broken connections


class Resetter:
    """Clients that reset their connection in every phase.

    The ledger judges: a content whose end was sent may be there, one whose end was not never; what
    was marked may be gone if QUIT was sent, and never if not.
    """

    def __init__(self, siege: Siege, context: ssl.SSLContext) -> None:
        self.siege = siege
        self.ledger = siege.bench.ledger
        self.context = context
        self.drops = [f"reset{n}@reset.test" for n in range(8)]
        self.counts: Counter[str] = Counter()

    def smtp(self, phase: str, mailbox: str, rng: random.Random) -> None:
        """One session of SMTP, up to this phase of it."""
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
        """The handshake, and what comes behind it."""
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
        """One session of POP3, up to this phase of it. The maildrop is this client's alone."""
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
        """A session that was reset may have the maildrop a moment longer."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return Pop3(self.siege.daemon.pop3, mailbox)
            except Refused as error:
                if "[IN-USE]" not in str(error) or time.monotonic() > deadline:
                    raise Finding(Kind.REPLY, f"{mailbox} after a reset: {error}") from None

    def work(self, mailbox: str, count: int) -> None:
        """One client after the other, at random; the maildrop is filled again as it gets empty."""
        rng = self.siege.bench.chance(mailbox)
        for _ in range(count):
            if len(self.ledger.kept(mailbox)) < 3:
                letter = self.siege.bench.letters.write(rng, rng.choice([300, 5000, 300_000]))
                with Smtp(self.siege.daemon.smtp) as smtp, contextlib.suppress(Refused):
                    smtp.deliver(self.ledger, letter, [mailbox], rng)
            protocol = rng.choice(["SMTP", "POP3"])
            phase = rng.choice(RESET_PHASES[protocol])
            # Such a content may still come when the next session of POP3 sees the maildrop.
            to = mailbox if protocol == "POP3" else f"late-{mailbox}"
            # A reset that crosses with octets of the daemon is a broken connection here, too.
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
    """RST in every phase of SMTP, POP3 and TLS. What was acknowledged stays; of what was not there
    is nothing or all; nothing is removed unless QUIT was sent."""
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
    """What lies in a mailbox of attack.test, when all that is on its way has arrived."""
    # A login waits for it.
    with contextlib.suppress(Refused), Pop3(siege.daemon.pop3, f"{local}@attack.test"):
        pass
    return [file.read_bytes() for file in siege.mail.glob(f"attack.test/{local}/*/*")]


def smuggling(bench: Bench) -> None:
    """All line endings around a dot, in a session of CRLF and in one of LF, by DATA; contents that
    look like dialogues, by BDAT; NUL. Only the session's own ending ends a content, so there is at
    most one message, and the commands behind the dot are never executed."""
    counts: Counter[str] = Counter()
    with Siege(bench) as siege:

        def try_one(name: str, octets: bytes, most: int = 1) -> None:
            local = f"mix{counts.total()}"
            answer = exchange(siege.daemon.smtp, octets.replace(b"bob@", local.encode() + b"@"))
            stored = files_for(siege, local)
            if len(stored) > most:
                raise fail(f"{name}: {len(stored)} messages, told {answer!r}")
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
                # Its own end, if it is one here, ends the message that it is a part of.
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
        siege.tell(f"{counts.total()} mixtures: {counted(counts)}, none of them twice")


def injection(bench: Bench) -> None:
    """Commands behind STARTTLS and STLS in the same write, with and without the beginning of a
    handshake, and commands in clear within one: the connection closes and nothing is executed.
    After a handshake nothing is known of what was said before."""
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
                    # TLS' alert is no answer to a command.
                    said = answer.partition(b"250-STARTTLS")[2] if port == smtp else answer
                    executed = b"Maildrop has" in said or b"Sender OK" in said
                    if executed:
                        raise fail(f"behind STARTTLS or STLS: {answer!r}")
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
        siege.tell(f"{n_tried} injections, nothing of them executed")


def wrong_ports(bench: Bench) -> None:
    """Everything at the wrong door: HTTP, TLS in clear ports, commands at TLS ports, the other
    protocol, noise. It is turned away, and nothing of it is executed."""
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
                    raise fail(f"{name} is told {rest!r}")
            if not is_clear and answer[:1] not in (b"", b"\x15"):
                raise fail(f"{name} in a port of TLS: {answer!r}")
            if b"250 2.1.0" in answer or b"250 Sender" in answer or b"Maildrop has" in answer:
                raise fail(f"{name} is executed: {answer!r}")
            said = "alert" if answer[:1] == b"\x15" else rest[:4].decode(errors="replace").strip()
            outcomes[said or "closed"] += 1
        check_no_evil(siege)
        siege.tell(f"{len(tries)} openings: {counted(outcomes)}")


# Names that would be something else in a path, or in a program that looks at them.
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
    """The names as local parts and as domains, bare and quoted, and what is no name at all."""
    paths = []
    for name in NAMES:
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        paths += [f"{name}@attack.test", f"{quoted}@attack.test", f"bob@{name}", f"bob@{name}.test"]
    paths += [f"bob@[{literal}]" for literal in ("127.0.0.1", "IPv6:::1", "../../x", "IPv6:/", "")]
    paths += ["bob@attack.test/../../x", "@a,@b:bob@attack.test", "bob@.", "bob@..", "bob@a..b"]
    paths += ["bob@" + "a" * 63 + ".test", "bob@" + "a." * 120 + "test", "bob@-a.test", "@", ""]
    return paths


def paths(bench: Bench) -> None:
    """Recipients and users whose names would leave the store, or meet its own files. Every file
    made has a legal name and is in the mail directory, and no symbolic link is followed."""
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
        # Made before anybody asks for them, by whoever can write here.
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
                if "link" in path and "outside" in path and said.startswith("250"):
                    raise fail(f"{path} is taken")
            answer = exchange(siege.daemon.pop3, f"USER {path}\r\nPASS x\r\nSTAT\r\nQUIT\r\n".encode())
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
                        raise fail(f"a directory is called {domain.name!r}/{local.name!r}")
                if not local.is_symlink() and local.name != "half":
                    if {side.name for side in local.iterdir()} != {"tmp", "new", "cur"}:
                        raise fail(f"{local} is no Maildir")
        for link in links / "link", links / "half/new":
            link.unlink()
        (links / "half").rmdir()
        siege.tell(f"{len(tried)} names: {counted(outcomes)}; {made} Maildirs")


# ------------------------------------------------------------------------------------ starvation


def counting_swarm(siege: Siege, count: int, peers: list[Peer]) -> Counter[str]:
    """So many clients come and stay, half SMTP and half POP3. Gives how they were greeted."""
    greetings: Counter[str] = Counter()

    async def come(number: int) -> None:
        port = siege.daemon.pop3 if number % 2 else siege.daemon.smtp
        try:
            peer = await Peer.connect(port, f"127.0.{1 + number // 250 % 250}.{1 + number % 250}")
            peers.append(peer)
            said = await peer.line()
        except Broken:
            said = "broken"
        for start, what in GREETINGS.items():
            if said.startswith(start):
                greetings[what] += 1
                return
        raise fail(f"a greeting is {said!r}")

    swarm(come, count, at_once=500)
    return greetings


GREETINGS = {
    "220 ": "greeted",
    "+OK ": "greeted",
    "421 ": "refused",
    "-ERR [SYS/TEMP]": "refused",
    "broken": "broken",
}


def close_all(peers: list[Peer]) -> None:
    """All of them leave."""
    for peer in peers:
        peer.close()
    peers.clear()


def check_idle(siege: Siege, what: str) -> float:
    """Want must not make the daemon busy."""
    share = siege.share_of_processor()
    if share > 0.2:
        raise Finding(Kind.RESOURCES, f"{what} it uses {share:.0%} of a processor")
    return share


def descriptors(bench: Bench) -> None:
    """A daemon with 64 descriptors refuses the clients that are too many, and one that has none
    left lets them wait without spinning. The regular client is starved with them, and both times
    it is served again by itself."""
    peers: list[Peer] = []
    with Siege(bench, prefix=("prlimit", "--nofile=64:64"), starving=TRANSIENT) as siege:
        greetings = counting_swarm(siege, 500, peers)
        if greetings["refused"] < 400 or not greetings["greeted"] or greetings["broken"]:
            raise fail(f"with 64 descriptors: {dict(greetings)}")
        close_all(peers)
        siege.wait_until_served()
        siege.tell(f"500 clients where there are 64 descriptors: {counted(greetings)}")
    with Siege(bench, starving=TRANSIENT) as siege:
        pid = siege.daemon.process.pid
        counting_swarm(siege, 50, peers)
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (30, usual[1]))
        try:
            # They are in the queue of the socket: connected, and not yet accepted.
            waiting = [Wire(siege.daemon.smtp) for _ in range(20)]
            share = check_idle(siege, "without descriptors")
            # Whoever is there can still speak.
            peers[0].socket.setblocking(True)
            peers[0].socket.settimeout(PATIENCE)
            peers[0].socket.sendall(b"NOOP\r\n")
            if not (said := peers[0].socket.recv(KIB)).startswith(b"250"):
                raise fail(f"without descriptors NOOP is told {said!r}")
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        for wire in waiting:
            with wire:
                if not (said := wire.until(b"\r\n")).startswith(b"220"):
                    raise fail(f"who waited for a descriptor is told {said!r}")
        close_all(peers)
        siege.wait_until_served()
        told = f"20 clients waited while there was no descriptor, {share:.0%} of a processor used"
        siege.tell(told)


def tasks(bench: Bench) -> None:
    """A control group of 32 tasks is room for one session: the others are refused. Where threads
    run out under a running daemon new clients are refused, and it goes on. The regular client is
    starved with them, and both times it is served again by itself."""
    peers: list[Peer] = []
    with ControlGroup("pids", "tasks") as group:
        group.set("pids.max", 32)
        with Siege(bench, prefix=group.prefix, starving=TRANSIENT) as siege:
            if "pids.max" not in siege.daemon.log.read_text():
                raise Unable("the daemon does not see its control group: not mounted where usual?")
            greetings = counting_swarm(siege, 200, peers)
            if greetings["refused"] < 198 or greetings["broken"]:
                raise fail(f"with 32 tasks: {dict(greetings)}")
            close_all(peers)
            siege.wait_until_served()
            siege.tell(f"200 clients where there are 32 tasks: {counted(greetings)}")
        group.set("pids.max", "max")
        with Siege(bench, prefix=group.prefix, starving=TRANSIENT) as siege:
            counting_swarm(siege, 50, peers)
            group.set("pids.max", 20)
            greetings = counting_swarm(siege, 200, peers)
            share = check_idle(siege, "without threads")
            group.set("pids.max", "max")
            if greetings["refused"] != 200:
                raise fail(f"without threads: {dict(greetings)}")
            close_all(peers)
            siege.wait_until_served()
            told = f"200 clients when there was no thread: {counted(greetings)}"
            siege.tell(f"{told}, {share:.0%} of a processor used")


def memory(bench: Bench) -> None:
    """A control group of 64 MiB: clients with large messages that stop within a line, and clients
    that fetch and do not read. The daemon is not killed."""
    count = 400 if bench.is_long else 150
    peers: list[Peer] = []
    with ControlGroup("memory", "memory") as group:
        name = "memory.limit_in_bytes" if group.is_version_1 else "memory.max"
        group.set(name, 64 * MIB)
        with Siege(bench, prefix=group.prefix) as siege:
            done: Counter[str] = Counter()
            piece = (CONTENT + b"y" * 60_000 + b"\r\n") * 18

            async def write(number: int) -> None:
                peer = await Peer.connect(siege.daemon.smtp)
                peers.append(peer)
                try:
                    await peer.send(b"EHLO m\r\nMAIL FROM:<>\r\n")
                    await peer.send(f"RCPT TO:<m{number % 20}@attack.test>\r\nDATA\r\n".encode())
                    while not (said := await peer.line()).startswith("354"):
                        if said.startswith("4"):
                            done[f"told {said[:3]}"] += 1
                            return
                    await peer.send(piece)
                    done["within a content of 1 MiB"] += 1
                except Broken:
                    done["broken"] += 1

            swarm(write, count)
            with Smtp(siege.daemon.smtp) as smtp:
                smtp.command("NOOP", "250")
            siege.wait_until_served()
            close_all(peers)
            failures = group.get("memory.failcnt" if group.is_version_1 else "memory.events")
            siege.tell(f"{count} clients in 64 MiB: {counted(done)}; {failures.split()} at the limit")


def full_disk(bench: Bench) -> None:
    """Attackers fill the disk by mail, and what they leave is taken by a file. Deliveries get 452,
    the regular client's too; POP3 goes on; with room again all is well by itself."""
    disk = Disk(bench, bench.directory / "disk.ext4", 256 * MIB, "-N", "16384")
    disk.mount()
    filler = BlockFiller(disk)
    lines = ("[journal]", "segment_octets = 4194304")
    try:
        with Siege(bench, *lines, mail=disk.mail, starving=("451", "452", "-ERR [SYS")) as siege:
            outcomes: Counter[str] = Counter()
            content = CONTENT + (b"z" * 70 + b"\r\n") * (MIB // 72)

            async def stuff(number: int) -> None:
                peer = await Peer.connect(siege.daemon.smtp, f"127.0.0.{2 + number}")
                await peer.line()
                await peer.send(b"HELO full\r\n")
                await peer.line()
                n_refused = 0
                while n_refused < 10:
                    await peer.send(b"MAIL FROM:<>\r\n" + b"RCPT TO:<full@attack.test>\r\nDATA\r\n")
                    said = [await peer.line() for _ in range(3)][-1]
                    if said.startswith("354"):
                        await peer.send(content + b".\r\n")
                        said = await peer.line()
                    outcomes[said[:3]] += 1
                    if not said.startswith("250"):
                        n_refused += 1
                        await peer.send(b"RSET\r\n")
                        await peer.line()
                peer.close()

            swarm(stuff, 8)
            if set(outcomes) - {"250", "451", "452"} or not outcomes["452"]:
                raise fail(f"mail to a full disk: {counted(outcomes)}")
            filler.fill()
            for what in "SMTP refused", "visits":
                if not siege.regular.wait_for(what, 5):
                    raise fail(f"no {what} while the disk is full")
            filler.release()
            with Pop3(siege.daemon.pop3, "full@attack.test") as pop3:
                pop3.delete([listed.position for listed in pop3.listing()])
                pop3.command("QUIT")
            siege.wait_until_served()
            siege.tell(f"mail filled the disk: {counted(outcomes)}")
    finally:
        filler.close()
    disk.unmount()


# What the regular client's sessions take meanwhile, with contents of up to 300 KiB.
REGULAR_OCTETS = 4 * MIB


def idle(bench: Bench) -> None:
    """Thousands of sessions that do nothing, half SMTP and half POP3: each takes at most 12 KiB
    (NET-1), a new client is greeted beside them, all of them can still speak (NET-2). Then more
    come than there may be: they are refused, and the regular client with them until they go."""
    count, more = (10_000, 17_000) if bench.is_long else (2_000, 2_600)
    limits = () if bench.is_long else ("connections = 2200",)
    peers: list[Peer] = []
    with Siege(bench, limits=limits, starving=TRANSIENT) as siege:
        before = siege.vitals.octets("VmRSS")
        greetings = counting_swarm(siege, count, peers)
        if greetings["greeted"] != count:
            raise fail(f"{count} idle clients: {dict(greetings)}")
        # After a second of silence their buffers are given back.
        siege.share_of_processor()
        each = (siege.vitals.octets("VmRSS") - before - REGULAR_OCTETS) // count
        begin = time.monotonic()
        with Smtp(siege.daemon.smtp):
            greeted_ms = (time.monotonic() - begin) * 1000
        if each > 12 * KIB:
            raise Finding(Kind.RESOURCES, f"{each} octets for an idle session (NET-1)")
        spoke = speak(peers)
        spoken_each = (siege.vitals.octets("VmRSS") - before - REGULAR_OCTETS) // count
        if spoke != count:
            raise fail(f"only {spoke} of {count} can still speak")
        greetings += counting_swarm(siege, more - count, peers)
        if not greetings["refused"] or greetings["greeted"] + greetings["refused"] != more:
            raise fail(f"{more} idle clients: {dict(greetings)}")
        siege.check_regular()
        close_all(peers)
        siege.wait_until_served()
        told = f"{count} idle sessions of {each / KIB:.1f} KiB ({spoken_each / KIB:.1f} once they"
        told += f" have spoken), a new one greeted and answered in {greeted_ms:.0f} ms beside them"
        siege.tell(f"{told}; of {more} {counted(greetings)}")


def speak(peers: list[Peer]) -> int:
    """All say something. Gives how many were answered."""

    async def say(number: int) -> bool:
        peer = peers[number]
        peer.loop = asyncio.get_running_loop()
        try:
            await peer.send(b"NOOP\r\n")
            return (await peer.line()).startswith(("250", "-ERR", "+OK"))
        except Broken:
            return False

    return sum(swarm(say, len(peers), at_once=500))


# Each scenario.
SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "slow-readers": slow_readers,
    "slow-writers": slow_writers,
    "flood": flood,
    "address-flood": address_flood,
    "login-storm": login_storm,
    "long-lines": long_lines,
    "recipients": recipients,
    "resets": resets,
    "smuggling": smuggling,
    "injection": injection,
    "wrong-ports": wrong_ports,
    "paths": paths,
    "descriptors": descriptors,
    "tasks": tasks,
    "memory": memory,
    "full-disk": full_disk,
    "idle": idle,
}


def main() -> int:
    durations = ("two minutes", "the better part of an hour")
    parser = scenarios.parser(__doc__, SCENARIOS, durations)
    options = scenarios.parse(parser, SCENARIOS)
    # As many connections as the system lets one have.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    names = options.scenario or list(SCENARIOS)
    if not scenarios.play_all(options, "attacks", {name: ("", SCENARIOS[name]) for name in names}):
        return 1
    if left_out := [name for name in SCENARIOS if name not in names]:
        print(f"left out: {', '.join(left_out)}")
    print("all attacks were withstood")
    return 0


if __name__ == "__main__":
    sys.exit(main())
