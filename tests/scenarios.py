"""How survival.py, foreign.py, queues.py, libraries.py and attacks.py run: arguments, and each
scenario."""

from __future__ import annotations

import argparse
import functools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Set
from pathlib import Path

from survival_bench import Bench, NotStarted, Unable
from survival_clients import Broken, Finding, Findings, Kind, Refused

# The description that is printed before a scenario begins, and the scenario.
Play = tuple[str, Callable[[Bench], None]]

# A scenario that is played in rounds: how many in the short and in the long form; 0 for one that is
# played only on request.
InRounds = tuple[Callable[[Bench, int], None], int, int]


def report(bench: Bench, findings: list[Finding]) -> None:
    """Everything needed to investigate it."""
    for finding in findings[:10]:
        print(f"    {finding}")
    if len(findings) > 10:
        print(f"    and {len(findings) - 10} more")
    text = " ".join(map(str, findings[:5]))
    for number in sorted({f.number for f in findings[:5] if f.number is not None}):
        history = list(bench.ledger.history(number))
        # What happened in the mailboxes in question, if any.
        told = [line for line in history if line.split()[3].rstrip(":") in text] or history
        for line in told[-40:]:
            print(f"      {line}")
    for log in sorted(bench.directory.glob("daemon-*.log"))[-2:]:
        print(f"    the end of {log.name}:")
        for line in log.read_text(errors="replace").splitlines()[-20:]:
            print(f"      {line[:300]}")


def found_by(work: Callable[[], None]) -> list[Finding]:
    """The findings, in whatever form they are raised."""
    try:
        work()
    except Finding as finding:
        return [finding]
    except Findings as several:
        return several.findings
    except NotStarted as error:
        return [Finding(Kind.CRASH, str(error))]
    except (Broken, Refused) as error:
        return [Finding(Kind.REPLY, f"{type(error).__name__.lower()}: {error}")]
    return []


def play(options: argparse.Namespace, name: str, how: Play, directory: Path) -> bool:
    """Runs one scenario and prints how it ended."""
    told, work = how
    print(f"{name}: {told}, seed {options.seed}" if told else f"{name}: seed {options.seed}")
    sys.stdout.flush()
    begin = time.monotonic()
    directory.mkdir()
    bench = Bench(options, name, directory)
    try:
        findings = found_by(lambda: work(bench))
    except Unable as reason:
        print(f"{name}: FAILED in round {bench.round}: this machine cannot do it: {reason}")
        return False
    finally:
        bench.clean_up()
    seconds = time.monotonic() - begin
    if findings:
        print(f"{name}: FAILED in round {bench.round}, seed {options.seed}, {seconds:.0f} s")
        report(bench, findings)
    else:
        counts = bench.ledger.counts
        told = ", ".join(f"{counts[what]} copies {what}" for what in ("acknowledged", "removed"))
        print(f"{name}: ok, {told}, {seconds:.0f} s", flush=True)
    return not findings


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(*_: object) -> None:
    """Ends the run, which ends its children and releases its disks. Only once: a second signal,
    which `timeout` for instance sends, must not interrupt that."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def parser(
    description: str | None, names: Iterable[str], durations: tuple[str, str]
) -> argparse.ArgumentParser:
    """The arguments; `durations` are those of the short and of the long form."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--short", action="store_true", help=durations[0])
    length.add_argument("--long", action="store_true", help=durations[1])
    parser.add_argument("binary", type=Path, help="the program, built with --release")
    known = f"{', '.join(names)}; by default all of the form"
    parser.add_argument("scenario", nargs="*", help=known)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--keep", action="store_true", help="keep mail, images and logs")
    parser.add_argument("--directory", type=Path, help="where to create them instead of /tmp")
    parser.add_argument(
        "--config-line", action="append", default=[], metavar="LINE", help="a configuration line"
    )
    return parser


def parse(parser: argparse.ArgumentParser, names: Iterable[str]) -> argparse.Namespace:
    """The arguments, if they can be used."""
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    if unknown := set(options.scenario) - set(names):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if not os.access(options.binary, os.X_OK):
        parser.error(f"no such program: {options.binary}")
    return options


def play_all(options: argparse.Namespace, what: str, plays: dict[str, Play]) -> bool:
    """Runs them all, even if one fails. Prints which failed, and how to run the first again."""
    for number in ENDING:
        signal.signal(number, interrupt)
    top = Path(tempfile.mkdtemp(prefix=f"facteur-{what}-", dir=options.directory))
    try:
        failed = [name for name, how in plays.items() if not play(options, name, how, top / name)]
    except KeyboardInterrupt:
        print("interrupted")
        return False
    finally:
        if options.keep:
            print(f"kept in {top}")
        else:
            shutil.rmtree(top, ignore_errors=True)
    if failed:
        again = f"{Path(sys.argv[0])} {'--long' if options.long else '--short'} {options.binary}"
        print(f"FAILED: {', '.join(failed)}; again with: {again} {failed[0]} --seed {options.seed}")
    return not failed


def finish(
    options: argparse.Namespace, what: str, plays: dict[str, Play], known: Iterable[str], held: str
) -> int:
    """Runs the plays and prints which of the known ones were left out; `held` is printed if none
    failed. Returns the exit code."""
    if not play_all(options, what, plays):
        return 1
    if left_out := [name for name in known if name not in plays]:
        print(f"left out: {', '.join(left_out)}")
    print(held)
    return 0


def main_at_once(
    description: str | None,
    known: dict[str, Callable[[Bench], None]],
    what: str,
    durations: tuple[str, str],
    held: str,
    only_long: Set[str] = frozenset(),
) -> int:
    """All of a script whose scenarios are played once, from its arguments to its exit code."""
    options = parse(parser(description, known, durations), known)
    of_form = [name for name in known if options.long or name not in only_long]
    plays: dict[str, Play] = {name: ("", known[name]) for name in options.scenario or of_form}
    return finish(options, what, plays, known, held)


def main_in_rounds(
    description: str | None,
    known: dict[str, InRounds],
    what: str,
    durations: tuple[str, str],
    rounds_when_asked: int,
    held: str,
) -> int:
    """All of a script whose scenarios are played in rounds, from its arguments to its exit code."""
    arguments = parser(description, known, durations)
    arguments.add_argument("--rounds", type=int, help="instead of the form's default")
    options = parse(arguments, known)
    of_short_form = [name for name, (_, short, _) in known.items() if short]
    plays: dict[str, Play] = {}
    for name in options.scenario or (list(known) if options.long else of_short_form):
        work, short, long = known[name]
        rounds = options.rounds or (long if options.long else short) or rounds_when_asked
        plays[name] = (f"{rounds} rounds", functools.partial(work, rounds=rounds))
    return finish(options, what, plays, known, held)
