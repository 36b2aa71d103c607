"""Attacks by networks, from thousands of addresses: on places, passwords and names."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import signal
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.synchronize import Event

from attacks_bench import (
    Crowds,
    Peer,
    Siege,
    closed,
    counted,
    fail,
    from_anywhere,
    swarm,
)
from survival_bench import Bench, run
from survival_clients import KIB, PATIENCE, Broken, Finding

# How long passwords are guessed, and names tried.
SECONDS = 12.0


async def come(siege: Siege, source: str, peers: list[Peer], outcomes: Counter[str]) -> str:
    """One silent client. Returns its greeting."""
    connection = from_anywhere(source)
    connection.setblocking(False)
    peer = Peer(connection)
    is_v6 = ":" in source
    target = ("::1", siege.daemon.submission) if is_v6 else ("127.0.0.1", siege.daemon.smtp)
    await peer.waited(peer.loop.sock_connect(connection, target))
    peers.append(peer)
    try:
        said = await peer.line()
    except Broken:
        said = "closed"
    outcomes["greeted" if said.startswith("220") else said] += 1
    return said


def crowd(siege: Siege, sources: Iterator[str], count: int, peers: list[Peer]) -> Counter[str]:
    """This many clients connect from these addresses, and stay. Returns their greetings."""
    outcomes: Counter[str] = Counter()
    chosen = list(itertools.islice(sources, count))

    async def one(number: int) -> None:
        await come(siege, chosen[number], peers, outcomes)

    swarm(one, count, at_once=200)
    return outcomes


def networks(bench: Bench) -> None:
    """Thousands of addresses take all they can. Those of one /48 and of one /16 get a quarter of
    the places; when they come from everywhere, a client from a network without a session is served,
    and this machine too. The log says which share was used up. There are accounts: without them
    only this machine is served."""
    total = 12_000 if bench.is_long else 1_600
    limits = (f"connections = {total}", 'connections_per_address = "auto"')
    quarter = total // 4
    of_48 = (f"2001:db8:7:{n % 768:x}::{n:x}" for n in itertools.count())
    of_16 = (f"10.7.{n // 250 % 250}.{1 + n % 250}" for n in itertools.count())
    of_all = (
        f"2a{n % 16:02x}:{n // 16 % 4:x}:{n:x}::1" if n % 2 else f"11.{n // 2 % 250}.{n // 500}.1"
        for n in itertools.count()
    )
    lines = (closed(bench), 'submission = ["[::1]:0"]')
    with Crowds(), Siege(bench, *lines, limits=limits) as siege:
        peers: list[Peer] = []

        def sessions() -> int:
            return siege.now()[0] - siege.base[0]

        for name, sources in ("/48", of_48), ("/16", of_16):
            outcomes = crowd(siege, sources, 2 * quarter, peers)
            siege.wait_until_served()
            siege.check_regular()
            # Besides those of the regular client, and those that are still ending.
            if not quarter - 10 <= sessions() <= quarter + total // 16:
                raise fail(f"a {name} holds {sessions()} of {total}: {counted(outcomes)}")
            why = f"Too many connections from your network ({name})"
            if not any(why in said for said in outcomes):
                raise fail(f"no client gets the refusal for its {name}: {counted(outcomes)}")
            # The log reports only the first ones, whose /56 or /24 may have been full before.
            is_told = lambda: "from your network (/" in siege.daemon.log.read_text()
            siege.wait_until(is_told, "the log names no network")
            if not n_counted(siege, "too_many_from_organisation"):
                raise fail(f"no client of a {name} is counted")
            for peer in peers:
                peer.close()
            peers.clear()
            siege.wait_for_sessions(0, f"sessions of the {name} remain")
        outcomes = crowd(siege, of_all, 3 * total, peers)
        siege.wait_until_served()
        siege.check_regular()
        held = sessions()
        # The rest is for newcomers, and for sessions that are ended for them.
        if held < total * 11 // 16:
            raise fail(f"they hold {held} of {total} only: {counted(outcomes)}")
        newcomers = (f"2001:db8:{n:x}::1" for n in range(0xF00, 0xF08))
        told = crowd(siege, newcomers, 1, peers)
        told += crowd(siege, (f"10.{n}.0.1" for n in itertools.count(200)), 1, peers)
        if told != {"greeted": 2}:
            raise fail(f"networks without a session: {counted(told)}")
        if sessions() > total:
            raise fail(f"{sessions()} sessions of {total}")
        for peer in peers:
            peer.close()
        siege.tell(f"{3 * total} clients from everywhere hold {held} of {total} places")


def counters(siege: Siege) -> str:
    """The counters so far."""
    before = siege.daemon.log.read_text().count("counters:")
    siege.daemon.process.send_signal(signal.SIGUSR1)
    is_told = lambda: siege.daemon.log.read_text().count("checkpoints  count") > before
    siege.wait_until(is_told, "no counters are reported")
    return siege.daemon.log.read_text().rpartition("counters:")[2]


def n_counted(siege: Siege, name: str) -> int:
    """One of these counters."""
    found = re.search(rf"\b{name}=(\d+)", counters(siege))
    assert found is not None
    return int(found[1])


class Login:
    """A login over TLS from an address."""

    def __init__(self, siege: Siege, context: ssl.SSLContext, source: str) -> None:
        self.socket = from_anywhere(source)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("::1", siege.daemon.pop3s))
        self.socket = context.wrap_socket(self.socket)
        self.line()

    def line(self) -> bytes:
        """The next reply."""
        return self.socket.recv(KIB)

    def ask(self, user: str, password: str) -> None:
        """Sends both, and does not wait for the last answer."""
        self.socket.sendall(f"USER {user}\r\n".encode())
        self.line()
        self.socket.sendall(f"PASS {password}\r\n".encode())


def guess(siege: Siege, context: ssl.SSLContext, over: Event, first: int) -> None:
    """Guesses, each time from a new /64, and waits for no answer."""
    left: list[Login] = []
    for number in itertools.count(first):
        if over.is_set():
            break
        with contextlib.suppress(OSError):
            login = Login(siege, context, f"2001:db8:7:{number:x}::1")
            login.ask("bob@attack.test", f"guess{number}")
            left.append(login)
        if len(left) > 20:
            left.pop(0).socket.close()
    for login in left:
        login.socket.close()


def right_login(siege: Siege, context: ssl.SSLContext, number: int) -> float:
    """A login of bob from his own network. Returns how long it took."""
    login = Login(siege, context, f"2a00:{number:x}::1")
    begin = time.monotonic()
    login.ask("bob@attack.test", "right")
    said = login.line()
    took = time.monotonic() - begin
    if not said.startswith(b"+OK"):
        raise fail(f"the right password: {said!r}")
    login.socket.sendall(b"QUIT\r\n")
    login.line()
    login.socket.close()
    return took


def guessing(bench: Bench) -> None:
    """Passwords of an account are guessed from a /48, each from another /64, without a pause and
    without waiting for an answer. Its user, who logs in from elsewhere for the first time, gets an
    answer within a second, and few guesses are verified."""
    directory = bench.directory / "tls"
    run(bench.binary, "cert", "--dir", directory)
    tls = (
        'smtps = ["127.0.0.1:0"]',
        'pop3s = ["[::1]:0"]',
        closed(bench),
        "[tls]",
        f'certificate = "{directory}/certificate.pem"',
        f'key = "{directory}/key.pem"',
    )
    limits = ('connections_per_address = "auto"',)
    with Crowds(), Siege(bench, *tls, limits=limits) as siege:
        context = ssl.create_default_context(cafile=directory / "ca.pem")
        context.check_hostname = False
        alone = max(right_login(siege, context, number) for number in range(10))
        # Processes, since the attackers must not slow down the user's client.
        processes = get_context("fork")
        over = processes.Event()
        attackers = [
            processes.Process(target=guess, args=(siege, context, over, first), daemon=True)
            for first in range(0, 0x8000, 0x800)
        ]
        before = {name: n_counted(siege, name) for name in ("pop3_refused", "pop3_busy")}
        for attacker in attackers:
            attacker.start()
        begin, times = time.monotonic(), list[float]()
        try:
            while time.monotonic() - begin < SECONDS:
                times.append(right_login(siege, context, 100 + len(times)))
                time.sleep(0.2)
        finally:
            over.set()
            for attacker in attackers:
                attacker.join()
        seconds = time.monotonic() - begin
        after = {name: n_counted(siege, name) - count for name, count in before.items()}
        times.sort()
        looked_at, slowest = after["pop3_refused"], times[-1]
        # A second, except for one in ten: the attackers use the same processors. More only if the
        # machine is so busy that a login takes long even without the attack.
        slow = times[len(times) * 9 // 10 - 1]
        if slow >= max(1, 5 * alone):
            text = f"one in ten logins took {slow:.2f} s or more, without an attack {alone:.2f} s"
            raise fail(text)
        # The delayed answers that may wait, as often as they are sent in that time, and the first
        # guesses, which are answered soon.
        if looked_at > 200 or not after["pop3_busy"]:
            raise fail(f"in {seconds:.0f} s of the attack: {after}")
        put_off = after["pop3_busy"] / seconds
        told = f"{looked_at / seconds:.1f} guesses a second were verified, {put_off:.0f} delayed"
        told += f"; {len(times)} correct logins, the slowest in {slowest * 1000:.0f} ms"
        siege.tell(f"{told} ({alone * 1000:.0f} ms without the attack)")


def harvest(bench: Bench) -> None:
    """Names are tried as recipients from one /16, over as many connections as it may have. The
    replies come late; a client elsewhere with one wrong recipient gets its reply immediately."""
    limits = ('connections_per_address = "auto"', "connections = 1600")
    with Crowds(), Siege(bench, closed(bench), limits=limits) as siege:
        told = Counter[str]()
        end = time.monotonic() + SECONDS

        async def try_names(number: int) -> None:
            rounds = itertools.count()
            while time.monotonic() < end:
                source = f"10.7.{number % 250}.{1 + next(rounds) % 250}"
                connection = from_anywhere(source)
                connection.setblocking(False)
                peer = Peer(connection)
                try:
                    await peer.waited(
                        peer.loop.sock_connect(connection, ("127.0.0.1", siege.daemon.smtp))
                    )
                    await peer.line()
                    await peer.send(b"HELO harvest\r\nMAIL FROM:<>\r\n")
                    await peer.line()
                    await peer.line()
                    for name in range(10):
                        await peer.send(f"RCPT TO:<n{number}x{name}@attack.test>\r\n".encode())
                        async with asyncio.timeout(max(end - time.monotonic(), 0.1)):
                            told[(await peer.line())[:3]] += 1
                except (Broken, Finding, TimeoutError, OSError):
                    pass
                finally:
                    peer.close()

        begin = time.monotonic()
        slowest = 0.0

        def slip() -> None:
            nonlocal slowest
            for number in range(5):
                connection = from_anywhere(f"11.{number}.0.1")
                with connection:
                    connection.settimeout(PATIENCE)
                    connection.connect(("127.0.0.1", siege.daemon.smtp))
                    connection.recv(KIB)
                    for command in b"HELO mta\r\n", b"MAIL FROM:<>\r\n":
                        connection.sendall(command)
                        connection.recv(KIB)
                    asked = time.monotonic()
                    connection.sendall(b"RCPT TO:<bbo@attack.test>\r\n")
                    connection.recv(KIB)
                    slowest = max(slowest, time.monotonic() - asked)
                time.sleep(1)

        other = threading.Thread(target=slip)
        other.start()
        swarm(try_names, 300)
        other.join()
        seconds = time.monotonic() - begin
        rate = told["550"] / seconds
        if rate > 200 or not told["550"]:
            raise fail(f"{rate:.0f} names a second are answered: {counted(told)}")
        if slowest >= 1:
            raise fail(f"one wrong recipient elsewhere is answered after {slowest:.2f} s")
        most = f"one wrong recipient elsewhere in {slowest * 1000:.0f} ms"
        siege.tell(f"{rate:.0f} names a second are answered for a /16 over 300 connections; {most}")
