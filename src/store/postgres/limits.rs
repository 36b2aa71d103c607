//! The limits of the store in a database, each with its reason.

use std::time::Duration;

/// The port of PostgreSQL.
pub(super) const PORT: u16 = 5432;

/// Servers that may be named, and addresses of one that are tried.
///
/// A cluster has three to five.
pub(super) const SERVERS_MAX: usize = 16;

/// How often their names are resolved again: a server that has come back with another address is
/// found within the time that a lease lasts.
pub(super) const NAMES_INTERVAL: Duration = Duration::from_secs(10);

/// How long connecting to one server may take, so that the next one is tried before this node loses
/// its lease.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a thread waits for a server before it looks at its deadline again.
pub(super) const WAIT_SLICE: Duration = Duration::from_millis(500);

/// A silent server is asked after this time whether it is still there.
pub(super) const KEEPALIVE_TIME: Duration = Duration::from_secs(3);

/// And again after each such time.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// How often, before it counts as gone.
pub(super) const KEEPALIVE_PROBES: u32 = 3;

/// How long octets may be unacknowledged before the server counts as gone.
pub(super) const UNANSWERED_TIMEOUT: Duration = Duration::from_secs(6);

/// Octets read with one call.
pub(super) const READ_OCTETS: usize = 64 * 1024;

/// Octets of a message of the server. A row has at most one part of a message, and its name.
pub(super) const MESSAGE_OCTETS_MAX: usize = 1024 * 1024;

/// Characters of the text of an error of the server that are kept for the log.
pub(super) const TEXT_CHARACTERS_MAX: usize = 256;

/// Octets of the rows of an answer that are kept. Listings are not kept as rows.
pub(super) const ANSWER_OCTETS_MAX: usize = 8 * 1024 * 1024;

/// Statements of one group, or of a migration of the schema.
pub(super) const STATEMENTS_OF_GROUP_MAX: usize = 64;

/// Notifications that are kept until they are looked at. If there are more, all watches begin
/// again.
pub(super) const NOTIFICATIONS_MAX: usize = 4_096;

/// How long a standby that does not have a change yet is left alone at first.
pub(super) const PROOF_PAUSE_MIN: Duration = Duration::from_micros(500);

/// And at most: a standby that is away comes back in seconds.
pub(super) const PROOF_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Connections that deliver, claim and remove, each with a thread.
///
/// More brought nothing: the disk of the primary is the limit.
pub(super) const WRITERS: usize = 4;

/// Connections that only read. They are separate, so that sessions can read on while every writer
/// waits for a standby.
pub(super) const READERS: usize = 2;

/// Tasks that wait for a connection: one for each session that there can be.
pub(super) const TASKS_MAX: usize = 65_536;

/// How long a delivery may take.
///
/// A new primary takes over in half a minute with usual settings, and RFC 5321 §4.5.3.2.6 lets a
/// client wait ten minutes.
pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_mins(1);

/// How long everything else may take that somebody waits for: some clients of POP3 wait a minute.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// How long looking at a mailbox may take: whoever looks can show what was there before, and others
/// wait meanwhile.
pub(super) const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the standbys may take before this node counts as not ready: less than whoever asks
/// waits, such as the health check of a container.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a start tries to reach the database, which may be starting too.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(15);

/// How much later than its deadline a task may end, because connections look at their deadlines
/// only so often.
pub(super) const GRACE: Duration = Duration::from_secs(8);

/// How long to wait before a server is tried again, at first.
pub(super) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);

/// And at most.
pub(super) const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long the threads of the connections may take to end. One that waits for a server is left
/// behind.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Octets of content that are stored with the message. More is stored in parts of this size.
pub(super) const PART_OCTETS: usize = 256 * 1024;

/// Octets of parts that are sent as one transaction, and of the messages of one batch.
///
/// More would not be faster, and would have to be held in memory.
pub(super) const BATCH_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// Messages of one batch, and mailboxes that they go to: they are arrays of one statement.
pub(super) const BATCH_LETTERS_MAX: usize = 1_000;

/// Mailboxes that are made with one write.
pub(super) const MAILBOXES_AT_ONCE: usize = 64;

/// Mailboxes that are known to exist, so that none of them has to be made before a delivery: about
/// 150 octets each. When there are more, all are forgotten.
pub(super) const KNOWN_MAILBOXES_MAX: usize = 16_384;

/// How long the lease of a node lasts, in words of SQL in `statements.rs`: 10 seconds. Whoever
/// waits for the maildrop of a node that has died waits no longer.
///
/// It is renewed so often that two failures do not end it.
pub(super) const RENEW_INTERVAL: Duration = Duration::from_secs(3);

/// How long after the last renewal the sessions of this node may go on: less than the lease, by
/// what a renewal may have been on its way.
pub(super) const LEASE_TRUSTED: Duration = Duration::from_secs(7);

/// How long the database may be away before new mail is refused at once, and not at its deadline.
pub(super) const AWAY_TIMEOUT: Duration = Duration::from_mins(1);

/// How long one task of the housekeeping may take.
pub(super) const HOUSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often other nodes are told what has changed, at most: as often as watches are woken.
pub(super) const HINT_PAUSE: Duration = Duration::from_millis(50);

/// Changes that wait to be told. If there are more, the watches of other nodes begin again.
pub(super) const HINTS_MAX: usize = 4_096;

/// Octets of the text of a notification: the server allows 8,000.
pub(super) const HINT_OCTETS_MAX: usize = 7_000;

/// Messages that may still come although their delivery has failed, each in one mailbox: what all
/// writers can have sent, about 200 octets each. If there are more, all watches begin again.
pub(super) const DOUBTS_MAX: usize = 4_096;

/// How often they are looked for.
pub(super) const DOUBT_INTERVAL: Duration = Duration::from_secs(1);

/// How often a message has to be missing, on a server whose standbys have all of its log, before it
/// counts as one that does not come: a minute, as long as a statement may wait for anything else.
pub(super) const DOUBT_LOOKS: u32 = 60;

/// How often content that no mailbox has is removed.
pub(super) const GARBAGE_INTERVAL: Duration = Duration::from_mins(10);

/// How often content is searched that no mailbox has, and that no removal has noted: two removals
/// of the same message at the same moment may both leave that to the other. All content is read.
pub(super) const SEARCH_INTERVAL: Duration = Duration::from_hours(6);

/// Claims that were not ended yet: as many as there can be sessions. Those beyond it are found
/// in the database with the next renewal of the lease.
pub(super) const RELEASES_MAX: usize = 65_536;

/// How long to wait before asking again for a maildrop that another node has.
pub(super) const CLAIM_PAUSE: Duration = Duration::from_millis(100);
