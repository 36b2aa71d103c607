//! File names in a Maildir: whatever other programs call their messages, the maildrop opens, each
//! message has a unique-id that POP3 can send, and no two have the same.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use facteur::mail::MailboxName;

/// Serves a Maildir with files of these names, separated by slashes; the first octet says which are
/// in `cur`.
pub fn run(data: &[u8]) {
    let Some((bits, names)) = data.split_first() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("mail");
    let store = crate::store::open(&root).expect("an empty store");
    let maildir = root.join("example.com/bob");
    for side in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(maildir.join(side)).expect("a Maildir");
    }
    for (number, name) in names.split(|octet| *octet == b'/').take(8).enumerate() {
        let side = if bits & (1 << number) == 0 {
            "new"
        } else {
            "cur"
        };
        if !name.contains(&0) && name != b"." && name != b".." && !name.is_empty() {
            // A name that is too long cannot exist.
            drop(std::fs::write(
                maildir.join(side).join(OsStr::from_bytes(name)),
                "x\n",
            ));
        }
    }
    let bob = MailboxName::from_canonical("bob", "example.com").expect("a name");
    let maildrop = store.open_maildrop(&bob).expect("a maildrop");
    let messages = maildrop.messages();
    let mut seen = BTreeSet::new();
    for position in 0..messages.len() {
        let id = messages
            .unique_id(position)
            .expect("a unique-id")
            .to_string();
        assert!((1..=70).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_graphic()));
        assert!(seen.insert(id), "two messages with one unique-id");
    }
}
