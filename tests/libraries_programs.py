"""What libraries.py sends, and the programs that send it: those under tests/libraries, curl, swaks
and msmtp, each with only host, port and, with TLS, the CA configured.

A program under tests/libraries is called as

    PROGRAM HOST PORT TLS DIRECTORY [USER PASSWORD]

TLS is `off`, `starttls` or `smtps`. With `off` a library does what it does by default, even if the
server offers STARTTLS; with `starttls` it is configured to use it if necessary. DIRECTORY has a
directory for each message, in which `from` and `to`, one recipient a line, are the envelope. If
`message` is there, it is the content; `as-text` beside it means to pass it as text. Otherwise the
library writes the message from `subject`, `text` and, if it is there, `attachment`. The program
prints a line for each: its name, and `sent` or what went wrong.
"""

from __future__ import annotations

import email.message
import email.policy
import functools
import random
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from survival_bench import Bench, Unable
from survival_clients import MIB, PATIENCE

HERE = Path(__file__).parent / "libraries"

# The names in every certificate of `facteur cert`.
HOST = "localhost"


@dataclass(frozen=True)
class Case:
    """A message that a careless program would change."""

    name: str
    text: str
    subject: str = "a letter"
    recipients: int = 1
    attachment: bytes = b""

    @property
    def title(self) -> str:
        """The subject, which identifies the case."""
        return f"{self.name}: {self.subject}"

    def content(self, sender: str, to: list[str]) -> bytes:
        """The message as it would be in a file, with CRLF."""
        head = [f"From: {sender}", f"To: {', '.join(to)}", f"Subject: {self.title}"]
        head += ["Date: Mon, 01 Jan 2024 12:00:00 +0000", f"Message-ID: <{self.name}@case.test>"]
        if self.attachment:
            message = email.message.EmailMessage(email.policy.SMTP)
            message.set_content(self.text)
            message.add_attachment(self.attachment, "application", "octet-stream", filename="a")
            rest = message.as_bytes()
        else:
            kind = b"Content-Type: text/plain; charset=utf-8\n"
            rest = b"MIME-Version: 1.0\n%sContent-Transfer-Encoding: 8bit\n\n" % kind
            rest = (rest + self.text.encode()).replace(b"\n", b"\r\n")
        return "".join(line + "\r\n" for line in head).encode() + rest


DOTS = ".a dot first\n..two\n...\nin the middle . of a line\n.\n"

CASES = [
    Case("plain", "Hello Bob.\n"),
    Case("dots", f"{DOTS}..\n.last\n".replace("\n.\n", "\n")),
    Case("lone-dots", f".\n{DOTS}\n.\n.\nthe end\n"),
    Case("from", "From here on\n>From there\n"),
    Case("utf-8", "Grüße, 日本語, naïve 🐌\n"),
    Case("utf-8-subject", "Hello.\n", "Grüße aus Köln, 日本語" + ", ein langer Betreff" * 5),
    Case("blanks", "\ttab and blanks  \n \n\n\n  indented\nsoft=\n=2E=C3\n"),
    Case("line-of-998", "x" * 998 + "\n" + "word " * 199 + "wor\n"),
    Case("long-line", "y" * 1001 + "\n" + "words " * 2000 + "\nlast\n"),
    Case("no-line-end", "first\nlast"),
    Case("only-dot-at-end", "first\n."),
    Case("attachment", "See below.\n", attachment=random.Random(7).randbytes(MIB)),
    Case("recipients", "Hello all.\n", recipients=5),
    Case("empty", ""),
]

# Those that are also sent with a login.
WITH_LOGIN = [case for case in CASES if case.name in {"plain", "lone-dots", "utf-8", "attachment"}]


@dataclass(frozen=True)
class Server:
    """The server to send to, and the user."""

    port: int
    tls: str = "off"
    login: tuple[str, str] | None = None
    # The CA, if the program is told about it.
    ca: Path | None = None

    @property
    def arguments(self) -> list[str]:
        """The arguments of programs in tests/libraries, before the directory."""
        return [HOST, str(self.port), self.tls]


@dataclass(frozen=True)
class Letter:
    """A case as one program must send it."""

    case: Case
    name: str
    sender: str
    to: list[str]
    # The content that the program is given; none if it writes the message itself.
    content: bytes | None

    @property
    def has_bare_lf(self) -> bool:
        """Whether it has other line endings than CRLF."""
        return self.content is not None and b"\n" in self.content.replace(b"\r\n", b"")


@dataclass(frozen=True)
class Ended:
    """The results of a program that has ended."""

    code: int
    output: str
    errors: str


class Workplace:
    """Where programs run: a home without configuration, and a small environment."""

    def __init__(self, bench: Bench) -> None:
        self.directory = bench.directory
        self.home = bench.directory / "home"
        self.home.mkdir(exist_ok=True)

    def run(
        self, *command: str | Path, more: dict[str, str] | None = None, given: bytes = b""
    ) -> Ended:
        """Runs a program to its end."""
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            **(more or {}),
        }
        done = subprocess.run(
            list(map(str, command)),
            input=given,
            capture_output=True,
            timeout=2 * PATIENCE,
            cwd=self.home,
            env=environment,
            start_new_session=True,
        )
        said = [text.decode(errors="replace") for text in (done.stdout, done.stderr)]
        return Ended(done.returncode, *said)

    def write(self, letters: Iterable[Letter]) -> Path:
        """Writes letters for a program of tests/libraries."""
        top = Path(tempfile.mkdtemp(prefix="letters-", dir=self.directory))
        for letter in letters:
            directory = top / letter.name
            directory.mkdir(parents=True)
            (directory / "from").write_text(letter.sender)
            (directory / "to").write_text("\n".join(letter.to))
            if letter.content is not None:
                (directory / "message").write_bytes(letter.content)
                if letter.name.endswith("-str"):
                    (directory / "as-text").touch()
                continue
            (directory / "subject").write_text(letter.case.title)
            (directory / "text").write_bytes(letter.case.text.encode())
            if letter.case.attachment:
                (directory / "attachment").write_bytes(letter.case.attachment)
        return top


@dataclass(frozen=True)
class Program:
    """A program that sends."""

    name: str
    packages: str
    # A command that succeeds if it is installed.
    probe: tuple[str, ...]
    # Sends letters; returns the outcome of each.
    send: Callable[[Workplace, Server, list[Letter]], dict[str, str]]
    # How it is given complete messages: with CRLF, with LF, as text.
    given: tuple[str, ...] = ("crlf", "lf")
    # Whether it writes messages itself.
    writes: bool = False
    # Whether it sends a bare LF unchanged.
    passes_lf: bool = False
    # Whether it uses STARTTLS whenever it is offered.
    is_eager: bool = False
    ways: tuple[str, ...] = ("starttls", "smtps")

    def check_installed(self, workplace: Workplace) -> None:
        """Names the packages if something is missing."""
        try:
            ended = workplace.run(*self.probe)
        except OSError as error:
            ended = Ended(1, "", str(error))
        if ended.code != 0:
            raise Unable(f"{ended.errors.strip()[:200]}: apt-get install {self.packages}")

    def letters(self, cases: Iterable[Case], sender: str, to: str = "") -> list[Letter]:
        """Everything that it sends of these cases; to separate mailboxes if `to` is not given."""
        letters = []
        for case in cases:
            for way in [*self.given, *(["own"] if self.writes else [])]:
                name = f"{case.name}-{way}"
                recipients = [f"{name}@{self.name}.test"]
                recipients += [f"{name}-{n}@{self.name}.test" for n in range(1, case.recipients)]
                recipients = [to] if to else recipients
                content = None if way == "own" else case.content(sender, recipients)
                if way == "lf":
                    content = (content or b"").replace(b"\r\n", b"\n")
                letters.append(Letter(case, name, sender, recipients, content))
        return letters


# ------------------------------------------------------------------- programs of tests/libraries


def by_library(
    command: Callable[[Server], list[str]],
    environment: Callable[[Workplace, Server], dict[str, str]],
    workplace: Workplace,
    server: Server,
    letters: list[Letter],
) -> dict[str, str]:
    """Makes a program of tests/libraries send them."""
    directory = workplace.write(letters)
    arguments = [*command(server), *server.arguments, str(directory), *(server.login or ())]
    ended = workplace.run(*arguments, more=environment(workplace, server))
    lines = (line.partition(" ") for line in ended.output.splitlines())
    said = {name: rest.strip() for name, _, rest in lines}
    if ended.code != 0 or set(said) != {letter.name for letter in letters}:
        raise Unable(f"{' '.join(arguments[:3])}: {ended.output[-300:]} {ended.errors[-700:]}")
    return said


def ssl_cert_file(_: Workplace, server: Server) -> dict[str, str]:
    """The variable that OpenSSL, Ruby, Go and others use."""
    return {"SSL_CERT_FILE": str(server.ca)} if server.ca else {}


def for_node(_: Workplace, server: Server) -> dict[str, str]:
    """The directory of Debian's packages, for a Node.js that is not from Debian."""
    ca = {"NODE_EXTRA_CA_CERTS": str(server.ca)} if server.ca else {}
    return {"NODE_PATH": "/usr/share/nodejs", **ca}


def for_go(workplace: Workplace, server: Server) -> dict[str, str]:
    """Nothing is downloaded, and the build stays here."""
    here = {"GOCACHE": str(workplace.directory / "go"), "GOPROXY": "off", "GO111MODULE": "off"}
    return {**here, **ssl_cert_file(workplace, server)}


def nothing(_: Workplace, __: Server) -> dict[str, str]:
    """For programs that get everything as arguments."""
    return {}


def php(script: str, server: Server) -> list[str]:
    """PHP, with the CA as `facteur cert` says."""
    ca = ["-d", f"openssl.cafile={server.ca}"] if server.ca else []
    return ["php", *ca, str(HERE / script)]


JARS = "/usr/share/java/jakarta-mail.jar:/usr/share/java/jakarta-activation.jar"


def java(server: Server) -> list[str]:
    """Java; its trust store is made from the CA."""
    options = []
    if server.ca:
        store = server.ca.parent / "trusted.p12"
        if not store.exists():
            keytool = ["keytool", "-importcert", "-noprompt", "-alias", "facteur"]
            keytool += ["-file", str(server.ca), "-keystore", str(store), "-storepass", "changeit"]
            subprocess.run(keytool, check=True, capture_output=True, timeout=PATIENCE)
        options = [f"-Djavax.net.ssl.trustStore={store}"]
        options += ["-Djavax.net.ssl.trustStorePassword=changeit"]
    return ["java", "-cp", JARS, *options, str(HERE / "Jakarta.java")]


# ------------------------------------------------------------------------- a command for each


def by_command(
    command: Callable[[Workplace, Server, Letter], tuple[list[str], bytes]],
    workplace: Workplace,
    server: Server,
    letters: list[Letter],
) -> dict[str, str]:
    """Runs one command for each of them."""
    said = {}
    for letter in letters:
        arguments, given = command(workplace, server, letter)
        ended = workplace.run(*arguments, given=given)
        told = " ".join((ended.output + ended.errors).split())
        said[letter.name] = "sent" if ended.code == 0 else f"exit code {ended.code}: {told[-900:]}"
    return said


def file_of(workplace: Workplace, octets: bytes) -> str:
    """A file with these octets, for one command."""
    file = workplace.directory / "given"
    file.write_bytes(octets)
    return str(file)


def curl(
    option: tuple[str, ...], workplace: Workplace, server: Server, letter: Letter
) -> tuple[list[str], bytes]:
    """curl -T, with --crlf or without."""
    scheme = "smtps" if server.tls == "smtps" else "smtp"
    command = ["curl", "-sS", *option, "-T", file_of(workplace, letter.content or b"")]
    command += ["--mail-from", letter.sender]
    command += [word for to in letter.to for word in ("--mail-rcpt", to)]
    if server.tls == "starttls":
        command.append("--ssl-reqd")
    if server.ca:
        command += ["--cacert", str(server.ca)]
    if server.login:
        command += ["-u", ":".join(server.login)]
    return [*command, f"{scheme}://{HOST}:{server.port}"], b""


def swaks(workplace: Workplace, server: Server, letter: Letter) -> tuple[list[str], bytes]:
    """swaks, with a message or with the parts of one."""
    command = ["swaks", "--server", HOST, "--port", str(server.port)]
    command += ["--from", letter.sender, "--to", ",".join(letter.to)]
    if letter.content is not None:
        command += ["--data", f"@{file_of(workplace, letter.content)}"]
    else:
        command += ["--header", f"Subject: {letter.case.title}"]
        if letter.case.attachment:
            command += ["--attach", f"@{file_of(workplace, letter.case.attachment)}"]
            command += ["--attach-body", letter.case.text]
        else:
            command += ["--body", f"@{file_of(workplace, letter.case.text.encode())}"]
    command += {"off": [], "starttls": ["--tls"], "smtps": ["--tls-on-connect"]}[server.tls]
    if server.ca:
        command += ["--tls-verify", "--tls-ca-path", str(server.ca)]
    if server.login:
        command += ["--auth-user", server.login[0], "--auth-password", server.login[1]]
    return command, b""


def msmtp(_: Workplace, server: Server, letter: Letter) -> tuple[list[str], bytes]:
    """msmtp without a configuration file."""
    command = ["msmtp", f"--host={HOST}", f"--port={server.port}", f"--from={letter.sender}"]
    if server.tls != "off":
        command += ["--tls=on", f"--tls-starttls={'on' if server.tls == 'starttls' else 'off'}"]
        command.append(f"--tls-trust-file={server.ca}")
    if server.login:
        user, password = map(shlex.quote, server.login)
        command += ["--auth=on", f"--user={user}", f"--passwordeval=echo {password}"]
    return [*command, "--", *letter.to], letter.content or b""


def library(
    command: Callable[[Server], list[str]],
    environment: Callable[[Workplace, Server], dict[str, str]] = ssl_cert_file,
) -> Callable[[Workplace, Server, list[Letter]], dict[str, str]]:
    """How a program of tests/libraries sends."""
    return functools.partial(by_library, command, environment)


def interpreted(interpreter: str, script: str) -> Callable[[Server], list[str]]:
    """A script of tests/libraries."""
    return lambda _: [interpreter, str(HERE / script)]


PROGRAMS = [
    Program(
        "python",
        "python3",
        ("python3", "-c", "import smtplib, ssl"),
        library(interpreted("python3", "python.py")),
        given=("crlf", "lf", "str"),
        writes=True,
        passes_lf=True,
    ),
    Program(
        "curl",
        "curl",
        ("curl", "--version"),
        functools.partial(by_command, functools.partial(curl, ())),
        passes_lf=True,
    ),
    Program(
        "curl-crlf",
        "curl",
        ("curl", "--version"),
        functools.partial(by_command, functools.partial(curl, ("--crlf",))),
    ),
    Program(
        "swaks",
        "swaks libnet-ssleay-perl",
        ("swaks", "--version"),
        functools.partial(by_command, swaks),
        writes=True,
    ),
    Program("msmtp", "msmtp", ("msmtp", "--version"), functools.partial(by_command, msmtp)),
    Program(
        "perl",
        "perl libio-socket-ssl-perl libauthen-sasl-perl",
        ("perl", "-MNet::SMTP", "-MIO::Socket::SSL", "-MAuthen::SASL", "-e", "1"),
        library(interpreted("perl", "net_smtp.pl")),
    ),
    Program(
        "nodemailer",
        "nodejs node-nodemailer",
        ("env", "NODE_PATH=/usr/share/nodejs", "node", "-e", "require('nodemailer')"),
        library(interpreted("node", "nodemailer.js"), for_node),
        writes=True,
        is_eager=True,
    ),
    Program(
        "phpmailer",
        "php-cli libphp-phpmailer",
        ("php", "-r", "require 'libphp-phpmailer/autoload.php';"),
        library(functools.partial(php, "phpmailer.php"), nothing),
        given=(),
        writes=True,
        is_eager=True,
    ),
    Program(
        "symfony",
        "php-cli php-symfony-mailer",
        ("php", "-r", "require 'Symfony/Component/Mailer/autoload.php';"),
        library(functools.partial(php, "symfony.php"), nothing),
        writes=True,
        passes_lf=True,
        is_eager=True,
    ),
    Program(
        "ruby",
        "ruby ruby-mail",
        ("ruby", "-e", "require 'mail'; require 'net/smtp'"),
        library(interpreted("ruby", "mail.rb")),
        writes=True,
        is_eager=True,
    ),
    Program(
        "go",
        "golang-go",
        ("go", "version"),
        library(lambda _: ["go", "run", str(HERE / "smtp.go")], for_go),
        is_eager=True,
    ),
    Program(
        "jakarta",
        "openjdk-17-jdk-headless libjakarta-mail-java",
        ("sh", "-c", f"javac -version && ls {JARS.replace(':', ' ')}"),
        library(java, nothing),
        writes=True,
    ),
]
