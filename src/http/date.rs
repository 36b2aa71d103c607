//! The date of responses (RFC 9110 §5.6.7).

use jiff::Timestamp;

/// The time so many seconds after the beginning of 1970 in UTC, as in `Sun, 06 Nov 1994 08:49:37
/// GMT`. A time that has no such form is shown as the beginning of 1970.
pub fn date(unix_seconds: u64) -> String {
    let time = i64::try_from(unix_seconds).ok();
    let time = time.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let time = time.unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_in_the_form_of_the_rfc() {
        for (seconds, expect) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            // RFC 9110 §5.6.7.
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (u64::MAX, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(date(seconds), expect);
        }
    }
}
