//! What the operating system can carry, allows and is asked for: nothing here knows mail.

pub mod capacity;
pub mod exit;
pub mod ipv6;
pub mod privileges;
pub mod sandbox;
pub mod signals;
pub mod supervisor;
pub mod terminal;
