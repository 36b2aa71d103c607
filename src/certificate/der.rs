//! Reads the few fields of an X.509 certificate that facteur needs (RFC 5280 §4.1).
//!
//! This is only a reader of DER (X.690). It checks no signature and no chain; that is the clients'
//! business. It exists because the crates that parse all of X.509 bring in twenty others, and only
//! four fields are needed. The DER reader that rcgen brings, yasna 0.6.0, panics on a length near
//! 2^64.
//!
//! # Theory of operation
//! [`Reader`] returns the elements of a slice one after another: the tag, the content, and the
//! whole element. Every element is a subslice of its container, so it can never be larger than the
//! container, nothing is copied, and the depth is that of the calls in this file.
//!
//! # Invariants
//! Lengths are definite and minimal, as DER requires; any other certificate gives `None`. No input
//! panics, and each field is found in one pass over the octets.

use std::net::IpAddr;

use jiff::civil::DateTime;

use super::names::{Name, Permitted};

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;

/// The tag of the version, and of the permitted subtrees.
const CONTEXT_0: u8 = 0xa0;
/// The tag of the extensions.
const CONTEXT_3: u8 = 0xa3;
/// A general name that is a DNS name.
const DNS_NAME: u8 = 0x82;
/// A general name that is an IP address.
const IP_ADDRESS: u8 = 0x87;

/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.29.30.
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];

/// When the certificate in `der` expires, in seconds since 1970-01-01 00:00 UTC: the last second in
/// which it is valid. Zero if it expired before 1970.
///
/// `None` when `der` is not the DER form of a certificate.
pub fn expiry(der: &[u8]) -> Option<u64> {
    Some(Certificate::parse(der)?.not_after)
}

/// The fields of a certificate.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    /// The issuer: a Name, in DER.
    pub(super) issuer: &'a [u8],
    /// The subject: a Name, in DER.
    pub(super) subject: &'a [u8],
    /// The last second of its validity, since 1970.
    pub(super) not_after: u64,
    /// The `SubjectPublicKeyInfo`, in DER.
    pub(super) public_key: &'a [u8],
    extensions: Option<&'a [u8]>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate that fills all of `der`.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outside = Reader(der);
        let mut certificate = outside.enter(SEQUENCE)?;
        outside.end()?;
        let mut signed = certificate.enter(SEQUENCE)?;
        certificate.expect(SEQUENCE)?;
        certificate.expect(BIT_STRING)?;
        certificate.end()?;
        if signed.next_tag() == Some(CONTEXT_0) {
            signed.expect(CONTEXT_0)?;
        }
        signed.expect(INTEGER)?;
        signed.expect(SEQUENCE)?;
        let issuer = signed.expect(SEQUENCE)?.whole;
        let mut validity = signed.enter(SEQUENCE)?;
        time(&validity.next()?)?;
        let not_after = time(&validity.next()?)?;
        validity.end()?;
        let subject = signed.expect(SEQUENCE)?.whole;
        let public_key = signed.expect(SEQUENCE)?.whole;
        let mut extensions = None;
        // Two identifiers that nobody uses come before the extensions.
        while signed.next_tag().is_some() {
            let element = signed.next()?;
            if element.tag == CONTEXT_3 {
                let mut wrapped = Reader(element.content);
                extensions = Some(wrapped.expect(SEQUENCE)?.content);
                wrapped.end()?;
            }
        }
        Some(Self {
            issuer,
            subject,
            not_after,
            public_key,
            extensions,
        })
    }

    /// The host names and addresses that it is for (RFC 5280 §4.2.1.6). `None` when the extension
    /// is malformed; without the extension, an empty list.
    pub(super) fn names(&self) -> Option<Vec<Name>> {
        let mut found = Vec::new();
        let Some(mut names) = self.extension(SUBJECT_ALT_NAME)? else {
            return Some(found);
        };
        while names.next_tag().is_some() {
            let name = names.next()?;
            match name.tag {
                DNS_NAME => found.push(Name::Dns(text(name.content)?.to_owned())),
                IP_ADDRESS => found.push(Name::Ip(ip_address(name.content)?)),
                _ => {}
            }
        }
        Some(found)
    }

    /// What it may sign for, according to its permitted subtrees (RFC 5280 §4.2.1.10). `None` when
    /// the extension is malformed. Without the extension the list is empty and permits nothing,
    /// since our CAs always have the extension.
    pub(super) fn permitted(&self) -> Option<Vec<Permitted>> {
        let mut found = Vec::new();
        let Some(mut constraints) = self.extension(NAME_CONSTRAINTS)? else {
            return Some(found);
        };
        let mut subtrees = constraints.enter(CONTEXT_0)?;
        while subtrees.next_tag().is_some() {
            let base = subtrees.enter(SEQUENCE)?.next()?;
            match base.tag {
                DNS_NAME => found.push(Permitted::Dns(text(base.content)?.to_owned())),
                IP_ADDRESS => {
                    let (address, mask) = base.content.split_at(base.content.len().div_euclid(2));
                    found.push(Permitted::Ip {
                        address: ip_address(address)?,
                        mask: ip_address(mask)?,
                    });
                }
                _ => {}
            }
        }
        Some(found)
    }

    /// The sequence in the extension with this identifier.
    #[expect(clippy::option_option, reason = "malformed is not the same as missing")]
    fn extension(&self, identifier: &[u8]) -> Option<Option<Reader<'a>>> {
        let mut extensions = Reader(self.extensions.unwrap_or_default());
        while extensions.next_tag().is_some() {
            let mut extension = extensions.enter(SEQUENCE)?;
            let found = extension.expect(OBJECT_IDENTIFIER)?.content;
            if extension.next_tag() == Some(BOOLEAN) {
                extension.expect(BOOLEAN)?;
            }
            let value = extension.expect(OCTET_STRING)?.content;
            extension.end()?;
            if found == identifier {
                let mut wrapped = Reader(value);
                let sequence = wrapped.enter(SEQUENCE)?;
                wrapped.end()?;
                return Some(Some(sequence));
            }
        }
        Some(None)
    }
}

fn text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok()
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_longer| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

/// A time in one of the two forms of RFC 5280 §4.1.2.5, in seconds since 1970.
fn time(element: &Element<'_>) -> Option<u64> {
    let digits = element.content.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (year, rest) = match element.tag {
        UTC_TIME if digits.len() == 12 => {
            let (year, rest) = digits.split_at(2);
            let year = number(year)?;
            let century = if year < 50 { 2000 } else { 1900 };
            (year.checked_add(century)?, rest)
        }
        GENERALIZED_TIME if digits.len() == 14 => {
            let (year, rest) = digits.split_at(4);
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut pairs = rest.chunks(2).map(|pair| i8::try_from(number(pair)?).ok());
    let mut next = || pairs.next().flatten();
    let (month, day) = (next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    let date = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    // Not via a timestamp, which cannot represent RFC 5280's "no expiry", the last second of 9999.
    let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    Some(u64::try_from(date.duration_since(epoch).as_secs()).unwrap_or(0))
}

/// A number of at most four digits.
fn number(digits: &[u8]) -> Option<i16> {
    text(digits)?.parse().ok()
}

/// One element: a tag and its content.
#[derive(Clone, Copy, Debug)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// Tag, length and content.
    whole: &'a [u8],
}

/// The elements that follow each other in a slice.
#[derive(Clone, Copy, Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The tag of the next element; `None` at the end.
    fn next_tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element.
    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        // Certificates have no tags of several octets.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (octets, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(octets)?;
        let whole_octets = self.0.len().checked_sub(rest.len())?;
        let whole = self.0.get(..whole_octets)?;
        self.0 = rest;
        Some(Element {
            tag,
            content,
            whole,
        })
    }

    /// The next element, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    /// The elements in the next element, which must have this tag.
    fn enter(&mut self, tag: u8) -> Option<Self> {
        Some(Self(self.expect(tag)?.content))
    }

    /// Checks that nothing is left.
    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The length at the beginning of `octets`, and what follows it.
fn length(octets: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = octets.split_first()?;
    if first < 0x80 {
        return Some((first.into(), rest));
    }
    // 0x80 is the indefinite form of BER. Three octets, which is 16 MiB, are always enough.
    let n_octets = usize::from(first & 0x7f);
    if !(1..=3).contains(&n_octets) {
        return None;
    }
    let (digits, rest) = rest.split_at_checked(n_octets)?;
    let length = digits
        .iter()
        .fold(0_usize, |sum, &digit| (sum << 8) | usize::from(digit));
    let is_minimal = length >= 0x80 && digits.first() != Some(&0);
    is_minimal.then_some((length, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut element = vec![tag];
        match length {
            0..0x80 => element.push(u8::try_from(length).unwrap()),
            0x80..0x100 => element.extend([0x81, u8::try_from(length).unwrap()]),
            _ => {
                element.push(0x82);
                element.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        element.extend(content);
        element
    }

    /// A certificate with these two times and extensions, and a version if requested.
    fn certificate(times: &[u8], with_version: bool, extensions: &[u8]) -> Vec<u8> {
        let mut signed = Vec::new();
        if with_version {
            signed.extend(element(CONTEXT_0, &element(INTEGER, &[2])));
        }
        signed.extend(element(INTEGER, &[7]));
        signed.extend(element(SEQUENCE, &[]));
        signed.extend(element(SEQUENCE, b"issuer"));
        signed.extend(element(SEQUENCE, times));
        signed.extend(element(SEQUENCE, b"subject"));
        signed.extend(element(SEQUENCE, &[0; 300]));
        if !extensions.is_empty() {
            signed.extend(element(CONTEXT_3, &element(SEQUENCE, extensions)));
        }
        let mut outer = element(SEQUENCE, &signed);
        outer.extend(element(SEQUENCE, &[]));
        outer.extend(element(BIT_STRING, &[0, 1, 2]));
        element(SEQUENCE, &outer)
    }

    fn times(tag: u8, not_after: &str) -> Vec<u8> {
        let mut times = element(UTC_TIME, b"200101000000Z");
        times.extend(element(tag, not_after.as_bytes()));
        times
    }

    #[test]
    fn the_expiry_is_read_in_both_forms_of_time() {
        for (tag, not_after, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (UTC_TIME, "240229120000Z", Some(1_709_208_000)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "230229120000Z", None),
            (UTC_TIME, "241301000000Z", None),
            (UTC_TIME, "240101240000Z", None),
            (UTC_TIME, "240101000060Z", None),
            (UTC_TIME, "2401010000Z", None),
            (UTC_TIME, "240101000000", None),
            (UTC_TIME, "240101000000+0100", None),
            (UTC_TIME, "+40101000000Z", None),
            (UTC_TIME, "24010100000 Z", None),
            (UTC_TIME, "20500101000000Z", None),
            (GENERALIZED_TIME, "500101000000Z", None),
            (GENERALIZED_TIME, "20500101000000.5Z", None),
            (GENERALIZED_TIME, "", None),
            (INTEGER, "240101000000Z", None),
        ] {
            let times = times(tag, not_after);
            for with_version in [true, false] {
                let found = expiry(&certificate(&times, with_version, &[]));
                assert_eq!(found, expected, "{not_after}");
            }
        }
    }

    #[test]
    fn names_and_constraints_are_found_among_other_extensions() {
        let extension = |identifier: &[u8], is_critical: bool, value: &[u8]| {
            let mut parts = element(OBJECT_IDENTIFIER, identifier);
            if is_critical {
                parts.extend(element(BOOLEAN, &[0xff]));
            }
            parts.extend(element(OCTET_STRING, value));
            element(SEQUENCE, &parts)
        };
        let mut names = element(DNS_NAME, b"localhost");
        names.extend(element(IP_ADDRESS, &[127, 0, 0, 1]));
        names.extend(element(0x81, b"bob@example.com"));
        let mut subtrees = element(SEQUENCE, &element(DNS_NAME, b"localhost"));
        let block = [127, 0, 0, 0, 255, 0, 0, 0];
        subtrees.extend(element(SEQUENCE, &element(IP_ADDRESS, &block)));
        let mut extensions = extension(&[0x55, 0x1d, 0x0f], true, &[3, 2, 1, 6]);
        extensions.extend(extension(
            NAME_CONSTRAINTS,
            true,
            &element(SEQUENCE, &element(CONTEXT_0, &subtrees)),
        ));
        extensions.extend(extension(
            SUBJECT_ALT_NAME,
            false,
            &element(SEQUENCE, &names),
        ));
        let times = times(UTC_TIME, "240101000000Z");
        let der = certificate(&times, true, &extensions);
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(
            certificate.names().unwrap(),
            [
                Name::Dns("localhost".to_owned()),
                Name::Ip([127, 0, 0, 1].into())
            ]
        );
        assert_eq!(
            certificate.permitted().unwrap(),
            [
                Permitted::Dns("localhost".to_owned()),
                Permitted::Ip {
                    address: [127, 0, 0, 0].into(),
                    mask: [255, 0, 0, 0].into()
                }
            ]
        );
        assert_eq!(certificate.subject, element(SEQUENCE, b"subject"));
        assert_eq!(certificate.issuer, element(SEQUENCE, b"issuer"));
    }

    #[test]
    fn incomplete_or_malformed_der_is_refused() {
        let times = times(UTC_TIME, "240101000000Z");
        let whole = certificate(&times, true, &[]);
        assert!(expiry(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(expiry(&whole[..end]), None, "cut at {end}");
        }
        let mut longer = whole;
        longer.push(0);
        assert_eq!(expiry(&longer), None);
        for (length_octets, expected) in [
            (&[0x7f][..], Some(0x7f)),
            (&[0x81, 0x80], Some(0x80)),
            (&[0x82, 0x01, 0x00], Some(0x100)),
            (&[0x83, 0x01, 0x00, 0x00], Some(0x1_0000)),
            (&[0x80], None),
            (&[0x81, 0x7f], None),
            (&[0x82, 0x00, 0x80], None),
            (&[0x84, 0x01, 0x00, 0x00, 0x00], None),
            (&[0xff], None),
            (&[0x82, 0x01], None),
            (&[], None),
        ] {
            let found = length(length_octets).map(|(length, _)| length);
            assert_eq!(found, expected, "{length_octets:x?}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            expiry(&octets);
        }

        /// A certificate with changed octets is read or refused, and what is read lies within it.
        #[test]
        fn no_damaged_certificate_panics(
            changes in proptest::collection::vec((0..10_000_usize, any::<u8>()), 1..4)
        ) {
            let extensions = element(SEQUENCE, &[6, 3, 0x55, 0x1d, 0x11, 4, 4, 0x30, 2, 0x82, 0]);
            let times = times(UTC_TIME, "240101000000Z");
            let mut der = certificate(&times, true, &extensions);
            for (position, octet) in changes {
                let at = position.rem_euclid(der.len());
                der[at] = octet;
            }
            if let Some(certificate) = Certificate::parse(&der) {
                certificate.names();
                certificate.permitted();
                prop_assert!(certificate.subject.len() < der.len());
                prop_assert!(certificate.not_after <= 253_402_300_799);
            }
        }
    }
}
