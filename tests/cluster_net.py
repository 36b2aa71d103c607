"""The machines of cluster.py: network namespaces on a bridge, which can be cut off and killed.

Two bridges are in one namespace, and each machine has a cable to one of them. Who is cut off moves
to the other bridge, alone or with others, and reaches nobody who stayed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from survival_bench import Unable, run
from survival_clients import PATIENCE

# Of sched.h; Python has unshare and setns since 3.12 only.
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

NETWORK = "10.77.0"


class Place:
    """A network namespace. It ends with the process that holds it."""

    def __init__(self) -> None:
        sleeper = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"]
        try:
            self.holder = subprocess.Popen(
                sleeper, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise Unable(f"unshare: {error}") from None
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != b"ready\n":
            raise Unable("no network namespace can be made; this needs root")
        self.inside = ("nsenter", f"--target={self.holder.pid}", "--net")

    def run(self, *command: str) -> str:
        return run(*self.inside, *command)

    def enter(self) -> None:
        """Moves this thread into it: sockets that it makes from now on are there."""
        with open(f"/proc/{self.holder.pid}/ns/net") as place:
            if LIBC.setns(place.fileno(), CLONE_NEWNET) != 0:
                raise Unable(f"setns: {os.strerror(ctypes.get_errno())}")

    def thread(self, work: Callable[[], None]) -> threading.Thread:
        """A thread that is in it."""

        def inside() -> None:
            self.enter()
            work()

        return threading.Thread(target=inside, daemon=True)

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait(PATIENCE)
        assert self.holder.stdout is not None
        self.holder.stdout.close()


class Machine(Place):
    """A namespace with an address and a cable."""

    def __init__(self, switch: Place, name: str, number: int) -> None:
        super().__init__()
        self.switch, self.name, self.address = switch, name, f"{NETWORK}.{number}"
        self.process: subprocess.Popen[bytes] | None = None
        self.run("ip", "link", "set", "lo", "up")
        cable = ("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0")
        switch.run(*cable, "netns", str(self.holder.pid))
        self.plug("bridge")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    def plug(self, bridge: str) -> None:
        """Connects its cable to this bridge: `bridge`, or `aside`."""
        self.switch.run("ip", "link", "set", f"to-{self.name}", "master", bridge, "up")

    def mute(self, other: Machine) -> None:
        """It sends nothing to the other any longer, and still hears it."""
        self.run("ip", "route", "replace", "blackhole", f"{other.address}/32")

    def unmute(self, other: Machine) -> None:
        self.run("ip", "route", "delete", "blackhole", f"{other.address}/32")

    def start(self, script: str, log: Path, *arguments: str) -> None:
        """Runs a script there, for which it is the whole machine: if that is killed, everything
        that it has started dies at the same moment."""
        alone = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        command = [*self.inside, *alone, "sh", "-c", script, "sh", *arguments]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """The power of the machine is cut; its network stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def close(self) -> None:
        self.kill()
        super().close()


class Network:
    """All machines."""

    def __init__(self, names: list[str]) -> None:
        self.switch = Place()
        self.machines: dict[str, Machine] = {}
        try:
            for bridge in "bridge", "aside":
                self.switch.run("ip", "link", "add", bridge, "type", "bridge")
                self.switch.run("ip", "link", "set", bridge, "up")
            for number, name in enumerate(names, 1):
                self.machines[name] = Machine(self.switch, name, number)
        except BaseException:
            self.close()
            raise

    def cut(self, names: list[str]) -> None:
        """These reach each other, and nobody else."""
        for name in names:
            self.machines[name].plug("aside")

    def heal(self) -> None:
        for machine in self.machines.values():
            machine.plug("bridge")

    @contextlib.contextmanager
    def cut_off(self, names: list[str]) -> Iterator[None]:
        self.cut(names)
        try:
            yield
        finally:
            self.heal()

    def close(self) -> None:
        for machine in self.machines.values():
            machine.close()
        self.switch.close()


def at(machine: Machine, work: Callable[[], object]) -> None:
    """Does it on that machine."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = machine.thread(guarded)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
