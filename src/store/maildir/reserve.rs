//! The part of a file system that is kept free.

use crate::store::{
    Error, Room,
    limits::{FREE_OCTETS_RESERVE, FREE_PART_RESERVED},
};

use super::{disk::Disk, open::OpenStore};

/// The octets reserved on the file system of the spool.
pub(super) fn reserve_on(disk: &Disk) -> Result<u64, Error> {
    let total = disk.fs.total_octets(&disk.spool);
    total
        .map(reserve)
        .map_err(Error::io("look at", &disk.spool))
}

/// The octets reserved on a file system of `total` octets.
fn reserve(total: u64) -> u64 {
    let part = total.checked_div(FREE_PART_RESERVED);
    part.unwrap_or(0).min(FREE_OCTETS_RESERVE)
}

/// How much room there is, apart from what deliveries under way may need.
pub(super) fn room(store: &OpenStore) -> Result<Room, Error> {
    let free = store.disk.fs.free_octets(&store.disk.spool);
    let free = free.map_err(Error::io("look at", &store.disk.spool))?;
    let needed = store.reserve.saturating_add(store.held.octets());
    Ok(Room { free, needed })
}

/// Makes sure that there is room for a message of `declared_octets`.
pub(super) fn check_free(store: &OpenStore, declared_octets: u64) -> Result<(), Error> {
    let Room { free, needed } = room(store)?;
    let needed = needed.saturating_add(declared_octets);
    if free < needed {
        return Err(Error::Full {
            operation: "begin a delivery in",
            path: store.disk.root.clone(),
            room: Some(Room { free, needed }),
            source: None,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_system_reserves_a_part_of_itself() {
        const MIB: u64 = 1_024 * 1_024;
        for (total, reserved) in [
            (0, 0),
            (24 * MIB, 3 * MIB),
            (256 * MIB, 32 * MIB),
            (257 * MIB, 32 * MIB),
            (u64::MAX, 32 * MIB),
        ] {
            assert_eq!(reserve(total), reserved, "{total}");
        }
    }
}
