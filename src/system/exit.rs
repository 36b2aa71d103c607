//! The exit codes of the process.

/// It stopped as asked, or the command did its work.
pub const DONE: u8 = 0;

/// It failed.
pub const FAILURE: u8 = 1;

/// The arguments or the configuration cannot be used: another attempt would fail too.
pub const USAGE: u8 = 2;

/// Another daemon serves the mail directory.
pub const STORE_IN_USE: u8 = TRY_LATER;

/// `sendmail`: the command line is wrong (`EX_USAGE` of sysexits.h, like those below).
pub const COMMAND_LINE: u8 = 64;

/// `sendmail`: the message has no valid recipient, or was refused (`EX_DATAERR`).
pub const DATA: u8 = 65;

/// `sendmail`: a recipient is unknown or was refused (`EX_NOUSER`).
pub const NO_USER: u8 = 67;

/// `sendmail`: the message cannot be read (`EX_IOERR`).
pub const INPUT_OUTPUT: u8 = 74;

/// Another attempt might succeed later (`EX_TEMPFAIL`).
pub const TRY_LATER: u8 = 75;

/// `sendmail`: the configuration is wrong (`EX_CONFIG`).
pub const CONFIGURATION: u8 = 78;

/// `wait`: no such message came in time (as timeout(1) of GNU).
pub const TIME_OVER: u8 = 124;

/// All of them.
pub const ALL: [u8; 10] = [
    DONE,
    FAILURE,
    USAGE,
    COMMAND_LINE,
    DATA,
    NO_USER,
    INPUT_OUTPUT,
    TRY_LATER,
    CONFIGURATION,
    TIME_OVER,
];
