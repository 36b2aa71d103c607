//! Warns if other users of the machine could change the files that facteur relies on.
//!
//! A user who can write or replace the configuration or the accounts decides who logs in. One who
//! can do so with the private key can impersonate the server. One who can rename a directory above
//! the mail can take over the mail. As with `StrictModes` of sshd, each file is checked together
//! with all directories above it, by its name and by the target of its links: it must belong to
//! root or to the user that runs facteur, and nobody else may write there. A directory where
//! everybody may write is accepted if nobody can remove the files of others (the sticky bit, as on
//! `/tmp`).
//!
//! These are warnings, not errors. Some file systems have no owners or permissions (those of other
//! operating systems or of containers), so nothing could be fixed there; and refusing to start
//! would cost incoming mail although nobody has tampered with anything. The mail directory itself
//! is different: the store refuses it.
//!
//! # Known limits
//! Access control lists are not checked, except that their mask shows as the permissions of the
//! group. A group with the same number as the user is taken for that user's private group, as many
//! systems create them, and root's group for root.

use std::{
    collections::BTreeSet,
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use super::{accounts::Accounts, error::OneLine, keys::Config, limits::DEPTH_MAX, text::beside};

/// The sticky bit.
const STICKY: u32 = 0o1000;

/// The user that may own the files and write to them.
#[derive(Clone, Copy, Debug)]
struct Own {
    user: u32,
    /// Whether owners are checked: not if root starts facteur and it then becomes another user.
    owners_matter: bool,
}

/// Warnings about what other users could do to the files of `config`, and to their directories.
pub fn exposure(config: &Config) -> Vec<String> {
    let user = geteuid();
    let own = Own {
        user: user.as_raw(),
        owners_matter: !user.is_root() || config.user.is_empty(),
    };
    let mut seen = BTreeSet::new();
    let mut warnings = Vec::new();
    for (what, path) in files(config) {
        for (path, is_itself) in places(&path) {
            if !seen.insert(path.clone()) {
                continue;
            }
            // A missing file is created by facteur; other errors are reported elsewhere.
            let Ok(metadata) = std::fs::metadata(&path) else {
                continue;
            };
            if let Some(fault) = fault(own, &metadata, is_itself) {
                warnings.push(fault.describe(what, &path, is_itself));
            }
        }
    }
    warnings
}

/// The files that facteur relies on, with their names in warnings.
fn files(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut files = Vec::new();
    if let Some(path) = &config.path {
        files.push(("the configuration", path.clone()));
    }
    if let Accounts::File(file) = &config.accounts {
        let path = config.path.as_deref().unwrap_or(Path::new(""));
        let file = beside(path, file.get_ref());
        files.push(("the accounts file", file));
    }
    if let Some(tls) = &config.tls {
        files.push(("the private key", tls.key.clone()));
        files.push(("the certificate", tls.certificate.clone()));
    }
    files.push(("the mail", config.mail.clone()));
    files
}

/// A path and all directories above it, by name and with links followed; and whether each is the
/// path itself.
fn places(path: &Path) -> Vec<(PathBuf, bool)> {
    let by_name = std::path::absolute(path).ok();
    // None if it does not exist yet.
    let target = path.canonicalize().ok();
    let mut places = Vec::new();
    for path in by_name.into_iter().chain(target) {
        for (depth, place) in path.ancestors().take(DEPTH_MAX).enumerate() {
            places.push((place.to_owned(), depth == 0));
        }
    }
    places
}

/// What is wrong with a file or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// All users can write to it.
    Everybody,
    /// This group can.
    Group(u32),
    /// It belongs to this other user.
    Owner(u32),
}

fn fault(own: Own, metadata: &Metadata, is_itself: bool) -> Option<Fault> {
    let (mode, owner, group) = (metadata.mode(), metadata.uid(), metadata.gid());
    let is_shared_safely = metadata.is_dir() && !is_itself && mode & STICKY != 0;
    let is_private_group = group == 0 || (group == owner && owner == own.user);
    if own.owners_matter && owner != 0 && owner != own.user {
        Some(Fault::Owner(owner))
    } else if mode & 0o002 != 0 && !is_shared_safely {
        Some(Fault::Everybody)
    } else if mode & 0o020 != 0 && !is_shared_safely && !is_private_group {
        Some(Fault::Group(group))
    } else {
        None
    }
}

impl Fault {
    fn describe(self, what: &str, path: &Path, is_itself: bool) -> String {
        let path = OneLine(path);
        let subject = if is_itself {
            format!("{path}, {what},")
        } else {
            format!("{path}, which contains {what},")
        };
        match self {
            Self::Everybody => format!(
                "{subject} can be written by every user of this machine: run chmod o-w {path}"
            ),
            Self::Group(group) => format!(
                "{subject} can be written by the members of group {group}: run chmod g-w {path}"
            ),
            Self::Owner(owner) => format!(
                "{subject} belongs to user {owner}, who can change it: give it to root or to the \
                 user that runs facteur (chown)"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
