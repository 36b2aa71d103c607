#!/usr/bin/env python3
"""The proof with real mail servers and readers: mail that got its 250 is fetched once, unchanged.

    python3 tests/queues.py --short target/release/facteur
    python3 tests/queues.py --long target/release/facteur
    python3 tests/queues.py --long target/release/facteur postfix exim --seed 7

A mail server, configured from the guide if that has lines for it, is given a hundred awkward
letters: with 8-bit header fields, non-ASCII addresses, bare CRs, endless lines, dots, 5 MiB, 50
recipients. For a while the disk is full, and the server must keep its queue. Everything it sends
goes through a recorder. When the queue is empty, every mailbox must have what the recorder saw
accepted, octet for octet and once, and so must what each reader fetches. Then the same with a
login, without TLS and with it. The recorder cannot see into TLS, so then every letter is counted.

    self-test  somebody tampers with the mail; the comparison must notice
    direct     no mail server, but the same letters; to find the culprit
    postfix, exim, opensmtpd, sendmail, nullmailer, dma
               that mail server, and all readers
    lmtp       Postfix hands in over LMTP, and one of three mailboxes cannot be written for a while

It needs root, Linux with overlayfs, e2fsprogs, iproute2, Debian with its packages available (after
`apt-get update`), and the readers: mpop, fetchmail, getmail6, fdm, nmh, and in the long form also
s-nail, alpine, uw-mailutils, claws-mail, xvfb, gir1.2-camel-1.2, python3-gi and libglib2.0-bin. A
reader that is missing, or a package that cannot be installed, is a failure. The mail servers
conflict with each other, so apt installs each in a view of this system whose changes are thrown
away. Everything except apt runs in a separate network. The short form leaves out some mail servers
and readers and the login without TLS, and the readers fetch once.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

sys.dont_write_bytecode = True  # leaves nothing in the source tree

import scenarios
from attacks_bench import certificate
from foreign_programs import House
from queues_bench import (
    MANY,
    Awkward,
    Post,
    Recorder,
    differences,
    expected,
    mailbox_of,
    retrieved,
    what_is,
    without_trace,
)
from queues_mailers import MAILERS, PASSWORD, PORT, USER, Mailer, Network, View, Way, block
from queues_readers import READERS, Reader
from survival_bench import Bench, Daemon, Unable
from survival_clients import MIB, Finding, Findings, Kind, Pop3, Refused, Smtp
from survival_disks import DISKS, BlockFiller, only_as_root

# How many letters each mail server gets, in the short and in the long form.
SHORT, LONG = 40, 100

# The scenarios of the short form.
SHORT_FORM = ("self-test", "postfix", "nullmailer", "lmtp")

# How long a mail server may need until its queue is empty, in seconds.
QUEUE_PATIENCE = 180.0

# The other mailboxes.
OTHERS = [f"box{number:02}@example.com" for number in range(1, MANY)]

# The size of the disk that is full for a while.
DISK = 512 * MIB


class Office:
    """A mail server, the daemon, and the recorder between them."""

    def __init__(self, bench: Bench, mailer: Mailer, daemon: Daemon, recorder: Recorder) -> None:
        self.bench = bench
        self.mailer = mailer
        self.daemon = daemon
        self.recorder = recorder
        # What the mail server has accepted, and what it has refused.
        self.given: dict[int, Awkward] = {}
        self.rejected: dict[int, str] = {}

    def give(self, letters: list[Awkward]) -> None:
        """Gives these to the mail server."""
        for letter in letters:
            code, said = self.mailer.submit(letter.sender, list(letter.recipients), letter.octets)
            if code == 0:
                self.given[letter.number] = letter
            else:
                self.rejected[letter.number] = f"{letter.kind}: {said.strip()[-200:]}"

    def wait_for(self, what: str, is_so: Callable[[], bool]) -> None:
        """Waits until the condition holds, and hurries the mail server."""
        deadline = time.monotonic() + QUEUE_PATIENCE
        hurried = time.monotonic()
        while not is_so():
            self.daemon.check_alive()
            if time.monotonic() > deadline:
                told = f"queue {self.mailer.queue()[-600:]!r}, {self.mailer.tail()}"
                raise Finding(Kind.LOST, f"waited in vain for {what}: {told}")
            if time.monotonic() > hurried + 1:
                self.mailer.hurry()
                hurried = time.monotonic()
            time.sleep(0.1)

    def wait_for_queue(self) -> None:
        """Waits until there is nothing more to send. A bounce can come a moment later."""
        empty = 0

        def is_quiet() -> bool:
            nonlocal empty
            empty = 0 if self.mailer.queue() else empty + 1
            return empty == 5

        self.wait_for("an empty queue", is_quiet)

    def refused(self) -> Counter[str]:
        """How often each refusal came."""
        return self.recorder.refusals()

    def check(self) -> dict[str, list[bytes]]:
        """Each mailbox has what was accepted for it, and nothing else. Returns the mailboxes'
        content."""
        transactions = self.recorder.transactions()
        wanted = expected(transactions)
        mailboxes = self.mailboxes() | wanted.keys()
        password = self.bench.password
        got = {box: retrieved(self.daemon.pop3, box, password) for box in sorted(mailboxes)}
        findings = []
        if not self.recorder.is_blind():
            for mailbox, messages in got.items():
                findings += differences(mailbox, wanted.get(mailbox, []), messages)
        findings += self.check_given(got)
        if findings:
            raise Findings(findings)
        return got

    def mailboxes(self) -> set[str]:
        """The mailboxes on the disk."""
        mail = self.bench.disks[0].mail
        domains = [path for path in mail.iterdir() if path.name != ".facteur"]
        return {f"{box.name}@{domain.name}" for domain in domains for box in domain.iterdir()}

    def check_given(self, got: dict[str, list[bytes]]) -> list[Finding]:
        """Every letter that the mail server has accepted is there, or a bounce is, which names it.
        The server may send a letter once per recipient, but no more often. If a bounce contains all
        of a letter that was refused for its CRs, it is refused as well."""
        findings = []
        there = Counter(what_is(octets) for octets in got.get(USER, []))
        tried = self.recorder.transactions()
        for number, letter in self.given.items():
            count = there[f"letter {number}"]
            replies = [(t.reverse_path, t.reply) for t in tried if t.number == number]
            is_refused = any(not path and str(reply)[:1] == "5" for path, reply in replies)
            if self.recorder.is_blind():
                is_refused = letter.kind.startswith("bare CR")
            least = 0 if is_refused else 1
            most = sum(mailbox_of(recipient) == USER for recipient in letter.recipients)
            if not least <= count <= most:
                text = f"{letter.kind}: {count} messages about it in {USER}, replies {replies}"
                findings.append(Finding(Kind.LOST if count == 0 else Kind.TWICE, text, number))
        return findings

    def read_with(self, program: Reader) -> list[Finding]:
        """What one reader fetches, compared with what the daemon has."""
        if program.longest_line is not None:
            self.remove_lines_over(program.longest_line)
        wanted = retrieved(self.daemon.pop3, USER, self.bench.password)
        got = program.fetch(self.daemon.pop3)
        if program.removes and retrieved(self.daemon.pop3, USER, self.bench.password):
            raise Finding(Kind.BACK, f"{program.name} has removed all, but messages are there")

        def plain(octets: bytes) -> bytes:
            return program.plain(octets.replace(b"\r\n", b"\n"))

        found = [plain(without_trace(octets, program.name)) for octets in got]
        return differences(program.name, [plain(octets) for octets in wanted], found)


    def remove_lines_over(self, octets: int) -> None:
        """Removes the messages that have such a line."""
        with Pop3(self.daemon.pop3, USER, self.bench.password) as pop3:
            for listed in pop3.listing():
                if max(map(len, pop3.retrieve(listed).split(b"\n"))) > octets:
                    pop3.delete([listed.position])
            pop3.command("QUIT")


@contextlib.contextmanager
def office(
    bench: Bench, kind: type[Mailer], view: View | None, way: Way = Way.OPEN
) -> Iterator[Office]:
    """All three, running."""
    lines = ['hostname = "localhost"']
    if way is not Way.OPEN:
        lines += ['submission = ["127.0.0.1:0"]', "require_auth = true", *account(bench)]
    if way is Way.TLS:
        lines += certificate(bench)
    bench.configure(*lines)
    disk = DISKS["ext4"](bench, bench.directory / "disk.ext4", DISK)
    disk.mount()
    daemon = bench.start(disk.mail)
    ports = {Way.OPEN: daemon.smtp, Way.LOGIN: daemon.submission, Way.TLS: daemon.submission}
    if kind.uses_smtps:
        ports[Way.TLS] = daemon.smtps
    recorder = Recorder(PORT, ports[way])
    try:
        mailer = kind(view, way)
        try:
            yield Office(bench, mailer, daemon, recorder)
        finally:
            mailer.stop()
    finally:
        recorder.close()
        daemon.kill()
        disk.release()
        bench.disks.remove(disk)
    daemon.check_log()


def account(bench: Bench) -> list[str]:
    """The only account. Returns the lines for the end of the configuration."""
    hashed = subprocess.run(
        [bench.binary, "hash-password"],
        input=PASSWORD.encode() + b"\n",
        capture_output=True,
        check=True,
    )
    file = bench.directory / "accounts.toml"
    file.touch(0o600)
    file.write_text(f'[[accounts]]\naddress = "{USER}"\n{hashed.stdout.decode()}')
    bench.password = PASSWORD
    return ['accounts = "accounts.toml"']


# -------------------------------------------------------------------------------------- scenarios


def letters_for(bench: Bench, mailer: type[Mailer], way: Way) -> list[Awkward]:
    """The letters for a mail server."""
    is_open = way is Way.OPEN
    post = Post(bench.chance(f"letters {way.value}"), USER, OTHERS if is_open else [])
    letters = post.many(mailer.knows_smtputf8 and is_open, mailer.knows_nobody)
    return list(islice(letters, LONG if bench.is_long else SHORT))


def refuse_for_a_while(office: Office, letters: list[Awkward]) -> Counter[str]:
    """The disk is full while these are given, until the mail server was refused and had to keep
    them. Returns the refusals."""
    filler = BlockFiller(office.bench.disks[0])
    try:
        filler.fill()
        office.give(letters)
        office.wait_for("refusals", lambda: sum(office.refused().values()) >= min(3, len(letters)))
        told = office.refused()
        if not office.mailer.queue():
            raise Finding(Kind.LOST, f"{office.mailer.name} keeps nothing after {dict(told)}")
        filler.release()
        return told
    finally:
        filler.close()


def send(bench: Bench, view: View, house: House, name: str, way: Way) -> list[Finding]:
    """One of the ways, from the letters to what each reader has."""
    with office(bench, MAILERS[name], view, way) as at_work:
        letters = letters_for(bench, MAILERS[name], way)
        told: Counter[str] = Counter()
        rest = letters
        if way is Way.OPEN:
            told = refuse_for_a_while(at_work, letters[2:12])
            rest = letters[:2] + letters[12:]
        at_work.give(rest)
        at_work.wait_for_queue()
        got = at_work.check()
        sessions = at_work.recorder.read()
        talkative = [session for session in sessions if session.transactions or session.is_tls]
        for what, is_so in (
            ("a login", way is not Way.LOGIN or all(s.is_logged_in for s in talkative)),
            ("TLS", way is not Way.TLS or all(s.is_tls for s in talkative)),
        ):
            if not is_so:
                raise Finding(Kind.REPLY, f"{name} has sent without {what}")
        bench.say(
            f"{name}, {way.value}: {len(at_work.given)} letters in {len(sessions)} sessions are"
            f" {len(got[USER])} messages of {USER}, and {sum(map(len, got.values()))} in all"
        )
        for said, count in Counter(at_work.rejected.values()).items():
            bench.say(f"    it does not accept {count}: {said}")
        for reply, count in (at_work.refused() - told).items():
            bench.say(f"    refused {count} times: {reply}")
        for reply, count in told.items():
            bench.say(f"    refused {count} times while the disk was full: {reply}")
        return read_with_all(at_work, house) if way is Way.OPEN or bench.is_long else []


def read_with_all(at_work: Office, house: House) -> list[Finding]:
    """The findings of all readers of the form."""
    bench = at_work.bench
    findings = []
    seconds = []
    for name, kind in READERS.items():
        if kind.is_small or bench.is_long:
            begin = time.monotonic()

            def read() -> None:
                raise_all(at_work.read_with(kind(house, USER, bench.password)))

            findings += scenarios.found_by(read)
            seconds.append(f"{name} {time.monotonic() - begin:.1f}")
    bench.say(f"    seconds of the readers: {', '.join(seconds)}")
    return findings


class Direct(Mailer):
    """No mail server: it gives each letter directly to the daemon."""

    name = "direct"

    def configure(self) -> None:
        """It has none."""

    def stop(self) -> None:
        """Nothing runs."""

    def submit(self, sender: str, recipients: list[str], octets: bytes) -> tuple[int, str]:
        content = re.sub(rb"\r?\n", b"\r\n", octets)
        content = content if content.endswith(b"\r\n") else content + b"\r\n"
        try:
            with Smtp(PORT) as smtp:
                smtp.command(f"MAIL FROM:<{sender}> BODY=8BITMIME", "250")
                for recipient in recipients:
                    smtp.command(f"RCPT TO:<{recipient}>", "250")
                smtp.command("DATA", "354")
                smtp.send((b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
                smtp.expect("250")
        except Refused as error:
            return 1, str(error)
        return 0, ""

    def queue(self) -> str:
        return ""


def direct(bench: Bench) -> None:
    """Without a mail server: the letters and all readers."""
    house = House(bench, "house")
    with office(bench, Direct, None) as at_work:
        at_work.give(letters_for(bench, Direct, Way.OPEN))
        at_work.check()
        raise_all(read_with_all(at_work, house))


def self_test(bench: Bench) -> None:
    """Somebody tampers with the mail, or with what a reader has fetched, and it is noticed."""
    house = House(bench, "house")

    def changed(file: Path) -> None:
        octets = file.read_bytes()
        file.write_bytes(octets[:-3] + bytes([octets[-3] ^ 1]) + octets[-2:])

    def doubled(file: Path) -> None:
        shutil.copy(file, file.with_name("1" + file.name))

    tampering: dict[str, tuple[Kind | None, Callable[[Path], None]]] = {
        "nothing": (None, lambda file: None),
        "removed": (Kind.LOST, Path.unlink),
        "changed": (Kind.TORN, changed),
        "doubled": (Kind.TWICE, doubled),
    }

    class Forgetful(READERS["mpop"]):
        """Does not deliver everything."""

        def fetch(self, port: int) -> list[bytes]:
            return super().fetch(port)[1:]

    for bench.round, (what, (kind, tamper)) in enumerate(tampering.items(), 1):
        with office(bench, Direct, None) as at_work:
            at_work.give(letters_for(bench, Direct, Way.OPEN)[1:12])
            at_work.check()
            name, _, domain = USER.partition("@")
            tamper(min((bench.disks[0].mail / domain / name / "new").iterdir()))
            check_found(what, kind, scenarios.found_by(lambda: at_work.check()))
            if kind is None:
                for reader, kind in (READERS["mpop"], None), (Forgetful, Kind.LOST):
                    program = reader(house, USER, bench.password)
                    check_found(reader.__name__, kind, at_work.read_with(program))
    bench.say(f"{len(tampering)} kinds of tampering are distinguished")


def check_found(what: str, kind: Kind | None, findings: list[Finding]) -> None:
    """Whether exactly that was noticed."""
    found = {finding.kind for finding in findings}
    if bool(found) != (kind is not None) or (kind is not None and kind not in found):
        raise Finding(Kind.CRASH, f"{what!r}: found {found}, wanted {kind}: {findings[:3]}")


def raise_all(findings: list[Finding]) -> None:
    """Raises them, if there are any."""
    if findings:
        raise Findings(findings)


def mailer(bench: Bench, network: Network, cache: Path | None, name: str) -> None:
    """A mail server in all its ways."""
    house = House(bench, "house")
    view = View(bench.directory / "view", cache)
    try:
        seconds = view.install(network, MAILERS[name].packages)
        bench.say(f"{' '.join(MAILERS[name].packages)} installed in {seconds:.1f} s")
        ways = [way for way in MAILERS[name].ways if way is not Way.LOGIN or bench.is_long]
        raise_all([found for way in ways for found in send(bench, view, house, name, way)])
    finally:
        house.clean_up()
        view.release()


def lmtp(bench: Bench, network: Network, cache: Path | None) -> None:
    """Postfix has an answer for each mailbox: the others do not wait, and nobody gets it twice."""
    view = View(bench.directory / "view", cache)
    boxes = ["bob@example.com", "broken@example.com", "cid@example.com"]
    mail = bench.directory / "mail"
    bench.configure('hostname = "localhost"', *block("facteur.toml with LMTP"))
    try:
        view.install(network, MAILERS["postfix"].packages)
        daemon = bench.start(mail)
        mailer = MAILERS["postfix"](view, Way.LMTP)
        in_the_way = mail / "example.com" / "broken"
        in_the_way.parent.mkdir(mode=0o700)
        in_the_way.touch(0o600)

        def counts() -> list[int]:
            return [len(retrieved(daemon.pop3, box, "any")) for box in boxes]

        def wait_for(what: str, is_so: Callable[[], bool]) -> None:
            deadline = time.monotonic() + QUEUE_PATIENCE
            while not is_so():
                daemon.check_alive()
                if time.monotonic() > deadline:
                    told = f"{counts()}, queue {mailer.queue()[-600:]!r}, {mailer.tail()}"
                    raise Finding(Kind.LOST, f"waited in vain for {what}: {told}")
                mailer.hurry()
                time.sleep(0.5)

        try:
            letter = b"From: alice@example.com\nSubject: letter 1\n\nhello\n"
            code, said = mailer.submit("alice@example.com", boxes, letter)
            if code:
                raise Finding(Kind.REPLY, f"Postfix does not accept it: {said}")
            of_others = [boxes[0], boxes[2]]
            wait_for(
                "the mail of the others",
                lambda: all(len(retrieved(daemon.pop3, box, "any")) for box in of_others),
            )
            waiting = mailer.queue()
            if boxes[1] not in waiting or any(box in waiting for box in of_others):
                raise Finding(Kind.LOST, f"the queue should have only {boxes[1]}: {waiting}")
            in_the_way.unlink()
            wait_for("an empty queue", lambda: not mailer.queue())
            if counts() != [1, 1, 1]:
                raise Finding(Kind.TWICE, f"each mailbox should have one message: {counts()}")
            for file in (in_the_way / "new").iterdir():
                if b" with LMTP id " not in file.read_bytes():
                    raise Finding(Kind.TORN, f"{file.name} did not come over LMTP")
        finally:
            mailer.stop()
            daemon.kill()
        bench.say("Postfix keeps a message only for the mailbox that cannot be written")
    finally:
        view.release()


# ------------------------------------------------------------------------------------------- main


def main() -> int:
    names = ["self-test", "direct", *MAILERS, "lmtp"]
    durations = ("a minute", "eight minutes")
    arguments = scenarios.parser(__doc__, names, durations)
    arguments.add_argument("--cache", type=Path, help="where apt keeps what it downloads")
    options = scenarios.parse(arguments, names)
    try:
        only_as_root()
        network = Network()
    except Unable as reason:
        print(f"FAILED: {reason}")
        return 1
    Reader.outside = network.prefix
    cache = options.cache.resolve() if options.cache else None
    known: dict[str, scenarios.Play] = {"self-test": ("", self_test), "direct": ("", direct)}
    for name in MAILERS:
        known[name] = ("", functools.partial(mailer, network=network, cache=cache, name=name))
    known["lmtp"] = ("", functools.partial(lmtp, network=network, cache=cache))
    of_short_form = [name for name in known if name in SHORT_FORM]
    chosen = options.scenario or (list(known) if options.long else of_short_form)
    plays = {name: known[name] for name in chosen}
    held = "everything that was accepted was fetched once, as it was sent"
    return scenarios.finish(options, "queues", plays, known, held)


if __name__ == "__main__":
    sys.exit(main())
