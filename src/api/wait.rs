//! Waiting for a message: a call whose answer comes later.
//!
//! # Theory of operation
//! A [`Wait`] is made of what is wanted and of a [`Watch`] of the store. The driver takes its
//! [turns](Wait::turn) until one has an answer, and looks at its client in between. In each turn
//! the thread sleeps until the store reports something, or for the time that the driver allows.
//!
//! The watch begins before the mailboxes are first looked at. So a message that arrives at any
//! moment is in what is looked at, or reported by the watch, or both; what was looked at is not
//! looked at again, so that each message counts once.
//!
//! Messages of other programs are not reported. While somebody waits for one mailbox, the times of
//! its directories are looked at every second; for all mailboxes, the inbox does that.
//!
//! *Which messages count.* Those that arrived since a time; or, if a cursor is given, those that
//! were reported behind it. Messages of other programs have no place in that order, so the cursor
//! of the API also has its time in seconds, and they count by that.
//!
//! Another node that has delivered a message may end before it tells of it. So its messages count
//! by their time too, if they were not reported before the cursor; but only when the node has had
//! [`FOREIGN_SLACK_SECONDS`] to tell. By then they are too old for a cursor that is given out, and
//! count once.
//!
//! # Failures
//! A cursor of an earlier run of the daemon, or one that is too old, is refused with 410. A client
//! that makes its wait look at more than [`WAIT_MESSAGES_MAX`] messages is asked to say more.
//!
//! # Known limits
//! A message of which another node did not tell is missed if it got its time more than
//! [`FOREIGN_SLACK_SECONDS`] before the cursor and came to its mailbox later: it was large or had
//! to wait for a standby, or the clocks of the nodes differ. What other nodes delivered just before
//! the first cursor of this one may count.

use std::{
    collections::HashSet,
    fmt,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    http::{Refusal, Response, Status},
    inbox::{
        Item, List, Seen,
        words::{self, Present, Words},
    },
    mail::{EntryId, MailboxName},
    store::{Change, Cursor, Missed, Stamp, Watch},
};

use super::{
    addressee::Addressee,
    asker::Asker,
    base::Api,
    call::Call,
    failure::{Failure, wrong},
    limits::{
        FOREIGN_SLACK_SECONDS, LOOK_PAUSE, WAIT_COUNT_MAX, WAIT_MESSAGES_MAX, WAIT_OCTETS_MAX,
        WAIT_SINCE_DEFAULT, WAIT_TIMEOUT_DEFAULT, WAIT_TIMEOUT_MAX,
    },
    reply,
    search::Search,
    whole::{Whole, whole},
};

/// What a turn has come to.
#[derive(Debug)]
pub enum Turn {
    /// Take another turn.
    Again,
    /// The wait is over.
    Done(Result<Response, Failure>),
}

/// See the module.
#[derive(Debug)]
pub struct Wait {
    asker: Asker,
    wanted: Wanted,
    since: Since,
    until: Instant,
    watch: Watch,
    /// The messages that were reported and not looked at yet.
    reported: HashSet<EntryId>,
    /// The messages that were looked at.
    checked: HashSet<EntryId>,
    /// Those among them that are wanted, the newest first.
    found: Vec<Item>,
    /// What the mailbox looked like; `None` before the first look, or if that is not known.
    stamp: Option<Stamp>,
    /// When it was last looked at.
    looked: Option<Instant>,
    /// The same in seconds since 1970.
    began: u64,
}

/// Which messages are wanted.
#[derive(Debug)]
struct Wanted {
    to: Option<Addressee>,
    /// In lower case.
    subject: Option<String>,
    words: Option<Words>,
    /// How many at least; without it, the answer is the newest one itself.
    count: Option<usize>,
}

/// From when on messages count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// In seconds since 1970.
    Time(u64),
    /// A place, and the time when it was taken.
    Place(Cursor, u64),
}

/// The answer of a wait for several messages.
#[derive(Serialize)]
struct Several {
    /// The place behind everything that was looked at.
    cursor: String,
    /// The oldest first.
    messages: Vec<Whole>,
}

impl Since {
    /// The present. What happens later is behind it.
    pub(super) fn now(api: &Api) -> Self {
        // The time comes first: a message of another program may count twice, but not never.
        let seconds = api.clock.unix_time().as_secs();
        Self::Place(api.store.cursor(), seconds)
    }

    /// The place behind everything in a list.
    pub(super) fn behind(list: &List) -> Self {
        Self::Place(list.cursor, list.began)
    }

    /// Parses a cursor of the API, an age such as `10m`, or a time.
    fn parse(api: &Api, text: &str, now: u64) -> Option<Self> {
        if let Some((cursor, seconds)) = place_and_time(text) {
            return Some(Self::Place(cursor, seconds));
        }
        if text.bytes().all(|octet| octet.is_ascii_digit()) {
            return text.parse().ok().map(Self::Time);
        }
        let present = Present {
            unix_seconds: i64::try_from(now).ok()?,
            zone: api.clock.zone(),
        };
        let seconds = words::moment(text, &present)?;
        Some(Self::Time(u64::try_from(seconds).unwrap_or(0)))
    }

    /// The cursor in the text of a place.
    pub(super) fn parse_place(text: &str) -> Option<Cursor> {
        place_and_time(text).map(|(cursor, _)| cursor)
    }

    /// The earliest arrival that counts.
    fn seconds(self) -> u64 {
        match self {
            Self::Time(seconds) => seconds,
            Self::Place(_, seconds) => seconds.saturating_sub(FOREIGN_SLACK_SECONDS),
        }
    }
}

/// A cursor of the store, and a time.
fn place_and_time(text: &str) -> Option<(Cursor, u64)> {
    let (cursor, seconds) = text.rsplit_once('-')?;
    Some((Cursor::parse(cursor)?, seconds.parse().ok()?))
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(seconds) => write!(f, "{seconds}"),
            Self::Place(cursor, seconds) => write!(f, "{cursor}-{seconds}"),
        }
    }
}

impl Wait {
    /// Begins the wait that a request asks for.
    ///
    /// # Errors
    /// A parameter cannot be understood (400), nobody receives mail there (404), or the cursor is
    /// too old (410).
    pub(super) fn begin(call: &Call<'_>) -> Result<Self, Failure> {
        call.only(&["to", "subject", "match", "count", "since", "timeout"])?;
        let api = call.api;
        let now = api.clock.unix_time().as_secs();
        let since = match call.query("since") {
            None => Since::Time(now.saturating_sub(WAIT_SINCE_DEFAULT.as_secs())),
            Some(text) => Since::parse(api, text, now).ok_or_else(|| {
                wrong(
                    "since is neither a cursor of /api/cursor, nor an age such as 10m, nor a time \
                     in seconds since 1970",
                )
            })?,
        };
        let wanted = Wanted::of(call)?;
        let timeout = timeout(call)?;
        let of = match (&wanted.to, call.asker) {
            (_, Asker::Owner(own)) => Some(own),
            (Some(recipient), Asker::Everybody) => recipient.mailbox(),
            (None, Asker::Everybody) => None,
        };
        let place = match since {
            Since::Time(_) => api.store.cursor(),
            Since::Place(cursor, _) => cursor,
        };
        let watch = api.store.watch(of, place).map_err(missed)?;
        let begin = api.clock.now();
        Ok(Self {
            asker: call.asker.clone(),
            wanted,
            since,
            until: begin.checked_add(timeout).unwrap_or(begin),
            watch,
            reported: HashSet::new(),
            checked: HashSet::new(),
            found: Vec::new(),
            stamp: None,
            looked: None,
            began: now,
        })
    }

    /// Waits for at most `patience`, or until something has happened, and looks at it.
    pub fn turn(&mut self, api: &Api, patience: Duration) -> Turn {
        match self.try_turn(api, patience) {
            Ok(None) => Turn::Again,
            Ok(Some(answer)) => Turn::Done(Ok(answer)),
            Err(failure) => Turn::Done(Err(failure)),
        }
    }

    fn try_turn(&mut self, api: &Api, patience: Duration) -> Result<Option<Response>, Failure> {
        let left = self.until.saturating_duration_since(api.clock.now());
        let patience = match self.looked {
            None => Duration::ZERO,
            Some(_) => patience.min(left),
        };
        let has_news = self.hear(api, patience)?;
        let now = api.clock.now();
        let is_due = self
            .looked
            .is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_PAUSE);
        if has_news || is_due {
            self.looked = Some(now);
            self.began = api.clock.unix_time().as_secs();
            self.look(api, has_news)?;
            if let Some(answer) = self.answer(api)? {
                return Ok(Some(answer));
            }
        }
        let is_over = self.until <= now;
        Ok(is_over.then(|| Response::new(Status::NoContent)))
    }

    /// Takes over what the store reports; returns whether anything has arrived.
    fn hear(&mut self, api: &Api, patience: Duration) -> Result<bool, Failure> {
        let news = match self.watch.news(patience) {
            Ok(news) => news,
            Err(Missed) if matches!(self.since, Since::Time(_)) => {
                // What was missed is found by its time.
                let of = self.mailbox().cloned();
                let watch = api.store.watch(of.as_ref(), api.store.cursor());
                self.watch = watch.map_err(missed)?;
                return Ok(true);
            }
            Err(missed_some) => return Err(missed(missed_some)),
        };
        // What is removed may still be in another mailbox; the answer shows whether it is.
        let arrived = news.iter().filter(|news| news.change == Change::Arrived);
        let new = arrived.filter(|news| !self.checked.contains(&news.id));
        self.reported.extend(new.map(|news| news.id));
        Ok(!self.reported.is_empty())
    }

    /// The mailbox that is looked at; `None` for all.
    fn mailbox(&self) -> Option<&MailboxName> {
        match (&self.asker, &self.wanted.to) {
            (Asker::Owner(own), _) => Some(own),
            (Asker::Everybody, Some(recipient)) => recipient.mailbox(),
            (Asker::Everybody, None) => None,
        }
    }

    /// Looks at the messages that are new, the newest first.
    fn look(&mut self, api: &Api, has_news: bool) -> Result<(), Failure> {
        let items = match self.mailbox().cloned() {
            None => self.new_of_all(api)?,
            Some(mailbox) => {
                // Taken before the look: a change during it gives another one.
                let stamp = api.store.stamp(&mailbox)?;
                if !has_news && self.stamp == Some(stamp) {
                    return Ok(());
                }
                self.stamp = Some(stamp);
                self.new_of(api, &mailbox)?
            }
        };
        let items = self.without_doubtful(api, items);
        // What was reported and is not there has been removed again.
        self.reported.clear();
        let mut found = Vec::new();
        let mut items = items.into_iter();
        for item in items.by_ref() {
            if self.checked.len() >= WAIT_MESSAGES_MAX {
                return Err(too_many().into());
            }
            self.checked.insert(item.seen.id);
            if self.wanted.is(api, &self.asker, &item)? {
                found.push(item);
                if self.wanted.count.is_none() {
                    break;
                }
            }
        }
        // Should the one that was found be removed now, the others are still new.
        self.reported.extend(items.map(|item| item.seen.id));
        found.append(&mut self.found);
        self.found = found;
        Ok(())
    }

    /// Leaves out messages of other nodes: those that were reported before the cursor, and those
    /// of which the nodes may still tell.
    fn without_doubtful(&mut self, api: &Api, mut items: Vec<Item>) -> Vec<Item> {
        let Since::Place(place, _) = self.since else {
            return items;
        };
        let is_untold = |wait: &Self, seen: &Seen| {
            seen.id.is_own() && !api.store.reports(seen.id) && !wait.reported.contains(&seen.id)
        };
        let end = self.began.saturating_sub(FOREIGN_SLACK_SECONDS);
        let n_items = items.len();
        items.retain(|item| item.seen.arrived < end || !is_untold(self, &item.seen));
        if items.len() < n_items {
            // They are looked at again although nothing changes.
            self.stamp = None;
        }
        let untold = items.iter().filter(|item| is_untold(self, &item.seen));
        let untold: HashSet<EntryId> = untold.map(|item| item.seen.id).collect();
        if !untold.is_empty() {
            self.checked
                .extend(self.watch.arrived_before(place, &untold));
            items.retain(|item| !self.checked.contains(&item.seen.id));
        }
        items
    }

    /// Whether a message of this age and name may count, and was not looked at.
    fn is_new(&self, api: &Api, seen: &Seen) -> bool {
        let by_time = match self.since {
            Since::Time(_) => true,
            Since::Place(..) => !api.store.reports(seen.id),
        };
        let by_time = by_time && self.since.seconds() <= seen.arrived;
        (by_time || self.reported.contains(&seen.id)) && !self.checked.contains(&seen.id)
    }

    fn new_of_all(&self, api: &Api) -> Result<Vec<Item>, Failure> {
        let list = api.inbox.list()?;
        let mut missing = self.reported.len();
        let mut new = Vec::new();
        for item in list.items.iter() {
            missing = missing.saturating_sub(usize::from(self.reported.contains(&item.seen.id)));
            if self.is_new(api, &item.seen) {
                new.push(item.clone());
            }
            if missing == 0 && item.seen.arrived < self.since.seconds() {
                break;
            }
        }
        Ok(new)
    }

    fn new_of(&self, api: &Api, mailbox: &MailboxName) -> Result<Vec<Item>, Failure> {
        let look = api.store.look(mailbox)?;
        let messages = look.messages();
        let mailboxes: std::sync::Arc<[MailboxName]> = std::sync::Arc::new([mailbox.clone()]);
        let mut missing = self.reported.len();
        let mut new = Vec::new();
        for index in (0..messages.len()).rev() {
            let (Some(id), Some(octets)) = (look.id(index), messages.octets(index)) else {
                continue;
            };
            let Ok(arrived) = look.arrived_secs(index) else {
                continue;
            };
            let seen = Seen {
                id,
                arrived,
                octets,
            };
            missing = missing.saturating_sub(usize::from(self.reported.contains(&id)));
            if self.is_new(api, &seen) {
                let mailboxes = std::sync::Arc::clone(&mailboxes);
                new.push(Item { seen, mailboxes });
            }
            if missing == 0 && arrived < self.since.seconds() {
                break;
            }
        }
        Ok(new)
    }

    /// The answer, if enough was found.
    fn answer(&mut self, api: &Api) -> Result<Option<Response>, Failure> {
        if self.found.len() < self.wanted.count.unwrap_or(1) {
            return Ok(None);
        }
        let _making = api.makers.begin();
        let Some(count) = self.wanted.count else {
            while let Some(item) = self.found.first() {
                if let Some(whole) = whole(api, &self.asker, item)? {
                    return Ok(Some(reply::json(&whole)));
                }
                self.found.remove(0);
            }
            return Ok(None);
        };
        let mut messages = Vec::new();
        let mut gone = HashSet::new();
        let mut room = WAIT_OCTETS_MAX;
        for item in self.found.iter().take(WAIT_COUNT_MAX).rev() {
            let Some(whole) = whole(api, &self.asker, item)? else {
                gone.insert(item.seen.id);
                continue;
            };
            room = room.checked_sub(whole.octets()).ok_or_else(too_large)?;
            messages.push(whole);
        }
        self.found.retain(|item| !gone.contains(&item.seen.id));
        // Behind what was reported, which was looked at.
        let cursor = Since::Place(self.watch.cursor(), self.began).to_string();
        Ok((messages.len() >= count).then(|| reply::json(&Several { cursor, messages })))
    }
}

impl Wanted {
    fn of(call: &Call<'_>) -> Result<Self, Failure> {
        let to = call.query("to");
        if call.request.target.query().first("to") == Some("") {
            return Err(wrong("to is empty; give an address, or leave it out").into());
        }
        let to = to.map(|to| Addressee::parse(call, to)).transpose()?;
        let words = call.query("match").map(|text| call.words(text));
        let count = call.number("count")?;
        if count.is_some_and(|count| !(1..=WAIT_COUNT_MAX).contains(&count)) {
            let text = format!("count is not a number from 1 to {WAIT_COUNT_MAX}");
            return Err(wrong(text).into());
        }
        Ok(Self {
            to,
            subject: call.query("subject").map(str::to_lowercase),
            words: words.transpose()?,
            count,
        })
    }

    /// Whether a message is one of those that are wanted.
    fn is(&self, api: &Api, asker: &Asker, item: &Item) -> Result<bool, Failure> {
        if let Some(recipient) = &self.to
            && !recipient.is_of(api, item)?
        {
            return Ok(false);
        }
        if let Some(subject) = &self.subject {
            let summary = api.inbox.summary(item)?;
            let has_it = |subject: &str, text: &str| subject.to_lowercase().contains(text);
            if !summary.is_some_and(|summary| has_it(&summary.subject, subject)) {
                return Ok(false);
            }
        }
        match &self.words {
            Some(words) => Ok(Search::of(api, asker).finds(item, words)?),
            None => Ok(true),
        }
    }
}

/// How long a request wants to wait.
fn timeout(call: &Call<'_>) -> Result<Duration, Refusal> {
    let Some(text) = call.query("timeout") else {
        return Ok(WAIT_TIMEOUT_DEFAULT);
    };
    let seconds = if let Some(milliseconds) = text.strip_suffix("ms") {
        milliseconds.parse().ok().map(Duration::from_millis)
    } else {
        let seconds = text.strip_suffix('s').unwrap_or(text);
        seconds.parse().ok().map(Duration::from_secs)
    };
    let is_allowed = |timeout: &Duration| *timeout <= WAIT_TIMEOUT_MAX;
    seconds.filter(is_allowed).ok_or_else(|| {
        let longest = WAIT_TIMEOUT_MAX.as_secs();
        wrong(format!(
            "timeout is not a time such as 10s or 500ms, or is longer than {longest}s; ask again \
             for a longer wait"
        ))
    })
}

/// 410: changes are not known any more.
pub(super) fn missed(missed: Missed) -> Failure {
    Refusal::new(Status::Gone, missed.to_string()).into()
}

fn too_large() -> Refusal {
    Refusal::new(
        Status::Conflict,
        "The messages are too large for one answer; wait for fewer, and get each by its ID",
    )
}

fn too_many() -> Refusal {
    Refusal::new(
        Status::Conflict,
        format!(
            "There are more than {WAIT_MESSAGES_MAX} messages to be looked at; say whom they are \
             for with to, or begin later with since"
        ),
    )
}
