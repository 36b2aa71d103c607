"""A scene of cluster.py: the cluster with its clients, and how a round is played."""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from cluster_load import PROOF, SCHEMA, Clients, Facteurs, StandIns
from cluster_net import Machine, Network, at
from cluster_nodes import NODES, Cluster, faketime
from cluster_wire import Failed, Lost, Proxy
from survival_bench import Bench, Daemon
from survival_clients import Finding, Findings, Kind

# How long clients may get nothing done, in seconds: a failover, the deadline of a delivery that
# hangs when it begins, and a slow machine.
LONGEST_GAP = 120.0

# How much is done before and after each disaster.
SOME = 100

FACTEURS = ["a", "b"]


class Scene:
    """The cluster, both facteurs or their stand-ins, and this script's own place beside them."""

    def __init__(
        self,
        bench: Bench,
        proof: str | None = PROOF,
        with_proxy: bool = False,
        clocks: dict[str, int] | None = None,
        without_readers: str | None = None,
        **of_cluster: int,
    ) -> None:
        self.bench, self.proof, self.with_proxy = bench, proof, with_proxy
        self.without_readers = without_readers
        # How often a server believed a standby that says that it has what it was not sent.
        self.n_believed = 0
        # How many seconds the clocks of the facteurs are fast.
        self.clocks = clocks or {}
        self.proxies: dict[str, list[Proxy]] = {}
        self.network = Network([*NODES, *FACTEURS, "observer"])
        try:
            self.network.machines["observer"].enter()
            with_clocks = bool(self.clocks)
            self.cluster = Cluster(self.network, bench, with_clocks=with_clocks, **of_cluster)
            self.cluster.start_all()
            if bench.stand_in:
                with self.cluster.connect(self.cluster.leader()) as database:
                    database.ask(SCHEMA)
            self.addresses = {self.machine(name): self.reached(name) for name in FACTEURS}
            self.daemons: dict[Machine, Daemon] = {}
            for machine in [] if bench.stand_in else self.addresses:
                self.start_daemon(machine)
        except BaseException:
            self.close()
            raise

    def machine(self, name: str) -> Machine:
        return self.network.machines[name]

    def reached(self, name: str) -> list[tuple[str, int]]:
        """Where this machine finds the servers."""
        addresses = [(self.machine(node).address, 5432) for node in NODES]
        if not self.with_proxy:
            return addresses
        machine = self.machine(name)
        proxies: list[Proxy] = []
        for address in addresses:
            rng = self.bench.chance(f"proxy of {name} for {address[0]}")
            at(machine, lambda a=address, r=rng: proxies.append(Proxy(a, r)))
            proxies[-1].thread = machine.thread
            machine.thread(proxies[-1].serve).start()
        self.proxies[name] = proxies
        return [("127.0.0.1", proxy.port) for proxy in proxies]

    def start_daemon(self, machine: Machine) -> None:
        """Starts the facteur of this machine, also one that was killed."""
        addresses = self.addresses[machine]
        hosts = ",".join(host for host, _ in addresses)
        ports = ",".join(str(port) for _, port in addresses)
        text = f"host={hosts} port={ports} dbname=postgres user=postgres sslmode=disable"
        self.bench.configure(f'store.postgres = "{text}"')
        prefix = machine.inside
        if seconds := self.clocks.get(machine.name):
            clock = (f"LD_PRELOAD={faketime()}", f"FAKETIME={seconds:+}")
            prefix += ("env", *clock, "FAKETIME_DONT_FAKE_MONOTONIC=1")
        mail = self.bench.directory / f"mail-{machine.name}"
        self.daemons[machine] = self.bench.start(mail, prefix)

    def all_proxies(self) -> list[Proxy]:
        return [proxy for proxies in self.proxies.values() for proxy in proxies]

    def clients(self) -> Clients:
        if self.bench.stand_in:
            return StandIns(self.bench, self.addresses, proof=self.proof)
        return Facteurs(self.bench, self.daemons, self.without_readers)

    def close(self) -> None:
        for proxy in self.all_proxies():
            proxy.close()
        self.network.close()


@contextlib.contextmanager
def scene(bench: Bench, **options: Any) -> Iterator[Scene]:
    it = Scene(bench, **options)
    try:
        yield it
    finally:
        it.close()


class Pauses:
    """Measures for how long nothing was acknowledged to any client."""

    def __init__(self, clients: Clients) -> None:
        self.clients, self.longest = clients, 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        last, since = 0, time.monotonic()
        while not self.over.wait(0.05):
            count, now = self.clients.total("acknowledged"), time.monotonic()
            self.longest = max(self.longest, now - since)
            if count != last:
                last, since = count, now

    def end(self) -> None:
        self.over.set()
        self.thread.join()


def play_round(
    bench: Bench, it: Scene, disaster: Callable[[Clients, random.Random], None]
) -> None:
    """Load, a disaster, more load, and the comparison."""
    rng = bench.chance(f"round {bench.round}")
    clients = it.clients()
    begin = time.monotonic()
    pauses = Pauses(clients)
    try:
        if not clients.wait_for("acknowledged", SOME, LONGEST_GAP):
            clients.end()
            raise Finding(Kind.REPLY, f"not {SOME} letters in {LONGEST_GAP:.0f} s")
        disaster(clients, rng)
        hit = time.monotonic()
        it.cluster.await_all()
        for name in FACTEURS:
            if not clients.wait_for(f"acknowledged at {name}", SOME // 2, LONGEST_GAP):
                clients.end()
                raise Finding(Kind.REPLY, f"{name} does not go on after {LONGEST_GAP:.0f} s")
        gap = time.monotonic() - hit
    finally:
        clients.over.set()
        pauses.end()
    clients.end()
    if findings := clients.settle():
        raise Findings(findings)
    counts, seconds = clients.counts, time.monotonic() - begin
    if it.cluster.n_renewed:
        bench.say(f"{it.cluster.n_renewed} times something had to begin anew")
        it.cluster.n_renewed = 0
    bench.say(
        f"{counts['acknowledged']} acknowledged, {counts['visits']} visits, "
        f"{counts['refused'] + counts['SMTP refused']} refused, nothing acknowledged for "
        f"{pauses.longest:.0f} s, all well {gap:.0f} s after it, {seconds:.0f} s in all"
    )


Disaster = Callable[[Scene, Clients, random.Random], None]


def in_rounds(disaster: Disaster, **options: Any) -> Callable[[Bench, int], None]:
    """A scenario: so many rounds with this disaster, in a scene with these options."""

    def play(bench: Bench, rounds: int) -> None:
        with scene(bench, **options) as it:
            for bench.round in range(1, rounds + 1):
                play_round(bench, it, functools.partial(disaster, it))

    return play


def fail_over(it: Scene, leader: str, with_network: bool) -> None:
    """The leader's machine loses its power, and is back when there is another leader."""
    if with_network:
        it.network.cut([leader])
    it.machine(leader).kill()
    it.network.heal()
    other = it.cluster.leader(other_than=leader)
    it.bench.say(f"{leader} lost its power, {other} leads")
    it.cluster.start(leader)


def sql_on(it: Scene, machine: str, node: str, statement: str) -> list[list[str | None]]:
    """Asks a node from a machine that reaches it."""
    rows: list[list[str | None]] = []

    def ask() -> None:
        with contextlib.suppress(Lost, Failed), it.cluster.connect(node) as database:
            rows.extend(database.ask(statement))

    at(it.machine(machine), ask)
    return rows
