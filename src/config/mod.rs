//! The configuration: a TOML file, overridden by environment variables and the command line, turned
//! into each room's settings.
//!
//! Every value is checked while it is read: an error in a file names the file, the line and the
//! key, and one in a variable names the variable. What concerns several keys is checked at the end
//! (`consistency.rs`). An unknown key is an error. A key that is not set has the default from
//! `config.example.toml`; a test proves that the example and the defaults are equal.
//!
//! The text of the file is dropped once the rooms have their settings.

mod accounts;
mod book;
mod consistency;
mod database;
mod endpoint;
mod environment;
mod error;
mod hints;
mod keys;
pub mod limits;
mod open_to;
mod permissions;
mod text;
mod tls;
mod values;
mod variables;

#[cfg(test)]
mod tests;

pub use accounts::{Accounts, CatchAlls, Role};
pub use book::{Book, Error as BookError};
pub use consistency::{changes, check};
pub use database::Store;
pub use endpoint::{ENDPOINTS, Endpoint};
pub use environment::Environment;
pub use error::{Error, Lack};
pub use keys::{Config, Journal, Limits};
pub use limits::{HTTP_PORT, POP3_PORT, SMTP_PORT};
pub use permissions::exposure;
pub use tls::TlsFiles;
pub use values::{
    BareLf, Count, Durability, HostName, InFlightOctets, Limit, Listen, LogFormat, LogLevel,
    PerAddress, Places, Sandbox, SegmentOctets, Segments, StartTls, Subaddress,
};
