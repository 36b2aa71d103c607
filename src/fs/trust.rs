//! Which file systems are relied on for what: the one table.
//!
//! Three things that the store would like to use have in common that they fail without a word where
//! a file system does not have them: a call that succeeds and saves nothing, a time that does not
//! move. They cannot be tried out, so they are used only where they are known to work. Everything
//! else says so itself when it is missing (an exchange of two names by `EINVAL` or `ENOSYS`, a hard
//! link by `EPERM` or `EXDEV`): it is tried, and nobody has to know beforehand.
//!
//! | File system | syncfs saves all | directory sync | directory times | exchange | hard links |
//! |---|---|---|---|---|---|
//! | ext2, ext3, ext4 | yes | yes | yes | ext4 | yes |
//! | xfs | yes | yes | yes | yes | yes, not across project ids |
//! | btrfs | yes, all its subvolumes | yes | yes | yes | yes, not across subvolumes |
//! | f2fs, bcachefs | yes | yes | yes | yes | yes |
//! | zfs | yes: it commits its intent log | yes | yes | from 2.2 on | yes |
//! | tmpfs, ramfs | nothing there survives a power cut anyway | the same | yes | yes | yes |
//! | overlayfs | passed to the upper layer, of a kind that nobody can ask | yes | yes | yes | yes |
//! | FUSE (sshfs, …) | no: the kernel passes it to virtiofs only | some | no | some | some |
//! | bindfs, mergerfs (FUSE, too) | no | no | no | no | some |
//! | virtiofs | perhaps: it looks like FUSE, and its server decides | perhaps | no | some | yes |
//! | 9p | no: there is no such message | perhaps | no | no | some |
//! | nfs, cifs, smb | not tried | not tried | no: kept in a cache | no | some |
//! | ceph, vfat, exfat, ecryptfs, all others | not tried | not tried | not tried | some | some |
//!
//! A file system that is not trusted costs time and no safety: what was written is made durable
//! file by file (`checkpoint.rs`), a file is synced once more when it has got its name or lost it,
//! and directories are read at each login. What that rests on is the sync of a file: one that is
//! not passed on either cannot be told from one that is, and saves nothing. A file system below
//! that writes down changes of names in their order (ext4, xfs) has those of before, too, when the
//! file is safe.

/// The kind of a file system, by the number that the system gives it (statfs, `f_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem(pub u32);

/// What a file system is relied on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// A sync of the whole (syncfs) makes durable all that was written before, and says when it
    /// could not.
    pub whole_sync: bool,
    /// A sync of a directory makes its entries durable.
    pub directory_sync: bool,
    /// An entry that is added to a directory or taken from it changes the times of the directory,
    /// and whoever looks sees that at once.
    pub times: bool,
}

impl FileSystem {
    /// Of ext2, ext3 and ext4.
    pub const EXT: Self = Self(0xEF53);
    const BCACHEFS: Self = Self(0xCA45_1A4E);
    const BTRFS: Self = Self(0x9123_683E);
    const F2FS: Self = Self(0xF2F5_2010);
    /// Of everything that a program in user space serves, and of virtiofs.
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
            // Both calls save nothing there, and there is nothing to be saved.
            | Self::TMPFS | Self::RAMFS => (true, true, true),
            // A directory there has the times of the one in the upper layer, and to change that
            // one behind its back is forbidden.
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
    fn a_file_system_that_nobody_knows_is_relied_on_for_nothing() {
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
    fn local_file_systems_are_relied_on_and_what_lies_below_an_overlay_is_not() {
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
