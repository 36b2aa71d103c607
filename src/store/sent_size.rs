//! The size of a message as RETR sends it.

/// Counts octets as RETR sends them (RFC 1939 §11): every LF without a CR before it counts as CRLF,
/// a last line without LF gets a CRLF, and an empty message stays empty.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentSize {
    stored_octets: u64,
    n_bare_line_feeds: u64,
    last: Option<u8>,
}

impl SentSize {
    /// Counts the next octets of the message.
    pub(super) fn add(&mut self, octets: &[u8]) {
        let Some(&last) = octets.last() else { return };
        let n_line_feeds = memchr::memchr_iter(b'\n', octets).count();
        // There are rarely any: facteur stores no CR before an LF.
        let n_with_cr = memchr::memmem::find_iter(octets, b"\r\n").count();
        let split_pair = self.last == Some(b'\r') && octets.first() == Some(&b'\n');
        let n_bare = n_line_feeds
            .saturating_sub(n_with_cr)
            .saturating_sub(split_pair.into());
        self.n_bare_line_feeds = self.n_bare_line_feeds.saturating_add(octets_of(n_bare));
        self.stored_octets = self.stored_octets.saturating_add(octets_of(octets.len()));
        self.last = Some(last);
    }

    /// Octets on disk.
    pub(super) fn stored_octets(&self) -> u64 {
        self.stored_octets
    }

    /// Octets that RETR sends, before dot-stuffing.
    pub(super) fn octets(&self) -> u64 {
        let ending = match self.last {
            None | Some(b'\n') => 0,
            Some(_) => 2,
        };
        self.stored_octets
            .saturating_add(self.n_bare_line_feeds)
            .saturating_add(ending)
    }
}

/// A length in memory as a number of octets.
fn octets_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule of RFC 1939 §11, one octet at a time.
    fn naive_sent_octets(stored: &[u8]) -> u64 {
        let mut sent = Vec::new();
        for &octet in stored {
            if octet == b'\n' && sent.last() != Some(&b'\r') {
                sent.push(b'\r');
            }
            sent.push(octet);
        }
        if !stored.is_empty() && stored.last() != Some(&b'\n') {
            sent.extend(b"\r\n");
        }
        octets_of(sent.len())
    }

    fn check_pieces(pieces: &[&[u8]]) {
        let whole = pieces.concat();
        let mut size = SentSize::default();
        for piece in pieces {
            size.add(piece);
        }
        assert_eq!(size.octets(), naive_sent_octets(&whole), "{pieces:?}");
        assert_eq!(size.stored_octets(), octets_of(whole.len()), "{pieces:?}");
    }

    #[test]
    fn sent_octets_count_every_line_ending_as_crlf() {
        for (stored, expect) in [
            ("", 0),
            ("\n", 2),
            ("\r\n", 2),
            ("a", 3),
            ("a\n", 3),
            ("a\r\n", 3),
            ("a\nb", 6),
            ("a\r", 4),
            ("\r\r\n\n", 5),
        ] {
            let mut size = SentSize::default();
            size.add(stored.as_bytes());
            assert_eq!(size.octets(), expect, "{stored:?}");
            assert_eq!(naive_sent_octets(stored.as_bytes()), expect, "{stored:?}");
        }
    }

    proptest! {
        #[test]
        fn sent_octets_do_not_depend_on_the_pieces(stored in "[a\r\n]{0,12}") {
            let stored = stored.as_bytes();
            check_pieces(&[stored]);
            check_pieces(&stored.chunks(1).collect::<Vec<_>>());
            for at in 0..=stored.len() {
                let (head, tail) = stored.split_at(at);
                check_pieces(&[head, tail]);
            }
        }
    }
}
