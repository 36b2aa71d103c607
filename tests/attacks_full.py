"""Clients of attacks.py that take every place that the daemon has announced, and stop there."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from attacks_bench import (
    TO_BOB,
    TRANSIENT,
    ControlGroup,
    Peer,
    Siege,
    certificate,
    closed,
    fail,
    hello,
    swarm,
    trusting,
)
from survival_bench import Bench, Unable
from survival_clients import KIB, MIB, Broken, Finding, Kind, Refused, Smtp

# What src/system/capacity.rs counts: mappings and descriptors per session, and fixed mappings.
MAPPINGS_PER_SESSION, DESCRIPTORS_PER_SESSION = 4, 2
MAPPINGS_OWN = 1_024 + 17 * (os.cpu_count() or 1)

# Places for the regular client's current and recent sessions, and threads that sync.
REGULAR_PLACES = 8

# Clients over the cap.
MORE = 40


def full(bench: Bench) -> None:
    """As many clients as the daemon has announced take a place, and stop in every phase: after the
    connect, within a ClientHello, after STARTTLS and STLS, after the handshake, within AUTH, within
    a large content. They use no more threads, mappings and descriptors than were calculated for
    them. A further client gets 421 or -ERR [SYS/TEMP]; when they leave, a client is greeted
    immediately. The same under each limit separately, and in the long form under those of this
    machine."""
    for name, prefix, group in limits(bench):
        with group:
            take_all_places(bench, name, prefix)


def limits(bench: Bench) -> Iterator[tuple[str, tuple[str, ...], ExitStack]]:
    """The limits: the daemon's name for each, and how to start it under it."""
    yield "the limit of open files", ("prlimit", "--nofile=1000:1000"), ExitStack()
    # The kernel has one number for all processes, so only the file that is read is changed; the
    # test checks that fewer mappings are used.
    file = bench.directory / "max_map_count"
    file.write_text("5000\n")
    script = 'mount --bind "$0" /proc/sys/vm/max_map_count && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, str(file))
    yield "vm.max_map_count", prefix, ExitStack()
    for kind, files, most in (
        ("pids", ("pids.max",), 400),
        ("memory", ("memory.limit_in_bytes", "memory.max"), 160 * MIB),
    ):
        stack = ExitStack()
        group = stack.enter_context(ControlGroup(kind, f"full-{kind}"))
        group.set(files[0] if group.is_version_1 else files[-1], most)
        name = "the control group's memory" if kind == "memory" else "the control group's pids.max"
        yield name, group.prefix, stack
    if bench.is_long:
        yield "", (), ExitStack()


def take_all_places(bench: Bench, name: str, prefix: tuple[str, ...]) -> None:
    """A round under one limit."""
    lines = (closed(bench), *certificate(bench))
    with Siege(bench, *lines, prefix=prefix, starving=TRANSIENT) as siege:
        log = siege.daemon.log.read_text()
        found = re.search(r"at most (\d+) sessions at once, bounded by (.+)", log)
        if not found or name not in found[2]:
            raise Unable(f"the daemon is not bounded by {name}: {found and found[0]}")
        places = int(found[1])
        peers: list[Peer] = []
        phases = list(phases_of(siege, trusting(bench)))

        async def come(number: int) -> None:
            phase = phases[min(number * len(phases) // places, len(phases) - 1)]
            source = f"127.1.{1 + number // 250 % 250}.{1 + number % 250}"
            try:
                peers.append(await phase(source))
            except Broken:
                pass  # there was no place

        # The clients that are cut off after half a minute come last.
        swarm(come, places + MORE, at_once=300)
        threads = lambda: siege.vitals.threads() - siege.base[0]
        siege.wait_until(lambda: threads() >= places - REGULAR_PLACES, "places are not reached")
        taken = threads()
        mappings = len((siege.vitals.proc / "maps").read_text().splitlines())
        open_files = siege.vitals.descriptors()
        check_turned_away(siege)
        if taken > places + REGULAR_PLACES:
            raise Finding(Kind.RESOURCES, f"{taken} threads for {places} places")
        for what, there, counted in (
            ("mappings", mappings, MAPPINGS_OWN + MAPPINGS_PER_SESSION * places),
            ("descriptors", open_files, siege.base[1] + DESCRIPTORS_PER_SESSION * places),
        ):
            if there > counted:
                raise Finding(Kind.RESOURCES, f"{there} {what}, {counted} were counted")
        begin = time.monotonic()
        for peer in peers:
            peer.close()
        greeted_ms = (greeted_again(siege) - begin) * 1000
        siege.wait_until_served()
        told = f"{taken} of {places} places taken ({found[2]}): {mappings} mappings"
        siege.tell(f"{told}, {open_files} descriptors; greeted {greeted_ms:.0f} ms after they left")


def phases_of(siege: Siege, context: ssl.SSLContext) -> Iterator[Callable[[str], Awaitable[Peer]]]:
    """The ways to begin a session and then stop."""
    daemon = siege.daemon
    part = hello()[:100]

    def say(port: int, *commands: bytes, then: bytes = b"") -> Callable[[str], Awaitable[Peer]]:
        """Reads the greeting, and a reply to each of the commands."""

        async def begin(source: str) -> Peer:
            peer = await Peer.connect(port, source)
            for command in (b"", *commands):
                await peer.send(command)
                while (said := await peer.line())[3:4] == "-" and said[0] in "23":
                    pass
                if said.startswith(TRANSIENT):
                    peer.close()
                    raise Broken(said)
            await peer.send(then)
            return peer

        return begin

    def silent(port: int, octets: bytes) -> Callable[[str], Awaitable[Peer]]:
        async def begin(source: str) -> Peer:
            peer = await Peer.connect(port, source)
            await peer.send(octets)
            return peer

        return begin

    def secured(port: int) -> Callable[[str], Awaitable[Peer]]:
        async def begin(source: str) -> Peer:
            peer = await Peer.connect(port, source)
            await shake_hands(peer, context)
            return peer

        return begin

    content = b"0123456789" * 7 + b"\r\n"
    mail, to, _ = TO_BOB.split(b"\r\n")
    letter = (b"HELO full\r\n", mail + b"\r\n", to + b"\r\n", b"DATA\r\n")
    yield say(daemon.smtp)
    yield say(daemon.pop3)
    yield say(daemon.smtp, b"EHLO full\r\n", b"AUTH PLAIN\r\n")
    yield say(daemon.pop3, b"AUTH PLAIN\r\n")
    yield say(daemon.smtp, *letter, then=content * (300 * KIB // len(content)))
    yield secured(daemon.smtps)
    yield secured(daemon.pop3s)
    for then in b"", part:
        yield say(daemon.smtp, b"EHLO full\r\n", b"STARTTLS\r\n", then=then)
        yield say(daemon.pop3, b"STLS\r\n", then=then)
    for octets in part, b"":
        yield silent(daemon.smtps, octets)
        yield silent(daemon.pop3s, octets)


async def shake_hands(peer: Peer, context: ssl.SSLContext) -> None:
    """Completes a handshake, and waits for the greeting."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    greeting = b""
    while not greeting:
        try:
            greeting = tls.read(KIB)
        except ssl.SSLWantReadError:
            await peer.send(outgoing.read())
            if not await peer.receive():
                raise Broken("closed within the handshake") from None
            incoming.write(peer.received)
            peer.received.clear()


def check_turned_away(siege: Siege) -> None:
    """There is no place, and newcomers get a refusal."""

    async def come(number: int) -> str:
        peer = await Peer.connect((siege.daemon.smtp, siege.daemon.pop3)[number % 2], "127.0.0.9")
        try:
            return await peer.line()
        finally:
            peer.close()

    # The regular client can leave a place for a moment.
    said = [line for line in swarm(come, 20) if not line.startswith(TRANSIENT)]
    if len(said) > REGULAR_PLACES:
        raise fail(f"a client over the cap gets {said!r}")


def greeted_again(siege: Siege) -> float:
    """When a new client is greeted."""

    def is_greeted() -> bool:
        try:
            with Smtp(siege.daemon.smtp):
                return True
        except Refused as error:
            if not str(error).startswith(TRANSIENT):
                raise
        except Broken:
            pass  # the refusal was lost
        return False

    siege.wait_until(is_greeted, "nobody is greeted when all have left")
    return time.monotonic()
