//! The SMTP session: the same octets get the same replies and the same mail, wherever they are cut;
//! every reply is a line of ASCII that begins with a code.

use crate::replay::smtp::{Limits, Replay};

/// Runs one dialogue: an octet of settings, then what the client sends.
pub fn run(data: &[u8]) {
    let Some((bits, octets)) = data.split_first() else {
        return;
    };
    let transcript = crate::transcript(*bits);
    let limits = Limits {
        message_octets: (bits & 0x40 != 0).then_some(100),
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
        assert!(other == whole, "the replies depend on how the octets came");
    }
    for line in whole.0.split_inclusive(|octet| *octet == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("whole lines");
        assert!(text.len() <= 510 && text.iter().all(|octet| (32..127).contains(octet)));
        let (code, rest) = text.split_at(3);
        assert!(code.iter().all(u8::is_ascii_digit) && b" -".contains(&rest[0]));
    }
}
