//! The limits of the store, each with its reason.
//!
//! Nothing is checked here; the places that do are named with each limit.

use std::time::Duration;

/// Free space below which no delivery is begun, in octets, on a large file system.
///
/// A full disk harms everybody on the machine, and a store without room cannot even record what is
/// deleted from it. The reserve also covers what was admitted but is not yet written: admission
/// looks at the free space of the moment, so several deliveries may count on the same octets.
pub(super) const FREE_OCTETS_RESERVE: u64 = 32 * 1024 * 1024;

/// The part of a small file system that is reserved in the same way: an eighth, or there would be
/// room for nothing else.
pub(super) const FREE_PART_RESERVED: u64 = 8;

/// Longest name of a directory made from an address, in octets.
///
/// File systems end at 255; the rest is left to programs that add something to the name. A local
/// part of 64 octets fits even when each of them is encoded (RFC 5321 §4.5.3.1.1).
pub(super) const DIRECTORY_NAME_OCTETS_MAX: usize = 240;

/// Longest host name in the name of a message file, in octets.
///
/// With the longest numbers a file name then has 201 octets, which leaves room for the flags of
/// other programs.
pub(super) const HOST_OCTETS_MAX: usize = 100;

/// Mailboxes that are known to take no mail.
///
/// What waits for them is on the disk; of each there is its name here and what is wrong with it,
/// some 500 octets. More than that are not one mailbox that is broken: then what cannot be
/// delivered is kept in memory, as after a failure of the whole store, and no delivery is begun.
pub(super) const AILING_MAILBOXES_MAX: usize = 16_384;

/// How often the mailboxes that take no mail are tried again when nobody asks for one of them.
///
/// A few system calls for each. Whoever logs in or sends to one has it tried at once.
pub(super) const CURE_PACE: Duration = Duration::from_mins(1);

/// How long a login waits for another session of the same maildrop to end.
///
/// A client that closes its connection without QUIT and comes back at once is faster than the end
/// of its session, which takes a few milliseconds. If the session is still there after that,
/// the login is refused before a person would wonder about the wait.
pub(super) const CLAIM_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is told that a mailbox takes no mail.
pub(super) const AILING_REMINDER: Duration = Duration::from_hours(1);

/// Mailboxes remembered as durable, so that a delivery to them costs no extra system call.
///
/// About 200 octets each. When the limit is reached all are forgotten, which costs each mailbox in
/// use one more look.
pub(super) const KNOWN_MAILBOXES_MAX: usize = 16_384;

/// Octets read at once from a file whose size has to be counted.
pub(super) const COUNT_OCTETS: usize = 64 * 1024;

/// Times a message that another program keeps renaming is looked for again.
///
/// One that is renamed as fast as the system can is missed every other time.
pub(super) const FIND_ATTEMPTS_MAX: usize = 10;

/// Readings of a Maildir until it is said that other programs change it too fast to be listed.
///
/// Beside a program that renames a message every ten milliseconds, on a system that counts times in
/// steps of four, two of three readings are in vain; of sixteen in a row one in a thousand times.
pub(super) const READINGS_MAX: usize = 16;

/// How far the times of files may be ahead of the tick of the system's clock that they come from.
///
/// No kernel has ticks of more than 10 ms; what is further ahead comes from another clock.
pub(super) const READING_TICK_MAX: Duration = Duration::from_millis(20);

/// How long is waited until it is looked whether that tick is over.
pub(super) const READING_PAUSE: Duration = Duration::from_millis(1);

/// Memory of the remembered listings of all maildrops together, in octets, when nothing is said.
///
/// A message of our own takes about 90: its name, and 24 for where that is and what it says. So
/// there is room for seven maildrops of 100,000 messages or for thousands of ordinary ones. What
/// does not fit is read from the disk at each login, as a maildrop of a million always is.
pub(super) const INDEX_OCTETS_MAX: u64 = 64 * 1024 * 1024;

/// What a remembered maildrop takes beside its listing, in octets: its name, the times of its
/// directories and its places in the tables.
pub(super) const INDEX_MAILBOX_OCTETS: usize = 600;

/// Memory of the listings of all who only look, in octets (SEC-9): they never take what sessions
/// need. One mailbox of 100,000 messages, or many small ones.
pub(super) const LOOKED_OCTETS_MAX: u64 = 32 * 1024 * 1024;

/// Arrivals and removals that are kept for who watches.
///
/// About 250 octets each, 4 MiB together: what ten thousand messages a second leave of it for a
/// watch that reads every second.
pub(super) const HUB_CHANGES_MAX: usize = 16_384;

/// Memory of the listings of all open maildrops together, in octets, when nothing is said (SEC-9).
///
/// A message takes about 90, its mark 32 more, and while its directory is read and sorted all of it
/// 180. So a maildrop of a million messages can be opened beside one that is open already. A login
/// that finds no room is asked to come again; what each session has of its own is not counted.
pub(super) const LISTED_OCTETS_MAX: u64 = 256 * 1024 * 1024;

/// Memory of a listing that is not counted, in octets: that of some hundred messages.
pub(super) const LISTED_OCTETS_FREE: usize = 16 * 1024;

/// What a message of a listing takes while its session lasts, in octets, beside its name and its
/// record: its number three times, when it is removed, and its mark.
pub(super) const LISTED_MESSAGE_OCTETS: usize = 32;

/// How long a directory must have been left alone before it was read, for its listing to be
/// remembered.
///
/// The coarsest times of any file system have steps of 2 s (FAT); the clock behind them is some
/// milliseconds late, and may be set back by [`INDEX_CLOCK_TOLERANCE`] unnoticed. A shorter time
/// would gain nothing: who polls every few seconds is served by the second poll after a change.
pub(super) const INDEX_QUIET: Duration = Duration::from_secs(3);

/// How far the wall clock and the monotonic clock may differ about the age of a listing.
///
/// The two are not read at once, so there has to be some tolerance. Clocks that are corrected
/// slowly are corrected together.
pub(super) const INDEX_CLOCK_TOLERANCE: Duration = Duration::from_millis(500);

/// Largest content that takes the way through the journal, in octets.
///
/// It is written twice then, so the journal pays only while a sync costs more than the second
/// writing; it is also what a delivery holds in memory until it is committed.
pub(super) const JOURNALED_OCTETS_MAX: usize = 128 * 1024;

/// Most octets of a batch of the journal.
///
/// What is written with one call and one sync. More would make each sync longer than it makes them
/// fewer, and two batches are held in memory: one that is written and one that is filled.
pub(super) const BATCH_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// The part of a small file system that the journal may take, all segments together: an eighth, but
/// for two of the smallest size.
///
/// Its segments never shrink. On a memory disk of 24 MiB those of the ordinary size would take all
/// of it in a few thousand messages, though none of these were there any more.
pub(super) const JOURNAL_PART_MAX: u64 = 8;

/// Octets by which a segment grows at first while it is filled for the first time, and what
/// messages leave free behind them.
///
/// A growing file costs a commit of the file system with its sync; a larger step makes those fewer
/// and the space that a hardly used store takes larger. So the steps grow with the segment.
pub(super) const SEGMENT_STEP_OCTETS: u64 = 1024 * 1024;

/// Octets by which a segment grows at most: everybody waits for it.
pub(super) const SEGMENT_STEP_OCTETS_MAX: u64 = 16 * 1024 * 1024;

/// Batches that may fail one after the other before new mail is refused.
///
/// One failure may be a bad spot on the disk, and the next batch goes elsewhere.
pub(super) const JOURNAL_FAILURES_MAX: u32 = 2;

/// How long new mail is refused then, until some is let through to see whether it works again.
pub(super) const JOURNAL_RETRY: Duration = Duration::from_secs(5);

/// Octets of content that deliveries hold in memory, all together, when nothing is configured
/// (SEC-9).
///
/// A thousand of the largest that are journaled, which the disk has to be slow to gather.
pub(super) const HELD_OCTETS_MAX: u64 = 128 * 1024 * 1024;

/// How long after the last batch everything is checkpointed.
///
/// It bounds what a start after a crash has to replay, and for how long a message that another
/// program deleted could come back by that. Checkpoints of a busy store come with its segments.
pub(super) const CHECKPOINT_IDLE: Duration = Duration::from_secs(5);

/// How long after the first batch that a crash would replay everything is checkpointed, however
/// much comes in.
///
/// The same for a store that is never idle and never fills a segment: one message every few
/// seconds. One checkpoint in that time is nothing to a store that fills its segments slower.
pub(super) const CHECKPOINT_AGE_MAX: Duration = Duration::from_secs(10);

/// How often a checkpoint is tried before the store takes no more mail until one succeeds.
pub(super) const CHECKPOINT_ATTEMPTS_MAX: u32 = 3;

/// How long a sync of the whole file system takes before checkpoints go piece by piece.
///
/// In that time a busy store fills a segment, so slower checkpoints cannot keep up. Beside a
/// program that fills the memory of the system it is seconds; on a quiet machine, with only the
/// store's own files to write, a fraction of this, and less than they take one by one.
pub(super) const SYNC_SLOW: Duration = Duration::from_millis(500);

/// How long it is believed that a sync takes as long as the last one of its kind.
///
/// Then it is tried again. When it still takes long, that is some seconds in which hardly any mail
/// can be taken: a hundredth of the time. When it does not, what was lost until then is little.
pub(super) const SYNC_PACE_KEPT: Duration = Duration::from_mins(5);

/// Names in mailboxes that are remembered until a checkpoint, so that it can go piece by piece.
///
/// About 250 octets each, 4 MB in all, while mail comes in. At half of it a checkpoint is made
/// early, which is more than a segment of the ordinary size has messages of 10 KiB. Of smaller
/// ones there may be more on a quiet machine, and the rest is not remembered.
pub(super) const TOUCHED_NAMES_MAX: usize = 16_384;

/// How deep the folders of a mailbox are searched for a message that another program has moved.
///
/// Folders lie beside each other (Maildir++) or in each other; nobody sorts mail into more levels.
pub(super) const FOLDER_DEPTH_MAX: usize = 8;

/// How many directories of a mailbox are searched for one.
///
/// Three for each folder. It is done off the path of any client, but for each checkpoint in which
/// a message is missing.
pub(super) const FOLDERS_MAX: usize = 4_096;

/// Names of the journal that are synced together, where that goes file by file.
///
/// Enough for all threads to have work for some while, and the memory of a few hundred KiB.
pub(super) const SYNC_NAMES: usize = 1_024;

/// Threads that sync files at the same time.
///
/// Each sync waits for the disk to say that nothing is left in its own memory, and the system asks
/// it once for all who wait in that moment. Measured with files of 10 KiB, two threads take about
/// 0.7 times as long as one, four half as long. More would leave less of the disk to the journal.
pub(super) const SYNC_THREADS_MAX: usize = 4;

/// Names that are worth a thread to sync them.
pub(super) const SYNC_THREAD_NAMES_MIN: usize = 128;

/// How long a full journal waits for sessions that are just applying what is in it.
pub(super) const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages named in one removal of the journal; more take several.
pub(super) const REMOVAL_MESSAGES_MAX: usize = 2_048;

/// How often a start that replays a long journal says how far it has come.
pub(super) const REPLAY_PROGRESS: Duration = Duration::from_secs(1);

/// How long it is believed that the lock of the store is in its place, when a delivery begins, and
/// that a mailbox takes entries, when it is named as a recipient.
///
/// A busy store saves two system calls for each message. Whoever removes the lock and sends
/// something within that time may be refused once; otherwise the lock is made again beforehand. A
/// message for a mailbox that broke within that time is accepted, and waits until it is mended.
pub(super) const PLACE_BELIEVED: Duration = Duration::from_millis(100);

/// Octets of a segment of the journal, when nothing is configured.
///
/// As long as it lasts no file has to be synced: the larger, the fewer checkpoints, and the more
/// files the system may write in its own order.
pub const SEGMENT_OCTETS: u64 = 64 * 1024 * 1024;

/// How many segments there are, when nothing is configured.
///
/// One is filled while others wait for their checkpoint, which takes long beside a program that
/// writes much.
pub const SEGMENTS: usize = 4;

/// Smallest segment that may be configured: a batch may fill half of it, and has to have room for
/// the largest message that is journaled, with all its recipients.
pub const SEGMENT_OCTETS_MIN: u64 = 1024 * 1024;

/// Largest segment that may be configured: what a start after a crash has to read.
pub const SEGMENT_OCTETS_MAX: u64 = 1024 * 1024 * 1024;

/// Fewest segments that may be configured: while one is filled, another one is emptied.
pub const SEGMENTS_MIN: usize = 2;

/// Most segments that may be configured.
pub const SEGMENTS_MAX: usize = 64;

/// Which part of the time of the last sync a leader waits for others: long enough for clients on a
/// fast machine to come back when the disk is slow, and not worth mentioning when it is fast.
pub(super) const GATHER_SHARE: u32 = 4;

/// How long a leader waits for others at most, however slow the disk is.
pub(super) const GATHER_MAX: Duration = Duration::from_millis(5);

/// Octets of a large message after which the system is asked to begin writing them.
///
/// While a message comes in the disk has nothing to do; what it writes meanwhile need not be waited
/// for at the end. Smaller pieces would be many calls, larger ones would leave more to the end.
pub(super) const BEGIN_SYNC_OCTETS: u64 = 1024 * 1024;
