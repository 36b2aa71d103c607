//! Which part of a client's line may be shown in the log.
//!
//! Only the session of a protocol knows which line, or which part of one, could be a secret: a
//! password, a SASL response, or an attempt at one that came at the wrong moment or after a
//! mistyped command. So a line is shown as far as its session understands it, and otherwise not at
//! all.

use std::fmt;

/// The first words of lines that are commands in some protocol: in mail protocols, and in those
/// whose clients come to the wrong port. Any other first word might be part of a secret.
const WORDS: [&str; 57] = [
    "APOP",
    "AUTH",
    "BDAT",
    "CAPA",
    "CAPABILITY",
    "CONNECT",
    "DATA",
    "DELE",
    "DELETE",
    "EHLO",
    "ETRN",
    "EXPN",
    "GET",
    "HEAD",
    "HELO",
    "HELP",
    "IDLE",
    "LANG",
    "LAST",
    "LHLO",
    "LIST",
    "LOGIN",
    "LOGOUT",
    "MAIL",
    "NOOP",
    "OPTIONS",
    "PASS",
    "PASSWORD",
    "PATCH",
    "POST",
    "PRI",
    "PROPFIND",
    "PROXY",
    "PUT",
    "QUIT",
    "RCPT",
    "RETR",
    "RPOP",
    "RSET",
    "SAML",
    "SELECT",
    "SEND",
    "SOML",
    "STARTTLS",
    "STAT",
    "STLS",
    "TOP",
    "TRACE",
    "TURN",
    "UIDL",
    "USER",
    "UTF8",
    "VERB",
    "VRFY",
    "XCLIENT",
    "XFORWARD",
    "XTND",
];

/// The part of a line that may be shown: all of it, its beginning, or nothing. The hidden part is
/// shown as `***`, whatever its length. The text is as the client sent it: the caller has to escape
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disclosure<'a> {
    shown: &'a [u8],
    hides: bool,
}

impl<'a> Disclosure<'a> {
    /// Nothing.
    pub const NOTHING: Self = Self {
        shown: &[],
        hides: true,
    };

    /// All of `line`.
    pub fn whole(line: &'a [u8]) -> Self {
        Self {
            shown: line,
            hides: false,
        }
    }

    /// The first `octets` of `line`, with a mark if there is more.
    pub fn beginning(line: &'a [u8], octets: usize) -> Self {
        match line.split_at_checked(octets) {
            Some((shown, rest)) if !rest.trim_ascii().is_empty() => Self { shown, hides: true },
            Some((shown, _)) => Self::whole(shown),
            None => Self::whole(line),
        }
    }

    /// The part that may be shown of a line that is not a command here: its first word, if that is
    /// a command elsewhere.
    pub fn of_unknown(line: &'a [u8]) -> Self {
        let word = line.split(|octet| *octet == b' ').next();
        let word = word.unwrap_or_default().trim_ascii_end();
        let is_word = |known: &&str| known.as_bytes().eq_ignore_ascii_case(word);
        if line.is_empty() {
            Self::whole(line)
        } else if WORDS.iter().any(is_word) {
            Self::beginning(line, word.len())
        } else {
            Self::NOTHING
        }
    }
}

impl fmt::Display for Disclosure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.shown))?;
        match (self.hides, self.shown.is_empty()) {
            (false, _) => Ok(()),
            (true, true) => f.write_str("***"),
            (true, false) => f.write_str(" ***"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_word_of_an_unknown_line_is_shown() {
        for (line, shown) in [
            (&b""[..], ""),
            (b"XTND", "XTND"),
            (b"xclient LOGIN=bob", "xclient ***"),
            (b"PASSWORD hunter2", "PASSWORD ***"),
            (b"GET /?token=hunter2 HTTP/1.1", "GET ***"),
            (b"PASS\thunter2", "***"),
            (b"PASS:hunter2", "***"),
            (b" PASS hunter2", "***"),
            (b"PAS hunter2", "***"),
            (b"aHVudGVyMg==", "***"),
            (b"hunter2", "***"),
            (b"\xff\xfe", "***"),
        ] {
            assert_eq!(Disclosure::of_unknown(line).to_string(), shown);
        }
    }

    #[test]
    fn a_hidden_part_does_not_reveal_its_length() {
        let shown = |line: &[u8]| Disclosure::beginning(line, 4).to_string();
        assert_eq!(shown(b"PASS hunter2"), shown(b"PASS x"));
        assert_eq!(shown(b"PASS  "), "PASS");
        assert_eq!(shown(b"PASS"), "PASS");
        assert_eq!(shown(b"PA"), "PA");
        assert_eq!(Disclosure::whole(b"a\xffb").to_string(), "a\u{fffd}b");
    }
}
