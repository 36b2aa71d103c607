#!/usr/bin/env python3
"""The long run: a mixed load on one daemon, whose memory, threads and descriptors must stay flat.

    python3 tests/soak.py target/release/facteur
    python3 tests/soak.py target/release/facteur --minutes 3 --seed 7 --keep

Well-behaved clients send small, medium and large letters and fetch and remove them, without TLS and
by STARTTLS, STLS and TLS, with and without a login, and keep the ledger of survival.py. Beside them
hostile clients (soak_hostile.py) do what they can: resets, garbage, guesses, floods, and slowness
until a limit ends it. Every minute there is a SIGUSR1, and a SIGHUP with other accounts and
sometimes another certificate. The load is paced: the run needs time, and leaves the machine to
others.

It fails when

- memory grows: the median of anonymous memory in the last sixth of the run is more than 10 % and
  4 MiB above that in the second sixth (the first one is to warm up);
- threads or descriptors are not back to their numbers before the load when it is over;
- a well-behaved client is refused, cut off or gets something other than what was sent;
- the log has a warning or an error that no hostile client explains, or a panic;
- a slow client is not cut off by the limit it exceeds, or the limits were not reached at all;
- the daemon does not stop in order, or its mail after a restart does not match the ledger.

Before it begins, it judges made-up runs that leak, and a made-up log, to show that it notices.
Needs Linux and Python 3.11, and no privileges. Mail and logs are in one directory, which is removed
at the end unless --keep is given.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import random
import re
import resource
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True  # leaves nothing in the source tree

from scenarios import ENDING, found_by, interrupt, report
from soak_hostile import FLOODING, GLUTTON, HOSTILE, VICTIM, Doors, Hostile
from survival_bench import Bench, Daemon, Load, Vitals, compare
from survival_clients import (
    KIB,
    MIB,
    PATIENCE,
    Broken,
    Finding,
    Findings,
    Kind,
    Listed,
    Pop3,
    Refused,
    Smtp,
    Wire,
)

BOXES = [f"box{n}@soak.test" for n in range(12)]
POSTMAN = "postman@soak.test"  # may send as anybody

# How much the memory of a run without a leak may grow: a share, and what an allocator keeps.
GROWTH_SHARE = 0.10
GROWTH_KIB = 4 * KIB

CONFIG = """
hostname = "soak.test"
accounts = "accounts.toml"
smtps = ["127.0.0.1:0"]
pop3s = ["127.0.0.1:0"]
submission = ["127.0.0.1:0"]

[journal]
segment_octets = 4194304

[limits]
message_octets = 16777216
recipients = 100
connections_per_address = 60
smtp_idle_seconds = 15
pop3_idle_seconds = 15
session_seconds = 120
refused_login_seconds = 0
"""

# A session of a well-behaved client ends long before session_seconds.
SESSION_SECONDS = 40


# ------------------------------------------------------------------------------------- the daemon


class SoakDaemon(Daemon):
    """A daemon with all its listeners."""

    @property
    def doors(self) -> Doors:
        """All of them."""
        return Doors(self.smtp, self.pop3, self.smtps, self.pop3s, self.submission)


class SoakBench(Bench):
    """A closed daemon with accounts, whose passwords are all `any`, and a certificate."""

    def configure(self, *lines: str) -> None:
        self.config.write_text("\n".join([*lines, *self.lines]) + CONFIG)
        command = [self.binary, "hash-password", "--no-scram"]
        self.password_line = self.call(*command, told="any\nany\n").strip()
        self.accounts = self.directory / "accounts.toml"
        self.n_renewals = 0
        self.renew_accounts()
        self.certificates = self.directory / "tls"
        self.make_certificate()
        self.tls = ssl.create_default_context(cafile=str(self.certificates / "ca.pem"))

    def call(self, *command: str | Path, told: str = "") -> str:
        """Runs one of the program's other commands."""
        done = subprocess.run(
            list(map(str, command)), input=told, capture_output=True, text=True, timeout=PATIENCE
        )
        if done.returncode != 0:
            raise Finding(Kind.CRASH, f"{command[1]}: {done.stderr.strip()}")
        return done.stdout

    def renew_accounts(self) -> None:
        """Writes the accounts, including one that is new each time."""
        self.n_renewals += 1
        guest = f"guest{self.n_renewals}@soak.test"
        tables = [
            f'[[accounts]]\naddress = "{address}"\n{self.password_line}\n'
            for address in [POSTMAN, *BOXES, VICTIM, GLUTTON, guest]
        ]
        tables[0] += 'send_as = ["*"]\n'
        new = self.accounts.with_suffix(".new")
        new.write_text("\n".join(tables))
        new.chmod(0o600)
        new.rename(self.accounts)

    def make_certificate(self, *options: str) -> None:
        """Makes the program create one, or with `--renew` another one."""
        where = ("--dir", self.certificates, "--config", self.config)
        self.call(self.binary, "cert", *options, *where)

    def start(self, mail: Path, prefix: tuple[str, ...] = ()) -> SoakDaemon:
        daemon = SoakDaemon(self, mail, prefix)
        daemon.wait_until_ready()
        return daemon


# --------------------------------------------------------------------------- well-behaved clients


def encrypt(wire: Wire, tls: ssl.SSLContext) -> None:
    """TLS from here on, with a certificate that must be valid."""
    if wire.received:
        raise Finding(Kind.REPLY, f"{bytes(wire.received)!r} before the handshake")
    try:
        wire.socket = tls.wrap_socket(wire.socket, server_hostname="127.0.0.1")
    except TimeoutError:
        raise Finding(Kind.REPLY, "no handshake") from None
    except ssl.SSLCertVerificationError as error:
        raise Finding(Kind.REPLY, f"certificate: {error}") from None
    except OSError as error:
        raise Broken(f"handshake: {error}") from None


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Sender(Smtp):
    """An SMTP session on one of the listeners."""

    WAYS = ["smtp", "smtp", "starttls", "smtps", "submission"]

    def __init__(self, doors: Doors, tls: ssl.SSLContext, way: str, rng: random.Random) -> None:
        port = doors.smtp if way == "starttls" else getattr(doors, way)
        Wire.__init__(self, port)
        try:
            if way == "smtps":
                encrypt(self, tls)
            self.expect("220")
            self.command("EHLO client.test", "250")
            if way == "starttls" or (way == "submission" and rng.random() < 0.5):
                self.command("STARTTLS", "220")
                encrypt(self, tls)
                self.command("EHLO client.test", "250")
            if way == "submission" or rng.random() < 0.2:
                self.log_in(rng)
        except BaseException:
            self.socket.close()
            raise

    def log_in(self, rng: random.Random) -> None:
        """AUTH in one of its forms."""
        if rng.random() < 0.5:
            self.command("AUTH PLAIN " + base64_of(f"\0{POSTMAN}\0any"), "235")
        else:
            self.command("AUTH LOGIN", "334")
            self.command(base64_of(POSTMAN), "334")
            self.command(base64_of("any"), "235")


class Reader(Pop3):
    """A POP3 session on one of the listeners, which sometimes only reads the top of a message."""

    WAYS = ["pop3", "pop3", "stls", "pop3s"]

    def __init__(
        self, doors: Doors, tls: ssl.SSLContext, way: str, mailbox: str, rng: random.Random
    ) -> None:
        self.rng = rng
        Wire.__init__(self, doors.pop3s if way == "pop3s" else doors.pop3)
        try:
            if way == "pop3s":
                encrypt(self, tls)
            self.ok()
            if way == "stls":
                self.command("STLS")
                encrypt(self, tls)
            if rng.random() < 0.3:
                self.command("AUTH PLAIN " + base64_of(f"\0{mailbox}\0any"))
            else:
                self.command(f"USER {mailbox}")
                self.command("PASS any")
        except BaseException:
            self.socket.close()
            raise

    def retrieve(self, listed: Listed) -> bytes:
        octets = super().retrieve(listed)
        if self.rng.random() < 0.2:
            n_lines = self.rng.randrange(30)
            head, end, body = octets.partition(b"\r\n\r\n")
            lines = body.split(b"\r\n", n_lines)[:n_lines]
            is_whole = body.count(b"\r\n") <= n_lines
            wanted = octets if is_whole else head + end + b"".join(line + b"\r\n" for line in lines)
            if self.top(listed.position, n_lines) != wanted:
                text = f"TOP {n_lines} of {listed.unique_id!r} is not the top of RETR"
                raise Finding(Kind.TORN, text)
        return octets

    def top(self, position: int, n_lines: int) -> bytes:
        """TOP, without the dots that the protocol adds."""
        self.command(f"TOP {position} {n_lines}")
        octets = b""
        while (line := self.until(b"\r\n")) != b".\r\n":
            octets += line[1:] if line.startswith(b".") else line
        return octets


def some_size(rng: random.Random) -> int:
    """Mostly small, some of 100 KiB, few of some MiB."""
    kind = rng.random()
    if kind < 0.85:
        return rng.randrange(KIB, 10 * KIB)
    if kind < 0.97:
        return rng.randrange(90 * KIB, 130 * KIB)
    return int(MIB * 10 ** rng.random())


class SoakLoad(Load):
    """Paced senders and readers, none of whose commands may be refused."""

    breaks_off = 0.0

    def __init__(self, bench: SoakBench, daemon: SoakDaemon, pace: float) -> None:
        self.doors = daemon.doors
        self.tls = bench.tls
        self.pace = pace
        super().__init__(bench, daemon, senders=4, readers=3)

    def pause(self, rng: random.Random, per_second: float) -> None:
        """As long as a client with this rate waits; never so long that a limit cuts it off."""
        self.over.wait(min(rng.expovariate(per_second), 5))

    def recipients(self, rng: random.Random) -> list[str]:
        count = rng.choice([1] * 12 + [2, 3, rng.randrange(4, 13)])
        return rng.sample(BOXES, count)

    def send(self, rng: random.Random) -> None:
        while not self.over.is_set():
            self.pause(rng, self.pace / 4)
            until = time.monotonic() + SESSION_SECONDS
            way = rng.choice(Sender.WAYS)
            try:
                with Sender(self.doors, self.tls, way, rng) as smtp:
                    for _ in range(rng.randrange(1, 9)):
                        letter = self.bench.letters.write(rng, some_size(rng))
                        smtp.deliver(self.ledger, letter, self.recipients(rng), rng)
                        self.count("acknowledged")
                        self.pause(rng, self.pace / 4)
                        if self.over.is_set() or time.monotonic() > until:
                            break
                    smtp.command("QUIT", "221")
                self.count(f"by {way}")
            except (Broken, Refused) as error:
                self.failed(self.smtp_may_fail, f"SMTP ({way})", error)

    def read(self, rng: random.Random) -> None:
        while not self.over.is_set():
            self.pause(rng, self.pace / 12)
            mailbox = rng.choice(BOXES)
            with self.claim(mailbox) as is_ours:
                if not is_ours:
                    continue
                way = rng.choice(Reader.WAYS)
                try:
                    self.visit_with(
                        lambda: Reader(self.doors, self.tls, way, mailbox, rng), mailbox, rng
                    )
                    self.count("visits")
                    self.count(f"by {way}")
                except (Broken, Refused) as error:
                    self.failed(self.pop3_may_fail, f"POP3 ({way})", error)

    def share(self, mailbox: str, n_seen: int) -> float:
        return 0.5 if n_seen < 30 else 0.9


def empty(daemon: SoakDaemon, mailbox: str) -> None:
    """Removes what hostile clients have sent, unless one of them holds the maildrop."""
    with contextlib.suppress(Broken, Refused), Pop3(daemon.pop3, mailbox) as pop3:
        pop3.delete([int(words[0]) for words in pop3.lines("LIST")])
        pop3.command("QUIT")


def knock_everywhere(bench: SoakBench, daemon: SoakDaemon) -> None:
    """One letter and one visit on every listener, so that everything that is created once
    exists."""
    rng = random.Random(2)  # with this seed no letter is given up
    for way in dict.fromkeys(Sender.WAYS):
        with Sender(daemon.doors, bench.tls, way, rng) as smtp:
            smtp.deliver(bench.ledger, bench.letters.write(rng, 5000), BOXES, rng)
            smtp.command("QUIT", "221")
    for way in dict.fromkeys(Reader.WAYS):
        for mailbox in BOXES:
            with Reader(daemon.doors, bench.tls, way, mailbox, rng) as pop3:
                pop3.see_all(bench.ledger, mailbox)
                pop3.command("QUIT")
    # A file of the journal is opened when it is first used: enough for all of them.
    for mailbox, count, size in (GLUTTON, 1, 12 * KIB), (VICTIM, 240, 100):
        with Sender(daemon.doors, bench.tls, "smtp", rng) as smtp:
            for _ in range(count):
                smtp.command("MAIL FROM:<>", "250")
                smtp.command(f"RCPT TO:<{mailbox}>", "250")
                smtp.command("DATA", "354")
                smtp.send((b"x" * 1022 + b"\r\n") * size)
                smtp.command(".", "250")
            smtp.command("QUIT", "221")
    empty(daemon, VICTIM)


# --------------------------------------------------------------------------------- what is judged


@dataclass(frozen=True)
class Sample:
    """The daemon at one moment: memory in KiB, and seconds of a processor."""

    rss: int
    anon: int
    threads: int
    descriptors: int
    cpu: float
    open: tuple[str, ...] = ()

    @staticmethod
    def of(pid: int) -> Sample:
        """The current sample."""
        vitals = Vitals(pid)
        names = vitals.open_files()
        return Sample(
            rss=vitals.octets("VmRSS") // KIB,
            anon=vitals.octets("RssAnon") // KIB,
            threads=vitals.threads(),
            descriptors=len(names),
            cpu=vitals.cpu_seconds(),
            open=tuple(names),
        )

    def __str__(self) -> str:
        return (
            f"RSS {self.rss / KIB:.1f} MiB (anonymous {self.anon / KIB:.1f}), "
            f"{self.threads} threads, {self.descriptors} descriptors"
        )


def sixth(samples: list[Sample], n: int) -> float:
    """The median of anonymous memory in the n-th sixth of a run, from 0. A login takes 19 MiB for a
    moment, which the median ignores."""
    size = len(samples) / 6
    part = samples[int(n * size) : max(int((n + 1) * size), int(n * size) + 1)]
    return statistics.median(sample.anon for sample in part)


def judge_memory(samples: list[Sample]) -> list[Finding]:
    """Whether it has grown."""
    early, late = sixth(samples, 1), sixth(samples, 5)
    if late <= early * (1 + GROWTH_SHARE) + GROWTH_KIB:
        return []
    text = f"anonymous memory has grown from {early / KIB:.1f} to {late / KIB:.1f} MiB"
    return [Finding(Kind.LEAK, text)]


def judge_rest(before: Sample, after: Sample) -> list[Finding]:
    """Whether everything that the load has used was released."""
    findings = []
    for what in "threads", "descriptors":
        was, is_now = getattr(before, what), getattr(after, what)
        if is_now > was:
            text = f"{is_now} {what} after the load, {was} before"
            if what == "descriptors":
                more = Counter(after.open) - Counter(before.open)
                text += f"; now there are {sorted(more)}"
            findings.append(Finding(Kind.LEAK, text))
    return findings


class LogWatcher:
    """Reads the log as it grows, and keeps what nothing explains."""

    LINE = re.compile(r"\[\S+ (\w+) *\] (.*)")
    # What a line may say about a client besides its address.
    FIELDS = r"(?: mechanism=\S+)?(?: omitted=\d+)?"
    EXPECTED = (
        r"serving as root: .*",
        rf"\S+ login refused user=.* client={re.escape(HOSTILE)}\S+?{FIELDS}: .*",
        # RFC 1939 allows one session per maildrop; a broken session can last a moment longer.
        rf"pop3-\d+ login refused user=.* client=\S+?{FIELDS}: the maildrop is in use",
        rf"\S+ turned away client={re.escape(FLOODING)}(?: omitted=\d+)?: .*",
    )
    # How sessions of well-behaved clients end; some of these break off on purpose.
    GOOD_END = re.compile(r"\S+ ended client=127\.0\.0\.1(?: omitted=\d+)?: (?!quit$|closed$)(.*)")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self.counts: Counter[str] = Counter()
        self.bad: list[str] = []
        self.counters: dict[str, dict[str, int]] = {}

    def look(self) -> None:
        """Reads the complete lines."""
        with open(self.path, "rb") as log:
            log.seek(self.position)
            octets = log.read()
        end = octets.rfind(b"\n") + 1
        self.position += end
        for line in octets[:end].decode(errors="replace").split("\n")[:-1]:
            self.take(line)

    def take(self, line: str) -> None:
        """Judges one line."""
        found = self.LINE.fullmatch(line)
        if found is None:
            words = line.split()
            if line.startswith("    ") and words and all("=" in word for word in words[1:]):
                pairs = (word.split("=") for word in words[1:])
                self.counters[words[0]] = {name: int(number) for name, number in pairs}
            else:
                self.bad.append(line)
            return
        level, text = found.groups()
        self.counts[level] += 1
        if text == "counters:":
            self.counts["counters"] += 1
        elif text.startswith("closed to all but"):
            self.counts["accounts"] += 1
        if level not in ("INFO", "DEBUG", "TRACE"):
            if not any(re.fullmatch(pattern, text) for pattern in self.EXPECTED):
                self.bad.append(line)
        elif (ended := self.GOOD_END.fullmatch(text)) is not None:
            self.counts[f"ended: {ended[1]}"] += 1
            if re.search("time|slow|long|reading|internal", ended[1]):
                self.bad.append(line)

    def findings(self) -> list[Finding]:
        """What nothing explains."""
        return [Finding(Kind.LOG, line) for line in self.bad]


def judge_counters(watcher: LogWatcher, minutes: float) -> list[Finding]:
    """The last counters: nothing has failed, and every kind of hostility was counted."""
    failures = {
        "sessions": ["now", "too_many", "no_thread", "accept_failed"],
        "ended": ["panicked"],
        "refused": ["no_space", "not_stored"],
        "store": ["failures", "degraded", "kept", "waiting"],
        "commits": ["failures"],
        "checkpoints": ["failures"],
    }
    met = {
        "sessions": ["too_many_from_address"],
        # `broken` counts those with commands after STARTTLS.
        "ended": ["closed", "lost", "timed_out", "broken"],
        "refused": [
            "unknown_recipient", "not_local", "too_many_recipients", "too_large", "line_ending",
            "other_protocol", "too_many_errors",
        ],
        "logins": ["smtp_refused", "pop3_refused"],
        "tls": ["done", "failed"],
    }  # fmt: skip
    if minutes >= 5:
        met["ended"].append("not_reading")  # takes a minute each
        met["refused"].append("too_many_unknown")
    findings = []
    for wanted, groups in (False, failures), (True, met):
        for group, names in groups.items():
            for name in names:
                count = watcher.counters.get(group, {}).get(name)
                if count is None or (count > 0) != wanted:
                    text = f"the counter {group} {name} is {count} at the end"
                    # Not everything happens in a minute.
                    if not wanted or count is None or minutes >= 3:
                        findings.append(Finding(Kind.LOG, text))
    return findings


def judge_the_judges() -> None:
    """Made-up runs and lines: what is wrong must be found, and nothing else."""
    rng = random.Random(1)

    def run(grow: float, spikes: float = 0.15, ahead: int = 0) -> list[Sample]:
        """Samples of an hour, with some KiB more each time."""
        return [
            Sample(0, int(9000 + 9000 * min(n / 50, 1) + n * grow + rng.randrange(800) + ahead
                          + 19_456 * (rng.random() < spikes)), 20, 30, 0.0)
            for n in range(360)
        ]  # fmt: skip

    def made_log(*lines: str) -> list[Finding]:
        watcher = LogWatcher(Path())
        for line in lines:
            watcher.take(line)
        return watcher.findings()

    at = "[2026-01-01T00:00:00Z"
    one, two = Sample(0, 0, 8, 20, 0.0), Sample(0, 0, 9, 21, 0.0)
    checks = {
        "flat": (judge_memory(run(0)), 0),
        "flat, with many logins": (judge_memory(run(0, 0.4)), 0),
        "flat and large": (judge_memory(run(0, ahead=90_000)), 0),
        "leaking 40 KiB a sample": (judge_memory(run(40)), 1),
        "leaking much": (judge_memory(run(4000)), 1),
        "leaking in a short run": (judge_memory(run(700)[::60]), 1),
        "at rest": (judge_rest(one, one), 0),
        "fewer than before": (judge_rest(two, one), 0),
        "a thread and a descriptor more": (judge_rest(one, two), 2),
        "a log as it should be": (
            made_log(
                f"{at} WARN ] serving as root: start as another user",
                f'{at} WARN ] smtp-7 login refused user="x" client={HOSTILE}3.4 '
                "mechanism=PLAIN omitted=7: wrong",
                f'{at} WARN ] pop3-7 login refused user="x" client=127.0.0.1 mechanism=USER: '
                "the maildrop is in use",
                f"{at} WARN ] SMTP turned away client={FLOODING}: too many",
                f"{at} WARN ] POP3 turned away client={FLOODING} omitted=5: too many",
                f"{at} INFO ] smtp-3 ended client=127.0.0.1: quit",
                f"{at} INFO ] smtp-3 ended client={HOSTILE}3.4 omitted=3: timed out",
                f"{at} INFO ] counters:",
                "    ended        quit=395 panicked=0",
            ),
            0,
        ),
        "a good login refused": (
            made_log(
                f'{at} WARN ] pop3-7 login refused user="x" client=127.0.0.1 mechanism=USER: wrong'
            ),
            1,
        ),
        "a good client turned away": (
            made_log(f"{at} WARN ] SMTP turned away client=127.0.0.1: too many"),
            1,
        ),
        "a store that fails": (made_log(f"{at} ERROR] smtp-7 store: disk: EIO"), 1),
        "a panic": (made_log("thread 'smtp-3' panicked at src/x.rs:3:4:", "index"), 2),
        "a good client cut": (
            made_log(f"{at} INFO ] smtp-3 ended client=127.0.0.1: timed out"),
            1,
        ),
    }
    for name, (findings, wanted) in checks.items():
        if len(findings) != wanted:
            text = f"{name}: {len(findings)} findings instead of {wanted}"
            raise Finding(Kind.CRASH, f"this script cannot judge: {text}")


# ---------------------------------------------------------------------------------------- the run


class Soak:
    """One run."""

    def __init__(self, bench: SoakBench, options: argparse.Namespace) -> None:
        self.bench = bench
        self.minutes: float = options.minutes
        self.seconds: float = options.minutes * 60
        self.pace: float = options.pace
        # A short run has enough samples for its sixths.
        self.interval = min(10.0, self.seconds / 60)
        self.mail = bench.directory / "mail"
        self.daemon = bench.start(self.mail)
        self.watcher = LogWatcher(self.daemon.log)
        self.samples: list[Sample] = []
        self.n_minutes = 0
        self.begin = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self.begin

    def sample(self) -> Sample:
        self.daemon.check_alive()
        return Sample.of(self.daemon.process.pid)

    def settle(self, baseline: Sample | None) -> Sample:
        """Waits until the sessions are gone, if they end."""
        deadline = time.monotonic() + 2 * PATIENCE
        last, calm = self.sample(), 0
        while calm < 5 and time.monotonic() < deadline:
            time.sleep(1)
            now = self.sample()
            same = (now.threads, now.descriptors) == (last.threads, last.descriptors)
            is_over = baseline is None or not judge_rest(baseline, now)
            calm = calm + 1 if same and is_over else 0
            last = now
        return last

    def run(self) -> None:
        """All of it; raises its findings."""
        knock_everywhere(self.bench, self.daemon)
        before = self.settle(None)
        print(f"soak: before the load: {before}", flush=True)
        self.begin = time.monotonic()
        used = own_cpu()
        load = SoakLoad(self.bench, self.daemon, self.pace)
        hostile = Hostile(self.daemon.doors, self.bench.chance, self.pace)
        findings: list[Finding] = []
        try:
            self.watch(load, hostile)
        except Finding as finding:
            findings.append(finding)
        finally:
            load.stop()
            hostile.stop()
            if self.samples:
                self.say(load, hostile)
        with_load = self.elapsed()
        try:
            load.end()
        except Findings as several:
            findings += several.findings
        self.daemon.check_alive()
        after = self.settle(before)
        self.tell(before, after, load, hostile, with_load, own_cpu() - used)
        findings += hostile.findings
        if not findings:
            findings += judge_memory(self.samples)
        findings += judge_rest(before, after)
        findings += self.end()
        if findings:
            raise Findings(findings)

    def watch(self, load: SoakLoad, hostile: Hostile) -> None:
        """Samples, signals and lines until the time is over, or something was found."""
        send_signal = self.daemon.process.send_signal
        half_sent = 0
        while (elapsed := self.elapsed()) < self.seconds:
            self.samples.append(self.sample())
            self.watcher.look()
            if self.watcher.bad or hostile.findings:
                return
            if elapsed >= (half_sent + 0.5) * 60:
                half_sent += 1
                self.bench.renew_accounts()
                if half_sent % 3 == 1:
                    self.bench.make_certificate("--renew")
                send_signal(signal.SIGHUP)
            if elapsed >= (self.n_minutes + 1) * 60:
                self.n_minutes += 1
                send_signal(signal.SIGUSR1)
                empty(self.daemon, VICTIM)
                self.say(load, hostile)
            next_time = self.begin + len(self.samples) * self.interval
            if load.over.wait(max(next_time - time.monotonic(), 0)):
                return

    def say(self, load: SoakLoad, hostile: Hostile) -> None:
        """One line of progress."""
        counts = load.counts
        print(
            f"soak: {self.elapsed() / 60:.0f} min: {self.samples[-1]}, "
            f"{counts['acknowledged']} acknowledged, {self.bench.ledger.counts['removed']} "
            f"copies removed, {hostile.counts.total()} hostile acts",
            flush=True,
        )

    def tell(
        self, before: Sample, after: Sample, load: SoakLoad, hostile: Hostile,
        seconds: float, own: float,
    ) -> None:  # fmt: skip
        """The report."""
        rows = {"idle, before": before, "idle, after": after}
        if self.samples:
            n = len(self.samples)
            rows = {
                "idle, before": before,
                "first": self.samples[min(n // 6, int(60 / self.interval))],
                "middle": self.samples[n // 2],
                "last": self.samples[-1],
                "idle, after": after,
            }
            anon, rss = (max(getattr(s, w) for s in self.samples) for w in ("anon", "rss"))
        for name, sample in rows.items():
            print(f"soak: {name:12} {sample}")
        if len(self.samples) >= 6:
            medians = " ".join(f"{sixth(self.samples, n) / KIB:.1f}" for n in range(6))
            threads, files = (
                max(getattr(s, w) for s in self.samples) for w in ("threads", "descriptors")
            )
            print(
                f"soak: most         RSS {rss / KIB:.1f} MiB (anonymous {anon / KIB:.1f}), "
                f"{threads} threads, {files} descriptors\n"
                f"soak: medians of anonymous memory in each sixth, MiB: {medians}"
            )
        cpu = after.cpu - before.cpu
        print(
            f"soak: processor: {cpu / seconds:.0%} of a core for the daemon, "
            f"{own / seconds:.0%} for the clients"
        )
        for what, counts in ("well-behaved", load.counts), ("hostile", hostile.counts):
            told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
            print(f"soak: {what}: {told}")
        sys.stdout.flush()

    def end(self) -> list[Finding]:
        """Stops the daemon, reads its log to the end, and compares after a restart."""
        findings: list[Finding] = []
        for mailbox in VICTIM, GLUTTON:
            empty(self.daemon, mailbox)
        try:
            self.daemon.stop()
            self.watcher.look()
            findings += self.watcher.findings()
            counts = self.watcher.counts
            if counts["counters"] != self.n_minutes + 1:
                text = f"counters {counts['counters']} times, not {self.n_minutes + 1} times"
                findings.append(Finding(Kind.LOG, text))
            # The first accounts were read at the start.
            if counts["accounts"] != self.bench.n_renewals:
                text = f"accounts read {counts['accounts']} times of {self.bench.n_renewals}"
                findings.append(Finding(Kind.LOG, text))
            findings += judge_counters(self.watcher, self.minutes)
            for group, numbers in self.watcher.counters.items():
                pairs = " ".join(f"{name}={number}" for name, number in numbers.items())
                print(f"soak: counted: {group:12} {pairs}")
            ended = {what: n for what, n in counts.items() if what.startswith("ended: ")}
            print(f"soak: other ends of well-behaved sessions: {ended}", flush=True)
            self.daemon = self.bench.start(self.mail)
            compare(self.bench, self.daemon, self.mail, self.bench.chance("compare"))
            self.daemon.stop()
        except Finding as finding:
            findings.append(finding)
        except Findings as several:
            findings += several.findings
        return findings


def own_cpu() -> float:
    """The processor time in seconds that this script has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("binary", type=Path, help="the program, built with --release")
    parser.add_argument("--minutes", type=float, default=60, help="how long the load lasts")
    parser.add_argument("--pace", type=float, default=8, help="letters a second, about")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--keep", action="store_true", help="keep mail and logs")
    parser.add_argument("--directory", type=Path, help="where to create them instead of /tmp")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    options.long, options.config_line = False, []
    if not os.access(options.binary, os.X_OK):
        parser.error(f"no such program: {options.binary}")
    if options.minutes < 0.5 or options.pace <= 0:
        parser.error("half a minute at least, and a pace above 0")
    for number in ENDING:
        signal.signal(number, interrupt)
    directory = Path(tempfile.mkdtemp(prefix="facteur-soak-", dir=options.directory))
    print(f"soak: {options.minutes:g} minutes, seed {options.seed}, {directory}", flush=True)
    findings: list[Finding] = []
    bench: SoakBench | None = None

    def soak() -> None:
        nonlocal bench
        judge_the_judges()
        bench = SoakBench(options, "soak", directory)
        bench.letters.text *= 24  # for large letters
        Soak(bench, options).run()

    try:
        findings = found_by(soak)
    except KeyboardInterrupt:
        print("interrupted")
        return 1
    finally:
        if bench is not None:
            if findings:
                report(bench, findings)
            bench.clean_up()
        if options.keep:
            print(f"kept in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if findings:
        print(f"soak: FAILED, {len(findings)} findings, seed {options.seed}")
        return 1
    print("soak: ok: flat, nothing left over, nothing lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
