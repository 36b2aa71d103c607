"""Disasters of cluster.py that servers bring about: they are full or read-only, or their log is not
that of the others."""

from __future__ import annotations

import contextlib
import functools
import random
import time

from cluster_load import Clients
from cluster_net import at
from cluster_nodes import NODES
from cluster_scene import LONGEST_GAP, SOME, Scene, play_round, scene, sql_on
from cluster_wire import Failed, Lost
from survival_bench import Bench
from survival_clients import MIB, Finding, Kind

# For the data of one node.
VOLUME_OCTETS = 1024 * MIB

# How long a leader does not write.
READ_ONLY = 12.0


def until_refused(it: Scene, clients: Clients, node: str) -> None:
    """Keeps the disk of a node full until each facteur has refused mail because of it."""
    deadline = time.monotonic() + LONGEST_GAP
    waiting = {"a", "b"}
    while waiting and not clients.is_over():
        # A checkpoint may make room.
        it.cluster.volumes[node].fill()
        waiting -= {name for name in waiting if clients.wait_for(f"SMTP 452 at {name}", 1, 0.5)}
        if time.monotonic() > deadline:
            clients.end()
            raise Finding(Kind.REPLY, f"{sorted(waiting)} refused nothing, though {node} is full")


def until_it_ends(it: Scene, node: str) -> None:
    """Has the node write its log until there is no room for more, which ends a server."""
    with contextlib.suppress(Lost, Failed), it.cluster.connect(node, LONGEST_GAP) as database:
        database.ask("set synchronous_commit = local")
        for _ in range(100):
            it.cluster.volumes[node].fill()
            database.ask("select pg_logical_emit_message(false, '', 'more'), pg_switch_wal()")
    it.cluster.volumes[node].fill()


def full(it: Scene, clients: Clients, rng: random.Random) -> None:
    """The disk of the leader is full; in every other round until it cannot write its log."""
    leader = it.cluster.leader()
    try:
        until_refused(it, clients, leader)
        told = f"{leader} was full"
        if it.bench.round % 2 == 0:
            until_it_ends(it, leader)
            told += f" and ended, {it.cluster.leader(other_than=leader)} leads"
        time.sleep(3 * rng.random())
    finally:
        it.cluster.volumes[leader].empty()
    it.bench.say(told)


def read_only(it: Scene, clients: Clients, rng: random.Random) -> None:
    """The leader stays the leader, and writes nothing."""
    leader = it.cluster.leader()
    with it.cluster.connect(leader) as database:
        database.ask("alter system set default_transaction_read_only = on")
        database.ask("select pg_reload_conf()")
        time.sleep(1)
        before = clients.total("acknowledged")
        time.sleep(READ_ONLY * rng.uniform(0.5, 1))
        if (more := clients.total("acknowledged") - before) > 0:
            clients.end()
            raise Finding(Kind.LOST, f"{more} acknowledged by a server that only reads")
        database.ask("alter system reset default_transaction_read_only")
        database.ask("select pg_reload_conf()")
    it.bench.say(f"{leader} was read-only")


# Segments of the log so large that one has all that a round writes.
SEGMENT_MIB = 256

# Fills the segment of the log, but for a little.
TAIL = """
select count(pg_logical_emit_message(false, 'tail', repeat('x', 1000000)))
from generate_series(1, (({segment} - 20000000
    - pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') % {segment}) / 1000100)::int)
"""

# Standbys that count for the server, and say that they have what nobody has sent to them.
BELIEVED = """
select count(*) from pg_stat_replication
where sync_state in ('sync', 'quorum') and sent_lsn < pg_current_wal_flush_lsn()
    and flush_lsn >= pg_current_wal_flush_lsn()
"""


def commit_alone(it: Scene, leader: str) -> None:
    """The leader that is cut off with facteur a commits what no standby has, until Patroni ends
    it."""

    def work() -> None:
        with contextlib.suppress(Lost, Failed), it.cluster.connect(leader, 20) as database:
            database.ask("alter system set synchronous_standby_names = ''")
            database.ask("select pg_reload_conf()")
            database.ask(TAIL.format(segment=SEGMENT_MIB * MIB))

    at(it.machine("a"), work)


def follow_by_hand(it: Scene, node: str, leader: str) -> None:
    """Starts a former leader as a standby, with the log that it has."""
    data, address = it.cluster.data(node), it.machine(leader).address
    # What was changed while it was cut off.
    (data / "postgresql.auto.conf").write_text("")
    (data / "standby.signal").touch()
    follows = f"host={address} user=replicator application_name={node}"
    settings = [f"primary_conninfo={follows}", "primary_slot_name=", "hot_standby=on"]
    settings += [f"listen_addresses={it.machine(node).address}"]
    settings += ["wal_retrieve_retry_interval=100ms"]
    it.cluster.start(node, *[word for setting in settings for word in ("-c", setting)])


def believed(it: Scene, leader: str, seconds: float) -> int:
    """How often a standby counted that should not, while this was looked at."""
    count, deadline = 0, time.monotonic() + seconds
    with it.cluster.connect(leader) as database:
        while time.monotonic() < deadline:
            count += database.ask(BELIEVED) != [["0"]]
            time.sleep(0.001)
    return count


def with_its_own_log(it: Scene, clients: Clients, rng: random.Random) -> None:
    """A former leader that has committed alone follows the next one as it is, and is its only
    standby. What it says that it has is another log."""
    old = it.cluster.leader()
    with it.cluster.connect(old) as database:
        database.ask("select pg_switch_wal()")
    clients.wait_for("acknowledged", SOME, LONGEST_GAP)
    with it.network.cut_off([old, "a"]):
        commit_alone(it, old)
        leader = it.cluster.leader(other_than=old)
        it.machine(old).kill()
    (other,) = set(NODES) - {old, leader}
    follow_by_hand(it, old, leader)
    it.cluster.await_that("server", lambda: sql_on(it, "b", old, "select") or None)
    # Two of three machines must be able to agree.
    time.sleep(3)
    it.machine(other).kill()
    of_other = f"select count(*) from pg_stat_replication where application_name = '{other}'"
    gone = [["0"]]
    it.cluster.await_that("end", lambda: sql_on(it, "b", leader, of_other) == gone or None)
    # What it was sent before may still be acknowledged.
    believed(it, leader, 2)
    before = clients.total("acknowledged")
    count = believed(it, leader, 15 + 5 * rng.random())
    more = clients.total("acknowledged") - before
    it.machine(old).kill()
    # Patroni is to find it as the leader that it was.
    (it.cluster.data(old) / "standby.signal").unlink(missing_ok=True)
    it.cluster.start(other)
    it.cluster.start(old)
    it.bench.say(f"{old} followed {leader} with its own log, {count} times with success")
    if more > 0:
        clients.end()
        raise Finding(Kind.LOST, f"{more} acknowledged that only {leader} has")
    it.n_believed += count


def diverged(bench: Bench, rounds: int) -> None:
    """A former leader comes back with a log of its own."""
    with scene(bench, segment_mib=SEGMENT_MIB) as it:
        for bench.round in range(1, rounds + 1):
            play_round(bench, it, functools.partial(with_its_own_log, it))
        # On a slow machine, the new log may be longer than the old one by then.
        if it.n_believed == 0:
            raise Finding(Kind.CRASH, "no leader ever counted a former one: nothing was tested")
