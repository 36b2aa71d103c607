//! Which file systems are relied on for what.
//!
//! Three features fail silently on a file system that lacks them: a sync call succeeds and saves
//! nothing, or a time does not change. They cannot be tested at run time, so the store uses them
//! only where they are known to work. Every other feature fails with an error where it is missing
//! (an exchange of two names with `EINVAL` or `ENOSYS`, a hard link with `EPERM` or `EXDEV`), so
//! the store simply tries it.
//!
//! | File system | syncfs saves all | directory sync | directory times | exchange | hard links |
//! |---|---|---|---|---|---|
//! | ext2, ext3, ext4 | yes | yes | yes | ext4 | yes |
//! | xfs | yes | yes | yes | yes | yes, not across project ids |
//! | btrfs | yes, all its subvolumes | yes | yes | yes | yes, not across subvolumes |
//! | f2fs, bcachefs | yes | yes | yes | yes | yes |
//! | zfs | yes: it commits its intent log | yes | yes | from 2.2 on | yes |
//! | tmpfs, ramfs | nothing there survives a power cut anyway | the same | yes | yes | yes |
//! | overlayfs | passed to the upper layer, whose kind is unknown | yes | yes | yes | yes |
//! | FUSE (sshfs, …) | no: the kernel passes it to virtiofs only | some | no | some | some |
//! | bindfs, mergerfs (FUSE, too) | no | no | no | no | some |
//! | virtiofs | perhaps: it looks like FUSE, and its server decides | perhaps | no | some | yes |
//! | 9p | no: the protocol has no such message | perhaps | no | no | some |
//! | nfs, cifs, smb | not tried | not tried | no: kept in a cache | no | some |
//! | ceph, vfat, exfat, ecryptfs, all others | not tried | not tried | not tried | some | some |
//!
//! A file system that is not trusted costs time but no safety: mail is made durable file by file
//! (`checkpoint.rs`), a file is synced once more after it gets or loses a name, and directories are
//! read at each login. All of that relies on the sync of a file: if a file system does not pass
//! that on either, this cannot be detected, and nothing is saved. If the file system below records
//! name changes in order (ext4, xfs), the earlier ones are also safe once the file is.

/// The kind of a file system, as the number that the system reports (statfs, `f_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem(pub u32);

/// What a file system is relied on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// A sync of the whole file system (syncfs) makes everything durable that was written before,
    /// and reports if it could not.
    pub whole_sync: bool,
    /// A sync of a directory makes its entries durable.
    pub directory_sync: bool,
    /// Adding an entry to a directory, or removing one, changes the times of the directory, and
    /// everybody sees that immediately.
    pub times: bool,
}

impl FileSystem {
    /// Of ext2, ext3 and ext4.
    pub const EXT: Self = Self(0xEF53);
    const BCACHEFS: Self = Self(0xCA45_1A4E);
    const BTRFS: Self = Self(0x9123_683E);
    const F2FS: Self = Self(0xF2F5_2010);
    /// Of every file system that a program in user space serves, and of virtiofs.
    #[cfg(test)]
    pub(crate) const FUSE: Self = Self(0x6573_5546);
    const OVERLAY: Self = Self(0x794C_7630);
    const RAMFS: Self = Self(0x8584_58F6);
    const TMPFS: Self = Self(0x0102_1994);
    const XFS: Self = Self(0x5846_5342);
    const ZFS: Self = Self(0x2FC1_2FC1);

    /// What it is relied on for. See the table.
    pub fn trust(self) -> Trust {
        let (whole_sync, directory_sync, times) = match self {
            Self::EXT | Self::XFS | Self::BTRFS | Self::F2FS | Self::BCACHEFS | Self::ZFS
            // Both calls save nothing there, and there is nothing to save.
            | Self::TMPFS | Self::RAMFS => (true, true, true),
            // A directory there has the times of the one in the upper layer, which must not be
            // changed behind its back.
            Self::OVERLAY => (false, true, true),
            _ => (false, false, false),
        };
        Trust {
            whole_sync,
            directory_sync,
            times,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_file_system_is_relied_on_for_nothing() {
        const NFS: u32 = 0x6969;
        const V9FS: u32 = 0x0102_1997;
        const CIFS: u32 = 0xFF53_4D42;
        const SMB2: u32 = 0xFE53_4D42;
        const VFAT: u32 = 0x4D44;
        let nothing = Trust {
            whole_sync: false,
            directory_sync: false,
            times: false,
        };
        for number in [0, NFS, V9FS, CIFS, SMB2, VFAT, FileSystem::FUSE.0] {
            assert_eq!(FileSystem(number).trust(), nothing, "{number:x}");
        }
    }

    #[test]
    fn local_file_systems_are_relied_on_and_an_overlay_is_only_in_part() {
        for known in [
            FileSystem::EXT,
            FileSystem::XFS,
            FileSystem::BTRFS,
            FileSystem::TMPFS,
        ] {
            let Trust {
                whole_sync,
                directory_sync,
                times,
            } = known.trust();
            assert!(whole_sync && directory_sync && times, "{known:?}");
        }
        let overlay = FileSystem::OVERLAY.trust();
        assert!(!overlay.whole_sync && overlay.directory_sync && overlay.times);
    }
}
