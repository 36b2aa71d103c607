"""The database of cluster.py: PostgreSQL with Patroni and etcd on three machines."""

from __future__ import annotations

import base64
import contextlib
import errno
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from cluster_net import NETWORK, Machine, Network
from cluster_wire import Database, Failed, Lost
from survival_bench import Bench, Unable, run
from survival_clients import KIB, MIB, Finding, Kind

# How long the cluster may take for anything, in seconds: to start, to find another leader.
LONGEST = 120.0

NODES = ["n1", "n2", "n3"]

Found = TypeVar("Found")

# Both programs are the machine's; if one of them ends, the log says so, and the other goes on. With
# further arguments, the second is PostgreSQL itself, as somebody starts it by hand.
SCRIPT = """
as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups --reset-env"
path=$1 binaries=$2
shift 2
$as_postgres etcd --config-file "$path/etcd.yml" > "$path/etcd.log" 2>&1 &
if [ $# = 0 ]; then
    set -- env PATH="$binaries:/usr/bin:/bin" patroni "$path/patroni.yml"
else
    set -- "$binaries/postgres" "$@"
fi
$as_postgres "$@" > "$path/patroni.log" 2>&1 &
wait
"""

# Instead of PostgreSQL: its clock differs from that of the machine by what a file says. It begins
# to differ a moment after the start, because Patroni compares what the server says of its start
# with what the kernel says.
WITH_CLOCK = """#!/bin/sh
export LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={path}/clock FAKETIME_CACHE_DURATION=1
export FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 FAKETIME_START_AFTER_SECONDS=3
exec {binaries}/postgres "$@"
"""


def binaries() -> Path:
    """Where the newest PostgreSQL of Debian is."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda it: int(it.parts[4])
    )
    if not found:
        raise Unable("postgresql is not installed")
    return found[-1].parent


def faketime() -> Path:
    """The library that gives a program another clock."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise Unable("libfaketime is not installed")
    return found[0]


def is_there(member: dict[str, object], timeline: object) -> bool:
    """Whether a node runs, in the history of the leader."""
    return member.get("state") in ("running", "streaming") and member.get("timeline") == timeline


class Volume:
    """A file system of a fixed size for the files of one node, which can be filled."""

    def __init__(self, image: Path, mount_point: Path, octets: int) -> None:
        self.mount_point = mount_point
        with image.open("wb") as file:
            file.truncate(octets)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        mount_point.mkdir()
        run("mount", "-o", "loop", image, mount_point)

    def fill(self) -> None:
        """Takes all room that is left."""
        with (self.mount_point / "ballast").open("ab") as file:
            octets = MIB << 10
            while octets >= 4 * KIB:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), octets)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    octets //= 2

    def empty(self) -> None:
        (self.mount_point / "ballast").unlink(missing_ok=True)

    def release(self) -> None:
        """Also if a process of its machine is about to die."""
        run("umount", "--lazy", self.mount_point)


class Cluster:
    """Three nodes, one of which is the leader. The node behind it is its synchronous standby."""

    def __init__(
        self,
        network: Network,
        bench: Bench,
        volume_octets: int = 0,
        segment_mib: int = 16,
        with_clocks: bool = False,
    ) -> None:
        for program in "etcd", "patroni", "setpriv", "unshare", "nsenter", "ip":
            if shutil.which(program) is None:
                raise Unable(f"{program} is not installed")
        try:
            self.user = pwd.getpwnam("postgres")
        except KeyError:
            raise Unable("there is no user postgres") from None
        self.network, self.bench, self.binaries = network, bench, binaries()
        directory = self.directory = bench.directory
        self.segment_mib, self.volume_octets = segment_mib, volume_octets
        self.with_clocks = with_clocks
        self.volumes: dict[str, Volume] = {}
        # How many nodes had to begin anew.
        self.n_renewed = 0
        # The user postgres must get to its files.
        for above in [directory, *directory.parents]:
            if above.owner() == pwd.getpwuid(os.getuid()).pw_name and above != Path("/"):
                above.chmod(above.stat().st_mode | 0o011)
        for name in NODES:
            self.configure(name)

    def machine(self, name: str) -> Machine:
        return self.network.machines[name]

    def path(self, name: str) -> Path:
        return self.directory / name

    def data(self, name: str) -> Path:
        return self.path(name) / "disk/data"

    def programs(self, name: str) -> Path:
        """Where the programs of PostgreSQL are for this node."""
        if not self.with_clocks:
            return self.binaries
        path = self.path(name)
        (path / "bin").mkdir()
        for program in self.binaries.iterdir():
            (path / "bin" / program.name).symlink_to(program)
        (path / "bin/postgres").unlink()
        text = WITH_CLOCK.format(library=faketime(), path=path, binaries=self.binaries)
        (path / "bin/postgres").write_text(text)
        (path / "bin/postgres").chmod(0o755)
        self.set_clock(name, 0)
        return path / "bin"

    def set_clock(self, name: str, seconds: int) -> None:
        """From the next second on, PostgreSQL of this node believes that it is so much later."""
        new = self.path(name) / "clock.new"
        new.write_text(f"{seconds:+}\n")
        new.rename(new.with_name("clock"))

    def configure(self, name: str) -> None:
        path, address = self.path(name), self.machine(name).address
        # That of a scene before this one.
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        if self.volume_octets:
            volume = Volume(path / "disk.img", path / "disk", self.volume_octets)
            self.volumes[name] = volume
            self.bench.disks.append(volume)
        else:
            (path / "disk").mkdir()
        addresses = {node: self.machine(node).address for node in NODES}
        peers = ",".join(f"{node}=http://{it}:2380" for node, it in addresses.items())
        etcd = {
            "name": name,
            "data-dir": f"{path}/etcd",
            "heartbeat-interval": 100,
            "election-timeout": 1000,
            "listen-client-urls": f"http://{address}:2379",
            "advertise-client-urls": f"http://{address}:2379",
            "listen-peer-urls": f"http://{address}:2380",
            "initial-advertise-peer-urls": f"http://{address}:2380",
            "initial-cluster": peers,
            "initial-cluster-state": "new",
            # Patroni speaks to it. Without a file of options it is on by itself.
            "enable-grpc-gateway": True,
        }
        patroni = {
            "scope": "facteur",
            "name": name,
            "restapi": {"listen": f"{address}:8008", "connect_address": f"{address}:8008"},
            "etcd3": {"hosts": [f"{it}:2379" for it in addresses.values()]},
            "bootstrap": {
                "dcs": {
                    # A shorter retry_timeout has left the cluster without a leader for minutes.
                    "ttl": 10,
                    "loop_wait": 1,
                    "retry_timeout": 4,
                    "synchronous_mode": True,
                    "synchronous_mode_strict": True,
                    "primary_start_timeout": 0,
                    "postgresql": {"use_pg_rewind": True, "use_slots": True},
                },
                "initdb": [
                    {"encoding": "UTF8"},
                    {"wal-segsize": str(self.segment_mib)},
                    "data-checksums",
                ],
            },
            "postgresql": {
                "listen": f"{address}:5432",
                "connect_address": f"{address}:5432",
                "data_dir": str(self.data(name)),
                "bin_dir": str(self.programs(name)),
                # Otherwise such a node stays with its own history, and may even be counted as a
                # synchronous standby for moments.
                "remove_data_directory_on_diverged_timelines": True,
                "remove_data_directory_on_rewind_failure": True,
                # A copy would wait for minutes otherwise.
                "basebackup": [{"checkpoint": "fast"}],
                "pgpass": f"{path}/pgpass",
                "authentication": {
                    "superuser": {"username": "postgres", "password": "x"},
                    "replication": {"username": "replicator", "password": "x"},
                },
                "pg_hba": [
                    "local all all trust",
                    f"host all all {NETWORK}.0/24 trust",
                    f"host replication all {NETWORK}.0/24 trust",
                ],
                "parameters": {
                    "unix_socket_directories": str(path),
                    "max_connections": 100,
                    "shared_buffers": "64MB",
                    "wal_keep_size": "256MB",
                    "wal_log_hints": "on",
                    # Large segments would take long.
                    "wal_init_zero": "on" if self.segment_mib == 16 else "off",
                },
            },
            "watchdog": {"mode": "off"},
        }
        # YAML includes JSON.
        (path / "etcd.yml").write_text(json.dumps(etcd))
        (path / "patroni.yml").write_text(json.dumps(patroni))
        for file in [path, path / "disk", path / "etcd.yml", path / "patroni.yml"]:
            os.chown(file, self.user.pw_uid, self.user.pw_gid)

    def start(self, name: str, *by_hand: str) -> None:
        """Starts a node, also one that was killed. With arguments, PostgreSQL is started with them,
        and Patroni is not."""
        path = self.path(name)
        if (path / "etcd").exists():
            text = (path / "etcd.yml").read_text()
            (path / "etcd.yml").write_text(text.replace('"new"', '"existing"'))
        # A machine forgets its processes' numbers with its power.
        for file in self.data(name) / "postmaster.pid", path / ".s.PGSQL.5432.lock":
            file.unlink(missing_ok=True)
        arguments = [str(path), str(self.binaries)]
        if by_hand:
            arguments += ["-D", str(self.data(name)), *by_hand]
        self.machine(name).start(SCRIPT, path / "machine.log", *arguments)

    def start_all(self) -> None:
        for name in NODES:
            self.start(name)
        self.await_all()

    def seen_by(self, name: str) -> dict[str, dict[str, object]]:
        """What a node says of all of them. One that cannot reach the others says what it knew
        last."""
        connection = http.client.HTTPConnection(self.machine(name).address, 8008, timeout=2)
        try:
            connection.request("GET", "/cluster")
            members = json.load(connection.getresponse())["members"]
            return {member["name"]: member for member in members}
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            return {}
        finally:
            connection.close()

    def members(self, but: str | None = None) -> dict[str, dict[str, object]]:
        """What the first node but this one that can be reached from here says."""
        return next((seen for name in NODES if name != but and (seen := self.seen_by(name))), {})

    def leader(self, other_than: str | None = None) -> str:
        """The leader, once there is one, other than this node, that takes connections."""

        def found() -> str | None:
            for name, member in self.members(other_than).items():
                if member["role"] == "leader" and name != other_than:
                    with contextlib.suppress(Lost), self.connect(name) as database:
                        if database.ask("select pg_is_in_recovery()") == [["f"]]:
                            return name
            return None

        return self.await_that("a leader", found)

    def synchronous(self) -> list[str]:
        members = self.members().items()
        return [name for name, member in members if member["role"] == "sync_standby"]

    def missing(self) -> list[str]:
        """The nodes that are not there yet, or the role that nobody has. Nobody has the role of
        the synchronous standby unless all say so: if the leader has just named it, it cannot
        take over yet."""
        seen = {name: self.seen_by(name) for name in NODES}
        members = next(filter(None, seen.values()), {})
        roles = {member["role"]: name for name, member in members.items()}
        if "leader" not in roles:
            return ["leader"]
        timeline = members[roles["leader"]].get("timeline")
        missing = [name for name in NODES if not is_there(members.get(name, {}), timeline)]
        standby = roles.get("sync_standby")
        agree = all(it.get(standby, {}).get("role") == "sync_standby" for it in seen.values())
        if missing or (agree and self.standbys(roles["leader"]) == [standby]):
            return missing
        return ["sync_standby"]

    def standbys(self, leader: str) -> list[str | None]:
        """Those that the leader waits for."""
        with contextlib.suppress(Lost, Failed), self.connect(leader, 2) as database:
            statement = "application_name from pg_stat_replication where sync_state = 'sync'"
            return [row[0] for row in database.ask(f"select {statement}")]
        return []

    def await_all(self) -> None:
        """Waits until all nodes are there, and one is a synchronous standby. What Patroni cannot
        bring back begins anew, as its operator would do it."""
        renewed: set[str] = set()
        while missing := self.missing_after(LONGEST if renewed else LONGEST / 3):
            if not set(missing) - renewed:
                raise Finding(Kind.CRASH, f"still missing: {missing}: {self.members()}")
            renewed |= set(missing)
            self.n_renewed += 1
            for name in set(missing) & set(NODES):
                self.machine(name).kill()
                shutil.rmtree(self.data(name), ignore_errors=True)
                self.start(name)
            if not set(missing) & set(NODES):
                self.forget_synchronous()

    def missing_after(self, seconds: float) -> list[str]:
        """What is still missing then."""
        deadline = time.monotonic() + seconds
        while (missing := self.missing()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return missing

    def forget_synchronous(self) -> None:
        """Removes the key that names the synchronous standby. A leader that comes back makes it
        its own in versions of Patroni before 3.0.3, although another leads, and those before 3.1
        do not notice."""
        key = base64.b64encode(b"/service/facteur/sync").decode()
        for name in NODES:
            connection = http.client.HTTPConnection(self.machine(name).address, 2379, timeout=2)
            try:
                connection.request("POST", "/v3/kv/deleterange", json.dumps({"key": key}))
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()

    def await_that(self, what: str, found: Callable[[], Found | None]) -> Found:
        deadline = time.monotonic() + LONGEST
        while (it := found()) is None:
            if time.monotonic() > deadline:
                raise Finding(Kind.CRASH, f"no {what} after {LONGEST:.0f} s: {self.members()}")
            time.sleep(0.2)
        return it

    def connect(self, name: str, seconds: float = 10.0) -> Database:
        """As the user postgres, from where this thread is."""
        return Database((self.machine(name).address, 5432), seconds)

    def processes(self, name: str, pattern: str) -> list[int]:
        """The processes of PostgreSQL on a node whose title matches."""
        found = []
        data = str(self.data(name))
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "cwd") == data:
                    title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if re.search(pattern, title):
                        found.append(int(entry.name))
        return found

    @contextlib.contextmanager
    def stopped(self, name: str, pattern: str) -> Iterator[None]:
        """These processes stand still."""
        numbers = self.processes(name, pattern)
        if not numbers:
            raise Unable(f"{name} has no process {pattern!r}")
        for number in numbers:
            os.kill(number, signal.SIGSTOP)
        try:
            yield
        finally:
            for number in numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGCONT)
