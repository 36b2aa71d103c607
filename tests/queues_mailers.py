"""The mail servers of queues.py: Postfix, Exim, OpenSMTPD, sendmail, nullmailer and dma, each in a
view of this system whose changes are thrown away, and configured with the lines from the guide."""

from __future__ import annotations

import ctypes
import enum
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from survival_bench import Unable, run
from survival_clients import PATIENCE

GUIDE = Path(__file__).parent.parent / "docs" / "guide.md"

# How long apt may take, in seconds: it also downloads.
INSTALLATION = 600.0

# What the guide's lines say: the server, the user, and the password.
PORT = 65434
USER = "bob@example.com"
PASSWORD = "sesame"

CLONE_NEWNET = 0x40000000

# The script for a view. The view exists as long as the shell, which exists as long as its input.
VIEW = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root"
mount --rbind /dev "$0/root/dev"
mount -t proc proc "$0/root/proc"
hostname host.example.net
printf '127.0.0.1 localhost\\n127.0.0.1 host.example.net host\\n' >"$0/root/etc/hosts"
printf '#!/bin/sh\\nexit 101\\n' >"$0/root/usr/sbin/policy-rc.d"
chmod 755 "$0/root/usr/sbin/policy-rc.d"
if [ -n "$1" ]; then
    mount --bind "$1" "$0/root/var/cache/apt/archives"
    rm -f "$0/root/etc/apt/apt.conf.d/docker-clean"
fi
echo ready
exec cat
"""


def block(name: str) -> list[str]:
    """The lines of the guide with this name."""
    found = re.search(
        rf"^<!-- file: {re.escape(name)} -->\n+```\w*\n(.*?)^```$",
        GUIDE.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    if found is None:
        raise Unable(f"the guide has no lines for {name!r}")
    return [line for line in found[1].splitlines() if line]


class Network:
    """A separate network for this script and everything that it starts from now on: a misconfigured
    mail server must not reach anybody. apt is outside of it."""

    def __init__(self) -> None:
        self.outside = os.open("/proc/self/ns/net", os.O_RDONLY)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise Unable(f"a separate network: {os.strerror(ctypes.get_errno())}")
        run("ip", "link", "set", "lo", "up")

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command line to run it outside."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.outside}", "--")


class View:
    """This system with some more packages, only for the programs that run in it."""

    def __init__(self, directory: Path, cache: Path | None) -> None:
        directory.mkdir()
        self.root = directory / "root"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
            + ["sh", "-c", VIEW, str(directory), str(cache or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.holder.stdout is not None and self.holder.stderr is not None
        if self.holder.stdout.readline() != b"ready\n":
            said = self.holder.stderr.read().decode(errors="replace")
            self.release()
            raise Unable(f"a view of this system: {said.strip()}")
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        self.pid = int(children.read_text())

    def release(self) -> None:
        """Ends everything in it, and then itself."""
        self.holder.kill()
        self.holder.wait(PATIENCE)
        for pipe in self.holder.stdin, self.holder.stdout, self.holder.stderr:
            if pipe is not None:
                pipe.close()

    def command(self, *command: str | Path) -> list[str]:
        """The command line that runs this one inside."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        variables = path, "LC_ALL=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"
        return [
            *("nsenter", "--target", str(self.pid), "--mount", "--uts", "--pid", "--"),
            *("chroot", str(self.root), "env", "-i", *variables, *map(str, command)),
        ]

    def call(
        self,
        *command: str | Path,
        octets: bytes = b"",
        patience: float = PATIENCE,
        prefix: tuple[str, ...] = (),
    ) -> tuple[int, str]:
        """Runs a program inside to its end: its exit code and its output."""
        # Background processes must not delay this, so the output is a file.
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [*prefix, *self.command(*command)],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            try:
                process.communicate(octets, patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                said.write(f" does not end in {patience:.0f} s".encode())
            said.seek(0)
            return process.returncode, said.read().decode(errors="replace")

    def need(self, *command: str | Path, octets: bytes = b"") -> str:
        """Runs a program inside, which must succeed. Returns its output."""
        code, said = self.call(*command, octets=octets)
        if code:
            raise Unable(f"{' '.join(map(str, command))}: {code}: {said.strip()[-500:]}")
        return said

    def start(self, *command: str | Path, log: str = "/var/log/queues.log") -> None:
        """Starts a program that runs until the whole view ends, or until it is stopped."""
        script = 'log=$1; shift; exec "$@" >>"$log" 2>&1'
        subprocess.Popen(
            self.command("sh", "-c", script, "sh", log, *command),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def install(self, network: Network, packages: tuple[str, ...]) -> float:
        """Installs them; returns the seconds that it took."""
        begin = time.monotonic()
        # As root, since only root can use apt's files elsewhere.
        options = "-qq", "-y", "--no-install-recommends", "-o", "APT::Sandbox::User=root"
        command = "apt-get", "install", *options, *packages
        code, said = self.call(*command, prefix=network.prefix, patience=INSTALLATION)
        if code:
            raise Unable(f"the packages {' '.join(packages)}: {said.strip()[-1000:]}")
        return time.monotonic() - begin

    def write(self, path: str, *lines: str, mode: int = 0o644, owner: str = "root:root") -> None:
        """Writes a file inside."""
        text = "\n".join(lines) + "\n"
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1" && chown "$3" "$1"'
        self.need("sh", "-c", script, "sh", path, f"{mode:o}", owner, octets=text.encode())

    def read(self, path: str) -> str:
        """The content of a file inside, if it exists."""
        return self.call("cat", path)[1]

    def wait_for(self, what: str, is_so: Callable[[], bool]) -> None:
        """Waits until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > deadline:
                raise Unable(f"waited in vain for {what}")
            time.sleep(0.05)

    def has(self, path: str) -> bool:
        """Whether this file exists."""
        return self.call("test", "-e", path)[0] == 0


class Way(enum.Enum):
    """How a mail server sends."""

    OPEN = "without accounts"
    LMTP = "over LMTP"
    LOGIN = "with a login"
    TLS = "with a login within TLS"


class Mailer:
    """A mail server with a queue. The classes below have the differences."""

    name: str
    packages: tuple[str, ...]
    # Whether it accepts non-ASCII addresses, and sends with SMTPUTF8.
    knows_smtputf8 = False
    # Whether it can send with an empty reverse path.
    knows_nobody = True
    # The ways in which it sends.
    ways: tuple[Way, ...] = (Way.OPEN, Way.LOGIN, Way.TLS)
    # Whether TLS is immediate, instead of with STARTTLS.
    uses_smtps = False
    # The file of its log.
    logs: tuple[str, ...] = ("/var/log/queues.log",)

    def __init__(self, view: View, way: Way) -> None:
        self.view = view
        self.way = way
        self.logs_in = way in (Way.LOGIN, Way.TLS)
        self.configure()
        self.start()

    def configure(self) -> None:
        """Writes its configuration, with the lines from the guide if there are any."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts the part that sends."""

    def stop(self) -> None:
        """Ends that, and everything else that runs there."""
        self.view.call("sh", "-c", "kill -KILL -1")

    def submit(self, sender: str, recipients: list[str], octets: bytes) -> tuple[int, str]:
        """Gives it a letter: the exit code of `sendmail`, and its output."""
        return self.view.call("sendmail", "-i", "-f", sender, "--", *recipients, octets=octets)

    def hurry(self) -> None:
        """Makes it retry now what it could not send before."""

    def queue(self) -> str:
        """What it still has to send; empty if there is nothing."""
        raise NotImplementedError

    def tail(self) -> str:
        """The end of its log."""
        told = []
        for log in self.logs:
            told += self.view.call("sh", "-c", f"tail -n 15 {log}")[1].splitlines()
        return "\n".join(line[:300] for line in told)


class Postfix(Mailer):
    name = "postfix"
    packages = ("postfix", "libsasl2-modules")
    knows_smtputf8 = True
    logs = ("/var/log/mail.log",)

    def configure(self) -> None:
        lines = [
            "mydestination =",
            "myhostname = host.example.net",
            "inet_interfaces = loopback-only",
            "maillog_file = /var/log/mail.log",
            "message_size_limit = 0",
            "queue_run_delay = 1s",
            "minimal_backoff_time = 1s",
            "maximal_backoff_time = 1s",
            *block("main.cf"),
        ]
        if self.logs_in:
            lines += block("main.cf with a login")
            secret = f"[127.0.0.1]:{PORT} {USER}:{PASSWORD}"
            self.view.write("/etc/postfix/facteur", secret, mode=0o600)
        if self.way is Way.LMTP:
            lines = [line for line in lines if not line.startswith("relayhost")]
            lines += ["relayhost =", *block("main.cf over LMTP")]
        # What the previous way left is overwritten.
        level = "encrypt" if self.way is Way.TLS else "none"
        lines.append(f"smtp_tls_security_level = {level}")
        self.view.need("postconf", "-e", *lines)

    def start(self) -> None:
        self.view.need("rm", "-f", "/var/spool/postfix/public/pickup")
        self.view.need("postfix", "start")
        self.view.wait_for("Postfix", lambda: self.view.has("/var/spool/postfix/public/pickup"))

    def hurry(self) -> None:
        self.view.call("postqueue", "-f")

    def queue(self) -> str:
        said = self.view.call("postqueue", "-p")[1]
        return "" if "queue is empty" in said else said


class Exim(Mailer):
    name = "exim"
    packages = ("exim4-daemon-light",)
    knows_smtputf8 = True
    logs = ("/var/log/exim4/mainlog", "/var/log/exim4/paniclog")

    def configure(self) -> None:
        lines = [
            "primary_hostname = host.example.net",
            "keep_environment =",
            "trusted_users = root",
            "message_size_limit = 0",
            "smtputf8_advertise_hosts = *",
            "allow_utf8_domains = true",
            "disable_ipv6 = true",
        ]
        for line in block("exim4.conf"):
            lines.append(line)
            if line.startswith("  port "):
                # Lines of any length are sent.
                lines.append("  message_linelength_limit = 1G")
                if self.logs_in:
                    lines.append("  hosts_require_auth = *")
        if self.logs_in:
            lines += block("exim4.conf with a login")
        lines += ["begin retry", "* * F,2h,1s"]
        self.view.write("/etc/exim4/exim4.conf", *lines, mode=0o640, owner="root:Debian-exim")

    def start(self) -> None:
        self.view.start("exim4", "-bdf", "-q1s", "-oX", "127.0.0.1.25")

    def hurry(self) -> None:
        self.view.call("exim4", "-qff")

    def queue(self) -> str:
        return self.view.call("exim4", "-bp")[1].strip()


class OpenSmtpd(Mailer):
    name = "opensmtpd"
    packages = ("opensmtpd",)
    # It logs in only over TLS.
    ways = (Way.OPEN, Way.TLS)

    def configure(self) -> None:
        lines = ["listen on localhost"]
        if self.logs_in:
            lines += block("smtpd.conf with a login") + block("smtpd.conf")[1:]
        else:
            lines += block("smtpd.conf")
        self.view.write("/etc/smtpd.conf", *lines)
        self.view.write("/etc/mail/secrets", f"facteur {USER}:{PASSWORD}", mode=0o600)

    def start(self) -> None:
        self.view.need("rm", "-f", "/var/run/smtpd.sock")
        self.view.start("smtpd", "-d")
        self.view.wait_for("OpenSMTPD", lambda: self.view.has("/var/run/smtpd.sock"))

    def hurry(self) -> None:
        self.view.call("smtpctl", "schedule", "all")

    def queue(self) -> str:
        return self.view.call("smtpctl", "show", "queue")[1].strip()


class Sendmail(Mailer):
    name = "sendmail"
    packages = ("sendmail-bin", "libsasl2-modules")
    logs = ("/var/log/queues.log",)

    def configure(self) -> None:
        lines = [
            "divert(0)dnl",
            "include(`/usr/share/sendmail/cf/m4/cf.m4')dnl",
            "OSTYPE(`debian')dnl",
            "DOMAIN(`debian-mta')dnl",
            "undefine(`confHOST_STATUS_DIRECTORY')dnl",
            "define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch-nodns')dnl",
            "define(`confTRUSTED_USER', `smmta')dnl",
            "FEATURE(`no_default_msa')dnl",
            "FEATURE(`nocanonify')dnl",
            "FEATURE(`accept_unresolvable_domains')dnl",
            "define(`confDOMAIN_NAME', `host.example.net')dnl",
            "define(`confTO_HOSTSTATUS', `0s')dnl",
            "define(`confTO_IDENT', `0')dnl",
            "define(`SMART_HOST', `relay:[127.0.0.1]')dnl",
            f"define(`RELAY_MAILER_ARGS', `TCP $h {PORT}')dnl",
        ]
        if self.logs_in:
            secret = f'AuthInfo:127.0.0.1 "U:{USER}" "I:{USER}" "P:{PASSWORD}" "M:PLAIN LOGIN"'
            self.view.write("/etc/mail/authinfo", secret, mode=0o600, owner="smmta:smmsp")
            lines.append("FEATURE(`authinfo', `hash /etc/mail/authinfo')dnl")
            lines.append("define(`confAUTH_MECHANISMS', `PLAIN LOGIN')dnl")
        lines += ["MAILER(`local')dnl", "MAILER(`smtp')dnl"]
        self.view.write("/etc/mail/queues.mc", *lines)
        made = self.view.need("sh", "-c", "cd /usr/share/sendmail/cf/cf && m4 /etc/mail/queues.mc")
        self.view.write("/etc/mail/sendmail.cf", made)
        if self.logs_in:
            self.view.need("sh", "-c", "makemap hash /etc/mail/authinfo </etc/mail/authinfo")

    def start(self) -> None:
        self.view.start("sendmail", "-Am", "-q1s")

    def submit(self, sender: str, recipients: list[str], octets: bytes) -> tuple[int, str]:
        command = "sendmail", "-Am", "-odq", "-i", "-f", sender, "--", *recipients
        return self.view.call(*command, octets=octets)

    def hurry(self) -> None:
        self.view.call("sendmail", "-Am", "-q")

    def queue(self) -> str:
        said = self.view.call("sendmail", "-Am", "-bp")[1]
        return "" if "is empty" in said else said


class Nullmailer(Mailer):
    name = "nullmailer"
    packages = ("nullmailer",)
    uses_smtps = True

    def configure(self) -> None:
        lines = block("remotes with a login" if self.logs_in else "remotes")
        if self.way is Way.TLS:
            # It does not know the CA.
            lines = [f"{line} --ssl --insecure" for line in lines]
        self.view.write("/etc/nullmailer/remotes", *lines, mode=0o600, owner="mail:mail")
        for name, value in ("me", "host.example.net"), ("pausetime", "1"), ("maxpause", "1"):
            self.view.write(f"/etc/nullmailer/{name}", value)

    def start(self) -> None:
        ids = "--reuid=mail", "--regid=mail", "--clear-groups"
        self.view.start("setpriv", *ids, "nullmailer-send")

    def hurry(self) -> None:
        self.view.call("sh", "-c", "echo >>/var/spool/nullmailer/trigger")

    def submit(self, sender: str, recipients: list[str], octets: bytes) -> tuple[int, str]:
        return self.view.call("sendmail", "-i", "-f", sender, *recipients, octets=octets)

    def queue(self) -> str:
        return self.view.call("mailq")[1].strip()


class Dma(Mailer):
    name = "dma"
    packages = ("dma",)
    # It appends its host.
    knows_nobody = False
    uses_smtps = True

    def configure(self) -> None:
        lines = ["SMARTHOST 127.0.0.1", f"PORT {PORT}", "MAILNAME host.example.net", "NULLCLIENT"]
        if self.logs_in:
            is_tls = self.way is Way.TLS
            lines += ["AUTHPATH /etc/dma/auth.conf", "SECURETRANSFER" if is_tls else "INSECURE"]
            secret = f"{USER}|127.0.0.1:{PASSWORD}"
            self.view.write("/etc/dma/auth.conf", secret, mode=0o640, owner="root:mail")
        self.view.write("/etc/dma/dma.conf", *lines, owner="root:mail")

    def hurry(self) -> None:
        self.view.call("dma", "-q1")

    def queue(self) -> str:
        said = self.view.call("dma", "-bp")[1]
        return "" if "empty" in said else said


MAILERS: dict[str, type[Mailer]] = {
    mailer.name: mailer for mailer in (Postfix, Exim, OpenSmtpd, Sendmail, Nullmailer, Dma)
}
