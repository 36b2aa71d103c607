//! The limits of certificates, each with its reason.

use std::time::Duration;

/// Largest file that is read here, in octets. Our certificates and keys have fewer than 2,000.
pub(super) const FILE_OCTETS_MAX: usize = 64 * 1024;

/// Octets of a random serial number. RFC 5280 §4.1.2.2 allows 20; with 16, no two are ever equal.
pub(super) const SERIAL_OCTETS: usize = 16;

/// How long the CA is valid, in days: ten years. Importing it into every program is work that
/// nobody wants to repeat, and name constraints limit what it may sign for.
pub(super) const AUTHORITY_DAYS: u64 = 3_653;

/// How long a certificate is valid, in days.
///
/// Apple's systems refuse more than 825 from a CA that was imported by hand, and browsers more than
/// 398 from a public one. 397 is below both, so a program that applies the stricter rule to all
/// certificates accepts it too, and yearly renewal leaves a month to spare.
pub(super) const CERTIFICATE_DAYS: u64 = 397;

/// How far in the past the validity begins, in days: 24 to 48 hours, since it begins at midnight. A
/// device whose clock is slow, or in the wrong time zone, then accepts the certificate immediately.
pub(super) const BACKDATED_DAYS: u64 = 1;

/// How long before a certificate expires the log warns of it.
pub const EXPIRY_WARNING: Duration = Duration::from_hours(14 * 24);
