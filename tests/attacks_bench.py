"""The surroundings of an attack in attacks.py: a regular client, the daemon's vital signs, and
swarms."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from survival_bench import LIMITS, Bench, Daemon, Load, Unable, Vitals, compare, run
from survival_clients import (
    KIB,
    MIB,
    PATIENCE,
    Broken,
    Finding,
    Findings,
    Kind,
    Pop3,
    Refused,
    Smtp,
    some_size,
)

T = TypeVar("T")

# From Linux' linux/in.h; this version of Python does not have it.
IP_BIND_ADDRESS_NO_PORT = 24
IPV6_FREEBIND = 78

# The maildrops of the regular client, and the domains whose mail is in the ledger.
REGULARS = [f"regular{n}@regular.test" for n in range(6)]
OURS = frozenset({"regular.test", "reset.test"})

# SEC-9: the memory that each session may use, and that all deliveries together may use.
SESSION_OCTETS = 64 * KIB
IN_FLIGHT_OCTETS = 256 * MIB

# How often the regular client does something: it must not be the load.
PACE = 0.02

# Refusals after which clients try again.
TRANSIENT = ("421", "451", "452", "-ERR [SYS/TEMP]")


# The attackers' commands.
CONTENT = b"Subject: attack\r\n\r\n"
TO_BOB = b"MAIL FROM:<a@attack.test>\r\nRCPT TO:<bob@attack.test>\r\n"


def fail(text: str) -> Finding:
    """The error of a wrong reply."""
    return Finding(Kind.REPLY, text)


def counted(counts: Counter[str]) -> str:
    """The counts on one line, the greatest first."""
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


class Regular(Load):
    """A well-behaved client beside the attack: two senders and a reader.

    It must be served throughout: a refusal or a broken connection is a finding. If an attack
    legitimately starves everybody, `may_be_told` has the refusals that it may get, and it tries
    again until it is served.
    """

    def __init__(self, bench: Bench, daemon: Daemon, may_be_told: tuple[str, ...]) -> None:
        self.may_be_told = may_be_told
        self.slowest = 0.0
        super().__init__(bench, daemon, senders=2, readers=1, mailboxes=REGULARS)

    def send(self, rng: random.Random) -> None:
        while not self.over.is_set() and self.daemon.process.poll() is None:
            try:
                with Smtp(self.daemon.smtp) as smtp:
                    for _ in range(rng.randrange(1, 4)):
                        letter = self.bench.letters.write(rng, some_size(rng))
                        mailboxes = rng.sample(REGULARS, rng.choice([1, 1, 2]))
                        begin = time.monotonic()
                        smtp.deliver(self.ledger, letter, mailboxes, rng)
                        self.slowest = max(self.slowest, time.monotonic() - begin)
                        self.count("acknowledged")
                        self.over.wait(PACE)
                    smtp.command("QUIT", "221")
            except (Broken, Refused) as error:
                self.failed(self.smtp_may_fail, "SMTP", error)

    def visit(self, mailbox: str, rng: random.Random) -> None:
        super().visit(mailbox, rng)
        self.over.wait(PACE)

    def failed(self, may_fail: threading.Event, what: str, error: Exception) -> None:
        if isinstance(error, Refused) and str(error).startswith(self.may_be_told):
            self.count(f"{what} refused")
            self.over.wait(PACE)
        else:
            super().failed(may_fail, what, error)


class Siege:
    """A daemon with its regular client; at the end everything is as it was before.

    `lines` and `limits` are for the configuration, `prefix` is put before the command line, and
    `starving` has the refusals that the regular client may get.
    """

    def __init__(
        self,
        bench: Bench,
        *lines: str,
        limits: tuple[str, ...] = (),
        prefix: tuple[str, ...] = (),
        mail: Path | None = None,
        starving: tuple[str, ...] = (),
    ) -> None:
        bench.round += 1
        bench.ours = OURS
        keys = {limit.partition(" ")[0] for limit in limits}
        usual = tuple(limit for limit in LIMITS if limit.partition(" ")[0] not in keys)
        bench.configure(*lines, limits=(*limits, *usual))
        self.bench = bench
        self.rng = bench.chance(f"siege {bench.round}")
        self.mail = mail or bench.directory / "mail"
        self.daemon = bench.start(self.mail, prefix)
        self.vitals = Vitals(self.daemon.process.pid)
        # Some threads and descriptors exist from the first letter on.
        self.serve_fresh_client()
        self.base = self.peak = (0, 0)
        self.wait_until(self.is_settled, "the daemon does not come to rest")
        self.base_octets = self.vitals.octets("VmRSS")
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()
        self.regular = Regular(bench, self.daemon, starving)

    def __enter__(self) -> Siege:
        self.wait_until_served()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self.finish()
            finally:
                self.over.set()
            return
        self.over.set()
        self.regular.expect_failures()
        self.regular.stop()
        if not isinstance(error, (Finding, Broken, Refused)):
            return
        # The error may only follow from one that the regular client met, or from a dead daemon.
        self.daemon.check_alive()
        if self.regular.findings:
            met = error if isinstance(error, Finding) else Finding(Kind.REPLY, str(error))
            raise Findings([*self.regular.findings, met]) from None

    def now(self) -> tuple[int, int]:
        """Threads and descriptors."""
        return self.vitals.threads(), self.vitals.descriptors()

    def is_settled(self) -> bool:
        """Whether nothing changes any more; remembers what must be there again afterwards."""
        before = self.base
        self.base = self.now()
        return before == self.base

    def watch(self) -> None:
        """Remembers the highest numbers of threads and descriptors."""
        while not self.over.wait(0.02):
            with contextlib.suppress(OSError):
                self.peak = tuple(map(max, self.peak, self.now()))

    def wait_until(
        self, is_so: Callable[[], bool], otherwise: str, seconds: float = PATIENCE
    ) -> float:
        """Waits until the condition holds. Returns how long that took."""
        begin = time.monotonic()
        while not is_so():
            self.daemon.check_alive()
            if time.monotonic() - begin > seconds:
                raise Finding(Kind.RESOURCES, f"{otherwise} (waited {seconds:.0f} s)")
            time.sleep(0.05)
        return time.monotonic() - begin

    def wait_for_sessions(self, most: int, otherwise: str, seconds: float = PATIENCE) -> float:
        """Waits until there are no more than this many sessions besides the regular client's."""
        # It has three, and two of those that it has ended may still exist.
        most += self.base[0] + 5
        return self.wait_until(lambda: self.vitals.threads() <= most, otherwise, seconds)

    def wait_until_served(self) -> None:
        """Waits until the regular client has been served for a while, both ways."""
        for what, more in ("acknowledged", 5), ("visits", 3):
            if not self.regular.wait_for(what, more) and not self.regular.findings:
                raise Finding(Kind.REPLY, f"the regular client waits for {what} in vain")

    def serve_fresh_client(self) -> None:
        """A new client is served too."""
        ledger, steady = self.bench.ledger, random.Random(2)
        try:
            with Smtp(self.daemon.smtp) as smtp:
                letter = self.bench.letters.write(steady, 2000)
                smtp.deliver(ledger, letter, [REGULARS[0]], steady)
                smtp.command("QUIT", "221")
            with Pop3(self.daemon.pop3, REGULARS[0], self.bench.password) as pop3:
                seen = pop3.see_all(ledger, REGULARS[0])
                pop3.command("QUIT")
        except (Broken, Refused) as error:
            raise Finding(Kind.REPLY, f"a fresh client: {error}") from None
        if letter.number not in seen:
            raise Finding(Kind.LOST, "the letter of a fresh client", letter.number)

    def finish(self) -> None:
        """The regular client is served; then everything is as before, and nothing is lost."""
        self.wait_until_served()
        self.regular.end()
        self.daemon.check_alive()
        self.daemon.check_log()
        self.come_to_rest()
        self.serve_fresh_client()
        grown, sessions = self.grown(), self.peak[0] - self.base[0]
        if grown > sessions * SESSION_OCTETS + IN_FLIGHT_OCTETS:
            raise Finding(Kind.RESOURCES, f"{grown // KIB} KiB for {sessions} sessions (SEC-9)")
        self.daemon.stop()
        daemon = self.bench.start(self.mail)
        compare(self.bench, daemon, self.mail, self.rng)
        daemon.stop()

    def come_to_rest(self) -> None:
        """There are as many threads and descriptors as before, and the daemon does nothing."""

        def is_back() -> bool:
            threads, descriptors = self.now()
            return threads <= self.base[0] and descriptors <= self.base[1]

        try:
            self.wait_until(is_back, "something of the sessions remains")
        except Finding as finding:
            there = f"threads and descriptors were {self.base}, are {self.now()}"
            raise Finding(Kind.RESOURCES, f"{finding}: {there}") from None
        # The journal may still have to be written to the Maildirs, but not for long.
        for _ in range(10):
            share = self.share_of_processor()
            if share < 0.2:
                return
        raise Finding(Kind.RESOURCES, f"when idle it uses {share:.0%} of a processor")

    def share_of_processor(self) -> float:
        """The fraction of a processor that the daemon uses during a second."""
        used, begin = self.vitals.cpu_seconds(), time.monotonic()
        time.sleep(1)
        return (self.vitals.cpu_seconds() - used) / (time.monotonic() - begin)

    def check_regular(self) -> None:
        """Raises the findings of the regular client."""
        if self.regular.findings:
            raise Findings(self.regular.findings)

    def grown(self) -> int:
        """The most octets of memory that it had, beyond those before."""
        return max(self.vitals.octets("VmHWM") - self.base_octets, 0)

    def tell(self, text: str) -> None:
        """Prints one line about what was done."""
        counts = self.regular.counts
        refused = counts["SMTP refused"] + counts["POP3 refused"]
        beside = f"beside it {counts['acknowledged']} letters, {counts['visits']} visits"
        beside += f", slowest {self.regular.slowest * 1000:.0f} ms"
        if refused:
            beside += f", {refused} refusals"
        threads, descriptors = self.peak
        most = f"at most {threads} threads, {descriptors} descriptors"
        most += f", {self.grown() // KIB} KiB more than before"
        self.bench.say(f"{text}; {most}; {beside}")


class Peer:
    """One client of a swarm. Every wait has a deadline, and missing it is a finding."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.loop = asyncio.get_running_loop()
        self.received = bytearray()

    @classmethod
    async def connect(cls, port: int, source: str = "127.0.0.1", window: int = 0) -> Peer:
        """Connects from a loopback address; a small `window` keeps little data in flight to this
        client."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if window:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        if source != "127.0.0.1":
            # The port is chosen on connect, so that each address can use all of them.
            connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            connection.bind((source, 0))
        peer = cls(connection)
        await peer.waited(peer.loop.sock_connect(connection, ("127.0.0.1", port)))
        return peer

    async def waited(self, what: Awaitable[T]) -> T:
        """The result, if it comes in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await what
        except TimeoutError:
            raise Finding(Kind.REPLY, f"nothing happens in {PATIENCE:.0f} s") from None
        except OSError as error:
            raise Broken(str(error)) from None

    async def send(self, octets: bytes) -> None:
        """Sends all of them."""
        await self.waited(self.loop.sock_sendall(self.socket, octets))

    async def receive(self) -> bool:
        """Reads what comes; false at the end."""
        octets = await self.waited(self.loop.sock_recv(self.socket, 64 * KIB))
        self.received += octets
        return bool(octets)

    async def line(self) -> str:
        """The next line, or the rest of it at the end."""
        while (end := self.received.find(b"\r\n")) < 0:
            if not await self.receive():
                raise Broken("closed by the daemon")
        line = bytes(self.received[:end])
        del self.received[: end + 2]
        return line.decode(errors="replace")

    async def rest(self) -> bytes:
        """Everything until the daemon closes, in whatever way."""
        with contextlib.suppress(Broken):
            while await self.receive():
                pass
        return bytes(self.received)

    def close(self) -> None:
        """Closes in order."""
        self.socket.close()

    def reset(self) -> None:
        """Closes with RST."""
        reset(self.socket)


def reset(connection: socket.socket) -> None:
    """Closes with RST instead of FIN."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def swarm(work: Callable[[int], Awaitable[T]], count: int, at_once: int = 0) -> list[T]:
    """Does the work of this many clients, all of them or `at_once` at the same time."""

    async def limited(room: asyncio.Semaphore, number: int) -> T:
        async with room:
            return await work(number)

    async def all_of_them() -> list[T]:
        room = asyncio.Semaphore(at_once or count)
        return list(await asyncio.gather(*(limited(room, number) for number in range(count))))

    return asyncio.run(all_of_them())


def exchange(port: int, octets: bytes) -> bytes:
    """Sends everything, closes the sending side, and returns all answers."""
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(64 * KIB):
                answer += received
        except TimeoutError:
            raise Finding(Kind.REPLY, f"no end after {octets[:60]!r}: {answer!r}") from None
        except OSError:
            pass  # closed before it had read everything
    return bytes(answer)


class ControlGroup:
    """A control group of one kind, of version 1 or 2, in which processes are started."""

    def __init__(self, kind: str, name: str) -> None:
        if os.geteuid() != 0:
            raise Unable("only root can make control groups")
        version_1 = Path("/sys/fs/cgroup", kind)
        self.is_version_1 = version_1.is_dir()
        top = version_1 if self.is_version_1 else Path("/sys/fs/cgroup")
        try:
            if not self.is_version_1:
                (top / "cgroup.subtree_control").write_text(f"+{kind}")
            self.path = top / f"facteur-{name}-{os.getpid()}"
            self.path.mkdir()
        except OSError as error:
            raise Unable(f"no control group for {kind}: {error}") from None

    def __enter__(self) -> ControlGroup:
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + PATIENCE
        # A process that has ended is still in it for a moment.
        while self.path.is_dir() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self.path.rmdir()
            time.sleep(0.05)

    def set(self, file: str, value: object) -> None:
        """Writes one of its limits."""
        try:
            (self.path / file).write_text(f"{value}")
        except OSError as error:
            raise Unable(f"{file} of a control group: {error}") from None

    def get(self, file: str) -> str:
        """Reads one of its files."""
        return (self.path / file).read_text()

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command line to run it in this group."""
        script = 'echo $$ >"$0" && exec "$@"'
        return ("sh", "-c", script, str(self.path / "cgroup.procs"))


class OtherMachine:
    """A network namespace that plays another machine, and the cable to it."""

    # RFC 2544: for tests between machines, and not used in real networks.
    HERE, THERE = "198.19.203.1", "198.19.203.2"

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise Unable("only root can make network namespaces")
        if "198.19." in run("ip", "-4", "address", "show"):
            raise Unable("this machine has an address that the test needs")
        self.name = f"facteur-{os.getpid()}"
        self.cable = f"fct{os.getpid()}"

    def __enter__(self) -> OtherMachine:
        inside = ("ip", "netns", "exec", self.name, "ip")
        run("ip", "netns", "add", self.name)
        try:
            end = ("peer", "name", "there", "netns", self.name)
            run("ip", "link", "add", self.cable, "type", "veth", *end)
            run("ip", "address", "add", f"{self.HERE}/30", "dev", self.cable)
            run("ip", "link", "set", self.cable, "up")
            run(*inside, "address", "add", f"{self.THERE}/30", "dev", "there")
            run(*inside, "link", "set", "there", "up")
        except Unable:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The cable disappears with its end.
        run("ip", "netns", "delete", self.name)

    def enter(self) -> None:
        """From now on the sockets that this thread opens belong to that machine."""
        with open(f"/run/netns/{self.name}", "rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) != 0:
                raise Unable(f"setns: {os.strerror(ctypes.get_errno())}")


def closed(bench: Bench) -> str:
    """Accounts for the regular client and for one that attackers know. Returns the line of the
    configuration."""
    hashed = subprocess.run(
        [bench.binary, "hash-password"], input=b"right\n", capture_output=True, check=True
    )
    file = bench.directory / "accounts.toml"
    file.touch(0o600)
    file.write_text(
        "\n".join(
            f'[[accounts]]\naddress = "{address}"\n{hashed.stdout.decode()}'
            for address in [*REGULARS, "bob@attack.test"]
        )
    )
    bench.password = "right"
    return 'accounts = "accounts.toml"'


def certificate(bench: Bench, address: str = "127.0.0.1") -> tuple[str, ...]:
    """Makes a certificate. Returns configuration lines for it, and for two TLS listeners."""
    directory = bench.directory / "tls"
    run(bench.binary, "cert", "--dir", directory)
    return (
        f'smtps = ["{address}:0"]',
        f'pop3s = ["{address}:0"]',
        "[tls]",
        f'certificate = "{directory}/certificate.pem"',
        f'key = "{directory}/key.pem"',
    )


def trusting(bench: Bench) -> ssl.SSLContext:
    """What a client needs for that certificate."""
    context = ssl.create_default_context(cafile=bench.directory / "tls/ca.pem")
    context.check_hostname = False
    return context


def hello() -> bytes:
    """The beginning of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


class Crowds:
    """A network namespace in which this process, and what it starts, can have any address. So the
    daemon meets clients from thousands of networks.

    Inside, all of 10.0.0.0/7, 2001:db8::/32 and 2a00::/12 are addresses of the loopback device.
    They are not loopback addresses, so the daemon treats their clients as other machines.
    """

    NETWORKS = ("10.0.0.0/7", "2001:db8::/32", "2a00::/12")

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise Unable("only root can make network namespaces")
        self.name = f"facteur-crowds-{os.getpid()}"
        self.outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def __enter__(self) -> Crowds:
        inside = ("ip", "netns", "exec", self.name)
        run("ip", "netns", "add", self.name)
        try:
            run(*inside, "ip", "link", "set", "lo", "up")
            for network in self.NETWORKS:
                family = "-6" if ":" in network else "-4"
                run(*inside, "ip", family, "route", "add", "local", network, "dev", "lo")
            with open(f"/run/netns/{self.name}", "rb") as namespace:
                enter_network(namespace.fileno())
            # A burst of clients waits in the listener's backlog.
            Path("/proc/sys/net/core/somaxconn").write_text("4096")
        except (OSError, Unable):
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        enter_network(self.outside)
        os.close(self.outside)
        run("ip", "netns", "delete", self.name)


def enter_network(namespace: int) -> None:
    """From now on the sockets of this thread, and of those that it starts, are inside."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0) != 0:
        raise Unable(f"setns: {os.strerror(ctypes.get_errno())}")


def from_anywhere(source: str) -> socket.socket:
    """A socket with this address; its port is chosen on connect."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    if family == socket.AF_INET6:
        # If a route makes an address local, only IPv4 knows it when binding.
        connection.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    connection.bind((source, 0))
    return connection
