"""One mailbox that cannot be written, for survival.py: it harms nobody else on any file system.

On ext4, xfs and btrfs, as a user other than root, the victim's mailbox is broken in every way that
the file system has, between its RCPT and the content. Mail for others must be acknowledged,
delivered and read meanwhile. A start after kill -9 must succeed and name the victim. When the
mailbox is repaired, nothing may be missing or duplicated, without another start.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from survival_bench import Bench, Daemon, Unable, compare, run
from survival_clients import KIB, MIB, PATIENCE, Finding, Kind, Ledger, Letter, Pop3, Smtp
from survival_disks import release_mount

VICTIM = "victim@one.test"
OTHER = "other@one.test"

NOBODY = 65534

# What the log says about the victim.
TOLD = f"no mail can be put into the mailbox {VICTIM}"

# For each file system: the command that makes it, the option that project quotas need, and how it
# is mounted with them.
FILE_SYSTEMS = {
    "ext4": (("mkfs.ext4", "-q", "-F"), ("-O", "quota,project", "-E", "quotatype=prjquota"), ""),
    "xfs": (("mkfs.xfs", "-q", "-f"), (), "prjquota"),
    "btrfs": (("mkfs.btrfs", "-q", "-f"), None, ""),
}

PROJECT = "4711"

Mend = Callable[[], object]


class Volume:
    """A file system of one kind on a loop device on a sparse file."""

    def __init__(self, bench: Bench, kind: str) -> None:
        if os.geteuid() != 0:
            raise Unable("only root can mount file systems")
        self.kind = kind
        self.image = bench.directory / f"disk.{kind}"
        self.mount_point = bench.directory / f"mounted-{kind}"
        self.mount_point.mkdir()
        command, for_quotas, options = FILE_SYSTEMS[kind]
        self.has_quotas = for_quotas is not None
        if for_quotas is not None:
            self.make(*command, *for_quotas)
            try:
                self.mount(options)
            except Unable:
                self.has_quotas = False
        if not self.has_quotas:
            self.make(*command)
            self.mount("")
        os.chown(self.mount_point, NOBODY, NOBODY)

    def make(self, *command: str) -> None:
        with open(self.image, "wb") as file:
            file.truncate(512 * MIB)
        run(*command, self.image)

    def mount(self, options: str) -> None:
        options = ",".join(filter(None, ["loop", options]))
        run("mount", "-t", self.kind, "-o", options, self.image, self.mount_point)

    def release(self) -> None:
        """Unmounts it; the loop device is released with it."""
        release_mount(self.mount_point)


# ------------------------------------------------------------------------------------------- ways


def belongs_to_root(maildir: Path, _: Volume) -> Mend:
    for part in "new", "cur", "tmp":
        os.chown(maildir / part, 0, 0)
        (maildir / part).chmod(0o755)
    return lambda: [os.chown(maildir / part, NOBODY, NOBODY) for part in ("new", "cur", "tmp")]


def read_only(maildir: Path, _: Volume) -> Mend:
    new = maildir / "new"
    new.chmod(0o500)
    return lambda: new.chmod(0o700)


def cur_unreadable(maildir: Path, _: Volume) -> Mend:
    for part in "new", "cur":
        (maildir / part).chmod(0)
    return lambda: [(maildir / part).chmod(0o700) for part in ("new", "cur")]


def immutable(maildir: Path, _: Volume) -> Mend:
    run("chattr", "+i", maildir / "new")
    return lambda: run("chattr", "-i", maildir / "new")


def displaced(maildir: Path, make: Callable[[Path], object]) -> Mend:
    new, aside = maildir / "new", maildir / "aside"
    new.rename(aside)
    make(new)

    def mend() -> None:
        new.unlink()
        aside.rename(new)

    return mend


def a_file(maildir: Path, _: Volume) -> Mend:
    return displaced(maildir, Path.touch)


def a_link(maildir: Path, _: Volume) -> Mend:
    return displaced(maildir, lambda new: new.symlink_to("nowhere"))


def fill(directory: Path) -> Mend:
    """Takes all the room that is left there, as its owner could."""
    filler = directory / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    os.fchown(descriptor, NOBODY, NOBODY)
    try:
        for size in (64 * KIB, 4 * KIB, 1 * KIB):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, b"x" * size)
                    os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return filler.unlink


def full_tmpfs(maildir: Path, _: Volume) -> Mend:
    return fill(maildir)


def full_project(maildir: Path, volume: Volume) -> Mend:
    """A project quota also applies to root, except on ext4."""
    limit_project(volume, 1024)
    if volume.kind == "ext4":
        filler = maildir / "filler"
        octets = str(2 * MIB)
        run("setpriv", "--reuid=nobody", "--clear-groups", "sh", "-c",
            f"head -c {octets} /dev/zero > '{filler}' || true")
        return filler.unlink
    return fill(maildir)


BREAKS: dict[str, Callable[[Path, Volume], Mend]] = {
    "belongs to root": belongs_to_root,
    "read-only": read_only,
    "cannot be read": cur_unreadable,
    "immutable": immutable,
    "a file in its place": a_file,
    "a link in its place": a_link,
}


# The places for the mailbox. None of them may prevent a message.


def ordinary(_maildir: Path, _volume: Volume) -> None:
    """On the same file system as all others."""


def mount_point(maildir: Path, _: Volume) -> None:
    owner = f"uid={NOBODY},gid={NOBODY}"
    run("mount", "-t", "tmpfs", "-o", f"size=2m,mode=0700,{owner}", "tmpfs", maildir)


def bind_mount(maildir: Path, volume: Volume) -> None:
    elsewhere = volume.mount_point / f"elsewhere-{time.monotonic_ns()}"
    elsewhere.mkdir()
    os.chown(elsewhere, NOBODY, NOBODY)
    run("mount", "--bind", elsewhere, maildir)


def subvolume(maildir: Path, _: Volume) -> None:
    maildir.rmdir()
    run("btrfs", "subvolume", "create", maildir)
    os.chown(maildir, NOBODY, NOBODY)


def limit_project(volume: Volume, kibioctets: int) -> None:
    if volume.kind == "xfs":
        run("xfs_quota", "-x", "-c", f"limit -p bhard={kibioctets}k {PROJECT}", volume.mount_point)
    else:
        run("setquota", "-P", PROJECT, "0", str(kibioctets), "0", "0", volume.mount_point)


def project(maildir: Path, volume: Volume) -> None:
    if volume.kind == "xfs":
        # It prevents links and renames from elsewhere, with quotas and without.
        run("xfs_io", "-c", f"chproj {PROJECT}", "-c", "chattr +P", maildir)
    else:
        run("chattr", "+P", "-p", PROJECT, maildir)
    if volume.has_quotas:
        limit_project(volume, 0)


Prepare = Callable[[Path, Volume], object]
Spoil = Callable[[Path, Volume], Mend]


def places(volume: Volume) -> Iterator[tuple[str, Prepare, dict[str, Spoil]]]:
    """The places for the mailbox, and the ways in which it is broken there."""
    yield "ordinary", ordinary, dict(BREAKS)
    yield "a bind mount", bind_mount, {"read-only": read_only}
    yield "a mount point", mount_point, {"read-only": read_only, "full": full_tmpfs}
    if volume.kind == "btrfs":
        yield "a subvolume", subvolume, {"read-only": read_only, "immutable": immutable}
    elif volume.has_quotas:
        yield "a project", project, {"read-only": read_only, "full": full_project}
    elif volume.kind == "xfs":
        yield "a project", project, {"read-only": read_only}


# ---------------------------------------------------------------------------------------- scenario


def alone(bench: Bench, rounds: int) -> None:
    """One mailbox is broken in every way on every file system."""
    for tool in "mkfs.xfs", "mkfs.btrfs", "xfs_quota", "setquota", "chattr", "setpriv":
        if shutil.which(tool) is None:
            raise Unable(f"{tool} is not installed")
    # The daemon continues as another user, which must be able to reach the mail.
    for directory in bench.directory, bench.directory.parent:
        directory.chmod(0o711)
    bench.configure('user = "nobody"')
    bench.config.chmod(0o644)
    for bench.round in range(1, rounds + 1):
        for kind in FILE_SYSTEMS:
            volume = Volume(bench, kind)
            try:
                n_ways = 0
                for place, prepare, ways in places(volume):
                    for way, spoil in ways.items():
                        rng = bench.chance(f"{bench.round} {kind} {place} {way}")
                        try:
                            in_one_way(bench, volume, prepare, spoil, rng)
                        except Exception:
                            bench.say(f"{kind}, {place}, {way}")
                            raise
                        n_ways += 1
                quotas = "" if volume.has_quotas else ", without quotas of projects"
                bench.say(f"{kind}: {n_ways} ways to break a mailbox harmed nobody else{quotas}")
            finally:
                bench.clean_up()
                volume.release()
            volume.image.unlink()
            volume.mount_point.rmdir()


def in_one_way(
    bench: Bench,
    volume: Volume,
    prepare: Prepare,
    spoil: Spoil,
    rng: random.Random,
) -> None:
    bench.ledger = Ledger()
    mail = volume.mount_point / f"mail-{time.monotonic_ns()}"
    domain = mail / "one.test"
    maildir = domain / "victim"
    for directory in mail, domain, maildir:
        directory.mkdir(mode=0o700)
        os.chown(directory, NOBODY, NOBODY)
    prepare(maildir, volume)
    try:
        daemon = bench.start(mail)
        for size in (2 * KIB, 200 * KIB):
            acknowledged(bench, daemon, bench.letters.write(rng, size), [VICTIM, OTHER])
        mend = break_under_way(bench, daemon, maildir, volume, spoil, rng)
        expect_told(daemon)
        for size in (2 * KIB, 200 * KIB):
            letter = bench.letters.write(rng, size)
            reply = acknowledged(bench, daemon, letter, [VICTIM, OTHER], only_other=True)
            if not reply.startswith("45"):
                raise Finding(Kind.REPLY, f"the victim gets {reply!r}")
        read(bench, daemon, OTHER)
        daemon.kill()
        daemon.check_log()
        daemon = bench.start(mail)
        expect_told(daemon)
        acknowledged(bench, daemon, bench.letters.write(rng, 2 * KIB), [OTHER])
        read(bench, daemon, OTHER)
        mend()
        acknowledged(bench, daemon, bench.letters.write(rng, 2 * KIB), [VICTIM, OTHER])
        # Everything acknowledged is there once, before another start and after it.
        compare(bench, daemon, mail, rng)
        daemon.kill()
        daemon = bench.start(mail)
        compare(bench, daemon, mail, rng)
        daemon.stop()
        daemon.check_log()
    finally:
        release_mount(maildir)


def break_under_way(
    bench: Bench,
    daemon: Daemon,
    maildir: Path,
    volume: Volume,
    spoil: Spoil,
    rng: random.Random,
) -> Mend:
    """The mailbox breaks after its RCPT; what is acknowledged then must wait for it."""
    letters = [bench.letters.write(rng, size) for size in (20 * KIB, 200 * KIB)]
    sessions = [Smtp(daemon.smtp) for _ in letters]
    with contextlib.ExitStack() as stack:
        for smtp, letter in zip(sessions, letters):
            stack.enter_context(smtp)
            smtp.command(f"MAIL FROM:<{letter.reverse_path}>", "250")
            for mailbox in VICTIM, OTHER:
                smtp.command(f"RCPT TO:<{mailbox}>", "250")
            smtp.command("DATA", "354")
        mend = spoil(maildir, volume)
        for smtp, letter in zip(sessions, letters):
            send_content(bench, smtp, letter, [VICTIM, OTHER])
    return mend


def send_content(bench: Bench, smtp: Smtp, letter: Letter, mailboxes: list[str]) -> None:
    bench.ledger.send(letter.number, mailboxes)
    smtp.send(letter.content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    smtp.expect("250")
    bench.ledger.acknowledge(letter.number, mailboxes)


def acknowledged(
    bench: Bench, daemon: Daemon, letter: Letter, mailboxes: list[str], only_other: bool = False
) -> str:
    """A letter that must be accepted; returns the reply to the first recipient."""
    with Smtp(daemon.smtp) as smtp:
        smtp.command(f"MAIL FROM:<{letter.reverse_path}>", "250")
        replies = []
        for mailbox in mailboxes:
            smtp.send(f"RCPT TO:<{mailbox}>\r\n".encode())
            replies.append(smtp.reply())
        accepted = [m for m, reply in zip(mailboxes, replies) if reply.startswith("250")]
        wanted = [OTHER] if only_other else mailboxes
        if accepted != wanted:
            raise Finding(Kind.REPLY, f"{mailboxes} get {replies}")
        smtp.command("DATA", "354")
        send_content(bench, smtp, letter, accepted)
    return replies[0]


def read(bench: Bench, daemon: Daemon, mailbox: str) -> None:
    with Pop3(daemon.pop3, mailbox) as pop3:
        pop3.see_all(bench.ledger, mailbox)
        pop3.command("QUIT")


def expect_told(daemon: Daemon) -> None:
    """The log must name the victim."""
    deadline = time.monotonic() + PATIENCE
    while TOLD not in daemon.log.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise Finding(Kind.CRASH, f"the log does not say that {TOLD}: {daemon.tail()}")
        time.sleep(0.01)
