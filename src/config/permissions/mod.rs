//! What other users of the machine could do to the files that facteur relies on.
//!
//! Whoever can write the configuration or the accounts, or put others in their place, decides who
//! logs in; whoever can do so with a private key passes for the server; and whoever can rename what
//! the mail lies in has the mail. As `StrictModes` of sshd, each file is looked at with all
//! directories above it, by its name and where its links lead: it has to belong to root or to the
//! user who runs facteur, and nobody else may write there. A directory in which all may write, but
//! where nobody can remove what is another one's (the sticky bit, as `/tmp` has it), will do.
//!
//! It is warned of, and not refused: there are file systems without owners and permissions (those
//! of other systems, those of containers), where nothing could be mended, and a start that fails
//! loses mail that somebody else cannot touch as yet. The mail directory itself is another matter:
//! the store refuses it.
//!
//! # Known limits
//! Access control lists are not looked at, but that their mask shows as the group's permissions. A
//! group of the number of the user is taken for that user's own, as many systems make them, and
//! root's group for root.

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

/// Who may own and write.
#[derive(Clone, Copy, Debug)]
struct Own {
    user: u32,
    /// Whether owners are looked at: not by root, who is to go on as somebody else.
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
            // What is not there yet is made by us; what is wrong with it otherwise shows elsewhere.
            let Ok(metadata) = std::fs::metadata(&path) else {
                continue;
            };
            if let Some(fault) = fault(own, &metadata, is_itself) {
                warnings.push(fault.tell(what, &path, is_itself));
            }
        }
    }
    warnings
}

/// What is relied on, by name.
fn files(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut files = Vec::new();
    if let Some(path) = &config.path {
        files.push(("the configuration", path.clone()));
        if let Accounts::File(file) = &config.accounts {
            let file = beside(path, file.get_ref());
            files.push(("the file of accounts", file));
        }
    }
    if let Some(tls) = &config.tls {
        files.push(("the private key", tls.key.clone()));
        files.push(("the certificate", tls.certificate.clone()));
    }
    files.push(("the mail", config.mail.clone()));
    files
}

/// A path and all directories above it, by name and by where links lead; and whether it is the path
/// itself.
fn places(path: &Path) -> Vec<(PathBuf, bool)> {
    let by_name = std::path::absolute(path).ok();
    // Of what is not there yet the directory may be.
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
    /// All users may write.
    Everybody,
    /// A group may.
    Group(u32),
    /// It is somebody else's.
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
    fn tell(self, what: &str, path: &Path, is_itself: bool) -> String {
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
                 user who runs facteur (chown)"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
