//! Octets to text.

use super::guarded;

/// `octets` as text.
///
/// `charset` is a name of any spelling. UTF-8 has U+FFFD where it is broken. Without a charset,
/// with an unknown one or with US-ASCII, which many programs declare without meaning it, the octets
/// are UTF-8 if they are valid as such, and otherwise Latin-1 (with the characters of Windows at
/// 0x80 to 0x9F, as browsers do).
///
/// For a moment it takes memory of up to four times `octets`: limit what you pass.
pub fn to_text(octets: &[u8], charset: Option<&str>) -> String {
    let name = charset.unwrap_or_default().trim().to_ascii_lowercase();
    match name.as_str() {
        "utf-8" | "utf8" => return String::from_utf8_lossy(octets).into_owned(),
        "" | "us-ascii" | "ascii" | "ansi_x3.4-1968" => {}
        name => {
            if let Some(text) = guarded::charset(octets, name) {
                return text;
            }
        }
    }
    if let Ok(text) = str::from_utf8(octets) {
        return text.to_owned();
    }
    let text = guarded::charset(octets, "windows-1252");
    text.unwrap_or_else(|| String::from_utf8_lossy(octets).into_owned())
}
