//! The size of the journal, and how a small file system reduces it.

use crate::store::limits::{BATCH_OCTETS_MAX, JOURNAL_PART_MAX, SEGMENT_OCTETS_MIN, SEGMENTS_MIN};

/// The alignment of batches (`BATCH_ALIGNMENT`), as a distance in a file.
pub(super) const BLOCK: u64 = 4096;

/// The size of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::maildir) struct Shape {
    /// Octets of one segment, a multiple of 4,096.
    pub(in crate::store::maildir) segment_octets: u64,
    /// How many segments there are.
    pub(in crate::store::maildir) segments: usize,
}

impl Shape {
    /// Most octets of one batch, header included.
    pub(in crate::store::maildir) fn batch_octets_max(&self) -> usize {
        let half = usize::try_from(self.segment_octets / 2).unwrap_or(usize::MAX);
        half.min(BATCH_OCTETS_MAX)
    }

    /// Adapts the journal to a file system of `total` octets, most of which it must leave to the
    /// mail: with smaller and fewer segments, if these would take too large a part of it. 0 means
    /// that the size is unknown.
    pub(in crate::store::maildir) fn on(self, total: u64) -> Self {
        if total == 0 {
            return self;
        }
        let part = total.checked_div(JOURNAL_PART_MAX).unwrap_or(total);
        let fitting = part.checked_div(SEGMENT_OCTETS_MIN).unwrap_or(part);
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
        let segments = self.segments.min(fitting.max(SEGMENTS_MIN));
        let share = part
            .checked_div(u64::try_from(segments).unwrap_or(u64::MAX))
            .unwrap_or(part);
        // A whole number of blocks, and room for every message that goes through the journal.
        let blocks = share.checked_div(BLOCK).unwrap_or(share);
        let share = blocks.saturating_mul(BLOCK).max(SEGMENT_OCTETS_MIN);
        Self {
            segment_octets: self.segment_octets.min(share),
            segments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_system_has_small_segments() {
        const MIB: u64 = 1_024 * 1_024;
        for (segments, total, expected) in [
            (4, u64::MAX, (4, 64 * MIB)),
            (4, 2_048 * MIB, (4, 64 * MIB)),
            (4, 1_024 * MIB + 77, (4, 32 * MIB)),
            (64, 1_024 * MIB, (64, 2 * MIB)),
            (64, 256 * MIB, (32, MIB)),
            (4, 100 * MIB, (4, 3_276_800)),
            (4, 24 * MIB, (3, MIB)),
            (4, 12 * MIB, (2, MIB)),
            (4, 1, (2, MIB)),
            (4, 0, (4, 64 * MIB)),
        ] {
            let asked = Shape {
                segment_octets: 64 * MIB,
                segments,
            };
            let shape = asked.on(total);
            let found = (shape.segments, shape.segment_octets);
            assert_eq!(found, expected, "{total}");
            assert_eq!(shape.segment_octets % BLOCK, 0);
        }
        let small = Shape {
            segment_octets: MIB,
            segments: 2,
        };
        assert_eq!(small.on(24 * MIB), small);
    }
}
