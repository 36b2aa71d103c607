//! People as JSON, in the shape of Mailpit.

use serde::Serialize;

use crate::{
    mail::MailboxName,
    mime::{Person, Summary},
};

/// A name and an address; either may be empty.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PersonBody {
    name: String,
    address: String,
}

impl PersonBody {
    pub(super) fn of(person: &Person) -> Self {
        Self {
            name: person.name.clone(),
            address: person.address.clone(),
        }
    }

    /// Those in the field Bcc, which few messages have, and the mailboxes that no field names.
    pub(super) fn bcc(summary: &Summary, hidden: &[MailboxName]) -> Vec<Self> {
        let hidden = hidden.iter().map(|mailbox| Self {
            name: String::new(),
            address: mailbox.to_string(),
        });
        summary.bcc.iter().map(Self::of).chain(hidden).collect()
    }
}

/// All of them.
pub(super) fn people(people: &[Person]) -> Vec<PersonBody> {
    people.iter().map(PersonBody::of).collect()
}
