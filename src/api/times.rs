//! Times as JSON has them.

use jiff::Timestamp;

/// Seconds since 1970 in the form of RFC 3339, in UTC: `2026-11-30T09:00:00Z`. What no calendar has
/// is 1970.
pub(super) fn rfc3339(unix_seconds: i64) -> String {
    let time = Timestamp::from_second(unix_seconds);
    time.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// The same number.
pub(super) fn signed(unix_seconds: u64) -> i64 {
    i64::try_from(unix_seconds).unwrap_or(i64::MAX)
}
