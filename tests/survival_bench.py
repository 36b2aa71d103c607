"""The surroundings of the clients of survival.py and attacks.py: daemon, load, and comparison."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import select
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from survival_clients import (
    KIB,
    MIB,
    PATIENCE,
    Broken,
    Finding,
    Findings,
    Kind,
    Ledger,
    Letters,
    Pop3,
    Refused,
    Smtp,
    some_size,
)

if TYPE_CHECKING:
    from survival_disks import AnyDisk

# What a daemon prints when it serves, from its first address to what follows the last.
READY = re.compile(
    rb"SMTP \S+:(\d+)\nPOP3 \S+:(\d+)\nHTTP off\n"
    rb"(?:SMTP with TLS \S+:(\d+)\nPOP3 with TLS \S+:(\d+)\n)?"
    rb"(?:submission \S+:(\d+)\n)?(?:LMTP \S+\n)?mail "
)

# Limits that clients of this script would reach.
LIMITS = ("errors = 0", "connections_per_address = 0")

MAILBOXES = [f"box{n}@{domain}.test" for domain in ("one", "two", "three") for n in range(12)]


class Unable(Exception):
    """This machine cannot do what the scenario needs."""


class NotStarted(Exception):
    """The daemon ended before it said where it listens."""

    def __init__(self, code: int, log: str) -> None:
        super().__init__(f"the daemon did not start (exit code {code}): {log.strip()[-500:]}")
        self.code = code
        self.log = log


class Daemon:
    """The program under test. Always ended by `kill` or `stop`, even when something goes wrong."""

    def __init__(self, bench: Bench, mail: Path, prefix: tuple[str, ...] = ()) -> None:
        self.log = bench.new_log()
        self.smtp = self.pop3 = self.smtps = self.pop3s = self.submission = 0
        arguments = ["--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--http", "off"]
        arguments += ["--mail", str(mail), "--config", str(bench.config)]
        with open(self.log, "wb") as log:
            # A separate session: Ctrl-C is for this script, which then ends the daemon.
            self.process = subprocess.Popen(
                [*prefix, *bench.prefix, str(bench.binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        bench.daemons.append(self)

    def wait_until_ready(self) -> None:
        """Waits for the addresses. The daemon prints them when it serves."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        printed = b""
        while not (ports := READY.search(printed)):
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left)[0]:
                self.kill()
                raise Finding(Kind.CRASH, f"the daemon is not ready after {PATIENCE:.0f} s")
            octets = os.read(self.process.stdout.fileno(), 4096)
            if not octets:
                code = self.process.wait(PATIENCE)
                self.process.stdout.close()
                raise NotStarted(code, self.tail())
            printed += octets
        self.smtp, self.pop3 = int(ports[1]), int(ports[2])
        if ports[3]:
            self.smtps, self.pop3s = int(ports[3]), int(ports[4])
        if ports[5]:
            self.submission = int(ports[5])

    def kill(self) -> None:
        """Ends it immediately, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def stop(self) -> None:
        """Asks it to end, which it must do with exit code 0."""
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Finding(Kind.CRASH, "the daemon does not stop on SIGTERM") from None
        self.kill()
        if code != 0:
            raise Finding(Kind.CRASH, f"stopped with exit code {code}: {self.tail()}")

    def check_alive(self) -> None:
        """It must not have ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise Finding(Kind.CRASH, f"the daemon ended by itself ({code}): {self.tail()}")

    def check_log(self) -> None:
        """None of its threads may have panicked."""
        for line in self.log.read_text(errors="replace").splitlines():
            if "panicked at" in line:
                raise Finding(Kind.CRASH, line)

    def counter(self, group: str, name: str) -> int:
        """The report of its counters on SIGUSR1."""
        mark = self.log.stat().st_size
        self.process.send_signal(signal.SIGUSR1)
        told = re.compile(rf"^    {group} .*?\b{name}=(\d+).*\n", re.MULTILINE)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with open(self.log, errors="replace") as log:
                log.seek(mark)
                if found := told.search(log.read()):
                    return int(found[1])
            time.sleep(0.01)
        raise Finding(Kind.LOG, f"no report with {name} of {group} after SIGUSR1")

    def tail(self, lines: int = 5) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Vitals:
    """What /proc says about a process."""

    def __init__(self, pid: int) -> None:
        self.proc = Path(f"/proc/{pid}")

    def open_files(self) -> list[str]:
        """What its descriptors are open on."""
        names = []
        for entry in (self.proc / "fd").iterdir():
            with contextlib.suppress(OSError):  # it may be closed already
                names.append(os.readlink(entry))
        return names

    def descriptors(self) -> int:
        """Open descriptors, except those of the journal, which opens its segments as it needs
        them."""
        segment = re.compile(r"/\.facteur/journal/\d+\.seg$")
        return sum(not segment.search(name) for name in self.open_files())

    def threads(self) -> int:
        """Its threads, without those that wait for another client after their session."""
        names = []
        for task in (self.proc / "task").iterdir():
            with contextlib.suppress(OSError):  # it has ended
                names.append((task / "comm").read_text())
        return sum(name != "spare\n" for name in names)

    def octets(self, which: str) -> int:
        """`VmRSS` is its current memory, `RssAnon` the part of it that is not files, and `VmHWM`
        the most that it ever had."""
        found = re.search(rf"^{which}:\s+(\d+) kB$", (self.proc / "status").read_text(), re.M)
        assert found is not None
        return int(found[1]) * KIB

    def cpu_seconds(self) -> float:
        """The processor time that it has used."""
        fields = (self.proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """Shared by all rounds of a scenario: the program, a directory, a ledger, randomness."""

    def __init__(self, options: argparse.Namespace, scenario: str, directory: Path) -> None:
        self.binary: Path = options.binary
        self.is_long: bool = options.long
        self.scenario = scenario
        self.seed: int = options.seed
        self.directory = directory
        self.config = directory / "facteur.toml"
        self.lines: list[str] = options.config_line
        # The password for every maildrop.
        self.password = "any"
        # What is put before the program's command line, for example to run it as another user.
        self.prefix: tuple[str, ...] = ()
        # The domains whose mail is in the ledger; `None` are all.
        self.ours: frozenset[str] | None = None
        # Mailboxes that are not emptied between rounds.
        self.spared: frozenset[str] = frozenset()
        # Whether other programs deliver into the Maildirs, under their own names.
        self.has_other_names = False
        self.configure()
        self.rng = self.chance("bench")
        self.letters = Letters(self.rng)
        self.ledger = Ledger()
        self.daemons: list[Daemon] = []
        self.disks: list[AnyDisk] = []
        self.n_logs = 0
        self.round = 0

    def configure(self, *lines: str, limits: tuple[str, ...] = LIMITS) -> None:
        """Writes the configuration; `lines` come first."""
        self.config.write_text("\n".join([*lines, *self.lines, "[limits]", *limits]) + "\n")

    def chance(self, name: str) -> random.Random:
        """A source of randomness that depends only on the seed and its name."""
        return random.Random(f"{self.seed}/{self.scenario}/{name}")

    def new_log(self) -> Path:
        """A file for the next daemon's log. Only the last ones are kept."""
        self.n_logs += 1
        old = self.directory / f"daemon-{self.n_logs - 6:05}.log"
        old.unlink(missing_ok=True)
        return self.directory / f"daemon-{self.n_logs:05}.log"

    def start(self, mail: Path, prefix: tuple[str, ...] = ()) -> Daemon:
        """Starts a daemon that serves."""
        daemon = Daemon(self, mail, prefix)
        daemon.wait_until_ready()
        # A reader of the mail log wants only what runs now.
        self.daemons = [other for other in self.daemons if other.process.poll() is None]
        return daemon

    def restart(self, mail: Path, rng: random.Random) -> Daemon:
        """Starts it after a crash. Sometimes it is killed while it recovers, and starts again."""
        while rng.random() < 0.3:
            daemon = Daemon(self, mail)
            time.sleep(rng.random() ** 2 * 0.1)
            daemon.kill()
        return self.start(mail)

    def clean_up(self) -> None:
        """Ends and releases everything, whatever happened."""
        for daemon in self.daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.kill()
        for disk in self.disks:
            disk.release()
        self.daemons.clear()
        self.disks.clear()

    def say(self, text: str) -> None:
        """Prints one line about the round."""
        print(f"    {self.scenario} {self.round}: {text}", flush=True)


def run(*command: str | Path) -> str:
    """Runs a program of the system. If it fails, this machine cannot do the scenario."""
    try:
        done = subprocess.run(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unable(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        raise Unable(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


class Load:
    """Senders and readers, each a thread, that work until they are stopped.

    Before `expect_failures` nothing may be refused, and no connection may break, unless the daemon
    `is_hit` before they begin.
    """

    # How many readers do not wait for the response to QUIT.
    breaks_off = 0.05
    # How long a sender waits at most before a letter, in seconds.
    pause = 0.0

    def __init__(
        self,
        bench: Bench,
        daemon: Daemon,
        senders: int = 16,
        readers: int = 4,
        letters_each: int = 100_000,
        brand_new: float = 0.1,
        many: float = 0.04,
        mailboxes: list[str] = MAILBOXES,
        is_hit: bool = False,
    ) -> None:
        self.bench = bench
        self.ledger = bench.ledger
        self.daemon = daemon
        self.letters_each = letters_each
        self.brand_new = brand_new
        self.many = many
        self.smtp_may_fail = threading.Event()
        self.pop3_may_fail = threading.Event()
        # While files cannot be created, the daemon may hold acknowledged mail back: it is durable
        # in the journal, and not yet listed.
        self.may_be_late = threading.Event()
        self.over = threading.Event()
        self.changed = threading.Condition()
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.claimed: set[str] = set()
        self.mailboxes = list(mailboxes)
        if is_hit:
            self.expect_failures()
        name = f"round {bench.round}"
        self.senders = self.threads(self.send, senders, f"{name} sender")
        self.readers = self.threads(self.read, readers, f"{name} reader")
        for thread in self.senders + self.readers:
            thread.start()

    def threads(
        self, work: Callable[[random.Random], None], count: int, name: str
    ) -> list[threading.Thread]:
        def guarded(rng: random.Random) -> None:
            try:
                work(rng)
            except Finding as finding:
                self.findings.append(finding)
                self.stop()
            except Exception as error:  # an error in this script must not look like a quiet client
                self.findings.append(Finding(Kind.CRASH, f"in the script itself: {error!r}"))
                self.stop()

        chances = [self.bench.chance(f"{name} {n}") for n in range(count)]
        return [threading.Thread(target=guarded, args=(rng,), daemon=True) for rng in chances]

    def count(self, what: str) -> None:
        """Counts something that others may wait for."""
        with self.changed:
            self.counts[what] += 1
            self.changed.notify_all()

    def wait_for(self, what: str, more: int, seconds: float = PATIENCE) -> bool:
        """Waits until `what` was counted this many more times."""
        with self.changed:
            goal = self.counts[what] + more
            self.changed.wait_for(
                lambda: self.counts[what] >= goal or self.over.is_set(), timeout=seconds
            )
            return self.counts[what] >= goal

    def expect_failures(self) -> None:
        """The daemon is about to be hit."""
        self.smtp_may_fail.set()
        self.pop3_may_fail.set()
        self.may_be_late.set()

    def stop(self) -> None:
        """Clients start nothing more."""
        self.over.set()
        with self.changed:
            self.changed.notify_all()

    def wait_for_senders(self) -> None:
        """Waits until the senders have sent what they were given, or the daemon is gone."""
        for thread in self.senders:
            thread.join(PATIENCE)

    def end(self) -> None:
        """Waits for the clients to end, and raises their findings."""
        self.stop()
        deadline = time.monotonic() + 2 * PATIENCE
        for thread in self.senders + self.readers:
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                self.findings.append(Finding(Kind.REPLY, "a client hangs"))
        if self.findings:
            raise Findings(self.findings)

    def failed(self, may_fail: threading.Event, what: str, error: Exception) -> None:
        """A refusal or a broken connection: a finding, unless it was to be expected."""
        text = str(error)
        self.count(f"{what} {text[:3] if isinstance(error, Refused) else 'broken'}")
        if isinstance(error, Refused):
            # A session that has just broken off may still hold the maildrop.
            if text.startswith(("given up", "-ERR [IN-USE]")):
                return
            if text.startswith("5"):
                raise Finding(Kind.REPLY, f"{what}: {text}")
            self.count(f"{what} refused")
        if not may_fail.is_set():
            raise Finding(Kind.REPLY, f"{what}: {text}")
        # Not too eager: what fails immediately could be retried very often.
        self.over.wait(0.01)

    def recipients(self, rng: random.Random) -> list[str]:
        """Mostly one; some letters have many, and some go to mailboxes that are new."""
        if rng.random() < self.many:
            count = rng.randrange(6, 31)
        else:
            count = rng.choice([1, 1, 1, 1, rng.randrange(2, 6)])
        mailboxes = rng.sample(MAILBOXES, count)
        if rng.random() < self.brand_new:
            mailbox = f"new{self.bench.round}-{rng.randrange(10**9)}@fresh.test"
            mailboxes[rng.randrange(count)] = mailbox
            self.mailboxes.append(mailbox)
        return mailboxes

    def send(self, rng: random.Random) -> None:
        """A sender: several letters in a session, then another session."""
        left = self.letters_each
        while left > 0 and not self.over.is_set() and self.daemon.process.poll() is None:
            try:
                with Smtp(self.daemon.smtp) as smtp:
                    for _ in range(min(rng.randrange(1, 30), left)):
                        if self.over.is_set():
                            break
                        left -= 1
                        if self.pause:
                            self.over.wait(self.pause * rng.random())
                        letter = self.bench.letters.write(rng, some_size(rng))
                        smtp.deliver(self.ledger, letter, self.recipients(rng), rng)
                        self.count("acknowledged")
                    smtp.command("QUIT", "221")
            except (Broken, Refused) as error:
                self.failed(self.smtp_may_fail, "SMTP", error)

    def read(self, rng: random.Random) -> None:
        """A reader: one maildrop after another."""
        while not self.over.is_set() and self.daemon.process.poll() is None:
            mailbox = rng.choice(self.mailboxes)
            with self.claim(mailbox) as is_ours:
                if not is_ours:
                    continue
                try:
                    self.visit(mailbox, rng)
                    self.count("visits")
                except (Broken, Refused) as error:
                    self.failed(self.pop3_may_fail, "POP3", error)

    @contextlib.contextmanager
    def claim(self, mailbox: str) -> Iterator[bool]:
        """Keeps other readers from a maildrop. Returns whether none of them has it."""
        with self.changed:
            is_ours = mailbox not in self.claimed
            self.claimed.add(mailbox)
        try:
            yield is_ours
        finally:
            if is_ours:
                with self.changed:
                    self.claimed.remove(mailbox)

    def visit(self, mailbox: str, rng: random.Random) -> None:
        """An ordinary session."""
        self.visit_with(
            lambda: Pop3(self.daemon.pop3, mailbox, self.bench.password), mailbox, rng
        )

    def share(self, mailbox: str, n_seen: int) -> float:
        """How many of this many messages a reader removes from a mailbox."""
        return 0.25 if n_seen < 40 else 0.8

    def visit_with(self, log_in: Callable[[], Pop3], mailbox: str, rng: random.Random) -> None:
        """A session: retrieves everything, removes some, and ends in one of several ways."""
        may_be_late = self.may_be_late.is_set()
        kept = self.ledger.kept(mailbox)
        with log_in() as pop3:
            seen = self.look(pop3, mailbox, rng)
            lost = self.missing(mailbox, kept, seen)
            if lost and not may_be_late and not self.may_be_late.is_set():
                text = f"{mailbox} shows {len(seen)} letters, and not {sorted(lost)[:5]}"
                raise Finding(Kind.LOST, text, min(lost))
            self.remove_some(pop3, mailbox, seen, rng)

    def look(self, pop3: Pop3, mailbox: str, rng: random.Random) -> dict[int, int]:
        """What the maildrop shows: the letters' numbers, and where they are in the listing."""
        return pop3.see_all(self.ledger, mailbox)

    def missing(self, mailbox: str, kept: set[int], seen: dict[int, int]) -> set[int]:
        """The letters that should have been listed: those `kept` had to be there at the login."""
        return kept - seen.keys()

    def remove_some(
        self, pop3: Pop3, mailbox: str, seen: dict[int, int], rng: random.Random
    ) -> None:
        """Marks some and ends the session, in one of several ways."""
        share = self.share(mailbox, len(seen))
        marked = [number for number in seen if rng.random() < share]
        pop3.delete([seen[number] for number in marked])
        ending = rng.random()
        if ending < 0.05:
            return  # without QUIT: nothing is removed
        if ending < 0.1:
            pop3.command("RSET")
            marked = []
        self.ledger.leave(mailbox, marked)
        if ending > 1 - self.breaks_off:
            pop3.send(b"QUIT\r\n")
            return  # without reading the response: removed or not
        pop3.command("QUIT")
        self.ledger.remove(mailbox, marked)
        if marked:
            self.count("removals")


def files_of(
    mail: Path, ours: frozenset[str] | None = None, are_named_by_others: bool = False
) -> dict[str, int]:
    """How many messages each Maildir has on disk, all of them as large as their names say.

    The names that other programs give need not say it.
    """
    counts: dict[str, int] = {}
    for domain in mail.iterdir():
        if domain.name == ".facteur" or (ours is not None and domain.name not in ours):
            continue
        for maildir in domain.iterdir():
            # A name with a dot is not a message: FUSE hides removed files that are still open like
            # this.
            files = [file for side in ("new", "cur") for file in (maildir / side).glob("[!.]*")]
            for file in files:
                octets = file.read_bytes()
                sizes = re.search(r",S=(\d+),W=(\d+)", file.name)
                found = (len(octets), len(octets) + octets.count(b"\n"))
                if sizes is None and are_named_by_others:
                    continue
                if sizes is None or (int(sizes[1]), int(sizes[2])) != found:
                    raise Finding(Kind.TORN, f"{file} has S={found[0]}, W={found[1]}")
            counts[f"{maildir.name}@{domain.name}"] = len(files)
    return counts


def compare(bench: Bench, daemon: Daemon, mail: Path, rng: random.Random) -> None:
    """After a restart: compares everything that is there with everything that the clients know.

    Also removes some messages, so that the store does not grow from round to round.
    """
    ledger = bench.ledger
    findings: list[Finding] = []
    try:
        on_disk = files_of(mail, bench.ours, bench.has_other_names)
    except Finding as finding:
        findings.append(finding)
        on_disk = {}
    mailboxes = sorted(set(ledger.mailboxes()) | {m for m, count in on_disk.items() if count})
    rooms = {mailbox: rng.randrange(30) for mailbox in mailboxes}

    def visit(mailbox: str) -> list[Finding]:
        try:
            with Pop3(daemon.pop3, mailbox, bench.password) as pop3:
                seen = pop3.see_all(ledger, mailbox)
                found = ledger.settle(mailbox, set(seen))
                if len(seen) != on_disk.get(mailbox, 0) and not findings:
                    text = f"{mailbox} has {on_disk.get(mailbox, 0)} files, shows {len(seen)}"
                    found.append(Finding(Kind.SIZE, text))
                too_many = 0 if mailbox in bench.spared else len(seen) - rooms[mailbox]
                marked = sorted(seen)[: max(too_many, 0)]
                pop3.delete([seen[number] for number in marked])
                ledger.leave(mailbox, marked)
                pop3.command("QUIT")
                ledger.remove(mailbox, marked)
                return found
        except Finding as finding:
            return [finding]
        except (Broken, Refused) as error:
            return [Finding(Kind.REPLY, f"{mailbox} after the restart: {error}")]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(visit, mailboxes):
            findings += found
    daemon.check_alive()
    daemon.check_log()
    if findings:
        raise Findings(findings)


def tell(bench: Bench, load: Load) -> None:
    """One line about a round; in the long form only about every tenth."""
    if not bench.is_long or bench.round % 10 == 0:
        counts, copies = load.counts, bench.ledger.copies()
        text = f"{counts['acknowledged']} acknowledged, {counts['visits']} visits"
        bench.say(f"{text}, {counts['removals']} removals, {copies} copies remain")
