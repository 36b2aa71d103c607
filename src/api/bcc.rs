//! To whom a message went without saying so: Bcc.
//!
//! A mailbox that has a message is named by an address of To or Cc, as it is or through a
//! sub-address, an alias or a catch-all; otherwise the message was sent to it in secret. Where an
//! address leads is asked only if no address is the mailbox itself, and once in a call.

use std::{cell::RefCell, collections::HashMap};

use crate::{
    inbox::Item,
    mail::MailboxName,
    mime::{Person, Summary},
};

use super::{base::Api, limits::RESOLVED_MAX};

/// Where the addresses of the messages of one call lead.
#[derive(Debug)]
pub(super) struct Bcc<'a> {
    api: &'a Api,
    resolved: RefCell<HashMap<String, Option<MailboxName>>>,
}

impl<'a> Bcc<'a> {
    pub(super) fn of(api: &'a Api) -> Self {
        Self {
            api,
            resolved: RefCell::default(),
        }
    }

    /// The mailboxes of `item` to which no address of the message leads. The item is one that the
    /// asker sees, so others are not named.
    pub(super) fn hidden(&self, item: &Item, summary: &Summary) -> Vec<MailboxName> {
        let people = || summary.to.iter().chain(&summary.cc).chain(&summary.bcc);
        let mailboxes = item.mailboxes.iter();
        let hidden = mailboxes.filter(|mailbox| {
            let name = mailbox.to_string();
            let is_it = |one: &Person| one.address.eq_ignore_ascii_case(&name);
            !people().any(is_it) && !people().any(|one| self.leads_to(&one.address, mailbox))
        });
        hidden.cloned().collect()
    }

    /// Whether mail to this address comes into the mailbox.
    fn leads_to(&self, address: &str, mailbox: &MailboxName) -> bool {
        if !address.contains('@') {
            return false;
        }
        let mut resolved = self.resolved.borrow_mut();
        if let Some(found) = resolved.get(address) {
            return found.as_ref() == Some(mailbox);
        }
        // An address about which nothing can be said now names nobody.
        let found = self.api.mailbox_of(address).ok().flatten();
        let leads = found.as_ref() == Some(mailbox);
        if resolved.len() >= RESOLVED_MAX {
            resolved.clear();
        }
        resolved.insert(address.to_owned(), found);
        leads
    }
}
