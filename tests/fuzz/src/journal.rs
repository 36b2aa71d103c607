//! The journal: whatever its segments contain, a start does not fail, a second start finds nothing
//! to do, and no file is created outside the mailboxes.
//!
//! Anything that looks like a batch gets a correct checksum; otherwise the code behind it would
//! never be reached.

use std::path::Path;

use facteur::mail::MailboxName;

const BLOCK: usize = 4096;
const MAGIC: &[u8] = b"facteur1";

/// Starts a store with `data` as its first segment.
pub fn run(data: &[u8]) {
    if data.len() > 64 * 1024 {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("mail");
    drop(crate::store::open(&root).expect("an empty store"));
    let journal = root.join(".facteur/journal");
    std::fs::create_dir_all(&journal).expect("its journal");
    std::fs::write(journal.join("id"), "00".repeat(16) + "\n").expect("an id");
    std::fs::write(journal.join("0.seg"), sealed(data)).expect("a segment");
    let store = crate::store::open(&root).expect("a start");
    let bob = MailboxName::from_canonical("bob", "example.com").expect("a name");
    let maildrop = store.open_maildrop(&bob).expect("a maildrop");
    let messages = maildrop.messages();
    for position in 0..messages.len() {
        assert!(messages.octets(position).is_some());
    }
    drop(maildrop);
    drop(store);
    assert!(
        !journal.join("id").exists(),
        "nothing is left to be replayed"
    );
    check_names(directory.path());
}

/// `data` in blocks, each with the checksum that it would have as a batch.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut segment = data.to_vec();
    segment.resize(data.len().next_multiple_of(BLOCK), 0);
    let starts: Vec<usize> = (0..segment.len()).step_by(BLOCK).collect();
    for start in starts {
        let batch = &mut segment[start..];
        if !batch.starts_with(MAGIC) {
            continue;
        }
        let octets = u32::from_le_bytes(batch[12..16].try_into().expect("four"));
        let end = usize::try_from(octets)
            .unwrap_or(usize::MAX)
            .saturating_add(64);
        if let Some(covered) = batch.get(12..end) {
            let checksum = crc32fast::hash(covered).to_le_bytes();
            batch[8..12].copy_from_slice(&checksum);
        }
    }
    segment
}

/// The directory of the test contains only the store.
fn check_names(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("the directory") {
        assert_eq!(entry.expect("an entry").file_name(), "mail");
    }
}
