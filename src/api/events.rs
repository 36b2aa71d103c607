//! Events as they happen: what a page needs to stay live without asking again and again.
//!
//! # Theory of operation
//! An [`Events`] has a [`Watch`] of the store. The driver takes its [turns](Events::turn) for as
//! long as the client stays. Each change becomes one event, `arrived` or `removed`, whose id is the
//! cursor behind it: a client that connects again says which event it had last, and is told what it
//! has missed.
//!
//! What cannot be told in single events is `reset`: the client should list the messages again. That
//! is so when a client connects again, behind a gap, when another program has changed a mailbox,
//! which is looked at every second, and when there are more changes than anybody follows
//! ([`EVENTS_PER_SECOND`]). After such a `reset` the stream rests for [`EVENTS_REST`], so that the
//! deliveries do not wait for those who watch them.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    http::event_stream,
    mail::MailboxName,
    store::{Change, Error, Missed, News, Watch},
};

use super::{
    asker::Asker,
    base::Api,
    call::Call,
    failure::Failure,
    limits::{EVENTS_BURST, EVENTS_PER_SECOND, EVENTS_REST, HEARTBEAT, LOOK_PAUSE},
    wait::{Since, missed},
};

/// See the module.
#[derive(Debug)]
pub struct Events {
    asker: Asker,
    watch: Watch,
    /// How often others had changed the mailboxes at the last look.
    changes_by_others: u64,
    looked: Option<Instant>,
    sent: Option<Instant>,
    credit: Credit,
    /// Whether the client has to list the messages again.
    is_reset: bool,
}

/// How many changes may be reported one by one.
#[derive(Debug)]
struct Credit {
    changes: usize,
    /// Until when it has grown.
    since: Instant,
    /// Until when the stream rests.
    rest: Option<Instant>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Mailbox")]
    mailbox: &'a str,
}

/// The mailbox that the asker may watch; `None` is all.
fn of(asker: &Asker) -> Option<&MailboxName> {
    match asker {
        Asker::Everybody => None,
        Asker::Owner(own) => Some(own),
    }
}

/// A watch from now on.
fn begin(api: &Api, of: Option<&MailboxName>) -> Result<Watch, Failure> {
    let watch = api.store.watch(of, api.store.cursor());
    watch.map_err(missed)
}

impl Events {
    /// Begins the events that a request asks for.
    ///
    /// # Errors
    /// [`Failure`]: changes cannot be watched now.
    pub(super) fn begin(call: &Call<'_>) -> Result<Self, Failure> {
        let api = call.api;
        let fields = &call.request.fields;
        let last = fields.single("last-event-id").ok().flatten();
        let last = last.and_then(|text| Since::parse_place(str::from_utf8(text).ok()?));
        let of = of(call.asker);
        let watch = last.and_then(|cursor| api.store.watch(of, cursor).ok());
        let watch = match watch {
            Some(watch) => watch,
            None => begin(api, of)?,
        };
        Ok(Self {
            asker: call.asker.clone(),
            watch,
            changes_by_others: api.inbox.changes_by_others(of)?,
            looked: None,
            sent: None,
            credit: Credit {
                changes: EVENTS_BURST,
                since: api.clock.now(),
                rest: None,
            },
            // Nobody knows what others have done in between.
            is_reset: fields.all("last-event-id").next().is_some(),
        })
    }

    /// Waits for at most `patience` until something has happened, and appends it to `out`.
    ///
    /// # Errors
    /// [`Failure`]: the stream has to end.
    pub fn turn(
        &mut self,
        api: &Api,
        patience: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let patience = if self.is_reset {
            Duration::ZERO
        } else {
            patience
        };
        let rest = self.credit.rest(api.clock.now());
        if rest.is_zero() {
            self.report(api, patience, out)?;
        } else {
            thread::park_timeout(rest.min(patience));
        }
        let now = api.clock.now();
        let is_due = |last: Option<Instant>, pause| {
            last.is_none_or(|last| now.saturating_duration_since(last) >= pause)
        };
        if is_due(self.looked, LOOK_PAUSE) {
            self.looked = Some(now);
            self.look(api)?;
        }
        if std::mem::take(&mut self.is_reset) {
            event_stream::render(&Since::now(api).to_string(), "reset", "", out);
        }
        if out.is_empty() && is_due(self.sent, HEARTBEAT) {
            out.extend_from_slice(event_stream::HEARTBEAT);
        }
        if !out.is_empty() {
            self.sent = Some(now);
        }
        Ok(())
    }

    /// Appends what the store reports; or notes that the client has to list the messages again, if
    /// that is too much, or if some of it was missed.
    fn report(&mut self, api: &Api, patience: Duration, out: &mut Vec<u8>) -> Result<(), Failure> {
        let news = self.watch.news(patience);
        let now = api.clock.now();
        match news {
            Ok(news) if self.credit.is_enough_for(news.len(), now) => {
                for news in &news {
                    tell(api, news, out);
                }
            }
            Ok(_) | Err(Missed) => {
                self.watch = begin(api, of(&self.asker))?;
                self.is_reset = true;
            }
        }
        Ok(())
    }

    /// Looks at what other programs have done.
    fn look(&mut self, api: &Api) -> Result<(), Error> {
        let changes = api.inbox.changes_by_others(of(&self.asker))?;
        self.is_reset |= changes != self.changes_by_others;
        self.changes_by_others = changes;
        Ok(())
    }
}

impl Credit {
    /// How long the stream rests from `now` on.
    fn rest(&self, now: Instant) -> Duration {
        self.rest
            .map_or(Duration::ZERO, |rest| rest.saturating_duration_since(now))
    }

    /// Takes so many changes from it, or begins a rest if it is not enough.
    fn is_enough_for(&mut self, changes: usize, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            let seconds = usize::try_from(seconds).unwrap_or(usize::MAX);
            let more = EVENTS_PER_SECOND.saturating_mul(seconds);
            self.changes = self.changes.saturating_add(more).min(EVENTS_BURST);
            self.since = now;
        }
        let left = self.changes.checked_sub(changes);
        self.rest = now.checked_add(EVENTS_REST).filter(|_| left.is_none());
        self.changes = left.unwrap_or(0);
        left.is_some()
    }
}

/// Appends the event of one change.
fn tell(api: &Api, news: &News, out: &mut Vec<u8>) {
    let event = match news.change {
        Change::Arrived => "arrived",
        Change::Removed => "removed",
    };
    let mailbox = news.mailbox.to_string();
    let data = Data {
        id: news.id.to_string(),
        mailbox: &mailbox,
    };
    let data = serde_json::to_string(&data).unwrap_or_default();
    let place = Since::Place(news.cursor, api.clock.unix_time().as_secs());
    event_stream::render(&place.to_string(), event, &data, out);
}
