//! The facteur program.

fn main() {}
