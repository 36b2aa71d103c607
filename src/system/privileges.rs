//! Drops root: a daemon that root started, to have its ports, continues as another user.
//!
//! # Theory of operation
//! Linux keeps users and groups per thread, and new threads inherit them. So the thread that drops
//! root must be the only one; then the whole process has dropped it. Capabilities go away with the
//! user.
//!
//! # Known limits
//! Users and groups come only from `/etc/passwd` and `/etc/group`. For users in other databases,
//! use a service manager.

use std::fmt;
use std::io;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Why the process cannot continue as another user.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A database cannot be read.
    Read {
        /// Which one.
        path: &'static str,
        /// The error from the system.
        source: io::Error,
    },
    /// There is no such user: create it, or name another.
    Unknown {
        /// The name.
        user: String,
    },
    /// This user is root, or no user at all.
    StillRoot {
        /// The name.
        user: String,
    },
    /// Only root can do that: start as root or as this user, or name no user.
    NotRoot {
        /// The name.
        user: String,
    },
    /// The system refuses.
    Refused {
        /// The name.
        user: String,
        /// The error from the system.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "user: cannot read {path}"),
            Self::Unknown { user } => write!(
                f,
                "user: there is no user {user:?} in {USERS}: create it, or name another"
            ),
            Self::StillRoot { user } => write!(
                f,
                "user: {user:?} is root by another name: name another user"
            ),
            Self::NotRoot { user } => write!(
                f,
                "user: only root can continue as {user:?}: start facteur as root or as that user, \
                 or remove the key user"
            ),
            Self::Refused { user, .. } => {
                write!(f, "user: the system does not let root continue as {user:?}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Refused { source, .. } => Some(source),
            Self::Unknown { .. } | Self::StillRoot { .. } | Self::NotRoot { .. } => None,
        }
    }
}

/// Whether this thread is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Drops root: from now on this thread, and all that it starts, run as `user`, with only that
/// user's groups. Does nothing if they already do.
///
/// # Errors
/// Any [`Error`]: do not continue, since part of it may be done.
pub fn go_on_as(user: &str) -> Result<(), Error> {
    let identity = identity_of(user)?;
    if geteuid() == identity.user {
        return Ok(());
    }
    if !is_root() {
        let user = user.to_owned();
        return Err(Error::NotRoot { user });
    }
    identity.assume().map_err(|source| Error::Refused {
        user: user.to_owned(),
        source,
    })
}

/// Checks that `user` is a user of this system, and not root.
///
/// # Errors
/// [`Error::Unknown`], [`Error::StillRoot`] or [`Error::Read`].
pub fn check(user: &str) -> Result<(), Error> {
    identity_of(user).map(drop)
}

fn identity_of(user: &str) -> Result<Identity, Error> {
    let read = |path| std::fs::read_to_string(path).map_err(|source| Error::Read { path, source });
    Identity::find(user, &read(USERS)?, &read(GROUPS)?)
}

/// A user, as the kernel knows it.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    user: Uid,
    group: Gid,
    /// All groups, including the first.
    groups: Vec<Gid>,
}

impl Identity {
    /// Looks for `name` in the text of the two databases.
    fn find(name: &str, users: &str, groups: &str) -> Result<Self, Error> {
        let user = || name.to_owned();
        let (uid, gid) = users
            .lines()
            .find_map(|line| numbers_of(line, name))
            .ok_or_else(|| Error::Unknown { user: user() })?;
        // For the kernel, the greatest number means "do not change".
        if [0, u32::MAX].contains(&uid) || [0, u32::MAX].contains(&gid) {
            return Err(Error::StillRoot { user: user() });
        }
        let further = groups.lines().filter_map(|line| group_with(line, name));
        let further = further.filter(|further| ![0, u32::MAX, gid].contains(further));
        Ok(Self {
            user: Uid::from_raw(uid),
            group: Gid::from_raw(gid),
            groups: std::iter::once(gid)
                .chain(further)
                .map(Gid::from_raw)
                .collect(),
        })
    }

    /// Groups first: only root can change them.
    fn assume(&self) -> io::Result<()> {
        set_thread_groups(&self.groups)?;
        set_thread_res_gid(self.group, self.group, self.group)?;
        set_thread_res_uid(self.user, self.user, self.user)?;
        // If the kernel lets us become root again, root was not dropped.
        match set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT) {
            Ok(()) => Err(io::Error::other("the process could become root again")),
            Err(_) => Ok(()),
        }
    }
}

/// The user and the group in a line such as `name:x:1000:1000:comment:/home:/shell`.
fn numbers_of(line: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    if fields.next() != Some(name) {
        return None;
    }
    let mut numbers = fields.skip(1);
    let user = numbers.next()?.parse().ok()?;
    Some((user, numbers.next()?.parse().ok()?))
}

/// The group in a line such as `group:x:1000:one,two`, if `name` is in it.
fn group_with(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':').skip(2);
    let group = fields.next()?.parse().ok()?;
    let mut members = fields.next()?.split(',');
    members.any(|member| member == name).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
                         # a comment\n\
                         \n\
                         postman:x:990:980::/var/lib/facteur:/usr/sbin/nologin\n\
                         toor:x:0:0::/root:/bin/sh\n\
                         wheel:x:991:0::/:/bin/sh\n\
                         broken:x:nine\n\
                         same:x:4294967295:980::/:/bin/sh\n";
    const GROUPS: &str = "root:x:0:postman\nmail:x:8:other,postman\npostman:x:980:postman\n\
                          ssl-cert:x:110:postmaster\n";

    #[test]
    fn a_user_is_found_with_all_groups_except_those_of_root() {
        let identity = Identity::find("postman", USERS, GROUPS).unwrap();
        assert_eq!(identity.user, Uid::from_raw(990));
        assert_eq!(identity.group, Gid::from_raw(980));
        let groups: Vec<u32> = identity.groups.iter().map(|group| group.as_raw()).collect();
        assert_eq!(groups, [980, 8]);
    }

    #[test]
    fn unknown_users_and_root_are_refused() {
        for (name, expect) in [
            ("postma", "there is no user"),
            ("broken", "there is no user"),
            ("", "there is no user"),
            ("root", "is root"),
            ("toor", "is root"),
            ("wheel", "is root"),
            ("same", "is root"),
        ] {
            let error = Identity::find(name, USERS, GROUPS).unwrap_err();
            assert!(error.to_string().contains(expect), "{name}: {error}");
        }
    }
}
