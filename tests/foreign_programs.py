"""The programs of foreign.py: mutt, neomutt, mbsync, OfflineIMAP, Dovecot, rm, mv, cp, mpop and
fetchmail, working in the Maildirs or over the protocols of a daemon that serves them."""

from __future__ import annotations

import contextlib
import imaplib
import os
import pty
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from survival_bench import Bench, Unable
from survival_clients import PATIENCE

# Dovecot never reads mail as root. If this runs as root, everything runs as this user, which is
# `nobody` on Debian and most other systems.
NOBODY = 65_534

X_TEST = re.compile(rb"^X-Test: (\d+) ", re.MULTILINE)

DOMAIN = "foreign.test"


def number_in(file: Path) -> int | None:
    """The letter in this file; none if the file is gone."""
    try:
        with open(file, "rb") as opened:
            found = X_TEST.search(opened.read(4096))
    except OSError:
        return None
    return int(found[1]) if found else None


class House:
    """The home of the programs: their user, their directories, and how they are started."""

    def __init__(self, bench: Bench, name: str) -> None:
        directory = bench.directory / name
        self.mail = directory / "mail"
        self.home = directory / "home"
        self.user: int | None = NOBODY if os.geteuid() == 0 else None
        self.running: set[subprocess.Popen[bytes]] = set()
        self.lock = threading.Lock()
        # What the programs have done: one that did nothing has proved nothing.
        self.effects: Counter[str] = Counter()
        # Their last words when they failed.
        self.complaints: dict[str, str] = {}
        # Another user must be able to get here, and to the program, which may be in a private home.
        bench.directory.parent.chmod(0o711)
        binary = bench.directory / "facteur"
        if bench.binary != binary:
            shutil.copy(bench.binary, binary)
            bench.binary = binary
        for made in directory, self.home:
            made.mkdir()
        self.give(directory, self.home, binary, bench.config)

    def give(self, *paths: Path) -> None:
        """Gives these to the user."""
        if self.user is not None:
            for path in paths:
                os.chown(path, self.user, self.user)

    def make(self, name: str) -> Path:
        """A directory of the user."""
        path = self.home / name
        path.mkdir(exist_ok=True)
        self.give(path)
        return path

    def write(self, name: str, *lines: str) -> Path:
        """A file that only the user can read."""
        path = self.home / name
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)
        self.give(path)
        return path

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command line to run it as the user."""
        if self.user is None:
            return ()
        ids = f"--reuid={self.user}", f"--regid={self.user}"
        return ("setpriv", *ids, "--clear-groups", "--")

    def environment(self, **more: str) -> dict[str, str]:
        """The whole environment of every program."""
        path = "/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "xterm", **more}

    def maildir(self, box: str) -> Path:
        """The Maildir of a mailbox."""
        local_part, _, domain = box.partition("@")
        return self.mail / (domain or DOMAIN) / local_part

    def files(self, box: str) -> list[Path]:
        """The messages of a mailbox, as one directory read shows them."""
        found: list[Path] = []
        for side in "new", "cur":
            directory = self.maildir(box) / side
            with contextlib.suppress(OSError):
                found += [directory / name for name in sorted(os.listdir(directory))]
        return found

    @contextlib.contextmanager
    def started(
        self, *command: str | Path, environment: dict[str, str] | None = None, terminal: int = -1
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A program that is ended in any case."""
        end = subprocess.PIPE if terminal < 0 else terminal
        try:
            process = subprocess.Popen(
                [*self.prefix, *map(str, command)],
                stdin=subprocess.DEVNULL if terminal < 0 else terminal,
                stdout=end,
                stderr=subprocess.STDOUT if terminal < 0 else terminal,
                env=environment or self.environment(),
                cwd=self.home,
                start_new_session=True,
            )
        except OSError as error:
            raise Unable(f"{command[0]}: {error}") from None
        with self.lock:
            self.running.add(process)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            with self.lock:
                self.running.discard(process)

    def run(
        self, name: str, *command: str | Path, environment: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Runs a program to its end: its exit code and its output."""
        with self.started(*command, environment=environment) as process:
            try:
                said = process.communicate(timeout=PATIENCE)[0].decode(errors="replace")
            except subprocess.TimeoutExpired:
                said = f"does not end in {PATIENCE:.0f} s"
                process.kill()
            code = process.wait()
        if code:
            self.complaints[name] = f"exit code {code}: {said.strip()[-500:]}"
        return code, said

    def clean_up(self) -> None:
        """Ends everything that still runs."""
        with self.lock:
            for process in self.running:
                process.kill()


# ---------------------------------------------------------------------------------- mutt, neomutt


class Mutt:
    """mutt or neomutt on its own terminal. Each run is a session of somebody who types."""

    SETTINGS = (
        "mbox_type=Maildir",
        "delete=yes",
        "quit=yes",
        "move=no",
        "confirmappend=no",
        "confirmcreate=no",
        "wait_key=no",
        "beep=no",
        "mark_old=yes",
        "sleep_time=0",
        'record=""',
        'postponed=""',
    )

    def __init__(self, house: House, program: str) -> None:
        self.house = house
        self.program = program
        settings = [f"set {line}" for line in self.SETTINGS]
        # If a prompt does not come, its answer must not be taken for commands.
        letters = [chr(code) for code in range(ord("A"), ord("z") + 1) if chr(code).isalpha()]
        keys = [*letters, *"~!/-_.@()$<>#%&*+:=^`{}", "<space>", "<enter>"]
        settings += [f"bind index {key!r} noop" for key in keys if key != "q"]
        self.settings = house.write(f"{program}rc", *settings)

    @staticmethod
    def choose(command: str, numbers: list[int]) -> str:
        """Types a command that asks for a pattern, and these letters as the pattern."""
        either = "|".join(map(str, numbers))
        return f'<{command}>~s "letter ({either})$"<enter>'

    def work(self, box: str, delete: list[int], save: list[int], to: str, flag: list[int]) -> bool:
        """A session: deletes, saves and flags letters. Returns whether mutt ended successfully."""
        keys = ""
        if flag:
            keys += self.choose("tag-pattern", flag) + "<tag-prefix-cond><set-flag>!"
            keys += "<end-cond><untag-pattern>.<enter>"
        if delete:
            keys += self.choose("delete-pattern", delete)
        if save:
            target = self.house.maildir(to)
            keys += self.choose("tag-pattern", save)
            keys += f"<tag-prefix-cond><save-message>{target}<enter><end-cond>"
        command: list[str | Path] = [self.program, "-n", "-F", self.settings]
        command += ["-f", self.house.maildir(box)]
        return self.type_into(*command, "-e", f"push '{keys}<sync-mailbox><quit>'")

    def type_into(self, *command: str | Path) -> bool:
        """Runs it on a terminal. Questions after the last key are declined."""
        ours, its = pty.openpty()
        screen = bytearray()

        def watch() -> None:
            with contextlib.suppress(OSError):
                while octets := os.read(ours, 4096):
                    screen.extend(octets)

        environment = self.house.environment(LINES="40", COLUMNS="120")
        deadline = time.monotonic() + PATIENCE / 2
        try:
            with self.house.started(*command, environment=environment, terminal=its) as process:
                os.close(its)
                watcher = threading.Thread(target=watch, daemon=True)
                watcher.start()
                patience = 3.0
                while time.monotonic() < deadline:
                    try:
                        code = process.wait(patience)
                        break
                    except subprocess.TimeoutExpired:
                        patience = 0.5
                        with contextlib.suppress(OSError):
                            os.write(ours, b"\x07q")
                else:
                    code = -1
            watcher.join(PATIENCE)
        finally:
            os.close(ours)
        if code:
            self.house.complaints[self.program] = f"exit code {code}: {bytes(screen[-800:])!r}"
        return code == 0


# ----------------------------------------------------------------------------------------- mbsync


class Mbsync:
    """mbsync between a mailbox and a Maildir elsewhere, the mirror."""

    def __init__(self, house: House, box: str) -> None:
        self.house = house
        mirror = house.make("mirror")
        self.inbox = mirror / "inbox"
        self.settings = house.write(
            "mbsyncrc",
            "MaildirStore facteur",
            f"Inbox {house.maildir(box)}",
            "",
            "MaildirStore mirror",
            f"Path {mirror}/",
            f"Inbox {self.inbox}",
            "",
            "Channel all",
            "Far :facteur:",
            "Near :mirror:",
            "Sync PullNew Flags Delete",
            "Create Near",
            "Expunge Both",
            f"SyncState {house.make('mbsync')}/",
        )

    def sync(self) -> bool:
        """One run; returns whether all went well."""
        return self.house.run("mbsync", "mbsync", "-q", "-c", self.settings, "all")[0] == 0

    def letters(self) -> dict[int, Path]:
        """The content of the mirror."""
        files = [*self.inbox.glob("new/*"), *self.inbox.glob("cur/*")]
        return {number: file for file in files if (number := number_in(file)) is not None}

    def mark(self, file: Path, flags: str) -> None:
        """Sets flags of a message in the mirror, as a mail program does."""
        name = file.name.partition(":2,")[0]
        file.rename(self.inbox / "cur" / f"{name}:2,{flags}")


# ---------------------------------------------------------------------------------------- Dovecot


class Dovecot:
    """Dovecot's IMAP, as for a user who has logged in already."""

    def __init__(self, house: House, name: str, location: str) -> None:
        self.house = house
        home = house.make(name)
        self.log = home / "log"
        uid = os.geteuid() if house.user is None else house.user
        self.settings = house.write(
            f"{name}.conf",
            f"base_dir = {home}/run",
            "ssl = no",
            "first_valid_uid = 0",
            f"mail_uid = {uid}",
            f"mail_location = {location.format(home=home)}",
        )

    def command(self, box: str) -> str:
        """The command for a shell; its input and output are those of the session."""
        program = ["/usr/lib/dovecot/imap", "-c", str(self.settings)]
        variables = [f"{key}={value}" for key, value in self.house.environment(USER=box).items()]
        return f"exec {shlex.join(['env', '-i', *variables, *program])} 2>>{self.log}"

    @contextlib.contextmanager
    def session(self, box: str) -> Iterator[Imap]:
        """A session, which ends when this does, or when it takes too long."""
        imap = Imap(shlex.join(["exec", *self.house.prefix, "sh", "-c", self.command(box)]))
        guard = threading.Timer(PATIENCE, imap.process.kill)
        guard.daemon = True
        guard.start()
        with self.house.lock:
            self.house.running.add(imap.process)
        try:
            yield imap
            imap.logout()
        finally:
            guard.cancel()
            imap.process.kill()
            imap.process.wait()
            with self.house.lock:
                self.house.running.discard(imap.process)


class Imap(imaplib.IMAP4_stream):
    """A session in which letters are identified by their numbers."""

    # imaplib knows MOVE; only its method is missing.
    def perform(self, *command: str) -> None:
        """Sends a command with UID, which must be accepted."""
        kind, told = self.uid(*command)
        if kind != "OK":
            raise imaplib.IMAP4.error(f"{' '.join(command)}: {told}")

    def letters(self, mailbox: str) -> dict[int, str]:
        """Opens a mailbox: its letters, and their UIDs."""
        kind, told = self.select(mailbox)
        if kind != "OK":
            raise imaplib.IMAP4.error(f"SELECT {mailbox}: {told!r}")
        found: dict[int, str] = {}
        if told == [b"0"]:
            return found
        kind, told = self.uid("FETCH", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (X-TEST)])")
        for part in told:
            if isinstance(part, tuple):
                uid, number = re.search(rb"UID (\d+)", part[0]), X_TEST.search(part[1])
                if uid and number:
                    found[int(number[1])] = uid[1].decode()
        return found


class OfflineImap:
    """OfflineIMAP between a mailbox, which is its local Maildir, and an IMAP server elsewhere."""

    def __init__(self, house: House, box: str) -> None:
        self.house = house
        local_part = box.partition("@")[0]
        self.folder = local_part
        self.server = Dovecot(house, "remote", "maildir:{home}/mail:LAYOUT=fs")
        self.settings = house.write(
            "offlineimaprc",
            "[general]",
            "accounts = all",
            f"metadata = {house.home}/offlineimap",
            "ui = quiet",
            "[Account all]",
            "localrepository = local",
            "remoterepository = remote",
            "[Repository local]",
            "type = Maildir",
            f"localfolders = {house.maildir(box).parent}",
            f"folderfilter = lambda name: name == {local_part!r}",
            "[Repository remote]",
            "type = IMAP",
            f"preauthtunnel = {self.server.command('remote@elsewhere.test')}",
            f"folderfilter = lambda name: name == {local_part!r}",
            "maxconnections = 1",
        )

    def sync(self) -> bool:
        """One run; returns whether all went well."""
        command = "offlineimap", "-c", self.settings, "-o"
        return self.house.run("offlineimap", *command)[0] == 0

    @contextlib.contextmanager
    def remote(self) -> Iterator[Imap]:
        """A session at the server elsewhere."""
        with self.server.session("remote@elsewhere.test") as imap:
            yield imap


# ------------------------------------------------------------------------------- mpop, fetchmail


class Mpop:
    """mpop, which polls a mailbox: what it has fetched, and whether it succeeded."""

    password = "any"

    def __init__(self, house: House, box: str, keeps: bool) -> None:
        self.house = house
        self.box = box
        self.keeps = keeps
        name = f"mpop-{box.partition('@')[0]}"
        self.uidls = house.home / f"{name}.uidls"
        self.target = house.make(name) / "mbox"
        self.delivery = f"mbox {self.target}"
        self.name = name

    def poll(self, port: int) -> tuple[bool, str, list[int]]:
        """One run: whether all went well, its output, and which letters it has delivered."""
        settings = self.house.write(
            f"{self.name}.rc",
            "account default",
            "host 127.0.0.1",
            f"port {port}",
            "tls off",
            "auth user",
            f"user {self.box}",
            f"password {self.password}",
            f"keep {'on' if self.keeps else 'off'}",
            "only_new on",
            f"uidls_file {self.uidls}",
            "received_header off",
            f"delivery {self.delivery}",
        )
        self.target.unlink(missing_ok=True)
        code, said = self.house.run(self.name, "mpop", "-q", "-C", settings)
        return code == 0, said, delivered(self.target)


class Fetchmail:
    """fetchmail that does the same."""

    password = "any"

    def __init__(self, house: House, box: str, keeps: bool) -> None:
        self.house = house
        self.box = box
        self.keeps = keeps
        self.name = f"fetchmail-{box.partition('@')[0]}"
        self.home = house.make(self.name)
        self.target = self.home / "fetched"
        # The command that gets each message.
        self.delivery = f"/usr/bin/tee -a {self.target}"

    def poll(self, port: int) -> tuple[bool, str, list[int]]:
        """Like mpop's."""
        keep = "keep" if self.keeps else "nokeep"
        all_of_it = "" if self.keeps else "fetchall"
        settings = self.house.write(
            f"{self.name}.rc",
            "set invisible",
            f"poll 127.0.0.1 service {port} protocol pop3 uidl timeout {PATIENCE:.0f}",
            f'username "{self.box}" password "{self.password}" is "somebody" here',
            f"sslproto '' no rewrite {keep} {all_of_it} fastuidl 0",
            f'mda "{self.delivery}"',
        )
        self.target.unlink(missing_ok=True)
        command: list[str | Path] = ["fetchmail", "--nosyslog", "--nodetach", "-f", settings]
        command += ["--idfile", self.home / "ids", "--pidfile", self.home / "pid"]
        environment = self.house.environment(FETCHMAILHOME=str(self.home))
        code, said = self.house.run(self.name, *command, environment=environment)
        # 1 means: no mail.
        return code in (0, 1), said, delivered(self.target)


def delivered(file: Path) -> list[int]:
    """The letters in a file of messages, in order."""
    try:
        octets = file.read_bytes()
    except FileNotFoundError:
        return []
    return [int(number) for number in X_TEST.findall(octets)]
