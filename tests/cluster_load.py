"""The clients of cluster.py: what is delivered and read while the cluster suffers."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from cluster_net import Machine, at
from cluster_wire import Database, Failed, Lost
from survival_bench import Bench, Daemon, Load
from survival_clients import (
    PATIENCE,
    Broken,
    Fate,
    Finding,
    Findings,
    Kind,
    Ledger,
    Pop3,
    Refused,
    Wire,
)

# Longest time that a delivery takes, in seconds.
DEADLINE = 60.0

# A facteur refuses a delivery only then.
Wire.patience = DEADLINE + 30

SCHEMA = """
create table content (name text primary key);
create table message (name text primary key references content, box text, number int);
"""

# Sets what a role may have been given otherwise, and reads the names; nothing is done while they
# are empty. A repeat adds nothing.
DELIVER = """
with s as materialized (
    select set_config('synchronous_commit', 'on', true),
        set_config('client_min_messages', 'warning', true),
        current_setting('synchronous_standby_names') as names),
c as (
    insert into content (name) select '{name}' from s where names <> ''
    on conflict do nothing returning name),
m as (insert into message (name, box, number) select name, '{box}', {number} from c)
select names, (select count(*) from c) from s
"""

# One transaction. The mark is a record of its own, which a server that is cut off cannot prove.
LIST = """
select number, name from message where box = '{box}';
select set_config('synchronous_commit', 'local', true),
    pg_logical_emit_message(true, 'look', '')
"""

REMOVE = """
with s as materialized (
    select set_config('synchronous_commit', 'on', true),
        set_config('client_min_messages', 'warning', true)),
m as (delete from message using s where box = '{box}' and number = any('{{{numbers}}}') returning 1)
select count(*) from m
"""

PROOF = """
with l as materialized (select {place} as place)
select place, current_setting('synchronous_standby_names'),
    (select count(*) from pg_stat_replication, l
        where sync_state in ('sync', 'quorum') and flush_lsn >= l.place and sent_lsn >= l.place)
from l
"""

# A standby with another history may say that it has flushed more than it was ever sent.
CREDULOUS_PROOF = PROOF.replace(" and sent_lsn >= l.place", "")


class Doubtful(Exception):
    """It was done, perhaps, and is not proved."""


class StandIn:
    """Does with the database what facteur does, in a few lines, one connection at a time."""

    def __init__(self, addresses: list[tuple[str, int]], proof: str | None) -> None:
        self.addresses, self.proof = addresses, proof
        self.database: Database | None = None

    def connected(self, deadline: float) -> Database:
        """A connection to whoever is primary."""
        while self.database is None:
            for address in self.addresses:
                with contextlib.suppress(Lost, Failed):
                    left = deadline - time.monotonic()
                    database = Database(address, max(min(3.0, left), 0.1))
                    if database.ask("select pg_is_in_recovery()") == [["f"]]:
                        database.seconds = DEADLINE
                        self.database = database
                        break
                    database.socket.close()
            else:
                if time.monotonic() > deadline:
                    raise Lost("no primary")
                time.sleep(0.1)
        return self.database

    def drop(self) -> None:
        if self.database is not None:
            self.database.socket.close()
            self.database = None

    def certain(self, statement: str, deadline: float) -> list[list[str | None]]:
        """Does it, and proves it."""
        database = self.connected(deadline)
        database.seconds = max(deadline - time.monotonic(), 0.1)
        rows = database.ask(statement)
        if database.warnings:
            raise Doubtful(database.warnings[0])
        place = "pg_current_wal_flush_lsn()"
        while self.proof is not None:
            ((at, names, n_standbys),) = database.ask(self.proof.format(place=place))
            # Patroni names one.
            if names and int(n_standbys or 0) >= 1:
                break
            if time.monotonic() > deadline:
                raise Doubtful("not proved")
            place = f"'{at}'::pg_lsn"
            time.sleep(0.002)
        return rows

    def repeat(self, statement: str) -> list[list[str | None]]:
        """Until it is certain. It must be one that can be repeated."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                return self.certain(statement, deadline)
            except (Lost, Doubtful, Failed) as error:
                if str(error).startswith("531"):
                    raise Refused(f"452 {error}") from None
                # For example read-only, because it is a standby now.
                self.drop()
                if time.monotonic() > deadline:
                    raise Refused(f"451 {error}") from None
                time.sleep(0.05)


class Clients:
    """Threads on the machines of the clients, until they are stopped."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.ledger = bench, bench.ledger
        self.over = threading.Event()
        self.changed = threading.Condition()
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.threads: list[threading.Thread] = []

    def begin(self, machine: Machine, name: str, work: Callable[[random.Random], None]) -> None:
        def guarded() -> None:
            try:
                work(self.bench.chance(name))
            except Finding as finding:
                self.findings.append(finding)
                self.over.set()
            except Exception as error:  # an error in this script must not look like a quiet client
                self.findings.append(Finding(Kind.CRASH, f"in the script itself: {error!r}"))
                self.over.set()

        self.threads.append(machine.thread(guarded))
        self.threads[-1].start()

    def count(self, what: str) -> None:
        with self.changed:
            self.counts[what] += 1
            self.changed.notify_all()

    def wait_for(self, what: str, more: int, seconds: float) -> bool:
        """Waits until `what` was counted this many more times."""
        with self.changed:
            goal = self.counts[what] + more
            self.changed.wait_for(
                lambda: self.counts[what] >= goal or self.over.is_set(), timeout=seconds
            )
            return self.counts[what] >= goal

    def total(self, what: str) -> int:
        """How often it was counted until now."""
        return self.counts[what]

    def is_over(self) -> bool:
        """Whether one of them has found something."""
        return self.over.is_set()

    def end(self) -> None:
        """Waits for the clients, and raises what they found."""
        self.over.set()
        deadline = time.monotonic() + DEADLINE + PATIENCE
        for thread in self.threads:
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                self.findings.append(Finding(Kind.REPLY, "a client hangs"))
        if self.findings:
            raise Findings(self.findings)

    def settle(self) -> list[Finding]:
        """Compares everything that is there with everything that was told."""
        raise NotImplementedError


class StandIns(Clients):
    """Stand-ins on each machine: writers, and a reader that removes some of what it sees."""

    def __init__(
        self,
        bench: Bench,
        machines: dict[Machine, list[tuple[str, int]]],
        writers: int = 6,
        proof: str | None = PROOF,
    ) -> None:
        super().__init__(bench)
        self.proof, self.machines = proof, machines
        for machine, addresses in machines.items():
            for n in range(writers):
                name = f"round {bench.round} writer {n} of {machine.name}"
                self.begin(
                    machine, name, lambda rng, m=machine, a=addresses: self.write(m, a, rng)
                )
            name = f"round {bench.round} reader of {machine.name}"
            self.begin(machine, name, lambda rng, m=machine, a=addresses: self.read(m, a, rng))

    def next_number(self) -> int:
        with self.bench.letters.lock:
            self.bench.letters.n_written += 1
            return self.bench.letters.n_written

    def write(
        self, machine: Machine, addresses: list[tuple[str, int]], rng: random.Random
    ) -> None:
        stand_in = StandIn(addresses, self.proof)
        box = machine.name
        while not self.over.is_set():
            number = self.next_number()
            self.ledger.send(number, [box])
            name = f"{number}.{rng.randbytes(8).hex()}"
            try:
                rows = stand_in.repeat(DELIVER.format(name=name, box=box, number=number))
                if rows[0][0] == "":
                    raise Refused("451 no names")
            except Refused as error:
                self.count("refused")
                for place in "", f" at {box}":
                    self.count(f"SMTP {str(error)[:3]}{place}")
                time.sleep(0.02)
                continue
            self.ledger.acknowledge(number, [box])
            self.count("acknowledged")
            self.count(f"acknowledged at {box}")
        stand_in.drop()

    def read(self, machine: Machine, addresses: list[tuple[str, int]], rng: random.Random) -> None:
        stand_in = StandIn(addresses, self.proof)
        box = machine.name
        while not self.over.is_set():
            kept = self.ledger.kept(box)
            try:
                there = self.listed(stand_in, box)
                if missing := kept - there:
                    text = f"{box} lists {len(there)}, and not {sorted(missing)[:5]}"
                    raise Finding(Kind.LOST, text, min(missing))
                self.count("visits")
                if len(there) > 20:
                    marked = [number for number in sorted(there) if rng.random() < 0.7]
                    self.ledger.leave(box, marked)
                    numbers = ",".join(map(str, marked))
                    stand_in.repeat(REMOVE.format(box=box, numbers=numbers))
                    self.ledger.remove(box, marked)
            except Refused:
                self.count("refused visits")
            time.sleep(0.05)
        stand_in.drop()

    def listed(self, stand_in: StandIn, box: str) -> set[int]:
        """What is in a box, each of it known and there once."""
        rows = stand_in.repeat(LIST.format(box=box))
        # The row of the mark has no number.
        numbers = [int(row[0]) for row in rows if row[0] is not None and row[0].isdigit()]
        with self.ledger.lock:
            fates = self.ledger.drops[box].fates
            for number in numbers:
                if number not in fates:
                    raise Finding(Kind.BACK, f"letter {number} is in {box}", number)
                if fates[number] is Fate.OPEN:
                    fates[number] = Fate.KEPT
                    self.ledger.note(number, box, "seen")
        if len(numbers) != len(set(numbers)):
            raise Finding(Kind.TWICE, f"{box} has {len(numbers)}, {len(set(numbers))} of them once")
        return set(numbers)

    def settle(self) -> list[Finding]:
        findings: list[Finding] = []
        for machine, addresses in self.machines.items():
            at(machine, lambda m=machine, a=addresses: findings.extend(self.settled(m.name, a)))
        return findings

    def settled(self, box: str, addresses: list[tuple[str, int]]) -> list[Finding]:
        stand_in = StandIn(addresses, PROOF)
        try:
            return self.ledger.settle(box, self.listed(stand_in, box))
        except Finding as finding:
            return [finding]
        except Refused as error:
            return [Finding(Kind.REPLY, f"at the end: {error}")]
        finally:
            stand_in.drop()


class AtDaemon(Load):
    """Senders and readers on the machine of their daemon. Both daemons have the same mailboxes."""

    def __init__(self, bench: Bench, daemon: Daemon, machine: Machine, readers: int) -> None:
        self.machine = machine
        super().__init__(bench, daemon, senders=6, readers=readers, is_hit=True)

    def threads(
        self, work: Callable[[random.Random], None], count: int, name: str
    ) -> list[threading.Thread]:
        made = super().threads(work, count, f"{name} at {self.machine.name}")
        return [self.machine.thread(thread.run) for thread in made]


class Facteurs(Clients):
    """Two daemons, each on its machine, and their clients."""

    def __init__(
        self, bench: Bench, daemons: dict[Machine, Daemon], without_readers: str | None
    ) -> None:
        super().__init__(bench)
        self.daemons = daemons
        self.loads = [
            AtDaemon(bench, daemon, machine, 0 if machine.name == without_readers else 2)
            for machine, daemon in daemons.items()
        ]

    def wait_for(self, what: str, more: int, seconds: float) -> bool:
        """Of all loads together, or of the one whose machine `what` ends with."""
        what, _, place = what.partition(" at ")
        loads = [load for load in self.loads if place in ("", load.machine.name)]
        share = -(-more // len(loads))
        deadline = time.monotonic() + seconds
        return all(
            load.wait_for(what, share, max(deadline - time.monotonic(), 0)) for load in loads
        )

    def is_over(self) -> bool:
        return any(load.over.is_set() for load in self.loads)

    def total(self, what: str) -> int:
        return sum(load.counts[what] for load in self.loads)

    def end(self) -> None:
        for load in self.loads:
            load.stop()
        for load in self.loads:
            try:
                load.end()
            except Findings as several:
                self.findings += several.findings
            self.counts += load.counts
        if self.findings:
            raise Findings(self.findings)

    def settle(self) -> list[Finding]:
        """Each daemon in turn shows the same, and exactly what it should. The last one removes some
        of it, so that the mailboxes do not grow from round to round."""
        found: list[Finding] = []
        for n, (machine, daemon) in enumerate(self.daemons.items(), 1):
            room = ROOM if n == len(self.daemons) else None
            at(machine, lambda d=daemon, r=room: found.extend(settled(self.ledger, d, r)))
            daemon.check_alive()
            daemon.check_log()
        return found


# How many letters stay in a mailbox after a round.
ROOM = 20


def settled(ledger: Ledger, daemon: Daemon, room: int | None) -> list[Finding]:
    findings: list[Finding] = []
    for mailbox in sorted(ledger.mailboxes()):
        try:
            with Pop3(daemon.pop3, mailbox) as pop3:
                seen = pop3.see_all(ledger, mailbox)
                findings += ledger.settle(mailbox, set(seen))
                marked = [] if room is None else sorted(seen)[: max(len(seen) - room, 0)]
                pop3.delete([seen[number] for number in marked])
                ledger.leave(mailbox, marked)
                pop3.command("QUIT")
                ledger.remove(mailbox, marked)
        except Finding as finding:
            findings.append(finding)
        except (Broken, Refused) as error:
            findings.append(Finding(Kind.REPLY, f"{mailbox} at the end: {error}"))
    return findings
