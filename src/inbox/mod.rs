//! The inbox: what people and tests see of the mail, across all mailboxes.
//!
//! # Theory of operation
//! An [`Inbox`] lists the messages of the mailboxes, newest first, and opens one of them. It only
//! reads: looking at a mailbox takes no claim, so POP3 and SMTP do not notice it.
//!
//! A mailbox is listed again when the hub has reported a change in it, and, once in
//! [`limits::SCAN_PAUSE`], when the times of its directories say that another program has changed
//! it. So a request costs nothing where nothing has happened. Requests are brought up to date one
//! after another: two that come together do not both read the directories, because what one has
//! listed is new enough for all that were waiting. The more mail has arrived, the longer the next
//! listing waits ([`limits::REST`]).
//!
//! The cursor of the hub is taken before the mailboxes are listed, so a change during the listing
//! is found in it, or reported behind the cursor, or both.
//!
//! # Failures
//! A mailbox that cannot be read is listed as it was before, or left out if that is not known, and
//! the list says that it is partial. The store's observer is told why, once until it can be read.

mod bodies;
mod content;
pub mod index;
pub mod limits;
mod looks;
pub mod marks;
mod memory;
mod others;
mod paths;
mod rest;
mod search;
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
    mime::{Extent, Outline, Part, Summary, TooComplex, Walk},
    store::{Change, Cursor, Error, Message, MessageStore, Missed, News, Stamp, Watch},
};

pub use bodies::Bodies;
pub use content::{Content, Section};
pub use index::{Item, Seen};
pub use memory::Memory;
pub use paths::Paths;
pub use rest::Rest;
pub use search::Hidden;

use index::Index;
use looks::Looks;
use marks::Marks;
use others::{Others, Reported, Step};
use search::Candidate;
use summaries::Summaries;
use words::Words;

/// See the module.
#[derive(Debug)]
pub struct Inbox {
    store: Arc<MessageStore>,
    clock: Clock,
    /// Held while the mailboxes are read: one thread reads them, and the others need its result.
    scan: Mutex<Scan>,
    summaries: Mutex<Summaries>,
    marks: Mutex<Marks>,
    /// Mailboxes of which the observer was told that not all of them is shown.
    told: Mutex<BTreeSet<MailboxName>>,
}

/// What is known of the mailboxes.
#[derive(Debug)]
struct Scan {
    index: Index,
    stamps: HashMap<MailboxName, Stamp>,
    /// Reports what has changed since.
    watch: Option<Watch>,
    /// When all mailboxes were last looked at.
    looked: Option<Instant>,
    /// When the store was last asked what has changed: everything before that is listed.
    asked: Option<Instant>,
    /// No mailbox is listed before this.
    rests_until: Option<Instant>,
    is_partial: bool,
    /// Whether the observer was told that domains are not shown.
    are_domains_told: bool,
    others: Others,
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
    /// When the mailboxes were looked at, in seconds since 1970: before the cursor was taken.
    pub began: u64,
}

impl List {
    /// The messages of one mailbox, if one is given; otherwise all.
    #[must_use]
    pub fn within(&self, mailbox: Option<&MailboxName>) -> Self {
        let mut list = self.clone();
        if let Some(mailbox) = mailbox {
            let items = self.items.iter();
            let items = items.filter(|item| item.mailboxes.contains(mailbox));
            list.items = items.cloned().collect();
        }
        list
    }
}

/// A message that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Its octets.
    pub message: Message,
    /// Its parts.
    pub outline: Result<Outline, TooComplex>,
}

/// Reads the messages of one call. Dropping it ends its looks at mailboxes.
#[derive(Debug)]
pub struct Reading<'a> {
    inbox: &'a Inbox,
    looks: Looks,
}

impl Inbox {
    /// An inbox of all mailboxes of `store` that uses at most this much memory.
    pub fn of(store: Arc<MessageStore>, clock: Clock, memory: Memory) -> Self {
        let scan = Scan {
            index: Index::within(memory.index),
            stamps: HashMap::new(),
            watch: None,
            looked: None,
            asked: None,
            rests_until: None,
            is_partial: false,
            are_domains_told: false,
            others: Others::default(),
        };
        Self {
            store,
            clock,
            scan: Mutex::new(scan),
            summaries: Mutex::new(Summaries::within(memory.summaries)),
            marks: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Tells the observer that a mailbox is not shown as it is, unless it was told.
    fn tell_hidden(&self, mailbox: &MailboxName, error: Option<&Error>) {
        if self.told.lock().insert(mailbox.clone()) {
            self.store.tell_hidden(Some(mailbox), error);
        }
    }

    /// These mailboxes, with those at the end that could not be read before: one that takes long
    /// must not keep the others from being read.
    fn readable_first(&self, mailboxes: BTreeSet<MailboxName>) -> Vec<MailboxName> {
        let told = self.told.lock();
        let (hidden, mut all): (Vec<_>, Vec<_>) =
            mailboxes.into_iter().partition(|it| told.contains(it));
        all.extend(hidden);
        all
    }

    /// Checks that messages can be stored now.
    ///
    /// # Errors
    /// [`Error::Io`] if they cannot.
    pub fn check_ready(&self) -> Result<(), Error> {
        self.store.check_ready()
    }

    /// All messages, newest first.
    ///
    /// # Errors
    /// [`Error::Io`] if the mailboxes cannot be listed now.
    pub fn list(&self) -> Result<List, Error> {
        let began = self.clock.unix_time().as_secs();
        let cursor = self.store.cursor();
        let come = self.clock.now();
        let mut scan = self.scan.lock();
        // Otherwise another request has done that while this one was waiting.
        if scan.asked.is_none_or(|asked| asked <= come) {
            self.bring_up_to_date(&mut scan)?;
        }
        Ok(List {
            items: scan.index.items(),
            is_partial: scan.is_partial,
            cursor,
            began,
        })
    }

    /// The message with this ID, if a mailbox has it.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn item(&self, id: EntryId) -> Result<Option<Item>, Error> {
        let mut scan = self.scan.lock();
        self.bring_up_to_date(&mut scan)?;
        let found = scan.index.item(id);
        if found.is_some() || id.is_own() {
            return Ok(found);
        }
        // A wait may have found it in its mailbox after the last look at all of them.
        self.follow(&mut scan, true)?;
        Ok(scan.index.item(id))
    }

    /// How often other programs have changed the mailbox, or any: a number that only grows. It
    /// costs nothing if it is asked for again within [`limits::SCAN_PAUSE`].
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn changes_by_others(&self, of: Option<&MailboxName>) -> Result<u64, Error> {
        let mut scan = self.scan.lock();
        if !self.is_fresh(&scan) {
            self.follow(&mut scan, true)?;
        }
        Ok(scan.others.changes(of))
    }

    /// Whether all mailboxes were looked at a moment ago.
    fn is_fresh(&self, scan: &Scan) -> bool {
        let now = self.clock.now();
        scan.looked
            .is_some_and(|looked| now.saturating_duration_since(looked) < limits::SCAN_PAUSE)
    }

    fn bring_up_to_date(&self, scan: &mut Scan) -> Result<(), Error> {
        let is_due = !self.is_fresh(scan);
        self.follow(scan, is_due)
    }

    /// Lists again what the store has reported as changed; and, if a look at all mailboxes is due,
    /// what else has changed.
    fn follow(&self, scan: &mut Scan, is_due: bool) -> Result<(), Error> {
        let is_first = scan.looked.is_none();
        let mut asked = self.clock.now();
        let mut news = self.news(scan);
        if !is_due && news.as_ref().is_some_and(Vec::is_empty) {
            scan.asked = Some(asked);
            return Ok(());
        }
        if self.rest(scan)
            && let Some(known) = &mut news
        {
            asked = self.clock.now();
            match self.news(scan) {
                Some(more) => known.extend(more),
                None => news = None,
            }
        }
        let begin = self.clock.now();
        let has_missed = news.is_none();
        let n_news = match &news {
            Some(news) => u64::try_from(news.len()).unwrap_or(u64::MAX),
            None if is_first => 0,
            None => u64::MAX,
        };
        let news = news.unwrap_or_default();
        let mut changed: BTreeSet<_> = news.iter().map(|news| news.mailbox.clone()).collect();
        let reported = scan.others.reported(news);
        if has_missed || is_due {
            self.look_at_all(scan, has_missed, &mut changed)?;
        }
        let mut is_stuck = false;
        for mailbox in self.readable_first(changed) {
            if is_stuck {
                // Listed by a later request: without a stamp it counts as changed.
                scan.stamps.remove(&mailbox);
                continue;
            }
            // What is new to a first look, or was missed, says nothing about who has done it.
            let reported = (!is_first && !has_missed).then_some(&reported);
            let before = self.clock.now();
            let is_read = self.renew(scan, &mailbox, reported);
            is_stuck = !is_read && self.is_long_since(before);
        }
        let end = self.clock.now();
        let listing = end.saturating_duration_since(begin);
        let rest = limits::REST.after(listing, n_news);
        scan.rests_until = end.checked_add(rest);
        scan.asked = Some(asked);
        Ok(())
    }

    /// What the store has reported since this was asked last; `None` if some of it was missed.
    fn news(&self, scan: &mut Scan) -> Option<Vec<News>> {
        let news = scan.watch.as_mut().map(all_news);
        let news = news.and_then(Result::ok);
        if news.is_none() {
            scan.watch = self.store.watch(None, self.store.cursor()).ok();
        }
        news
    }

    /// Waits until mailboxes may be listed again. Returns whether it has waited.
    fn rest(&self, scan: &Scan) -> bool {
        let mut has_waited = false;
        let now = || self.clock.now();
        while let Some(left) = scan
            .rests_until
            .and_then(|end| end.checked_duration_since(now()))
            && !left.is_zero()
        {
            self.clock.pause(left);
            has_waited = true;
        }
        has_waited
    }

    fn is_long_since(&self, before: Instant) -> bool {
        self.clock.now().saturating_duration_since(before) >= limits::STUCK_AFTER
    }

    /// Which mailboxes are there, and which `changed` by their stamps.
    fn look_at_all(
        &self,
        scan: &mut Scan,
        has_missed: bool,
        changed: &mut BTreeSet<MailboxName>,
    ) -> Result<(), Error> {
        scan.looked = Some(self.clock.now());
        scan.others.whole_look();
        let mut present = BTreeSet::new();
        let hidden = self.store.each_mailbox(&mut |mailbox| {
            present.insert(mailbox);
        })?;
        scan.is_partial = hidden.is_some();
        let was_told = std::mem::replace(&mut scan.are_domains_told, hidden.is_some());
        if let Some(error) = hidden {
            if !was_told {
                self.store.tell_hidden(None, Some(&error));
            }
        } else {
            let gone = scan.index.mailboxes().keys();
            let gone: Vec<_> = gone.filter(|it| !present.contains(*it)).cloned().collect();
            for mailbox in gone {
                scan.index.remove(&mailbox);
                scan.stamps.remove(&mailbox);
                scan.others.gone(&mailbox);
                self.told.lock().remove(&mailbox);
            }
        }
        for mailbox in self.readable_first(present) {
            let before = self.clock.now();
            let stamp = self.store.stamp(&mailbox);
            if let Err(error) = &stamp
                && self.is_long_since(before)
            {
                // The others would take as long: all stay as they are.
                scan.is_partial = true;
                self.tell_hidden(&mailbox, Some(error));
                break;
            }
            let known = scan.stamps.get(&mailbox);
            if has_missed || stamp.ok().as_ref().is_none_or(|it| Some(it) != known) {
                changed.insert(mailbox);
            }
        }
        Ok(())
    }

    /// Lists a mailbox again. If it is known what the store has `reported`, what others have done
    /// is noted. Returns whether it could be read.
    fn renew(&self, scan: &mut Scan, mailbox: &MailboxName, reported: Option<&Reported>) -> bool {
        // Taken before the listing: a change during it gives another stamp.
        let stamp = self.store.stamp(mailbox).ok();
        let known = scan.index.mailboxes().get(mailbox);
        let known = known.map(Vec::as_slice).unwrap_or_default();
        scan.stamps.remove(mailbox);
        let (messages, steps) = match self.seen(mailbox, known) {
            Ok(seen) => seen,
            // Its messages are most probably still there: other requests may have taken all the
            // memory for listings, or a program renames them at this moment.
            Err(error) => {
                scan.is_partial = true;
                self.tell_hidden(mailbox, Some(&error));
                return false;
            }
        };
        if let Some(reported) = reported {
            scan.others.shown(mailbox, steps, reported);
        }
        scan.stamps.extend(stamp.map(|it| (mailbox.clone(), it)));
        if scan.index.put(mailbox.clone(), messages) {
            self.told.lock().remove(mailbox);
        } else {
            scan.is_partial = true;
            self.tell_hidden(mailbox, None);
        }
        true
    }

    /// The messages of a mailbox, and which of them came or went since they were `known`; the time
    /// of arrival of those that stayed is not read again.
    fn seen(&self, mailbox: &MailboxName, known: &[Seen]) -> Result<(Vec<Seen>, Vec<Step>), Error> {
        let look = self.store.look(mailbox)?;
        let messages = look.messages();
        let mut gone: HashMap<EntryId, u64> = known.iter().map(|it| (it.id, it.arrived)).collect();
        let mut steps = Vec::new();
        let mut seen = Vec::with_capacity(messages.len());
        for index in 0..messages.len() {
            let (Some(id), Some(octets)) = (look.id(index), messages.octets(index)) else {
                continue;
            };
            let arrived = match gone.remove(&id) {
                Some(arrived) => arrived,
                None => match look.arrived_secs(index) {
                    Ok(arrived) => {
                        steps.push((id, Change::Arrived));
                        arrived
                    }
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
        steps.extend(gone.into_keys().map(|id| (id, Change::Removed)));
        Ok((seen, steps))
    }

    /// Reads several messages: each mailbox is looked at once.
    pub fn reading(&self) -> Reading<'_> {
        Reading {
            inbox: self,
            looks: Looks::default(),
        }
    }

    /// Opens a message, and finds its parts; `None` if no mailbox has it any more.
    ///
    /// # Errors
    /// [`Error::Io`] and others: it cannot be read now.
    pub fn open(&self, item: &Item) -> Result<Option<Opened>, Error> {
        self.reading().open(item)
    }

    /// The octets of a message; `None` if no mailbox has it any more.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn message(&self, item: &Item) -> Result<Option<Message>, Error> {
        self.reading().message(item)
    }

    /// What the list shows about a message; `None` if no mailbox has it any more.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn summary(&self, item: &Item) -> Result<Option<Arc<Summary>>, Error> {
        self.reading().summary(item)
    }

    /// The readable text and the HTML of a message.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn body(&self, opened: &Opened) -> Result<Bodies, Error> {
        match &opened.outline {
            Ok(outline) => Bodies::read(&opened.message, outline, limits::BODY_OCTETS_MAX),
            Err(TooComplex) => Ok(Bodies::default()),
        }
    }

    /// The octets of a part without its transfer encoding, as many as are shown.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn part(&self, opened: &Opened, part: &Part) -> Result<Vec<u8>, Error> {
        let (octets, _) = bodies::decoded(&opened.message, part, limits::BODY_OCTETS_MAX)?;
        Ok(octets)
    }

    /// The size of each of these parts of a message without its transfer encoding. What has one is
    /// read for that, once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn part_octets(&self, opened: &Opened, parts: &[&Part]) -> Result<Vec<u64>, Error> {
        let octets = parts
            .iter()
            .map(|part| bodies::decoded_octets(&opened.message, part));
        octets.collect()
    }

    /// Octets of a message as they are stored, at most `octets_max`; fewer if it is shorter.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn octets(
        &self,
        opened: &Opened,
        extent: Extent,
        octets_max: usize,
    ) -> Result<Vec<u8>, Error> {
        let octets = usize::try_from(extent.octets).unwrap_or(usize::MAX);
        let mut octets = vec![0; octets.min(octets_max)];
        let length = opened.message.read_at(extent.offset, &mut octets)?;
        octets.truncate(length);
        Ok(octets)
    }

    /// How many of these messages a reader has not read: the owner of a mailbox, or else somebody
    /// who sees all mail.
    pub fn n_unread(&self, reader: Option<&MailboxName>, items: &[Item]) -> usize {
        let marks = self.marks.lock();
        let unread = items
            .iter()
            .filter(|item| !marks.is_read(reader, item.seen.id));
        unread.count()
    }

    /// Whether this reader has read the message.
    pub fn is_read(&self, reader: Option<&MailboxName>, id: EntryId) -> bool {
        self.marks.lock().is_read(reader, id)
    }

    /// Marks the message as read, or as not read.
    pub fn mark(&self, reader: Option<&MailboxName>, id: EntryId, is_read: bool) {
        self.marks.lock().set(reader, id, is_read);
    }
}

impl Reading<'_> {
    /// As [`Inbox::open`].
    ///
    /// # Errors
    /// As [`Inbox::open`].
    pub fn open(&self, item: &Item) -> Result<Option<Opened>, Error> {
        let Some(message) = self.message(item)? else {
            return Ok(None);
        };
        let outline = outline(&message)?;
        Ok(Some(Opened { message, outline }))
    }

    fn message(&self, item: &Item) -> Result<Option<Message>, Error> {
        let mut failed = None;
        for mailbox in item.mailboxes.iter() {
            let message = self.looks.message(&self.inbox.store, mailbox, item.seen.id);
            match message {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) | Err(Error::MessageGone { .. }) => {}
                Err(error) => {
                    self.inbox.tell_hidden(mailbox, Some(&error));
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// As [`Inbox::summary`].
    ///
    /// # Errors
    /// As [`Inbox::open`].
    pub fn summary(&self, item: &Item) -> Result<Option<Arc<Summary>>, Error> {
        let id = item.seen.id;
        let kept = self.inbox.summaries.lock().get(id);
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
        self.inbox.summaries.lock().put(id, Arc::clone(&summary));
        Ok(Some(summary))
    }

    /// Whether a search finds the message, of which the summary is known or made, and the text is
    /// read if a word needs it; `None` if no mailbox has it any more. `hidden` is asked for words
    /// that look into Bcc.
    ///
    /// # Errors
    /// As [`Inbox::open`].
    pub fn matches(
        &self,
        (item, reader): (&Item, Option<&MailboxName>),
        words: &Words,
        hidden: Hidden<'_>,
    ) -> Result<Option<bool>, Error> {
        let Some(summary) = self.summary(item)? else {
            return Ok(None);
        };
        let candidate = Candidate {
            item,
            summary,
            is_read: self.inbox.is_read(reader, item.seen.id),
            hidden,
            read: &|| self.searched(item),
        };
        candidate.compare(words)
    }

    /// The beginning of the readable text; `None` if no mailbox has the message any more.
    fn searched(&self, item: &Item) -> Result<Option<String>, Error> {
        let Some(opened) = self.open(item)? else {
            return Ok(None);
        };
        let Ok(outline) = &opened.outline else {
            return Ok(Some(String::new()));
        };
        let bodies = Bodies::read(&opened.message, outline, limits::SEARCHED_OCTETS_MAX)?;
        Ok(Some(bodies.readable()))
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
