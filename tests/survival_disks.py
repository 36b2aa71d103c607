"""The disks of survival.py and attacks.py: their power can be cut, and they can be filled."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path

from survival_bench import Bench, Unable, run
from survival_clients import KIB, MIB, PATIENCE

FS_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
GOING_FLAGS_NOLOGFLUSH = 2  # stop without writing data or the file system's journal


class Disk:
    """An ext4 file system on a loop device on a sparse file."""

    file_system = "ext4"
    # No blocks only for root: the daemon under test is root.
    mkfs: tuple[str, ...] = ("mkfs.ext4", "-q", "-F", "-m", "0")
    # Whether the image contains only the blocks that were written.
    is_sparse = True
    # The file system itself must be sound, or nothing above it can be judged.
    checker: tuple[str, ...] = ("e2fsck", "-fn")

    def __init__(self, bench: Bench, image: Path, octets: int, *options: str) -> None:
        only_as_root()
        self.image = image
        self.device: str | None = None
        self.mount_point = bench.directory / "disk"
        self.make(octets, options)
        bench.disks.append(self)

    def make(self, octets: int, options: tuple[str, ...]) -> None:
        """Makes the image and, with these further options, the file system on it."""
        self.mount_point.mkdir(exist_ok=True)
        with open(self.image, "wb") as file:
            if not self.is_sparse:
                for _ in range(octets // MIB):
                    file.write(bytes(MIB))
                file.flush()
                os.fsync(file.fileno())
            file.truncate(octets)
        run(*self.mkfs, *options, self.image)

    @property
    def mail(self) -> Path:
        """The mail directory while the disk is mounted."""
        return self.mount_point / "mail"

    def mount(self) -> None:
        """Attaches and mounts it; the file system recovers from its own journal."""
        self.device = run("losetup", "--find", "--show", self.image)
        run("mount", "-t", self.file_system, self.device, self.mount_point)

    def unmount(self) -> None:
        """Unmounts and detaches it. Nothing may use it any more."""
        run("umount", self.mount_point)
        assert self.device is not None
        run("losetup", "--detach", self.device)
        self.device = None

    def cut_power(self) -> None:
        """From now on nothing reaches the device, and what was not written never will."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", GOING_FLAGS_NOLOGFLUSH))
        except OSError as error:
            raise Unable(f"FS_IOC_SHUTDOWN: {error}") from None
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """Checks the file system while it is not mounted."""
        run(*self.checker, self.image)

    def release(self) -> None:
        """Unmounts and detaches it, whatever was interrupted before."""
        release_mount(self.mount_point)
        with contextlib.suppress(Unable):
            for line in run("losetup", "--associated", self.image).splitlines():
                run("losetup", "--detach", line.partition(":")[0])
        self.device = None


class XfsDisk(Disk):
    """The same with xfs."""

    file_system = "xfs"
    mkfs = ("mkfs.xfs", "-q", "-f")
    checker = ("xfs_repair", "-n")


class BtrfsDisk(Disk):
    """btrfs, which cannot be told to stop. So its image is on an ext4 whose power is cut.

    The system's memory for the image's data acts like the cache of a real disk: only what btrfs has
    flushed is sure to be in the image afterwards.
    """

    file_system = "btrfs"
    mkfs = ("mkfs.btrfs", "-q", "-f")
    # The ext4 below is stopped while it writes. Blocks that it had to allocate then are lost,
    # although its sync reports success.
    is_sparse = False
    checker = ("btrfs", "check", "--readonly")

    def __init__(self, bench: Bench, image: Path, octets: int, *options: str) -> None:
        self.below = Disk(bench, image, 2 * octets)
        self.below.mount_point = bench.directory / "below"
        self.below.mount_point.mkdir(exist_ok=True)
        self.below.mount()
        super().__init__(bench, self.below.mount_point / "disk.btrfs", octets, *options)
        # The disk below is released after this.
        bench.disks.remove(self)
        bench.disks.insert(bench.disks.index(self.below), self)
        self.below.unmount()

    def mount(self) -> None:
        self.below.mount()
        super().mount()

    def unmount(self) -> None:
        super().unmount()
        self.below.unmount()

    def cut_power(self) -> None:
        self.below.cut_power()

    def check(self) -> None:
        self.below.check()
        self.below.mount()
        try:
            super().check()
        finally:
            self.below.unmount()


class FuseDisk:
    """A file system served by a program (FUSE) over directories on `n_below` ext4 disks."""

    program = "bindfs"
    options: tuple[str, ...] = ()
    n_below = 1

    def __init__(self, bench: Bench, image: Path, octets: int, *options: str) -> None:
        self.mount_point = bench.directory / "disk"
        self.mount_point.mkdir(exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None
        bench.disks.append(self)
        self.below: list[Disk] = []
        for number in range(self.n_below):
            disk = Disk(bench, image.with_name(f"below-{number}.ext4"), octets, *options)
            disk.mount_point = bench.directory / f"below-{number}"
            disk.mount_point.mkdir(exist_ok=True)
            self.below.append(disk)

    @property
    def mail(self) -> Path:
        """The mail directory while it is mounted."""
        return self.mount_point / "mail"

    def mount(self) -> None:
        """Mounts the disks below, and starts the program, which mounts this."""
        for disk in self.below:
            disk.mount()
        below = ":".join(str(disk.mount_point) for disk in self.below)
        command = [self.program, "-f", *self.options, below, str(self.mount_point)]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Unable(f"{self.program}: {error}") from None
        deadline = time.monotonic() + PATIENCE
        while not self.mount_point.is_mount():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Unable(f"{' '.join(command)}: does not mount")
            time.sleep(0.01)

    def unmount(self) -> None:
        """Unmounts it and waits for the program, which holds the disks below until it has ended."""
        run("umount", self.mount_point)
        self.wait()
        for disk in self.below:
            disk.unmount()

    def wait(self) -> None:
        """Waits for the program to end."""
        if self.process is not None:
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE)
            self.process = None

    def cut_power(self) -> None:
        """Cuts the power of all disks below, one immediately after another.

        What the daemon does in between on a disk that is already gone fails, so nothing on the
        others depends on it.
        """
        for disk in self.below:
            disk.cut_power()

    def check(self) -> None:
        """Checks the disks below."""
        for disk in self.below:
            disk.check()

    def release(self) -> None:
        """Unmounts it, whatever was interrupted before; the disks below come next."""
        release_mount(self.mount_point)
        self.wait()


class BindfsDisk(FuseDisk):
    """bindfs: one directory, shown at another place."""


class MergerfsDisk(FuseDisk):
    """mergerfs: two disks, shown as one. Each new file is on either, at random."""

    program = "mergerfs"
    options = ("-o", "category.create=rand,minfreespace=0")
    n_below = 2


AnyDisk = Disk | FuseDisk

# The file systems for mail.
DISKS: dict[str, type[AnyDisk]] = {
    "ext4": Disk,
    "xfs": XfsDisk,
    "btrfs": BtrfsDisk,
    "mergerfs": MergerfsDisk,
    "bindfs": BindfsDisk,
}


def only_as_root() -> None:
    """Only root can do what follows."""
    if os.geteuid() != 0:
        raise Unable("only root can mount file systems")


def release_mount(mount_point: Path) -> None:
    """Unmounts what is mounted there, if anything.

    A file system whose power was cut may not even say whether it is mounted, so this is not asked.
    """
    with contextlib.suppress(Unable):
        run("umount", "--lazy", mount_point)


class Filler:
    """Takes everything that is free on a disk, blocks or inodes, and releases it."""

    def __init__(self, disk: Disk) -> None:
        self.directory = disk.mount_point / "filler"
        self.directory.mkdir(exist_ok=True)
        self.n_files = 0

    def fill(self) -> None:
        """Takes what is free now."""
        raise NotImplementedError

    def release(self) -> None:
        """Releases all of it."""
        for file in self.directory.iterdir():
            file.unlink()

    def file(self) -> int:
        """Opens a new file."""
        self.n_files += 1
        path = self.directory / str(self.n_files)
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)


class BlockFiller(Filler):
    """Takes the blocks."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        # Created in advance, because a full disk has no block for a new directory entry.
        self.descriptor = self.file()

    def fill(self) -> None:
        end = os.fstat(self.descriptor).st_size
        step = 64 * MIB
        while step >= KIB:
            try:
                os.posix_fallocate(self.descriptor, end, step)
                end += step
            except OSError:
                step //= 2

    def release(self) -> None:
        os.truncate(self.descriptor, 0)

    def close(self) -> None:
        """Closes the file, so that the disk can be unmounted."""
        os.close(self.descriptor)


class InodeFiller(Filler):
    """Takes the inodes."""

    def fill(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                os.close(self.file())

    def close(self) -> None:
        """There is nothing to close."""
