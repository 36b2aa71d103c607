//! The format of the journal on disk: batches of records.
//!
//! Pure functions on octets: nothing here reads a disk, or knows what a record is used for.
//!
//! # Theory of operation
//! A segment is a file of batches. A batch begins at a multiple of [`BATCH_ALIGNMENT`] octets, has
//! a header and then its records, and is padded with zeros to the next multiple:
//!
//! | offset | octets | |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | CRC-32 of everything that follows, to the end of the records |
//! | 12 | 4 | octets of the records |
//! | 16 | 16 | which journal it belongs to ([`JournalId`]) |
//! | 32 | 8 | its number, from 1 |
//! | 40 | 8 | the number of the batch before it, 0 for the first |
//! | 48 | 8 | all batches up to this number are durable in the Maildirs |
//! | 56 | 4 | how many records |
//! | 60 | 4 | zero |
//!
//! Numbers are little-endian. A record is its kind (1 octet), its length (4) and then
//! - kind 1, *delivery*: file name (2 + n), number of mailboxes (2), each a local part and a domain
//!   (2 + n, 2 + n), then the content up to the end of the record;
//! - kind 2, *removal*: a mailbox as above, the nonce of the messages (8), then their counters (8
//!   each) up to the end of the record.
//!
//! # Invariants
//! - A batch is read back exactly as it was written, or not at all: the checksum covers all of it.
//! - A batch of another journal is never taken for one of ours, however much it looks like one. The
//!   id is drawn at random for each journal and kept secret, so nobody can send a message whose
//!   content is mistaken for a batch when the real batch around it is torn (SEC-20).
//!
//! # Failures
//! Octets that cannot be understood give `None`.

use crate::mail::MailboxName;

use crate::store::name::Serial;

/// Batches begin at multiples of this: a file system block, which a disk writes as a whole or in
/// sectors, but never together with a neighbour.
pub(in crate::store) const BATCH_ALIGNMENT: usize = 4096;

/// Octets of the header of a batch.
pub(in crate::store) const HEADER_OCTETS: usize = 64;

/// Includes the version: another format of batches has another magic.
const MAGIC: [u8; 8] = *b"facteur1";

const KIND_DELIVERY: u8 = 1;
const KIND_REMOVAL: u8 = 2;

/// Which journal a batch belongs to. A new one is drawn whenever a journal begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct JournalId(pub(in crate::store) [u8; 16]);

impl std::fmt::Debug for JournalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SEC-20: it is worthless once somebody knows it.
        f.write_str("JournalId(…)")
    }
}

/// The header of a batch, before its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Header {
    /// Octets of the records.
    pub(in crate::store) octets: u32,
    /// Which journal it belongs to.
    pub(in crate::store) id: JournalId,
    /// The number of this batch.
    pub(in crate::store) number: u64,
    /// The number of the durable batch before it; 0 if there is none.
    pub(in crate::store) previous: u64,
    /// All batches up to this number are durable in the Maildirs.
    pub(in crate::store) checkpointed: u64,
    /// How many records there are.
    pub(in crate::store) n_records: u32,
    /// The checksum of the header and the records.
    checksum: u32,
}

/// What the header of a batch will say.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Seal {
    pub(in crate::store) id: JournalId,
    pub(in crate::store) number: u64,
    pub(in crate::store) previous: u64,
    pub(in crate::store) checkpointed: u64,
    pub(in crate::store) n_records: u32,
}

impl Seal {
    /// Completes a batch, whose records begin after [`HEADER_OCTETS`] octets: writes the header and
    /// pads with zeros.
    pub(in crate::store) fn close(&self, batch: &mut Vec<u8>) {
        let octets = batch.len().saturating_sub(HEADER_OCTETS);
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        let mut header = Vec::with_capacity(HEADER_OCTETS);
        header.extend(octets.to_le_bytes());
        header.extend(self.id.0);
        for number in [self.number, self.previous, self.checkpointed] {
            header.extend(number.to_le_bytes());
        }
        header.extend(self.n_records.to_le_bytes());
        header.extend([0; 4]);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header);
        hasher.update(batch.get(HEADER_OCTETS..).unwrap_or_default());
        let checksum = hasher.finalize().to_le_bytes();
        let parts = MAGIC.into_iter().chain(checksum).chain(header);
        for (place, octet) in batch.iter_mut().zip(parts) {
            *place = octet;
        }
        batch.resize(batch.len().next_multiple_of(BATCH_ALIGNMENT), 0);
    }
}

impl Header {
    /// Reads the header of a batch of the journal `id`.
    pub(in crate::store) fn parse(octets: &[u8], id: JournalId) -> Option<Self> {
        let mut rest = octets;
        if take::<8>(&mut rest)? != MAGIC {
            return None;
        }
        let checksum = u32::from_le_bytes(take(&mut rest)?);
        let header = Self {
            octets: u32::from_le_bytes(take(&mut rest)?),
            id: JournalId(take(&mut rest)?),
            number: u64::from_le_bytes(take(&mut rest)?),
            previous: u64::from_le_bytes(take(&mut rest)?),
            checkpointed: u64::from_le_bytes(take(&mut rest)?),
            n_records: u32::from_le_bytes(take(&mut rest)?),
            checksum,
        };
        (header.id == id).then_some(header)
    }

    /// Whether `batch`, header and records without padding, is as it was written.
    pub(in crate::store) fn fits(&self, batch: &[u8]) -> bool {
        planted!(TornBatchesAreTrusted, return true);
        let covered = batch.get(MAGIC.len().saturating_add(4)..);
        covered.is_some_and(|covered| crc32fast::hash(covered) == self.checksum)
    }
}

/// One change to be made to the Maildirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Record<'a> {
    /// A message was delivered.
    Delivery {
        /// The name of its file.
        file_name: &'a str,
        /// Where it goes.
        mailboxes: Vec<MailboxName>,
        /// Its octets.
        content: &'a [u8],
    },
    /// Messages were removed.
    Removal {
        /// Where they were.
        mailbox: MailboxName,
        /// Which they were.
        serials: Vec<Serial>,
    },
}

/// Octets that a delivery occupies in a batch.
pub(in crate::store) fn delivery_octets(
    file_name: &str,
    mailboxes: &[MailboxName],
    content_octets: usize,
) -> usize {
    let names = mailboxes.iter().map(mailbox_octets);
    names
        .fold(content_octets, usize::saturating_add)
        .saturating_add(file_name.len())
        .saturating_add(9)
}

/// Appends a delivery to a batch.
pub(in crate::store) fn push_delivery(
    batch: &mut Vec<u8>,
    file_name: &str,
    mailboxes: &[MailboxName],
    content: &[u8],
) {
    let octets = delivery_octets(file_name, mailboxes, content.len());
    push_kind(batch, KIND_DELIVERY, octets.saturating_sub(5));
    push_text(batch, file_name);
    let n_mailboxes = u16::try_from(mailboxes.len()).unwrap_or(u16::MAX);
    batch.extend(n_mailboxes.to_le_bytes());
    for mailbox in mailboxes {
        push_mailbox(batch, mailbox);
    }
    batch.extend_from_slice(content);
}

/// Octets that a removal occupies in a batch.
pub(in crate::store) fn removal_octets(mailbox: &MailboxName, n_messages: usize) -> usize {
    n_messages
        .saturating_mul(8)
        .saturating_add(mailbox_octets(mailbox))
        .saturating_add(13)
}

/// Appends a removal to a batch; all `counters` belong to one nonce.
pub(in crate::store) fn push_removal(
    batch: &mut Vec<u8>,
    mailbox: &MailboxName,
    nonce: u64,
    counters: &[u64],
) {
    let mut body = Vec::new();
    push_mailbox(&mut body, mailbox);
    body.extend(nonce.to_le_bytes());
    for counter in counters {
        body.extend(counter.to_le_bytes());
    }
    push_kind(batch, KIND_REMOVAL, body.len());
    batch.extend(body);
}

fn push_kind(batch: &mut Vec<u8>, kind: u8, octets: usize) {
    batch.push(kind);
    batch.extend(u32::try_from(octets).unwrap_or(u32::MAX).to_le_bytes());
}

/// Octets that the name of a mailbox occupies, with the lengths of its two parts.
fn mailbox_octets(mailbox: &MailboxName) -> usize {
    let (local_part, domain) = (mailbox.local_part(), mailbox.domain());
    local_part
        .len()
        .saturating_add(domain.len())
        .saturating_add(4)
}

fn push_mailbox(batch: &mut Vec<u8>, mailbox: &MailboxName) {
    push_text(batch, mailbox.local_part());
    push_text(batch, mailbox.domain());
}

/// Appends a text with its length. Names of files and mailboxes have a few hundred octets at most,
/// so text that does not fit cannot occur here.
fn push_text(batch: &mut Vec<u8>, text: &str) {
    let octets = u16::try_from(text.len()).unwrap_or(u16::MAX);
    batch.extend(octets.to_le_bytes());
    batch.extend(text.bytes().take(octets.into()));
}

/// Reads the records of a batch for which [`Header::fits`] is true, passed without its header.
pub(in crate::store) fn records(octets: &[u8]) -> Records<'_> {
    Records { rest: octets }
}

/// The records of a batch; ends early if one cannot be understood.
#[derive(Clone, Debug)]
pub(in crate::store) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let [kind] = take(&mut self.rest)?;
        let octets = usize::try_from(u32::from_le_bytes(take(&mut self.rest)?)).ok()?;
        let (mut body, rest) = self.rest.split_at_checked(octets)?;
        self.rest = rest;
        match kind {
            KIND_DELIVERY => {
                let file_name = take_text(&mut body)?;
                let n_mailboxes = u16::from_le_bytes(take(&mut body)?);
                let mailboxes = (0..n_mailboxes)
                    .map(|_| take_mailbox(&mut body))
                    .collect::<Option<Vec<_>>>()?;
                Some(Record::Delivery {
                    file_name,
                    mailboxes,
                    content: body,
                })
            }
            KIND_REMOVAL => {
                let mailbox = take_mailbox(&mut body)?;
                let nonce = u64::from_le_bytes(take(&mut body)?);
                let mut serials = Vec::new();
                while let Some(counter) = take(&mut body).map(u64::from_le_bytes) {
                    serials.push(Serial { nonce, counter });
                }
                Some(Record::Removal { mailbox, serials })
            }
            _ => None,
        }
    }
}

/// Takes the first `N` octets of `rest`.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let octets = u16::from_le_bytes(take(rest)?);
    let (text, left) = rest.split_at_checked(octets.into())?;
    *rest = left;
    std::str::from_utf8(text).ok()
}

fn take_mailbox(rest: &mut &[u8]) -> Option<MailboxName> {
    let local_part = take_text(rest)?;
    let domain = take_text(rest)?;
    MailboxName::from_canonical(local_part, domain)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const ID: JournalId = JournalId(*b"0123456789abcdef");

    fn mailbox() -> impl Strategy<Value = MailboxName> {
        let mailbox = |(local_part, domain): (String, String)| {
            MailboxName::from_canonical(&local_part, &domain)
        };
        ("[a-zé ./%+]{1,20}", "[a-z]{1,10}(\\.[a-z]{1,10}){0,2}")
            .prop_filter_map("canonical", mailbox)
    }

    /// A batch of two records.
    fn batch(mailboxes: &[MailboxName], content: &[u8], counters: &[u64]) -> Vec<u8> {
        let mut batch = vec![0; HEADER_OCTETS];
        push_delivery(&mut batch, "name", mailboxes, content);
        let (_, delivery) = batch.split_at(HEADER_OCTETS);
        let expected = delivery_octets("name", mailboxes, content.len());
        assert_eq!(delivery.len(), expected);
        let before = batch.len();
        push_removal(&mut batch, &mailboxes[0], 7, counters);
        let (_, removal) = batch.split_at(before);
        let expected = removal_octets(&mailboxes[0], counters.len());
        assert_eq!(removal.len(), expected);
        let seal = Seal {
            id: ID,
            number: 5,
            previous: 4,
            checkpointed: 3,
            n_records: 2,
        };
        seal.close(&mut batch);
        batch
    }

    fn read(batch: &[u8]) -> Option<(Header, Vec<Record<'_>>)> {
        let header = Header::parse(batch, ID)?;
        let end = HEADER_OCTETS.checked_add(usize::try_from(header.octets).ok()?)?;
        let whole = batch.get(..end)?;
        let found = header
            .fits(whole)
            .then(|| records(&whole[HEADER_OCTETS..]))?;
        Some((header, found.collect()))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            mailboxes in vec(mailbox(), 1..4),
            content in vec(any::<u8>(), 0..9_000),
            counters in vec(any::<u64>(), 0..5),
        ) {
            let batch = batch(&mailboxes, &content, &counters);
            prop_assert_eq!(batch.len() % BATCH_ALIGNMENT, 0);
            let (header, found) = read(&batch).unwrap();
            let numbers = (header.number, header.previous, header.checkpointed);
            prop_assert_eq!((numbers, header.n_records), ((5, 4, 3), 2));
            let serials = counters.iter().map(|&counter| Serial { nonce: 7, counter });
            let expected = [
                Record::Delivery {
                    file_name: "name",
                    mailboxes: mailboxes.clone(),
                    content: &content,
                },
                Record::Removal {
                    mailbox: mailboxes[0].clone(),
                    serials: serials.collect(),
                },
            ];
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_batch_with_a_wrong_octet_is_not_read(at in 0_usize..300, bit in 0_u8..8) {
            let bob = MailboxName::from_canonical("bob", "example.org").unwrap();
            let mut batch = batch(&[bob], &[b'x'; 300], &[]);
            batch[at] ^= 1 << bit;
            prop_assert!(read(&batch).is_none());
        }

        #[test]
        fn no_octets_panic(octets in vec(any::<u8>(), 0..400)) {
            let found = records(&octets).count();
            prop_assert!(found <= octets.len());
            prop_assert!(Header::parse(&octets, ID).is_none());
        }
    }

    #[test]
    fn a_batch_of_another_journal_is_not_read() {
        let bob = MailboxName::from_canonical("bob", "example.org").unwrap();
        let batch = batch(&[bob], b"content", &[]);
        assert!(Header::parse(&batch, ID).is_some());
        assert!(Header::parse(&batch, JournalId([0; 16])).is_none());
        assert!(!format!("{ID:?}").contains("48"), "the id is a secret");
    }
}
