#!/usr/bin/env python3
"""The proof with other programs: what they do in the Maildirs loses no mail, and duplicates none.

    python3 tests/foreign.py --short target/release/facteur
    python3 tests/foreign.py --long target/release/facteur
    python3 tests/foreign.py --short target/release/facteur programs --rounds 20 --seed 7

A live daemon accepts mail and is polled while real programs work in its Maildirs: mutt and neomutt
mark, delete and save messages, mbsync and OfflineIMAP synchronise them, Dovecot serves them over
IMAP with STORE, MOVE and EXPUNGE, `rm` and `mv` remove and move them, flags are changed in bursts
of renames, and `cp -a` copies whole mailboxes. mpop and fetchmail poll in between, with and without
removal. Then comes SIGKILL, sometimes SIGTERM instead, and a restart while those programs continue.
What must hold is in this file, under "rules".

    self-test  somebody tampers with the mail; the comparison must notice
    programs   all programs at the same time
    pollers, mutt, mbsync, offlineimap, dovecot, files
               only mpop and fetchmail, or only some of the others; only in the long form, to
               find the culprit

It needs Linux, and the programs. As root it runs all of them, and the daemon, as the user nobody:
Dovecot does not read root's mail. A program that is missing, or does nothing in the whole run, is a
failure. The seed decides what is sent and done, but the scheduler also has a part.
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
from collections.abc import Callable, Iterator, Set
from pathlib import Path

sys.dont_write_bytecode = True  # leaves nothing in the source tree

import scenarios
from foreign_programs import (
    DOMAIN,
    Dovecot,
    Fetchmail,
    House,
    Imap,
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

def box(local_part: str) -> str:
    """The mailbox with this name."""
    return f"{local_part}@{DOMAIN}"


FLAGS, DELETED, SHARED = box("flags"), box("deleted"), box("shared")
MOVES = box("moves-a"), box("moves-b")
MUTT, NEOMUTT, MBSYNC = box("mutt"), box("neomutt"), box("mbsync")
OFFLINE, DOVECOT = box("offline"), box("dovecot")
SAVED = {MUTT: box("saved-mutt"), NEOMUTT: box("saved-neomutt")}

# The mailboxes that mail is delivered to, and those that are read.
RECIPIENTS = [FLAGS, DELETED, SHARED, *MOVES, MUTT, NEOMUTT, MBSYNC, OFFLINE, DOVECOT]
BOXES = [*RECIPIENTS, *SAVED.values()]

# The mailboxes where a program renames messages that the daemon has named.
NAMED_ANEW = {OFFLINE, DOVECOT}

# The fields that mutt adds to the header section of a message that it saves.
ADDED_BY_MUTT = re.compile(rb"^(?:Content-Length|Lines|Status): [^\r\n]*\r\n", re.MULTILINE)

# How many letters the mailbox of the bursts has before they begin: more than one directory read
# returns.
MANY = 600


def base_of(file: Path) -> str:
    """The part of a message's file name that does not change, whatever is appended to it."""
    return file.name.partition(",")[0].partition(":2,")[0]


# ------------------------------------------------------------------------------------------ rules
#
# A copy is a letter in a mailbox. A program takes a copy when it deletes it or moves it away, and
# brings one when it moves, saves or copies it to a mailbox. In the meantime the copy may or may not
# be there (Fate.LEAVING, Fate.OPEN); that remains so if the program fails or does not report what
# it did. All other copies that were acknowledged, or seen, are sure (Fate.KEPT).
#
# Promised, in addition to the rules of the class Ledger in survival_clients.py:
#
# Shown    A login shows every copy that was sure before it began and still is when its listing has
#          been read.
# Once     A login shows no copy twice, and mpop and fetchmail fetch no copy twice that stays in its
#          mailbox: not after a crash, and not after its file was renamed to change its flags or to
#          add a field. When everything is quiet no copy has two files.
# Gone     What was removed over POP3, with +OK to QUIT, is never shown again. What another program
#          has taken, after its file was seen to be gone, is not shown by later logins.
# Named    A copy keeps its unique-id as long as the base of its file name stays the same.
# Kept     After a crash or a stop, and a start beside the programs, every sure copy is there, and
#          a moved message is in one of the two mailboxes.
#
# Not promised, as docs/promises.md says:
#
# Returns  A copy that a program took may be back after a crash if it arrived during that run of the
#          daemon, and not long before the crash. After an orderly stop nothing is back.
# Anew     A program that gives a message a completely different name makes another message of it:
#          OfflineIMAP when it uploads one, Dovecot when it moves one back (it may also keep the
#          name), mutt when it saves one. It gets a new unique-id, once. For the daemon the first
#          message was taken, so it may be back beside the other (Returns), even if the other was
#          removed over POP3.
# Put off  While a program renames without a pause, a session may get -ERR [SYS/TEMP].
# Between  A message that is taken between a login and its RETR is listed, and RETR returns -ERR.
# Not yet  A letter is shown nowhere before it has been acknowledged, not even where a program put
#          it that saw its file earlier.

# How long before a crash mail can have arrived that is back after it, in seconds. docs/promises.md
# says "some ten seconds", on a disk of normal speed.
RETURNS = 20.0

# How many sessions of a run may be put off per session that is not. Bursts of renames are in few
# mailboxes: it was one in 200, and one in 16 when many other programs used the same two cores.
PUT_OFF_MAX = 0.5

# The unique-ids that the daemon makes from its own names.
OWN_UNIQUE_ID = re.compile(rb"\d+\.[0-9a-f]{16}_[0-9a-f]{8,}")

Copy = tuple[str, int]


class ForeignLedger(Ledger):
    """A ledger that also knows about other programs."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()  # type: ignore[assignment]
        # The number of the daemon's current run; the run in which a copy was sent; when it was
        # acknowledged.
        self.life = 0
        self.sent_in: dict[Copy, int] = {}
        self.acknowledged_at: dict[Copy, float] = {}
        # The letters that were acknowledged, or shown, anywhere.
        self.durable: set[int] = set()
        # What programs have taken in this run, and when.
        self.taken: dict[Copy, float] = {}
        # When a program last started to take anything from a mailbox, or took it.
        self.last_taking: dict[str, float] = {}
        # What was removed over POP3, and what was marked when QUIT was sent.
        self.removed: set[Copy] = set()
        self.marked: set[Copy] = set()
        # The mailboxes that a reader has seen completely.
        self.looked_at: set[str] = set()
        # The two mailboxes between which a letter was last moved.
        self.moved: dict[int, tuple[str, str]] = {}
        # How often OfflineIMAP has started or finished renaming. The lock is held by whoever
        # removes over POP3 in its mailbox, and by whoever renames there.
        self.n_namings = 0
        self.naming = threading.Lock()

    # What the daemon says.

    def send(self, number: int, mailboxes: list[str]) -> None:
        with self.lock:
            self.sent_in.update({(mailbox, number): self.life for mailbox in mailboxes})
            super().send(number, mailboxes)

    def acknowledge(self, number: int, mailboxes: list[str]) -> None:
        with self.lock:
            now = time.monotonic()
            self.acknowledged_at.update({(mailbox, number): now for mailbox in mailboxes})
            self.durable.add(number)
            super().acknowledge(number, mailboxes)

    def see(self, mailbox: str, unique_id: bytes, octets: bytes) -> int:
        if mailbox in SAVED.values():
            header, _, body = octets.partition(b"\r\n\r\n")
            octets = ADDED_BY_MUTT.sub(b"", header + b"\r\n") + b"\r\n" + body
        with self.lock:
            if mailbox == OFFLINE and not is_own(unique_id):
                number = number_of(octets, f"{mailbox} {unique_id.decode()}")[0]
                if is_own(self.drops[mailbox].unique_ids.get(number)):
                    # It has been uploaded.
                    self.drops[mailbox].unique_ids.pop(number)
            number = super().see(mailbox, unique_id, octets)
            self.durable.add(number)
            return number

    def recognise(self, mailbox: str, unique_id: bytes) -> int | None:
        """The letter that was seen under this unique-id, if there is one."""
        with self.lock:
            number = self.owners.get(hash((mailbox, unique_id)))
            drop = self.drops[mailbox]
            is_known = number is not None and drop.unique_ids.get(number) == unique_id
            return number if is_known and number in drop.fates else None

    def leave(self, mailbox: str, numbers: list[int]) -> None:
        with self.lock:
            self.marked.update((mailbox, number) for number in numbers)
            self.may_go(mailbox, numbers, "marked")

    def remove(self, mailbox: str, numbers: list[int], event: str = "removed") -> None:
        with self.lock:
            drop = self.drops[mailbox]
            if event == "removed":
                for number in numbers:
                    if mailbox in NAMED_ANEW and not is_own(drop.unique_ids.get(number)):
                        # Its first name was taken when it got another one.
                        self.taken[mailbox, number] = time.monotonic()
                    else:
                        self.removed.add((mailbox, number))
            super().remove(mailbox, [n for n in numbers if n in drop.fates], event)

    # What other programs do.

    def may_go(self, mailbox: str, numbers: list[int], event: str) -> None:
        """From now on these may or may not be there."""
        with self.lock:
            fates = self.drops[mailbox].fates
            for number in numbers:
                if number in fates:
                    fates[number] = Fate.LEAVING
                    self.note(number, mailbox, event)

    def take(self, mailbox: str, numbers: list[int], who: str) -> None:
        """A program is about to take these."""
        with self.lock:
            self.last_taking[mailbox] = time.monotonic()
            self.may_go(mailbox, numbers, f"{who} takes it")

    def have_taken(self, mailbox: str, numbers: list[int], who: str) -> None:
        """It has taken them, and their files are gone."""
        with self.lock:
            now = self.last_taking[mailbox] = time.monotonic()
            self.taken.update({(mailbox, number): now for number in numbers})
            self.remove(mailbox, numbers, f"{who} has taken it")

    def bring(self, mailbox: str, numbers: list[int], who: str, is_renamed: bool = False) -> None:
        """A program is about to bring these, perhaps back and under another name."""
        with self.lock:
            for number in numbers:
                self.removed.discard((mailbox, number))
                self.marked.discard((mailbox, number))
                if is_renamed:
                    self.taken[mailbox, number] = time.monotonic()
                    self.drops[mailbox].unique_ids.pop(number, None)
                self.drops[mailbox].fates[number] = Fate.OPEN
                self.note(number, mailbox, f"{who} brings it")

    def have_brought(self, mailbox: str, numbers: list[int], who: str) -> None:
        """It has brought them."""
        with self.lock:
            for number in numbers:
                is_open = self.drops[mailbox].fates.get(number) is Fate.OPEN
                if is_open and number in self.durable:
                    self.drops[mailbox].fates[number] = Fate.KEPT
                    self.note(number, mailbox, f"{who} has brought it")

    # What follows.

    def was_taken_since(self, mailbox: str, number: int | None, when: float) -> bool:
        """Whether a program has taken this since then, or may have; any letter, if it is unknown
        which one it is."""
        with self.lock:
            fates = self.drops[mailbox].fates
            if number is None:
                is_leaving = Fate.LEAVING in fates.values()
                return is_leaving or self.last_taking.get(mailbox, 0) >= when
            is_leaving = fates.get(number) is Fate.LEAVING
            return is_leaving or self.taken.get((mailbox, number), 0) >= when

    def unsure(self, mailbox: str) -> set[int]:
        """The copies that may or may not be there."""
        with self.lock:
            fates = self.drops[mailbox].fates
            return {number for number, fate in fates.items() if fate is not Fate.KEPT}

    def all_of(self, mailbox: str) -> set[int]:
        """The copies that are, or may be, there."""
        with self.lock:
            return set(self.drops[mailbox].fates)

    def may_return(self, mailbox: str, number: int, when: float) -> bool:
        """Whether a crash at that time may restore the file that the daemon made for this."""
        with self.lock:
            copy = mailbox, number
            if copy in self.removed or self.sent_in.get(copy) != self.life:
                return False
            return self.acknowledged_at.get(copy, when) >= when - RETURNS

    def end_of_life(self, when: float | None) -> None:
        """The daemon crashed then, or was stopped in order, and has started again."""
        with self.lock:
            if when is not None:
                for mailbox, number in self.taken:
                    if self.may_return(mailbox, number, when):
                        self.drops[mailbox].fates.setdefault(number, Fate.OPEN)
                for mailbox in NAMED_ANEW:
                    drop = self.drops[mailbox]
                    for number in drop.fates:
                        if self.may_return(mailbox, number, when):
                            # It may have its first name again.
                            drop.unique_ids.pop(number, None)
            self.taken.clear()
            self.life += 1

    def check_moves(self) -> None:
        """A moved message is in one of the two mailboxes, unless it was removed there."""
        with self.lock:
            for number, mailboxes in self.moved.items():
                if not any(
                    number in self.drops[mailbox].fates or (mailbox, number) in self.marked
                    for mailbox in mailboxes
                ):
                    text = f"letter {number} is neither in {' nor in '.join(mailboxes)}"
                    raise Finding(Kind.LOST, text, number)
            self.moved.clear()


def is_own(unique_id: bytes | None) -> bool:
    """Whether the daemon has made this from one of its own names."""
    return unique_id is not None and OWN_UNIQUE_ID.fullmatch(unique_id) is not None


class ForeignLoad(Load):
    """Senders and readers in mailboxes where other programs work."""

    # So that mailboxes do not fill up faster than the programs empty them.
    pause = 0.04

    def __init__(self, bench: Bench, daemon: Daemon, senders: int, readers: int) -> None:
        assert isinstance(bench.ledger, ForeignLedger)
        self.foreign = bench.ledger
        # For the visit of each thread: when it began, and how many renamings there were by then.
        self.here = threading.local()
        super().__init__(bench, daemon, senders, readers, mailboxes=BOXES)

    def failed(self, may_fail: threading.Event, what: str, error: Exception) -> None:
        if what == "POP3" and is_put_off(str(error)):
            self.count("put off")
        else:
            super().failed(may_fail, what, error)

    def recipients(self, rng: random.Random) -> list[str]:
        mailboxes = rng.sample(RECIPIENTS, rng.choice([1, 1, 1, 2, 4]))
        if set(MOVES) <= set(mailboxes):
            mailboxes.remove(MOVES[1])  # it might be moved there
        return mailboxes

    def share(self, mailbox: str, n_seen: int) -> float:
        if mailbox == FLAGS:
            return 0.05 if n_seen > MANY else 0.01
        return 0.1 if n_seen < 40 else 0.5

    def visit(self, mailbox: str, rng: random.Random) -> None:
        self.here.began = time.monotonic()
        self.here.n_namings = self.foreign.n_namings
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
                    if is_put_off(str(error)):
                        raise
                    if self.may_be_gone(mailbox, number):
                        continue
                    text = f"{mailbox} lists {listed.unique_id.decode()}, RETR says {error}"
                    raise Finding(Kind.LOST, text, number) from None
                except Finding as finding:
                    is_back = finding.kind is Kind.BACK
                    if is_back and ledger.was_taken_since(mailbox, finding.number, began):
                        continue
                    raise
            if number in seen and not self.is_naming(mailbox):
                raise Finding(Kind.TWICE, f"letter {number} is in {mailbox} twice", number)
            seen[number] = listed.position
        self.count("looks")
        self.foreign.looked_at.add(mailbox)
        return seen

    def is_naming(self, mailbox: str) -> bool:
        """Whether messages were, or may have been, renamed during this visit."""
        n_namings = self.foreign.n_namings
        return mailbox == OFFLINE and (n_namings != self.here.n_namings or n_namings % 2 == 1)

    def may_be_gone(self, mailbox: str, number: int | None) -> bool:
        """Whether listed messages may be gone already."""
        was_taken = self.foreign.was_taken_since(mailbox, number, self.here.began)
        return was_taken or self.is_naming(mailbox)

    def remove_some(
        self, pop3: Pop3, mailbox: str, seen: dict[int, int], rng: random.Random
    ) -> None:
        if mailbox != OFFLINE:
            super().remove_some(pop3, mailbox, seen, rng)
        # What has been renamed by now is another message, and would stay.
        elif self.foreign.naming.acquire(blocking=False):
            try:
                if not self.is_naming(mailbox):
                    super().remove_some(pop3, mailbox, seen, rng)
            finally:
                self.foreign.naming.release()

    def missing(self, mailbox: str, kept: set[int], seen: dict[int, int]) -> set[int]:
        if self.is_naming(mailbox):
            return set()
        # What a program has taken meanwhile is not missing.
        return (kept & self.foreign.kept(mailbox)) - seen.keys()


def is_put_off(said: str) -> bool:
    """Whether the daemon, or a program that passes it on, reports that it cannot answer now."""
    return "[SYS/TEMP]" in said


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
        # What a removing poller had fetched when its last session broke off.
        self.broken_off: defaultdict[str, set[int]] = defaultdict(set)
        self.saved: set[int] = set()
        self.n_copies = 0

    def parts(self) -> dict[str, list[Callable[[ForeignLoad, random.Random], None]]]:
        """The work, each part for its own thread, by the names of the scenarios."""
        return {
            "mutt": [functools.partial(self.use_mutt, box=it) for it in self.mutts],
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

    def confirm(self, box: str, numbers: list[int], who: str) -> list[int]:
        """The program has ended successfully: letters without a file were taken. If others rename
        files, no directory read shows that."""
        there = {number_in(file) for file in self.house.files(box)}
        gone = [number for number in numbers if number not in there]
        self.ledger.have_taken(box, gone, who)
        return gone

    def count(self, what: str, n: int = 1) -> None:
        self.house.effects[what] += n

    # Each of these is repeated.

    def use_mutt(self, load: ForeignLoad, rng: random.Random, box: str) -> None:
        """Somebody reads the mailbox: flags some, deletes some and saves some elsewhere.

        Not where others rename files: neomutt 20220429 then deletes the wrong messages, a few per
        hour."""
        mutt = self.mutts[box]
        numbers = list(self.some(box, rng, 12))
        third = len(numbers) // 3
        delete, save, flag = numbers[:third], numbers[third : 2 * third], numbers[2 * third :]
        # What a crash has restored is not saved again.
        save = [number for number in save if number not in self.saved]
        self.saved.update(save)
        to = SAVED[box]
        self.ledger.take(box, delete + save, mutt.program)
        self.ledger.bring(to, save, mutt.program)
        if mutt.work(box, delete, save, to, flag):
            self.count(f"{mutt.program} deleted", len(delete))
            self.count(f"{mutt.program} saved", len(save))
            gone = self.confirm(box, delete + save, mutt.program)
            moved = [number for number in save if number in gone]
            self.ledger.moved.update(dict.fromkeys(moved, (box, to)))

    def use_mbsync(self, load: ForeignLoad, rng: random.Random) -> None:
        """The mirror is synchronised; somebody deletes and flags messages there."""
        mbsync = self.mbsync
        deleted: list[int] = []
        for number, file in mbsync.letters().items():
            chance = rng.random()
            if chance < 0.1:
                self.ledger.take(MBSYNC, [number], "mbsync")
                mbsync.mark(file, "ST")
                deleted.append(number)
                self.count("mbsync deleted")
            elif chance < 0.3:
                mbsync.mark(file, rng.choice(["S", "F", "FS", "RS"]))
        if mbsync.sync():
            self.count("mbsync ran")
            self.count("mbsync renamed", sum(",U=" in it.name for it in self.house.files(MBSYNC)))
            self.confirm(MBSYNC, deleted, "mbsync")

    def use_offlineimap(self, load: ForeignLoad, rng: random.Random) -> None:
        """The same with the server elsewhere. OfflineIMAP renames what it adopts."""
        deleted: list[int] = []
        with self.offlineimap.remote() as imap:
            if imap.list('""', self.offlineimap.folder)[1] != [None]:
                letters = imap.letters(self.offlineimap.folder)
                for number, uid in letters.items():
                    chance = rng.random()
                    if chance < 0.1:
                        self.ledger.take(OFFLINE, [number], "OfflineIMAP")
                        imap.perform("STORE", uid, "+FLAGS", r"(\Deleted)")
                        deleted.append(number)
                        self.count("offlineimap deleted")
                    elif chance < 0.3:
                        imap.perform("STORE", uid, "+FLAGS", r"(\Seen)")
                imap.expunge()
        with self.ledger.naming:
            self.ledger.n_namings += 1
            if self.offlineimap.sync():
                self.count("offlineimap ran")
                self.confirm(OFFLINE, deleted, "OfflineIMAP")
            self.ledger.n_namings += 1

    def use_dovecot(self, load: ForeignLoad, rng: random.Random, box: str) -> None:
        """A session of an IMAP client, with its pauses."""
        try:
            with self.dovecot.session(box) as imap:
                self.at_imap(imap, load, rng, box)
        except (imaplib.IMAP4.error, OSError) as error:
            self.house.complaints["dovecot"] = repr(error)

    def at_imap(self, imap: Imap, load: ForeignLoad, rng: random.Random, box: str) -> None:
        imap.create("Archive")
        for _ in range(rng.randrange(1, 6)):
            letters = imap.letters("INBOX")
            taken: list[int] = []
            for number, uid in letters.items():
                chance = rng.random()
                if chance < 0.06:
                    self.ledger.take(box, [number], "dovecot")
                    imap.perform("MOVE", uid, "Archive")
                    taken.append(number)
                    self.count("dovecot moved")
                elif chance < 0.12:
                    self.ledger.take(box, [number], "dovecot")
                    imap.perform("STORE", uid, "+FLAGS", r"(\Deleted)")
                    taken.append(number)
                    self.count("dovecot deleted")
                elif chance < 0.4:
                    flag = rng.choice([r"\Seen", r"\Answered", r"\Flagged"])
                    imap.perform("STORE", uid, rng.choice(["+FLAGS", "-FLAGS"]), f"({flag})")
                    self.count("dovecot marked")
            if imap.expunge()[0] == "OK" and box != SHARED:
                self.confirm(box, taken, "dovecot")
            load.over.wait(rng.random() * 0.3)
            if box != SHARED:
                self.move_back(imap, load, rng, box, letters.keys())
            if load.over.is_set():
                break

    def move_back(
        self, imap: Imap, load: ForeignLoad, rng: random.Random, box: str, not_these: Set[int]
    ) -> None:
        """Moves part of the archive back into the mailbox, where it gets other names than
        before."""
        with load.claim(box) as is_free:
            if not is_free:
                return
            archived = imap.letters("Archive")
            back = {number: uid for number, uid in archived.items() if number not in not_these}
            for number, uid in list(back.items())[: rng.randrange(3)]:
                if number not in self.ledger.all_of(box):
                    self.ledger.bring(box, [number], "dovecot", is_renamed=True)
                    imap.perform("MOVE", uid, "INBOX")
                    self.ledger.have_brought(box, [number], "dovecot")
                    self.count("dovecot moved back")

    def rename(self, load: ForeignLoad, rng: random.Random, box: str) -> None:
        """Flags change: of some messages one after another, or of all of them in a burst."""
        files = self.house.files(box)
        is_burst = rng.random() < 0.5
        n_renamed = len(files) if is_burst else min(len(files), 50)
        for file in rng.sample(files, n_renamed):
            name = file.name.partition(":2,")[0]
            marks = rng.choice(["", "S", "RS", "FS", "F"])
            with contextlib.suppress(OSError):  # taken by another program meanwhile
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
            self.ledger.take(source, numbers, "mv")
            self.ledger.bring(target, numbers, "mv")
            directory = self.house.maildir(target) / rng.choice(["new", "cur"])
            self.house.run("mv", "mv", "--", *letters.values(), directory)
            there = [n for n, file in letters.items() if (directory / file.name).exists()]
            self.ledger.have_taken(source, there, "mv")
            self.ledger.have_brought(target, there, "mv")
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
            self.ledger.take(DELETED, list(letters), "rm")
            self.house.run("rm", "rm", "-f", "--", *letters.values())
            self.ledger.have_taken(DELETED, list(letters), "rm")
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
            octets = file.read_bytes()
            number = number_of(octets.replace(b"\n", b"\r\n"), f"the copy {file}")[0]
            # cp recognises linked files by their inodes: if an inode was reused for another message
            # in the meantime, the copy of that message is a link to the copy of the first.
            is_another = f",S={len(octets)}," not in file.name
            # A message that was renamed in between is copied twice, which is one to the daemon,
            # unless the name is completely different.
            if is_another or base_of(there.setdefault(number, file)) != base_of(file):
                file.unlink()
        with load.claim(target):
            self.ledger.bring(target, list(there), "cp")
            self.ledger.have_brought(target, list(there), "cp")
            self.count("cp copied", len(there))
            try:
                load.visit(target, rng)
            except (Broken, Refused) as error:
                load.failed(load.pop3_may_fail, "POP3", error)
            there_still = list(self.ledger.all_of(target))
            self.ledger.take(target, there_still, "rm")
            self.house.run("rm", "rm", "-r", "--", maildir)
            self.ledger.have_taken(target, there_still, "rm")

    def poll(self, load: ForeignLoad, rng: random.Random, poller: Mpop | Fetchmail) -> None:
        """mpop or fetchmail fetches new messages, or fetches and removes all."""
        with load.claim(poller.box) as is_free:
            if not is_free:
                return
            is_well, said, numbers = poller.poll(load.daemon.pop3)
            # mpop does not fetch again what it had when a session broke off, and removes that too.
            had = self.broken_off[poller.name]
            had &= self.ledger.all_of(poller.box)
            removed = [] if poller.keeps else sorted(had.union(numbers))
            self.ledger.leave(poller.box, removed)
            if not is_well:
                had.update(removed)
                # If messages are only renamed, there is no other reason to fail.
                may_fail = "in use" in said or "IN-USE" in said or is_put_off(said)
                if poller.box == FLAGS and not may_fail and not load.pop3_may_fail.is_set():
                    raise Finding(Kind.REPLY, f"{poller.name}: {said.strip()[-300:]}")
                return
            had.clear()
            self.ledger.remove(poller.box, removed)
            self.count(f"{poller.name} fetched", len(numbers))
            self.count(f"{poller.name} polls")
            fetched = self.fetched[poller.name]
            twice = [n for n, times in Counter(numbers).items() if times > 1 or n in fetched]
            fetched.update(numbers)
            if twice:
                text = f"{poller.name} has fetched letters {twice[:5]} of {len(numbers)} again"
                raise Finding(Kind.TWICE, text, twice[0])

    # When everything is quiet again.

    def settle(self, when: float | None) -> list[Finding]:
        """Settles what a crash at that time, or a stop, makes uncertain. Returns what must not be
        on disk."""
        found = [finding for mailbox in BOXES for finding in self.twins(mailbox, when)]
        self.ledger.end_of_life(when)
        for poller in self.keeping + self.removing:
            self.fetched[poller.name] -= self.ledger.unsure(poller.box)
        return found

    def twins(self, mailbox: str, when: float | None) -> Iterator[Finding]:
        """No copy has two files, unless a crash has restored one: beside the renamed one, or where
        the message had been moved away, and back during the start. Restored files are removed."""
        found: dict[int, Path] = {}
        # Those that the daemon has named come last.
        for file in sorted(self.house.files(mailbox), key=lambda it: ".localhost" in it.name):
            number = number_in(file)
            if number is None or (twin := found.setdefault(number, file)) is file:
                continue
            is_back = when is not None and self.ledger.may_return(mailbox, number, when)
            has_two_names = mailbox in NAMED_ANEW and base_of(file) != base_of(twin)
            is_moved_back = mailbox in {*MOVES, DOVECOT}
            if not is_back or not (has_two_names or is_moved_back):
                names = " and ".join(f"{it.parent.name}/{it.name}" for it in (twin, file))
                yield Finding(Kind.TWICE, f"{mailbox} has {names} on disk", number)
            self.ledger.drops[mailbox].unique_ids.pop(number, None)
            file.unlink()

    def idle(self, parts: list[str]) -> list[str]:
        """What has never happened so far."""
        wanted = {
            "mutt": ["mutt deleted", "mutt saved", "neomutt deleted", "neomutt saved"],
            "mbsync": ["mbsync ran", "mbsync renamed", "mbsync deleted"],
            "offlineimap": ["offlineimap ran", "offlineimap deleted"],
            "dovecot": ["dovecot moved", "dovecot deleted", "dovecot marked"],
            "files": ["files renamed", "mv moved", "rm deleted", "cp copied"],
        }
        names = [name for part in parts for name in wanted[part]]
        names += [f"{poller.name} fetched" for poller in self.keeping + self.removing]
        names = [name for name in names if not self.house.effects[name]]
        return names + [f"{box} seen" for box in set(BOXES) - self.ledger.looked_at]

    def check_effects(self, parts: list[str]) -> None:
        """A program that did nothing has proved nothing."""
        if idle := self.idle(parts):
            complaints = "; ".join(f"{who}: {said}" for who, said in self.house.complaints.items())
            raise Unable(f"never happened: {', '.join(idle)} ({complaints})")
        effects = self.house.effects
        told = ", ".join(f"{count} {what}" for what, count in sorted(effects.items()))
        self.bench.say(told)
        if effects["sessions put off"] > effects["sessions looked"] * PUT_OFF_MAX:
            raise Finding(Kind.REPLY, "too many sessions are put off")


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
    """This many letters for the mailbox of the bursts."""
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
        for bench.round in range(1, 2 * rounds + 1):
            # On a slow machine the programs need more time for all their work.
            if bench.round > rounds and not crowd.idle(parts):
                break
            rng = bench.chance(f"round {bench.round}")
            load = ForeignLoad(bench, daemon, senders=3, readers=3)
            crowd.start(load, parts)
            # Sometimes so long that early mail does not return.
            is_long = bench.is_long and rng.random() < 0.1
            load.over.wait(RETURNS + 10 if is_long else 4 + 6 * rng.random())
            load.expect_failures()
            if rng.random() < 0.2:
                daemon.stop()
                when = None
            else:
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
            crowd.count("sessions looked", counts["looks"])
            crowd.count("sessions put off", counts["put off"])
            text = f"{counts['acknowledged']} acknowledged, {counts['looks']} looks"
            text += f", {counts['put off']} put off"
            bench.say(f"{text}, {counts['removals']} removals, {copies} copies remain")
        crowd.check_effects(parts)
        daemon.stop()


class Watchers(ForeignLoad):
    """Clients that remove nothing."""

    def share(self, mailbox: str, n_seen: int) -> float:
        return 0.0


def tamper_with(bench: Bench, tamper: Callable[[Path, ForeignLoad], None] | None) -> set[Kind]:
    """A daemon, a load, and somebody who tampers with one message. Returns the findings."""
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
        "a changed unique-id": ({Kind.UNIQUE_ID}, give_new_name),
        "restored after its removal": ({Kind.BACK}, bring_back),
    }
    for bench.round, (what, (kinds, tamper)) in enumerate(tampering.items(), 1):
        found = tamper_with(bench, tamper)
        if bool(found) != bool(kinds) or (kinds and not found & kinds):
            wanted = " or ".join(kind.value for kind in kinds) or "nothing"
            text = f"{what!r}: found {[kind.value for kind in found]}, wanted {wanted}"
            raise Finding(Kind.CRASH, text)
    bench.say(f"{len(tampering)} kinds of tampering are distinguished")


# ------------------------------------------------------------------------------------------- main

PARTS = ["mutt", "mbsync", "offlineimap", "dovecot", "files"]

# Each scenario with its rounds in the short and in the long form; 0 means only on request.
SCENARIOS: dict[str, scenarios.InRounds] = {
    "self-test": (self_test, 1, 1),
    "programs": (functools.partial(programs, parts=PARTS), 3, 300),
    "pollers": (functools.partial(programs, parts=[]), 0, 30),
    **{part: (functools.partial(programs, parts=[part]), 0, 30) for part in PARTS},
}


def main() -> int:
    durations = ("a minute", "hours")
    held = "other programs have lost nothing, and duplicated nothing"
    return scenarios.main_in_rounds(__doc__, SCENARIOS, "foreign", durations, 3, held)


if __name__ == "__main__":
    sys.exit(main())
