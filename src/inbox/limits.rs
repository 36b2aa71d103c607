//! Every limit of the inbox, each with its reason.

use std::time::Duration;

/// Longest search in octets. People type a line; a URL has little more room.
pub const SEARCH_OCTETS_MAX: usize = 4_096;

/// Most words in one search: each is looked for in each message.
pub const WORDS_MAX: usize = 64;

/// Memory for the names of all messages: some 380,000 messages. What does not fit is
/// left out of the list, which says so.
pub const INDEX_OCTETS_MAX: u64 = 64 * 1_024 * 1_024;

/// What one message of a mailbox takes: an entry of its mailbox, one of the merged list, and its
/// position in the table of IDs while they are merged.
pub const INDEX_MESSAGE_OCTETS: u64 = 176;

/// What a mailbox takes beside its messages: two copies of its name.
pub const INDEX_MAILBOX_OCTETS: u64 = 512;

/// Most messages of which it is known that somebody has read them; then the oldest marks go.
pub const READ_MARKS_MAX: usize = 65_536;

/// Memory for the summaries of the messages that were shown last: some 50,000 of 600 octets.
pub const SUMMARIES_OCTETS_MAX: usize = 32 * 1_024 * 1_024;

/// How often the mailboxes are looked at for what other programs have done: people see new mail
/// within a second.
pub const SCAN_PAUSE: Duration = Duration::from_secs(1);

/// How many octets of a message are read at once while it is summarised.
pub const READ_OCTETS: usize = 32 * 1_024;
