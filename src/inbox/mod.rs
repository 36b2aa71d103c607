//! The inbox: what people and tests see of the mail, across all mailboxes.
//!
//! # Theory of operation
//! An [`Inbox`] lists the messages of the mailboxes, newest first, and opens one of them. It only
//! reads: looking at a mailbox takes no claim, so POP3 and SMTP do not notice it.
//!
//! A mailbox is listed again when the hub has reported a change in it, and, once in
//! [`limits::SCAN_PAUSE`], when the times of its directories say that another program has changed
//! it. So a request costs nothing where nothing has happened. Requests are brought up to date one
//! after another: two that come together do not both read the directories.
//!
//! The cursor of the hub is taken before the mailboxes are listed, so a change during the listing
//! is found in it, or reported behind the cursor, or both.
//!
//! # Failures
//! A mailbox that cannot be read is left out, and the list says that it is partial.

pub mod index;
pub mod limits;
pub mod marks;
pub mod summaries;
pub mod words;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    clock::Clock,
    mail::{EntryId, MailboxName},
    mime::{Outline, Summary, TooComplex, Walk},
    store::{Cursor, Error, Message, MessageStore, Missed, News, Stamp, Watch},
};

use index::{Index, Item, Seen};
use marks::Marks;
use summaries::Summaries;

/// See the module.
#[derive(Debug)]
pub struct Inbox {
    store: Arc<MessageStore>,
    clock: Clock,
    /// Held while the mailboxes are read: one thread reads them, and the others need its result.
    scan: Mutex<Scan>,
    summaries: Mutex<Summaries>,
    marks: Mutex<Marks>,
}

/// What is known of the mailboxes.
#[derive(Debug, Default)]
struct Scan {
    index: Index,
    stamps: HashMap<MailboxName, Stamp>,
    /// Reports what has changed since.
    watch: Option<Watch>,
    /// When all mailboxes were last looked at.
    looked: Option<Instant>,
    is_partial: bool,
}

/// All messages at one moment.
#[derive(Clone, Debug)]
pub struct List {
    /// Newest first.
    pub items: Arc<[Item]>,
    /// Whether some mailboxes could not be read, or did not fit.
    pub is_partial: bool,
    /// Everything that has happened since is behind this.
    pub cursor: Cursor,
}

/// A message that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Its octets.
    pub message: Message,
    /// Its parts.
    pub outline: Result<Outline, TooComplex>,
}

impl Inbox {
    /// An inbox of all mailboxes of `store`.
    pub fn of(store: Arc<MessageStore>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            scan: Mutex::default(),
            summaries: Mutex::default(),
            marks: Mutex::default(),
        }
    }

    /// All messages, newest first.
    ///
    /// # Errors
    /// [`Error::Io`] if the mailboxes cannot be listed now.
    pub fn list(&self) -> Result<List, Error> {
        let cursor = self.store.cursor();
        let mut scan = self.scan.lock();
        let changed = self.changed(&mut scan)?;
        for mailbox in changed {
            self.renew(&mut scan, mailbox);
        }
        Ok(List {
            items: scan.index.items(),
            is_partial: scan.is_partial,
            cursor,
        })
    }

    /// Which mailboxes have to be listed again.
    fn changed(&self, scan: &mut Scan) -> Result<BTreeSet<MailboxName>, Error> {
        let mut changed = BTreeSet::new();
        let now = self.clock.now();
        let is_fresh = |looked: Instant| now.saturating_duration_since(looked) < limits::SCAN_PAUSE;
        let news = scan.watch.as_mut().map(all_news);
        let mut has_missed = false;
        if let Some(Ok(news)) = news {
            changed.extend(news.into_iter().map(|news| news.mailbox));
        } else {
            scan.watch = self.store.watch(None, self.store.cursor()).ok();
            has_missed = true;
        }
        if !has_missed && scan.looked.is_some_and(is_fresh) {
            return Ok(changed);
        }
        scan.looked = Some(now);
        let mut present = BTreeSet::new();
        let is_whole = self.store.each_mailbox(&mut |mailbox| {
            present.insert(mailbox);
        })?;
        scan.is_partial = !is_whole;
        if is_whole {
            let gone = scan.index.mailboxes().keys();
            let gone: Vec<_> = gone.filter(|it| !present.contains(*it)).cloned().collect();
            for mailbox in gone {
                scan.index.remove(&mailbox);
                scan.stamps.remove(&mailbox);
            }
        }
        for mailbox in present {
            let stamp = self.store.stamp(&mailbox).ok();
            let known = scan.stamps.get(&mailbox);
            if has_missed || stamp.is_none() || stamp.as_ref() != known {
                changed.insert(mailbox);
            }
        }
        Ok(changed)
    }

    /// Lists a mailbox again.
    fn renew(&self, scan: &mut Scan, mailbox: MailboxName) {
        // Taken before the listing: a change during it gives another stamp.
        let stamp = self.store.stamp(&mailbox).ok();
        let known = scan.index.mailboxes().get(&mailbox);
        let known = known.map(Vec::as_slice).unwrap_or_default();
        scan.stamps.remove(&mailbox);
        let has_all = if let Ok(messages) = self.seen(&mailbox, known) {
            scan.stamps.extend(stamp.map(|it| (mailbox.clone(), it)));
            scan.index.put(mailbox, messages)
        } else {
            scan.index.remove(&mailbox);
            false
        };
        scan.is_partial |= !has_all;
    }

    /// The messages of a mailbox; the time of arrival of those that are `known` is not read again.
    fn seen(&self, mailbox: &MailboxName, known: &[Seen]) -> Result<Vec<Seen>, Error> {
        let look = self.store.look(mailbox)?;
        let messages = look.messages();
        let known: HashMap<EntryId, u64> = known.iter().map(|it| (it.id, it.arrived)).collect();
        let mut seen = Vec::with_capacity(messages.len());
        for index in 0..messages.len() {
            let (Some(id), Some(octets)) = (look.id(index), messages.octets(index)) else {
                continue;
            };
            let arrived = match known.get(&id) {
                Some(arrived) => *arrived,
                None => match look.arrived_secs(index) {
                    Ok(arrived) => arrived,
                    Err(Error::MessageGone { .. }) => continue,
                    Err(error) => return Err(error),
                },
            };
            seen.push(Seen {
                id,
                arrived,
                octets,
            });
        }
        Ok(seen)
    }

    /// Opens a message, and finds its parts; `None` if no mailbox has it any more.
    ///
    /// # Errors
    /// [`Error::Io`] and others: it cannot be read now.
    pub fn open(&self, item: &Item) -> Result<Option<Opened>, Error> {
        let Some(message) = self.message(item)? else {
            return Ok(None);
        };
        let outline = outline(&message)?;
        Ok(Some(Opened { message, outline }))
    }

    /// The octets of a message; `None` if no mailbox has it any more.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn message(&self, item: &Item) -> Result<Option<Message>, Error> {
        let mut failed = None;
        for mailbox in item.mailboxes.iter() {
            match self.message_in(mailbox, item.seen.id) {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) | Err(Error::MessageGone { .. }) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    fn message_in(&self, mailbox: &MailboxName, id: EntryId) -> Result<Option<Message>, Error> {
        let look = self.store.look(mailbox)?;
        let mut indexes = 0..look.messages().len();
        let index = indexes.find(|&index| look.id(index) == Some(id));
        index.map(|index| look.open_message(index)).transpose()
    }

    /// What the list shows about a message; `None` if no mailbox has it any more.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn summary(&self, item: &Item) -> Result<Option<Arc<Summary>>, Error> {
        let id = item.seen.id;
        let kept = self.summaries.lock().get(id);
        if kept.is_some() {
            return Ok(kept);
        }
        let Some(opened) = self.open(item)? else {
            return Ok(None);
        };
        let summary = match &opened.outline {
            Ok(outline) => Summary::of(outline),
            Err(complex) => Summary {
                snippet: complex.to_string(),
                ..Summary::default()
            },
        };
        let summary = Arc::new(summary);
        self.summaries.lock().put(id, Arc::clone(&summary));
        Ok(Some(summary))
    }

    /// Whether somebody has read the message.
    pub fn is_read(&self, id: EntryId) -> bool {
        self.marks.lock().is_read(id)
    }

    /// Marks the message as read, or as not read.
    pub fn mark(&self, id: EntryId, is_read: bool) {
        self.marks.lock().set(id, is_read);
    }
}

/// Everything that a watch can report now.
fn all_news(watch: &mut Watch) -> Result<Vec<News>, Missed> {
    let mut all = Vec::new();
    loop {
        let news = watch.news(Duration::ZERO)?;
        if news.is_empty() {
            return Ok(all);
        }
        all.extend(news);
    }
}

/// One pass through the message.
fn outline(message: &Message) -> Result<Result<Outline, TooComplex>, Error> {
    let mut walk = Walk::new();
    let mut buffer = vec![0; limits::READ_OCTETS];
    let mut offset: u64 = 0;
    loop {
        let octets = message.read_at(offset, &mut buffer)?;
        walk.push(buffer.get(..octets).unwrap_or_default());
        if octets < buffer.len() {
            return Ok(walk.finish());
        }
        offset = offset.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
    }
}
