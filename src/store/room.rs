//! How much room there is for messages.

use std::fmt;

/// The octets that are free on the file system of a store, and how many must be free before the
/// store accepts a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// How many are free; the largest number if the system does not report it.
    pub free: u64,
    /// How many must be free.
    pub needed: u64,
}

impl Room {
    /// Whether the store accepts messages.
    pub fn is_enough(self) -> bool {
        self.free >= self.needed
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, needed) = (Octets(self.free), Octets(self.needed));
        write!(f, "{free} free, at least {needed} needed")
    }
}

/// A number of octets in units that people use, rounded down.
struct Octets(u64);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kibioctets = self.0 >> 10;
        match kibioctets >> 10 {
            0..10 => write!(f, "{kibioctets} KiB"),
            mebioctets => write!(f, "{mebioctets} MiB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_shown_in_units_that_people_use() {
        const MIB: u64 = 1_024 * 1_024;
        let room = Room {
            free: 24 * MIB + 1,
            needed: 3 * MIB,
        };
        assert_eq!(room.to_string(), "24 MiB free, at least 3072 KiB needed");
    }
}
