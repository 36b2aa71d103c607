#!/usr/bin/env python3
"""Attacks on the real program, which must keep serving.

    python3 tests/attacks.py --short target/release/facteur
    python3 tests/attacks.py --long target/release/facteur
    python3 tests/attacks.py --short target/release/facteur flood login-storm --seed 7

Each scenario starts a daemon. Beside the attack a regular client delivers and fetches mail and
keeps the ledger of survival.py. It must be served throughout. If an attack starves everybody, as a
full disk does, it may be refused with 421, 451, 452 or -ERR [SYS/TEMP], and must be served again
without anybody's help: those scenarios have a star below.

Afterwards the daemon lives and none of its threads has panicked. It has as many threads and
descriptors as before the attack, and uses no processor. A fresh client is served. Its memory has
stayed within 64 KiB for each session and 256 MiB for all deliveries (SEC-9). It stops in order and
starts again, and nothing that was acknowledged is lost, torn, duplicated or restored.

    slow-readers   clients that request much and never read
    slow-writers   clients that send commands and contents octet by octet
    flood *        connections that come and go by the thousand, within the cap and over it
    address-flood  one address takes everything that it may have
    other-machine  another machine does the same, and may have less
    networks       thousands of addresses, first of one network and then of all, take what they can
    guessing       passwords are guessed from a network, each time from another address
    harvest        names are tried as recipients, over many connections
    login-storm *  passwords are guessed, by POP3 and SMTP (only logins may be delayed)
    long-lines     commands and contents that consist of one long line
    recipients     many times more recipients than a message may have
    resets         RST in every phase of SMTP, POP3 and TLS
    smuggling      line endings that others might mistake for the end of a content
    injection      octets after STARTTLS and STLS
    wrong-ports    HTTP, TLS, the other protocol and noise at every port
    paths          names that would have another meaning in a path
    descriptors *  64 descriptors, and then none left for a running daemon
    tasks *        a control group of 32 tasks, and then none left for a running daemon
    memory         a control group of 64 MiB
    full-disk *    mail fills the disk
    idle           thousands of sessions that do nothing (NET-1, NET-2), and more than allowed
    full *         clients that stop in every phase of a session take all announced places

Everything needs Linux. The scenarios other-machine, networks, guessing, harvest, tasks, memory,
full-disk and full need root, namespaces, control groups, loop devices, iproute2 and e2fsprogs;
descriptors and full need util-linux. What cannot be done on a machine is a failure, never silence.
Memory is printed relative to what the daemon had before.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True  # leaves nothing in the source tree

import scenarios
from attacks_bench import (
    CONTENT,
    TO_BOB,
    TRANSIENT,
    ControlGroup,
    OtherMachine,
    Peer,
    Siege,
    certificate,
    closed,
    counted,
    fail,
    swarm,
    trusting,
)
from attacks_dialogues import injection, paths, resets, smuggling, wrong_ports
from attacks_full import full
from attacks_networks import guessing, harvest, networks
from survival_bench import Bench, Unable
from survival_clients import KIB, MIB, PATIENCE, Broken, Finding, Kind, Pop3, Smtp, Wire
from survival_disks import BlockFiller, Disk


# ----------------------------------------------------------------------------------- slow clients


def slow_readers(bench: Bench) -> None:
    """Clients request much and never read. The limit of the session cuts them off, and then no
    threads or descriptors of them are left."""
    seconds = 6
    limits = (f"session_seconds = {seconds}", "smtp_idle_seconds = 4", "pop3_idle_seconds = 4")
    each = 200 if bench.is_long else 25
    with Siege(bench, limits=limits) as siege:
        drops = [f"big{n}@attack.test" for n in range(each)]
        deliver_large(siege, drops)
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
            # Until nothing more is accepted.
            with contextlib.suppress(TimeoutError, Broken):
                while True:
                    async with asyncio.timeout(1):
                        await peer.send(command * 2000)

        begin = time.monotonic()

        async def either(number: int) -> None:
            await (fetch if number < each else ask)(number)

        try:
            swarm(either, 2 * each)
            siege.wait_for_sessions(0, "clients that never read are not cut off", 5 * seconds)
            took = time.monotonic() - begin
        finally:
            for peer in peers:
                peer.close()
        siege.tell(f"{2 * each} clients that never read were cut off after {took:.0f} s")


def deliver_large(siege: Siege, drops: list[str]) -> None:
    """A message for all of them, too large for any socket to buffer."""
    with Smtp(siege.daemon.smtp) as smtp:
        smtp.command("MAIL FROM:<>", "250")
        for drop in drops:
            smtp.command(f"RCPT TO:<{drop}>", "250")
        smtp.command("DATA", "354")
        smtp.send(CONTENT + b"x" * 70 + b"\r\n" * (8 * MIB // 2) + b".\r\n")
        smtp.expect("250")


def slow_writers(bench: Bench) -> None:
    """Commands and contents arrive octet by octet, from hundreds of clients. The octets do not move
    the deadline of a command, and those of a content do not move that of the session."""
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
            # POP3 closes silently on a client that is too slow (RFC 1939 §3).
            if said[:4] != (b"" if kind == "POP3 command" else b"421 "):
                raise fail(f"a slow {kind} gets {said!r}")
            most = 5 * (session if kind == "content" else idle)
            is_by_session = b"The session has lasted too long" in said
            if took > most or is_by_session != (kind == "content"):
                raise fail(f"a slow {kind} took {took} s and gets {said!r}")

        swarm(trickle, count)
        told = ", ".join(f"{what} {seconds} s" for what, seconds in sorted(longest.items()))
        siege.tell(f"{count} trickling clients were cut off, at the latest: {told}")


# ---------------------------------------------------------------------------------------- floods


async def come_and_go(port: int, source: str, rng: random.Random) -> str:
    """One connection of a flood. Returns its outcome."""
    how = rng.choice(["close", "reset", "half", "greet", "greet"])
    try:
        peer = await Peer.connect(port, source)
    except Broken:
        return "not connected"
    try:
        if how == "reset":
            peer.reset()
            return "reset immediately"
        if how == "half":
            await peer.send(b"EHLO ha")
            return "half a command"
        if how == "close":
            return "closed immediately"
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
    """Connections come and go as fast as they can: some end immediately, some with RST, some within
    a command. Within the cap every waiting client is greeted. Over it most are refused with 421 or
    -ERR [SYS/TEMP], also the regular client, which is served again without help."""
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
    """One address opens more sessions than it may have. The excess is refused, other addresses are
    served, and it is served again when it has closed its sessions."""
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
            raise fail(f"{share} should be greeted: {dict(greetings)}")
        for peer in peers:
            peer.close()
        siege.wait_for_sessions(0, "sessions of that address remain")
        swarm(come, share)
        n_again = sum(n for text, n in greetings.items() if text.startswith(("220", "+OK")))
        if n_again != 2 * share:
            raise fail(f"not all are greeted again: {dict(greetings)}")
        for peer in peers:
            peer.close()
        told = f"{n_greeted} greeted, {count - n_greeted} refused"
        siege.tell(f"{count} attempts from one address: {told}")


def other_machine(bench: Bench) -> None:
    """A client of another machine takes everything that it may have, 20 sessions by default.
    Further connections are closed without a reply, which is what a TLS client understands; this
    machine is served."""
    share, count = 20, 60
    limits = ('connections_per_address = "auto"',)
    with OtherMachine() as machine:
        lines = (closed(bench), *certificate(bench, machine.HERE))
        with Siege(bench, *lines, limits=limits) as siege:
            context = trusting(bench)
            outcomes: Counter[str] = Counter()

            def come(number: int) -> socket.socket:
                port = siege.daemon.pop3s if number % 2 else siege.daemon.smtps
                connection = socket.create_connection((machine.HERE, port), timeout=PATIENCE)
                try:
                    connection = context.wrap_socket(connection)
                    outcomes["greeted" if connection.recv(KIB) else "closed"] += 1
                except OSError:
                    outcomes["closed"] += 1
                return connection

            with ThreadPoolExecutor(1, initializer=machine.enter) as pool:
                peers = list(pool.map(come, range(count)))
                if outcomes != {"greeted": share, "closed": count - share}:
                    raise fail(f"{share} should be greeted: {counted(outcomes)}")
                siege.wait_until_served()
                for peer in peers:
                    peer.close()
                siege.wait_for_sessions(0, "sessions of that machine remain")
                pool.submit(come, 0).result().close()
            if outcomes["greeted"] != share + 1:
                raise fail("it is not greeted again")
            siege.tell(f"{count} attempts from another machine: {counted(outcomes)}")


def login_storm(bench: Bench) -> None:
    """Clients guess passwords without a pause, for existing and other accounts, by POP3 and SMTP,
    and are delayed only by the work. Nobody gets in, and deliveries continue. Logins wait for their
    turn, and may be refused temporarily with -ERR [SYS/TEMP]."""
    limits = ("refused_login_seconds = 0",)
    lines = (closed(bench),)
    count, guesses = (1000, 5) if bench.is_long else (120, 2)
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
                            raise fail(f"a wrong password is accepted: {said}")
                except Broken:
                    pass  # after three wrong passwords
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
        siege.tell(f"{told}; {during} letters in that time")


# -------------------------------------------------------------------------------- endless octets


def check_flat(siege: Siege, what: str, most: int = 24 * MIB) -> None:
    """Memory has not grown with what was sent."""
    if siege.grown() > most:
        raise Finding(Kind.RESOURCES, f"{what} took {siege.grown() // KIB} KiB")


def send_much(wire: Wire, octets: int) -> None:
    """One long part of a line."""
    piece = b"x" * MIB
    for _ in range(octets // MIB):
        wire.send(piece)


def long_lines(bench: Bench) -> None:
    """Commands and contents that are one line of a gibioctet (64 MiB in the short form). A command
    gets 500 or -ERR and the session continues. A content is accepted and served if messages may be
    that large; otherwise it is refused with 552, or cut off. Memory stays flat."""
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
            # A client that begins with such a line is cut off immediately (SEC-13).
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
        siege.tell(f"6 lines of {octets // MIB} MiB, one of which was accepted and served")
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
        with Smtp(siege.daemon.smtp) as smtp:
            smtp.send(TO_BOB.replace(b"bob", b"short") + b"DATA\r\n")
            for code in "250", "250", "354":
                smtp.expect(code)
            # Not large enough to be cut off: the session continues.
            send_much(smtp, MIB)
            smtp.send(b"x" * (MIB // 2) + b"\r\n.\r\n")
            smtp.expect("552")
            smtp.command("NOOP", "250")
        if not all(reply.startswith(("552", "cut off")) for reply in said):
            raise fail(f"contents over the limit: {said}")
        if list(siege.mail.glob("attack.test/short/new/*")):
            raise fail("a content over the limit is partly stored")
        check_flat(siege, "contents over the limit")
        siege.tell(f"2 contents of {octets // MIB} MiB where 1 MiB is allowed: {', '.join(said)}")


def recipients(bench: Bench) -> None:
    """Very many RCPT commands. Over the limit each gets 452 4.5.3, which is not counted as an
    error; RSET starts again; memory stays flat."""
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
        told = f"{count} recipients of one message: 1000 accepted, {at_once['452 4.5.3']} refused"
        siege.tell(f"{told}; as many with RSET between the thousands: all accepted")


# ------------------------------------------------------------------------------------ starvation


async def stay(_peer: Peer, _number: int) -> str:
    """Does nothing more."""
    return "greeted"


def counting_swarm(
    siege: Siege,
    count: int,
    peers: list[Peer],
    then: Callable[[Peer, int], Awaitable[str]] = stay,
) -> Counter[str]:
    """This many clients connect and stay, half SMTP and half POP3; those that are greeted do
    `then`. Returns how they were greeted, or what they did."""
    outcomes: Counter[str] = Counter()

    async def come(number: int) -> None:
        port = siege.daemon.pop3 if number % 2 else siege.daemon.smtp
        try:
            peer = await Peer.connect(port, f"127.0.{1 + number // 250 % 250}.{1 + number % 250}")
            peers.append(peer)
            outcome = greeted(await peer.line())
            if outcome == "greeted":
                outcome = await then(peer, number)
        except Broken:
            outcome = "broken"
        outcomes[outcome] += 1

    swarm(come, count, at_once=500)
    return outcomes


def greeted(said: str) -> str:
    """What the first line means."""
    for start, what in GREETINGS.items():
        if said.startswith(start):
            return what
    raise fail(f"a greeting is {said!r}")


GREETINGS = {
    "220 ": "greeted",
    "+OK ": "greeted",
    "421 ": "refused",
    "-ERR [SYS/TEMP]": "refused",
}


def close_all(peers: list[Peer]) -> None:
    """All of them leave."""
    for peer in peers:
        peer.close()
    peers.clear()


def check_idle(siege: Siege, what: str) -> float:
    """Shortage must not make the daemon busy."""
    share = siege.share_of_processor()
    if share > 0.2:
        raise Finding(Kind.RESOURCES, f"{what} it uses {share:.0%} of a processor")
    return share


def descriptors(bench: Bench) -> None:
    """A daemon with 64 descriptors refuses the clients over the cap, and one with no descriptors
    left lets them wait without spinning. The regular client is starved too, and both times it is
    served again without help."""
    peers: list[Peer] = []
    with Siege(bench, prefix=("prlimit", "--nofile=64:64"), starving=TRANSIENT) as siege:
        greetings = counting_swarm(siege, 500, peers)
        if greetings["refused"] < 400 or not greetings["greeted"] or greetings["broken"]:
            raise fail(f"with 64 descriptors: {dict(greetings)}")
        close_all(peers)
        siege.wait_until_served()
        siege.tell(f"500 clients with 64 descriptors: {counted(greetings)}")
    with Siege(bench, starving=TRANSIENT) as siege:
        pid = siege.daemon.process.pid
        counting_swarm(siege, 50, peers)
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (30, usual[1]))
        try:
            # They are in the queue of the socket: connected, but not yet accepted.
            waiting = [Wire(siege.daemon.smtp) for _ in range(20)]
            share = check_idle(siege, "without descriptors")
            # Existing sessions still work.
            peers[0].socket.setblocking(True)
            peers[0].socket.settimeout(PATIENCE)
            peers[0].socket.sendall(b"NOOP\r\n")
            if not (said := peers[0].socket.recv(KIB)).startswith(b"250"):
                raise fail(f"without descriptors NOOP gets {said!r}")
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        for wire in waiting:
            with wire:
                if not (said := wire.until(b"\r\n")).startswith(b"220"):
                    raise fail(f"a client that waited for a descriptor gets {said!r}")
        close_all(peers)
        siege.wait_until_served()
        told = f"20 clients waited without a descriptor, {share:.0%} of a processor used"
        siege.tell(told)


# How many threads wait for another client after their session (SPARES_MAX).
SPARES = 16


def tasks(bench: Bench) -> None:
    """A control group of 32 tasks has room for a dozen sessions: the others are refused. If threads
    run out under a running daemon, new clients are refused, and it continues. The regular client is
    starved too, and both times it is served again without help."""
    peers: list[Peer] = []
    with ControlGroup("pids", "tasks") as group:
        group.set("pids.max", 32)
        with Siege(bench, prefix=group.prefix, starving=TRANSIENT) as siege:
            if "pids.max" not in siege.daemon.log.read_text():
                raise Unable("the daemon does not see its control group: mounted elsewhere?")
            greetings = counting_swarm(siege, 200, peers)
            if greetings["refused"] < 188 or not greetings["greeted"] or greetings["broken"]:
                raise fail(f"with 32 tasks: {dict(greetings)}")
            close_all(peers)
            siege.wait_until_served()
            siege.tell(f"200 clients with 32 tasks: {counted(greetings)}")
        group.set("pids.max", "max")
        with Siege(bench, prefix=group.prefix, starving=TRANSIENT) as siege:
            counting_swarm(siege, 50, peers)
            group.set("pids.max", 20)
            greetings = counting_swarm(siege, 200, peers)
            share = check_idle(siege, "without threads")
            group.set("pids.max", "max")
            # The threads of clients that have just left may serve others.
            if greetings["refused"] < 200 - SPARES or sum(greetings.values()) != 200:
                raise fail(f"without threads: {dict(greetings)}")
            close_all(peers)
            siege.wait_until_served()
            told = f"200 clients without a thread: {counted(greetings)}"
            siege.tell(f"{told}, {share:.0%} of a processor used")


def memory(bench: Bench) -> None:
    """A control group of 64 MiB, and clients that stop within large messages, or do not read what
    they requested, more than there is memory for. The daemon is not killed, and refused clients get
    a reply, the regular client too."""
    peers: list[Peer] = []
    count = 500
    with ControlGroup("memory", "memory") as group:
        name = "memory.limit_in_bytes" if group.is_version_1 else "memory.max"
        group.set(name, 64 * MIB)
        with Siege(bench, prefix=group.prefix, starving=TRANSIENT) as siege:
            if "the control group's memory" not in siege.daemon.log.read_text():
                raise Unable("the daemon does not see its control group: mounted elsewhere?")
            drops = [f"large{n}@attack.test" for n in range(40)]
            deliver_large(siege, drops)
            piece = (CONTENT + b"y" * 60_000 + b"\r\n") * 18

            async def write(peer: Peer, number: int) -> str:
                to = f"RCPT TO:<m{number % 20}@attack.test>\r\n"
                await peer.send(f"HELO m\r\nMAIL FROM:<>\r\n{to}DATA\r\n".encode())
                while not (said := await peer.line()).startswith("354"):
                    if not said.startswith("250"):
                        return f"got {said[:3]}"
                await peer.send(piece)
                return "within a content of 1 MiB"

            async def fetch(peer: Peer, number: int) -> str:
                drop = drops[number // 2 % len(drops)]
                await peer.send(f"USER {drop}\r\nPASS any\r\nRETR 1\r\n".encode())
                for _ in range(3):
                    if (said := await peer.line()).startswith("-ERR"):
                        return f"got {said[:15]}"
                return "within a retrieval of 8 MiB"

            async def either(peer: Peer, number: int) -> str:
                return await (fetch if number % 2 else write)(peer, number)

            done = counting_swarm(siege, count, peers, either)
            if done["broken"] or not done["refused"]:
                raise fail(f"in 64 MiB: {dict(done)}")
            # Octets that the daemon already has must be written first.
            is_idle = lambda: siege.share_of_processor() < 0.1
            siege.wait_until(is_idle, "without memory it is always busy")
            close_all(peers)
            siege.wait_until_served()
            events = group.get("memory.failcnt" if group.is_version_1 else "memory.events")
            limit = f"limit met: {' '.join(events.split())}"
            siege.tell(f"{count} clients in 64 MiB: {counted(done)}; {limit}")


def full_disk(bench: Bench) -> None:
    """Attackers fill the disk with mail, and a file takes the rest. Deliveries get 452, the regular
    client's too; POP3 continues; once there is room again, everything recovers without help."""
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


# Memory for the regular client's sessions meanwhile, with contents of up to 300 KiB.
REGULAR_OCTETS = 4 * MIB


def idle(bench: Bench) -> None:
    """Thousands of sessions that do nothing, half SMTP and half POP3. Each uses at most 12 KiB
    (NET-1), a new client is greeted beside them, and all of them still work (NET-2). Then more
    clients connect than allowed: they are refused, and the regular client too until they leave."""
    count, more = (9_000, 17_000) if bench.is_long else (2_000, 2_600)
    limits = () if bench.is_long else ("connections = 2200",)
    peers: list[Peer] = []
    with Siege(bench, limits=limits, starving=TRANSIENT) as siege:
        before = siege.vitals.octets("VmRSS")
        greetings = counting_swarm(siege, count, peers)
        if greetings["greeted"] != count:
            raise fail(f"{count} idle clients: {dict(greetings)}")
        # Fixed costs weigh more if there are few sessions.
        most = 12 * KIB + 2 * MIB // count
        each = lambda: (siege.vitals.octets("VmRSS") - before - REGULAR_OCTETS) // count
        # After a second of silence their buffers are released, each when its thread has a turn.
        siege.wait_until(lambda: each() <= most, f"an idle session has over {most} octets (NET-1)")
        idle_each = each()
        begin = time.monotonic()
        with Smtp(siege.daemon.smtp):
            greeted_ms = (time.monotonic() - begin) * 1000
        spoke = speak(peers)
        spoken_each = each()
        if spoke != count:
            raise fail(f"only {spoke} of {count} still work")
        greetings += counting_swarm(siege, more - count, peers)
        if not greetings["refused"] or greetings["greeted"] + greetings["refused"] != more:
            raise fail(f"{more} idle clients: {dict(greetings)}")
        siege.check_regular()
        close_all(peers)
        siege.wait_until_served()
        told = f"{count} idle sessions of {idle_each / KIB:.1f} KiB ({spoken_each / KIB:.1f} once"
        told += f" they have sent a command), a new one greeted and answered in {greeted_ms:.0f} ms"
        siege.tell(f"{told} beside them; of {more} {counted(greetings)}")


def speak(peers: list[Peer]) -> int:
    """All send something. Returns how many got an answer."""

    async def say(number: int) -> bool:
        peer = peers[number]
        peer.loop = asyncio.get_running_loop()
        try:
            await peer.send(b"NOOP\r\n")
            return (await peer.line()).startswith(("250", "-ERR", "+OK"))
        except Broken:
            return False

    return sum(swarm(say, len(peers), at_once=500))


# The scenarios.
SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "slow-readers": slow_readers,
    "slow-writers": slow_writers,
    "flood": flood,
    "address-flood": address_flood,
    "other-machine": other_machine,
    "networks": networks,
    "guessing": guessing,
    "harvest": harvest,
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
    "full": full,
}


def main() -> int:
    durations = ("two minutes", "the better part of an hour")
    # As many connections as the system allows.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held = "all attacks were withstood"
    return scenarios.main_at_once(__doc__, SCENARIOS, "attacks", durations, held)


if __name__ == "__main__":
    sys.exit(main())
