//! What a message is called in a Maildir, and in a database to which it was moved from there.
//!
//! A message that is in its Maildir as it was delivered is called in the database what it would be
//! called if it had been delivered there: `<secs>.<serial>`, one content for all its mailboxes. Any
//! other message (of another program, or renamed, read or edited by one) keeps the name of its
//! file, because the unique-id comes from it. Its name in the database is a path:
//! `<domain>/<local part>/<new or cur>/<time of arrival>/<file name>`. No two messages have the
//! same, and none of them is the name of a delivery.
//!
//! Octets of the file name that are not graphic ASCII, `%` and `/` are written as `%` and two
//! digits, so that every name is text.

use std::fmt::Write as _;

use crate::{
    mail::{EntryId, MailboxName, UniqueId},
    store::{
        Error,
        name::{self, OwnName, Parsed, decode_directory, encode_directory},
    },
};

/// A message that is moved, wherever it is.
pub(super) trait Source {
    /// Its octets, if that is known.
    fn octets(&self) -> Option<u64>;

    /// Reads octets from `offset` on; fills `buffer` except at the end.
    ///
    /// # Errors
    /// [`Error::Io`]: it cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error>;

    /// Why it cannot be moved if its size has changed.
    fn cut_short(&self) -> Error;
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// Whether it is in `cur`.
    pub(super) is_seen: bool,
    /// When it came, in seconds since 1970.
    pub(super) arrived_secs: u64,
    pub(super) file_name: Vec<u8>,
}

impl Label {
    /// The label of a message of this store, as it was delivered.
    pub(super) fn of_own(own: &OwnName<'_>) -> Self {
        Self {
            is_seen: false,
            arrived_secs: own.secs,
            file_name: own.render().into_bytes(),
        }
    }

    /// Its name in the database if it is as it was delivered, with so many octets.
    pub(super) fn own_name(&self, stored_octets: u64) -> Option<String> {
        let text = std::str::from_utf8(&self.file_name).ok()?;
        let own = OwnName::parse_exactly(text)?;
        let is_as_delivered =
            !self.is_seen && own.stored_octets == Some(stored_octets) && own.sent_octets.is_some();
        is_as_delivered.then(|| format!("{}.{}", own.secs, own.serial.render()))
    }

    /// Its name in the database, in any case; `None` if `mailbox` cannot exist.
    pub(super) fn name_in(&self, mailbox: &MailboxName) -> Option<String> {
        let domain = encode_directory(mailbox.domain())?;
        let local_part = encode_directory(mailbox.local_part())?;
        let side = if self.is_seen { "cur" } else { "new" };
        let secs = self.arrived_secs;
        let mut name = format!("{domain}/{local_part}/{side}/{secs}/");
        for octet in &self.file_name {
            if octet.is_ascii_graphic() && !b"%/".contains(octet) {
                name.push(char::from(*octet));
            } else {
                // Writing to a String cannot fail.
                write!(name, "%{octet:02x}").unwrap_or_default();
            }
        }
        Some(name)
    }

    /// The mailbox and the label whose name in the database this is.
    pub(super) fn parse(name: &str) -> Option<(MailboxName, Self)> {
        let mut steps = name.splitn(5, '/');
        let domain = decode_directory(steps.next()?)?;
        let local_part = decode_directory(steps.next()?)?;
        let mailbox = MailboxName::from_canonical(&local_part, &domain)?;
        let label = Self {
            is_seen: steps.next()? == "cur",
            arrived_secs: steps.next()?.parse().ok()?,
            file_name: decode(steps.next()?)?,
        };
        // Each label has only one name.
        (label.name_in(&mailbox)? == name).then_some((mailbox, label))
    }

    /// What its file name says.
    pub(super) fn parsed(&self) -> Parsed<'_> {
        Parsed::of(&self.file_name)
    }

    /// Its unique-id.
    pub(super) fn unique_id(&self) -> Option<UniqueId<'static>> {
        let parsed = self.parsed();
        let id = name::unique_id(parsed.identity, parsed.unique_id_octets)?;
        UniqueId::parse(id.to_string())
    }

    /// Its id in the inbox, if it is in `mailbox`.
    pub(super) fn entry_id(&self, mailbox: &MailboxName) -> EntryId {
        self.parsed().identity.entry_id(mailbox)
    }
}

/// The octets of a file name; `None` if it is not written as above, as far as that matters here.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first != b'%' {
            octets.push(*first);
            rest = behind;
            continue;
        }
        let (digits, behind) = behind.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(is_seen: bool, file_name: &[u8]) -> Label {
        Label {
            is_seen,
            arrived_secs: 7,
            file_name: file_name.to_vec(),
        }
    }

    #[test]
    fn only_what_is_as_it_was_delivered_has_the_name_of_a_delivery() {
        let own = "1700000000.0123456789abcdef_00000001";
        for (is_seen, fields, is_own) in [
            (false, ".host,S=5,W=6", true),
            (true, ".host,S=5,W=6", false),
            (false, ".host,S=4,W=6", false),
            (false, ".host,S=5", false),
            (false, ".host,S=5,W=6,U=1", false),
            (false, ".host,S=5,W=6:2,S", false),
            (false, "", false),
        ] {
            let label = label(is_seen, format!("{own}{fields}").as_bytes());
            let name = label.own_name(5);
            assert_eq!(name.as_deref(), is_own.then_some(own), "{fields}");
        }
    }

    #[test]
    fn other_texts_are_names_of_nothing() {
        for name in [
            "",
            "a.example/bob/new/7",
            "a.example/bob/old/7/x",
            "a.example/bob/new/07/x",
            "A.example/bob/new/7/x",
            "a.example/bob/new/7/x/y",
            "a.example/bob/new/7/%78",
            "a.example/bob/new/7/%",
            "a.example/bob/new/7/%é",
            "1700000000.0123456789abcdef_00000001",
        ] {
            assert_eq!(Label::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_leads_back_to_its_label(
            file_name in proptest::collection::vec(1_u8.., 1..80), is_seen in any::<bool>(),
        ) {
            let mailbox = MailboxName::from_canonical("bob smith", "a.example").unwrap();
            let label = label(is_seen, &file_name);
            let name = label.name_in(&mailbox).unwrap();
            prop_assert!(name.bytes().all(|octet| octet.is_ascii_graphic()));
            prop_assert_eq!(Label::parse(&name), Some((mailbox, label)));
        }
    }
}
