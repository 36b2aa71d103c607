//! The POP3 session: the same octets get the same responses, however they are cut; every response
//! begins as the RFC requires.

use crate::replay::pop3::Replay;

/// Runs one dialogue: one octet of settings, then the client's octets.
pub fn run(data: &[u8]) {
    let Some((bits, octets)) = data.split_first() else {
        return;
    };
    let transcript = crate::transcript(bits & 0x3c);
    let messages = vec![
        (
            "bob@example.com".to_owned(),
            b"Subject: 1\n\n.\n..\nbody\n".to_vec(),
        ),
        ("bob@example.com".to_owned(), b"\n".to_vec()),
        ("bob@example.com".to_owned(), b"no end of line".to_vec()),
        (
            "eve@example.com".to_owned(),
            "Subject: \u{fc}\n\n".as_bytes().to_vec(),
        ),
    ];
    let [whole, others @ ..] = crate::cuts(octets).map(|pieces| {
        let mut session = Replay::new(messages.clone(), &transcript);
        for piece in pieces {
            session.feed(piece);
        }
        session.end();
        assert!(session.is_closed());
        session.output
    });
    for other in others {
        assert!(
            other == whole,
            "the responses depend on how the octets were cut"
        );
    }
    assert!(whole.starts_with(b"+OK ") && whole.ends_with(b"\r\n"));
}
