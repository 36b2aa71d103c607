//! First lines that no mail program sends.
//!
//! A browser can be made to send a request with a body of somebody else's choosing to any port of
//! this machine. Whatever follows such a first line must not be taken for commands (SEC-13).

/// The methods of HTTP, and the beginning of HTTP/2.
const HTTP_METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PRI", "PUT", "TRACE",
];

/// Whether the first line of a connection, without its ending, shows that the client speaks
/// something else: it does not begin with a letter; or it is a request of HTTP, a line that begins
/// with one of its methods, or ends in its version as every request since 1.0 does; or a proxy
/// tells by the PROXY protocol (version 1; the first octet of version 2 is no letter) for whom it
/// connects.
pub fn is_foreign(first_line: &[u8]) -> bool {
    let mut words = first_line.split(|octet| *octet == b' ');
    let first = words.next().unwrap_or_default();
    let is_method = |method: &&str| first.eq_ignore_ascii_case(method.as_bytes());
    let version = words.next_back().unwrap_or_default();
    let is_version = version
        .get(..5)
        .is_some_and(|name| name.eq_ignore_ascii_case(b"HTTP/"));
    let begins_with_letter = first.first().is_some_and(u8::is_ascii_alphabetic);
    let is_proxy = first == b"PROXY";
    !begins_with_letter || HTTP_METHODS.iter().any(is_method) || is_version || is_proxy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_what_begins_with_no_letter_are_foreign() {
        for (line, foreign) in [
            ("HELO localhost", false),
            ("user bob@example.com", false),
            ("GETTING started", false),
            ("NOOP HTTP", false),
            ("", true),
            (" HELO localhost", true),
            ("\u{16}\u{3}\u{1}", true),
            ("250 Ok", true),
            ("GET / HTTP/1.1", true),
            ("get /", true),
            ("PRI * HTTP/2.0", true),
            ("PROPFIND / HTTP/1.1", true),
            ("propfind / http/1.1", true),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443", true),
            ("PROXY UNKNOWN", true),
            ("PROXYING", false),
        ] {
            assert_eq!(is_foreign(line.as_bytes()), foreign, "{line:?}");
        }
    }
}
