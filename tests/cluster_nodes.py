"""The database of cluster.py: PostgreSQL with Patroni and etcd on three machines."""

from __future__ import annotations

import contextlib
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
from cluster_wire import Database, Lost
from survival_bench import Unable
from survival_clients import Finding, Kind

# How long the cluster may take for anything, in seconds: to start, to find another leader.
LONGEST = 120.0

NODES = ["n1", "n2", "n3"]

Found = TypeVar("Found")

# Both programs are the machine's; if one of them ends, the log says so, and the other goes on.
SCRIPT = """
as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups --reset-env"
$as_postgres etcd --config-file "$1/etcd.yml" > "$1/etcd.log" 2>&1 &
$as_postgres env PATH="$2:/usr/bin:/bin" patroni "$1/patroni.yml" > "$1/patroni.log" 2>&1 &
wait
"""


def binaries() -> Path:
    """Where the newest PostgreSQL of Debian is."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda it: int(it.parts[4])
    )
    if not found:
        raise Unable("postgresql is not installed")
    return found[-1].parent


def is_there(member: dict[str, object], timeline: object) -> bool:
    """Whether a node runs, in the history of the leader."""
    return member.get("state") in ("running", "streaming") and member.get("timeline") == timeline


class Cluster:
    """Three nodes, one of which is the leader. The node behind it is its synchronous standby."""

    def __init__(self, network: Network, directory: Path) -> None:
        for program in "etcd", "patroni", "setpriv", "unshare", "nsenter", "ip":
            if shutil.which(program) is None:
                raise Unable(f"{program} is not installed")
        try:
            self.user = pwd.getpwnam("postgres")
        except KeyError:
            raise Unable("there is no user postgres") from None
        self.network, self.directory, self.binaries = network, directory, binaries()
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

    def configure(self, name: str) -> None:
        path, address = self.path(name), self.machine(name).address
        path.mkdir()
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
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"{address}:5432",
                "connect_address": f"{address}:5432",
                "data_dir": f"{path}/data",
                "bin_dir": str(self.binaries),
                # Otherwise such a node stays with its own history, and may even be counted as a
                # synchronous standby for moments.
                "remove_data_directory_on_diverged_timelines": True,
                "remove_data_directory_on_rewind_failure": True,
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
                },
            },
            "watchdog": {"mode": "off"},
        }
        # YAML includes JSON.
        (path / "etcd.yml").write_text(json.dumps(etcd))
        (path / "patroni.yml").write_text(json.dumps(patroni))
        for file in [path, *path.iterdir()]:
            os.chown(file, self.user.pw_uid, self.user.pw_gid)

    def start(self, name: str) -> None:
        """Starts a node, also one that was killed."""
        path = self.path(name)
        if (path / "etcd").exists():
            text = (path / "etcd.yml").read_text()
            (path / "etcd.yml").write_text(text.replace('"new"', '"existing"'))
        # A machine forgets its processes' numbers with its power.
        (path / "data/postmaster.pid").unlink(missing_ok=True)
        self.machine(name).start(SCRIPT, path / "machine.log", str(path), str(self.binaries))

    def start_all(self) -> None:
        for name in NODES:
            self.start(name)
        self.await_all()

    def members(self) -> dict[str, dict[str, object]]:
        """What the nodes that can be reached from here say of all of them."""
        for name in NODES:
            connection = http.client.HTTPConnection(self.machine(name).address, 8008, timeout=2)
            try:
                connection.request("GET", "/cluster")
                members = json.load(connection.getresponse())["members"]
                return {member["name"]: member for member in members}
            except (OSError, ValueError, KeyError, http.client.HTTPException):
                continue
            finally:
                connection.close()
        return {}

    def leader(self, other_than: str | None = None) -> str:
        """The leader, once there is one, other than this node, that takes connections."""

        def found() -> str | None:
            for name, member in self.members().items():
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
        """The nodes that are not there yet, or the role that nobody has."""
        members = self.members()
        roles = {member["role"]: name for name, member in members.items()}
        if "leader" not in roles:
            return ["leader"]
        timeline = members[roles["leader"]].get("timeline")
        missing = [name for name in NODES if not is_there(members.get(name, {}), timeline)]
        return missing or [role for role in ("sync_standby",) if role not in roles]

    def await_all(self) -> None:
        """Waits until all nodes are there, and one is a synchronous standby. A node that Patroni
        cannot bring back begins anew, as its operator would do it."""
        begin = time.monotonic()
        while (missing := self.missing()) and time.monotonic() < begin + LONGEST / 3:
            time.sleep(0.2)
        for name in set(missing) & set(NODES):
            self.machine(name).kill()
            shutil.rmtree(self.path(name) / "data", ignore_errors=True)
            self.start(name)
            self.n_renewed += 1
        self.await_that("three nodes", lambda: None if self.missing() else True)

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
        data = f"{self.path(name)}/data"
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
