//! The sandbox: the kernel enforces what threads may do of what their user may (SEC-16).
//!
//! A thread in the sandbox can read and write one directory, and read some other files. It can
//! open, create, link or remove nothing else. It can execute no program, bind no TCP port, connect
//! to none except those of a database, and signal no process outside. It cannot leave, and threads
//! that it starts are in the sandbox too. What was open before stays open.
//!
//! # Theory of operation
//! Landlock grants rights to directory trees, and to the directory itself, not to its name: a new
//! directory of the same name has no rights. A thread can enter a second sandbox, and then has only
//! the rights that both grant.
//!
//! Older kernels can restrict less; whatever they can is used, and [`State`] says what that is. The
//! first version of Landlock forbids all renames and links across directories, which a Maildir
//! needs: on such a kernel there is no sandbox.
//!
//! # Known limits
//! Today's kernels do not restrict UDP, sockets other than Internet sockets, and reading names and
//! metadata (stat, readlink).

use std::fmt;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, Scope,
    make_bitflags,
};

/// The newest version that is requested: whatever it can forbid is forbidden if the kernel can.
const NEWEST: ABI = ABI::V9;

/// The rights in the directory: all except to execute, and to create anything but files,
/// directories and sockets: the store has a control socket.
const KEPT: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSock
        | RemoveFile | RemoveDir | Refer
});

/// The rights that a thread keeps.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The directory to read and write, which exists.
    pub writable: &'a Path,
    /// The directories to read files in, and files to read; missing ones are skipped.
    pub readable: &'a [&'a Path],
    /// The TCP ports to connect to: those of the database.
    pub connects: &'a [u16],
    /// The directories with sockets to connect to.
    pub sockets: &'a [&'a Path],
}

/// What the kernel enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The sandbox is in force.
    Enforced {
        /// The version of Landlock.
        abi: ABI,
    },
    /// Nothing is enforced.
    Missing(Missing),
}

/// Why nothing is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The kernel was built without Landlock, or something like a container blocks it.
    NotImplemented,
    /// It was disabled when the kernel started.
    NotEnabled,
    /// It is the first version.
    TooOld,
    /// The kernel refuses.
    Refused(String),
}

impl State {
    /// Whether files and network are restricted: everything that the daemon should not reach.
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

/// Puts the calling thread, and all threads that it will start, into the sandbox.
///
/// Threads that already run are not affected.
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
    for path in rules.readable {
        if let Ok(path) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(path, AccessFs::ReadFile))?;
        }
    }
    for directory in rules.sockets {
        if let Ok(directory) = PathFd::new(directory) {
            let rule = PathBeneath::new(directory, AccessFs::ResolveUnix);
            ruleset = ruleset.add_rule(rule)?;
        }
    }
    for port in rules.connects {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
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
    fn the_state_names_what_is_restricted_and_needs_files_and_network() {
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
