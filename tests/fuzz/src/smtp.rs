//! The SMTP session: the same octets get the same replies and the same mail, however they are cut;
//! every reply is a line of ASCII that begins with a code.

use facteur::smtp::Dialect;

use crate::replay::smtp::{Limits, Replay};

/// Runs one dialogue: one octet of settings, then the client's octets.
pub fn run(data: &[u8]) {
    let Some((bits, octets)) = data.split_first() else {
        return;
    };
    for dialect in [Dialect::Smtp, Dialect::Lmtp] {
        run_as(dialect, *bits, octets);
    }
}

fn run_as(dialect: Dialect, bits: u8, octets: &[u8]) {
    let transcript = crate::transcript(bits);
    let limits = Limits {
        dialect,
        message_octets: (bits & 0x40 != 0).then(|| octets_max(octets)),
        recipients: Some(3),
        errors: (bits & 0x80 != 0).then_some(5),
        domains: Vec::new(),
    };
    let [whole, others @ ..] = crate::cuts(octets).map(|pieces| {
        let mut session = Replay::new(&limits, &transcript);
        for piece in pieces {
            session.feed(piece);
        }
        session.end();
        assert!(session.is_closed());
        (session.output, session.mailboxes)
    });
    for other in others {
        assert!(
            other == whole,
            "the replies depend on how the octets were cut"
        );
    }
    for line in whole.0.split_inclusive(|octet| *octet == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("whole lines");
        assert!(text.len() <= 510 && text.iter().all(|octet| (32..127).contains(octet)));
        let (code, rest) = text.split_at(3);
        assert!(code.iter().all(u8::is_ascii_digit) && b" -".contains(&rest[0]));
    }
}

/// A limit that a long content exceeds. A client is cut off at twice the limit, and the exact place
/// depends on how the octets are cut, so that is out of reach; in a session with LF each LF counts
/// as CRLF.
fn octets_max(octets: &[u8]) -> u64 {
    let length = u64::try_from(octets.len()).expect("not so long");
    let first = octets.split(|octet| *octet == b'\n').next();
    if first.is_some_and(|line| line.ends_with(b"\r")) {
        length / 2 + 1
    } else {
        length + 1
    }
}
