//! The operating system: its limits, permissions and services. Nothing here knows about mail.

pub mod capacity;
pub mod exit;
pub mod ipv6;
pub mod privileges;
pub mod sandbox;
pub mod signals;
pub mod supervisor;
pub mod terminal;
