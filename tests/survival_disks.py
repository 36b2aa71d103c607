"""The disks of survival.py and attacks.py: their power can be cut, and they can be filled."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path

from survival_bench import Bench, Unable, run
from survival_clients import KIB, MIB

FS_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
GOING_FLAGS_NOLOGFLUSH = 2  # stop at once: neither data nor the file system's journal is written


class Disk:
    """An ext4 file system on a loop device on a sparse file."""

    def __init__(self, bench: Bench, image: Path, octets: int, *mkfs: str) -> None:
        if os.geteuid() != 0:
            raise Unable("only root can mount file systems")
        self.image = image
        self.device: str | None = None
        self.mount_point = bench.directory / "disk"
        self.mount_point.mkdir(exist_ok=True)
        with open(image, "wb") as file:
            file.truncate(octets)
        # No blocks only for root: the daemon under test is root.
        run("mkfs.ext4", "-q", "-F", "-m", "0", *mkfs, image)
        bench.disks.append(self)

    @property
    def mail(self) -> Path:
        """Where the mail is when the disk is mounted."""
        return self.mount_point / "mail"

    def mount(self) -> None:
        """Attaches and mounts it; the file system recovers by its own journal."""
        self.device = run("losetup", "--find", "--show", self.image)
        run("mount", "-t", "ext4", self.device, self.mount_point)

    def unmount(self) -> None:
        """Unmounts and detaches it. Nobody may use it any more."""
        run("umount", self.mount_point)
        assert self.device is not None
        run("losetup", "--detach", self.device)
        self.device = None

    def cut_power(self) -> None:
        """From now on nothing reaches the device, and nothing that was not written ever will."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", GOING_FLAGS_NOLOGFLUSH))
        except OSError as error:
            raise Unable(f"FS_IOC_SHUTDOWN: {error}") from None
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """The file system itself has to be sound, or else nothing above it can be judged."""
        run("e2fsck", "-fn", self.image)

    def release(self) -> None:
        """Unmounts and detaches it, whatever was interrupted before."""
        release_mount(self.mount_point)
        with contextlib.suppress(Unable):
            for line in run("losetup", "--associated", self.image).splitlines():
                run("losetup", "--detach", line.partition(":")[0])
        self.device = None


def release_mount(mount_point: Path) -> None:
    """Unmounts what is mounted there, if anything is."""
    if mount_point.is_mount():
        with contextlib.suppress(Unable):
            run("umount", "--lazy", mount_point)


class Filler:
    """Takes all that is free on a disk, blocks or inodes, and gives it back."""

    def __init__(self, disk: Disk) -> None:
        self.directory = disk.mount_point / "filler"
        self.directory.mkdir(exist_ok=True)
        self.n_files = 0

    def fill(self) -> None:
        """Takes what is free now."""
        raise NotImplementedError

    def release(self) -> None:
        """Gives all of it back."""
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
        # Made in advance, because a full disk has no block for a new directory entry.
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
        """Lets go of the file, so that the disk can be unmounted."""
        os.close(self.descriptor)


class InodeFiller(Filler):
    """Takes the inodes."""

    def fill(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                os.close(self.file())

    def close(self) -> None:
        """There is nothing to let go of."""
