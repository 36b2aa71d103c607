//! The messages of a mailbox for somebody who only looks, and the state of a mailbox.
//!
//! # Known limits
//! A look changes nothing, so no standby has to confirm it: what is needed is only that the
//! standbys have everything that it may have seen. A primary that was replaced, and is cut off
//! with this node, therefore shows its mailboxes until its log has grown: to the next renewal of a
//! lease, [`RENEW_INTERVAL`](super::limits::RENEW_INTERVAL) at most. After that a look fails. (A
//! record in the log for each look would close that gap, for a sync of two disks: a look at 100
//! messages then takes twice as long.)
//!
//! Stamps and single messages are not proved at all. So whoever lists a mailbox again only when its
//! stamp has changed, as the inbox does, shows there what it has listed before.

use std::sync::Arc;

use crate::{
    mail::{EntryId, MailboxName, Summaries},
    store::{Error, label::Label, quota::Taken},
};

use super::{
    connection::{Ask, Value},
    lanes::{Purpose, after},
    limits::LOOK_TIMEOUT,
    listing::Listing,
    maildrop::checked,
    message::Message,
    open::{OpenStore, check_name},
    proof::{certain, unexpected},
    statements::{LIST, STAMP},
};

/// What was being done when a mailbox could not be listed.
const LIST_MESSAGES: &str = "list the messages of a mailbox in";

/// The messages of one mailbox as they were at one moment.
#[derive(Debug)]
pub(in crate::store) struct Look {
    store: Arc<OpenStore>,
    mailbox: MailboxName,
    listing: Arc<Listing>,
}

impl Look {
    pub(super) fn of(store: &Arc<OpenStore>, mailbox: &MailboxName) -> Result<Self, Error> {
        check_name(mailbox)?;
        let deadline = after(&store.clock, LOOK_TIMEOUT);
        let (of_task, name) = (Arc::clone(store), mailbox.clone());
        let listed = store
            .lanes
            .run(Purpose::Write, deadline, move |connection| {
                let mut listing = Listing::new(Taken::nothing(&of_task.looked));
                let ask = Ask {
                    statement: &LIST,
                    values: &[Value::Text(name.domain()), Value::Text(name.local_part())],
                };
                // No row is kept: it is a reading.
                let terms = of_task.terms(deadline, (0, 0));
                certain(connection, &[ask], terms, &mut |_, row| {
                    listing.add(row);
                    false
                })?;
                Ok(listing)
            });
        let listing = listed.map_err(|failure| store.failed(LIST_MESSAGES, failure))?;
        Ok(Self {
            store: Arc::clone(store),
            mailbox: mailbox.clone(),
            listing: Arc::new(checked(store, mailbox, listing)?),
        })
    }

    pub(in crate::store) fn messages(&self) -> Arc<dyn Summaries> {
        self.listing.clone()
    }

    pub(in crate::store) fn id(&self, index: usize) -> Option<EntryId> {
        Some(self.listing.get(index)?.id())
    }

    fn gone(&self) -> Error {
        Error::MessageGone {
            path: self.store.path_of(&self.mailbox),
        }
    }

    pub(in crate::store) fn arrived_secs(&self, index: usize) -> Result<u64, Error> {
        let entry = self.listing.get(index);
        entry
            .map(super::listing::Entry::secs)
            .ok_or_else(|| self.gone())
    }

    /// What the file of a message was called, or what `own` says of the name of a delivery.
    pub(in crate::store) fn label(
        &self,
        index: usize,
        own: impl FnOnce(&str) -> Option<Label>,
    ) -> Option<Label> {
        let entry = self.listing.get(index)?;
        entry.label().or_else(|| own(&entry.name()))
    }

    pub(in crate::store) fn open_message(&self, index: usize) -> Result<Message, Error> {
        let entry = self.listing.get(index).ok_or_else(|| self.gone())?;
        Message::open(&self.store, &self.mailbox, &entry.name())
    }
}

/// The state of a mailbox at one moment: its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Stamp {
    n_messages: u64,
    /// A sum over the names.
    names: i64,
}

impl Stamp {
    pub(super) fn of(store: &Arc<OpenStore>, mailbox: &MailboxName) -> Result<Self, Error> {
        check_name(mailbox)?;
        let deadline = after(&store.clock, LOOK_TIMEOUT);
        let name = mailbox.clone();
        let read = store.lanes.run(Purpose::Read, deadline, move |connection| {
            let values = [Value::Text(name.domain()), Value::Text(name.local_part())];
            let answer = connection.ask(&STAMP, &values, deadline)?;
            let row = answer.row(0).ok_or_else(unexpected)?;
            let stamp = row.count(0).zip(row.int(1));
            let (n_messages, names) = stamp.ok_or_else(unexpected)?;
            Ok(Self { n_messages, names })
        });
        read.map_err(|failure| store.failed(LIST_MESSAGES, failure))
    }
}
