//! In which charset the HTML of a mail is sent to a browser.
//!
//! [`document`](super::document) looks for tags in octets. A browser must find the same tags in
//! them, so it must not choose the charset: it takes the one of the response, if it knows it, over
//! what the document says of itself, except for a byte order mark. In charsets that switch between
//! sets of characters, such as ISO-2022-JP, a tag can be written with octets in it that vanish.

use std::borrow::Cow;

use crate::mime::to_text;

const UTF_8: &str = "text/html; charset=utf-8";
const WINDOWS_1252: &str = "text/html; charset=windows-1252";

/// The media types of HTML in the charsets that all browsers know by these names (Encoding §4.2),
/// and in which `<` and what follows it always stand for themselves.
const KNOWN: [&str; 37] = [
    UTF_8,
    WINDOWS_1252,
    "text/html; charset=big5",
    "text/html; charset=big5-hkscs",
    "text/html; charset=euc-jp",
    "text/html; charset=euc-kr",
    "text/html; charset=gb18030",
    "text/html; charset=gb2312",
    "text/html; charset=gbk",
    "text/html; charset=ibm866",
    "text/html; charset=iso-8859-1",
    "text/html; charset=iso-8859-2",
    "text/html; charset=iso-8859-3",
    "text/html; charset=iso-8859-4",
    "text/html; charset=iso-8859-5",
    "text/html; charset=iso-8859-6",
    "text/html; charset=iso-8859-7",
    "text/html; charset=iso-8859-8",
    "text/html; charset=iso-8859-9",
    "text/html; charset=iso-8859-10",
    "text/html; charset=iso-8859-13",
    "text/html; charset=iso-8859-14",
    "text/html; charset=iso-8859-15",
    "text/html; charset=iso-8859-16",
    "text/html; charset=koi8-r",
    "text/html; charset=koi8-u",
    "text/html; charset=ks_c_5601-1987",
    "text/html; charset=shift_jis",
    "text/html; charset=windows-874",
    "text/html; charset=windows-1250",
    "text/html; charset=windows-1251",
    "text/html; charset=windows-1253",
    "text/html; charset=windows-1254",
    "text/html; charset=windows-1255",
    "text/html; charset=windows-1256",
    "text/html; charset=windows-1257",
    "text/html; charset=windows-1258",
];

/// HTML that a browser reads as it is meant, and its media type with the charset.
///
/// Without a charset, or with US-ASCII, `octets` are UTF-8 if they are valid as such, and otherwise
/// Latin-1, as [`to_text`] has it.
pub(super) fn for_browser<'a>(
    octets: &'a [u8],
    charset: Option<&str>,
) -> (Cow<'a, [u8]>, &'static str) {
    let decoded = |octets: &[u8], name: Option<&str>| {
        let text = to_text(octets, name);
        (Cow::Owned(text.into_bytes()), UTF_8)
    };
    // A mark beats every name (HTML §13.2.3.2).
    match octets {
        [0xef, 0xbb, 0xbf, ..] => return (Cow::Borrowed(octets), UTF_8),
        [0xfe, 0xff, rest @ ..] => return decoded(rest, Some("utf-16be")),
        [0xff, 0xfe, rest @ ..] => return decoded(rest, Some("utf-16le")),
        _ => {}
    }
    let name = charset.unwrap_or_default().trim().to_ascii_lowercase();
    let media_type = match name.as_str() {
        "" | "us-ascii" | "ascii" | "ansi_x3.4-1968" => {
            let is_utf8 = str::from_utf8(octets).is_ok();
            Some(if is_utf8 { UTF_8 } else { WINDOWS_1252 })
        }
        "utf8" => Some(UTF_8),
        name => KNOWN.into_iter().find(|known| {
            let known = known.strip_prefix("text/html; charset=");
            known == Some(name)
        }),
    };
    match media_type {
        Some(media_type) => (Cow::Borrowed(octets), media_type),
        None => decoded(octets, Some(&name)),
    }
}
