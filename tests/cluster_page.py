#!/usr/bin/env python3
"""The proof of docs/cluster.md: its commands move real mail to a real PostgreSQL, and back.

    cargo build --features postgres
    python3 tests/cluster_page.py target/debug/facteur

A facteur that keeps Maildirs gets mail. Then the commands of the page, as they are written there,
make a primary and a synchronous standby, which are reached over TLS with verify-full, move the
mail, dump the database, restore it and move the mail back. A move is also killed at random
moments, and run again. At each step, POP3 must show the same unique-ids and the same messages;
after a restore, those of the time of the dump, and new mail must have new unique-ids. While the
standby stands still, facteur must not be ready. At the end all servers are stopped, and a base
backup and the archived log become the database of an earlier moment, with a new standby. Last, a
facteur starts before the servers have names, and goes on when the primary is back elsewhere.

It needs root (servers run as the user postgres), Linux, PostgreSQL 15 or newer below
/usr/lib/postgresql, openssl, util-linux and Python 3. Everything is in a temporary directory, and
ends with it. In the mount namespace of the test, the names of the page are those of addresses of
this machine.
"""

from __future__ import annotations

import contextlib
import os
import poplib
import random
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cluster.md"

# Blocks of the page that are run, or used as files, here.
BLOCKS = (
    "role",
    "certificates",
    "standby",
    "synchronous",
    "store",
    "migrate",
    "back",
    "backup",
    "restore",
    "archive",
    "base",
    "moment",
    "settle",
)

# Set in the mount namespace of the test.
OURS = "CLUSTER_PAGE_NAMESPACE"

# Longest wait for a server or a daemon, in seconds.
PATIENCE = 60.0

# Where the servers listen, and where the first one is later.
FIRST, SECOND, ELSEWHERE = "127.0.81.1", "127.0.81.2", "127.0.81.3"

ADDRESSES = ("ann@a.example", "bob@b.example")

Mail = dict[str, dict[str, bytes]]


class Failed(Exception):
    """The page, or the program, is wrong."""


def blocks() -> dict[str, str]:
    """The blocks of the page, by the name in the comment before each."""
    pattern = r"<!-- elsewhere: tests/cluster_page\.py, (\w+) -->\n```\w+\n(.*?)```"
    found = dict(re.findall(pattern, PAGE.read_text(), re.S))
    if sorted(found) != sorted(BLOCKS):
        raise Failed(f"the page has the blocks {sorted(found)}")
    return found


def free_port() -> int:
    """A port that is free on all addresses of the test."""
    import socket

    with socket.socket() as found:
        found.bind(("0.0.0.0", 0))
        return found.getsockname()[1]


class Place:
    """The directory of the test, and everything that runs in it."""

    def __init__(self, program: Path, root: Path) -> None:
        self.program = program
        self.root = root
        self.port = free_port()
        versions = Path("/usr/lib/postgresql").glob("*/bin")
        self.bin = max(versions, key=lambda it: int(it.parent.name))
        self.names = {
            "/var/lib/postgresql/15/before": str(root / "before"),
            "/var/lib/postgresql/pgpass": str(root / "pgpass"),
            "/var/lib/facteur/mail": str(root / "mail"),
            "/var/lib/facteur/back": str(root / "back"),
            "5432": str(self.port),
            "/srv/backup": str(root / "backup"),
        }
        for name, text in {"hosts": "", "nsswitch.conf": "hosts: files\n"}.items():
            (root / name).write_text(text)
            subprocess.run(["mount", "--bind", root / name, Path("/etc") / name], check=True)
        self.name_servers(db1=FIRST, db2=SECOND)
        self.page = {name: self.replaced(name, text) for name, text in blocks().items()}

    def name_servers(self, **servers: str) -> None:
        """Gives these names to addresses, and takes all others away."""
        lines = [f"{address} {name}\n" for name, address in servers.items()]
        # The file is mounted, so it is not replaced.
        (self.root / "hosts").write_text("".join(["127.0.0.1 localhost\n", *lines]))

    def replaced(self, name: str, text: str) -> str:
        # The only block for the standby; others with this path are for the primary.
        server = "second" if name == "standby" else "first"
        text = text.replace("/var/lib/postgresql/15/main", str(self.root / server))
        for known, here in self.names.items():
            text = text.replace(known, here)
        return text

    def environment(self) -> dict[str, str]:
        path = f"{self.root}:{self.bin}:{os.environ['PATH']}"
        server = {"PGHOST": str(self.root), "PGPORT": str(self.port)}
        return os.environ | server | {"PATH": path, "LC_ALL": "C.UTF-8"}

    def run(self, script: str) -> str:
        """Runs a script as the user postgres, who owns the mail of this test too."""
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        done = subprocess.run(
            [*command, "sh", "-eu", "-c", script],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{script}\n{done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def block(self, name: str) -> str:
        print(f"  {name}", flush=True)
        return self.run(self.page[name])

    @contextlib.contextmanager
    def spawned(self, script: str, log: str) -> Iterator[subprocess.Popen[bytes]]:
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        with (self.root / log).open("ab") as output:
            process = subprocess.Popen(
                [*command, "sh", "-c", f"exec {script}"],
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def await_that(self, what: str, script: str, expected: str) -> None:
        begin = time.monotonic()
        while True:
            with contextlib.suppress(Failed):
                if self.run(script).strip() == expected:
                    return
            if time.monotonic() - begin > PATIENCE:
                logs = "".join(log.read_text() for log in self.root.glob("*.log"))
                raise Failed(f"{what} did not happen\n{logs[-4000:]}")
            time.sleep(0.1)

    def await_standby(self) -> None:
        ready = "psql -Atc \"select application_name, sync_state from pg_stat_replication\""
        self.await_that("the standby", ready, "db2|sync")

    @contextlib.contextmanager
    def server(self, name: str, address: str) -> Iterator[subprocess.Popen[bytes]]:
        options = f"-p {self.port} -c listen_addresses={address}"
        sockets = str(self.root) if name == "first" else str(self.root / "other")
        options += f" -c unix_socket_directories={sockets}"
        options += f" -c ssl=on -c ssl_cert_file={self.root}/certificate.pem"
        options += f" -c ssl_key_file={self.root}/key.pem"
        run = f"postgres -D {self.root}/{name} {options}"
        with self.spawned(run, f"{name}.log") as process:
            ask = f"psql -h {sockets} -Atc 'select 1' postgres"
            self.await_that(f"the start of {name}", ask, "1")
            yield process

    @contextlib.contextmanager
    def facteur(
        self, configuration: str, meanwhile: Callable[[], None] | None = None
    ) -> Iterator[Facteur]:
        """A facteur that is ready; before that, `meanwhile` is called."""
        smtp, pop3, http = free_port(), free_port(), free_port()
        options = f"--smtp 127.0.0.1:{smtp} --pop3 127.0.0.1:{pop3} --http 127.0.0.1:{http}"
        ready = f"{self.root}/facteur --config {configuration} {options} check-ready"
        run = f"{self.root}/facteur --config {configuration} {options}"
        with self.spawned(run, "facteur.log"):
            if meanwhile is not None:
                meanwhile()
            self.await_that("the start of facteur", ready, "ready: smtp, pop3, http")
            yield Facteur(smtp, pop3, ready)


class Facteur:
    """A daemon that runs."""

    def __init__(self, smtp: int, pop3: int, ready: str) -> None:
        self.smtp = smtp
        self.pop3 = pop3
        self.ready = ready

    def deliver(self, count: int, size: int = 400, to: tuple[str, ...] = ADDRESSES) -> None:
        with smtplib.SMTP("127.0.0.1", self.smtp) as client:
            for number in range(count):
                text = f"Subject: {number}\n\n" + f"{random.random()} .\n" * (size // 20)
                client.sendmail("test@x.example", to, text)

    def mail(self) -> Mail:
        """What POP3 shows: the messages of each mailbox, by their unique-ids."""
        return {address: self.mail_of(address) for address in ADDRESSES}

    def mail_of(self, address: str) -> dict[str, bytes]:
        client = self.session(address)
        ids = [line.split()[1].decode() for line in client.uidl()[1]]
        sizes = [int(line.split()[1]) for line in client.list()[1]]
        mail = {}
        for number, (unique_id, size) in enumerate(zip(ids, sizes), 1):
            content = b"\r\n".join(client.retr(number)[1]) + b"\r\n"
            if len(content) != size:
                raise Failed(f"{unique_id}: LIST says {size}, RETR sends {len(content)}")
            mail[unique_id] = content
        client.quit()
        return mail

    def session(self, address: str) -> poplib.POP3:
        """A session, as soon as the node that had the mailbox in a copy of the database is no more
        believed to have it."""
        begin = time.monotonic()
        while True:
            client = poplib.POP3("127.0.0.1", self.pop3, PATIENCE)
            client.user(address)
            try:
                client.pass_("any")
                return client
            except poplib.error_proto as error:
                if "[IN-USE]" not in str(error) or time.monotonic() - begin > PATIENCE:
                    raise Failed(f"{address}: {error}") from error
            client.close()
            time.sleep(0.1)

    def remove(self, address: str, number: int) -> None:
        client = self.session(address)
        client.dele(number)
        client.quit()


def equal(what: str, left: Mail, right: Mail) -> None:
    if left != right:
        ids = {address: (sorted(left[address]), sorted(right[address])) for address in left}
        raise Failed(f"{what}: the mail differs: {ids}")
    print(f"    the same mail: {what}", flush=True)


def fill(place: Place) -> Mail:
    """A store with mail of its own and of another program."""
    with place.facteur("plain.toml") as facteur:
        facteur.deliver(20)
        facteur.deliver(3, size=1_500_000, to=ADDRESSES[:1])
        facteur.deliver(2_000, to=ADDRESSES[1:])
    new = place.root / "mail/a.example/ann/new"
    cur = new.parent / "cur"
    first = sorted(new.iterdir())[0]
    first.rename(cur / f"{first.name}:2,S")
    (new / "1600000000.M1P2.other").write_bytes(b"Subject: other\n\nlf\n")
    (cur / "1600000001.M1P3.other:2,FS").write_bytes(b"Subject: other\r\n\r\ncrlf\r\n")
    for path in [*new.iterdir(), *cur.iterdir()]:
        shutil.chown(path, "postgres", "postgres")
    with place.facteur("plain.toml") as facteur:
        return facteur.mail()


def kill_moves(place: Place, mail: Mail) -> None:
    """Kills moves at random moments; the last one runs to its end."""
    kills = 0
    for _ in range(12):
        command = f"{place.root}/facteur --config facteur.toml migrate --from mail"
        with place.spawned(command, "migrate.log") as process:
            try:
                process.wait(random.uniform(0.1, 2.0))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
            process.wait()
        leave = "delete from node"
        place.run(f'psql -qc "{leave}" mail 2>/dev/null || true')
    print(f"    {kills} moves were killed", flush=True)
    print("   ", place.block("migrate").strip(), flush=True)
    print("   ", place.block("migrate").strip(), flush=True)
    with place.facteur("facteur.toml") as facteur:
        equal("moved to the database", facteur.mail(), mail)


def new_ids(facteur: Facteur, before: Mail, later: Mail) -> None:
    """New mail has unique-ids that no other mail ever had."""
    facteur.deliver(3)
    for address, mail in facteur.mail().items():
        new = set(mail) - set(before[address])
        if len(new) != 3 or new & set(later[address]):
            raise Failed(f"{new} are no new unique-ids")
    print("    new mail has new unique-ids", flush=True)


def restore(place: Place) -> None:
    with place.facteur("facteur.toml") as facteur:
        facteur.deliver(2)
        at_dump = facteur.mail()
        place.block("backup")
        facteur.remove(ADDRESSES[0], 1)
        facteur.deliver(3)
        later = facteur.mail()
    place.block("restore")
    restored = (place.root / "facteur.toml").read_text().replace("dbname=mail", "dbname=restored")
    (place.root / "restored.toml").write_text(restored)
    with place.facteur("restored.toml") as facteur:
        equal("restored", facteur.mail(), at_dump)
        new_ids(facteur, at_dump, later)


def readiness(place: Place, second: subprocess.Popen[bytes]) -> None:
    """A node is not ready while the standby does not answer, and is again when it does."""
    with place.facteur("facteur.toml") as facteur:
        processes = subprocess.run(
            ["pgrep", "-P", str(second.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        everything = [second.pid, *map(int, processes)]
        for pid in everything:
            os.kill(pid, signal.SIGSTOP)
        try:
            place.await_that("the end of readiness", f"{facteur.ready} || true", "")
        finally:
            for pid in everything:
                os.kill(pid, signal.SIGCONT)
        place.await_that("readiness", facteur.ready, "ready: smtp, pop3, http")
        facteur.deliver(1)
    print("    not ready while the standby stood still", flush=True)


def back(place: Place) -> None:
    with place.facteur("facteur.toml") as facteur:
        mail = facteur.mail()
    print("   ", place.block("back").strip(), flush=True)
    plain = (place.root / "plain.toml").read_text().replace('"mail"', '"back"')
    (place.root / "back.toml").write_text(plain)
    with place.facteur("back.toml") as facteur:
        equal("moved back", facteur.mail(), mail)


def pass_moment(place: Place) -> tuple[Mail, Mail, str]:
    """Mail comes and goes before and after a moment: the mail at that moment, and all that ever was
    there; and the moment. The log of all that is in the archive at the end."""
    with place.facteur("facteur.toml") as facteur:
        place.block("base")
        facteur.deliver(3)
        facteur.deliver(1, size=1_500_000)
        facteur.remove(ADDRESSES[1], 1)
        at_moment = facteur.mail()
        moment = place.run("psql -Atc 'select clock_timestamp()'").strip()
        facteur.remove(ADDRESSES[0], 1)
        facteur.deliver(3)
        later = facteur.mail()
    last = place.run("psql -Atc 'select pg_walfile_name(pg_switch_wal())'").strip()
    archived = f"psql -Atc \"select last_archived_wal >= '{last}' from pg_stat_archiver\""
    place.await_that("the archive of the log", archived, "t")
    ever = {address: at_moment[address] | later[address] for address in ADDRESSES}
    return at_moment, ever, moment


def restore_moment(place: Place, at_moment: Mail, ever: Mail, moment: str) -> None:
    """Makes the servers anew, as they were at the moment."""
    (copy,) = (place.root / "backup").glob("base-*")
    commands = re.sub("(?<=recovery_target_time = ')[^']*", moment, place.page["moment"])
    place.page["moment"] = re.sub(r"base-[\d-]+", copy.name, commands)
    place.block("moment")
    shutil.rmtree(place.root / "second")
    with place.server("first", FIRST):
        place.await_that("the promotion", "psql -Atc 'select pg_is_in_recovery()'", "f")
        place.block("settle")
        place.block("standby")
        with place.server("second", SECOND):
            place.block("synchronous")
            place.await_standby()
            with place.facteur("facteur.toml") as facteur:
                equal("restored to a moment", facteur.mail(), at_moment)
                new_ids(facteur, at_moment, ever)
            position = place.run("psql -Atc 'select pg_current_wal_flush_lsn()'").strip()
            replayed = f"psql -Atc \"select replay_lsn >= '{position}' from pg_stat_replication\""
            place.await_that("the replay of the standby", replayed, "t")


def move_server(place: Place) -> None:
    """Servers may get their names late, and one that is back elsewhere is found there."""
    with place.server("second", SECOND), contextlib.ExitStack() as stack:
        with place.server("first", FIRST):
            place.await_standby()
            place.name_servers()

            def name_one() -> None:
                place.await_that(
                    "the warning", "grep -c 'store.postgres: host=db.: failed' facteur.log", "2"
                )
                place.name_servers(db1=FIRST)

            facteur = stack.enter_context(place.facteur("facteur.toml", name_one))
            facteur.deliver(1)
        place.name_servers(db1=ELSEWHERE, db2=SECOND)
        with place.server("first", ELSEWHERE):
            facteur.deliver(1)
    print("    a server was found elsewhere", flush=True)


def prove(place: Place) -> None:
    root = place.root
    (root / "plain.toml").write_text('mail = "mail"\n')
    mail = fill(place)
    place.run(f"initdb -D {root}/first -A scram-sha-256 --pwfile=/dev/stdin --auth-local=trust "
              "-E UTF8 --no-locale -N <<'END'\nsesame\nEND")
    hba = root / "first/pg_hba.conf"
    hba.write_text("local all,replication all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n"
                   "host replication replicator 127.0.0.0/8 scram-sha-256\n")
    place.block("certificates")
    for name in ("certificate.pem", "key.pem", "ca.pem"):
        shutil.copy2(root / "database-tls" / name, root / name)
        shutil.chown(root / name, "postgres", "postgres")
    (root / "other").mkdir()
    shutil.chown(root / "other", "postgres", "postgres")
    with place.server("first", FIRST):
        place.block("role")
        password = (root / "database.password").read_text().strip()
        place.run(f"umask 077; echo '*:*:*:*:{password}' > pgpass")
        place.block("archive")
    with place.server("first", FIRST):
        place.block("standby")
        with place.server("second", SECOND) as second:
            place.block("synchronous")
            place.await_standby()
            (root / "facteur.toml").write_text('mail = "node"\n' + place.page["store"])
            kill_moves(place, mail)
            restore(place)
            readiness(place, second)
            back(place)
            passed = pass_moment(place)
    restore_moment(place, *passed)
    move_server(place)


def main() -> int:
    if len(sys.argv) != 2 or os.geteuid() != 0:
        print(__doc__)
        return 2
    if OURS not in os.environ:
        command = ["unshare", "--mount", sys.executable, *sys.argv]
        os.execvpe(command[0], command, os.environ | {OURS: "1"})
    with tempfile.TemporaryDirectory(prefix="facteur-cluster-") as directory:
        root = Path(directory)
        shutil.copy2(sys.argv[1], root / "facteur")
        shutil.chown(root, "postgres", "postgres")
        try:
            prove(Place(root / "facteur", root))
        except Failed as failure:
            print(failure)
            return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
