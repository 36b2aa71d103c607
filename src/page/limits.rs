//! Every limit of the pages, each with its reason.

/// Largest picture in octets, without its transfer encoding, that becomes part of a document:
/// mail programs shrink photographs to less.
pub const PICTURE_OCTETS_MAX: u64 = 2 * 1_024 * 1_024;

/// How many octets of pictures a document has in all, each counted as often as it is shown: a
/// browser holds all of them at once.
pub const PICTURES_OCTETS_MAX: u64 = 16 * 1_024 * 1_024;

/// At how many places a document shows pictures of its mail. Each place is read from the disk
/// again; newsletters have some 50.
pub const PLACES_MAX: usize = 1_000;

/// Longest address of a picture in octets, as it is written in a document: a Content-ID, of which
/// each octet can be percent-encoded.
pub const CID_OCTETS_MAX: usize = 3 * crate::mime::limits::CONTENT_ID_OCTETS_MAX;

/// How many octets of the text of a message its page has for those who do not run scripts. All
/// others load them too, and see nothing of them.
pub const PLAIN_TEXT_OCTETS_MAX: usize = 32 * 1_024;
