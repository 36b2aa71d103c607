//! The hub: tells those who wait for mail which messages came and went, without using the disk.
//!
//! # Theory of operation
//! The store reports a message to the hub, with no lock held, when it is permanently in its
//! mailbox, and when it was permanently removed. If nobody watches, that costs one atomic load.
//! Each change gets a number; the newest [`HUB_CHANGES_MAX`] are kept. A [`Watch`] begins at the
//! newest change. A caller that first begins a watch and then lists a mailbox finds each message in
//! the list, in the watch, or in both, but never in neither.
//!
//! Messages that other programs put into a Maildir, or remove from it, are not reported.
//!
//! # Failures
//! A watch that falls too far behind gets [`Missed`]: list the mailboxes again.

use std::{collections::VecDeque, error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    mail::{MailboxName, UniqueId},
};

use super::{
    limits::HUB_CHANGES_MAX,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was delivered.
    Arrived,
    /// It was removed over POP3.
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
    pub unique_id: UniqueId<'static>,
}

/// There were so many changes that some were forgotten before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed;

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many messages have come and gone meanwhile: list the messages again")
    }
}

impl StdError for Missed {}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hub {
    n_watches: AtomicUsize,
    ring: Mutex<Ring>,
    has_news: Condvar,
}

#[derive(Debug, Default)]
struct Ring {
    /// The number of the first change that is kept.
    first: u64,
    news: VecDeque<News>,
}

impl Ring {
    /// The number that the next change gets.
    fn next(&self) -> u64 {
        let kept = u64::try_from(self.news.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(kept)
    }
}

impl Hub {
    /// Whether anybody watches. Called after the change was made, so that anybody who begins to
    /// watch later finds it on the disk.
    pub(super) fn is_watched(&self) -> bool {
        self.n_watches.load(Ordering::SeqCst) > 0
    }

    /// Tells all watches.
    pub(super) fn tell(&self, news: News) {
        let mut ring = self.ring.lock();
        if ring.news.len() >= HUB_CHANGES_MAX {
            ring.news.pop_front();
            ring.first = ring.first.saturating_add(1);
        }
        ring.news.push_back(news);
        drop(ring);
        self.has_news.notify_all();
    }

    /// Begins to watch.
    pub(super) fn watch(self: &Arc<Self>) -> Watch {
        self.n_watches.fetch_add(1, Ordering::SeqCst);
        let next = self.ring.lock().next();
        Watch {
            hub: Arc::clone(self),
            next,
        }
    }
}

/// Reports which messages come and go from the moment when it was created.
#[derive(Debug)]
pub struct Watch {
    hub: Arc<Hub>,
    /// The number of the first change that was not yet returned.
    next: u64,
}

impl Watch {
    /// The changes since the last call; waits for `patience` at most until there is one. Empty if
    /// there is none.
    ///
    /// # Errors
    /// [`Missed`]; the next call continues with what is still kept.
    pub fn news(&mut self, patience: Duration, clock: &Clock) -> Result<Vec<News>, Missed> {
        let begin = clock.now();
        let mut ring = self.hub.ring.lock();
        while ring.next() == self.next {
            let waited = clock.now().saturating_duration_since(begin);
            let left = patience.saturating_sub(waited);
            if left.is_zero() {
                return Ok(Vec::new());
            }
            self.hub.has_news.wait_for(&mut ring, left);
        }
        let n_given = self.next.checked_sub(ring.first);
        self.next = match n_given {
            Some(_) => ring.next(),
            None => ring.first,
        };
        let n_given = usize::try_from(n_given.ok_or(Missed)?).unwrap_or(usize::MAX);
        Ok(ring.news.iter().skip(n_given).cloned().collect())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.hub.n_watches.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Nobody is left to read them. Their numbers are not used again.
            let mut ring = self.hub.ring.lock();
            let next = ring.next();
            let gone = std::mem::take(&mut ring.news);
            ring.first = next;
            drop(ring);
            drop(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(number: usize) -> News {
        News {
            change: Change::Arrived,
            mailbox: MailboxName::from_canonical("bob", "example.org").unwrap(),
            unique_id: UniqueId::parse(format!("{number}")).unwrap().into_owned(),
        }
    }

    #[test]
    fn a_watch_returns_each_change_after_its_beginning_once() {
        let (hub, clock) = (Arc::new(Hub::default()), Clock::system());
        assert!(!hub.is_watched());
        let mut first = hub.watch();
        hub.tell(news(1));
        let mut second = hub.watch();
        hub.tell(news(2));
        let now = |watch: &mut Watch| watch.news(Duration::ZERO, &clock).unwrap();
        assert_eq!(now(&mut first), [news(1), news(2)]);
        assert_eq!(now(&mut first), []);
        assert_eq!(now(&mut second), [news(2)]);
        drop((first, second));
        assert!(!hub.is_watched());
        let mut third = hub.watch();
        assert_eq!(now(&mut third), []);
        hub.tell(news(3));
        assert_eq!(now(&mut third), [news(3)]);
    }

    #[test]
    fn a_watch_that_is_too_far_behind_reports_it_and_continues() {
        let (hub, clock) = (Arc::new(Hub::default()), Clock::system());
        let mut watch = hub.watch();
        for number in 0..=HUB_CHANGES_MAX {
            hub.tell(news(number));
        }
        assert_eq!(watch.news(Duration::ZERO, &clock), Err(Missed));
        let kept = watch.news(Duration::ZERO, &clock).unwrap();
        assert_eq!(kept.len(), HUB_CHANGES_MAX);
        assert_eq!(kept.first(), Some(&news(1)));
    }

    #[test]
    fn a_watch_waits_for_changes() {
        let hub = Arc::new(Hub::default());
        let mut watch = hub.watch();
        let teller = Arc::clone(&hub);
        std::thread::scope(|scope| {
            scope.spawn(move || teller.tell(news(1)));
            let told = watch.news(Duration::from_mins(1), &Clock::system());
            assert_eq!(told, Ok(vec![news(1)]));
        });
    }
}
