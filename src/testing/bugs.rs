//! Bugs that the tests plant in the store, to see whether they would be noticed.
//!
//! Each stands where the right code is, behind `cfg(test)`, and works in the thread that planted
//! it.

use std::cell::Cell;

/// A line of the store that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// What somebody is about to remove counts as removed, wherever it is.
    AnnouncedRemovalsAreDurable,
    /// What is not yet in the Maildirs counts as checkpointed.
    CheckpointsCountTheUnapplied,
    /// What is checkpointed counts as settled, though the journal does not say so.
    CheckpointsMakeNothingDue,
    /// Names are given and taken as if the sync of a directory saved them everywhere.
    DirectorySyncsAreTrusted,
    /// What was copied to another device is left to a checkpoint.
    CopiesAreLeftToCheckpoints,
    /// After a failed sync nothing is written anew.
    FailedCheckpointsAreRepeated,
    /// A message file whose sync failed counts as durable.
    FailedFileSyncsAreTrusted,
    /// A batch whose sync failed is synced again.
    FailedSyncsAreRepeated,
    /// A session gives its maildrop back before what it removes is settled.
    ClaimsEndBeforeRemovals,
    /// Who waits for its batch looks, and lets another go first before it says that it waits.
    FollowersAreMissed,
    /// The journal is not told what is checkpointed when nothing comes.
    FloorsAreNotWritten,
    /// A start ends the journal before what was replayed is durable.
    JournalsEndBeforeTheSync,
    /// A file that is not where it was put is not looked for.
    MovedFilesAreMissed,
    /// Nor is one that is to be taken back because its delivery failed.
    MovedFilesAreNotTakenBack,
    /// What is not there to be exchanged when it is written anew was removed.
    NotFoundAtExchangeIsRemoved,
    /// Who reads without a claim does not keep what was withdrawn from being forgotten.
    ReadersDoNotCount,
    /// What was removed is not noted in the journal.
    RemovalsAreNotJournaled,
    /// A directory that was put into the place of the store is taken for it.
    ReplacedPlacesAreTrusted,
    /// A replay takes a file that has the name for the message.
    ReplaysTrustNames,
    /// What comes back although it was removed is left where it is.
    ReturnedNamesAreLeft,
    /// A segment is written over before it is checkpointed.
    SegmentsAreReusedEarly,
    /// What one reading of a directory does not have is not there.
    SkippedEntriesAreGone,
    /// A start gives a file its name whether or not another program has just taken that away.
    StartsBringNamesBack,
    /// A batch need not fit its checksum.
    TornBatchesAreTrusted,
    /// A checkpoint syncs files and not the directories of their names.
    TouchedDirectoriesAreMissed,
    /// A checkpoint syncs all files but the first.
    TouchedFilesAreMissed,
    /// What waited is let go before it is durable in its mailbox.
    WaitingMessagesAreLetGoEarly,
    /// The whole file system is synced where that saves nothing.
    WholeSyncsAreTrusted,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants `bug` in the code that this thread runs, or none.
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether `bug` is planted.
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
