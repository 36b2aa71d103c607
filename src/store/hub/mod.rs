//! The hub: tells those who wait for mail which messages came and went, without using the disk.
//!
//! # Theory of operation
//! The store reports a message to the hub, with no lock held, when it is permanently in its
//! mailbox, and when it was permanently removed. Each change gets a number; the newest
//! [`HUB_CHANGES_MAX`] are kept, in [`HUB_OCTETS_MAX`] at most. A [`Cursor`] is a place between two
//! of them, and a [`Watch`] reports the changes behind its cursor, of all mailboxes or of one. A
//! caller that first takes a cursor, then lists a mailbox, and then watches from that cursor finds
//! each message in the list, in the watch, or in both, but never in neither.
//!
//! As long as nobody has asked for a cursor, nobody can ask for a change, and a report costs one
//! atomic load. From the first cursor on, changes are recorded until the store is closed. A cursor
//! may be out at any time: it is given out in one request of a client and comes back in another, or
//! a minute later from a shell script. Recording takes a lock and a short copy for each message,
//! and the memory of the ring.
//!
//! *Who is woken.* A thread that waits for mail to one mailbox sleeps at the bell of that mailbox,
//! so a thousand that wait for others cost a delivery nothing. Those that wait for mail to any
//! mailbox share one bell. A bell with many watches does not ring for every change: waking a
//! thousand threads for each delivery would leave no time to deliver. It rings at most once in
//! [`HUB_PACE`]. Nobody counts that time: whoever goes to sleep shortly after a bell rang wakes up
//! by itself when the bell may ring again. So a thread sleeps longer than that only if the next
//! change will ring, and none is missed.
//!
//! Messages that other programs put into a Maildir, or remove from it, are not reported.
//!
//! # Invariants
//! - A thread sleeps longer than [`HUB_PACE`] after its bell rang only if it began to sleep when
//!   the bell might have rung again. Whoever notes that a bell rings also wakes its sleepers.
//! - A mailbox has a bell only while somebody watches it alone.
//!
//! # Failures
//! A watch that falls too far behind gets [`Missed`], as does one that begins at a cursor of an
//! earlier run: list the mailboxes again.
//!
//! # Known limits
//! A mailbox that is watched while [`HUB_BELLS_MAX`] others are has no bell; its watches wake up
//! with those of all mailboxes.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    error::Error as StdError,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    mail::{EntryId, MailboxName},
};

#[cfg(test)]
use super::sync::MutexGuard;
#[cfg(test)]
use crate::testing::bugs::{self, Bug};

use super::{
    cursor::Cursor,
    limits::{
        HUB_BELLS_MAX, HUB_CHANGES_MAX, HUB_NEWS_MAX, HUB_OCTETS_MAX, HUB_PACE, HUB_PROMPT_MAX,
    },
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// What happened to a message.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It was delivered.
    Arrived,
    /// It was removed through this store.
    Removed,
}

/// A message that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What happened to it.
    pub change: Change,
    /// The mailbox; a message may be in several.
    pub mailbox: MailboxName,
    /// The message.
    pub id: EntryId,
    /// The place behind this change.
    pub cursor: Cursor,
}

/// What an allocation takes in addition to its octets, on average.
const ALLOCATION_OCTETS: usize = 16;

impl News {
    /// The memory that it uses, in octets.
    fn octets(&self) -> usize {
        let texts = [self.mailbox.local_part(), self.mailbox.domain()];
        let of_text = |text: &str| text.len().saturating_add(ALLOCATION_OCTETS);
        texts.iter().fold(size_of::<Self>(), |sum, text| {
            sum.saturating_add(of_text(text))
        })
    }
}

/// There were so many changes that some were forgotten before they were read; or the cursor is not
/// one of this run of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed;

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "facteur was restarted, or too many messages have come and gone meanwhile: list the \
             messages again",
        )
    }
}

impl StdError for Missed {}

/// See the module.
#[derive(Debug)]
pub(super) struct Hub {
    /// The random number of this run of the daemon.
    run: u64,
    clock: Clock,
    /// Whether anybody has asked for a cursor.
    is_recording: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// For watches of all mailboxes.
    of_all: Bell,
    /// For watches of one mailbox.
    of_one: HashMap<MailboxName, Bell>,
}

/// The newest changes.
#[derive(Debug)]
struct Ring {
    /// The number of the first change that is kept.
    first: u64,
    news: VecDeque<News>,
    octets: usize,
    room: Room,
}

/// How much a ring keeps.
#[derive(Clone, Copy, Debug)]
struct Room {
    changes: usize,
    octets: usize,
}

/// Wakes the threads of some watches.
#[derive(Debug, Default)]
struct Bell {
    sleepers: Arc<Condvar>,
    /// How many watches use it.
    n_watches: usize,
    /// The number behind the newest change that concerns it, or behind the changes from before it
    /// was made.
    newest: u64,
    /// When it last rang.
    rang_at: Option<Instant>,
}

impl Ring {
    /// The number that the next change gets.
    fn next(&self) -> u64 {
        let kept = u64::try_from(self.news.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(kept)
    }

    /// Adds a change and forgets the oldest ones.
    fn add(&mut self, news: News) {
        self.octets = self.octets.saturating_add(news.octets());
        self.news.push_back(news);
        while self.news.len() > self.room.changes || self.octets > self.room.octets {
            let Some(gone) = self.news.pop_front() else {
                return;
            };
            self.octets = self.octets.saturating_sub(gone.octets());
            self.first = self.first.saturating_add(1);
        }
    }

    /// The changes from the number `next` on, of one mailbox or of all; the first
    /// [`HUB_NEWS_MAX`] if there are more.
    fn since(&self, next: u64, of: Option<&MailboxName>) -> Result<Vec<News>, Missed> {
        let n_before = next.checked_sub(self.first).ok_or(Missed)?;
        let n_before = usize::try_from(n_before).unwrap_or(usize::MAX);
        let news = self.news.range(n_before.min(self.news.len())..);
        let news = news.filter(|news| of.is_none_or(|of| news.mailbox == *of));
        Ok(news.take(HUB_NEWS_MAX).cloned().collect())
    }
}

impl Bell {
    /// How long after `now` it may not ring again; zero if it may.
    fn rest(&self, now: Instant) -> Duration {
        self.rang_at.map_or(Duration::ZERO, |rang_at| {
            HUB_PACE.saturating_sub(now.saturating_duration_since(rang_at))
        })
    }

    /// Notes that it rings. The caller must then wake its sleepers.
    fn ring(&mut self, now: Instant) -> Arc<Condvar> {
        self.rang_at = Some(now);
        Arc::clone(&self.sleepers)
    }

    /// Notes the change before the number `end`. Returns the threads to wake.
    fn note(&mut self, end: u64, now: Instant, is_paced: bool) -> Option<Arc<Condvar>> {
        self.newest = end;
        let rings = self.n_watches > 0 && !(is_paced && self.rest(now) > Duration::ZERO);
        rings.then(|| self.ring(now))
    }
}

impl State {
    /// The bell of this mailbox, or of all.
    fn bell(&mut self, key: Option<&MailboxName>) -> &mut Bell {
        let Self { of_all, of_one, .. } = self;
        key.and_then(|key| of_one.get_mut(key)).unwrap_or(of_all)
    }

    /// Makes a bell for the watches of `mailbox`, unless there is one or there are too many.
    /// Returns whether there is one.
    fn has_bell(&mut self, mailbox: &MailboxName) -> bool {
        let newest = self.ring.next();
        if self.of_one.len() < HUB_BELLS_MAX && !self.of_one.contains_key(mailbox) {
            let bell = Bell {
                newest,
                ..Bell::default()
            };
            self.of_one.insert(mailbox.clone(), bell);
        }
        self.of_one.contains_key(mailbox)
    }
}

impl Hub {
    /// The hub of this run of the daemon, by its random number.
    pub(super) fn new(run: u64, clock: Clock) -> Self {
        let room = Room {
            changes: HUB_CHANGES_MAX,
            octets: HUB_OCTETS_MAX,
        };
        Self::with_room(run, clock, room)
    }

    fn with_room(run: u64, clock: Clock, room: Room) -> Self {
        let ring = Ring {
            first: 0,
            // At once, and not while the lock is held (L1). The memory is not used before the
            // changes come.
            news: VecDeque::with_capacity(room.changes.saturating_add(1)),
            octets: 0,
            room,
        };
        Self {
            run,
            clock,
            is_recording: AtomicBool::new(false),
            state: Mutex::new(State {
                ring,
                of_all: Bell::default(),
                of_one: HashMap::new(),
            }),
        }
    }

    /// Whether changes are recorded. Called after the change was made, so that anybody who takes
    /// the first cursor later finds it on the disk.
    pub(super) fn is_recording(&self) -> bool {
        self.is_recording.load(Ordering::SeqCst)
    }

    /// Records a change, and wakes those who wait for it.
    pub(super) fn tell(&self, change: Change, mailbox: &MailboxName, id: EntryId) {
        let mailbox = mailbox.clone();
        let mut state = self.state.lock();
        let end = state.ring.next().saturating_add(1);
        // Not before the lock is taken: a thread may have gone to sleep in between, for long.
        let now = self.clock.now();
        let of_one = state.of_one.get_mut(&mailbox).and_then(|bell| {
            let is_paced = bell.n_watches > HUB_PROMPT_MAX;
            bell.note(end, now, is_paced)
        });
        let of_all = state.of_all.note(end, now, true);
        let wake = |sleepers: &Option<Arc<Condvar>>| {
            if let Some(sleepers) = sleepers {
                sleepers.notify_all();
            }
        };
        #[cfg(test)]
        if bugs::is_planted(Bug::BellsRingEarly) {
            MutexGuard::unlocked(&mut state, || wake(&of_one));
        }
        state.ring.add(News {
            change,
            mailbox,
            id,
            cursor: Cursor::new(self.run, end),
        });
        drop(state);
        wake(&of_one);
        wake(&of_all);
    }

    /// Lets all watches and all cursors so far miss something: there may have been changes that
    /// nobody has told.
    #[cfg(feature = "postgres")]
    pub(super) fn skip(&self) {
        let mut state = self.state.lock();
        let State {
            ring,
            of_all,
            of_one,
        } = &mut *state;
        let end = ring.next().saturating_add(1);
        let gone = std::mem::take(&mut ring.news);
        (ring.first, ring.octets) = (end, 0);
        let now = self.clock.now();
        let bells = of_one.values_mut().chain([of_all]);
        let sleepers: Vec<Arc<Condvar>> = bells
            .map(|bell| {
                bell.newest = end;
                bell.ring(now)
            })
            .collect();
        drop(state);
        drop(gone);
        for sleepers in &sleepers {
            sleepers.notify_all();
        }
    }

    /// The place behind the newest change.
    pub(super) fn cursor(&self) -> Cursor {
        self.is_recording.store(true, Ordering::SeqCst);
        Cursor::new(self.run, self.state.lock().ring.next())
    }

    /// Begins to watch one mailbox, or all, from the cursor `since`.
    ///
    /// # Errors
    /// [`Missed`] if changes behind it are no longer kept, or it is not one of this run.
    pub(super) fn watch(
        self: &Arc<Self>,
        of: Option<&MailboxName>,
        since: Cursor,
    ) -> Result<Watch, Missed> {
        let next = since.number_in(self.run).ok_or(Missed)?;
        let mut state = self.state.lock();
        if !(state.ring.first..=state.ring.next()).contains(&next) {
            return Err(Missed);
        }
        let has_bell = of.is_some_and(|of| state.has_bell(of));
        let bell = state.bell(of.filter(|_| has_bell));
        bell.n_watches = bell.n_watches.saturating_add(1);
        drop(state);
        Ok(Watch {
            hub: Arc::clone(self),
            of: of.cloned(),
            has_bell,
            next,
        })
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.state.is_locked()
    }
}

/// Reports which messages come to one mailbox or to all, and go, from a cursor on.
#[derive(Debug)]
pub struct Watch {
    hub: Arc<Hub>,
    /// The mailbox; `None` for all.
    of: Option<MailboxName>,
    /// Whether it sleeps at the bell of that mailbox.
    has_bell: bool,
    /// The number of the first change that was not yet looked at.
    next: u64,
}

impl Watch {
    /// The changes since the last call, the oldest first; waits for `patience` at most until there
    /// is one. Empty if there is none. If there are many, the next call returns the rest.
    ///
    /// A caller that may have to stop waits for a short time, again and again.
    ///
    /// # Errors
    /// [`Missed`]; the next call continues with what is still kept.
    pub fn news(&mut self, patience: Duration) -> Result<Vec<News>, Missed> {
        let hub = Arc::clone(&self.hub);
        let begin = hub.clock.now();
        let mut state = hub.state.lock();
        loop {
            let found = self.look(&mut state);
            let now = hub.clock.now();
            let bell = state.bell(self.key());
            let rest = bell.rest(now);
            if !found.as_ref().is_ok_and(Vec::is_empty) {
                // The others at this bell wake up now too, and not once more for the next change.
                let sleepers = rest.is_zero().then(|| bell.ring(now));
                drop(state);
                if let Some(sleepers) = sleepers {
                    sleepers.notify_all();
                }
                return found;
            }
            let left = patience.saturating_sub(now.saturating_duration_since(begin));
            if left.is_zero() {
                return found;
            }
            let until_it_rings = if rest.is_zero() { left } else { rest.min(left) };
            let sleepers = Arc::clone(&bell.sleepers);
            sleepers.wait_for(&mut state, until_it_rings);
        }
    }

    /// The changes that were not yet looked at, and concern this watch.
    fn look(&mut self, state: &mut State) -> Result<Vec<News>, Missed> {
        let end = state.ring.next();
        if state.bell(self.key()).newest <= self.next {
            self.next = end;
            return Ok(Vec::new());
        }
        let found = state.ring.since(self.next, self.of.as_ref());
        self.next = match &found {
            Err(Missed) => state.ring.first,
            Ok(found) => match found.get(HUB_NEWS_MAX.saturating_sub(1)..) {
                // There may be more.
                Some([last]) => last.cursor.number_in(self.hub.run).unwrap_or(end),
                _ => end,
            },
        };
        found
    }

    /// Which of these messages are known to have arrived before the place `until`.
    pub fn arrived_before(&self, until: Cursor, ids: &HashSet<EntryId>) -> Vec<EntryId> {
        let end = until.number_in(self.hub.run).unwrap_or(0);
        let state = self.hub.state.lock();
        let n_before = end.saturating_sub(state.ring.first);
        let n_before = usize::try_from(n_before).unwrap_or(usize::MAX);
        let news = state.ring.news.iter().take(n_before);
        let arrived = news.filter(|news| {
            let is_watched = self.of.as_ref().is_none_or(|of| news.mailbox == *of);
            is_watched && news.change == Change::Arrived && ids.contains(&news.id)
        });
        let arrived = arrived.map(|news| news.id).collect();
        drop(state);
        arrived
    }

    /// The mailbox at whose bell it sleeps; `None` for that of all.
    fn key(&self) -> Option<&MailboxName> {
        self.of.as_ref().filter(|_| self.has_bell)
    }

    /// The place behind the changes that were returned or do not concern this watch: another one
    /// that begins there reports what this one has not.
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.hub.run, self.next)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        let bell = state.bell(self.key());
        bell.n_watches = bell.n_watches.saturating_sub(1);
        let is_last = bell.n_watches == 0;
        let key = self.key().filter(|_| is_last);
        let gone = key.and_then(|key| state.of_one.remove_entry(key));
        drop(state);
        drop(gone);
    }
}

#[cfg(test)]
mod tests;
