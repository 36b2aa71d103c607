//! Every limit of the inbox, each with its reason.

use std::time::Duration;

use super::rest::Rest;

/// Longest search in octets. People type a line; a URL has little more room.
pub const SEARCH_OCTETS_MAX: usize = 4_096;

/// Most words in one search: each is looked for in each message.
pub const WORDS_MAX: usize = 64;

/// Shortest key, in octets, in which a mistake is noticed: a shorter one resembles many words.
pub const KEY_OCTETS: usize = 4;

/// Default for the memory of the names of all messages: some 360,000 messages. What does not fit
/// is left out of the list, which says so.
pub const INDEX_OCTETS_MAX: u64 = 64 * 1_024 * 1_024;

/// What one message of a mailbox takes: an entry of its mailbox, one of the merged list, its
/// position in the order of the IDs, and in the table of IDs while they are merged.
pub const INDEX_MESSAGE_OCTETS: u64 = 184;

/// What a mailbox takes beside its messages: two copies of its name.
pub const INDEX_MAILBOX_OCTETS: u64 = 512;

/// Most messages of which it is known that somebody has read them; then the oldest marks go.
pub const READ_MARKS_MAX: usize = 65_536;

/// Default for the memory of the summaries of the messages that were shown last: some 50,000 of 600
/// octets.
pub const SUMMARIES_OCTETS_MAX: u64 = 32 * 1_024 * 1_024;

/// How often the mailboxes are looked at for what other programs have done: people see new mail
/// within a second.
pub const SCAN_PAUSE: Duration = Duration::from_secs(1);

/// If a mailbox cannot be listed and that took so long, no other is listed for the same request: it
/// would take as long, and other requests wait.
pub const STUCK_AFTER: Duration = Duration::from_secs(1);

/// How long no mailbox is listed after mailboxes were. Lists of the mail of tests that run in
/// parallel hardly wait. In a flood, lists take a fortieth of a processor, and SMTP seldom waits
/// for a directory that is being read; nobody can read what comes then, and it may take two seconds
/// until people see it.
pub const REST: Rest = Rest {
    each_change: Duration::from_millis(1),
    times: 39,
    longest: Duration::from_secs(2),
};

/// Of how many changes of our messages the inbox waits for the store's report, which comes a moment
/// later. More at once look like changes by others: those who watch list the messages again.
pub const UNREPORTED_MAX: usize = 4_096;

/// How many octets of a message are read at once while it is summarised.
pub const READ_OCTETS: usize = 32 * 1_024;

/// How many octets of the body of a message are shown, decoded, as text and as HTML each. A larger
/// body is for a download: a browser would take minutes to show it.
pub const BODY_OCTETS_MAX: usize = 1_024 * 1_024;

/// In how many octets of the readable text, decoded, a search looks for a word. What is looked for
/// in a mail, such as a code, stands at its beginning.
pub const SEARCHED_OCTETS_MAX: usize = 64 * 1_024;

/// How many looks at mailboxes one call keeps: a page has messages of few mailboxes, and each look
/// has its part of the memory for listings.
pub const LOOKS_MAX: usize = 16;

/// Of how many messages, the newest, it is known to which sub-addresses they were sent.
pub const PATHS_MESSAGES_MAX: usize = 16_384;

/// The memory for that: some 16,384 messages with two sub-addresses each.
pub const PATHS_OCTETS_MAX: usize = 4 * 1_024 * 1_024;

/// What a message, and each of its sub-addresses, takes beside its text: a name, and two places in
/// tables.
pub const PATHS_MESSAGE_OCTETS: usize = 64;
