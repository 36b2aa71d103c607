//! The sandbox: what threads may still do of what their user may, enforced by the kernel (SEC-16).
//!
//! A thread that goes in keeps one directory to read and write, and some others from which it may
//! read files. Nothing else can be opened, made, linked or removed; no program can be executed, no
//! TCP port bound or connected to, and no signal sent to processes outside. There is no way out,
//! and threads that it starts are in there too. What was open before stays open.
//!
//! # Theory of operation
//! Landlock gives rights to whole trees of directories, and to the directory itself, not to its
//! name: another directory of the same name has none. A thread may go in again, and then has only
//! what both times left it.
//!
//! Older kernels know less of this; what they know is used, and [`State`] tells what it is.
//! Without cross-directory renames and links there could be no Maildir, and the first version of
//! Landlock forbids them all: on such a kernel there is no sandbox.
//!
//! # Known limits
//! UDP, sockets that are not of the Internet, and looking at names and metadata (stat, readlink)
//! are not restricted by today's kernels.

use std::fmt;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, Scope, make_bitflags,
};

/// The newest version that is asked for: what it can forbid is forbidden where the kernel can.
const NEWEST: ABI = ABI::V9;

/// What one does in the directory: all but to execute, and to make what is neither a file nor a
/// directory.
const KEPT: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});

/// What a thread keeps.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The directory to read and write, which is there.
    pub writable: &'a Path,
    /// The directories to read files in; those that are not there are left out.
    pub readable: &'a [&'a Path],
}

/// What the kernel enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Something, and in time.
    Enforced {
        /// The version of Landlock.
        abi: ABI,
    },
    /// Nothing.
    Missing(Missing),
}

/// Why nothing is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The kernel was built without Landlock, or something between hides it.
    NotImplemented,
    /// It was switched off when the kernel started.
    NotEnabled,
    /// It is the first version.
    TooOld,
    /// The kernel refuses.
    Refused(String),
}

impl State {
    /// Whether files and network are restricted: all that a daemon is asked to keep from.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Enforced { abi } if *abi >= ABI::V4)
    }

    fn of(status: LandlockStatus) -> Self {
        match status {
            LandlockStatus::NotImplemented => Self::Missing(Missing::NotImplemented),
            LandlockStatus::NotEnabled => Self::Missing(Missing::NotEnabled),
            LandlockStatus::Available { effective_abi, .. } if effective_abi < ABI::V2 => {
                Self::Missing(Missing::TooOld)
            }
            LandlockStatus::Available { effective_abi, .. } => {
                Self::Enforced { abi: effective_abi }
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforced { abi } => {
                let version = format!("{abi:?}");
                let version = version.trim_start_matches('V');
                write!(f, "Landlock ABI {version}: files")?;
                if *abi >= ABI::V4 {
                    f.write_str(", network")?;
                }
                if *abi >= ABI::V6 {
                    f.write_str(", signals")?;
                }
                Ok(())
            }
            Self::Missing(why) => why.fmt(f),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotImplemented => f.write_str("this kernel has no Landlock"),
            Self::NotEnabled => f.write_str("Landlock is switched off in this kernel"),
            Self::TooOld => {
                f.write_str("the Landlock of this kernel is too old: Linux 5.19 is needed")
            }
            Self::Refused(why) => write!(f, "the kernel refuses it: {why}"),
        }
    }
}

/// Puts the calling thread, and all that it will start, into the sandbox.
///
/// Threads that run already are not touched.
pub fn enter(rules: &Rules<'_>) -> State {
    let entered = restrict(rules);
    entered.unwrap_or_else(|error| State::Missing(Missing::Refused(error.to_string())))
}

fn restrict(rules: &Rules<'_>) -> Result<State, Box<dyn std::error::Error>> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(rules.writable)?, KEPT))?;
    for directory in rules.readable {
        if let Ok(directory) = PathFd::new(directory) {
            ruleset = ruleset.add_rule(PathBeneath::new(directory, AccessFs::ReadFile))?;
        }
    }
    Ok(State::of(ruleset.restrict_self()?.landlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available(effective_abi: ABI) -> LandlockStatus {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi: None,
        }
    }

    /// SEC-16.
    #[test]
    fn what_a_kernel_offers_is_told_and_only_files_and_network_are_whole() {
        for (status, text, is_whole) in [
            (
                LandlockStatus::NotImplemented,
                "this kernel has no Landlock",
                false,
            ),
            (
                LandlockStatus::NotEnabled,
                "Landlock is switched off in this kernel",
                false,
            ),
            (
                available(ABI::V1),
                "the Landlock of this kernel is too old: Linux 5.19 is needed",
                false,
            ),
            (available(ABI::V2), "Landlock ABI 2: files", false),
            (available(ABI::V4), "Landlock ABI 4: files, network", true),
            (
                available(ABI::V7),
                "Landlock ABI 7: files, network, signals",
                true,
            ),
        ] {
            let state = State::of(status);
            assert_eq!(state.to_string(), text);
            assert_eq!(state.is_whole(), is_whole, "{text}");
        }
    }
}
