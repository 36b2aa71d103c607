#!/usr/bin/env python3
"""A test server receives what tests send: from the libraries of seven languages, with defaults.

    python3 tests/libraries.py --short target/release/facteur
    python3 tests/libraries.py --long target/release/facteur
    python3 tests/libraries.py --long target/release/facteur go jakarta

Each scenario is a library or a program that sends. First it sends to a facteur without a
configuration, through a tap that records what it puts on the wire: messages with dots at the
beginning of lines, lines that consist of a dot, bare line feeds, long lines, UTF-8, no end of the
last line, a large attachment and others. Everything accepted must come out over POP3 octet for
octet as it was on the wire, and must be what the program was given. If a library itself changes or
refuses something, that is listed below, under "what libraries do".

Then facteur has a certificate, whose CA the library does not know. The library must send
nevertheless, or fail with a word about certificates while the log of facteur says what to do; with
`starttls = "off"` it must send. At last it logs in to an account over TLS, with the CA as `facteur
cert` says, and must be refused with a wrong password.

    self-test    somebody tampers with the mail; the comparison must notice
    python       smtplib: sendmail with octets and with text, send_message
    curl         curl -T; curl-crlf is the same with --crlf
    swaks, msmtp
    perl         Net::SMTP
    git          git send-email: patches come back, and git am makes the same commits from them
    nodemailer   Node.js
    phpmailer    PHP, and so is symfony, Symfony Mailer
    ruby         the gem mail, and Net::SMTP
    go           net/smtp; only in the long form
    jakarta      Jakarta Mail; only in the long form

A program that is missing is a failure, which names its Debian packages. Those of the long form are
large. Otherwise only Python 3 is needed.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import functools
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

sys.dont_write_bytecode = True  # leaves nothing in the source tree

import scenarios
from libraries_git import Git
from libraries_programs import (
    CASES,
    PROGRAMS,
    WITH_LOGIN,
    Case,
    Letter,
    Program,
    Server,
    Workplace,
)
from survival_bench import Bench, Daemon, run
from survival_clients import KIB, PATIENCE, Finding, Findings, Kind, Pop3

ALICE, BOB, PASSWORD = "alice@example.com", "bob@example.com", "sesame"

# ----------------------------------------------------------------------------- what libraries do
#
# By program and letter, or all letters of a case. Everything else must be accepted, and come out as
# it was given.

# What is refused, and a word from the reason. The program says it itself, or facteur does.
REFUSED: dict[tuple[str, str], str] = {
    # sendmail encodes text as ASCII.
    ("python", "utf-8-str"): "UnicodeEncodeError",
    ("python", "utf-8-subject-str"): "UnicodeEncodeError",
    # They do not double a lone dot between bare LFs, which other servers may take for the end.
    ("curl", "lone-dots-lf"): "Weird server reply",
    ("curl", "only-dot-at-end-lf"): "Weird server reply",
    ("symfony", "lone-dots-lf"): "lone dot next to a line feed",
    ("symfony", "only-dot-at-end-lf"): "lone dot next to a line feed",
    # It makes CR CR LF from CRLF, and POP3 could not return every CR of that.
    **{("curl-crlf", f"{case.name}-crlf"): "Weird server reply" for case in CASES},
    ("phpmailer", "empty"): "Message body empty",
}

# What comes out as it was on the wire, but not as the program was given it; and why.
CHANGED: dict[tuple[str, str], str] = {
    ("python", "from-own"): "send_message quotes lines for mbox",
    ("curl", "dots-lf"): "only dots after CRLF are doubled",
    ("symfony", "dots-lf"): "only dots after CRLF are doubled",
    ("swaks", "only-dot-at-end-crlf"): "a dot at the end is taken for that of SMTP",
    ("swaks", "only-dot-at-end-lf"): "a dot at the end is taken for that of SMTP",
    ("ruby", "lone-dots-own"): "mail doubles a lone dot, and Net::SMTP does it again",
    ("ruby", "only-dot-at-end-own"): "mail doubles a lone dot, and Net::SMTP does it again",
    ("swaks", "utf-8-own"): "no header field says that it is UTF-8",
}


# --------------------------------------------------------------------------------------- the tap


class Tap:
    """A port in front of the daemon's, which records the contents that pass."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        # The contents sent to each mailbox.
        self.contents: defaultdict[str, list[bytes]] = defaultdict(list)
        self.threads: list[threading.Thread] = []
        self.over = False

    def __enter__(self) -> Tap:
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.over = True
        # Wakes the thread that accepts.
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in [self.accepting, *self.threads]:
            thread.join(PATIENCE)
        self.listener.close()

    def accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            if self.over:
                client.close()
                return
            thread = threading.Thread(target=self.pass_on, args=(client,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def pass_on(self, client: socket.socket) -> None:
        """Forwards both ways, until one side has closed and the other knows."""
        said, answered = bytearray(), bytearray()
        # Where contents begin in the client's octets.
        begins: list[int] = []
        with client, socket.create_connection(("127.0.0.1", self.to)) as daemon:
            other = {client: daemon, daemon: client}
            speaking = [client, daemon]
            while speaking:
                for side in select.select(speaking, [], [])[0]:
                    try:
                        octets = side.recv(64 * KIB)
                        other[side].sendall(octets)
                    except OSError:
                        octets = b""
                    if not octets:
                        speaking.remove(side)
                        with contextlib.suppress(OSError):  # it may be gone already
                            other[side].shutdown(socket.SHUT_WR)
                    elif side is client:
                        said += octets
                    else:
                        # A client waits for this reply before it continues.
                        n_before = n_lines(answered, b"354")
                        answered += octets
                        begins += [len(said)] * (n_lines(answered, b"354") - n_before)
        self.note(bytes(said), begins)

    def note(self, said: bytes, begins: list[int]) -> None:
        """Finds the contents in the client's octets."""
        done = 0
        for begin in begins:
            # An empty content ends with the first line after DATA.
            end = said.find(b"\r\n.\r\n", begin - 2)
            end = len(said) if end < 0 else end + 2
            recipients = re.findall(rb"(?i)RCPT TO:\s*<([^>]*)>", said[done:begin])
            for recipient in recipients:
                self.contents[recipient.decode()].append(said[begin:end])
            done = end


def n_lines(octets: bytes | bytearray, begin: bytes) -> int:
    """How many complete lines begin with this."""
    return len(re.findall(rb"(?m)^" + begin + rb"[^\n]*\n", octets))


def meant(content: bytes) -> bytes:
    """The meaning of a content on the wire: after CRLF the first dot of a line is the library's,
    after a bare LF one of two dots is, and every line ends in CRLF."""
    content = re.sub(rb"(\A|\r\n)\.", rb"\1", content)
    content = re.sub(rb"(?<!\r)\n\.\.", b"\n.", content)
    return re.sub(rb"(?<!\r)\n", b"\r\n", content)


# -------------------------------------------------------------------------------- the comparison

# The fields that facteur adds before a message.
TRACE = re.compile(rb"Return-Path: <[^>\r\n]*>\r\nReceived: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


def fetched(port: int, mailbox: str, password: str) -> list[bytes]:
    """All messages of a mailbox, without the fields that facteur adds."""
    with Pop3(port, mailbox, password) as pop3:
        messages = [pop3.retrieve(listed) for listed in pop3.listing()]
        pop3.command("QUIT")
    without = [TRACE.sub(b"", message, count=1) for message in messages]
    if any(len(rest) == len(message) for rest, message in zip(without, messages)):
        raise Finding(Kind.TORN, f"{mailbox}: no trace header fields")
    return without


def lines_of(octets: bytes) -> list[bytes]:
    """The lines, without empty ones at the end: some libraries add one."""
    return octets.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")


def difference(letter: Letter, message: bytes) -> str:
    """How a message that came out differs from what the library was given; empty if it does not."""
    if letter.content is not None:
        pairs = zip(lines_of(letter.content), lines_of(message))
        for number, (given, came) in enumerate(pairs, 1):
            if given != came:
                return f"line {number} was {given[:70]!r}, is {came[:70]!r}"
        n_given, n_came = len(lines_of(letter.content)), len(lines_of(message))
        return "" if n_given == n_came else f"{n_given} lines have become {n_came}"
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    if parsed["Subject"] != letter.case.title:
        return f"the subject is {parsed['Subject']!r}"
    body = parsed.get_body(("plain",))
    text = body.get_content().encode() if body is not None else b""
    if lines_of(text) != lines_of(letter.case.text.encode()):
        return f"the text is {text[:200]!r}"
    attachments = [part.get_content() for part in parsed.iter_attachments()]
    if attachments != [letter.case.attachment] * bool(letter.case.attachment):
        return f"attachments of {[len(attachment) for attachment in attachments]} octets"
    return ""


def known(table: dict[tuple[str, str], str], program: str, letter: Letter) -> str:
    """The table's entry for a letter, or for its case."""
    return table.get((program, letter.name)) or table.get((program, letter.case.name), "")


def check_letter(
    port: int, program: str, letter: Letter, said: str, on_the_wire: dict[str, list[bytes]]
) -> list[Finding]:
    """One letter in its mailboxes, after the program reported this about it."""
    if word := known(REFUSED, program, letter):
        if said == "sent":
            return [Finding(Kind.REPLY, f"{letter.name} should be refused ({word})")]
        if word not in said:
            return [Finding(Kind.REPLY, f"{letter.name} is refused without {word!r}: {said}")]
    elif said != "sent":
        return [Finding(Kind.REPLY, f"{letter.name} is refused: {said}")]
    findings = []
    for mailbox in letter.to:
        messages = fetched(port, mailbox, "any")
        wanted = int(said == "sent")
        if len(messages) != wanted:
            kind = Kind.LOST if len(messages) < wanted else Kind.TWICE
            findings.append(Finding(kind, f"{mailbox} has {len(messages)} messages, not {wanted}"))
            continue
        for message in messages:
            if [message] != list(map(meant, on_the_wire[mailbox])):
                findings.append(Finding(Kind.TORN, f"{mailbox}: not as it was on the wire"))
            differs = difference(letter, message)
            if bool(differs) != bool(known(CHANGED, program, letter)):
                text = differs or "as it was given, which was not expected"
                findings.append(Finding(Kind.TORN, f"{mailbox}: {text}"))
    return findings


# -------------------------------------------------------------------------------------- scenarios


def send_openly(
    bench: Bench, program: Program, tamper: Callable[[Path], None] = lambda _: None
) -> None:
    """Sends all cases to a facteur without a configuration, and compares."""
    workplace = Workplace(bench)
    bench.configure(limits=())
    mail = bench.directory / f"open-{bench.round}"
    daemon = bench.start(mail)
    letters = program.letters(CASES, ALICE)
    with Tap(daemon.smtp) as tap:
        said = program.send(workplace, Server(tap.port), letters)
    tamper(mail)
    findings = []
    for letter in letters:
        findings += check_letter(daemon.pop3, program.name, letter, said[letter.name], tap.contents)
    daemon.check_log()
    daemon.stop()
    if findings:
        raise Findings(findings)
    bench.ledger.counts["acknowledged"] += sum(
        len(letter.to) for letter in letters if said[letter.name] == "sent"
    )
    n_refused = sum(text != "sent" for text in said.values())
    n_changed = sum(bool(known(CHANGED, program.name, letter)) for letter in letters)
    found = f"{len(letters) - n_refused} sent and found, {n_changed} of them changed"
    bench.say(f"{len(letters)} letters to an open facteur: {found}, {n_refused} refused, as known")


def certified(bench: Bench, *lines: str, limits: tuple[str, ...] = ()) -> Path:
    """Makes a configuration with a certificate, as the guide describes. Returns the CA's file."""
    directory = bench.directory / "tls"
    lines = ('smtps = ["127.0.0.1:0"]', 'pop3s = ["127.0.0.1:0"]', *lines)
    bench.configure(*lines, limits=limits)
    run(bench.binary, "cert", "--dir", directory, "--config", bench.config)
    return directory / "ca.pem"


# What clients say when they do not trust a certificate.
UNTRUSTED = re.compile("certificate", re.IGNORECASE)

# What they say about a password that is refused, with the reply or in their own words.
WRONG_PASSWORD = re.compile("535|[Ll]ogin denied|[Aa]uthentic")


def send_untrusting(bench: Bench, program: Program) -> None:
    """Sends to an open facteur with a certificate whose CA the library does not know."""
    workplace = Workplace(bench)
    plain = acceptable(program, CASES[:1], ALICE)[-1:]
    for line in 'starttls = "on"', 'starttls = "off"':
        is_on = line.endswith('"on"')
        certified(bench, line)
        daemon = bench.start(bench.directory / f"untrusted-{is_on}")
        if is_on:
            wait_for_log(daemon, 'starttls = "off"', "clients without the CA")
        said = program.send(workplace, Server(daemon.smtp), plain)
        failed = {name: text for name, text in said.items() if text != "sent"}
        if bool(failed) != (is_on and program.is_eager):
            raise Finding(Kind.REPLY, f"without the CA, with {line}: {said}")
        for name, text in failed.items():
            if not UNTRUSTED.search(text):
                raise Finding(Kind.REPLY, f"{name} fails without a word about certificates: {text}")
            wait_for_log(daemon, "ca.pem of facteur cert", text)
        daemon.check_log()
        daemon.stop()
    how = "fails with STARTTLS and sends without" if program.is_eager else "sends"
    bench.say(f"without the CA it {how}")


def acceptable(program: Program, cases: list[Case], sender: str, to: str = "") -> list[Letter]:
    """Those of these cases that are not refused."""
    letters = program.letters(cases, sender, to)
    return [letter for letter in letters if not known(REFUSED, program.name, letter)]


def wait_for_log(daemon: Daemon, cure: str, about: str) -> None:
    """The log must say what to do, perhaps a moment after the client has ended."""
    deadline = time.monotonic() + PATIENCE
    while cure not in (log := daemon.log.read_text()):
        if time.monotonic() > deadline:
            ended = [line for line in log.splitlines() if " ended " in line]
            raise Finding(Kind.LOG, f"{about}: the log does not say {cure!r}: {ended}")
        time.sleep(0.01)


def send_with_login(bench: Bench, program: Program) -> None:
    """Sends as bob over TLS, with the CA, and fails with a wrong password."""
    workplace = Workplace(bench)
    mail = bench.directory / "closed"
    ca = certified(bench, limits=("refused_login_seconds = 0",))
    add_account(bench, mail)
    daemon = bench.start(mail)
    for way in program.ways:
        port = daemon.smtps if way == "smtps" else daemon.smtp
        right = Server(port, way, (BOB, PASSWORD), ca)
        wrong = Server(port, way, (BOB, "wrong"), ca)
        letters = acceptable(program, CASES[:1], BOB, BOB)[:1]
        for name, text in program.send(workplace, wrong, letters).items():
            if not WRONG_PASSWORD.search(text):
                raise Finding(Kind.REPLY, f"{name} with a wrong password, {way}: {text}")
        check_box(daemon, program, [])
        letters = acceptable(program, WITH_LOGIN, BOB, BOB)
        # Bare line feeds are for test servers.
        strict = [letter for letter in letters if program.passes_lf and letter.has_bare_lf]
        for name, text in program.send(workplace, right, letters).items():
            if (text == "sent") == (name in {letter.name for letter in strict}):
                raise Finding(Kind.REPLY, f"{name} with a login, {way}: {text}")
        if strict:
            wait_for_log(daemon, "end every line with CRLF", "bare line feeds")
        accepted = [letter for letter in letters if letter not in strict]
        check_box(daemon, program, accepted)
        bench.ledger.counts["acknowledged"] += len(accepted)
    daemon.check_log()
    daemon.stop()
    bench.say(f"with a login over TLS: {', '.join(program.ways)}; not with a wrong password")


def add_account(bench: Bench, mail: Path) -> None:
    """Creates bob's account."""
    command = [str(bench.binary), "--mail", str(mail), "account", "add", BOB]
    command += ["--config", str(bench.config)]
    added = subprocess.run(
        command, input=PASSWORD.encode() + b"\n", capture_output=True, timeout=PATIENCE
    )
    if added.returncode != 0:
        raise Finding(Kind.REPLY, f"account add: {added.stderr.decode()}")


def check_box(daemon: Daemon, program: Program, letters: list[Letter]) -> None:
    """Bob has these letters and no others. Removes them."""
    messages = fetched(daemon.pop3, BOB, PASSWORD)
    if len(messages) != len(letters):
        raise Finding(Kind.LOST, f"bob has {len(messages)} messages, not {len(letters)}")
    left = list(messages)
    for letter in letters:
        found = [message for message in left if not difference(letter, message)]
        if found:
            left.remove(found[0])
        elif not known(CHANGED, program.name, letter):
            raise Finding(Kind.TORN, f"{letter.name}: not among bob's messages")
    empty(daemon)


def empty(daemon: Daemon) -> None:
    """Removes bob's mail."""
    with Pop3(daemon.pop3, BOB, PASSWORD) as pop3:
        pop3.delete([listed.position for listed in pop3.listing()])
        pop3.command("QUIT")


def play(bench: Bench, program: Program) -> None:
    """All work for one program."""
    program.check_installed(Workplace(bench))
    for bench.round, work in enumerate((send_openly, send_untrusting, send_with_login), 1):
        work(bench, program)


def git(bench: Bench) -> None:
    """Patches by git send-email, to an open facteur, and with a login over TLS."""
    workplace = Workplace(bench)
    Git(workplace, "").check_installed()
    bench.configure(limits=())
    daemon = bench.start(bench.directory / "open")
    repositories = Git(workplace, "open")
    patches = repositories.make()
    with Tap(daemon.smtp) as tap:
        sent = repositories.send(Server(tap.port), ALICE, BOB, patches)
    if sent.code != 0:
        raise Finding(Kind.REPLY, f"git send-email: {sent.output[-500:]} {sent.errors[-500:]}")
    messages = fetched(daemon.pop3, BOB, "any")
    if messages != list(map(meant, tap.contents[BOB])):
        raise Finding(Kind.TORN, "patches are not as they were on the wire")
    came_back(bench, repositories, messages)
    daemon.stop()
    ca = certified(bench, limits=("refused_login_seconds = 0",))
    mail = bench.directory / "closed"
    add_account(bench, mail)
    daemon = bench.start(mail)
    for way, port in ("starttls", daemon.smtp), ("smtps", daemon.smtps):
        repositories = Git(workplace, way)
        patches = repositories.make()
        for password in "wrong", PASSWORD:
            server = Server(port, way, (BOB, password), ca)
            sent = repositories.send(server, BOB, BOB, patches)
            said = sent.output + sent.errors
            if (sent.code == 0) != (password == PASSWORD):
                raise Finding(Kind.REPLY, f"git send-email, {way}, {password}: {said[-900:]}")
            if password == "wrong" and not WRONG_PASSWORD.search(said):
                raise Finding(Kind.REPLY, f"git send-email, a wrong password: {said[-900:]}")
        came_back(bench, repositories, fetched(daemon.pop3, BOB, PASSWORD))
        empty(daemon)
    daemon.check_log()
    daemon.stop()
    bench.say(f"{len(patches)} patches came back unchanged, three times; with a login over TLS")


def came_back(bench: Bench, repositories: Git, messages: list[bytes]) -> None:
    """The returned patches make the same commits."""
    repositories.apply(messages)
    before, after = map(repositories.log, (repositories.here, repositories.there))
    if before != after:
        text = f"other commits came back: {after[:2000]!r}, not {before[:2000]!r}"
        raise Finding(Kind.TORN, text)
    bench.ledger.counts["acknowledged"] += len(messages)


def self_test(bench: Bench) -> None:
    """Somebody tampers with the mail of a library, and it is noticed."""
    (python,) = [program for program in PROGRAMS if program.name == "python"]

    def files(mail: Path) -> list[Path]:
        found = sorted((mail / "python.test").glob("*/new/*"))
        return [file for file in found if file.parent.parent.name == "dots-lf"]

    def change(mail: Path) -> None:
        (file,) = files(mail)
        file.write_bytes(file.read_bytes().replace(b"\n..two\n", b"\n.two\n"))

    def shorten(mail: Path) -> None:
        (file,) = files(mail)
        file.write_bytes(file.read_bytes()[:-1])

    def lose(mail: Path) -> None:
        (file,) = files(mail)
        file.unlink()

    def double(mail: Path) -> None:
        (file,) = files(mail)
        file.with_name("1.another").write_bytes(file.read_bytes())

    tampering: dict[str, tuple[set[Kind], Callable[[Path], None]]] = {
        "nothing": (set(), lambda _: None),
        "a dot is lost": ({Kind.TORN, Kind.SIZE}, change),
        "the last line end is lost": ({Kind.TORN, Kind.SIZE}, shorten),
        "lost": ({Kind.LOST}, lose),
        "doubled": ({Kind.TWICE}, double),
    }
    for bench.round, (what, (kinds, tamper)) in enumerate(tampering.items(), 1):
        work = functools.partial(send_openly, bench, python, tamper)
        found = {finding.kind for finding in scenarios.found_by(work)}
        for daemon in bench.daemons:
            daemon.kill()
        if bool(found) != bool(kinds) or not found <= kinds:
            text = f"{what!r}: found {[kind.value for kind in found]}"
            raise Finding(Kind.CRASH, text)
    bench.say(f"{len(tampering)} kinds of tampering are distinguished")


# ------------------------------------------------------------------------------------------- main

LARGE = {"go", "jakarta"}

SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "self-test": self_test,
    **{program.name: functools.partial(play, program=program) for program in PROGRAMS},
    "git": git,
}


def main() -> int:
    durations = ("a minute", "some minutes, with Go and Java")
    held = "what the libraries sent is there as they sent it"
    return scenarios.main_at_once(__doc__, SCENARIOS, "libraries", durations, held, LARGE)


if __name__ == "__main__":
    sys.exit(main())
