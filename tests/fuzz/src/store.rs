//! A store on the disk for one input. It should be in memory: set TMPDIR to a tmpfs.

use std::path::Path;
use std::sync::Arc;

use facteur::clock::Clock;
use facteur::store::{Durability, Error, MessageStore, Observer, Settings};

/// Opens the store at `root`, with a journal of the smallest size.
pub(crate) fn open(root: &Path) -> Result<Arc<MessageStore>, Error> {
    let settings = Settings {
        durability: Durability::Journal {
            segment_octets: 1024 * 1024,
            segments: 2,
        },
        observer: Observer::new(|_| ()),
        ..Settings::new(root, "localhost")
    };
    MessageStore::open(settings, Clock::system()).map(Arc::new)
}
