//! Tables and properties of addresses, paths and trace headers.

mod address;
mod trace;
