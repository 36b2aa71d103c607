//! Events as they happen: what a page needs to stay live without asking again and again.
//!
//! # Theory of operation
//! An [`Events`] has a [`Watch`] of the store. The driver takes its [turns](Events::turn) for as
//! long as the client stays. Each change becomes one event, `arrived` or `removed`, whose id is the
//! cursor behind it: a client that connects again says which event it had last, and misses nothing.
//!
//! What cannot be told in single events is `reset`: the client should list the messages again. That
//! is so behind a gap, and when another program has changed a mailbox, which is looked at every
//! second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    http::event_stream,
    inbox::Item,
    mail::MailboxName,
    store::{Change, Error, News, Stamp, Watch},
};

use super::{
    asker::Asker,
    base::Api,
    call::Call,
    failure::Failure,
    limits::{HEARTBEAT, LOOK_PAUSE, REPORT_TIME},
    wait::{Since, missed},
};

/// See the module.
#[derive(Debug)]
pub struct Events {
    asker: Asker,
    watch: Watch,
    /// What was last seen of the mailboxes.
    sight: Option<Sight>,
    looked: Option<Instant>,
    /// When something was last reported.
    heard: Option<Instant>,
    sent: Option<Instant>,
    /// Whether the client has to list the messages again.
    is_reset: bool,
}

/// Something that differs when other programs have changed what the asker sees.
#[derive(Debug)]
enum Sight {
    All(Arc<[Item]>),
    One(Stamp),
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
        let has_gap = fields.all("last-event-id").next().is_some() && watch.is_none();
        let watch = match watch {
            Some(watch) => watch,
            None => begin(api, of)?,
        };
        Ok(Self {
            asker: call.asker.clone(),
            watch,
            sight: None,
            looked: None,
            heard: None,
            sent: None,
            is_reset: has_gap,
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
        let patience = if self.sight.is_none() || self.is_reset {
            Duration::ZERO
        } else {
            patience
        };
        let has_news = if let Ok(news) = self.watch.news(patience) {
            for news in &news {
                tell(api, news, out);
            }
            !news.is_empty()
        } else {
            self.watch = begin(api, of(&self.asker))?;
            self.is_reset = true;
            true
        };
        let now = api.clock.now();
        let is_due = |last: Option<Instant>, pause| {
            last.is_none_or(|last| now.saturating_duration_since(last) >= pause)
        };
        if has_news {
            self.heard = Some(now);
        }
        if has_news || is_due(self.looked, LOOK_PAUSE) {
            self.looked = Some(now);
            // What is seen shortly after a report may be what was reported.
            let is_ours = !is_due(self.heard, REPORT_TIME);
            self.look(api, is_ours)?;
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

    /// Looks at what other programs have done, unless what has changed is ours.
    fn look(&mut self, api: &Api, is_ours: bool) -> Result<(), Error> {
        let sight = match of(&self.asker) {
            None => Sight::All(api.inbox.list()?.items),
            Some(own) => Sight::One(api.store.stamp(own)?),
        };
        let is_same = match (&self.sight, &sight) {
            (Some(Sight::All(before)), Sight::All(now)) => Arc::ptr_eq(before, now),
            (Some(Sight::One(before)), Sight::One(now)) => before == now,
            // The first look.
            _ => true,
        };
        self.is_reset |= !is_same && !is_ours;
        self.sight = Some(sight);
        Ok(())
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
