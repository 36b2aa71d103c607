#!/usr/bin/env python3
"""The proof that the recipes of the guide for CI work as they are written.

    cargo build --release
    python3 tests/recipes.py target/release/facteur
    docker build -t facteur -f contrib/Containerfile .
    python3 tests/recipes.py target/release/facteur --image facteur --modules node_modules

The first form follows the workflow without containers, in namespaces of its own. The second form
does with the image what a runner does with a service: it creates the container with the ports and
variables of the recipe, waits for its health, and runs the steps. Then it follows the recipe for
GitLab with the service at its alias, the commands for compose in a copy of this repository, and, if
`--modules` names a directory in which npm has installed `testcontainers`, the test for Node.js.

`npm test` and `cargo install` are stand-ins: the one sends the code that the recipes wait for, and
the other copies the program. It needs Linux, root, util-linux, iproute2, curl, Python 3 with PyYAML
and, for the second form, a Docker Engine with compose (or what `--compose` names), whose networks
this machine reaches. The containers and networks that it starts are removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
GUIDE = REPOSITORY / "docs" / "guide.md"

# The name of the image in the recipes.
IMAGE = "registry.example/you/facteur"

# What the stand-ins send, and what the recipes print.
CODE = "123456"

# Longest wait for one command, and for the health of a container, in seconds.
PATIENCE = 300.0

SENDER = f"""#!/usr/bin/env python3
import os, smtplib
with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"]), timeout=10) as smtp:
    smtp.sendmail("shop@example.com", "ada@example.com", "Subject: Hello\\n\\nEnter {CODE}.\\n")
"""

SHOP = f"""import {{ createConnection }} from "node:net";
import {{ once }} from "node:events";
import {{ createInterface }} from "node:readline";

export async function register(address, host, port) {{
    const socket = createConnection({{ host, port }});
    const replies = createInterface({{ input: socket }})[Symbol.asyncIterator]();
    for (const command of [
        "HELO shop", "MAIL FROM:<shop@example.com>", `RCPT TO:<${{address}}>`, "DATA",
        "Subject: Hello\\r\\n\\r\\nEnter {CODE}.\\r\\n.", "QUIT",
    ]) {{
        const {{ value }} = await replies.next();
        if (!/^[23]/.test(value)) throw new Error(value);
        socket.write(`${{command}}\\r\\n`);
    }}
    await once(socket, "close");
}}
"""


class Failed(Exception):
    """A recipe of the guide does not work."""


def recipe(name: str) -> str:
    """The block of the guide with this name."""
    comment = re.escape(f"<!-- elsewhere: tests/recipes.py, {name} -->")
    found = re.search(rf"{comment}\n```\w+\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    if found is None:
        raise Failed(f"the guide has no recipe {name!r}")
    return found[1]


def run(*command: str | Path, expect: str = "", **options: object) -> str:
    """Runs a command, which must succeed and print the text. Returns what it printed."""
    ended = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        **options,
    )
    if ended.returncode != 0 or expect not in ended.stdout:
        raise Failed(f"{shlex.join(map(str, command))}: {ended.returncode}\n{ended.stdout}")
    return ended.stdout


def stand_ins(program: Path, directory: Path) -> str:
    """Makes `npm` and `cargo`, and returns a path of programs with them and what they install."""
    programs = directory / "bin"
    programs.mkdir()
    texts = {"npm": SENDER, "cargo": f"#!/bin/sh\nexec install {program} {programs}/facteur\n"}
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


def steps(job: dict, directory: Path, container: str = "") -> list[Path]:
    """The commands of a job on GitHub, each in a file, as its runner runs them."""
    files = []
    for number, step in enumerate(step for step in job["steps"] if "run" in step):
        text = step["run"].replace("${{ job.services.facteur.id }}", container)
        text = text.replace("/tmp/", f"{directory}/")
        files.append(directory / f"step-{number}.sh")
        files[-1].write_text(text + "\n")
    return files


def environment(variables: dict, path: str, directory: Path) -> dict[str, str]:
    given = {key: str(value).replace("/tmp/", f"{directory}/") for key, value in variables.items()}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FACTEUR_")}
    return {**kept, **given, "PATH": path}


def follow_process(program: Path, directory: Path) -> None:
    """The workflow without containers, in a network and with processes of its own."""
    job = yaml.safe_load(recipe("process"))["jobs"]["test"]
    path = stand_ins(program, directory)
    script = 'ip link set lo up; for step; do bash -e "$step"; done'
    run(
        *("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-euc", script, "sh", *steps(job, directory)),
        expect=f"\n{CODE}\n",
        cwd=directory,
        env=environment(job["env"], path, directory),
    )


def wait_for_health(container: str) -> None:
    """Asks for the health of a container until there is an answer, as the runner of GitHub does."""
    form = "--format={{if .Config.Healthcheck}}{{print .State.Health.Status}}{{end}}"
    deadline = time.monotonic() + PATIENCE
    while (health := run("docker", "inspect", form, container).strip()) != "healthy":
        if time.monotonic() > deadline or health != "starting":
            raise Failed(f"health {health!r}:\n{run('docker', 'logs', container)}")
        time.sleep(0.5)


@contextlib.contextmanager
def service(*options: str) -> Iterator[str]:
    """A container of the image at the alias `facteur`, when it is healthy. Yields its ID."""
    network = f"facteur-recipes-{os.getpid()}"
    run("docker", "network", "create", network)
    created = ["docker", "create", "--network", network, "--network-alias", "facteur"]
    try:
        container = run(*created, *options, IMAGE).strip()
        try:
            run("docker", "start", container)
            wait_for_health(container)
            yield container
        finally:
            run("docker", "rm", "--force", container)
    finally:
        run("docker", "network", "rm", network)


def follow_services(program: Path, directory: Path) -> None:
    """The workflow with a service, step by step."""
    job = yaml.safe_load(recipe("services"))["jobs"]["test"]
    path = stand_ins(program, directory)
    described = job["services"]["facteur"]
    options = [f"--publish={port}" for port in described["ports"]]
    options += [f"--env={key}={value}" for key, value in described["env"].items()]
    options += shlex.split(described.get("options", ""))
    variables = environment(job["env"], path, directory)
    with service(*options) as container:
        files = steps(job, directory, container)
        printed = [run("bash", "-e", file, env=variables) for file in files]
    if f"{CODE}\n" not in printed:
        raise Failed(f"the steps print {printed}")


def follow_gitlab(program: Path, directory: Path) -> None:
    """The job on GitLab. Its alias leads to the container in a view of /etc/hosts of its own."""
    job = yaml.safe_load(recipe("gitlab"))["test"]
    path = stand_ins(program, directory)
    options = ["--health-interval=2s"]
    options += [f"--env={key}={value}" for key, value in job["variables"].items()]
    form = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    with service(*options) as container:
        address = run("docker", "inspect", form, container).strip()
        (directory / "hosts").write_text(f"{address} {job['services'][0]['alias']}\n")
        script = "mount --bind hosts /etc/hosts\n" + "\n".join(job["script"]) + "\n"
        run(
            *("unshare", "--mount", "bash", "-euc", script),
            expect=CODE,
            cwd=directory,
            env=environment(job["variables"], path, directory),
        )


def follow_compose(compose: str, directory: Path) -> None:
    """The commands for compose, in a copy of what the image is made of."""
    for name in "src", "tests", "benches", "contrib":
        shutil.copytree(REPOSITORY / name, directory / name)
    for name in "Cargo.toml", "Cargo.lock":
        shutil.copy(REPOSITORY / name, directory)
    script = recipe("compose").replace("docker compose", compose)
    try:
        run("sh", "-euc", script, expect="mail goes to facteur:65434", cwd=directory)
    finally:
        down = f"{compose} -f contrib/compose.yaml down --volumes"
        subprocess.run(["sh", "-c", down], cwd=directory, capture_output=True, check=False)


def follow_node(modules: Path, directory: Path) -> None:
    (directory / "node_modules").symlink_to(modules)
    (directory / "shop.mjs").write_text(SHOP)
    (directory / "mail.test.mjs").write_text(recipe("node"))
    variables = {**os.environ, "TESTCONTAINERS_RYUK_DISABLED": "true"}
    run("node", "--test", "mail.test.mjs", expect="pass 1", cwd=directory, env=variables)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", type=lambda path: Path(path).resolve())
    parser.add_argument("--image", help="what contrib/Containerfile has built")
    parser.add_argument("--compose", default="docker compose", help="the command for compose")
    parser.add_argument("--modules", type=lambda path: Path(path).resolve(), help="node_modules")
    given = parser.parse_args()
    follow = {"process": lambda directory: follow_process(given.program, directory)}
    if given.image:
        run("docker", "tag", given.image, IMAGE)
        follow["services"] = lambda directory: follow_services(given.program, directory)
        follow["gitlab"] = lambda directory: follow_gitlab(given.program, directory)
        follow["compose"] = lambda directory: follow_compose(given.compose, directory)
    if given.image and given.modules:
        follow["node"] = lambda directory: follow_node(given.modules, directory)
    for name, recipe_works in follow.items():
        with tempfile.TemporaryDirectory(prefix="facteur-recipes-") as directory:
            try:
                recipe_works(Path(directory))
            except (Failed, subprocess.TimeoutExpired) as failure:
                print(f"FAILED: {name}: {failure}")
                return 1
        print(f"{name}: as the guide says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
