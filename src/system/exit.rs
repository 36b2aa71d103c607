//! The exit codes of the process.

/// It stopped as asked, or the command did its work.
pub const DONE: u8 = 0;

/// It failed.
pub const FAILURE: u8 = 1;

/// The arguments or the configuration cannot be used: another attempt would fail too.
pub const USAGE: u8 = 2;

/// Another daemon serves the mail directory (`EX_TEMPFAIL` of sysexits.h).
pub const STORE_IN_USE: u8 = 75;

/// All of them.
pub const ALL: [u8; 4] = [DONE, FAILURE, USAGE, STORE_IN_USE];
