//! Bugs that the tests plant in the store, to check that they would be noticed.
//!
//! Each is next to the correct code, behind `cfg(test)`, and only affects the thread that planted
//! it.

use std::cell::Cell;

/// A wrong line of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Messages that somebody is about to remove count as removed, wherever they are.
    AnnouncedRemovalsAreDurable,
    /// A thread that waits for mail is woken before the change is there.
    BellsRingEarly,
    /// A change of a database counts as durable when it is committed.
    #[cfg(feature = "postgres")]
    ChangesAreNotProved,
    /// A listing counts as current although this daemon has changed the mailbox while it was read.
    ChangesWhileReadingAreMissed,
    /// Messages that are not yet in the Maildirs count as checkpointed.
    CheckpointsCountTheUnapplied,
    /// Checkpointed messages count as settled, though the journal does not say so.
    CheckpointsMakeNothingDue,
    /// A message gets into mailboxes of a database though its content was there before.
    #[cfg(feature = "postgres")]
    DeliveriesAreRepeated,
    /// Names are added and removed as if the sync of one directory saved them everywhere.
    DirectorySyncsAreTrusted,
    /// A copy on another device is left to a checkpoint.
    CopiesAreLeftToCheckpoints,
    /// After a failed sync nothing is rewritten.
    FailedCheckpointsAreRepeated,
    /// A message file whose sync failed counts as durable.
    FailedFileSyncsAreTrusted,
    /// A batch whose sync failed is synced again.
    FailedSyncsAreRepeated,
    /// A mailbox of a database is locked and claimed in one statement.
    #[cfg(feature = "postgres")]
    ClaimsAreOneStatement,
    /// A session releases its maildrop before its removals are settled.
    ClaimsEndBeforeRemovals,
    /// A thread that waits for its batch looks, and lets another run first before it says that it
    /// waits.
    FollowersAreMissed,
    /// A mailbox is left out of a delivery, and yet has the message: putting it there failed late.
    LeftOutFilesStay,
    /// Checkpoints are not recorded in the journal when no mail comes.
    FloorsAreNotWritten,
    /// A start ends the journal before the replayed messages are durable.
    JournalsEndBeforeTheSync,
    /// A file that is not where it was put is not searched for.
    MovedFilesAreMissed,
    /// The same for a file that is withdrawn because its delivery failed.
    MovedFilesAreNotTakenBack,
    /// A message that is moved to a database counts as there if its name is.
    #[cfg(feature = "postgres")]
    NamesAreTrusted,
    /// A file that is missing when it is to be exchanged for its rewritten copy counts as removed.
    NotFoundAtExchangeIsRemoved,
    /// A reader without a claim does not keep withdrawn messages from being forgotten.
    ReadersDoNotCount,
    /// The lease of another node counts by the clock of this node.
    #[cfg(feature = "postgres")]
    LeasesGoByTheNodesClock,
    /// What a mailbox of a database lists is shown before it is proved.
    #[cfg(feature = "postgres")]
    ListingsAreNotProved,
    /// Removals are not recorded in the journal.
    RemovalsAreNotJournaled,
    /// A directory that was put in the place of the store is mistaken for it.
    ReplacedPlacesAreTrusted,
    /// A replay mistakes a file that has the name for the message.
    ReplaysTrustNames,
    /// A removed message that comes back is left where it is.
    ReturnedNamesAreLeft,
    /// A repeated delivery to a database gets new names.
    #[cfg(feature = "postgres")]
    RepeatsGetNewNames,
    /// A segment is overwritten before it is checkpointed.
    SegmentsAreReusedEarly,
    /// A message that a helping thread does not find counts as removed.
    SharesOfHelpersAreTrusted,
    /// A size that was counted is used as long as the message has the same name, whatever file that
    /// is.
    SizesOutliveFiles,
    /// A file that one reading of a directory does not list counts as gone.
    SkippedEntriesAreGone,
    /// A start gives a file its name even if another program has just removed that name.
    StartsBringNamesBack,
    /// Messages are removed by whoever knows the token of a mailbox of a database.
    #[cfg(feature = "postgres")]
    SessionsAreNotChecked,
    /// The names of the standbys were read before the statement.
    #[cfg(feature = "postgres")]
    StandbysAreReadBefore,
    /// A directory that was synced once counts as durable, whatever happens in it.
    SyncedDirectoriesStaySynced,
    /// A batch need not match its checksum.
    TornBatchesAreTrusted,
    /// A checkpoint syncs files but not the directories of their names.
    TouchedDirectoriesAreMissed,
    /// A checkpoint syncs all files except the first.
    TouchedFilesAreMissed,
    /// Waiting mail is released before it is durable in its mailbox.
    WaitingMessagesAreLetGoEarly,
    /// A file that is made without a name gets its names before its content.
    UnnamedFilesAreNamedEarly,
    /// A commit that came with a warning counts.
    #[cfg(feature = "postgres")]
    WarningsAreIgnored,
    /// The whole file system is synced even when that saves nothing.
    WholeSyncsAreTrusted,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants `bug` in the code that this thread runs, or removes it.
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// What is planted in the code that this thread runs, for a thread that it starts.
#[cfg(feature = "postgres")]
pub(crate) fn planted() -> Option<Bug> {
    PLANTED.get()
}

/// Whether `bug` is planted.
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
