#!/usr/bin/env python3
"""The proof of the Debian package: a clean system installs, runs, upgrades and removes it.

    cargo deb
    python3 tests/package.py target/debian/facteur_*.deb
    python3 tests/package.py target/debian/facteur_*.deb --system debian.tar

A Debian system is made with mmdebstrap, or taken from an archive that an earlier run wrote to the
file of `--system`. In it, the package is installed, and the commands of docs/guide.md set it up.
Then the daemon is started as its unit says: that line, as that user, with those capabilities. It
must greet on every listener, accept mail over TLS and return it, and reload a new password. A later
version of the package is installed over it, and the package is removed, purged and installed again.
Configuration and accounts must survive everything except the purge, and mail, the user and the keys
of the CA everything. Nothing may be enabled or started that nobody requested. After that, the
commands of the guide install facteur without the package.

It needs root, Linux, mmdebstrap and its Debian mirror (without an archive), dpkg-dev, util-linux,
iproute2, cargo and Python 3. Everything except mmdebstrap and cargo runs in separate namespaces,
without a network and without systemd, and is removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import email.message
import os
import platform
import poplib
import re
import shlex
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
GUIDE = REPOSITORY / "docs" / "guide.md"

# Packages besides the essential ones: what the package needs, and systemctl.
INCLUDED = "adduser,systemd"

# Longest wait for the daemon to be ready, to reload or to end, in seconds.
PATIENCE = 60.0

CONFIGURATION = "/etc/facteur/facteur.toml"
ADDRESS = "bob@example.com"
PASSWORD = "sesame"
OTHER_PASSWORD = "open sesame"


class Failed(Exception):
    """Something is not as it must be."""


def check(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


def run(*command: str | Path, stdin: str = "", cwd: Path | None = None) -> str:
    """Runs a program, which must succeed. Returns its output."""
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    for_cargo = ("CARGO", "RUST", "HOME")
    env |= {name: value for name, value in os.environ.items() if name.startswith(for_cargo)}
    done = subprocess.run(
        list(map(str, command)),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=env,
    )
    if done.returncode != 0:
        said = done.stdout.strip()
        raise Failed(f"{shlex.join(map(str, command))} ended with {done.returncode}: {said}")
    return done.stdout


def block(name: str, page: Path = GUIDE) -> str:
    """The commands of a page for this script, by their name. There is no systemd that could start
    what they enable."""
    mark = re.escape(f"<!-- elsewhere: tests/package.py, {name} -->")
    found = re.search(rf"^{mark}\n```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    if found is None:
        raise Failed(f"{page.name} has no commands for {name!r}")
    return found[1].replace("enable --now", "enable")


class Service:
    """The daemon, started as its unit says."""

    def __init__(self, system: System) -> None:
        unit = system.path("/usr/lib/systemd/system/facteur.service")
        other = system.path("/etc/systemd/system/facteur.service")
        text = (other if other.exists() else unit).read_text()
        self.keys = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
        check(self.keys["User"] == "facteur", "the unit has another user")
        self.system = system
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.settimeout(PATIENCE)
        address = system.path("/run/notify")
        address.unlink(missing_ok=True)
        self.notices.bind(str(address))
        address.chmod(0o777)
        self.process = subprocess.Popen(
            self.command(self.keys["ExecStart"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NOTIFY_SOCKET": "/run/notify"},
            umask=int(self.keys["UMask"], 8),
        )

    def command(self, line: str) -> list[str]:
        """A command line of the unit, as the user of the unit."""
        capability = self.keys["AmbientCapabilities"].lower().removeprefix("cap_")
        return [
            *("chroot", str(self.system.root)),
            *("setpriv", "--reuid=facteur", "--regid=facteur", "--init-groups", "--no-new-privs"),
            *(f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}"),
            *(f"--bounding-set=-all,+{capability}", "--"),
            *shlex.split(line.replace("$$", "$")),
        ]

    def reload(self) -> None:
        """What `systemctl reload` does."""
        pid = f"MAINPID={self.process.pid}"
        run("env", pid, *self.command(self.keys["ExecReload"]))
        self.await_notice("READY=1")

    def await_notice(self, wanted: str) -> None:
        """Waits until this would have been reported to the service manager."""
        while True:
            try:
                notice = self.notices.recv(4096).decode()
            except TimeoutError:
                raise Failed(f"the daemon does not say {wanted}") from None
            if wanted in notice.split("\n"):
                return

    def ended(self) -> tuple[int, str]:
        """How it ends, and its log."""
        try:
            log = self.process.communicate(timeout=PATIENCE)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("the daemon does not end") from None
        finally:
            self.notices.close()
        return self.process.returncode, log


class System:
    """A Debian system in a directory."""

    def __init__(self, root: Path, archive: Path) -> None:
        self.root = root
        root.mkdir()
        run("tar", "-xf", archive, "-C", root, "--exclude=./dev/*")
        run("mount", "-t", "proc", "proc", root / "proc")
        run("mount", "--rbind", "/dev", root / "dev")

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def run(self, *command: str | Path, stdin: str = "") -> str:
        return run("chroot", self.root, *command, stdin=stdin)

    def sh(self, commands: str, stdin: str = "") -> str:
        return self.run("sh", "-euxc", commands, stdin=stdin)

    def install(self, package: Path) -> None:
        shutil.copy(package, self.path("/root/facteur.deb"))
        self.run("dpkg", "--force-confold", "-i", "/root/facteur.deb")

    def described(self, path: str) -> str:
        """Owner, group and mode of a file."""
        return self.run("stat", "-c", "%U:%G %a", path).strip()

    def enabled(self) -> list[str]:
        links = self.path("/etc/systemd/system").glob("*.wants/facteur*")
        return sorted(link.name for link in links)

    @contextlib.contextmanager
    def service(self) -> Iterator[Service]:
        """A daemon that is ready. Afterwards it stops in order."""
        service = Service(self)
        try:
            try:
                service.await_notice("READY=1")
            except Failed as failure:
                service.process.kill()
                raise Failed(f"{failure}: {service.ended()[1]}") from None
            told = self.run("facteur", "check-ready", "--config", CONFIGURATION)
            check(told == "ready: smtp, pop3\n", told)
            yield service
        finally:
            service.process.terminate()
            status, log = service.ended()
        check(status == 0, f"the daemon ended with {status}: {log}")
        worried = [line for line in log.splitlines() if " WARN " in line or " ERROR" in line]
        # A kernel may have no Landlock, and one of the logins is deliberately wrong.
        expected = ("sandbox:", "login refused")
        worried = [line for line in worried if not any(word in line for word in expected)]
        check(not worried, f"the log of a healthy daemon says: {worried}")

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path("/etc/facteur/tls/ca.pem")))


def send(system: System, subject: str) -> None:
    """Sends a letter over TLS, and checks the certificate."""
    letter = email.message.EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "alice@example.com", ADDRESS, subject
    letter.set_content("Hello Bob.\n")
    with smtplib.SMTP("127.0.0.1", 65434, timeout=PATIENCE) as smtp:
        smtp.starttls(context=system.trusting())
        smtp.send_message(letter)


def subjects(system: System, password: str = PASSWORD) -> list[str]:
    """What POP3 returns over TLS, in order."""
    pop3 = poplib.POP3("127.0.0.1", 65433, timeout=PATIENCE)
    pop3.stls(system.trusting())
    pop3.user(ADDRESS)
    pop3.pass_(password)
    found = []
    for number in range(1, pop3.stat()[0] + 1):
        letter = b"\r\n".join(pop3.retr(number)[1])
        found.append(email.message_from_bytes(letter)["Subject"])
    pop3.quit()
    return found


def later_version(package: Path, directory: Path) -> Path:
    """A newer package with a different configuration."""
    tree = directory / "later"
    run("dpkg-deb", "-R", package, tree)
    control = tree / "DEBIAN" / "control"
    changed = re.sub(r"(?m)^(Version: .*)$", r"\1+later", control.read_text())
    control.write_text(changed)
    configuration = tree / CONFIGURATION.lstrip("/")
    configuration.write_text(configuration.read_text() + "\n# Later.\n")
    built = directory / "later.deb"
    run("dpkg-deb", "--root-owner-group", "-b", tree, built)
    return built


def installed(system: System, package: Path) -> None:
    """Nothing runs, nothing is enabled, and the daemon does not serve everybody."""
    system.install(package)
    check(system.enabled() == [], f"enabled: {system.enabled()}")
    for path, described in {
        "/etc/facteur": "root:facteur 750",
        CONFIGURATION: "root:facteur 640",
        "/etc/facteur/accounts.toml": "root:facteur 640",
        "/etc/facteur/tls": "facteur:facteur 700",
        "/var/lib/facteur": "facteur:facteur 700",
        "/usr/bin/facteur": "root:root 755",
    }.items():
        check(system.described(path) == described, f"{path}: {system.described(path)}")
    for path in (
        "/usr/share/man/man8/facteur.8.gz",
        "/usr/share/bash-completion/completions/facteur",
        "/usr/share/zsh/vendor-completions/_facteur",
        "/usr/share/fish/vendor_completions.d/facteur.fish",
    ):
        check(system.path(path).is_file(), f"{path} is missing")
    units = ("facteur.service", "facteur-smtp.socket", "facteur-pop3.socket")
    worries = system.run("systemd-analyze", "verify", "--man=no", *units)
    check("facteur" not in worries, f"systemd says about the units: {worries}")
    status, log = Service(system).ended()
    check(status == 2 and "there is no account" in log, f"without an account: {status}: {log}")


def set_up(system: System) -> None:
    """The commands of the guide, which ask for a password."""
    system.sh(block("set up"), stdin=PASSWORD + "\n")
    check(system.described("/etc/facteur/accounts.toml") == "root:facteur 640", "accounts.toml")
    check(system.described("/etc/facteur/tls/key.pem") == "facteur:facteur 600", "key.pem")
    check(system.enabled() == ["facteur.service"], f"enabled: {system.enabled()}")


def used(system: System) -> None:
    """Mail comes in and goes out over TLS, and a new password works immediately."""
    with system.service() as service:
        send(system, "before the upgrade")
        check(subjects(system) == ["before the upgrade"], "the letter is missing")
        change = ("facteur", "account", "password", ADDRESS, "--config", CONFIGURATION)
        system.run(*change, stdin=OTHER_PASSWORD + "\n")
        service.await_notice("READY=1")
        check(subjects(system, OTHER_PASSWORD) != [], "the new password does not work")
        service.reload()
        try:
            subjects(system, PASSWORD)
        except poplib.error_proto:
            return
        raise Failed("the old password still works")


def upgraded(system: System, package: Path, directory: Path) -> None:
    """Changed files stay changed, and the mail stays."""
    configuration = system.path(CONFIGURATION)
    changed = configuration.read_text().replace('#hostname = "mail', 'hostname = "mail')
    configuration.write_text(changed)
    system.install(later_version(package, directory))
    check(configuration.read_text() == changed, "the configuration was replaced")
    check(system.described(CONFIGURATION) == "root:facteur 640", "its owner was changed")
    check(system.enabled() == ["facteur.service"], f"enabled: {system.enabled()}")
    with system.service():
        send(system, "after the upgrade")
        found = subjects(system, OTHER_PASSWORD)
    check(found == ["before the upgrade", "after the upgrade"], f"after the upgrade: {found}")


def removed(system: System, package: Path) -> None:
    """The program is removed; the mail and the keys stay, and are served again."""
    system.run("dpkg", "-r", "facteur")
    check(not system.path("/usr/bin/facteur").exists(), "the program is still there")
    check(system.enabled() == [], f"enabled: {system.enabled()}")
    check(system.path(CONFIGURATION).exists(), "the configuration was removed")
    system.run("dpkg", "-P", "facteur")
    for path in (CONFIGURATION, "/etc/facteur/accounts.toml"):
        check(not system.path(path).exists(), f"{path} is still there")
    left = sorted(path.name for path in system.path("/etc/facteur").iterdir())
    check(left == ["tls"], f"/etc/facteur has {left}")
    n_mail = len(list(system.path("/var/lib/facteur/mail/example.com/bob/new").iterdir()))
    check(n_mail == 2, f"{n_mail} messages are left")
    check(system.described("/etc/facteur/tls/ca.key") == "facteur:facteur 600", "ca.key")
    system.install(package)
    set_up(system)
    with system.service():
        check(len(subjects(system)) == 2, "the mail is not served again")


def started(system: System) -> None:
    """The second command of the README, without a configuration."""
    command = block("start", README).splitlines()[1]
    process = subprocess.Popen(
        ["chroot", str(system.root), "sh", "-c", f"cd /root && exec {command}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    is_ready = any(line.rstrip().endswith("ready") for line in process.stderr)
    process.terminate()
    log = process.communicate(timeout=PATIENCE)[1]
    check(is_ready and process.returncode == 0, f"facteur ended with {process.returncode}: {log}")


def by_hand(system: System, cargo: Path) -> None:
    """The README and the guide without the package, after all of it has been removed."""
    system.sh("dpkg -P facteur; userdel facteur; rm -r /etc/facteur /var/lib/facteur")
    run("cp", "-a", cargo / "bin", system.path("/usr/local"))
    started(system)
    for name in ("contrib", "docs"):
        shutil.copytree(REPOSITORY / name, system.path(f"/root/facteur/{name}"))
    for commands in ("by hand", "set up"):
        system.sh("cd /root/facteur\n" + block(commands), stdin=PASSWORD + "\n")
    with system.service():
        send(system, "by hand")
        check(subjects(system) == ["by hand"], "the letter is missing")


def play(package: Path, archive: Path, directory: Path) -> None:
    """Everything, within namespaces."""
    run("ip", "link", "set", "lo", "up")
    system = System(directory / "system", archive)
    for name, work in {
        "install": lambda: installed(system, package),
        "set up": lambda: set_up(system),
        "use": lambda: used(system),
        "upgrade": lambda: upgraded(system, package, directory),
        "remove": lambda: removed(system, package),
        "by hand": lambda: by_hand(system, directory / "cargo"),
    }.items():
        tried(name, work)


def tried(name: str, work: Callable[[], object]) -> None:
    """Does it, and prints how long it took."""
    begin = time.monotonic()
    work()
    print(f"{name}: ok, {time.monotonic() - begin:.1f} s", flush=True)


def prepared(options: argparse.Namespace, directory: Path) -> Path:
    """The archive of a system, and a program that cargo has installed."""
    archive = options.system or directory / "debian.tar"
    if not archive.exists():
        includes = ("--variant=minbase", f"--include={INCLUDED}")
        # The program needs the C library of the system that it was built on, or a later one.
        release = platform.freedesktop_os_release()["VERSION_CODENAME"]
        tried("make a system", lambda: run("mmdebstrap", *includes, release, archive))
    to = shlex.quote(str(directory / "cargo"))
    # The README installs for one user, so like the guide except for the place.
    commands = block("start", README).splitlines()[0] + " --root /usr/local\n"
    check(commands == block("cargo"), "the README and the guide install in different ways")
    commands = commands.replace("/usr/local", to)
    tried("cargo install", lambda: run("sh", "-euc", commands, cwd=REPOSITORY))
    return archive


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=lambda path: Path(path).resolve())
    parser.add_argument("--system", type=lambda path: Path(path).resolve(), metavar="ARCHIVE")
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # The directory is removed in that case too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if options.within is not None:
            play(options.package, options.system, options.within)
            return 0
        check(os.geteuid() == 0, "only root can create a system")
        # The user facteur must be able to reach the files in it.
        with tempfile.TemporaryDirectory(prefix="facteur-package-") as directory:
            os.chmod(directory, 0o755)
            archive = prepared(options, Path(directory))
            within = (sys.executable, __file__, options.package, "--system", archive)
            apart = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child")
            command = (*apart, *within, "--within", directory)
            # Its mounts disappear with the namespace, before the directory is removed.
            if subprocess.run(list(map(str, command)), check=False).returncode != 0:
                return 1
    except Failed as failure:
        print(f"FAILED: {failure}")
        return 1
    print("the package holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
