"""The readers of queues.py: each fetches all of a mailbox and leaves it there, and keeps messages
in the way that changes them least. What a reader changes nevertheless is documented with it."""

from __future__ import annotations

import contextlib
import glob
import os
import pty
import re
import select
import shutil
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from foreign_programs import Fetchmail, House, Mpop
from survival_bench import Unable, run
from survival_clients import PATIENCE, Finding, Kind

CAMEL = Path(__file__).parent / "queues_camel.py"

# How long getmail waits, in seconds, and how often it may fail: about once in a thousand times it
# misses the end of the process that stores a message, and waits this long for it.
GETMAIL_PATIENCE, GETMAIL_ATTEMPTS = 8, 6

# An mbx file without messages: its mark, when it was made, and no keywords.
EMPTY_MBX = (b"*mbx*\r\n%08x%08x\r\n" % (1, 0) + b"\r\n" * 30).ljust(2048, b"\0")


class Reader:
    """A program that fetches. It returns the content of a mailbox, or fails."""

    name: str
    program: str
    package: str
    # What to put before a command line that needs the network.
    outside: tuple[str, ...] = ()
    # The longest line that it can fetch.
    longest_line: int | None = None
    # Whether it removes what it has fetched; such a reader comes last.
    removes = False
    # Whether it is part of the short form.
    is_small = True

    def __init__(self, house: House, mailbox: str, password: str) -> None:
        self.house = house
        self.mailbox = mailbox
        self.password = password
        if shutil.which(self.program, path=house.environment()["PATH"] + ":/usr/bin/mh") is None:
            raise Unable(f"{self.program} is missing: install the package {self.package}")
        self.home = house.make(f"reader-{self.name}")

    def fetch(self, port: int) -> list[bytes]:
        """All messages, with LF at the end of lines, without what it adds."""
        raise NotImplementedError

    def plain(self, octets: bytes) -> bytes:
        """A message without what it does not keep."""
        return octets

    def run(self, *command: str | Path) -> str:
        """Runs the program, which must succeed."""
        code, said = self.house.run(self.name, *command)
        self.check(code == 0, said)
        return said

    def talk(
        self,
        answers: dict[bytes, str],
        *command: str | Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Runs the program on a terminal, where it must succeed. Each of the questions, regular
        expressions, is answered once if it comes up, in any order."""
        left = dict(answers)
        ours, its = pty.openpty()
        said = b""
        # Its output since the last answer.
        fresh = b""
        deadline = time.monotonic() + PATIENCE
        try:
            process = self.house.started(*command, environment=environment, terminal=its)
            with process as running:
                os.close(its)
                while (patience := deadline - time.monotonic()) > 0:
                    if not select.select([ours], [], [], patience)[0]:
                        continue
                    try:
                        octets = os.read(ours, 4096)
                    except OSError:
                        break
                    said += octets
                    fresh += octets
                    for question in left:
                        if re.search(question, fresh, re.DOTALL):
                            fresh = b""
                            os.write(ours, left.pop(question).encode())
                            break
                else:
                    self.check(False, f"waits for something after {without_moves(said)}")
                code = running.wait(PATIENCE)
        finally:
            os.close(ours)
        self.check(code == 0, without_moves(said))

    def check(self, is_well: bool, said: str) -> None:
        """Whether it succeeded."""
        if not is_well:
            complaint = self.house.complaints.get(self.name, said)
            raise Finding(Kind.REPLY, f"{self.name}: {complaint.strip()[-500:]}")

    def make(self, name: str) -> Path:
        """Its own directory."""
        return self.house.make(f"{self.home.name}/{name}")

    def maildir(self) -> Path:
        """Its own Maildir, empty."""
        path = self.home / "maildir"
        shutil.rmtree(path, ignore_errors=True)
        for name in "maildir", "maildir/cur", "maildir/new", "maildir/tmp":
            self.make(name)
        return path


def contents(*directories: Path) -> list[bytes]:
    """The files there."""
    return [
        file.read_bytes()
        for directory in directories
        for file in sorted(directory.iterdir())
        if file.is_file()
    ]


def without_moves(screen: bytes) -> str:
    """The text that was written to a terminal."""
    return re.sub(rb"\x1b\[[\d;?]*[A-Za-z]", b" ", screen).decode(errors="replace")


def without_nuls(octets: bytes) -> bytes:
    """Without each NUL and the rest of its line."""
    return re.sub(rb"\0[^\n]*", b"", octets)


def in_maildir(path: Path) -> list[bytes]:
    """The messages of a Maildir."""
    return contents(path / "new", path / "cur")


class MpopReader(Reader):
    """mpop, into a Maildir, unchanged."""

    name = program = package = "mpop"

    def fetch(self, port: int) -> list[bytes]:
        mpop = Mpop(self.house, self.mailbox, keeps=True)
        mpop.password = self.password
        target = self.maildir()
        mpop.delivery = f"maildir {target}"
        mpop.uidls.unlink(missing_ok=True)
        is_well, said, _ = mpop.poll(port)
        self.check(is_well, said)
        return in_maildir(target)


class FetchmailReader(Reader):
    """fetchmail, which pipes each message to `cat`. It drops every CR, and breaks lines of more
    than 8 KiB with a NUL, an octet and a LF."""

    name = program = package = "fetchmail"

    def plain(self, octets: bytes) -> bytes:
        octets = octets.replace(b"\r", b"")

        def mended(found: re.Match[bytes]) -> bytes:
            is_long = b"\n" not in octets[max(found.start() - 8000, 0) : found.start()]
            return b"" if is_long else found[0]

        return re.sub(rb"\0[^\n]\n", mended, octets)

    def fetch(self, port: int) -> list[bytes]:
        fetchmail = Fetchmail(self.house, self.mailbox, keeps=True)
        fetchmail.password = self.password
        target = self.maildir() / "new"
        (fetchmail.home / "ids").unlink(missing_ok=True)
        store = self.house.write("store", f'exec cat >"$(mktemp "{target}/XXXXXXXXXX")"')
        fetchmail.delivery = f"/bin/sh {store}"
        is_well, said, _ = fetchmail.poll(port)
        self.check(is_well, said)
        return contents(target)


class Getmail(Reader):
    """getmail, into a Maildir. It refolds header fields that have long lines, and takes a CR for
    the end of a line, as Python's mail library does: so all blanks are equal here. It keeps only
    the first Return-Path."""

    name = "getmail"
    program, package = "getmail", "getmail6"

    def plain(self, octets: bytes) -> bytes:
        return b" ".join(re.sub(rb"(?m)^Return-Path: .*\n", b"", octets).split())

    def fetch(self, port: int) -> list[bytes]:
        for _ in range(GETMAIL_ATTEMPTS - 1):
            with contextlib.suppress(Finding):
                return self.attempt(port)
        return self.attempt(port)

    def attempt(self, port: int) -> list[bytes]:
        """One run. Sometimes it misses the end of one of its processes, and gives up."""
        target = self.maildir()
        settings = self.house.write(
            "getmailrc",
            "[retriever]",
            "type = SimplePOP3Retriever",
            "server = 127.0.0.1",
            f"port = {port}",
            f"username = {self.mailbox}",
            f"password = {self.password}",
            f"timeout = {GETMAIL_PATIENCE}",
            "[destination]",
            "type = Maildir",
            f"path = {target}/",
            "[options]",
            "delete = false",
            "read_all = true",
            "delivered_to = false",
            "received = false",
            "verbose = 0",
        )
        self.run("getmail", "--getmaildir", self.make("state"), "--rcfile", settings)
        return in_maildir(target)


class Fdm(Reader):
    """fdm, into a Maildir. It drops NULs, and the rest of their lines."""

    name = program = package = "fdm"

    def plain(self, octets: bytes) -> bytes:
        return without_nuls(octets)

    def fetch(self, port: int) -> list[bytes]:
        target = self.maildir()
        settings = self.house.write(
            "fdm.conf",
            "set no-received",
            'set maximum-size 64M',
            f'set lock-file "{self.home}/lock"',
            f'account "facteur" pop3 server "127.0.0.1" port {port} user "{self.mailbox}"'
            f' pass "{self.password}" no-apop keep',
            f'action "store" maildir "{target}"',
            'match all action "store"',
        )
        self.run("fdm", "-q", "-f", settings, "fetch")
        return in_maildir(target)


class Inc(Reader):
    """nmh's inc, into an MH folder. It drops NULs, and the rest of their lines; and it aborts when
    a line is longer than 8 KiB."""

    name = "inc"
    program, package = "inc", "nmh"
    longest_line = 8000

    def plain(self, octets: bytes) -> bytes:
        return without_nuls(octets)

    def fetch(self, port: int) -> list[bytes]:
        folder = self.home / "mh"
        shutil.rmtree(folder, ignore_errors=True)
        for name in "mh", "mh/inbox":
            self.make(name)
        netrc = self.house.write(
            "netrc", f"machine 127.0.0.1 login {self.mailbox} password {self.password}"
        )
        profile = self.house.write("mh_profile", f"Path: {folder}", f"credentials: file:{netrc}")
        command = "/usr/bin/mh/inc", "-host", "127.0.0.1", "-port", str(port)
        options = "-user", self.mailbox, "-notruncate", "-silent", "+inbox"
        environment = self.house.environment(MH=str(profile))
        code, said = self.house.run(self.name, *command, *options, environment=environment)
        self.check(code == 0, said)
        return [file.read_bytes() for file in (folder / "inbox").iterdir() if file.name.isdigit()]


class Snail(Reader):
    """s-nail, which copies everything to a Maildir as if that were a file of messages: it quotes
    "From ", ends each message with an empty line, and drops the fields that say how it was read."""

    name = program = package = "s-nail"
    is_small = False

    def plain(self, octets: bytes) -> bytes:
        header, _, body = octets.partition(b"\n\n")
        fields = rb"(?m)^(?:Status|X-Status|Content-Length|Lines): .*\n"
        header = re.sub(fields, b"", header + b"\n")
        return (header + b"\n" + re.sub(rb"(?m)^>+From ", b"From ", body)).rstrip(b"\n")

    def fetch(self, port: int) -> list[bytes]:
        target = self.home / "maildir"
        shutil.rmtree(target, ignore_errors=True)
        user = urllib.parse.quote(self.mailbox, safe="")
        box = f"pop3://{user}:{urllib.parse.quote(self.password)}@127.0.0.1:{port}"
        options = [word for name in ("v15-compat", "pop3-keepalive=0") for word in ("-S", name)]
        command = f"copy * maildir://{target}", "xit"
        options += [word for line in command for word in ("-Y", line)]
        self.run("s-nail", "-n", "-R", *options, "-f", box)
        return in_maildir(target)


class Mailutil(Reader):
    """mailutil, which is just the library of Alpine: into a file of messages. It drops NULs, and
    the rest of their lines."""

    name = program = "mailutil"
    package = "uw-mailutils"
    is_small = False
    removes = True

    def plain(self, octets: bytes) -> bytes:
        return without_nuls(octets)

    def fetch(self, port: int) -> list[bytes]:
        target = self.home / "box"
        target.unlink(missing_ok=True)
        box = f"{{127.0.0.1:{port}/pop3/notls/user={self.mailbox}}}INBOX"
        command = "mailutil", "move", box, f"#driver.mbx/{target.relative_to(self.house.home)}"
        self.talk({b"assword": f"{self.password}\n"}, *command)
        return in_mbx(target.read_bytes())


class Alpine(Reader):
    """Alpine, which saves everything to a file of messages. It drops NULs, and the rest of their
    lines, and asks whether that is acceptable."""

    name = program = package = "alpine"
    is_small = False

    def plain(self, octets: bytes) -> bytes:
        return without_nuls(octets)

    def fetch(self, port: int) -> list[bytes]:
        # One that already exists avoids a question.
        target = self.home / "box"
        target.write_bytes(EMPTY_MBX)
        self.house.give(target)
        self.make("mail")
        settings = self.house.write(
            f"{self.home.name}/pinerc",
            # With these it shows nothing when it starts.
            "last-version-used=6.26",
            "user-domain=example.com",
            # It would warn of this one, for some seconds.
            "disable-these-authenticators=PLAIN",
            "feature-list=enable-aggregate-command-set,quit-without-confirm,save-will-not-delete",
        )
        # Some questions end with a cursor movement. Input before that is dropped.
        end = rb".*\x1b\[7m\x1b\[\d+;\d+H"
        answers = {
            rb"ENTER PASSWORD": f"{self.password}\r",
            rb"Preserve password" + end: "n",
            # From here on: select all, apply "save" to them.
            rb"Message \d+ of ": ";",
            rb"SELECT criteria" + end: "a",
            rb" messages selected": "a",
            rb"APPLY command" + end: "s",
            rb"SAVE \d+ msgs to folder": f"{target}\r",
            rb"shrank!" + end: "a",
            rb" messages saved|Saving[^\]]*DONE": "q",
        }
        command = "alpine", "-p", settings, "-P", "/dev/null", "-i", "-f"
        box = f"{{127.0.0.1:{port}/pop3/notls/user={self.mailbox}}}INBOX"
        environment = self.house.environment(HOME=str(self.home))
        self.talk(answers, *command, box, environment=environment)
        return in_mbx(target.read_bytes())


class Evolution(Reader):
    """libcamel, the library of Evolution, through a program of a few lines: into its cache. It
    drops every CR."""

    name = "libcamel"
    program, package = "glib-compile-schemas", "libglib2.0-bin"
    is_small = False
    typelib = "/usr/lib/*/girepository-1.0/Camel-1.2.typelib"

    def plain(self, octets: bytes) -> bytes:
        return octets.replace(b"\r", b"")

    def __init__(self, house: House, mailbox: str, password: str) -> None:
        super().__init__(house, mailbox, password)
        if not glob.glob(self.typelib):
            raise Unable(f"{self.name} is missing: install gir1.2-camel-1.2 and python3-gi")
        # The server of these packages, which depends on a hundred more, is not needed.
        self.modules = house.home / "evolution"
        if not self.modules.exists():
            self.modules.mkdir()
            packages = "evolution-data-server", "evolution-data-server-common"
            script = 'cd "$1"; shift; apt-get download -qq -o APT::Sandbox::User=root "$@"'
            run(*self.outside, "sh", "-ec", script, "sh", self.modules, *packages)
            for package in self.modules.glob("*.deb"):
                run("dpkg", "-x", package, self.modules)
            run("glib-compile-schemas", self.modules / "usr/share/glib-2.0/schemas")

    def fetch(self, port: int) -> list[bytes]:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home = self.house.make(self.home.name)
        script = self.house.write("camel.py", CAMEL.read_text())
        environment = self.house.environment(
            EDS_CAMEL_PROVIDER_DIR=f"{self.modules}/usr/lib/evolution-data-server/camel-providers",
            GSETTINGS_SCHEMA_DIR=f"{self.modules}/usr/share/glib-2.0/schemas",
            GSETTINGS_BACKEND="memory",
        )
        command = "/usr/bin/python3", script, str(port), self.mailbox, self.password, self.home
        code, said = self.house.run(self.name, *command, environment=environment)
        self.check(code == 0, said)
        # Each message begins with a mark that it is complete.
        cache = self.home / "data/facteur/cache"
        cached = [octets for directory in cache.iterdir() for octets in contents(directory)]
        self.check(all(octets.startswith(b"#") for octets in cached), "messages are not complete")
        return [octets[1:].replace(b"\r\n", b"\n") for octets in cached]


class Claws(Reader):
    """Claws Mail on an invisible screen, into its MH folder, unchanged."""

    name = program = package = "claws-mail"
    is_small = False

    def __init__(self, house: House, mailbox: str, password: str) -> None:
        super().__init__(house, mailbox, password)
        if shutil.which("Xvfb", path=house.environment()["PATH"]) is None:
            raise Unable("Xvfb is missing: install the package xvfb")

    def fetch(self, port: int) -> list[bytes]:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home = self.house.make(self.home.name)
        for name in "settings", "mail", "mail/inbox", "tmp":
            self.make(name)
        self.configure(port)
        with self.screen() as display:
            environment = self.house.environment(
                DISPLAY=display,
                # Where it waits for commands from other runs.
                TMPDIR=f"{self.home}/tmp",
                # It starts nothing that would outlive it.
                DBUS_SESSION_BUS_ADDRESS="disabled:",
                GSETTINGS_BACKEND="memory",
                NO_AT_BRIDGE="1",
            )
            command = "claws-mail", *self.options(), "--receive-all"
            code, said = self.house.run(self.name, *command, environment=environment)
        log = self.home / "settings/claws.log"
        if code and log.exists():
            self.house.complaints[self.name] += f": {log.read_text(errors='replace')[-400:]}"
        self.check(code == 0, said)
        inbox = self.home / "mail/inbox"
        return [file.read_bytes() for file in inbox.iterdir() if file.name.isdigit()]

    def options(self) -> tuple[str, str]:
        """The directory of its settings."""
        return "--alternate-config-dir", f"{self.home}/settings"

    def configure(self, port: int) -> None:
        """Writes settings with which it asks nothing."""

        def settings(name: str, *lines: str) -> None:
            self.house.write(f"{self.home.name}/settings/{name}", *lines)

        settings(
            "clawsrc",
            "[Common]",
            # When it has new mail, this ends it.
            "newmail_notify_manu=1",
            f"newmail_notify_cmd=claws-mail {' '.join(self.options())} --exit",
            "confirm_on_exit=0",
            "check_on_startup=0",
            "no_receive_error_panel=1",
        )
        settings(
            "accountrc",
            "[Account: 1]",
            "account_name=facteur",
            "is_default=1",
            "name=somebody",
            f"address={self.mailbox}",
            "protocol=0",
            "receive_server=127.0.0.1",
            "set_popport=1",
            f"pop_port={port}",
            f"user_id={self.mailbox}",
            "remove_mail=0",
            "enable_size_limit=0",
            "filter_on_receive=0",
            "receive_at_get_all=1",
            "inbox=#mh/facteur/inbox",
        )
        settings("passwordstorerc", "[account:1]", f"recv {self.password}")
        settings(
            "folderlist.xml",
            '<?xml version="1.0" encoding="UTF-8"?>',
            "<folderlist>",
            f'<folder type="mh" name="facteur" path="{self.home}/mail">',
            '<folderitem type="inbox" name="inbox" path="inbox" />',
            "</folder>",
            "</folderlist>",
        )

    @contextlib.contextmanager
    def screen(self) -> Iterator[str]:
        """A screen without a file for its socket, and its name."""
        # It prints the number that it has chosen, after complaints if there are any.
        command = "Xvfb", "-displayfd", "1", "-nolisten", "unix"
        with self.house.started(*command) as process:
            assert process.stdout is not None
            said = b""
            for line in process.stdout:
                said += line
                if line.strip().isdigit():
                    break
            else:
                self.check(False, said.decode(errors="replace"))
            yield f":{int(line)}"


def in_mbx(octets: bytes) -> list[bytes]:
    """The messages of an mbx file: after 2 KiB, each message follows a line with its size in
    octets."""
    found = []
    position = len(EMPTY_MBX)
    while position < len(octets):
        end = octets.index(b"\r\n", position) + 2
        told = re.match(rb"[^,]*,(\d+);", octets[position:end])
        assert told is not None
        found.append(octets[end : end + int(told[1])].replace(b"\r\n", b"\n"))
        position = end + int(told[1])
    return found


READERS: dict[str, type[Reader]] = {
    reader.name: reader
    for reader in (
        MpopReader,
        FetchmailReader,
        Getmail,
        Fdm,
        Snail,
        Evolution,
        Claws,
        Alpine,
        Inc,
        Mailutil,
    )
}
