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

    control  a client that does without the proof loses mail, and in the long form also one that
             believes a standby what it says: if that is not noticed, nothing that follows proves
             anything
    kill     the leader's machine loses its power, in every other round after its network; in the
             long form again and again, about every 30 seconds
    cut      the leader is cut off together with one facteur; waits are cancelled and ended there
    mute     the leader hears the others, who do not hear it; then the other way round
    names    synchronous_standby_names are emptied for 5, 20 and 60 ms under load, and also while
             the leader is cut off with one facteur
    standby  the synchronous standby stands still, and then loses its power
    proxy    a proxy cuts connections after a statement went out
    frozen   a facteur stands still for longer than its lease: before QUIT comes, in the middle of
             it, and while a removal is on its way to the server. Meanwhile the other one takes the
             maildrops over. And a facteur dies in its sessions
    clocks   those of the servers differ by a minute or two, and are set while they run; those of
             the facteurs differ by two hours
    full     the leader's disk is full; in every other round it then also ends, because it cannot
             write its log
    readonly the leader stays the leader, but writes nothing
    diverged a former leader that committed alone comes back as a standby with the log that it has,
             and is the only one

With --stand-in, a few lines of Python do what facteur does with the database (cluster_load.py):
then the surroundings are tested, and the rules that both follow. They have no POP3 sessions, so
frozen and clocks need a facteur.

It needs Linux, root, util-linux, e2fsprogs, iproute2, Python 3, and on Debian `apt-get install
--no-install-recommends postgresql-15 patroni etcd-server etcd-client python3-etcd libfaketime`.
"""

from __future__ import annotations

import functools
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

sys.dont_write_bytecode = True  # leaves nothing in the source tree

import scenarios
from cluster_load import CREDULOUS_PROOF, Clients
from cluster_net import at
from cluster_nodes import NODES
from cluster_scene import (
    LONGEST_GAP,
    SOME,
    Disaster,
    Scene,
    fail_over,
    in_rounds,
    play_round,
    scene,
    sql_on,
)
from cluster_servers import (
    SEGMENT_MIB,
    VOLUME_OCTETS,
    diverged,
    full,
    read_only,
    with_its_own_log,
)
from cluster_sessions import HOURS, frozen, tell_the_time
from survival_bench import Bench, Unable
from survival_clients import Finding, Findings, Kind, Ledger


def kill(it: Scene, _: Clients, rng: random.Random) -> None:
    """The leader's machine loses its power under load."""
    time.sleep(rng.random())
    fail_over(it, it.cluster.leader(), with_network=it.bench.round % 2 == 0)


WAITING = "pid <> pg_backend_pid() and wait_event = 'SyncRep'"


def cut(it: Scene, _: Clients, rng: random.Random) -> None:
    """The leader and one facteur are cut off from everything else."""
    leader = it.cluster.leader()
    n_ended = 0
    with it.network.cut_off([leader, "a"]):
        for function in "pg_cancel_backend", "pg_terminate_backend":
            time.sleep(0.5 + rng.random())
            statement = f"select {function}(pid) from pg_stat_activity where {WAITING}"
            n_ended += len(sql_on(it, "a", leader, statement))
        other = it.cluster.leader(other_than=leader)
        time.sleep(3 * rng.random())
    it.bench.say(f"{leader} was cut off, {n_ended} waits were ended, {other} leads")


def mute(it: Scene, _: Clients, rng: random.Random) -> None:
    """The network carries only one direction."""
    leader = it.cluster.leader()
    others = [it.machine(name) for name in NODES if name != leader]
    pairs = [(it.machine(leader), other) for other in others]
    if it.bench.round % 2 == 0:
        pairs = [(other, one) for one, other in pairs]
    for one, other in pairs:
        one.mute(other)
    try:
        found = it.cluster.leader(other_than=leader)
        time.sleep(3 * rng.random())
    finally:
        for one, other in pairs:
            one.unmute(other)
    how = "was not heard" if it.bench.round % 2 else "heard nobody"
    it.bench.say(f"{leader} {how}, {found} leads")


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


# What notices that a rule is missing, and the scene of it.
CONTROLS: list[tuple[Disaster, dict[str, Any]]] = [
    (empty_and_cut, {"proof": None}),
    (with_its_own_log, {"proof": CREDULOUS_PROOF, "segment_mib": SEGMENT_MIB}),
]


def control(bench: Bench, rounds: int) -> None:
    """Without the proof, or with one that believes a standby what it says, the same loses mail."""
    bench.stand_in, asked = True, bench.stand_in
    try:
        for disaster, options in CONTROLS if bench.is_long else CONTROLS[:1]:
            # That of another database.
            bench.ledger = Ledger()
            with scene(bench, **options) as it:
                notice(bench, rounds, it, functools.partial(disaster, it))
    finally:
        bench.stand_in = asked


def notice(
    bench: Bench, rounds: int, it: Scene, disaster: Callable[[Clients, random.Random], None]
) -> None:
    """Plays rounds until a loss is noticed."""
    for bench.round in range(1, rounds + 1):
        found = scenarios.found_by(lambda: play_round(bench, it, disaster))
        # Removals are lost, too.
        if others := [one for one in found if one.kind not in (Kind.LOST, Kind.BACK)]:
            raise Findings(others)
        if found:
            bench.say(f"noticed as expected: {found[0]}")
            return
    raise Finding(Kind.CRASH, f"no loss was noticed in {rounds} rounds")


def standby(it: Scene, clients: Clients, rng: random.Random) -> None:
    """The synchronous standby stands still, and then is gone."""
    (name, *_) = it.cluster.synchronous()
    with it.cluster.stopped(name, "walreceiver"):
        time.sleep(1 + rng.random())
    it.machine(name).kill()
    clients.wait_for("acknowledged", SOME, LONGEST_GAP)
    it.bench.say(f"{name} stood still and lost its power")
    it.cluster.start(name)


def cut_connections(it: Scene, clients: Clients, _: random.Random) -> None:
    """Connections are cut after a statement went out."""
    before = sum(proxy.n_cut for proxy in it.all_proxies())
    for proxy in it.all_proxies():
        proxy.chance = 0.1
    clients.wait_for("acknowledged", 5 * SOME, LONGEST_GAP)
    for proxy in it.all_proxies():
        proxy.chance = 0.0
    n_cut = sum(proxy.n_cut for proxy in it.all_proxies()) - before
    if n_cut == 0:
        raise Finding(Kind.CRASH, "no connection was cut")
    it.bench.say(f"{n_cut} connections were cut")


# Each with its rounds in the short and the long form.
SCENARIOS: dict[str, scenarios.InRounds] = {
    "control": (control, 3, 3),
    "kill": (in_rounds(kill), 2, 20),
    "cut": (in_rounds(cut), 1, 6),
    "mute": (in_rounds(mute), 0, 6),
    "names": (in_rounds(empty_and_cut), 1, 10),
    "standby": (in_rounds(standby), 1, 6),
    "proxy": (in_rounds(cut_connections, with_proxy=True), 1, 10),
    "frozen": (frozen, 1, 4),
    "clocks": (in_rounds(tell_the_time, clocks=HOURS), 0, 4),
    "full": (in_rounds(full, volume_octets=VOLUME_OCTETS), 0, 4),
    "readonly": (in_rounds(read_only), 0, 2),
    "diverged": (diverged, 0, 4),
}

ROUNDS_WHEN_ASKED = 2

# Stand-ins have no sessions.
ONLY_FACTEURS = {"frozen", "clocks"}


def main() -> int:
    arguments = scenarios.parser(__doc__, SCENARIOS, ("about seven minutes", "about 90 minutes"))
    arguments.add_argument("--rounds", type=int, help="instead of the form's default")
    with_stand_in = "--stand-in" in sys.argv
    arguments.add_argument("--stand-in", action="store_true", help="no facteur at all")
    if with_stand_in:
        # There is no program then.
        sys.argv.insert(sys.argv.index("--stand-in") + 1, sys.executable)
    options = scenarios.parse(arguments, SCENARIOS)
    if os.getuid() != 0:
        arguments.error("this needs root")

    def prepared(name: str, rounds: int, bench: Bench) -> None:
        if with_stand_in and name in ONLY_FACTEURS:
            raise Unable("stand-ins have no sessions")
        bench.stand_in = with_stand_in
        SCENARIOS[name][0](bench, rounds)

    plays: dict[str, scenarios.Play] = {}
    can_be = {name: it for name, it in SCENARIOS.items() if name not in ONLY_FACTEURS}
    can_be = can_be if with_stand_in else SCENARIOS
    of_short_form = [name for name, (_, short, _) in can_be.items() if short]
    for name in options.scenario or (list(can_be) if options.long else of_short_form):
        _, short, long = SCENARIOS[name]
        rounds = options.rounds or (long if options.long else short) or ROUNDS_WHEN_ASKED
        plays[name] = (f"{rounds} rounds", functools.partial(prepared, name, rounds))
    held = "nothing that was acknowledged is lost, and nothing that was shown has vanished"
    return scenarios.finish(options, "cluster", plays, SCENARIOS, held)


if __name__ == "__main__":
    sys.exit(main())
