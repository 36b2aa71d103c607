"""Disasters of cluster.py for POP3 sessions: a facteur stands still or dies in sessions, and clocks
differ. The other facteur wants the same maildrops."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cluster_load import Clients
from cluster_net import at
from cluster_nodes import NODES
from cluster_scene import LONGEST_GAP, Scene, fail_over, play_round, scene, sql_on
from survival_bench import Bench, Daemon
from survival_clients import Broken, Finding, Kind, Pop3, Refused, Smtp, some_size

# How long a lease lasts in seconds, and how much of it is left at least while its node trusts it.
LEASE, TRUSTED = 10.0, 3.0

# A login waits a second for a maildrop, and this machine may be slow.
SLOW = 15.0

# Maildrops of one disaster, and letters in each. Four connections remove messages at a time.
MAILDROPS, LETTERS = 8, 4


@dataclass
class Session:
    """A session at one facteur, and what it has marked."""

    mailbox: str
    pop3: Pop3
    marked: list[int]
    # What the other facteur has shown meanwhile, if it got the maildrop.
    others: set[int] | None = None


@dataclass
class Ward:
    """Maildrops that only this disaster touches."""

    it: Scene
    rng: random.Random
    name: str
    sessions: list[Session] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = self.it.bench.ledger
        prefix = f"{self.name}{self.it.bench.round}"
        self.mailboxes = [f"{prefix}-{n}@ward.test" for n in range(MAILDROPS)]

    def daemon(self, place: str) -> Daemon:
        return self.it.daemons[self.it.machine(place)]

    def at(self, place: str, work: Callable[[], None]) -> None:
        at(self.it.machine(place), work)

    def deliver(self, place: str, mailbox: str) -> None:
        """One letter."""

        def work() -> None:
            letter = self.it.bench.letters.write(self.rng, some_size(self.rng))
            with Smtp(self.daemon(place).smtp) as smtp:
                # A client that gives up is none of those that are meant here.
                with contextlib.suppress(Refused):
                    smtp.deliver(self.ledger, letter, [mailbox], self.rng)

        self.at(place, work)

    def log_in(self, place: str, mailbox: str, patience: float) -> Pop3 | None:
        """A session, or nothing if it is in use for that long."""
        made: list[Pop3] = []
        deadline = time.monotonic() + patience

        def work() -> None:
            while not made:
                try:
                    made.append(Pop3(self.daemon(place).pop3, mailbox))
                except Refused as error:
                    if "[IN-USE]" not in str(error) and "[SYS/TEMP]" not in str(error):
                        raise
                    if time.monotonic() > deadline:
                        return

        self.at(place, work)
        return made[0] if made else None

    def begin(self, place: str) -> None:
        """Fills the maildrops, and begins a session in each, which marks some letters."""
        for mailbox in self.mailboxes:
            for _ in range(LETTERS):
                self.deliver(place, mailbox)
        for mailbox in self.mailboxes:
            pop3 = self.log_in(place, mailbox, SLOW)
            if pop3 is None:
                raise Finding(Kind.REPLY, f"{mailbox} is in use before anybody logged in")
            seen = pop3.see_all(self.ledger, mailbox)
            marked = self.rng.sample(sorted(seen), len(seen) // 2)
            pop3.delete([seen[number] for number in marked])
            self.sessions.append(Session(mailbox, pop3, marked))

    def quit(self, session: Session) -> None:
        # What the other facteur has shown since must stay.
        if session.others is None:
            self.ledger.leave(session.mailbox, session.marked)
        session.pop3.send(b"QUIT\r\n")

    def take(self, place: str, session: Session, patience: float) -> bool:
        """The other facteur gets the maildrop: it shows what is there, and removes some, all or
        none of it. New mail comes in."""
        mailbox = session.mailbox
        pop3 = self.log_in(place, mailbox, patience)
        if pop3 is None:
            return False
        with pop3:
            seen = pop3.see_all(self.ledger, mailbox)
            session.others = set(seen)
            if lost := self.ledger.settle(mailbox, set(seen)):
                raise lost[0]
            share = self.rng.choice([0.0, 0.3, 1.0])
            marked = [number for number in seen if self.rng.random() < share]
            pop3.delete([seen[number] for number in marked])
            self.ledger.leave(mailbox, marked)
            pop3.command("QUIT")
            self.ledger.remove(mailbox, marked)
        self.deliver(place, mailbox)
        return True

    def end(self, session: Session) -> bool:
        """Reads the response to QUIT. Returns whether it was +OK, which it must not be if the
        other facteur has shown what was to be removed."""
        try:
            session.pop3.ok()
        except (Refused, Broken):
            return False
        finally:
            session.pop3.socket.close()
        if session.others is None:
            self.ledger.remove(session.mailbox, session.marked)
        elif shown := session.others & set(session.marked):
            text = f"{session.mailbox}: QUIT was answered +OK, though {sorted(shown)} were shown"
            raise Finding(Kind.REPLY, f"{text} elsewhere after it was sent")
        return True


@contextlib.contextmanager
def still(daemon: Daemon) -> Iterator[None]:
    """It stands still."""
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)


# The name of the prepared statement, as it is in the messages that use it.
REMOVAL = b"\0remove\0"

# When a facteur stops: before QUIT comes, while it is carried out, or when the statement has left
# it and has not come to the server.
MOMENTS = ["before", "within", "late"]


def freeze(it: Scene, rng: random.Random, moment: str) -> None:
    """Facteur a stands still in QUIT, and facteur b has its maildrops meanwhile."""
    ward = Ward(it, rng, moment)
    ward.begin("a")
    daemon = ward.daemon("a")
    fences = daemon.counter("store", "fences")
    held = REMOVAL if moment == "late" else None
    for proxy in it.proxies["a"]:
        proxy.hold(held)
    if moment != "before":
        for session in ward.sessions:
            ward.quit(session)
    if moment == "within":
        time.sleep(0.005 * rng.random())
    if moment == "late":
        it.cluster.await_that(
            "removal", lambda: any(proxy.n_held for proxy in it.proxies["a"]) or None
        )
    begin = time.monotonic()
    with still(daemon):
        if moment == "before":
            for session in ward.sessions:
                ward.quit(session)
        for session in ward.sessions:
            left = max(begin + LEASE + SLOW - time.monotonic(), 1)
            if not ward.take("b", session, left):
                raise Finding(Kind.REPLY, f"{session.mailbox} is in use after {LEASE + SLOW:.0f} s")
            if session is ward.sessions[0]:
                taken = time.monotonic() - begin
        for proxy in it.proxies["a"]:
            proxy.hold(None)
        # The server gets what was late.
        time.sleep(1)
    n_ok = sum(ward.end(session) for session in ward.sessions)
    n_fenced = daemon.counter("store", "fences") - fences
    if moment == "late" and n_fenced == 0:
        raise Finding(Kind.CRASH, "no removal came too late, so nothing was tested")
    it.bench.say(
        f"a stood still {moment} {MAILDROPS} removals, b had the first maildrop after "
        f"{taken:.1f} s; {n_ok} had been removed, {n_fenced} were fenced"
    )


def die(it: Scene, rng: random.Random) -> None:
    """Facteur b dies in its sessions, and facteur a gets the maildrops when the lease is over."""
    ward = Ward(it, rng, "dead")
    ward.begin("b")
    ward.daemon("b").kill()
    begin = time.monotonic()
    if ward.log_in("a", ward.mailboxes[0], 0) is not None:
        raise Finding(Kind.REPLY, f"{ward.mailboxes[0]} was free at once")
    if not ward.take("a", ward.sessions[0], LEASE + SLOW):
        raise Finding(Kind.REPLY, f"{ward.mailboxes[0]} is in use after {LEASE + SLOW:.0f} s")
    if (taken := time.monotonic() - begin) < TRUSTED:
        raise Finding(Kind.REPLY, f"{ward.mailboxes[0]} was free after {taken:.1f} s")
    for session in ward.sessions[1:]:
        if not ward.take("a", session, 2):
            raise Finding(Kind.REPLY, f"{session.mailbox} is in use")
    for session in ward.sessions:
        if session.others is None or len(session.others) < 1:
            raise Finding(Kind.LOST, f"{session.mailbox} is empty")
        session.pop3.socket.close()
    it.start_daemon(it.machine("b"))
    it.bench.say(f"b died with {MAILDROPS} sessions, a had the first maildrop {taken:.1f} s later")


def frozen(bench: Bench, rounds: int) -> None:
    """A facteur stands still in QUIT for longer than its lease, and another dies."""
    # A message that was read just before a facteur stood still comes after it was removed at the
    # other, and the ledger of the readers knows no such case.
    with scene(bench, with_proxy=True, without_readers="a") as it:
        for bench.round in range(1, rounds + 1):
            die(it, bench.chance(f"death {bench.round}"))

            def disaster(_: Clients, rng: random.Random) -> None:
                for moment in MOMENTS:
                    freeze(it, rng, moment)

            play_round(bench, it, disaster)


# What the clocks of the servers differ by, in seconds, in some order.
CLOCKS = [60, 0, -60]

# How many seconds each facteur is fast.
HOURS = {"a": 3600, "b": -3600}


def check_clocks(it: Scene, clocks: dict[str, int]) -> None:
    """The servers and the facteurs must believe what they were told."""
    for node, seconds in clocks.items():
        ((text,),) = sql_on(it, "observer", node, "select extract(epoch from clock_timestamp())")
        if abs(float(text or 0) - time.time() - seconds) > 5:
            raise Finding(Kind.CRASH, f"the clock of {node} is {text}")
    names = "select min(split_part(name, '.', 1)::int8), max(split_part(name, '.', 1)::int8)"
    ((first, last),) = sql_on(it, "observer", it.cluster.leader(), f"{names} from content")
    if int(last or 0) - int(first or 0) < HOURS["a"] - HOURS["b"]:
        raise Finding(Kind.CRASH, "the clocks of the facteurs are not as they should be")


def set_clocks(it: Scene, rng: random.Random) -> dict[str, int]:
    """The clocks of running servers are set. Leases begin anew, within a renewal or two."""
    clocks = dict(zip(NODES, rng.sample(CLOCKS, len(NODES))))
    for node, seconds in clocks.items():
        it.cluster.set_clock(node, seconds)
    time.sleep(LEASE - TRUSTED)
    return clocks


def end_all(ward: Ward) -> str:
    """All sessions quit. Returns how many could remove something."""
    for session in ward.sessions:
        with contextlib.suppress(Broken):
            ward.quit(session)
    n_taken = sum(session.others is not None for session in ward.sessions)
    n_ok = sum(ward.end(session) for session in ward.sessions)
    return f"{n_taken} of {len(ward.sessions)} maildrops were taken over, {n_ok} sessions said +OK"


def tell_the_time(it: Scene, clients: Clients, rng: random.Random) -> None:
    """Each facteur has sessions that the other must not have, and then another server leads. All
    clocks differ."""
    clocks = set_clocks(it, rng)
    clients.wait_for("acknowledged", 1, LONGEST_GAP)
    check_clocks(it, clocks)
    wards = {"a": Ward(it, rng, "b-wants"), "b": Ward(it, rng, "a-wants")}
    for place, ward in wards.items():
        ward.begin(place)
    deadline = time.monotonic() + LEASE + TRUSTED
    while time.monotonic() < deadline:
        for place, other in ("a", "b"), ("b", "a"):
            session = rng.choice(wards[place].sessions)
            if wards[place].log_in(other, session.mailbox, 0) is not None:
                raise Finding(Kind.REPLY, f"{other} got {session.mailbox}, which {place} has")
    fail_over(it, it.cluster.leader(), with_network=False)
    for place, other in ("a", "b"), ("b", "a"):
        for session in wards[place].sessions:
            with contextlib.suppress(Refused, Broken):
                wards[place].take(other, session, 0)
    told = "; ".join(end_all(ward) for ward in wards.values())
    it.bench.say(f"clocks {' '.join(f'{node}{it:+}' for node, it in clocks.items())}: {told}")
