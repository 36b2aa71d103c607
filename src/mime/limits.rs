//! Every limit of this room, each with its reason.

/// Deepest nesting of multiparts. Mail programs make about five levels; each level that is open
/// costs one comparison for every line that could be a delimiter.
pub const DEPTH_MAX: usize = 50;

/// Most parts of one message, the message itself included: more than a person could look through.
pub const PARTS_MAX: usize = 1_000;

/// Longest header section that is kept, in octets: what follows is skipped. A header section of a
/// thousand recipients is about this long.
pub const HEADER_OCTETS_MAX: usize = 64 * 1_024;

/// Longest header section of a message that is written: with the fields of its body and those that
/// a server adds it is still read whole.
pub const COMPOSED_HEADER_OCTETS_MAX: usize = 60 * 1_024;

/// Most memory that the walk through a message holds, in octets: the limits below add up to less.
pub const WALK_OCTETS_MAX: usize = 4 * 1_024 * 1_024;

/// Longest boundary in octets. RFC 2046 §5.1.1 allows 70, and some programs use more.
pub const BOUNDARY_OCTETS_MAX: usize = 256;

/// Longest line in octets, without its ending, that can be a delimiter: the longest boundary with
/// its hyphens, and white space behind it.
pub const DELIMITER_OCTETS_MAX: usize = 512;

/// How much of the beginning of a text is kept for the snippet, in octets before decoding: the
/// readable text often begins behind a style sheet.
pub const LEAD_OCTETS_MAX: usize = 4 * 1_024;

/// How many texts of a message have their beginning kept: the body is usually among the first two.
pub const LEADS_MAX: usize = 8;

/// Longest type of a part in octets: RFC 6838 §4.2 limits both of its names to 127.
pub const TYPE_OCTETS_MAX: usize = 255;

/// Longest name of a charset or a disposition in octets: RFC 2978 §2.3 limits the names of charsets
/// to 40.
pub const WORD_OCTETS_MAX: usize = 64;

/// Longest file name in octets: file systems allow 255.
pub const FILE_NAME_OCTETS_MAX: usize = 1_000;

/// Longest Content-ID in octets: it has the syntax of an address (RFC 2045 §7).
pub const CONTENT_ID_OCTETS_MAX: usize = 500;

/// Most parameters of one field: Content-Type has three, and a file name in Chinese ten sections.
pub const PARAMETERS_MAX: usize = 200;

/// Most addresses of one list in a summary: as many as one transaction has recipients.
pub const PERSONS_MAX: usize = 1_000;

/// Longest text of a summary in octets, such as the subject: a page shows no more.
pub const SUMMARY_TEXT_OCTETS_MAX: usize = 1_000;

/// Longest snippet in characters: Mailpit has the same.
pub const SNIPPET_CHARACTERS_MAX: usize = 250;

/// Longest run of white space, in octets, that quoted-printable removes before a line ending. RFC
/// 2045 §6.7 limits lines to 76.
pub const BLANKS_OCTETS_MAX: usize = 256;

/// Most links that are found in a text, and the most octets of one: the commands look for one link,
/// and browsers accept no more.
pub const LINKS_MAX: usize = 1_000;

/// Longest link in octets.
pub const LINK_OCTETS_MAX: usize = 8_192;

/// Longest reference to a character in HTML, in octets with `&` and `;`: the longest name has 31.
pub const REFERENCE_OCTETS_MAX: usize = 40;

/// Longest text in octets that a message to be written has on one line as it is, such as an address
/// or the name of a file: with the name of its field a line has 998 at most (RFC 5322 §2.1.1).
pub const COMPOSED_WORD_OCTETS_MAX: usize = 900;
