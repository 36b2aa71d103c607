#!/usr/bin/env python3
"""Whether the API does what /api/openapi.json says: schemathesis asks it for everything.

    python3 tests/described.py PROGRAM [--examples N]

A facteur with a few messages is asked with parameters and bodies that the description allows, and
with others: no answer may be an error of the server, have a status, a type or a shape that the
description does not have, or accept what it excludes. The first run knows nothing; in the second
one, IDs and addresses are those of messages that exist.

Needs python3-venv, and PyPI for the first start: schemathesis is kept in a virtual environment
below CARGO_TARGET_DIR. Events and waits, which take their time, are left out, and what facteur
lacks: its answers are 501.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request
import venv

SCHEMATHESIS = "schemathesis==4.32.5"

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]

# Without TRACE, which is 501 by RFC 9110 section 9.1: that counts as an error of the server.
CONFIGURATION = """
[phases.coverage]
unexpected-methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS"]
[phases.stateful]
enabled = false
[phases.examples]
enabled = false
"""

REALISTIC = """
[parameters]
"path.id" = "latest"
"path.part" = "1"
"path.name" = "bob"
"path.address" = "bob@example.com"
"path.file" = "latest.html"
"""

LETTER = {
    "From": {"Email": "ann@example.com", "Name": "Ann"},
    "To": [{"Email": "bob@example.com"}],
    "Bcc": ["carl@example.com"],
    "Subject": "Something",
    "Text": "text",
    "HTML": "<p>text",
    "Attachments": [{"Filename": "a.txt", "Content": "YQ=="}],
}


def schemathesis():
    """The path of schemathesis, which is installed if it is not there yet."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")).absolute()
    directory = target / SCHEMATHESIS.replace("==", "-")
    program = directory / "bin" / "schemathesis"
    if not program.exists():
        venv.create(directory, with_pip=True, clear=True)
        pip = [directory / "bin" / "pip", "install", "--quiet", SCHEMATHESIS]
        subprocess.run(pip, check=True)
    return program


def start(program, directory):
    """Starts a facteur; returns its process, and the address of its HTTP port."""
    command = [program, "--mail", str(directory / "mail")]
    for service in ("smtp", "pop3", "http"):
        command += [f"--{service}", "127.0.0.1:0"]
    log = open(directory / "log", "w", encoding="utf-8")
    daemon = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=log, text=True)
    for line in daemon.stdout:
        if found := re.match(r"HTTP (127\.0\.0\.1:\d+)", line):
            return daemon, f"http://{found[1]}"
    sys.exit("the daemon does not say where it listens")


def send(web):
    """Sends a few messages."""
    for number in range(3):
        body = json.dumps({**LETTER, "Subject": f"Message {number}"}).encode()
        with urllib.request.urlopen(f"{web}/api/v1/send", data=body) as answer:
            assert json.load(answer)["ID"]


def lacking(web):
    """A pattern for the paths that are left out."""
    with urllib.request.urlopen(f"{web}/api/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    lacks = [path for path, methods in paths.items() if not any(
        "200" in operation["responses"] for operation in methods.values())]
    return "|".join(f"^{re.escape(path)}$" for path in [*lacks, "/api/events", "/api/wait"])


def main():
    """Runs both runs; the first failure is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--examples", type=int, default=30)
    arguments = parser.parse_args()
    tool = schemathesis()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        daemon, web = start(arguments.program.absolute(), directory)
        try:
            for name, more in (("unknown", ""), ("realistic", REALISTIC)):
                send(web)
                configuration = directory / f"{name}.toml"
                configuration.write_text(CONFIGURATION + more, encoding="utf-8")
                command = [tool, "--config-file", configuration, "run", f"{web}/api/openapi.json"]
                command += ["--checks", ",".join(CHECKS), "--seed", "1", "--no-color"]
                command += ["--max-examples", str(arguments.examples), "--warnings", "off"]
                command += ["--exclude-path-regex", lacking(web)]
                print(f"{name}:", flush=True)
                if (status := subprocess.run(command, cwd=directory).returncode) != 0:
                    sys.exit(status)
            if daemon.poll() is not None:
                sys.exit(f"the daemon has ended: {(directory / 'log').read_text()}")
        finally:
            daemon.terminate()
            daemon.wait()


if __name__ == "__main__":
    main()
