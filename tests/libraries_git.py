"""git send-email for libraries.py: patches are sent by mail, fetched over POP3, and `git am` makes
the same commits from them."""

from __future__ import annotations

import random
import re
from pathlib import Path

from libraries_programs import HOST, Ended, Server, Workplace
from survival_bench import Unable
from survival_clients import KIB

PACKAGES = "git git-email libio-socket-ssl-perl libauthen-sasl-perl"

# What each commit writes, and its message. Patches have these lines after a sign, the message has
# them unchanged; a line in it that is a dot, or begins with From, is text.
COMMITS = [
    ("A first file", b"first\n"),
    ("Dots\n\nin the message:\n.\n..\n.dot\n\n.", b".\n..\n.dot\n\n.\n"),
    ("Grüße, 日本語\n\nnaïve 🐌", "Grüße, 日本語\n".encode()),
    ("Long lines", b"x" * 998 + b"\n" + b"y" * 5000 + b"\n" + b"word " * 300 + b"\n"),
    ("No line end", b"first\nlast"),
    ("Blanks and From\n\nFrom here on\n>From there", b"\ttab  \n \n\nFrom here\n"),
    ("Octets", random.Random(7).randbytes(200 * KIB)),
    ("Nothing left", b""),
]


class Git:
    """A repository with patches, and one that they are applied to."""

    def __init__(self, workplace: Workplace, name: str) -> None:
        self.workplace = workplace
        self.here = workplace.directory / f"{name}-here"
        self.there = workplace.directory / f"{name}-there"

    def check_installed(self) -> None:
        """Names the packages if something is missing."""
        perl = ("perl", "-MNet::SMTP", "-MIO::Socket::SSL", "-MAuthen::SASL", "-e", "1")
        for probe in (("sh", "-c", 'test -x "$(git --exec-path)/git-send-email"'), perl):
            if self.workplace.run(*probe).code != 0:
                raise Unable(f"git send-email is missing: apt-get install {PACKAGES}")

    def run(self, repository: Path, *arguments: str | Path, given: bytes = b"") -> Ended:
        """git in one of the repositories."""
        who: dict[str, str] = {}
        for role in "AUTHOR", "COMMITTER":
            who |= {f"GIT_{role}_NAME": "Älice", f"GIT_{role}_EMAIL": "alice@example.com"}
        return self.workplace.run("git", "-C", repository, *arguments, more=who, given=given)

    def must(self, repository: Path, *arguments: str | Path, given: bytes = b"") -> str:
        """The same, but it must succeed."""
        ended = self.run(repository, *arguments, given=given)
        if ended.code != 0:
            raise Unable(f"git {arguments[0]}: {ended.output[-500:]} {ended.errors[-500:]}")
        return ended.output

    def make(self) -> list[Path]:
        """Makes both repositories with the same first commit. Returns a patch for each other
        one."""
        for repository in self.here, self.there:
            self.workplace.run("git", "init", "-q", repository)
            self.commit(repository, "Begin", b"begin\n")
        for message, octets in COMMITS:
            self.commit(self.here, message, octets)
        out = self.workplace.directory / f"{self.here.name}-patches"
        self.must(self.here, "format-patch", "-q", "-o", out, f"HEAD~{len(COMMITS)}")
        return sorted(out.iterdir())

    def commit(self, repository: Path, message: str, octets: bytes) -> None:
        """One commit that writes these octets."""
        (repository / "file").write_bytes(octets)
        self.must(repository, "add", "file")
        options = ("-q", "--cleanup=verbatim", "-F", "-")
        self.must(repository, "commit", *options, given=message.encode())

    def send(self, server: Server, sender: str, to: str, patches: list[Path]) -> Ended:
        """git send-email with the necessary options."""
        options = [f"--smtp-server={HOST}", f"--smtp-server-port={server.port}"]
        options += [f"--from={sender}", f"--to={to}", "--confirm=never", "--suppress-cc=all"]
        if server.tls != "off":
            options.append(f"--smtp-encryption={'ssl' if server.tls == 'smtps' else 'tls'}")
            options.append(f"--smtp-ssl-cert-path={server.ca}")
        if server.login:
            user, password = server.login
            options += [f"--smtp-user={user}", f"--smtp-pass={password}"]
        return self.run(self.here, "send-email", *options, *patches)

    def apply(self, messages: list[bytes]) -> None:
        """Makes commits from what came back."""
        for message in messages:
            file = self.workplace.directory / "came-back"
            # As a program that fetches mail stores it.
            file.write_bytes(message.replace(b"\r\n", b"\n"))
            self.must(self.there, "am", "-q", file)

    def log(self, repository: Path) -> str:
        """The content of a repository: trees, authors and messages."""
        text = self.must(repository, "log", "--format=%T %an <%ae> %s%n%b")
        # Empty lines at the end of a message do not matter.
        return re.sub(r"\n+", "\n", text)
