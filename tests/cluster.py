#!/usr/bin/env python3
"""The proof that several facteurs lose nothing when the database under them fails over.

    cargo build --release --features postgres
    python3 tests/cluster.py --short target/release/facteur
    python3 tests/cluster.py --long target/release/facteur kill --rounds 20 --seed 7
    python3 tests/cluster.py --short --stand-in

Three machines have PostgreSQL with Patroni and etcd, two more have a facteur each, and clients send
and fetch mail at both and keep a ledger of every reply that they read, as in survival.py. The
machines are network namespaces, so they can be killed and cut off. At the end of each round, what
the mailboxes show is compared with the ledger.

    control  a client that does without the proof loses mail: if that is not noticed, nothing that
             follows proves anything
    kill     the leader's machine loses its power, in every other round after its network
    cut      the leader is cut off together with one facteur; waits are cancelled and ended there
    mute     the leader hears the others, who do not hear it; then the other way round
    names    synchronous_standby_names are emptied for 5, 20 and 60 ms under load, and also while
             the leader is cut off with one facteur
    standby  the synchronous standby stands still, and then loses its power
    proxy    a proxy cuts connections after a statement went out

With --stand-in, a few lines of Python do what facteur does with the database (cluster_load.py):
then the surroundings are tested, and the rules that both follow.

It needs Linux, root, util-linux, iproute2, Python 3, and on Debian `apt-get install
--no-install-recommends postgresql-15 patroni etcd-server etcd-client python3-etcd`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import sys
import time
from collections.abc import Callable, Iterator

sys.dont_write_bytecode = True  # leaves nothing in the source tree

import scenarios
from cluster_load import SCHEMA, Clients, Facteurs, StandIns
from cluster_net import Machine, Network, at
from cluster_nodes import NODES, Cluster
from cluster_wire import Failed, Lost, Proxy
from survival_bench import Bench
from survival_clients import Finding, Findings, Kind

# How long clients may get nothing done, in seconds: a failover, the deadline of a delivery that
# hangs when it begins, and a slow machine.
LONGEST_GAP = 120.0

# How much is done before and after each disaster.
SOME = 100

FACTEURS = ["a", "b"]


class Scene:
    """The cluster, both facteurs or their stand-ins, and this script's own place beside them."""

    def __init__(self, bench: Bench, has_proof: bool = True, with_proxy: bool = False) -> None:
        self.bench, self.has_proof, self.with_proxy = bench, has_proof, with_proxy
        self.proxies: list[Proxy] = []
        self.network = Network([*NODES, *FACTEURS, "observer"])
        try:
            self.network.machines["observer"].enter()
            self.cluster = Cluster(self.network, bench.directory)
            self.cluster.start_all()
            if bench.stand_in:
                with self.cluster.connect(self.cluster.leader()) as database:
                    database.ask(SCHEMA)
            self.addresses = {self.machine(name): self.reached(name) for name in FACTEURS}
            self.daemons = {} if bench.stand_in else self.start_daemons()
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
        self.proxies += proxies
        return [("127.0.0.1", proxy.port) for proxy in proxies]

    def start_daemons(self) -> dict[Machine, object]:
        daemons = {}
        for machine, addresses in self.addresses.items():
            hosts = ",".join(host for host, _ in addresses)
            ports = ",".join(str(port) for _, port in addresses)
            text = f"host={hosts} port={ports} dbname=postgres user=postgres sslmode=disable"
            self.bench.configure(f'store.postgres = "{text}"')
            mail = self.bench.directory / f"mail-{machine.name}"
            daemons[machine] = self.bench.start(mail, machine.inside)
        return daemons

    def clients(self) -> Clients:
        if self.bench.stand_in:
            return StandIns(self.bench, self.addresses, has_proof=self.has_proof)
        return Facteurs(self.bench, self.daemons)

    def close(self) -> None:
        for proxy in self.proxies:
            proxy.close()
        self.network.close()


@contextlib.contextmanager
def scene(bench: Bench, **options: bool) -> Iterator[Scene]:
    it = Scene(bench, **options)
    try:
        yield it
    finally:
        it.close()


def play_round(
    bench: Bench, it: Scene, disaster: Callable[[Clients, random.Random], None]
) -> None:
    """Load, a disaster, more load, and the comparison."""
    rng = bench.chance(f"round {bench.round}")
    clients = it.clients()
    begin = time.monotonic()
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
    clients.end()
    if findings := clients.settle():
        raise Findings(findings)
    counts, seconds = clients.counts, time.monotonic() - begin
    if it.cluster.n_renewed:
        bench.say(f"{it.cluster.n_renewed} nodes had to begin anew")
        it.cluster.n_renewed = 0
    bench.say(
        f"{counts['acknowledged']} acknowledged, {counts['visits']} visits, {counts['refused']} "
        f"refused, all well {gap:.0f} s after it, {seconds:.0f} s in all"
    )


def fail_over(it: Scene, leader: str, with_network: bool) -> None:
    """The leader's machine loses its power, and is back when there is another leader."""
    if with_network:
        it.network.cut([leader])
    it.machine(leader).kill()
    it.network.heal()
    other = it.cluster.leader(other_than=leader)
    it.bench.say(f"{leader} lost its power, {other} leads")
    it.cluster.start(leader)


def kill(bench: Bench, rounds: int) -> None:
    """The leader's machine loses its power under load."""
    with scene(bench) as it:
        for bench.round in range(1, rounds + 1):

            def disaster(_: Clients, rng: random.Random) -> None:
                time.sleep(rng.random())
                fail_over(it, it.cluster.leader(), with_network=bench.round % 2 == 0)

            play_round(bench, it, disaster)


def sql_on(it: Scene, machine: str, node: str, statement: str) -> list[list[str | None]]:
    """Asks a node from a machine that reaches it."""
    rows: list[list[str | None]] = []

    def ask() -> None:
        with contextlib.suppress(Lost, Failed), it.cluster.connect(node) as database:
            rows.extend(database.ask(statement))

    at(it.machine(machine), ask)
    return rows


WAITING = "pid <> pg_backend_pid() and wait_event = 'SyncRep'"


def cut(bench: Bench, rounds: int) -> None:
    """The leader and one facteur are cut off from everything else."""
    with scene(bench) as it:
        for bench.round in range(1, rounds + 1):

            def disaster(_: Clients, rng: random.Random) -> None:
                leader = it.cluster.leader()
                n_ended = 0
                with it.network.cut_off([leader, "a"]):
                    for function in "pg_cancel_backend", "pg_terminate_backend":
                        time.sleep(0.5 + rng.random())
                        statement = f"select {function}(pid) from pg_stat_activity where {WAITING}"
                        n_ended += len(sql_on(it, "a", leader, statement))
                    other = it.cluster.leader(other_than=leader)
                    time.sleep(3 * rng.random())
                bench.say(f"{leader} was cut off, {n_ended} waits were ended, {other} leads")

            play_round(bench, it, disaster)


def mute(bench: Bench, rounds: int) -> None:
    """The network carries only one direction."""
    with scene(bench) as it:
        for bench.round in range(1, rounds + 1):

            def disaster(_: Clients, rng: random.Random) -> None:
                leader = it.cluster.leader()
                others = [it.machine(name) for name in NODES if name != leader]
                pairs = [(it.machine(leader), other) for other in others]
                if bench.round % 2 == 0:
                    pairs = [(other, one) for one, other in pairs]
                for one, other in pairs:
                    one.mute(other)
                try:
                    found = it.cluster.leader(other_than=leader)
                    time.sleep(3 * rng.random())
                finally:
                    for one, other in pairs:
                        one.unmute(other)
                how = "was not heard" if bench.round % 2 else "heard nobody"
                bench.say(f"{leader} {how}, {found} leads")

            play_round(bench, it, disaster)


EMPTY = "alter system set synchronous_standby_names = ''", "select pg_reload_conf()"
REFILL = "alter system reset synchronous_standby_names", "select pg_reload_conf()"


def empty_for(it: Scene, machine: str, node: str, pauses: list[float]) -> None:
    """The names are empty for these times. Patroni does not look at this."""

    def change() -> None:
        with it.cluster.connect(node) as database:
            for pause in pauses:
                for statement in EMPTY:
                    database.ask(statement)
                time.sleep(pause)
                for statement in REFILL:
                    database.ask(statement)
                time.sleep(0.05)

    at(it.machine(machine), change)


def empty_and_cut(it: Scene, _: Clients, rng: random.Random) -> None:
    """What is committed while the leader is cut off vanishes, also if the names let it pass."""
    leader = it.cluster.leader()
    empty_for(it, "observer", leader, [0.005, 0.02, 0.06] * 5)
    with it.network.cut_off([leader, "a"]):
        time.sleep(0.3)
        empty_for(it, "a", leader, [0.005, 0.02, 0.06, 0.3])
        other = it.cluster.leader(other_than=leader)
        time.sleep(3 * rng.random())
    it.bench.say(f"{leader} had no names and was cut off, {other} leads")


def names(bench: Bench, rounds: int) -> None:
    """The names are emptied under load."""
    with scene(bench) as it:
        for bench.round in range(1, rounds + 1):
            play_round(bench, it, functools.partial(empty_and_cut, it))


def control(bench: Bench, rounds: int) -> None:
    """Without the proof, the same loses mail."""
    bench.stand_in, asked = True, bench.stand_in
    try:
        with scene(bench, has_proof=False) as it:
            for bench.round in range(1, rounds + 1):
                try:
                    play_round(bench, it, functools.partial(empty_and_cut, it))
                except Findings as several:
                    # Removals are lost, too.
                    if any(one.kind not in (Kind.LOST, Kind.BACK) for one in several.findings):
                        raise
                    bench.say(f"noticed as expected: {several.findings[0]}")
                    return
    finally:
        bench.stand_in = asked
    raise Finding(Kind.CRASH, f"no loss was noticed in {rounds} rounds without the proof")


def standby(bench: Bench, rounds: int) -> None:
    """The synchronous standby stands still, and then is gone."""
    with scene(bench) as it:
        for bench.round in range(1, rounds + 1):

            def disaster(clients: Clients, rng: random.Random) -> None:
                (name, *_) = it.cluster.synchronous()
                with it.cluster.stopped(name, "walreceiver"):
                    time.sleep(1 + rng.random())
                it.machine(name).kill()
                clients.wait_for("acknowledged", SOME, LONGEST_GAP)
                bench.say(f"{name} stood still and lost its power")
                it.cluster.start(name)

            play_round(bench, it, disaster)


def proxy(bench: Bench, rounds: int) -> None:
    """Connections are cut after a statement went out."""
    with scene(bench, with_proxy=True) as it:
        for bench.round in range(1, rounds + 1):

            def disaster(clients: Clients, _: random.Random) -> None:
                before = sum(proxy.n_cut for proxy in it.proxies)
                for proxy in it.proxies:
                    proxy.chance = 0.1
                clients.wait_for("acknowledged", 5 * SOME, LONGEST_GAP)
                for proxy in it.proxies:
                    proxy.chance = 0.0
                n_cut = sum(proxy.n_cut for proxy in it.proxies) - before
                if n_cut == 0:
                    raise Finding(Kind.CRASH, "no connection was cut")
                bench.say(f"{n_cut} connections were cut")

            play_round(bench, it, disaster)


# Each with its rounds in the short and the long form.
SCENARIOS: dict[str, scenarios.InRounds] = {
    "control": (control, 3, 3),
    "kill": (kill, 2, 20),
    "cut": (cut, 1, 6),
    "mute": (mute, 0, 6),
    "names": (names, 1, 10),
    "standby": (standby, 1, 6),
    "proxy": (proxy, 1, 10),
}

ROUNDS_WHEN_ASKED = 2


def main() -> int:
    arguments = scenarios.parser(__doc__, SCENARIOS, ("about five minutes", "about 40 minutes"))
    arguments.add_argument("--rounds", type=int, help="instead of the form's default")
    with_stand_in = "--stand-in" in sys.argv
    arguments.add_argument("--stand-in", action="store_true", help="no facteur at all")
    if with_stand_in:
        # There is no program then.
        sys.argv.insert(sys.argv.index("--stand-in") + 1, sys.executable)
    options = scenarios.parse(arguments, SCENARIOS)
    if os.getuid() != 0:
        arguments.error("this needs root")

    def prepared(work: Callable[[Bench, int], None], rounds: int, bench: Bench) -> None:
        bench.stand_in = with_stand_in
        work(bench, rounds)

    plays: dict[str, scenarios.Play] = {}
    of_short_form = [name for name, (_, short, _) in SCENARIOS.items() if short]
    for name in options.scenario or (list(SCENARIOS) if options.long else of_short_form):
        work, short, long = SCENARIOS[name]
        rounds = options.rounds or (long if options.long else short) or ROUNDS_WHEN_ASKED
        plays[name] = (f"{rounds} rounds", functools.partial(prepared, work, rounds))
    held = "nothing that was acknowledged is lost, and nothing that was shown has vanished"
    return scenarios.finish(options, "cluster", plays, SCENARIOS, held)


if __name__ == "__main__":
    sys.exit(main())
