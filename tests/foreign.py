#!/usr/bin/env python3
"""The proof beside other programs: what they do in the Maildirs loses no mail, and doubles none.

    python3 tests/foreign.py --short target/release/facteur
    python3 tests/foreign.py --long target/release/facteur
    python3 tests/foreign.py --short target/release/facteur programs --rounds 20 --seed 7

A live daemon takes mail and is polled, and at the same time real programs work in its Maildirs:
mutt and neomutt mark, delete and save messages, mbsync and OfflineIMAP synchronise them, Dovecot
serves them over IMAP with STORE, MOVE and EXPUNGE, `rm` and `mv` remove and move them, marks are
renamed in bursts, and `cp -a` copies whole mailboxes. mpop and fetchmail poll in between, with and
without removal. Then comes SIGKILL, and a restart while those programs go on.

    self-test  somebody tampers with the mail; the comparison has to notice
    programs   all programs at once
    pollers, mutt, mbsync, offlineimap, dovecot, files
               none but mpop and fetchmail, or some of the others alone; only in the long form, for
               whoever looks for the culprit

What must hold, besides the rules of the class Ledger in survival_clients.py:

- A login shows every message that was there when it began and that no program has taken since.
- What another program has taken is not shown by any login that begins later. After a crash it may
  be back if it had come shortly before: the README says so.
- mpop and fetchmail never fetch a message twice: neither after a crash, nor after its file has been
  renamed to change its marks, or by mbsync to add a UID.
- A message that was moved is in one of the two mailboxes.

mutt, OfflineIMAP and Dovecot give messages names of their own when they save them, adopt them or
move them back. Such a message is another one to facteur, and gets another unique-id.

It needs Linux, and the programs. As root it runs all of them, and the daemon, as the user nobody:
Dovecot does not read the mail of root. A program that is missing, or does nothing in the whole run,
is a failure. The seed decides what is sent and done, but the scheduler has its say, too.
"""

from __future__ import annotations

import contextlib
import functools
import imaplib
import random
import re
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

sys.dont_write_bytecode = True  # nothing is left in the source tree

import scenarios
from foreign_programs import (
    DOMAIN,
    Dovecot,
    Fetchmail,
    House,
    Mbsync,
    Mpop,
    Mutt,
    OfflineImap,
    number_in,
)
from survival_bench import Bench, Daemon, Load, Unable, compare
from survival_clients import (
    PATIENCE,
    Broken,
    Fate,
    Finding,
    Findings,
    Kind,
    Ledger,
    Pop3,
    Refused,
    Smtp,
    number_of,
)

# How long before a crash a message may have come that is back after it, although another program
# had taken it, in seconds. The README says what is promised.
RETURNS = 30.0


def box(local_part: str) -> str:
    """The mailbox of this name."""
    return f"{local_part}@{DOMAIN}"


FLAGS, DELETED, SHARED = box("flags"), box("deleted"), box("shared")
MOVES = box("moves-a"), box("moves-b")
MUTT, NEOMUTT, MBSYNC = box("mutt"), box("neomutt"), box("mbsync")
OFFLINE, DOVECOT = box("offline"), box("dovecot")
SAVED = {MUTT: box("saved-mutt"), NEOMUTT: box("saved-neomutt")}

# Where mail is delivered to, and which mailboxes are read.
RECIPIENTS = [FLAGS, DELETED, SHARED, *MOVES, MUTT, NEOMUTT, MBSYNC, OFFLINE, DOVECOT]
BOXES = [*RECIPIENTS, *SAVED.values()]

# What mutt adds to the header section of a message that it saves.
ADDED_BY_MUTT = re.compile(rb"^(?:Content-Length|Lines|Status): [^\r\n]*\r\n", re.MULTILINE)

# How many letters there are in the mailbox of the bursts before they begin: more than a reading of
# a directory gets at once.
MANY = 600


# ------------------------------------------------------------------------------------------ judge


class ForeignLedger(Ledger):
    """A ledger that knows of other programs, too."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()  # type: ignore[assignment]
        # When a copy came, by the clock of this script, not before it was acknowledged.
        self.arrived: dict[tuple[str, int], float] = {}
        # What other programs have taken since the last start, and when.
        self.taken: dict[tuple[str, int], float] = {}
        # When a program last began to take anything from a mailbox.
        self.last_taking: dict[str, float] = {}
        # What was marked over POP3 when QUIT was sent, and what was removed: that never comes back.
        self.marked: set[tuple[str, int]] = set()
        self.removed: set[tuple[str, int]] = set()
        # What came back under another name, which is removed without the first one.
        self.came_back: set[tuple[str, int]] = set()
        # Between which mailboxes a letter was last moved.
        self.moved: dict[int, tuple[str, str]] = {}
        # Mailboxes in which a program gives other names to messages that are there, with the
        # number of times that one has begun to, or ended.
        self.renamed: Counter[str] = Counter()
        # Held by who gives names, and by who removes over POP3 there meanwhile.
        self.naming = threading.Lock()

    def acknowledge(self, number: int, mailboxes: list[str]) -> None:
        super().acknowledge(number, mailboxes)
        with self.lock:
            for mailbox in mailboxes:
                self.arrived[mailbox, number] = time.monotonic()

    def see(self, mailbox: str, unique_id: bytes, octets: bytes) -> int:
        if mailbox in SAVED.values():
            header, _, body = octets.partition(b"\r\n\r\n")
            octets = ADDED_BY_MUTT.sub(b"", header + b"\r\n") + b"\r\n" + body
        if self.renamed[mailbox]:
            number = number_of(octets, f"{mailbox} {unique_id.decode()}")[0]
            with self.lock:
                self.drops[mailbox].unique_ids.pop(number, None)
        number = super().see(mailbox, unique_id, octets)
        with self.lock:
            self.arrived.setdefault((mailbox, number), time.monotonic())
        return number

    def recognise(self, mailbox: str, unique_id: bytes) -> int | None:
        """The letter that has been seen under this unique-id, if one has."""
        with self.lock:
            number = self.owners.get(hash((mailbox, unique_id)))
            drop = self.drops[mailbox]
            is_known = number is not None and drop.unique_ids.get(number) == unique_id
            return number if is_known and number in drop.fates else None

    def leave(self, mailbox: str, numbers: list[int]) -> None:
        with self.lock:
            self.marked.update((mailbox, number) for number in numbers)
            self.may_go(mailbox, numbers)

    def may_go(self, mailbox: str, numbers: list[int]) -> None:
        """From here on these are there or not."""
        with self.lock:
            fates = self.drops[mailbox].fates
            super().leave(mailbox, [number for number in numbers if number in fates])

    def remove(self, mailbox: str, numbers: list[int], event: str = "removed") -> None:
        with self.lock:
            fates = self.drops[mailbox].fates
            super().remove(mailbox, [number for number in numbers if number in fates], event)
            if event == "removed":
                self.removed.update((mailbox, number) for number in numbers)

    def take(self, mailbox: str, numbers: list[int]) -> None:
        """Another program is about to take these."""
        with self.lock:
            self.last_taking[mailbox] = time.monotonic()
            self.may_go(mailbox, numbers)

    def have_taken(self, mailbox: str, numbers: list[int]) -> None:
        """It has taken them."""
        with self.lock:
            now = self.last_taking[mailbox] = time.monotonic()
            for number in numbers:
                self.taken[mailbox, number] = now
            self.remove(mailbox, numbers, "taken")

    def bring(self, mailbox: str, numbers: list[int], is_renamed: bool = False) -> None:
        """Another program is about to bring these, perhaps back and under another name."""
        with self.lock:
            for number in numbers:
                self.removed.discard((mailbox, number))
                self.marked.discard((mailbox, number))
                if is_renamed:
                    self.came_back.add((mailbox, number))
                self.drops[mailbox].unique_ids.pop(number, None)
                self.drops[mailbox].fates[number] = Fate.OPEN
                self.note(number, mailbox, "brought")

    def have_brought(self, mailbox: str, numbers: list[int]) -> None:
        """It has brought them."""
        with self.lock:
            for number in numbers:
                if self.drops[mailbox].fates.get(number) is Fate.OPEN:
                    self.drops[mailbox].fates[number] = Fate.KEPT

    def was_taken_since(self, mailbox: str, number: int | None, when: float) -> bool:
        """Whether a program has taken this since then, or may have."""
        with self.lock:
            if number is None:
                return self.last_taking.get(mailbox, 0) >= when or bool(self.unsure(mailbox))
            is_leaving = self.drops[mailbox].fates.get(number) is Fate.LEAVING
            return is_leaving or self.taken.get((mailbox, number), 0) >= when

    def unsure(self, mailbox: str) -> set[int]:
        """What may be there or not."""
        with self.lock:
            fates = self.drops[mailbox].fates
            return {number for number, fate in fates.items() if fate is not Fate.KEPT}

    def all_of(self, mailbox: str) -> set[int]:
        """What is there, or may be."""
        with self.lock:
            return set(self.drops[mailbox].fates)

    def crash(self, when: float) -> None:
        """The daemon was killed: what had come shortly before may be back."""
        with self.lock:
            renamed = {copy for copy in self.removed if self.renamed[copy[0]]} | self.came_back
            for mailbox, number in renamed:
                # It may be back under its first name.
                self.drops[mailbox].unique_ids.pop(number, None)
            for mailbox, number in (self.taken.keys() - self.removed) | renamed:
                arrival = self.arrived.get((mailbox, number))
                if arrival is not None and arrival >= when - RETURNS:
                    self.drops[mailbox].fates.setdefault(number, Fate.OPEN)
            self.taken.clear()
            self.came_back.clear()

    def check_moves(self) -> None:
        """What was moved is in one of the two mailboxes, unless it was removed there."""
        with self.lock:
            for number, mailboxes in self.moved.items():
                if not any(
                    number in self.drops[mailbox].fates or (mailbox, number) in self.marked
                    for mailbox in mailboxes
                ):
                    text = f"letter {number} is neither in {' nor in '.join(mailboxes)}"
                    raise Finding(Kind.LOST, text, number)
            self.moved.clear()


class ForeignLoad(Load):
    """Senders and readers in mailboxes where other programs work."""

    pause = 0.04

    def __init__(self, bench: Bench, daemon: Daemon, senders: int, readers: int) -> None:
        assert isinstance(bench.ledger, ForeignLedger)
        self.foreign = bench.ledger
        # Of the visit of each thread: when it began, and how often messages were renamed then.
        self.here = threading.local()
        super().__init__(bench, daemon, senders, readers, mailboxes=BOXES)

    def recipients(self, rng: random.Random) -> list[str]:
        mailboxes = rng.sample(RECIPIENTS, rng.choice([1, 1, 1, 2, 4]))
        if set(MOVES) <= set(mailboxes):
            mailboxes.remove(MOVES[1])  # where it might be moved to
        return mailboxes

    def share(self, mailbox: str, n_seen: int) -> float:
        if mailbox == FLAGS:
            return 0.05 if n_seen > MANY else 0.01
        return 0.1 if n_seen < 40 else 0.5

    def visit(self, mailbox: str, rng: random.Random) -> None:
        self.here.began = time.monotonic()
        self.here.renamed = self.foreign.renamed[mailbox]
        super().visit(mailbox, rng)

    def look(self, pop3: Pop3, mailbox: str, rng: random.Random) -> dict[int, int]:
        """Retrieves what is new to this script, and some of the rest."""
        ledger, began = self.foreign, self.here.began
        seen: dict[int, int] = {}
        for listed in pop3.listing():
            number = ledger.recognise(mailbox, listed.unique_id)
            if number is None or rng.random() < 0.1:
                try:
                    number = ledger.see(mailbox, listed.unique_id, pop3.retrieve(listed))
                except Refused as error:
                    if ledger.renamed[mailbox] or ledger.was_taken_since(mailbox, number, began):
                        continue
                    text = f"{mailbox} lists {listed.unique_id.decode()}, RETR says {error}"
                    raise Finding(Kind.LOST, text, number) from None
                except Finding as finding:
                    is_back = finding.kind is Kind.BACK
                    if is_back and ledger.was_taken_since(mailbox, finding.number, began):
                        continue
                    raise
            if number in seen and not ledger.renamed[mailbox]:
                raise Finding(Kind.TWICE, f"letter {number} is in {mailbox} twice", number)
            seen[number] = listed.position
        self.count("looks")
        return seen

    def remove_some(
        self, pop3: Pop3, mailbox: str, seen: dict[int, int], rng: random.Random
    ) -> None:
        if mailbox != OFFLINE:
            super().remove_some(pop3, mailbox, seen, rng)
        # What has another name by now is another message, and would stay.
        elif self.foreign.naming.acquire(blocking=False):
            try:
                if self.foreign.renamed[mailbox] == self.here.renamed:
                    super().remove_some(pop3, mailbox, seen, rng)
            finally:
                self.foreign.naming.release()

    def missing(self, mailbox: str, kept: set[int], seen: dict[int, int]) -> set[int]:
        if self.foreign.renamed[mailbox] != self.here.renamed or self.here.renamed % 2:
            return set()  # a message was given another name meanwhile
        # What a program has taken meanwhile is not missing.
        return (kept & self.foreign.kept(mailbox)) - seen.keys()


# --------------------------------------------------------------------------------------- programs


class Crowd:
    """All the programs, over all rounds."""

    def __init__(self, bench: Bench, house: House) -> None:
        assert isinstance(bench.ledger, ForeignLedger)
        self.bench = bench
        self.house = house
        self.ledger = bench.ledger
        self.mutts = {MUTT: Mutt(house, "mutt"), NEOMUTT: Mutt(house, "neomutt")}
        self.mbsync = Mbsync(house, MBSYNC)
        self.offlineimap = OfflineImap(house, OFFLINE)
        location = f"maildir:{house.mail}/%d/%n:INDEX={{home}}/%u:CONTROL={{home}}/%u"
        self.dovecot = Dovecot(house, "dovecot", location)
        self.keeping: list[Mpop | Fetchmail] = [
            Mpop(house, FLAGS, keeps=True),
            Fetchmail(house, MBSYNC, keeps=True),
            Mpop(house, MUTT, keeps=True),
        ]
        self.removing: list[Mpop | Fetchmail] = [
            Mpop(house, DELETED, keeps=False),
            Fetchmail(house, NEOMUTT, keeps=False),
        ]
        self.fetched: defaultdict[str, set[int]] = defaultdict(set)
        self.saved: set[int] = set()
        self.n_copies = 0

    def parts(self) -> dict[str, list[Callable[[ForeignLoad, random.Random], None]]]:
        """What there is to do, each by a thread of its own, by the names of the scenarios."""
        mutts = [functools.partial(self.use_mutt, box=it) for it in (MUTT, NEOMUTT)]
        return {
            "mutt": [*mutts, functools.partial(self.use_mutt, box=SHARED)],
            "mbsync": [self.use_mbsync],
            "offlineimap": [self.use_offlineimap],
            "dovecot": [
                functools.partial(self.use_dovecot, box=DOVECOT),
                functools.partial(self.use_dovecot, box=SHARED),
            ],
            "files": [
                functools.partial(self.rename, box=FLAGS),
                functools.partial(self.rename, box=SHARED),
                self.move,
                self.delete,
                self.copy,
            ],
        }

    def start(self, load: ForeignLoad, parts: list[str]) -> None:
        """Starts them. They end with the load."""
        works = [work for part in parts for work in self.parts()[part]]
        works += [functools.partial(self.poll, poller=it) for it in self.keeping + self.removing]
        for number, work in enumerate(works):

            def until_over(rng: random.Random, work: Callable[..., None] = work) -> None:
                while not load.over.is_set():
                    work(load, rng)
                    load.over.wait(rng.random() * 0.1)

            name = f"round {self.bench.round} program {number}"
            (thread,) = load.threads(until_over, 1, name)
            load.readers.append(thread)
            thread.start()

    def some(self, box: str, rng: random.Random, most: int) -> dict[int, Path]:
        """Some letters of a mailbox, and their files."""
        files = self.house.files(box)
        chosen = rng.sample(files, min(len(files), rng.randrange(most + 1)))
        return {number: file for file in chosen if (number := number_in(file)) is not None}

    def count(self, what: str, n: int = 1) -> None:
        self.house.effects[what] += n

    # Each of these is done again and again.

    def use_mutt(self, load: ForeignLoad, rng: random.Random, box: str) -> None:
        """Somebody reads the mailbox: flags some, deletes some and saves some elsewhere."""
        mutt = self.mutts.get(box) or self.mutts[rng.choice([MUTT, NEOMUTT])]
        numbers = list(self.some(box, rng, 12))
        third = len(numbers) // 3
        delete, save, flag = numbers[:third], numbers[third : 2 * third], numbers[2 * third :]
        # What a crash has brought back is not saved once more.
        save = [number for number in save if box in SAVED and number not in self.saved]
        self.saved.update(save)
        to = SAVED.get(box, "")
        self.ledger.take(box, delete + save)
        if save:
            self.ledger.bring(to, save)
        if mutt.work(box, delete, save, to, flag):
            self.count(f"{mutt.program} deleted", len(delete))
            self.count(f"{mutt.program} saved", len(save))
            self.ledger.moved.update(dict.fromkeys(save, (box, to)))

    def use_mbsync(self, load: ForeignLoad, rng: random.Random) -> None:
        """The mirror is synchronised; somebody deletes and marks messages there."""
        mbsync = self.mbsync
        for number, file in mbsync.letters().items():
            chance = rng.random()
            if chance < 0.1:
                self.ledger.take(MBSYNC, [number])
                mbsync.mark(file, "ST")
                self.count("mbsync deleted")
            elif chance < 0.3:
                mbsync.mark(file, rng.choice(["S", "F", "FS", "RS"]))
        if mbsync.sync():
            self.count("mbsync ran")
            self.count("mbsync renamed", sum(",U=" in it.name for it in self.house.files(MBSYNC)))

    def use_offlineimap(self, load: ForeignLoad, rng: random.Random) -> None:
        """The same with the server elsewhere. OfflineIMAP gives its own names to what it adopts."""
        with self.offlineimap.remote() as imap:
            if imap.list('""', self.offlineimap.folder)[1] != [None]:
                letters = imap.letters(self.offlineimap.folder)
                for number, uid in letters.items():
                    chance = rng.random()
                    if chance < 0.1:
                        self.ledger.take(OFFLINE, [number])
                        imap.perform("STORE", uid, "+FLAGS", r"(\Deleted)")
                        self.count("offlineimap deleted")
                    elif chance < 0.3:
                        imap.perform("STORE", uid, "+FLAGS", r"(\Seen)")
                imap.expunge()
        with self.ledger.naming:
            self.ledger.renamed[OFFLINE] += 1
            if self.offlineimap.sync():
                self.count("offlineimap ran")
            self.ledger.renamed[OFFLINE] += 1

    def use_dovecot(self, load: ForeignLoad, rng: random.Random, box: str) -> None:
        """A session of an IMAP client, with its pauses."""
        try:
            with self.dovecot.session(box) as imap:
                self.at_imap(imap, load, rng, box)
        except (imaplib.IMAP4.error, OSError) as error:
            self.house.complaints["dovecot"] = repr(error)

    def at_imap(self, imap: imaplib.IMAP4, load: ForeignLoad, rng: random.Random, box: str) -> None:
        imap.create("Archive")
        for _ in range(rng.randrange(1, 6)):
            letters = imap.letters("INBOX")
            for number, uid in letters.items():
                chance = rng.random()
                if chance < 0.06:
                    self.ledger.take(box, [number])
                    imap.perform("MOVE", uid, "Archive")
                    self.count("dovecot moved")
                elif chance < 0.12:
                    self.ledger.take(box, [number])
                    imap.perform("STORE", uid, "+FLAGS", r"(\Deleted)")
                    self.count("dovecot deleted")
                elif chance < 0.4:
                    flag = rng.choice([r"\Seen", r"\Answered", r"\Flagged"])
                    imap.perform("STORE", uid, rng.choice(["+FLAGS", "-FLAGS"]), f"({flag})")
                    self.count("dovecot marked")
            imap.expunge()
            load.over.wait(rng.random() * 0.3)
            with load.claim(box) as is_free:
                if is_free and box == DOVECOT:
                    archived = imap.letters("Archive")
                    back = {n: uid for n, uid in archived.items() if n not in letters}
                    for number, uid in list(back.items())[: rng.randrange(3)]:
                        self.ledger.bring(box, [number], is_renamed=True)
                        imap.perform("MOVE", uid, "INBOX")
                        self.count("dovecot moved back")
            if load.over.is_set():
                break

    def rename(self, load: ForeignLoad, rng: random.Random, box: str) -> None:
        """Marks change: of some messages one after the other, or of all of them in a burst."""
        files = self.house.files(box)
        is_burst = rng.random() < 0.5
        n_renamed = len(files) if is_burst else min(len(files), 50)
        for file in rng.sample(files, n_renamed):
            name = file.name.partition(":2,")[0]
            marks = rng.choice(["", "S", "RS", "FS", "F"])
            with contextlib.suppress(OSError):  # taken by somebody else meanwhile
                file.rename(file.parent.parent / "cur" / f"{name}:2,{marks}")
                self.count("files renamed")
            if not is_burst and load.over.wait(rng.random() * 0.02):
                break

    def move(self, load: ForeignLoad, rng: random.Random) -> None:
        """`mv` from one mailbox to the other."""
        source, target = rng.sample(MOVES, 2)
        with load.claim(target) as is_free:
            if not is_free:
                return
            # After a crash it may be in both.
            there_already = self.ledger.all_of(target)
            letters = self.some(source, rng, 10)
            letters = {n: file for n, file in letters.items() if n not in there_already}
            if not letters:
                return
            numbers = list(letters)
            self.ledger.take(source, numbers)
            self.ledger.bring(target, numbers)
            directory = self.house.maildir(target) / rng.choice(["new", "cur"])
            self.house.run("mv", "mv", "--", *letters.values(), directory)
            there = [n for n, file in letters.items() if (directory / file.name).exists()]
            self.ledger.have_taken(source, there)
            self.ledger.have_brought(target, there)
            self.ledger.moved.update(dict.fromkeys(there, (source, target)))
            self.count("mv moved", len(there))

    def delete(self, load: ForeignLoad, rng: random.Random) -> None:
        """`rm`, sometimes after `mv` from new to cur."""
        letters = self.some(DELETED, rng, 8)
        for number, file in letters.items():
            if file.parent.name == "new" and rng.random() < 0.5:
                target = self.house.maildir(DELETED) / "cur" / f"{file.name}:2,S"
                if self.house.run("mv", "mv", "--", file, target)[0] == 0:
                    letters[number] = target
        if letters:
            self.ledger.take(DELETED, list(letters))
            self.house.run("rm", "rm", "-f", "--", *letters.values())
            self.ledger.have_taken(DELETED, list(letters))
            self.count("rm deleted", len(letters))

    def copy(self, load: ForeignLoad, rng: random.Random) -> None:
        """`cp -a` of a mailbox while it is in use; the copy is another mailbox."""
        source = rng.choice([FLAGS, *MOVES, MUTT, DOVECOT])
        if not self.house.maildir(source).exists():
            return
        self.n_copies += 1
        target = f"copy-{self.n_copies}@copies.test"
        maildir = self.house.maildir(target)
        self.house.run("mkdir", "mkdir", "-p", maildir.parent)
        self.house.run("cp", "cp", "-a", "--", self.house.maildir(source), maildir)
        there: dict[int, Path] = {}
        for file in self.house.files(target):
            octets = file.read_bytes().replace(b"\n", b"\r\n")
            number = number_of(octets, f"the copy {file}")[0]
            if number in there:
                # It was renamed in between, and cp met it twice.
                file.unlink()
            else:
                there[number] = file
        with load.claim(target):
            self.ledger.bring(target, list(there))
            self.ledger.have_brought(target, list(there))
            self.count("cp copied", len(there))
            try:
                load.visit(target, rng)
            except (Broken, Refused) as error:
                load.failed(load.pop3_may_fail, "POP3", error)
            there_still = self.ledger.all_of(target)
            self.ledger.take(target, list(there_still))
            self.house.run("rm", "rm", "-r", "--", maildir)
            self.ledger.have_taken(target, list(there_still))

    def poll(self, load: ForeignLoad, rng: random.Random, poller: Mpop | Fetchmail) -> None:
        """mpop or fetchmail fetches what is new, or everything, which is removed."""
        with load.claim(poller.box) as is_free:
            if not is_free:
                return
            is_well, said, numbers = poller.poll(load.daemon.pop3)
            if not is_well:
                is_in_use = "in use" in said or "IN-USE" in said
                # Where messages are only renamed there is no reason to fail.
                if poller.box == FLAGS and not is_in_use and not load.pop3_may_fail.is_set():
                    raise Finding(Kind.REPLY, f"{poller.name}: {said.strip()[-300:]}")
                if not poller.keeps:
                    self.ledger.leave(poller.box, numbers)
                return
            if not poller.keeps:
                self.ledger.leave(poller.box, numbers)
                self.ledger.remove(poller.box, numbers)
            self.count(f"{poller.name} fetched", len(numbers))
            self.count(f"{poller.name} polls")
            fetched = self.fetched[poller.name]
            twice = [n for n, times in Counter(numbers).items() if times > 1 or n in fetched]
            fetched.update(numbers)
            if twice:
                text = f"{poller.name} has fetched letters {twice[:5]} of {len(numbers)} again"
                raise Finding(Kind.TWICE, text, twice[0])

    # After the crash.

    def settle(self, when: float) -> list[Finding]:
        """What a crash at that time makes uncertain. Gives what must not be on disk."""
        self.ledger.crash(when)
        for poller in self.keeping + self.removing:
            self.fetched[poller.name] -= self.ledger.unsure(poller.box)
        return [finding for mailbox in BOXES for finding in self.remove_twins(mailbox, when)]

    def remove_twins(self, mailbox: str, when: float) -> Iterator[Finding]:
        """Nothing has two files, but what is back after the crash beside what a program made of it:
        a file of another name, or one that it has moved away and back again."""
        found: dict[int, Path] = {}
        # Those that facteur has named come last.
        for file in sorted(self.house.files(mailbox), key=lambda it: ".localhost" in it.name):
            number = number_in(file)
            if number is None or (twin := found.setdefault(number, file)) is file:
                continue
            # What was not acknowledged any more came last.
            arrival = self.ledger.arrived.get((mailbox, number), when)
            has_come_lately = arrival >= when - RETURNS
            if mailbox in (OFFLINE, DOVECOT) and has_come_lately:
                self.ledger.drops[mailbox].unique_ids.pop(number, None)
            elif mailbox not in MOVES or not has_come_lately:
                names = " and ".join(f"{it.parent.name}/{it.name}" for it in (twin, file))
                yield Finding(Kind.TWICE, f"{mailbox} has {names} on disk", number)
            file.unlink()

    def check_effects(self, parts: list[str]) -> None:
        """Whoever did nothing has proved nothing."""
        wanted = {
            "mutt": ["mutt deleted", "mutt saved", "neomutt deleted", "neomutt saved"],
            "mbsync": ["mbsync ran", "mbsync renamed", "mbsync deleted"],
            "offlineimap": ["offlineimap ran", "offlineimap deleted"],
            "dovecot": ["dovecot moved", "dovecot deleted", "dovecot marked"],
            "files": ["files renamed", "mv moved", "rm deleted", "cp copied"],
        }
        effects = self.house.effects
        names = [name for part in parts for name in wanted[part]]
        names += [f"{poller.name} fetched" for poller in self.keeping + self.removing]
        if idle := [name for name in names if not effects[name]]:
            complaints = "; ".join(f"{who}: {said}" for who, said in self.house.complaints.items())
            raise Unable(f"never happened: {', '.join(idle)} ({complaints})")
        told = ", ".join(f"{count} {what}" for what, count in sorted(effects.items()))
        self.bench.say(told)


# -------------------------------------------------------------------------------------- scenarios


@contextlib.contextmanager
def crowd_of(bench: Bench, name: str = "house") -> Iterator[Crowd]:
    """The programs, and a bench on which they can work."""
    bench.ledger = ForeignLedger()
    bench.spared = frozenset({FLAGS})
    bench.has_other_names = True
    house = House(bench, name)
    bench.prefix = house.prefix
    try:
        yield Crowd(bench, house)
    finally:
        house.clean_up()


def fill(bench: Bench, port: int, many: int) -> None:
    """So many letters for the mailbox of the bursts."""
    while len(bench.ledger.kept(FLAGS)) < many:
        with Smtp(port) as smtp, contextlib.suppress(Refused):
            # Until it gives a letter up.
            while len(bench.ledger.kept(FLAGS)) < many:
                letter = bench.letters.write(bench.rng, 300)
                smtp.deliver(bench.ledger, letter, [FLAGS], bench.rng)


def programs(bench: Bench, rounds: int, parts: list[str]) -> None:
    """SIGKILL under load while these programs work, and a restart beside them."""
    with crowd_of(bench) as crowd:
        mail = crowd.house.mail
        daemon = bench.start(mail)
        fill(bench, daemon.smtp, MANY)
        for bench.round in range(1, rounds + 1):
            rng = bench.chance(f"round {bench.round}")
            load = ForeignLoad(bench, daemon, senders=3, readers=3)
            crowd.start(load, parts)
            load.over.wait(4 + 6 * rng.random())
            load.expect_failures()
            daemon.kill()
            when = time.monotonic()
            daemon.check_log()
            daemon = bench.restart(mail, rng)
            load.end()
            twins = crowd.settle(when)
            compare(bench, daemon, mail, rng)
            crowd.ledger.check_moves()
            if twins:
                raise Findings(twins)
            counts, copies = load.counts, bench.ledger.copies()
            text = f"{counts['acknowledged']} acknowledged, {counts['looks']} looks"
            bench.say(f"{text}, {counts['removals']} removals, {copies} copies stay")
        crowd.check_effects(parts)
        daemon.stop()


class Watchers(ForeignLoad):
    """Clients that remove nothing."""

    def share(self, mailbox: str, n_seen: int) -> float:
        return 0.0


def tamper_with(bench: Bench, tamper: Callable[[Path, ForeignLoad], None] | None) -> set[Kind]:
    """A daemon, a load, and somebody who tampers with one message. Gives what was found."""
    with crowd_of(bench, f"house-{bench.round}") as crowd:
        daemon = bench.start(crowd.house.mail)
        fill(bench, daemon.smtp, 30)
        load = Watchers(bench, daemon, senders=1, readers=2)
        load.mailboxes = [FLAGS]
        crowd.start(load, [])
        load.wait_for("looks", 5)
        if tamper is not None:
            tamper(crowd.house.files(FLAGS)[0], load)
            load.over.wait(PATIENCE)
        load.wait_for("looks", 5)
        found: set[Kind] = set()
        try:
            load.end()
        except Findings as findings:
            found = {finding.kind for finding in findings.findings}
        daemon.kill()
        return found


def self_test(bench: Bench, rounds: int) -> None:
    """Somebody tampers with the mail beside the load, and it is noticed."""

    def hide(file: Path, load: ForeignLoad) -> None:
        hidden = file.parent.parent / "hidden"
        file.rename(hidden)
        load.wait_for("looks", 5)
        hidden.rename(file)

    def give_new_name(file: Path, load: ForeignLoad) -> None:
        file.rename(file.with_name("1" + file.name))

    def bring_back(file: Path, load: ForeignLoad) -> None:
        number, octets = number_in(file), file.read_bytes()
        assert number is not None
        is_free = False
        while not is_free and not load.over.is_set():
            with load.claim(FLAGS) as is_free:
                if not is_free:
                    continue
                with Pop3(load.daemon.pop3, FLAGS) as pop3:
                    seen = pop3.see_all(load.foreign, FLAGS)
                    pop3.delete([seen[number]])
                    pop3.command("QUIT")
                load.foreign.remove(FLAGS, [number])
                file.write_bytes(octets)

    tampering: dict[str, tuple[set[Kind], Callable[[Path, ForeignLoad], None] | None]] = {
        "nothing": (set(), None),
        "deleted": ({Kind.LOST}, lambda file, load: file.unlink()),
        "hidden for a while": ({Kind.LOST}, hide),
        "another unique-id": ({Kind.UNIQUE_ID}, give_new_name),
        "back after its removal": ({Kind.BACK}, bring_back),
    }
    for bench.round, (what, (kinds, tamper)) in enumerate(tampering.items(), 1):
        found = tamper_with(bench, tamper)
        if bool(found) != bool(kinds) or (kinds and not found & kinds):
            wanted = " or ".join(kind.value for kind in kinds) or "nothing"
            text = f"{what!r}: found {[kind.value for kind in found]}, wanted {wanted}"
            raise Finding(Kind.CRASH, text)
    bench.say(f"{len(tampering)} kinds of tampering are told apart")


# ------------------------------------------------------------------------------------------- main

PARTS = ["mutt", "mbsync", "offlineimap", "dovecot", "files"]

# Each scenario with its rounds in the short and in the long form; 0 is only when asked for.
SCENARIOS: dict[str, tuple[Callable[[Bench, int], None], int, int]] = {
    "self-test": (self_test, 1, 1),
    "programs": (functools.partial(programs, parts=PARTS), 3, 300),
    "pollers": (functools.partial(programs, parts=[]), 0, 30),
    **{part: (functools.partial(programs, parts=[part]), 0, 30) for part in PARTS},
}


def main() -> int:
    parser = scenarios.parser(__doc__, SCENARIOS, ("a minute", "hours"))
    parser.add_argument("--rounds", type=int, help="instead of those of the form")
    options = scenarios.parse(parser, SCENARIOS)
    of_short_form = [name for name, (_, short, _) in SCENARIOS.items() if short]
    names = options.scenario or (list(SCENARIOS) if options.long else of_short_form)
    plays: dict[str, scenarios.Play] = {}
    for name in names:
        work, short, long = SCENARIOS[name]
        rounds = options.rounds or (long if options.long else short) or 3
        plays[name] = (f"{rounds} rounds", functools.partial(work, rounds=rounds))
    if not scenarios.play_all(options, "foreign", plays):
        return 1
    if left_out := [name for name in SCENARIOS if name not in names]:
        print(f"left out: {', '.join(left_out)}")
    print("other programs have lost nothing, and doubled nothing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
