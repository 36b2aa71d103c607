//! The limits of the store, each with its reason.
//!
//! Nothing is checked here; the code that uses a limit checks it.

use std::time::Duration;

/// Free space below which no delivery is begun, in octets, on a large file system.
///
/// A full disk affects everybody on the machine, and a store without room cannot even record
/// removals. The reserve also covers deliveries that were admitted but not yet written: admission
/// looks at the free space of the moment, so several deliveries may count on the same octets.
pub(super) const FREE_OCTETS_RESERVE: u64 = 32 * 1024 * 1024;

/// The part of a small file system that is reserved instead: an eighth, since more would leave too
/// little room for mail.
pub(super) const FREE_PART_RESERVED: u64 = 8;

/// Longest name of a directory made from an address, in octets.
///
/// File systems allow 255; the rest is left to programs that append to the name. A local part of 64
/// octets fits even if each of them is encoded (RFC 5321 §4.5.3.1.1).
pub(super) const DIRECTORY_NAME_OCTETS_MAX: usize = 240;

/// Longest host name in the name of a message file, in octets.
///
/// With the longest numbers a file name then has 201 octets, which leaves room for the flags of
/// other programs.
pub(super) const HOST_OCTETS_MAX: usize = 100;

/// Mailboxes that are known to accept no mail.
///
/// The messages that wait for them are on the disk; memory holds only the name of each mailbox and
/// what is wrong with it, some 500 octets. If there are more, it is not single mailboxes that are
/// broken: then messages that cannot be delivered are kept in memory, as after a failure of the
/// whole store, and no delivery is begun.
pub(super) const AILING_MAILBOXES_MAX: usize = 16_384;

/// How often the mailboxes that accept no mail are tried again if nobody uses them.
///
/// It takes a few system calls for each. A login, or a message to one of them, tries it
/// immediately.
pub(super) const CURE_PACE: Duration = Duration::from_mins(1);

/// How long a login waits for another session of the same maildrop to end.
///
/// A client that closes its connection without QUIT and reconnects immediately is faster than the
/// end of its session, which takes a few milliseconds. If the session is still there after this
/// time, the login is refused before a person would wonder about the wait.
pub(super) const CLAIM_PATIENCE: Duration = Duration::from_secs(1);

/// How long a removal from several mailboxes waits for the sessions that have them open.
///
/// A test that fetches its mail over POP3 and then removes everything is done with its sessions by
/// then; a person who clicks does not wait longer.
pub(super) const REMOVAL_PATIENCE: Duration = Duration::from_secs(2);

/// How often the fact that a mailbox accepts no mail is reported.
pub(super) const AILING_REMINDER: Duration = Duration::from_hours(1);

/// Mailboxes remembered as durable, so that a delivery to them costs no extra system call.
///
/// About 230 octets each. When the limit is reached, all are forgotten, which costs one more look
/// at each mailbox in use.
pub(super) const KNOWN_MAILBOXES_MAX: usize = 16_384;

/// Octets read with one call from a file whose size has to be counted.
pub(super) const COUNT_OCTETS: usize = 64 * 1024;

/// How many times a message that another program keeps renaming is looked for.
///
/// A message that is renamed as fast as the system can is missed every other time.
pub(super) const FIND_ATTEMPTS_MAX: usize = 10;

/// Readings of a Maildir before reporting that other programs change it too fast to be listed.
///
/// If a program renames a message every ten milliseconds, and the system counts times in steps of
/// four milliseconds, two of three readings fail; sixteen in a row fail about once in a thousand
/// times.
pub(super) const READINGS_MAX: usize = 16;

/// How far the times of files may be ahead of the clock tick that they come from.
///
/// No kernel has ticks of more than 10 ms; a time further ahead comes from another clock.
pub(super) const READING_TICK_MAX: Duration = Duration::from_millis(20);

/// How long to wait before checking again whether that tick is over.
pub(super) const READING_PAUSE: Duration = Duration::from_millis(1);

/// Default for the memory of the remembered listings of all maildrops together, in octets.
///
/// A message delivered by facteur takes about 90: its name, and 24 for the position of the name and
/// what it says. One of another program whose name does not give the size takes 24 more than its
/// name and that. So there is room for seven maildrops of 100,000 messages, or for thousands of
/// ordinary ones. Maildrops that do not fit are read from the disk, and counted, at each login, as
/// one of a million messages always is.
pub(super) const INDEX_OCTETS_MAX: u64 = 64 * 1024 * 1024;

/// What a remembered maildrop takes in addition to its listing, in octets: its name, the times of
/// its directories and its entries in the tables.
pub(super) const INDEX_MAILBOX_OCTETS: usize = 600;

/// Memory of the listings of all that only look, in octets (SEC-9), separate from what sessions
/// need. Enough for one mailbox of 100,000 messages, or many small ones.
pub(super) const LOOKED_OCTETS_MAX: u64 = 32 * 1024 * 1024;

/// Arrivals and removals that are kept for watches.
///
/// Enough for a watch that reads every second while ten thousand messages a second arrive, and for
/// a script that takes a cursor, starts a program that sends a few thousand, and then waits.
pub(super) const HUB_CHANGES_MAX: usize = 16_384;

/// Octets of memory of these changes.
///
/// One takes about 180; with the longest addresses, some 500.
pub(super) const HUB_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// Changes that one call returns, so that a thousand watches that are far behind do not make a
/// thousand copies of all that are kept.
pub(super) const HUB_NEWS_MAX: usize = 512;

/// How often many threads that wait for mail are woken at most.
///
/// A person does not notice 50 ms. Waking a thousand threads takes some 5 ms of processor time.
pub(super) const HUB_PACE: Duration = Duration::from_millis(50);

/// Watches of one mailbox that are woken for each of its messages. If there are more, they are
/// woken like those of all mailboxes.
pub(super) const HUB_PROMPT_MAX: usize = 16;

/// Mailboxes that are watched alone, each with a bell of its own: about 300 octets each.
pub(super) const HUB_BELLS_MAX: usize = 4_096;

/// Default for the memory of the listings of all open maildrops together, in octets (SEC-9).
///
/// A message takes about 90 and its mark 32 more; while its directory is read and sorted, it takes
/// 180 in all. So a maildrop of a million messages can be opened beside one that is open already.
/// A login that finds no room is asked to try again later; the other memory of a session is not
/// counted.
pub(super) const LISTED_OCTETS_MAX: u64 = 256 * 1024 * 1024;

/// The memory of a listing below which it is not counted, in octets: about 180 messages.
pub(super) const LISTED_OCTETS_FREE: usize = 16 * 1024;

/// What a message of a listing takes while its session lasts, in octets, in addition to its name
/// and its record: its mark and, if it is removed, its number three times.
pub(super) const LISTED_MESSAGE_OCTETS: usize = 32;

/// How long a directory must have been unchanged before it was read, for its listing to be
/// remembered.
///
/// The coarsest file times have steps of 2 s (FAT); the clock behind them is some milliseconds
/// late, and may be set back by [`INDEX_CLOCK_TOLERANCE`] unnoticed. A shorter time would gain
/// nothing: a client that polls every few seconds benefits from the second poll after a change.
pub(super) const INDEX_QUIET: Duration = Duration::from_secs(3);

/// How far the wall clock and the monotonic clock may differ about the age of a listing.
///
/// The two are not read at the same time, so there has to be some tolerance. Clocks that are
/// corrected slowly are corrected together.
pub(super) const INDEX_CLOCK_TOLERANCE: Duration = Duration::from_millis(500);

/// Largest content that goes through the journal, in octets.
///
/// Journaled content is written twice, so the journal pays off only while a sync costs more than
/// the second write. This is also what a delivery holds in memory until it is committed.
pub(super) const JOURNALED_OCTETS_MAX: usize = 128 * 1024;

/// Most octets of a batch of the journal.
///
/// A batch is written with one call and one sync. A larger one would lengthen each sync by more
/// than it would save in their number. Two batches are held in memory: one is being written while
/// the other is being filled.
pub(super) const BATCH_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// The part of a small file system that the journal may take, all segments together: an eighth, but
/// at least two segments of the smallest size.
///
/// Segments never shrink. On a memory disk of 24 MiB, segments of the ordinary size would fill all
/// of it after a few thousand messages, even if all of those had been removed.
pub(super) const JOURNAL_PART_MAX: u64 = 8;

/// Octets by which a segment grows at first while it is filled for the first time, and the space
/// that batches with messages keep allocated after them.
///
/// The sync of a file that has grown costs a commit of the file system. Larger steps make those
/// rarer, but make a hardly used store take more space. So the steps grow with the segment.
pub(super) const SEGMENT_STEP_OCTETS: u64 = 1024 * 1024;

/// Octets by which a segment grows at most, since everybody waits for it.
pub(super) const SEGMENT_STEP_OCTETS_MAX: u64 = 16 * 1024 * 1024;

/// Batches that may fail in a row before new mail is refused.
///
/// One failure may be a bad spot on the disk, and the next batch goes elsewhere.
pub(super) const JOURNAL_FAILURES_MAX: u32 = 2;

/// How long new mail is then refused, until some is let through to see whether the journal works
/// again.
pub(super) const JOURNAL_RETRY: Duration = Duration::from_secs(5);

/// Default for the octets of content that all deliveries together hold in memory (SEC-9).
///
/// A thousand contents of the largest size that is journaled; so many come together only if the
/// disk is slow.
pub(super) const HELD_OCTETS_MAX: u64 = 128 * 1024 * 1024;

/// How long after the last batch everything is checkpointed.
///
/// It bounds what a start after a crash has to replay, and the time within which a message that
/// another program deleted could come back by that. A busy store makes checkpoints when its
/// segments are full.
pub(super) const CHECKPOINT_IDLE: Duration = Duration::from_secs(5);

/// How long after the first batch that a crash would replay everything is checkpointed, no matter
/// how much comes in.
///
/// This is for a store that is never idle and never fills a segment, such as one that gets a
/// message every few seconds. One checkpoint in that time costs almost nothing for a store that
/// fills its segments more slowly.
pub(super) const CHECKPOINT_AGE_MAX: Duration = Duration::from_secs(10);

/// How often a checkpoint is tried before the store accepts no more mail until one succeeds.
pub(super) const CHECKPOINT_ATTEMPTS_MAX: u32 = 3;

/// How long a sync of the whole file system takes before checkpoints go piece by piece.
///
/// In that time a busy store fills a segment, so slower checkpoints cannot keep up. Beside a
/// program that writes a lot, such a sync takes seconds; on a quiet machine, with only the store's
/// own files to write, it takes a fraction of this time, and less than syncing them one by one.
pub(super) const SYNC_SLOW: Duration = Duration::from_millis(500);

/// How long a sync is assumed to take as long as the last one of its kind.
///
/// After that it is tried again. If it still takes long, hardly any mail can be accepted for some
/// seconds: a hundredth of the time. If it does not, little was lost until then.
pub(super) const SYNC_PACE_KEPT: Duration = Duration::from_mins(5);

/// Names in mailboxes that are remembered until a checkpoint, so that it can go piece by piece.
///
/// About 250 octets each, 4 MB in all, while mail comes in. At half of the limit a checkpoint is
/// made early; half is more than the number of 10 KiB messages in a segment of the ordinary size.
/// There may be more messages if they are smaller and the machine is quiet; the rest is not
/// remembered.
pub(super) const TOUCHED_NAMES_MAX: usize = 16_384;

/// How deep the folders of a mailbox are searched for a message that another program has moved.
///
/// Folders are beside each other (Maildir++) or nested; nobody sorts mail into more levels.
pub(super) const FOLDER_DEPTH_MAX: usize = 8;

/// How many directories of a mailbox are searched for such a message.
///
/// Each folder has three. No client waits for the search, but it is done for each checkpoint in
/// which a message is missing.
pub(super) const FOLDERS_MAX: usize = 4_096;

/// Names from the journal that are synced together, where syncs go file by file.
///
/// Enough to give all threads work for some time; it takes a few hundred KiB of memory.
pub(super) const SYNC_NAMES: usize = 1_024;

/// Threads that sync files at the same time.
///
/// Each sync waits for the disk to flush its own cache, and one flush serves all syncs that wait at
/// that moment. Measured with files of 10 KiB, two threads take about 0.7 times as long as one, and
/// four half as long. More would leave less of the disk to the journal.
pub(super) const SYNC_THREADS_MAX: usize = 4;

/// How many names make it worthwhile to start another thread to sync them.
pub(super) const SYNC_THREAD_NAMES_MIN: usize = 128;

/// Threads that unlink the messages of one removal, the session's own included.
///
/// A third of the time of an unlink is spent while the directory is locked, so more would wait for
/// each other.
pub(super) const REMOVAL_THREADS_MAX: usize = 2;

/// How many messages make it worthwhile to start that other thread: each takes some 10 µs.
pub(super) const REMOVAL_SHARE_MIN: usize = 64;

/// Threads that help sessions to remove messages, of all sessions together.
///
/// If several sessions remove messages at the same time, they keep the processors busy without
/// further threads.
pub(super) const REMOVAL_HELPERS_MAX: u64 = 1;

/// How long a full journal waits for sessions that are still applying its records.
pub(super) const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages named in one removal record of the journal; more need several records.
pub(super) const REMOVAL_MESSAGES_MAX: usize = 2_048;

/// How often a start that replays a long journal reports its progress.
pub(super) const REPLAY_PROGRESS: Duration = Duration::from_secs(1);

/// How long after a check the lock of the store is assumed to be in place when a delivery begins,
/// and a mailbox to accept entries when it is named as a recipient.
///
/// This saves a busy store two system calls for each message. A client that sends something within
/// that time after the lock was removed may be refused once; otherwise the lock is created again
/// first. A message for a mailbox that broke within that time is accepted, and waits until it is
/// repaired.
pub(super) const PLACE_BELIEVED: Duration = Duration::from_millis(100);

/// Default for the octets of a segment of the journal.
///
/// No file has to be synced until the segment is full. The larger it is, the fewer checkpoints
/// there are, and the more files the system can write in its own order.
pub const SEGMENT_OCTETS: u64 = 64 * 1024 * 1024;

/// Default for the number of segments.
///
/// One is filled while others wait for their checkpoint, which takes long beside a program that
/// writes a lot.
pub const SEGMENTS: usize = 4;

/// Smallest segment that may be configured. A batch may fill half of it, and must have room for the
/// largest message that is journaled, with all its recipients.
pub const SEGMENT_OCTETS_MIN: u64 = 1024 * 1024;

/// Largest segment that may be configured, since a start after a crash has to read it.
pub const SEGMENT_OCTETS_MAX: u64 = 1024 * 1024 * 1024;

/// Fewest segments that may be configured: one is filled while the other is emptied.
pub const SEGMENTS_MIN: usize = 2;

/// Most segments that may be configured.
pub const SEGMENTS_MAX: usize = 64;

/// A leader waits for others for the time of the last sync divided by this number. That is long
/// enough for clients on a fast machine to come back if the disk is slow, and negligible if it is
/// fast.
pub(super) const GATHER_SHARE: u32 = 4;

/// How long a leader waits for others at most, no matter how slow the disk is.
pub(super) const GATHER_MAX: Duration = Duration::from_millis(5);

/// Octets of a large message after which the system is asked to begin writing them.
///
/// While a message comes in, the disk is idle; what it writes meanwhile need not be waited for at
/// the end. Smaller pieces would take many calls, larger ones would leave more to the end.
pub(super) const BEGIN_SYNC_OCTETS: u64 = 1024 * 1024;
