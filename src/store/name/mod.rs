//! Names on disk: directories named after addresses, and message files.
//!
//! These are pure functions on text. Nothing here accesses a disk or depends on where a name is
//! used.
//!
//! # Directories (SEC-5)
//! A mailbox is stored in `<domain>/<local part>`, each encoded separately. The octets `a-z` and
//! `0-9` stay as they are. So do `.` `_` `+` `-`, except at the start, and except a `.` after a
//! `.`. Every other octet becomes `%` and two lowercase hexadecimal digits. The empty text becomes
//! a single `%`. So no name has a `/` or a NUL, none starts with a dot, none is `.` or `..`, and
//! two texts never have the same name.
//!
//! # Message files
//! `<secs>.<nonce>_<counter>.<host>,S=<octets on disk>,W=<octets with CRLF>`, where `secs` is the
//! time of the delivery in seconds, `nonce` is 16 hexadecimal digits that are chosen at random at
//! every start of the daemon, `counter` has at least 8 hexadecimal digits, and S and W have the
//! same meaning as in Maildir++. Programs that read the Maildir add `:2,` and flags when they move
//! the file to `cur`; everything before that is the *base*. Some programs also change the fields
//! after the host: mbsync and OfflineIMAP append `,U=<number>` (and `,FMD5=<hash>`), and Dovecot
//! writes only `,S=` when the size was wrong. So the [`Identity`] of one of our own messages is
//! `<secs>.<serial>`, whatever fields follow, as long as S or W is among them. The identity of
//! another program's message is its whole base, because any part of it might be significant.
//!
//! The unique-id depends only on the identity (I6). For our own messages it is
//! `<secs>.<nonce>_<counter>`. For a file of another program it is the base if that is a legal
//! unique-id, or else the 128-bit FNV-1a hash of the base as 32 hexadecimal digits. A base that
//! looks like such a hash is hashed too, so that no file can use the hash of another file as its
//! name.
//!
//! # Failures
//! The only failure is a name that is too long. Every function is total.

use std::{fmt::Write as _, num::NonZeroU8};

use crate::{
    mail::{EntryId, MailboxName, UniqueId},
    store::limits::{DIRECTORY_NAME_OCTETS_MAX, HOST_OCTETS_MAX},
};

#[cfg(test)]
mod tests;

/// The name of the directory for `text`, a domain or a local part; `None` when it is too long.
pub(super) fn encode_directory(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("%".to_owned());
    }
    let mut name = String::with_capacity(text.len());
    let mut previous = None;
    for octet in text.bytes() {
        let stays = match octet {
            b'a'..=b'z' | b'0'..=b'9' => true,
            b'_' | b'+' | b'-' => previous.is_some(),
            b'.' => previous.is_some_and(|previous| previous != b'.'),
            _ => false,
        };
        if stays {
            name.push(char::from(octet));
        } else {
            name.push('%');
            push_digits(&mut name, &[octet]);
        }
        previous = Some(octet);
    }
    (name.len() <= DIRECTORY_NAME_OCTETS_MAX).then_some(name)
}

/// The text whose directory has this name; `None` when [`encode_directory`] never returns it.
pub(super) fn decode_directory(name: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
        } else if name.len() > 1 {
            let high = hex_digit(rest.next()?)?;
            let low = hex_digit(rest.next()?)?;
            octets.push(high.checked_shl(4)? | low);
        }
    }
    let text = String::from_utf8(octets).ok()?;
    // Each text has only one name, so any other spelling is not ours.
    (encode_directory(&text)? == name).then_some(text)
}

/// Appends two hexadecimal digits for each of `octets`.
fn push_digits(out: &mut String, octets: &[u8]) {
    for octet in octets {
        for digit in [octet >> 4, octet & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

/// The value of a lowercase hexadecimal digit.
fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => octet.checked_sub(b'0'),
        b'a'..=b'f' => octet.checked_sub(b'a' - 10),
        _ => None,
    }
}

/// The host name in the form used in file names.
///
/// The Maildir specification asks for `/` and `:` to be written as `\057` and `\072`. Here this is
/// done with every octet that is not a letter, a digit, `.`, `-` or `_`, so that a `,` cannot start
/// a field.
pub(super) fn escape_host(hostname: &str) -> String {
    let mut host = String::new();
    for octet in hostname.bytes() {
        let mut piece = String::new();
        if octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_') {
            piece.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            write!(piece, "\\{octet:03o}").unwrap_or_default();
        }
        if host.len().saturating_add(piece.len()) > HOST_OCTETS_MAX {
            break;
        }
        host.push_str(&piece);
    }
    if host.is_empty() {
        "localhost".to_owned()
    } else {
        host
    }
}

/// Whether a host has the form that [`escape_host`] produces, so that nothing in it ends the name
/// or leads elsewhere (I12).
pub(super) fn is_escaped_host(host: &str) -> bool {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b".-_\\".contains(&octet);
    host.len() <= HOST_OCTETS_MAX && host.bytes().all(is_plain)
}

/// The unique part of each message of this store: a random nonce from the start of the daemon, and
/// a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Serial {
    /// Random, one for each run of the daemon.
    pub(super) nonce: u64,
    /// Counts the deliveries begun in that run.
    pub(super) counter: u64,
}

/// The length of the text of a serial, as long as its counter has 8 digits.
const SERIAL_OCTETS: usize = 25;

impl Serial {
    /// The text `<nonce>_<counter>`.
    pub(super) fn render(self) -> String {
        let mut text = String::with_capacity(SERIAL_OCTETS);
        self.write_to(&mut text);
        text
    }

    /// Appends that text: the nonce has 16 hexadecimal digits, the counter 8 or more.
    fn write_to(self, out: &mut String) {
        push_digits(out, &self.nonce.to_be_bytes());
        out.push('_');
        match u32::try_from(self.counter) {
            Ok(counter) => push_digits(out, &counter.to_be_bytes()),
            // Writing to a String cannot fail.
            Err(_) => write!(out, "{:x}", self.counter).unwrap_or_default(),
        }
    }

    /// Parses the output of [`render`](Self::render); `None` for any other text.
    fn parse(text: &[u8]) -> Option<Self> {
        let (nonce, counter) = split_once(text, b'_')?;
        let is_padded_to_8 =
            counter.len() == 8 || (counter.len() > 8 && counter.first() != Some(&b'0'));
        if nonce.len() != 16 || !is_padded_to_8 {
            return None;
        }
        Some(Self {
            nonce: parse_hex(nonce)?,
            counter: parse_hex(counter)?,
        })
    }
}

/// The name of a message file of this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnName<'a> {
    /// The time of delivery, in seconds since 1970.
    pub(super) secs: u64,
    /// The serial of the message.
    pub(super) serial: Serial,
    /// The host, as returned by [`escape_host`].
    pub(super) host: &'a str,
    /// Octets on disk; `None` when another program removed the field.
    pub(super) stored_octets: Option<u64>,
    /// Octets that RETR sends, before dot-stuffing; `None` when another program removed the field.
    pub(super) sent_octets: Option<u64>,
}

/// The length of a name without its host, as long as a message has less than a gibioctet.
const NUMBERS_OCTETS: usize = 64;

impl<'a> OwnName<'a> {
    /// The file name, without flags and without fields of other programs.
    pub(super) fn render(&self) -> String {
        let Self {
            secs,
            serial,
            host,
            stored_octets,
            sent_octets,
        } = self;
        let mut name = String::with_capacity(NUMBERS_OCTETS.saturating_add(host.len()));
        // Writing to a String cannot fail.
        write!(name, "{secs}.").unwrap_or_default();
        serial.write_to(&mut name);
        name.push('.');
        name.push_str(host);
        for (key, octets) in [('S', stored_octets), ('W', sent_octets)] {
            if let Some(octets) = octets {
                write!(name, ",{key}={octets}").unwrap_or_default();
            }
        }
        name
    }

    /// Parses the base of a name that [`render`](Self::render) wrote, even if other programs have
    /// added, changed or removed fields; `None` for any other name.
    ///
    /// Called for every message of every listing, so it allocates nothing.
    pub(super) fn parse(base: &'a [u8]) -> Option<Self> {
        let (secs, rest) = split_once(base, b'.')?;
        let (serial, rest) = split_once(rest, b'.')?;
        let (host, fields) = split_once(rest, b',')?;
        let serial = Serial::parse(serial)?;
        let sizes = Sizes::parse(fields);
        if host.is_empty() || (sizes.stored.is_none() && sizes.sent.is_none()) {
            return None;
        }
        Some(Self {
            secs: parse_decimal(secs)?,
            serial,
            host: std::str::from_utf8(host).ok()?,
            stored_octets: sizes.stored,
            sent_octets: sizes.sent,
        })
    }

    /// Parses exactly what [`render`](Self::render) writes, and nothing else: for names that become
    /// paths (I12).
    pub(super) fn parse_exactly(file_name: &'a str) -> Option<Self> {
        let name = Self::parse(file_name.as_bytes())?;
        (is_escaped_host(name.host) && name.render() == file_name).then_some(name)
    }
}

/// What the fields of a name say about the size of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sizes {
    stored: Option<u64>,
    sent: Option<u64>,
}

impl Sizes {
    /// Parses everything after the first comma. The first field of each kind counts.
    fn parse(fields: &[u8]) -> Self {
        let mut sizes = Self::default();
        let (mut has_stored, mut has_sent) = (false, false);
        let mut rest = fields;
        loop {
            let (field, behind) = split_once(rest, b',').unwrap_or((rest, &[]));
            match field {
                [b'S', b'=', octets @ ..] if !has_stored => {
                    (has_stored, sizes.stored) = (true, parse_decimal(octets));
                }
                [b'W', b'=', octets @ ..] if !has_sent => {
                    (has_sent, sizes.sent) = (true, parse_decimal(octets));
                }
                _ => {}
            }
            if behind.is_empty() {
                return sizes;
            }
            rest = behind;
        }
    }
}

/// What identifies a message, whatever other programs do to the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity<'a> {
    octets: &'a [u8],
    is_own: bool,
}

impl<'a> Identity<'a> {
    /// The identity of the message with this file name.
    pub(super) fn of(file_name: &'a [u8]) -> Self {
        let base = base(file_name);
        let own = OwnName::parse(base).and_then(|_| own_identity(base));
        Self {
            octets: own.unwrap_or(base),
            is_own: own.is_some(),
        }
    }

    /// The identity with these parts.
    pub(super) fn new(octets: &'a [u8], is_own: bool) -> Self {
        Self { octets, is_own }
    }

    /// Whether it is one of our own messages.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// Its octets, which are at the start of the name.
    pub(super) fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The serial of one of our own messages.
    pub(super) fn serial(&self) -> Option<Serial> {
        let (_, serial) = split_once(self.octets, b'.').filter(|_| self.is_own)?;
        Serial::parse(serial)
    }

    /// The seconds since 1970 at which one of our own messages was delivered.
    pub(super) fn delivered_secs(&self) -> Option<u64> {
        let (secs, _) = split_once(self.octets, b'.').filter(|_| self.is_own)?;
        parse_decimal(secs)
    }

    /// The seconds by which it is listed: see [`Parsed::arrival_secs`].
    pub(super) fn arrival_secs(&self) -> u64 {
        arrival_secs(self.octets)
    }

    /// Its id in the inbox, if it is in `mailbox`. One of our own has the same in all mailboxes.
    pub(super) fn entry_id(&self, mailbox: &MailboxName) -> EntryId {
        if let Some(Serial { nonce, counter }) = self.serial() {
            return EntryId::own(nonce, counter);
        }
        // No mailbox has a NUL in its name.
        let mailbox = [mailbox.local_part(), "\0", mailbox.domain(), "\0"];
        let octets = mailbox.iter().flat_map(|text| text.bytes());
        EntryId::foreign(fnv(octets.chain(self.octets.iter().copied())))
    }
}

/// The identity of one of our own messages: everything before the host.
fn own_identity(base: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr_iter(b'.', base).nth(1)?;
    base.get(..end)
}

/// The parts before and after the first `separator`.
fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let (head, tail) = text.split_at_checked(memchr::memchr(separator, text)?)?;
    Some((head, tail.get(1..)?))
}

/// The number written as `digits`, without leading zeros.
fn parse_decimal(digits: &[u8]) -> Option<u64> {
    let (first, _) = digits.split_first()?;
    if *first == b'0' && digits.len() > 1 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, octet| {
        let digit = octet.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// The number written as `digits`, which must all be lowercase hexadecimal.
fn parse_hex(digits: &[u8]) -> Option<u64> {
    if !(1..=16).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, octet| {
        Some(number.wrapping_shl(4) | u64::from(hex_digit(*octet)?))
    })
}

/// The part of a file name before the flags.
pub(super) fn base(file_name: &[u8]) -> &[u8] {
    memchr::memrchr_iter(b':', file_name)
        .filter_map(|at| file_name.split_at_checked(at))
        .find_map(|(base, flags)| flags.starts_with(b":2,").then_some(base))
        .unwrap_or(file_name)
}

/// What a file name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    /// The identity of the message.
    pub(super) identity: Identity<'a>,
    /// The key by which messages are listed.
    pub(super) arrival_secs: u64,
    /// The octets that RETR sends, if the name gives them.
    pub(super) sent_octets: Option<u64>,
    /// How many octets of the identity, from its start, are the unique-id; `None` when it has to be
    /// hashed.
    pub(super) unique_id_octets: Option<NonZeroU8>,
}

impl<'a> Parsed<'a> {
    /// Parses `file_name`.
    pub(super) fn of(file_name: &'a [u8]) -> Self {
        let base = base(file_name);
        if let Some(own) = OwnName::parse(base)
            && let Some(octets) = own_identity(base)
        {
            return Self {
                identity: Identity::new(octets, true),
                arrival_secs: own.secs,
                sent_octets: own.sent_octets,
                unique_id_octets: unique_id_octets(octets.len()),
            };
        }
        Self {
            identity: Identity::new(base, false),
            arrival_secs: arrival_secs(base),
            sent_octets: sent_octets(base),
            unique_id_octets: foreign_id(base).and_then(|id| unique_id_octets(id.len())),
        }
    }
}

/// The octets on disk according to `file_name`, if it also gives those that RETR sends: they are
/// only trusted together.
pub(super) fn stored_octets(file_name: &[u8]) -> Option<u64> {
    let (_, fields) = split_once(base(file_name), b',')?;
    let sizes = Sizes::parse(fields);
    sizes.stored.filter(|_| sizes.sent.is_some())
}

/// The length, if a unique-id can have it.
fn unique_id_octets(octets: usize) -> Option<NonZeroU8> {
    let fits = octets <= UniqueId::OCTETS_MAX;
    fits.then(|| u8::try_from(octets).ok().and_then(NonZeroU8::new))
        .flatten()
}

/// The seconds at the start of a base: the order in which messages are listed.
///
/// Zero when there are none, so that later messages are always listed after it.
fn arrival_secs(base: &[u8]) -> u64 {
    let digits = base
        .split(|&octet| octet == b'.')
        .next()
        .unwrap_or_default();
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// The octets that RETR sends, if the base gives them in its field `W=`.
fn sent_octets(base: &[u8]) -> Option<u64> {
    let mut fields = base.split(|&octet| octet == b',').skip(1);
    let value = fields.find_map(|field| field.strip_prefix(b"W="))?;
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The unique-id of the message with this identity; `octets` is its [`Parsed::unique_id_octets`].
///
/// Never `None`: the last resort, the hash, is a legal unique-id.
pub(super) fn unique_id(identity: Identity<'_>, octets: Option<NonZeroU8>) -> Option<UniqueId<'_>> {
    octets
        .and_then(|octets| identity.octets.get(..usize::from(octets.get())))
        .and_then(|id| std::str::from_utf8(id).ok())
        .and_then(UniqueId::parse)
        .or_else(|| UniqueId::parse(hash(identity.octets)))
}

/// The base of a file that another program delivered, unless it is not a legal unique-id, or could
/// be mistaken for the unique-id of one of our own messages or for a hash.
fn foreign_id(base: &[u8]) -> Option<&[u8]> {
    let looks_like_ours =
        split_once(base, b'.').is_some_and(|(_, serial)| Serial::parse(serial).is_some());
    let is_graphic = base.iter().all(u8::is_ascii_graphic);
    (is_graphic && !looks_like_ours && !looks_like_a_hash(base)).then_some(base)
}

/// The length of 128 bits in hexadecimal digits.
const HASH_OCTETS: usize = 32;

fn looks_like_a_hash(base: &[u8]) -> bool {
    base.len() == HASH_OCTETS && base.iter().all(|&octet| hex_digit(octet).is_some())
}

/// The hash of a base, as text.
fn hash(base: &[u8]) -> String {
    format!("{:032x}", fnv(base.iter().copied()))
}

/// The 128-bit FNV-1a hash of `octets`, with the offset basis and the prime of its authors.
///
/// It prevents accidental collisions. Anyone who can write to the Maildir needs no collision to do
/// harm.
fn fnv(octets: impl Iterator<Item = u8>) -> u128 {
    const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    octets.fold(OFFSET_BASIS, |hash, octet| {
        (hash ^ u128::from(octet)).wrapping_mul(PRIME)
    })
}
