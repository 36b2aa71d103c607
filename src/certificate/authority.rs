//! Signs certificates: the CA's own, and those of the server.
//!
//! # What the CA may do
//! Anyone who has the CA's key can impersonate every server that the CA may sign for, to every
//! program that trusts it. So the CA may sign for little. Critical name constraints (RFC 5280
//! §4.2.1.10) permit this machine's names, the loopback addresses, and the names that were
//! requested when the CA was made. Its key signs only certificates, it cannot have a CA below it
//! (`pathLenConstraint` 0), and its certificates are only for servers (extended key usage). Even a
//! stolen key cannot impersonate the bank of a person who imported the CA.
//!
//! OpenSSL, `GnuTLS`, NSS (Thunderbird), rustls, Java, and the systems of Apple and Microsoft
//! enforce name constraints. The price: a name that is not permitted needs a new CA, which must be
//! imported again.
//!
//! # Invariants
//! The CA's name is derived from its key, so two CAs never share a name, and the name need not be
//! read from its certificate. Serial numbers are random: NSS refuses a certificate with the serial
//! number of another one from the same CA, and rcgen would derive the number from the key, the same
//! for every renewal.

use std::{io, net::IpAddr};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
};
use ring::{
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
};

use super::{
    Error,
    limits::{AUTHORITY_DAYS, BACKDATED_DAYS, CERTIFICATE_DAYS, SERIAL_OCTETS},
    names::Name,
};

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Makes a private key: ECDSA on P-256, which every client supports and which signs fast.
///
/// # Errors
/// [`Error::Signing`].
pub(super) fn generate_key() -> Result<KeyPair, Error> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

/// Reads a private key that was made here.
///
/// # Errors
/// [`Error::Signing`] when it is not a private key, or is one of another kind.
pub(super) fn read_key(der: Vec<u8>) -> Result<KeyPair, Error> {
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &PKCS_ECDSA_P256_SHA256)?;
    Ok(key)
}

/// The DER form of the public key, as certificates contain it.
pub(super) fn public_key(key: &KeyPair) -> Vec<u8> {
    key.subject_public_key_info()
}

/// SHA-256 of the DER form of a certificate, as programs show it: pairs of digits with colons.
pub(super) fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let pairs: Vec<String> = digest.as_ref().iter().map(|o| format!("{o:02X}")).collect();
    pairs.join(":")
}

/// Makes the CA's certificate, which permits `names`; returns its DER form.
///
/// # Errors
/// [`Error::Signing`].
pub(super) fn authority(key: &KeyPair, names: &[Name], now: u64) -> Result<Vec<u8>, Error> {
    let mut parameters = authority_parameters(key);
    parameters.serial_number = Some(serial_number()?);
    let first = first_day(now);
    set_validity(&mut parameters, first, first.saturating_add(AUTHORITY_DAYS))?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.name_constraints = Some(NameConstraints {
        permitted_subtrees: names.iter().map(permitted).collect(),
        excluded_subtrees: Vec::new(),
    });
    Ok(parameters.self_signed(key)?.der().to_vec())
}

/// Makes a server's certificate for `names`, signed with the CA's key; returns its DER form. It
/// expires with the CA at the latest.
///
/// # Errors
/// [`Error::Signing`].
pub(super) fn certificate(
    authority_key: &KeyPair,
    authority_end: u64,
    key: &KeyPair,
    names: &[Name],
    now: u64,
) -> Result<Vec<u8>, Error> {
    let first = first_day(now);
    let last = first.saturating_add(CERTIFICATE_DAYS);
    let last = last.min(authority_end.div_euclid(DAY_SECONDS));
    let mut parameters = CertificateParams::default();
    parameters.serial_number = Some(serial_number()?);
    set_validity(&mut parameters, first, last)?;
    // Not a host name: those belong in the subject alternative names (RFC 9525 §2).
    parameters.distinguished_name = common_name("facteur");
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    for name in names {
        parameters.subject_alt_names.push(match name {
            Name::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Name::Ip(address) => SanType::IpAddress(*address),
        });
    }
    let issuer = Issuer::new(authority_parameters(authority_key), authority_key);
    Ok(parameters.signed_by(key, &issuer)?.der().to_vec())
}

/// The parameters that a CA's certificate and the signatures of its key share.
fn authority_parameters(key: &KeyPair) -> CertificateParams {
    let digest = ring::digest::digest(&ring::digest::SHA256, &public_key(key));
    let begin = digest.as_ref().first_chunk().copied().unwrap_or_default();
    let begin = u32::from_be_bytes(begin);
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = common_name(&format!("facteur local CA {begin:08x}"));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// What a name permits: a domain and everything below it, a single address, or all IPv4 loopback
/// addresses together.
fn permitted(name: &Name) -> GeneralSubtree {
    match name {
        Name::Dns(name) => GeneralSubtree::DnsName(name.clone()),
        Name::Ip(address) => GeneralSubtree::IpAddress(match address {
            IpAddr::V4(v4) if v4.is_loopback() => CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0]),
            IpAddr::V4(v4) => CidrSubnet::V4(v4.octets(), [255; 4]),
            IpAddr::V6(v6) => CidrSubnet::V6(v6.octets(), [255; 16]),
        }),
    }
}

/// A positive number that was never used before (RFC 5280 §4.1.2.2).
fn serial_number() -> Result<SerialNumber, Error> {
    let mut octets = [0; SERIAL_OCTETS];
    let drawn = SystemRandom::new().fill(&mut octets);
    drawn.map_err(|Unspecified| Error::Random(io::Error::other("the system returned none")))?;
    // Neither negative nor with leading zeros.
    if let Some(first) = octets.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&octets))
}

/// The first day of a certificate's validity, counted from 1970.
fn first_day(now: u64) -> u64 {
    now.div_euclid(DAY_SECONDS).saturating_sub(BACKDATED_DAYS)
}

/// Sets the validity, from midnight to midnight; days are counted from 1970.
fn set_validity(parameters: &mut CertificateParams, first: u64, last: u64) -> Result<(), Error> {
    let midnight = |day: u64| {
        let epoch = jiff::civil::Date::constant(1970, 1, 1);
        let hours = i64::try_from(day.saturating_mul(24)).ok()?;
        let date = epoch
            .checked_add(jiff::SignedDuration::from_hours(hours))
            .ok()?;
        let (month, day) = (date.month().try_into().ok()?, date.day().try_into().ok()?);
        Some(rcgen::date_time_ymd(date.year().into(), month, day))
    };
    parameters.not_before = midnight(first).ok_or(Error::Clock)?;
    parameters.not_after = midnight(last).ok_or(Error::Clock)?;
    Ok(())
}
