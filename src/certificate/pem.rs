//! Writes certificates and keys as text (RFC 7468), and reads them back.
//!
//! The TLS library does the reading. It is strict here, since nobody else writes these files: a
//! text is accepted only if [`encode`] would write exactly the same. The daemon reads certificates
//! from other sources with the TLS library directly.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::pem::{PemObject as _, SectionKind};

/// The label of a certificate.
pub(super) const CERTIFICATE: &str = "CERTIFICATE";
/// The label of a private key in PKCS #8.
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Characters per line (RFC 7468 §2).
const LINE_CHARACTERS: usize = 64;

/// Writes one block.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (position, character) in STANDARD.encode(der).chars().enumerate() {
        if position != 0 && position.is_multiple_of(LINE_CHARACTERS) {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Reads a text that [`encode`] wrote. `None` for any other text.
pub(super) fn decode(label: &str, text: &[u8]) -> Option<Vec<u8>> {
    let (_kind, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(text).ok()?;
    (encode(label, &der).as_bytes() == text).then_some(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn a_block_has_lines_of_64_characters() {
        let text = encode(CERTIFICATE, &[0; 49]);
        let line = "A".repeat(64);
        let expected =
            format!("-----BEGIN CERTIFICATE-----\n{line}\nAA==\n-----END CERTIFICATE-----\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn anything_but_one_whole_block_is_refused() {
        let whole = encode(CERTIFICATE, &[1; 100]);
        assert!(decode(CERTIFICATE, whole.as_bytes()).is_some());
        assert_eq!(decode(PRIVATE_KEY, whole.as_bytes()), None);
        for end in 0..whole.len() {
            let cut = decode(CERTIFICATE, &whole.as_bytes()[..end]);
            assert_eq!(cut, None, "cut at {end}");
        }
        for wrong in [
            whole.replace('Q', "*"),
            whole.replacen('\n', "\r\n", 5),
            whole.clone() + &whole,
            "x".to_owned() + &whole,
        ] {
            assert_eq!(decode(CERTIFICATE, wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(der in proptest::collection::vec(any::<u8>(), 1..300)) {
            let text = encode(PRIVATE_KEY, &der);
            prop_assert!(text.lines().all(|line| line.len() <= LINE_CHARACTERS));
            prop_assert_eq!(decode(PRIVATE_KEY, text.as_bytes()), Some(der));
        }
    }
}
