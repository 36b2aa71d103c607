//! Another user: what root can do for a test as that user, and where.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::not_tested;
use super::program::copy_program;

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The numbers of a user and its group, as the system knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) group: u32,
}

impl User {
    /// The user with this name.
    pub(crate) fn named(name: &str) -> Self {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let mut lines = users.lines().map(|line| line.split(':'));
        let mut fields = lines
            .find(|fields| fields.clone().next() == Some(name))
            .unwrap();
        let mut number = |n| fields.nth(n).unwrap().parse().unwrap();
        let (id, group) = (number(2), number(0));
        Self { id, group }
    }

    /// Makes a command run as this user.
    pub(crate) fn starts(self, command: &mut Command) -> &mut Command {
        command.uid(self.id).gid(self.group)
    }

    /// Whether this process can start others as this user; if not, it says so. The root of a
    /// container is not always root of the system.
    pub(crate) fn can_be_had(self) -> bool {
        let can = self.starts(&mut Command::new("true")).status().is_ok();
        if !can {
            not_tested("cannot run as other users here");
        }
        can
    }

    fn succeeds(self, command: &mut Command) -> bool {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.starts(command)
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// A directory that belongs to another user and a copy of the program that this user can execute.
/// The build and the temporary directory can be where nobody else may go.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    /// Finds one; `None` if this process cannot start others as `user`.
    pub(crate) fn of(user: User) -> Option<Self> {
        if !user.can_be_had() {
            return None;
        }
        let usual = ["/tmp", "/var/tmp", "/dev/shm", "/"].map(PathBuf::from);
        let mut parents = [std::env::temp_dir()].into_iter().chain(usual);
        let place = parents.find_map(|parent| Self::within(&parent, user));
        Some(place.expect("a directory that another user can enter and execute programs in"))
    }

    fn within(parent: &Path, user: User) -> Option<Self> {
        let directory = tempfile::tempdir_in(parent).ok()?;
        chown(directory.path(), Some(user.id), Some(user.group)).ok()?;
        let place = Self { directory };
        copy_program(&place.program());
        let may_write = user.succeeds(Command::new("test").arg("-w").arg(place.path()));
        let may_execute = user.succeeds(Command::new(place.program()).arg("--version"));
        (may_write && may_execute).then_some(place)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The program there.
    pub(crate) fn program(&self) -> PathBuf {
        self.path().join("facteur")
    }
}

/// The owner of a file.
pub(crate) fn owner_of(path: &Path) -> User {
    let metadata = fs::metadata(path).unwrap();
    let (id, group) = (metadata.uid(), metadata.gid());
    User { id, group }
}
