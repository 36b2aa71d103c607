//! The limits of certificates, each with its reason.

use std::time::Duration;

/// Octets of a file that is read here. A certificate and a key of ours have fewer than 2,000.
pub(super) const FILE_OCTETS_MAX: usize = 64 * 1024;

/// Octets of a random serial number. RFC 5280 §4.1.2.2 allows 20; 16 never meet twice.
pub(super) const SERIAL_OCTETS: usize = 16;

/// How long the CA is valid, in days: ten years. Its import into every program is the labour that
/// nobody wants to repeat, and what it may sign for is limited by its name constraints.
pub(super) const AUTHORITY_DAYS: u64 = 3_653;

/// How long a certificate is valid, in days.
///
/// Apple's systems refuse more than 825 from a CA that was imported by hand, and browsers more than
/// 398 from a public one. 397 is below both, so no program that applies the stricter rule to all
/// complains, and it leaves a month beyond a year to those who renew once a year.
pub(super) const CERTIFICATE_DAYS: u64 = 397;

/// How far in the past the validity begins, in days: from 24 to 48 hours, since it begins at
/// midnight. A device whose clock is behind, or in the wrong time zone, takes the certificate at
/// once.
pub(super) const BACKDATED_DAYS: u64 = 1;

/// How long before the end of a certificate its expiry is warned of.
pub const EXPIRY_WARNING: Duration = Duration::from_hours(14 * 24);
