//! The file system as facteur uses it: five traits, and their implementation on the real disk.
//!
//! The store and the certificates touch the disk only in this room. [`Fs`] has exactly the
//! operations that a durable Maildir with a journal needs, so that tests can replace it with a
//! simulated disk, cut the power at any operation and look at what is left. It decides nothing:
//! callers choose names and order, and react to failures.
//!
//! # Invariants
//! - A symbolic link in the last component of a path is never followed (SEC-6).
//! - Files are created with mode 0600 and directories with 0700 at most, even if the umask allows
//!   more (SEC-6).
//! - A call that returns `Ok` has done everything: short writes and interrupted calls are continued
//!   here.
//!
//! # Failures
//! Each method returns the system's error. A failed `sync` must never be repeated: the kernel
//! forgets the data that it could not write, and the next call succeeds without it (I9).
//!
//! # Known limits
//! Symbolic links before the last component are followed. The store checks those inside it when it
//! first uses a mailbox.

mod socket;
mod trust;

#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fmt::Debug,
    fs,
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _},
        net::UnixListener,
    },
    path::Path,
};

use rustix::{
    fs::{
        Access, Advice, AtFlags, CWD, FileType, Mode, OFlags, RawDir, RawDirEntry, RenameFlags,
        Timespec, Timestamps, UTIME_NOW,
    },
    fs::{Gid, Uid},
    io::Errno,
};

pub use socket::{bind_shared, connect};
pub use trust::{FileSystem, Trust};

/// Octets of a directory read with one call.
///
/// About 350 of our own names. More gains nothing measurable, and a maildrop of a few messages does
/// not touch the part that it does not need.
const DIRECTORY_OCTETS: usize = 32 * 1024;

/// The operations that the store needs from a file system.
///
/// The errors are those of the system calls named with each method.
pub trait Fs: Debug + Send + Sync {
    /// Makes the socket `name` in `directory`, with mode 0600, and listens on it. A socket that has
    /// that name already is replaced.
    ///
    /// # Errors
    /// Those of bind and listen; `AlreadyExists` if something else has the name, `Unsupported` if
    /// there are no sockets.
    fn bind_socket(&self, _directory: &Path, _name: &str) -> io::Result<UnixListener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Checks that this process may create entries in the directory `path`, as far as the system
    /// can tell beforehand (faccessat). A file system that does not know returns `Ok`.
    ///
    /// # Errors
    /// Those of faccessat.
    fn check_entries(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Makes a meaningless change to the file `path`: sets its times (utimensat).
    ///
    /// Called after a sync. A journaled file system whose journal has failed reports that to one
    /// caller; from then on everybody else's syncs succeed without saving anything, but no change
    /// can be started.
    ///
    /// # Errors
    /// Those of utimensat: the sync before it must then be treated as failed.
    fn confirm(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory with mode 0700 (mkdir). `AlreadyExists` if anything has that name.
    ///
    /// # Errors
    /// Those of mkdir.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a new file with mode 0600, for appending (open, `O_EXCL`).
    ///
    /// # Errors
    /// Those of open; `AlreadyExists` also for a symbolic link.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Creates a file without a name on the file system of `directory`, with mode 0600, for
    /// appending (open, `O_TMPFILE`). If it gets no name before it is closed, it is gone.
    ///
    /// # Errors
    /// Those of open; `Unsupported` where the file system has no such files.
    fn create_unnamed(&self, _directory: &Path) -> io::Result<Box<dyn File>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Exchanges the names of two files atomically (renameat2, `RENAME_EXCHANGE`).
    ///
    /// # Errors
    /// Those of renameat2; `NotFound` if one of them does not exist, and then nothing is changed.
    fn exchange(&self, left: &Path, right: &Path) -> io::Result<()>;

    /// The kind of the file system of `path` (statfs).
    ///
    /// # Errors
    /// Those of statfs.
    fn file_system(&self, path: &Path) -> io::Result<FileSystem>;

    /// The octets that we can still write to the file system of `path` (statvfs).
    ///
    /// # Errors
    /// Those of statvfs.
    fn free_octets(&self, path: &Path) -> io::Result<u64>;

    /// The size of the file system of `path`, in octets (statvfs).
    ///
    /// # Errors
    /// Those of statvfs.
    fn total_octets(&self, path: &Path) -> io::Result<u64>;

    /// Gives the file `from` the additional name `to` (link).
    ///
    /// # Errors
    /// Those of link.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes an exclusive lock on the file `path`, which is created if missing; dropping the result
    /// releases it. `None` if another process or another call holds it.
    ///
    /// # Errors
    /// Those of open and flock.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>>;

    /// Takes an exclusive lock on the directory `path`; otherwise like [`lock`](Self::lock).
    ///
    /// # Errors
    /// Those of open and flock.
    fn lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>>;

    /// Describes what has the name `path`; a symbolic link is reported, not followed (lstat).
    ///
    /// # Errors
    /// Those of lstat.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Opens a regular file for reading, and to sync what others wrote. Anything else, such as a
    /// symbolic link or a fifo, is refused with `InvalidInput`, without waiting.
    ///
    /// # Errors
    /// Those of open.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a file for writing in place; it is created with mode 0600 if missing (open).
    ///
    /// # Errors
    /// Those of open.
    fn open_segment(&self, path: &Path) -> io::Result<Box<dyn Segment>>;

    /// The entries of a directory in no particular order, without `.` and `..` (getdents).
    ///
    /// An entry that is renamed meanwhile may be missing or appear twice.
    ///
    /// # Errors
    /// Those of open and getdents.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Calls `visit` for each entry of a directory, like [`read_dir`](Self::read_dir), for
    /// directories that may have a million entries.
    ///
    /// # Errors
    /// Those of open and getdents; some entries may already have been visited.
    fn visit_dir(&self, path: &Path, visit: &mut dyn FnMut(Entry<&OsStr>)) -> io::Result<()> {
        for Entry { name, kind, inode } in self.read_dir(path)? {
            let name = &*name;
            visit(Entry { name, kind, inode });
        }
        Ok(())
    }

    /// Removes an empty directory (rmdir).
    ///
    /// # Errors
    /// Those of rmdir.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file atomically (rename).
    ///
    /// # Errors
    /// Those of rename.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns once the entries of a directory will survive a power cut (fsync).
    ///
    /// # Errors
    /// Those of open and fsync. Never repeat the call (I9).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives the file `path`, which this process has created, the owner and the group of `like`
    /// (chown). If root owns `like`, and a group other than root's may read it, that group may also
    /// read the file (chmod). A process that may not give files away keeps it.
    ///
    /// # Errors
    /// Those of lstat and chmod.
    fn take_after(&self, _path: &Path, _like: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Sets the time at which the content of the file `path` was changed, in seconds since 1970
    /// (utimensat).
    ///
    /// # Errors
    /// Those of utimensat.
    #[cfg(feature = "postgres")]
    fn set_modified(&self, _path: &Path, _secs: u64) -> io::Result<()> {
        Ok(())
    }

    /// Removes a name of a file (unlink).
    ///
    /// # Errors
    /// Those of unlink.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// The effective user of this process, to compare with [`Metadata::owner`] (geteuid).
    fn user(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// The file system of `path`, to be synced as a whole. A failure to write anything on it is
    /// reported only to handles that were opened before.
    ///
    /// # Errors
    /// Those of open.
    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>>;
}

/// An open file, which is either written or read from start to end.
pub trait File: Debug + Send + Sync {
    /// Writes all of `octets` after what was written before.
    ///
    /// # Errors
    /// Those of write; any part of `octets` may then be in the file.
    fn append(&mut self, octets: &[u8]) -> io::Result<()>;

    /// Lets the system begin to write to disk the octets from `start` on, so that a sync has less
    /// to do (fadvise). This is only advice: it may do nothing, and it cannot fail.
    fn begin_sync(&mut self, _start: u64) {}

    /// Gives a file that was created without a name the additional name `path` (linkat).
    ///
    /// # Errors
    /// Those of linkat; `Unsupported` for other files.
    fn give_name(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Which file was opened for reading, and when it had been changed before; `None` if that is
    /// not known without another call.
    fn stamp_when_opened(&self) -> Option<Stamp> {
        None
    }

    /// The length that a file opened for reading had when it was opened; `None` if that is not
    /// known without another call.
    fn octets_when_opened(&self) -> Option<u64> {
        None
    }

    /// Reads the next octets into `buffer`; 0 at the end.
    ///
    /// # Errors
    /// Those of read.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads octets from `offset` on, whatever was read before. It fills `buffer` except at the end
    /// of the file (pread).
    ///
    /// # Errors
    /// Those of pread.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns when what was written will survive a power cut (fsync).
    ///
    /// # Errors
    /// Those of fsync. Never repeat the call (I9).
    fn sync(&mut self) -> io::Result<()>;
}

/// A file or directory that is held open. While it is open, nothing else can have its identity.
pub trait Held: Debug + Send + Sync {
    /// Which it is (fstat).
    ///
    /// # Errors
    /// Those of fstat.
    fn identity(&self) -> io::Result<Identity>;

    /// Whether it still has a name (fstat). Some file systems report this for every directory.
    ///
    /// # Errors
    /// Those of fstat.
    fn is_linked(&self) -> io::Result<bool>;

    /// Writes the number of this process, and nothing else, into this lock file, for people who
    /// look for the process that holds it.
    ///
    /// # Errors
    /// Those of ftruncate and write. Nothing depends on it.
    fn sign(&self) -> io::Result<()>;
}

/// An open file that is overwritten in place, again and again.
pub trait Segment: Held {
    /// Its size (fstat).
    ///
    /// # Errors
    /// Those of fstat.
    fn octets(&self) -> io::Result<u64>;

    /// Reads octets from `offset` on. It fills `buffer` except at the end of the file (pread).
    ///
    /// # Errors
    /// Those of pread.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns once what was written will survive a power cut, including the size that it needs
    /// (fdatasync).
    ///
    /// # Errors
    /// Those of fdatasync. Never repeat the call (I9).
    fn sync_data(&self) -> io::Result<()>;

    /// Writes all of `octets` from `offset` on (pwrite).
    ///
    /// # Errors
    /// Those of pwrite; any part of `octets` may then be in the file.
    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()>;
}

/// A file system as a whole.
pub trait Volume: Debug + Send + Sync {
    /// Returns once everything that was written and named before the call will survive a power cut
    /// (syncfs).
    ///
    /// # Errors
    /// Those of syncfs. Anything that was not durable may then be lost, and the next call might not
    /// report it (I9).
    fn sync_whole(&self) -> io::Result<()>;
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<N = OsString> {
    /// Its name, without the path.
    pub name: N,
    /// What it is.
    pub kind: Kind,
    /// The number of its inode, as far as the directory knows it: on some file systems the file
    /// itself has another number.
    pub inode: u64,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, a fifo, a device: nothing that belongs in a Maildir.
    Other,
}

/// The part of lstat's result that the store needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What the name stands for.
    pub kind: Kind,
    /// The user who owns it.
    pub owner: u32,
    /// The permission bits.
    pub mode: u32,
    /// Which it is, and when it was changed.
    pub stamp: Stamp,
}

/// Which file or directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The number of the file system.
    pub device: u64,
    /// The number of the inode in it.
    pub inode: u64,
}

/// Which file or directory it is, and when it was changed by the file system's clock.
///
/// Adding an entry to a directory or removing one changes both times. A program can set the first
/// time freely, the second only by setting the clock. Their resolution depends on the file system:
/// some count in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which it is.
    pub identity: Identity,
    /// When the content was last changed: nanoseconds since 1970 (mtime).
    pub modified: i128,
    /// When the inode was last changed: nanoseconds since 1970 (ctime).
    pub changed: i128,
}

/// The result of an operation; `None` if nothing had that name.
///
/// # Errors
/// Every other error.
pub fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The result of an operation; `None` if something already had that name.
///
/// # Errors
/// Every other error.
pub fn unless_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        other => other.map(Some),
    }
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl RealFs {
    /// Opens `path` without following a symbolic link in its last component.
    fn open_with(path: &Path, flags: OFlags) -> io::Result<fs::File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let descriptor = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, mode))?;
        Ok(fs::File::from(descriptor))
    }

    fn lock_opened(file: fs::File) -> io::Result<Option<Box<dyn Held>>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealFile(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that touches the disk"
)]
impl Fs for RealFs {
    fn bind_socket(&self, directory: &Path, name: &str) -> io::Result<UnixListener> {
        socket::bind(directory, name)
    }

    fn check_entries(&self, path: &Path) -> io::Result<()> {
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(CWD, path, wanted, AtFlags::EACCESS) {
            // An old kernel that cannot check this for the effective user.
            Err(Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn confirm(&self, path: &Path) -> io::Result<()> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(CWD, path, &times, flags)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = Self::open_with(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        Ok(Box::new(RealFile(file)))
    }

    fn create_unnamed(&self, directory: &Path) -> io::Result<Box<dyn File>> {
        let file = Self::open_with(directory, OFlags::WRONLY | OFlags::TMPFILE)?;
        Ok(Box::new(RealFile(file)))
    }

    fn exchange(&self, left: &Path, right: &Path) -> io::Result<()> {
        let flags = RenameFlags::EXCHANGE;
        Ok(rustix::fs::renameat_with(CWD, left, CWD, right, flags)?)
    }

    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        // Its width and its sign depend on the machine; the number has 32 bits.
        let number = i128::from(rustix::fs::statfs(path)?.f_type) & 0xFFFF_FFFF;
        Ok(FileSystem(u32::try_from(number).unwrap_or_default()))
    }

    fn free_octets(&self, path: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(path)?;
        if found.f_blocks == 0 {
            // Some network and pseudo file systems do not report it; a write will.
            return Ok(u64::MAX);
        }
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn total_octets(&self, path: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(path)?;
        Ok(match found.f_blocks.saturating_mul(found.f_frsize) {
            0 => u64::MAX,
            octets => octets,
        })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        Self::lock_opened(Self::open_with(path, OFlags::RDWR | OFlags::CREATE)?)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        Self::lock_opened(Self::open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)?)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::symlink_metadata(path)?;
        let kind = if found.is_dir() {
            Kind::Directory
        } else if found.is_file() {
            Kind::File
        } else {
            Kind::Other
        };
        Ok(Metadata {
            kind,
            owner: found.uid(),
            mode: found.mode() & 0o7777,
            stamp: stamp_of(&found),
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        // NONBLOCK: opening a fifo must not wait for a writer. NOATIME: the first reading of a
        // message would change its inode, only to note a time that nobody asks for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let failed_with =
            |error: &io::Error, wanted: Errno| error.raw_os_error() == Some(wanted.raw_os_error());
        let opened = match Self::open_with(path, flags | OFlags::NOATIME) {
            // The file belongs to somebody else.
            Err(error) if failed_with(&error, Errno::PERM) => Self::open_with(path, flags),
            other => other,
        };
        let file = match opened {
            Err(error) if failed_with(&error, Errno::LOOP) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            other => other?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A file system that does not know the size of a file reports 0.
        let octets = Some(metadata.len()).filter(|octets| *octets > 0);
        Ok(Box::new(Opened {
            file: RealFile(file),
            stamp: stamp_of(&metadata),
            octets: metadata.len(),
            octets_left: octets.unwrap_or(u64::MAX),
        }))
    }

    fn open_segment(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        let file = Self::open_with(path, OFlags::RDWR | OFlags::CREATE)?;
        Ok(Box::new(RealFile(file)))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.visit_dir(path, &mut |Entry { name, kind, inode }| {
            let name = name.to_owned();
            entries.push(Entry { name, kind, inode });
        })?;
        Ok(entries)
    }

    fn visit_dir(&self, path: &Path, visit: &mut dyn FnMut(Entry<&OsStr>)) -> io::Result<()> {
        let directory = Self::open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut buffer = Vec::with_capacity(DIRECTORY_OCTETS);
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        while let Some(found) = entries.next() {
            match found {
                Ok(found) => visit_entry(&directory, &found, visit)?,
                Err(Errno::INTR) => {}
                // Somebody removed the directory, so it has no more entries.
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Self::open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)?.sync_all()
    }

    fn take_after(&self, path: &Path, like: &Path) -> io::Result<()> {
        let like = fs::metadata(like)?;
        let file = Self::open_with(path, OFlags::WRONLY)?;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            let owner = Some(Uid::from_raw(like.uid()));
            let group = Some(Gid::from_raw(like.gid()));
            if rustix::fs::fchown(&file, owner, group).is_err() {
                return Ok(());
            }
        }
        let is_for_group = like.uid() == 0 && like.gid() != 0;
        let group_may_read = is_for_group && like.mode() & 0o040 != 0;
        if group_may_read {
            rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR | Mode::RGRP)?;
        }
        Ok(())
    }

    #[cfg(feature = "postgres")]
    fn set_modified(&self, path: &Path, secs: u64) -> io::Result<()> {
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let times = Timestamps {
            last_access: time(0, rustix::fs::UTIME_OMIT),
            last_modification: time(i64::try_from(secs).unwrap_or(i64::MAX), 0),
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(CWD, path, &times, flags)?)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        let directory = Self::open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Box::new(RealFile(directory)))
    }
}

/// Calls `visit` for one entry of `directory`, unless it is `.` or `..` or no longer exists.
fn visit_entry(
    directory: &fs::File,
    found: &RawDirEntry<'_>,
    visit: &mut dyn FnMut(Entry<&OsStr>),
) -> io::Result<()> {
    let (name, mut file_type) = (found.file_name(), found.file_type());
    if matches!(name.to_bytes(), b"." | b"..") {
        return Ok(());
    }
    if file_type == FileType::Unknown {
        match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => file_type = FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let kind = match file_type {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Kind::Other,
    };
    visit(Entry {
        name: OsStr::from_bytes(name.to_bytes()),
        kind,
        inode: found.ino(),
    });
    Ok(())
}

/// The stamp of the file or directory that the system describes.
fn stamp_of(metadata: &fs::Metadata) -> Stamp {
    Stamp {
        identity: identity_of(metadata),
        modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// The identity of the file or directory that the system describes.
fn identity_of(metadata: &fs::Metadata) -> Identity {
    Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

/// A system time as nanoseconds since 1970.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds)
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds.into())
}

/// A real file opened for reading, with its length at that time, so that its end is known without
/// another call.
#[derive(Debug)]
struct Opened {
    file: RealFile,
    stamp: Stamp,
    octets: u64,
    octets_left: u64,
}

impl File for Opened {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.append(octets)
    }

    fn stamp_when_opened(&self) -> Option<Stamp> {
        Some(self.stamp)
    }

    fn octets_when_opened(&self) -> Option<u64> {
        Some(self.octets)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.octets_left == 0 {
            return Ok(0);
        }
        let n_read = self.file.read(buffer)?;
        let octets = u64::try_from(n_read).unwrap_or(u64::MAX);
        self.octets_left = self.octets_left.saturating_sub(octets);
        Ok(n_read)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.fill_from(buffer, offset)
    }

    fn begin_sync(&mut self, start: u64) {
        self.file.begin_sync(start);
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

/// An open file on the real disk.
#[derive(Debug)]
struct RealFile(fs::File);

impl RealFile {
    /// Gives the file the additional name `path`, by way of its descriptor in `/proc`.
    fn give_name_by_number(&self, path: &Path) -> io::Result<()> {
        let own = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let flags = AtFlags::SYMLINK_FOLLOW;
        Ok(rustix::fs::linkat(CWD, own, CWD, path, flags)?)
    }

    /// Reads octets from `offset` on, until `buffer` is full or the file ends.
    fn fill_from(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            let done = u64::try_from(filled).unwrap_or(u64::MAX);
            match self.0.read_at(room, offset.saturating_add(done)) {
                Ok(0) => break,
                Ok(n_read) => filled = filled.saturating_add(n_read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl File for RealFile {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.write_all(octets)
    }

    fn begin_sync(&mut self, start: u64) {
        // Linux starts to write these pages immediately, and drops only those that are already
        // written: not the ones that were appended just now.
        rustix::fs::fadvise(&self.0, start, None, Advice::DontNeed).unwrap_or_default();
    }

    fn give_name(&self, path: &Path) -> io::Result<()> {
        match rustix::fs::linkat(&self.0, c"", CWD, path, AtFlags::EMPTY_PATH) {
            // There is no such directory, or the kernel is older than 6.10: then only root may name
            // a file in this way.
            Err(Errno::NOENT) => self.give_name_by_number(path),
            other => Ok(other?),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fill_from(buffer, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        // Not fdatasync: it also writes the size, which is needed to read the data back, and may
        // omit only the times of the inode. The inode of this new file has to be written anyway,
        // for the size and the blocks, so nothing would be saved.
        self.0.sync_all()
    }
}

impl Held for RealFile {
    fn identity(&self) -> io::Result<Identity> {
        Ok(identity_of(&self.0.metadata()?))
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() > 0)
    }

    fn sign(&self) -> io::Result<()> {
        let number = format!("{}\n", std::process::id());
        self.0.set_len(0)?;
        self.0.write_all_at(number.as_bytes(), 0)
    }
}

impl Segment for RealFile {
    fn octets(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fill_from(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        // fdatasync: a segment already has its size, so only its octets have to be written, without
        // waiting for the file system's journal.
        self.0.sync_data()
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(octets, offset)
    }
}

impl Volume for RealFile {
    fn sync_whole(&self) -> io::Result<()> {
        rustix::fs::syncfs(&self.0)?;
        // Not every file system flushes the disk's own cache in syncfs (ext2 does not), but each
        // does when a file or a directory is synced.
        self.0.sync_all()
    }
}
